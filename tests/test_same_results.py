"""Equal seeds and actions give equal results, however an environment is run.

Every way of running is compared with fresh single environments. `tests/test_vector.py` compares
`MKDSVectorEnv` with Gymnasium's `SyncVectorEnv` in every mode and form.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from programs import run_file
from trajectories import (
    Row,
    assert_same_trajectory,
    drive,
    drive_vector,
    reset_and_drive,
    row,
)

import mkds_gym  # noqa: F401  registers MKDS-v0
from mkds_gym.env import MKDSEnv
from mkds_gym.observer import EnvObserver

SEEDS = [7, 2**31]
# A VS race with items in short episodes: a seed decides what opponents and items do.
ARGUMENTS: dict[str, Any] = {
    "mode": "vs",
    "opponents": 3,
    "items": True,
    "sensors": ["seed6", "opponents"],
    "action_type": "discrete_items",
    "truncate_on": "clock:60",
}
# And which course an episode has. Making one takes longer than driving it.
RANDOM = {**ARGUMENTS, "course_set": "train"}
STEPS = 24
CUT = 7
ACTIONS = np.random.default_rng(5).integers(14, size=(STEPS, 8))


def single_trajectories(arguments: dict[str, Any]) -> Iterator[list[list[Row]]]:
    """Yield the trajectory of a fresh environment for each seed; the race start stays booted."""
    envs = [MKDSEnv(**arguments) for _ in SEEDS]
    trajectories = [
        reset_and_drive(env, ACTIONS[:, index].tolist(), SEEDS[index])
        for index, env in enumerate(envs)
    ]
    assert sum(each.truncated for rows in trajectories for each in rows) >= len(SEEDS)
    assert len({tuple(rows[-1].observation) for rows in trajectories}) == len(SEEDS)
    yield trajectories
    for env in envs:
        env.close()


@pytest.fixture(scope="module")
def expected() -> Iterator[list[list[Row]]]:
    yield from single_trajectories(ARGUMENTS)


@pytest.fixture(scope="module")
def expected_random() -> Iterator[list[list[Row]]]:
    yield from single_trajectories(RANDOM)


def observed(env: MKDSEnv, actions: list[int]) -> list[Row]:
    observer = EnvObserver()
    observer.needs_frames = observer.needs_picture = True
    env.add_observer(observer)
    return reset_and_drive(env, actions, SEEDS[0])


def written_in_place(env: MKDSEnv, actions: list[int]) -> list[Row]:
    out = np.zeros(env.observation_space.shape or (), np.float32)
    rows = [row(env, (out.copy(), env.reset_into(out, seed=SEEDS[0])))]
    rows[0] = rows[0]._replace(observation=out.copy())
    for action in actions:
        if env.episode_over:
            info = env.reset_into(out)
            rows.append(row(env, (out.copy(), info)))
        else:
            results = env.step_into(action, out)
            rows.append(row(env, (out.copy(), *results)))
    return rows


def cloned_and_restored(env: MKDSEnv, actions: list[int]) -> list[Row]:
    """Drive each part after a drive elsewhere and a restore, across resets as well."""
    rows = reset_and_drive(env, [], SEEDS[0])
    for start in range(0, STEPS, CUT):
        state = env.clone_state()
        drive(env, [3, 4, 5])
        env.restore_state(state)
        rows += drive(env, actions[start : start + CUT])
    return rows


def after_another_episode(env: MKDSEnv, actions: list[int]) -> list[Row]:
    reset_and_drive(env, [0, 1], 99)
    return reset_and_drive(env, actions, SEEDS[0])


SINGLE: dict[str, tuple[Callable[[MKDSEnv, list[int]], list[Row]], dict[str, Any]]] = {
    "after another episode": (after_another_episode, {}),
    "rendered": (after_another_episode, {"render_mode": "rgb_array", "overlays": ["hud"]}),
    "observed": (observed, {}),
    "written in place": (written_in_place, {}),
    "cloned and restored": (cloned_and_restored, {}),
}


@pytest.mark.parametrize("way", SINGLE)
def test_single_environment_is_the_same(way: str, expected: list[list[Row]]) -> None:
    run, arguments = SINGLE[way]
    env = MKDSEnv(**ARGUMENTS, **arguments)
    assert_same_trajectory(expected[0], run(env, ACTIONS[:, 0].tolist()))
    env.close()


def test_pickled_state_is_the_same_in_another_process(
    expected: list[list[Row]], tmp_path: Path
) -> None:
    env, actions = MKDSEnv(**ARGUMENTS), ACTIONS[:, 0].tolist()
    reset_and_drive(env, actions[:CUT], SEEDS[0])
    file = tmp_path / "state"
    state = env.clone_state()
    file.write_bytes(pickle.dumps((ARGUMENTS, state, actions[CUT:], expected[0][CUT + 1 :])))
    done = run_file("drive_from_state.py", str(file))
    assert done.returncode == 0, done.stderr
    env.close()


VECTOR: dict[str, dict[str, Any]] = {
    "sync": {"vectorization_mode": "sync"},
    **{
        f"async {context}": {
            "vectorization_mode": "async",
            "vector_kwargs": {"context": context},
        }
        for context in ("fork", "forkserver", "spawn")
    },
    **{
        f"{threads} threads": {
            "vectorization_mode": "vector_entry_point",
            "num_threads": threads,
        }
        for threads in range(1, 9)
    },
}


def assert_vector_is_the_same(
    way: str, arguments: dict[str, Any], expected: list[list[Row]]
) -> None:
    envs = gym.make_vec("MKDS-v0", num_envs=len(SEEDS), **VECTOR[way], **arguments)
    trajectories = drive_vector(envs, ACTIONS[:, : len(SEEDS)], SEEDS)
    for one, other in zip(expected, trajectories, strict=True):
        assert_same_trajectory(one, other)


@pytest.mark.parametrize("way", ["sync", "async fork", "async forkserver", "1 threads"])
def test_vector_environment_is_the_same(way: str, expected: list[list[Row]]) -> None:
    assert_vector_is_the_same(way, ARGUMENTS, expected)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["async spawn", "2 threads"])
def test_vector_environment_has_the_same_random_courses(
    way: str, expected_random: list[list[Row]]
) -> None:
    assert_vector_is_the_same(way, RANDOM, expected_random)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_any_number_of_threads_gives_the_same() -> None:
    """More environments than threads, as many, and every number between."""
    seeds = list(range(8))
    first: list[list[Row]] = []
    for way in ("sync", *(way for way in VECTOR if way.endswith("threads"))):
        envs = gym.make_vec("MKDS-v0", num_envs=len(seeds), **VECTOR[way], **ARGUMENTS)
        trajectories = drive_vector(envs, ACTIONS, seeds)
        first = first or trajectories
        assert sum(each.truncated for rows in first for each in rows) >= len(seeds)
        for one, other in zip(first, trajectories, strict=True):
            assert_same_trajectory(one, other)
