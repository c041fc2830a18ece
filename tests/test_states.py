"""Cloned states of an environment: exact, small, carried to other processes, refused elsewhere."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import mkds_gym  # noqa: F401
from mkds_gym.cartridge import Cartridge
from mkds_gym.core import LIBRARY_VARIABLE
from mkds_gym.env import MKDSEnv
from mkds_gym.errors import ConsoleError, StateError
from mkds_gym.starts import StartStates
from mkds_gym.states import ClonedState


def make(**arguments: Any) -> MKDSEnv:
    env = gym.make("MKDS-v0", **arguments).unwrapped
    assert isinstance(env, MKDSEnv)
    return env


def drive(env: MKDSEnv, actions: list[int]) -> list[tuple[Any, ...]]:
    """What each step brings, and the memory and picture after it."""
    seen = []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        picture = env.console.screen("both").tobytes()
        seen.append(
            (
                observation.tobytes(),
                reward,
                terminated,
                truncated,
                repr(info),
                env.console.ram.tobytes(),
                picture,
            )
        )
        if terminated or truncated:
            break
    return seen


@pytest.fixture
def env() -> Iterator[MKDSEnv]:
    made = make(obs_type="pixels")
    yield made
    made.close()


def test_what_follows_is_the_same(env: MKDSEnv) -> None:
    chance = np.random.default_rng(1)
    env.reset(seed=1)
    for _ in range(4):
        state = env.clone_state()
        picture = env.console.screen("both")
        actions = [int(action) for action in chance.integers(11, size=25)]
        first = drive(env, actions)
        env.restore_state(state)
        np.testing.assert_array_equal(env.console.screen("both"), picture)
        assert drive(env, actions) == first


def test_another_process_takes_a_pickled_state(tmp_path: Path) -> None:
    env = make()
    env.reset()
    drive(env, [0] * 40)
    state = env.clone_state()
    actions = [int(action) for action in np.random.default_rng(2).integers(11, size=30)]
    expected = drive(env, actions)
    file = tmp_path / "state"
    file.write_bytes(pickle.dumps((state, actions, expected)))
    script = (
        "import pickle, sys\n"
        "from test_states import drive, make\n"
        "state, actions, expected = pickle.load(open(sys.argv[1], 'rb'))\n"
        "env = make()\n"
        "env.restore_state(state)\n"
        "assert drive(env, actions) == expected\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(file)], check=True, cwd=Path(__file__).parent, timeout=60
    )
    env.close()


def test_an_ended_episode_stays_ended() -> None:
    env = make(truncate_on="clock:20")
    env.reset()
    alive = env.clone_state()
    drive(env, [0] * 20)
    ended = env.clone_state()
    env.restore_state(alive)
    env.step(0)
    env.restore_state(ended)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)
    env.close()


def test_a_lambda_as_reward(env: MKDSEnv) -> None:
    env = make(reward=lambda metrics: metrics["progress"])
    env.reset()
    state = env.clone_state()
    first = drive(env, [0] * 5)
    env.restore_state(state)
    assert drive(env, [0] * 5) == first
    env.close()


def test_other_arguments_are_refused(env: MKDSEnv) -> None:
    env.reset()
    state = env.clone_state()
    for arguments in ({"frame_skip": 2}, {"engine_class": 150}, {"mode": "vs"}, {"laps": 1}):
        other = make(**arguments)
        (name,) = arguments
        with pytest.raises(StateError, match=name):
            other.restore_state(state)
        other.close()


def test_wrong_uses(env: MKDSEnv) -> None:
    with pytest.raises(ConsoleError, match=r"reset\(\)"):
        env.clone_state()
    with pytest.raises(TypeError, match="clone_state"):
        env.restore_state(b"state")  # type: ignore[arg-type]


def test_a_state_is_small(env: MKDSEnv) -> None:
    env.reset()
    drive(env, [0] * 100)
    state = env.clone_state()
    assert isinstance(state, ClonedState)
    assert state.nbytes < 1 << 20


@pytest.mark.parametrize("frame_skip", [1, 3])
def test_pictures_and_rewards_go_on_alike(frame_skip: int) -> None:
    env = make(obs_type="pixels", screens="both", frame_skip=frame_skip, mode="vs", items=True)
    env.reset(seed=4)
    chance = np.random.default_rng(frame_skip)
    elsewhere = env.clone_state()
    for _ in range(3):
        drive(env, [int(action) for action in chance.integers(11, size=8)])
        state = env.clone_state()
        actions = [int(action) for action in chance.integers(11, size=6)]
        first = drive(env, actions)
        env.restore_state(elsewhere)
        drive(env, [3])
        env.restore_state(state)
        assert drive(env, actions) == first
    env.close()


def test_compiled_code_makes_no_difference() -> None:
    env = make()
    env.reset()
    console = env.console
    if not (console.capabilities.jit and console._core is not None and console._core.code):
        pytest.fail("this build of the emulator is known, but its states are not instant")
    start = console.snapshot()
    keys = np.random.default_rng(3).choice([1, 17, 33, 257, 273], size=90)

    def end(forgetting: Mapping[int, bool]) -> bytes:
        console.restore(start)
        for frame, key in enumerate(keys.tolist()):
            if forgetting.get(frame):
                assert console._core is not None
                console._core._forget_code()
            console.step(key)
        return bytes(console.snapshot().data)

    warm = end({})
    assert end({}) == warm
    assert end({5: True, 40: True, 77: True}) == warm
    env.close()


def test_a_state_of_another_race_is_loaded_whole() -> None:
    """Also where code was compiled of memory that the state has otherwise."""
    env, other = make(), make(course_seed=3, course="random", mode="vs")
    env.reset()
    other.reset(seed=1)
    drive(env, [0] * 10)
    drive(other, [0] * 10)
    target = env.console.snapshot()
    env.console.step(1, 30)
    after = env.console.ram.tobytes()
    other.console.ram[0x3000:0x9000] ^= 0x55
    other.console.restore(target)
    other.console.step(1, 30)
    assert other.console.ram.tobytes() == after
    env.close()
    other.close()


def test_random_courses_and_their_chance() -> None:
    env = make(course_set="train", mode="vs", opponents=2, items=True)
    _, first = env.reset(seed=5)
    drive(env, [0] * 10)
    state = env.clone_state()
    actions = [int(action) for action in np.random.default_rng(6).integers(11, size=12)]
    expected = drive(env, actions)
    _, second = env.reset()
    assert second["course_seed"] != first["course_seed"]
    drive(env, [0] * 3)
    env.restore_state(state)
    assert drive(env, actions) == expected
    _, again = env.reset()
    assert again["course_seed"] == second["course_seed"], "np_random went back too"
    fresh = make(course_set="train", mode="vs", opponents=2, items=True)
    fresh.restore_state(pickle.loads(pickle.dumps(state)))
    assert drive(fresh, actions) == expected
    fresh.close()
    env.close()


def test_in_a_vector_environment() -> None:
    envs: Any = gym.make_vec("MKDS-v0", num_envs=2, vectorization_mode="sync")
    envs.reset(seed=0)
    states = envs.call("clone_state")
    first = [envs.step(np.array([1, 2]))[0] for _ in range(4)]
    for env, state in zip(envs.envs, states, strict=True):
        env.unwrapped.restore_state(state)
    np.testing.assert_array_equal([envs.step(np.array([1, 2]))[0] for _ in range(4)], first)
    envs.close()


def test_another_course_rom_or_build_is_refused(env: MKDSEnv, tmp_path: Path) -> None:
    env.reset()
    state = env.clone_state()
    memory = env.console.ram.tobytes()
    names = env.cartridge.course_names()
    other = make(obs_type="pixels", course=names[1])
    other.reset()
    foreign = other.clone_state()
    with pytest.raises(StateError, match="course="):
        env.restore_state(foreign)
    other.close()
    changed = bytearray(Cartridge.open(None).path.read_bytes())
    changed[-1] ^= 0xFF
    rom = tmp_path / "other.nds"
    rom.write_bytes(changed)
    other = make(rom=str(rom), obs_type="pixels")
    with pytest.raises(StateError, match="another ROM"):
        other.restore_state(state)
    with pytest.raises(StateError, match="another ROM"):
        other.reset(options={"state": state})
    other.close()
    alien = pickle.loads(pickle.dumps(state))
    alien._difference.build_id = "0" * 64
    with pytest.raises(StateError, match="another build"):
        env.restore_state(alien)
    assert env.console.ram.tobytes() == memory
    assert env.step(0)[3] is False


def test_a_reset_at_a_progress(env: MKDSEnv) -> None:
    env = make(obs_type="seed6")
    observation, info = env.reset(options={"progress": 0.15})
    assert 0.15 <= info["progress"] < 0.16
    assert info["metrics"]["progress"] == 0
    again, _ = env.reset(options={"progress": 0.15})
    np.testing.assert_array_equal(again, observation)
    _, _, _, _, info = env.step(0)
    assert 0 < info["metrics"]["progress"] < 60
    _, info = env.reset()
    assert info["progress"] < 0, "the option is for one episode"
    other = make(obs_type="seed6")
    np.testing.assert_array_equal(other.reset(options={"progress": 0.15})[0], observation)
    other.close()
    env.close()


@pytest.mark.parametrize("progress", [-0.1, float("nan"), True, "0.4"])
def test_a_bad_progress(env: MKDSEnv, progress: object) -> None:
    with pytest.raises((ValueError, TypeError), match="laps"):
        env.reset(options={"progress": progress})
    with pytest.raises(ValueError, match="not both"):
        env.reset(options={"progress": 0.1, "state": b""})


def test_start_states(tmp_path: Path) -> None:
    env = make()
    states = StartStates.collect(env, 4, laps=0.2)
    assert len(states) == 4
    file = tmp_path / "states"
    states.save(file)
    assert file.stat().st_size < 1 << 20
    loaded = StartStates.load(file)
    chance = np.random.default_rng(1)
    drawn = [states[:].index(states.sample(chance)) for _ in range(8)]
    chance = np.random.default_rng(1)
    assert [loaded[:].index(loaded.sample(chance)) for _ in range(8)] == drawn
    assert len(set(drawn)) > 1
    places = []
    for state in loaded:
        _, info = env.reset(options={"state": state})
        places.append(info["progress"])
    np.testing.assert_allclose(places, [0.0, 0.05, 0.1, 0.15], atol=0.01)
    driven = StartStates.collect(env, 3, laps=0.03, policy=lambda _: 0)
    env.restore_state(driven[2])
    assert env.step(0)[4]["progress"] > 0.02
    env.close()


def test_bad_start_states(env: MKDSEnv, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        StartStates([])
    with pytest.raises(TypeError, match="clone_state"):
        StartStates([b"state"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="count"):
        StartStates.collect(env, 0)
    with pytest.raises(StateError, match="collect"):
        StartStates.load(tmp_path / "none")
    (tmp_path / "bad").write_bytes(b"bad")
    with pytest.raises(StateError, match="no start states"):
        StartStates.load(tmp_path / "bad")
    (tmp_path / "cut").write_bytes(b"MKDS start states 1\nxx")
    with pytest.raises(StateError, match="damaged"):
        StartStates.load(tmp_path / "cut")


def resident() -> int:
    """Memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_an_unknown_build_has_them_too(unknown_library: Path) -> None:
    script = (
        "from test_states import drive, make\n"
        "env = make()\n"
        "env.reset()\n"
        "assert not env.console.capabilities.known_build\n"
        "drive(env, [0] * 3)\n"
        "state = env.clone_state()\n"
        "assert state.nbytes < 1 << 20\n"
        "first = [step[:6] for step in drive(env, [1, 2, 3])]\n"
        "env.restore_state(state)\n"
        "assert [step[:6] for step in drive(env, [1, 2, 3])] == first\n"
    )
    subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        cwd=Path(__file__).parent,
        env={**os.environ, LIBRARY_VARIABLE: str(unknown_library)},
        timeout=120,
    )


@pytest.mark.slow
def test_a_thousand_times_in_constant_memory() -> None:
    env = make()
    env.reset()
    state = env.clone_state()
    for number in range(1000):
        if number == 100:
            before = resident()
        env.step(number % 11)
        env.clone_state()
        env.restore_state(state)
    assert resident() - before < 8 << 20
    env.close()
