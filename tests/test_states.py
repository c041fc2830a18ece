"""Cloned states of an environment: exact, small, carried to other processes, refused elsewhere."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import os
import pickle
import resource
import statistics
import struct
import threading
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode
from programs import run_file
from trajectories import assert_same_trajectory, drive

import mkds_gym  # noqa: F401
from mkds_gym.components.events import Clock, Stuck
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.desmume.loader import LIBRARY_VARIABLE
from mkds_gym.emulator.states import snapshot
from mkds_gym.emulator.states.snapshot import Snapshot
from mkds_gym.emulator.states.state_file import pack_state
from mkds_gym.env import MKDSEnv
from mkds_gym.episodes import cloned_state, race_start, start_manager
from mkds_gym.episodes.cloned_state import ClonedState, argument_key, base_of
from mkds_gym.errors import ConsoleError, StateError, VectorEnvError
from mkds_gym.recording.recorder import Recorder
from mkds_gym.wrappers.random_starts import RandomStarts, StartStates


@pytest.fixture
def env(make_env: Callable[..., MKDSEnv]) -> MKDSEnv:
    return make_env(obs_type="pixels")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"frame_skip": 1, "mode": "vs", "items": True},
        {"frame_skip": 3, "mode": "vs", "items": True},
    ],
    ids=str,
)
def test_restored_state_goes_on_the_same(
    make_env: Callable[..., MKDSEnv], arguments: dict[str, Any]
) -> None:
    env = make_env(obs_type="pixels", screens="both", **arguments)
    rng = np.random.default_rng(1)
    env.reset(seed=4)
    elsewhere = env.clone_state()
    for _ in range(3):
        drive(env, rng.integers(11, size=6).tolist())
        state, picture = env.clone_state(), env.console.screen("both")
        actions = rng.integers(11, size=8).tolist()
        first = drive(env, actions, picture=True)
        env.restore_state(elsewhere)
        drive(env, [3])
        env.restore_state(state)
        np.testing.assert_array_equal(env.console.screen("both"), picture)
        assert_same_trajectory(first, drive(env, actions, picture=True))


def test_restored_end_of_an_episode_needs_a_reset(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env(truncate_on="clock:20")
    env.reset()
    alive = env.clone_state()
    while not env.episode_over:
        env.step(0)
    ended = env.clone_state()
    env.restore_state(alive)
    env.step(0)
    env.restore_state(ended)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)


def test_state_with_a_lambda_as_reward_is_restored(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env(reward=lambda metrics: metrics["progress"])
    env.reset()
    state = env.clone_state()
    first = drive(env, [0] * 5)
    env.restore_state(state)
    assert_same_trajectory(first, drive(env, [0] * 5))


def test_state_of_other_arguments_is_refused(
    make_env: Callable[..., MKDSEnv], env: MKDSEnv
) -> None:
    env.reset()
    state = env.clone_state()
    for arguments in ({"frame_skip": 2}, {"engine_class": 150}, {"mode": "vs"}, {"laps": 1}):
        other = make_env(**arguments)
        (name,) = arguments
        with pytest.raises(StateError, match=name):
            other.restore_state(state)
        other.close()


def paying(factor: float) -> Callable[[Mapping[str, float]], float]:
    def pay(metrics: Mapping[str, float]) -> float:
        return factor * metrics["progress"]

    return pay


def test_state_of_other_argument_objects_is_refused(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env(truncate_on=Clock(100), reward=paying(1))
    env.reset()
    state = env.clone_state()
    for name, arguments in {
        "truncate_on": {"truncate_on": Clock(200), "reward": paying(1)},
        "reward": {"truncate_on": Clock(100), "reward": paying(2)},
    }.items():
        with pytest.raises(StateError, match=name):
            make_env(**arguments).restore_state(state)
    assert env.recorded_arguments["reward"].endswith("paying.<locals>.pay")
    same = make_env(truncate_on=Clock(100), reward=paying(1))
    same.restore_state(state)
    assert_same_trajectory(drive(same, [0] * 3), drive(env, [0] * 3))


def test_argument_keys_are_equal_for_equal_arguments_only() -> None:
    def key(argument: Any) -> Any:
        copied = cloudpickle.loads(cloudpickle.dumps(argument))
        assert argument_key(copied) == argument_key(argument)
        return argument_key(argument)

    arguments = [
        Clock(100),
        Clock(200),
        Stuck(100),
        "clock:100",
        ["finish", Clock(100)],
        np.arange(9),
        np.arange(10),
        functools.partial(print, end=""),
        functools.partial(print, end="."),
        paying(1),
        paying(2),
        lambda metrics: metrics["progress"],
        lambda metrics: metrics["distance"],
        len,
        Clock,
    ]
    keys = list(map(key, arguments))
    assert len(set(map(repr, keys))) == len(arguments)
    assert key(Clock(100)) == keys[0]
    assert key(paying(2)) == keys[10]


def test_restore_does_not_change_where_resets_go(make_env: Callable[..., MKDSEnv]) -> None:
    # A state of an episode that began at a state; and an environment that has not begun yet.
    arguments: dict[str, Any] = {"course_set": "train", "mode": "vs", "opponents": 1}
    first = make_env(**arguments)
    first.reset(seed=5)
    first.reset(options={"state": first.clone_state()})
    state = first.clone_state()
    first.close()
    other = make_env(**arguments)
    recorder = Recorder(other)
    other.restore_state(state)
    drive(other, [0] * 3)
    drawn = [other.reset()[1]["course_seed"] for _ in range(2)]
    assert state.course_seed not in drawn
    assert drawn[0] != drawn[1]
    assert other.clone_state().course_seed == drawn[1]
    assert recorder.recording().start.course_seed == drawn[1]


def test_reset_after_restore_goes_to_the_own_savestate(
    make_env: Callable[..., MKDSEnv], tmp_path: Path
) -> None:
    env = make_env()
    env.reset()
    for name in ("near", "far"):
        drive(env, [0] * 80)
        env.console.save_state(tmp_path / name)
    near, far = (make_env(state=str(tmp_path / name)) for name in ("near", "far"))
    near.reset()
    state = near.clone_state()
    _, start = far.reset()
    far.restore_state(state)
    assert far.step(0)[4]["frame"] < start["frame"]
    assert far.reset()[1]["frame"] == start["frame"]
    for one in (env, near, far):
        one.close()


def test_closed_environment_refuses_calls(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env()
    env.close()
    with pytest.raises(gym.error.ClosedEnvironmentError):
        env.reset()
    assert env.starts.console is None
    env = make_env()
    env.reset()
    state = env.clone_state()
    env.close()
    calls: tuple[Callable[[], object], ...] = (
        env.reset,
        env.clone_state,
        lambda: env.step(0),
        lambda: env.restore_state(state),
        lambda: env.clone_along([0.1]),
    )
    for call in calls:
        with pytest.raises(gym.error.ClosedEnvironmentError, match="closed"):
            call()
    assert env.starts.console is None


def damaged(state: ClonedState) -> ClonedState:
    """One that the emulator does not take."""
    start = state.base.snapshot
    data = bytearray(start.data)
    (*_, (_, place, _), _) = snapshot.chunks(start.data)
    struct.pack_into("<I", data, place, 9999)  # there is no such chunk
    bad = Snapshot(bytes(data), start.rom, start.build_id, start.frame_count)
    state = pickle.loads(pickle.dumps(state))
    state.base = base_of(bad)
    state.difference = snapshot.Difference(bad, bad)
    return state


def test_damaged_state_is_refused(env: MKDSEnv) -> None:
    first, _ = env.reset()
    drive(env, [0] * 5)
    state = damaged(env.clone_state())
    before, memory = env.console.frame_count, env.console.ram.tobytes()
    with pytest.raises(StateError, match="damaged"):
        env.restore_state(state)
    assert (env.console.frame_count, env.console.ram.tobytes()) == (before, memory)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)
    np.testing.assert_array_equal(env.reset()[0], first)
    state.difference.blocks = np.array([1 << 30], np.int32)
    state.difference.content = zlib.compress(bytes(512))
    with pytest.raises(StateError, match="damaged"):
        env.restore_state(state)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("on_error", ["raise", "replace"])
def test_damaged_state_in_a_vector_environment_restarts_one_lane(
    mode: AutoresetMode, on_error: str
) -> None:
    envs: Any = gym.make_vec(
        "MKDS-v0",
        num_envs=2,
        vectorization_mode="vector_entry_point",
        autoreset_mode=mode,
        on_error=on_error,
    )
    envs.reset(seed=0)
    envs.step([0, 0])
    good, bad = envs.clone_states()
    with pytest.raises(VectorEnvError, match="damaged"):
        envs.restore_states([good, damaged(bad)])
    # The other one is where it should be, and this one begins anew.
    _, _, terminations, truncations, infos = envs.step([0, 0])
    assert infos["frame"][0] > infos["frame"][1]
    assert not (terminations | truncations).any()
    assert "error" not in infos
    envs.close()


def test_recorder_of_a_closed_environment_can_be_closed(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env()
    recorder = Recorder(env)
    env.reset()
    recorder.close()


def test_clone_before_reset_and_foreign_objects_are_refused(env: MKDSEnv) -> None:
    with pytest.raises(ConsoleError, match=r"reset\(\)"):
        env.clone_state()
    with pytest.raises(TypeError, match="clone_state"):
        env.restore_state(b"state")  # type: ignore[arg-type]


def test_gymnasium_wrappers_need_a_reset_before_restore(env: MKDSEnv) -> None:
    """Those that gym.make puts around it; the environment itself does not."""
    env.reset()
    state = env.clone_state()
    with gym.make("MKDS-v0", obs_type="pixels") as wrapped:
        wrapped.unwrapped.restore_state(state)
        with pytest.raises(gym.error.ResetNeeded):
            wrapped.step(0)
        wrapped.unwrapped.step(0)
        wrapped.reset()
        wrapped.unwrapped.restore_state(state)
        np.testing.assert_array_equal(wrapped.step(0)[0], env.step(0)[0])


def test_clone_along_gives_small_states_at_the_points(env: MKDSEnv) -> None:
    env.reset()
    points = [number / 12 for number in range(12)]
    along = env.clone_along(points)
    assert all(isinstance(state, ClonedState) for state in along)
    assert statistics.fmean(state.nbytes for state in along) < 160 << 10
    for point, state in zip(points[1::5], along[1::5], strict=True):
        env.restore_state(state)
        assert point <= env.step(0)[4]["progress"] < point + 0.02


def test_forgotten_compiled_code_makes_no_difference(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env()
    env.reset()
    console = env.console
    code = console.library.code
    assert code is not None
    assert console.library.fast_restore is not None
    start = console.snapshot()
    keys = np.random.default_rng(3).choice([1, 17, 33, 257, 273], size=90)

    def end(forgetting: Mapping[int, bool]) -> bytes:
        console.restore(start)
        for frame, key in enumerate(keys.tolist()):
            if forgetting.get(frame):
                code.forget_all()
            console.step(key)
        return bytes(console.snapshot().data)

    warm = end({})
    assert end({}) == warm
    assert end({5: True, 40: True, 77: True}) == warm


def test_restore_forgets_compiled_code_that_runs_into_a_changed_page(
    make_env: Callable[..., MKDSEnv],
) -> None:
    env = make_env()
    env.reset()
    console = env.console
    code = console.library.code
    assert code is not None
    start = console.snapshot()

    def end(state: Snapshot) -> int:
        console.restore(state)
        console.step(1, 10, draw=False)
        return zlib.crc32(console.ram)

    for page in range(0x8000, 0x18000, 0x1000):  # pages of the program
        console.restore(start)
        console.ram[page : page + 4].view(np.uint32)[:] = 0xE1A00000  # no operation
        patched = console.snapshot()
        code.forget_all()
        wanted = end(patched)
        code.forget_all()
        end(start)
        assert end(patched) == wanted, hex(page)


def test_state_of_another_race_replaces_all_memory(make_env: Callable[..., MKDSEnv]) -> None:
    """Also where code was compiled of memory that the state has otherwise."""
    env, other = make_env(), make_env(course_seed=3, course="random", mode="vs")
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


def test_restore_returns_to_a_random_course_and_its_seed(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env(course_set="train", mode="vs", opponents=2, items=True)
    _, first = env.reset(seed=5)
    drive(env, [0] * 10)
    state = env.clone_state()
    actions = [int(action) for action in np.random.default_rng(6).integers(11, size=12)]
    expected = drive(env, actions)
    _, second = env.reset()
    assert second["course_seed"] != first["course_seed"]
    drive(env, [0] * 3)
    env.restore_state(state)
    assert_same_trajectory(expected, drive(env, actions))
    _, again = env.reset()
    assert again["course_seed"] == second["course_seed"], "np_random went back too"
    fresh = make_env(course_set="train", mode="vs", opponents=2, items=True)
    fresh.restore_state(pickle.loads(pickle.dumps(state)))
    assert_same_trajectory(expected, drive(fresh, actions))


def test_state_of_another_course_rom_or_build_is_refused(
    make_env: Callable[..., MKDSEnv], env: MKDSEnv, tmp_path: Path
) -> None:
    env.reset()
    state = env.clone_state()
    memory = env.console.ram.tobytes()
    names = env.cartridge.course_names()
    other = make_env(obs_type="pixels", course=names[1])
    other.reset()
    foreign = other.clone_state()
    with pytest.raises(StateError, match="course="):
        env.restore_state(foreign)
    other.close()
    changed = bytearray(Cartridge.open(None).path.read_bytes())
    changed[-1] ^= 0xFF
    rom = tmp_path / "other.nds"
    rom.write_bytes(changed)
    other = make_env(rom=str(rom), obs_type="pixels")
    with pytest.raises(StateError, match="another ROM"):
        other.restore_state(state)
    with pytest.raises(StateError, match="another ROM"):
        other.reset(options={"state": state})
    other.close()
    alien = pickle.loads(pickle.dumps(state))
    alien.difference.build_id = "0" * 64
    with pytest.raises(StateError, match="another build"):
        env.restore_state(alien)
    assert env.console.ram.tobytes() == memory
    assert env.step(0)[3] is False


def test_progress_option_starts_one_episode_there(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env(obs_type="seed6")
    observation, info = env.reset(options={"progress": 0.15})
    assert 0.15 <= info["progress"] < 0.16
    assert info["metric_progress"] == 0
    again, _ = env.reset(options={"progress": 0.15})
    np.testing.assert_array_equal(again, observation)
    _, _, _, _, info = env.step(0)
    assert 0 < info["metric_progress"] < 60
    _, info = env.reset()
    assert info["progress"] < 0, "the option is for one episode"
    other = make_env(obs_type="seed6")
    np.testing.assert_array_equal(other.reset(options={"progress": 0.15})[0], observation)


def test_several_threads_drive_to_points(
    make_env: Callable[..., MKDSEnv], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(race_start, "POINTS_KEPT", 1)
    points = [0.01, 0.02, 0.03]
    alone = make_env(laps=5)
    expected = [alone.reset(options={"progress": point})[0] for point in points]
    envs = [make_env(laps=5) for _ in points]
    begin = threading.Barrier(len(points))

    def go(number: int) -> None:
        begin.wait(timeout=60)
        for turn in range(6):
            at = (turn + number) % len(points)
            observation, _ = envs[number].reset(options={"progress": points[at]})
            np.testing.assert_array_equal(observation, expected[at])

    with ThreadPoolExecutor(len(points)) as pool:
        list(pool.map(go, range(len(points))))
    assert envs[0].starts.current is alone.starts.current
    for env in (alone, *envs):
        env.close()


def test_many_states_take_one_drive(
    make_env: Callable[..., MKDSEnv], monkeypatch: pytest.MonkeyPatch
) -> None:
    drives = 0

    def counting(*arguments: Any) -> Any:
        nonlocal drives
        drives += 1
        return race_start.drive_to(*arguments)

    monkeypatch.setattr(start_manager, "drive_to", counting)
    monkeypatch.setattr(race_start, "POINTS_KEPT", 2)
    env = make_env(laps=6)
    collected = StartStates.collect(env, 5, laps=0.05)
    assert len(collected) == 5
    assert drives == 1


@pytest.mark.parametrize(
    ("laps", "progress", "has"), [(None, 99, "3 laps:"), (1, 1.01, "1 lap:")], ids=str
)
def test_progress_beyond_the_race_is_refused_at_once(
    make_env: Callable[..., MKDSEnv], laps: int | None, progress: float, has: str
) -> None:
    """Refused at once, not after the whole race."""
    with make_env(laps=laps) as env:
        with pytest.raises(ValueError, match=f"progress={progress} is beyond the race of {has}"):
            env.reset(options={"progress": progress})
        assert env.console.frame_count < 400


@pytest.mark.parametrize("progress", [-0.1, float("nan"), True, "0.4"])
def test_bad_progress_is_refused(env: MKDSEnv, progress: object) -> None:
    with pytest.raises((ValueError, TypeError), match="expected a number of at least 0"):
        env.reset(options={"progress": progress})
    with pytest.raises(ValueError, match="exclude each other"):
        env.reset(options={"progress": 0.1, "state": b""})


def test_start_states_are_saved_loaded_and_sampled(
    make_env: Callable[..., MKDSEnv], tmp_path: Path
) -> None:
    env = make_env()
    states = StartStates.collect(env, 4, laps=0.2)
    assert len(states) == 4
    file = tmp_path / "states"
    states.save(file)
    assert file.stat().st_size < 1 << 20
    loaded = StartStates.load(file)
    # A file that may not grow is what a full disk is: the one before stays.
    before = file.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        with pytest.raises(StateError, match="cannot write"):
            states.save(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]
    chance = np.random.default_rng(1)
    drawn = [states[:].index(states.sample(chance)) for _ in range(8)]
    chance = np.random.default_rng(1)
    assert [loaded[:].index(loaded.sample(chance)) for _ in range(8)] == drawn
    assert len(set(drawn)) > 1
    with pytest.raises(TypeError, match="default_rng"):
        states.sample(3)  # type: ignore[arg-type]
    places = []
    for state in loaded:
        _, info = env.reset(options={"state": state})
        places.append(info["progress"])
    np.testing.assert_allclose(places, [0.0, 0.05, 0.1, 0.15], atol=0.01)
    driven = StartStates.collect(env, 3, laps=0.03, policy=lambda _: 0)
    env.restore_state(driven[2])
    assert env.step(0)[4]["progress"] > 0.02


def test_random_starts_repeat_with_the_seed_in_a_vector_environment(
    make_env: Callable[..., MKDSEnv],
) -> None:
    env = make_env()
    starts = StartStates.collect(env, 4, laps=0.2)
    env.close()
    kwargs: dict[str, Any] = {"terminate_on": (), "truncate_on": "clock:4"}

    def wrap(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        return RandomStarts(env, starts)

    def begun(seed: int) -> list[float]:
        envs = gym.make_vec("MKDS-v0", num_envs=2, env_wrappers=[wrap], **kwargs)
        _, infos = envs.reset(seed=seed)
        places = list(infos["progress"])
        for _ in range(10):
            _, _, terminated, truncated, _ = envs.step([0, 0])
            if (terminated | truncated).all():
                places += list(envs.step([0, 0])[4]["progress"])
        envs.close()
        return [round(float(place), 2) for place in places]

    drawn = begun(1)
    assert len(drawn) >= 8
    assert set(drawn) <= {0.0, 0.05, 0.1, 0.15, 0.01, 0.06, 0.11, 0.16}
    assert len(set(drawn)) > 2
    assert begun(1) == drawn
    with pytest.raises(TypeError, match="StartStates"):
        RandomStarts(env, [])  # type: ignore[arg-type]


def test_bad_start_states_are_refused(
    make_env: Callable[..., MKDSEnv], env: MKDSEnv, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="at least one"):
        StartStates([])
    with pytest.raises(TypeError, match="clone_state"):
        StartStates([b"state"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="count"):
        StartStates.collect(env, 0)
    with pytest.raises(ValueError, match=r"laps=9\.0, count=2: .*beyond the race"):
        StartStates.collect(env, 2, laps=9)
    with pytest.raises(TypeError, match="policy=3"):
        StartStates.collect(env, policy=3)  # type: ignore[arg-type]
    with (
        make_env(truncate_on="clock:1") as idle,
        pytest.raises(StateError, match="policy's episode"),
    ):
        StartStates.collect(idle, 2, policy=lambda _: 5)
    with pytest.raises(StateError, match=r"none' does not exist: .*collect"):
        StartStates.load(tmp_path / "none")
    (tmp_path / "bad").write_bytes(b"bad")
    with pytest.raises(StateError, match="not a file of start states"):
        StartStates.load(tmp_path / "bad")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StateError, match="is a pipe"):
        StartStates.load(tmp_path / "pipe")


def test_states_from_a_file_start_episodes_and_are_not_restored(
    env: MKDSEnv, tmp_path: Path
) -> None:
    env.reset()
    for _ in range(5):
        env.step(0)
    states = StartStates([env.clone_state()])
    states.save(tmp_path / "states")
    (loaded,) = StartStates.load(tmp_path / "states")
    assert loaded != states[0]
    assert loaded.base is states[0].base
    assert loaded.arguments == states[0].arguments
    with pytest.raises(StateError, match=r"loaded from a file.*options=\{'state': state\}"):
        env.restore_state(loaded)
    starts = [env.reset(options={"state": state}) for state in (states[0], loaded)]
    assert data_equivalence(*starts, exact=True)
    # As a start, the state is a whole one again.
    env.restore_state(env.clone_state())


def write_start_states(path: Path, header: Any, parts: bytes) -> None:
    """Write a file of start states with a correct checksum."""
    text = json.dumps(header).encode()
    body = struct.pack("<I", len(text)) + text + parts
    path.write_bytes(b"MKDS start states 3\n" + hashlib.sha256(body).digest() + body)


def test_foreign_start_states_are_tried_before_a_console_loads_them(
    env: MKDSEnv, tmp_path: Path
) -> None:
    env.reset()
    for _ in range(5):
        env.step(0)
    state = env.clone_state()
    file = tmp_path / "states"
    StartStates([state]).save(file)
    data = file.read_bytes()
    (size,) = struct.unpack_from("<I", data, 52)
    header, parts = json.loads(data[56 : 56 + size]), data[56 + size :]
    base = len(pack_state(state.base.snapshot))
    assert header["bases"] == [base]
    # The base is the one of this process, and the difference changes what the emulator trusts.
    drawing, blocks, packed, _ = header["states"][0]["parts"]
    begin = base + drawing + blocks
    content = zlib.decompress(parts[begin : begin + packed])
    flipped = zlib.compress(bytes(each ^ 0xFF for each in content), 1)
    header["states"][0]["parts"][2] = len(flipped)
    write_start_states(file, header, parts[:begin] + flipped + parts[begin + packed :])
    (bad,) = StartStates.load(file)
    with pytest.raises(StateError):
        env.reset(options={"state": bad})
    assert env.reset()[1]["frame"] < 100
    # The same states with another header are tried, and pass.
    header = {**json.loads(data[56 : 56 + size]), "note": "another file"}
    write_start_states(file, header, parts)
    (good,) = StartStates.load(file)
    assert good.foreign
    infos = [env.reset(options={"state": each})[1] for each in (good, state)]
    assert not good.foreign  # tried once
    assert data_equivalence(*infos, exact=True)


def damage(header: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy of a header with one value replaced."""
    header = copy.deepcopy(header)
    *keys, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    part: Any = header
    for key in keys:
        part = part[key]
    part[last] = value
    return header


def test_damaged_start_states_are_refused(env: MKDSEnv, tmp_path: Path) -> None:
    env.reset()
    file = tmp_path / "states"
    StartStates([env.clone_state()]).save(file)
    data = file.read_bytes()
    (size,) = struct.unpack_from("<I", data, 52)
    header, parts = json.loads(data[56 : 56 + size]), data[56 + size :]
    for cut in (10, 60, 500, len(data) - 1):
        file.write_bytes(data[:cut])
        with pytest.raises(StateError, match=r"states'.* (damaged|not a file)"):
            StartStates.load(file)
    for path, value in {
        "bases": [],
        "bases.0": 1 << 40,
        "states": [],
        "states.0": None,
        "states.0.base": 1,
        "states.0.kind": "nothing",
        "states.0.rom": "0" * 40,
        "states.0.frames": -1,
        "states.0.size": 1 << 40,
        "states.0.parts": [1, 2],
        "states.0.parts.0": 1 << 30,
        "states.0.parts.1": 3,
        "states.0.arguments": 3,
        "states.0.course": "x",
        "states.0.course_seed": -1,
    }.items():
        write_start_states(file, damage(header, path, value), parts)
        with pytest.raises(StateError, match=r"states'"):
            StartStates.load(file)
    write_start_states(file, header, parts + b"x")
    with pytest.raises(StateError, match="left over"):
        StartStates.load(file)


class Marker:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("magic", [b"MKDS start states 2\n", b"MKDS start states 3\n", b""])
def test_pickles_as_start_states_are_refused_and_not_read(magic: bytes, tmp_path: Path) -> None:
    marker, file = tmp_path / "marker", tmp_path / "states"
    data = pickle.dumps(Marker(marker))
    for content in (data, zlib.compress(data)):
        file.write_bytes(magic + content)
        with pytest.raises(StateError, match=r"pickles|damaged|not a file of start states"):
            StartStates.load(file)
    assert not marker.exists()
    pickle.loads(data)
    assert marker.exists()


def test_pickled_state_of_another_version_is_refused(
    env: MKDSEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    env.reset()
    with monkeypatch.context() as patch:
        patch.setattr(cloned_state, "VERSION", 99)
        later = pickle.dumps(env.clone_state())
    with pytest.raises(StateError, match="version 99"):
        pickle.loads(later)


def resident() -> int:
    """Memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.slow
def test_unknown_build_clones_and_restores(unknown_library: Path) -> None:
    library = {LIBRARY_VARIABLE: str(unknown_library)}
    done = run_file("clone_on_unknown_build.py", **library)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_clone_and_restore_take_constant_memory(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env()
    env.reset()
    state = env.clone_state()
    for number in range(400):
        if number == 100:
            before = resident()
        env.step(number % 11)
        env.clone_state()
        env.restore_state(state)
    assert resident() - before < 3 << 20


def test_restore_within_on_end_of_another_restore(make_env: Callable[..., MKDSEnv]) -> None:
    """In the same thread, in the middle of a restore: each environment gets its own state."""
    one, other = make_env(), make_env()
    try:
        one.reset(seed=0)
        other.reset(seed=0)
        for _ in range(20):
            one.step(0)
        wanted, early = one.clone_state(), other.clone_state()
        frame = one.race.frame
        for _ in range(5):
            one.step(0)
        recorder = Recorder(one, on_end=lambda _: other.restore_state(early))
        one.reset(seed=0)
        one.step(0)
        one.restore_state(wanted)
        assert one.race.frame == frame > other.race.frame
    finally:
        recorder.close()
        one.close()
        other.close()


def test_restore_brings_back_the_last_reward_terms(make_env: Callable[..., MKDSEnv]) -> None:
    """Also where nobody drew any overlay when the state was cloned."""
    plain, drawing = make_env(), make_env(overlays=["hud"], render_mode="rgb_array")
    try:
        plain.reset(seed=0)
        for _ in range(30):
            plain.step(0)
        drawing.reset(seed=0)
        drawing.restore_state(plain.clone_state())
        assert drawing.last_reward_terms == plain.last_reward_terms
        assert 0 < plain.last_reward_terms["progress"] < 30  # of four frames, not of thirty steps
    finally:
        plain.close()
        drawing.close()


def test_close_closes_the_console_although_on_end_fails(make_env: Callable[..., MKDSEnv]) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("no more")

    env = make_env()
    Recorder(env, on_end=fail)
    env.reset(seed=0)
    env.step(0)
    console = env.console
    with pytest.raises(ZeroDivisionError):
        env.close()
    assert console.closed
    assert env.closed
