"""`MKDSVectorEnv`: results, arguments and use in the right and the wrong order."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from vector_envs import SHORT, equal, make, make_sync, play

from mkds_gym.env import MKDSEnv
from mkds_gym.race.names import COURSES
from mkds_gym.vector.env import MKDSVectorEnv
from mkds_gym.vector.infos import merge_infos

VS_RACE: dict[str, Any] = {"mode": "vs", "opponents": 2, "items": True, **SHORT}


@pytest.fixture(scope="module")
def pair() -> Iterator[MKDSVectorEnv]:
    with make(2, num_threads=2, autoreset_mode="Disabled", truncate_on="clock:8") as envs:
        envs.reset(seed=0)
        yield envs


# The same results as single environments ----------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "threads", "kwargs"),
    [
        (AutoresetMode.NEXT_STEP, 1, {}),
        (AutoresetMode.NEXT_STEP, 2, {"obs_type": "dict", "info_every_step": False}),
        (AutoresetMode.SAME_STEP, 2, {"obs_type": ["seed6", "kinematics"]}),
        (AutoresetMode.SAME_STEP, 3, {"obs_type": "pixels", "screens": "both"}),
        pytest.param(AutoresetMode.DISABLED, 4, {"obs_type": "ram"}, marks=pytest.mark.slow),
        (AutoresetMode.DISABLED, 2, {"action_type": "threshold:2", "max_episode_steps": 2}),
    ],
)
def test_results_equal_sync_vector_env(
    mode: AutoresetMode, threads: int, kwargs: dict[str, Any]
) -> None:
    kwargs = {**SHORT, **kwargs}
    sync = make_sync(3, mode, **kwargs)
    with make(3, num_threads=threads, autoreset_mode=mode, **kwargs) as envs:
        assert envs.num_threads == min(threads, 3)
        assert envs.observation_space == sync.observation_space
        assert envs.action_space == sync.action_space
        ends = 0
        for expected, got in zip(play(sync, 10), play(envs, 10), strict=True):
            assert equal(expected, got)
            ends += len(got) == 5 and int((got[2] | got[3]).sum())
        assert ends >= 3
        assert envs.np_random_seed == sync.np_random_seed
    sync.close()


@pytest.mark.parametrize(
    "kwargs", [VS_RACE, {"course_set": "train", "difficulty": 0.3, **SHORT}], ids=["vs", "random"]
)
def test_random_races_equal_single_environments(kwargs: dict[str, Any]) -> None:
    seeds = [11, 4]
    with make(2, num_threads=2, autoreset_mode="SameStep", **kwargs) as envs:
        results = list(play(envs, 5, seeds))
    for index, seed in enumerate(seeds):
        envs.action_space.seed(5)
        env = MKDSEnv(**kwargs)
        observation, info = env.reset(seed=seed)
        for step, (observations, *_, infos) in enumerate(results):
            assert np.array_equal(observation, observations[index])
            assert info["course_seed"] == infos["course_seed"][index]
            assert info["metric_distance"] == infos["metric_distance"][index]
            if step == len(results) - 1:
                break
            action = envs.action_space.sample()[index]
            observation, reward, terminated, truncated, info = env.step(action)
            following = results[step + 1]
            assert [reward, terminated, truncated] == [each[index] for each in following[1:4]]
            if terminated or truncated:
                assert np.array_equal(observation, following[4]["final_obs"][index])
                observation, info = env.reset()
        env.close()


def test_number_of_threads_changes_no_result() -> None:
    runs = []
    for threads in (1, 2, 5):
        with make(5, num_threads=threads, **VS_RACE) as envs:
            assert envs.num_threads == threads
            runs.append(list(play(envs, 4)))
    for other in runs[1:]:
        assert all(equal(*results) for results in zip(runs[0], other, strict=True))
    assert len(set(runs[0][3][4]["metric_progress"].tolist())) > 2  # the races differ


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_full_infos_with_none_and_numbers_are_merged(mode: AutoresetMode) -> None:
    """A random course has a seed; another course has None."""
    each = [{"course": "random", "course_seed": 5}, None]
    with make(2, env_kwargs=each, autoreset_mode=mode, info_type="full", **SHORT) as envs:
        for results in play(envs, 4):
            infos = results[-1]
            seeds = zip(infos["course_seed"], infos["_course_seed"], strict=True)
            assert {seed for seed, present in seeds if present} <= {5, None}


# Arguments ----------------------------------------------------------------------------------


def test_make_vec_from_spec_keeps_arguments() -> None:
    with make(2, num_threads=1, frame_skip=6) as envs:
        assert envs.spec is not None
        again = gym.make_vec(envs.spec)
        assert isinstance(again, MKDSVectorEnv)
        assert again.num_envs == 2
        assert again.get_attr("frame_skip") == (6, 6)
        again.close()


def test_seeds_and_options_per_environment() -> None:
    with make(3, num_threads=2, course="random", autoreset_mode="Disabled") as envs:
        options = [{"course_seed": 5}, {"course_seed": 6}, None]
        _, infos = envs.reset(seed=[1, None, 3], options=options)
        assert infos["course_seed"].tolist()[:2] == [5, 6]
        assert envs.np_random_seed[::2] == (1, 3)
        mask = np.array([True, False, True])
        _, infos = envs.reset(
            options={"course_seed": 5, "reset_mask": mask, "per_env": [None, None, options[1]]}
        )
        assert infos["course_seed"].tolist() == [5, 0, 6]
        assert infos["_course_seed"].tolist() == mask.tolist()
        envs.reset(seed=7, options={"course_seed": 5})
        assert envs.np_random_seed == (7, 8, 9)


def test_env_kwargs_override_arguments_for_all() -> None:
    names = MKDSEnv().cartridge.course_names()
    with make(2, course=names[0], env_kwargs=[{"course": names[1]}, None]) as envs:
        _, infos = envs.reset(seed=0)
        assert [COURSES[number] for number in infos["course"]] == [names[1], names[0]]


def test_gymnasium_vector_wrappers_work() -> None:
    inner = make(2, env_wrappers=[gym.wrappers.TimeAwareObservation], max_episode_steps=99, **SHORT)
    envs: Any = gym.wrappers.vector.RecordEpisodeStatistics(inner)
    envs = gym.wrappers.vector.NormalizeObservation(envs)
    envs = gym.wrappers.vector.ClipReward(envs, -1.0, 1.0)
    envs.reset(seed=0)
    steps = 0
    infos: dict[str, Any] = {}
    while "episode" not in infos:
        steps += 1
        observations, _, _, _, infos = envs.step(envs.action_space.sample())
        assert observations.shape == (2, 7)
    assert infos["episode"]["l"][infos["_episode"]].tolist() == [steps] * 2
    envs.close()
    assert inner.closed


def test_copy_false_returns_the_same_arrays() -> None:
    with make(2, num_threads=1) as envs:
        before, _ = envs.reset(seed=0)
        first = before.copy()
        for _ in range(5):
            after, *_ = envs.step([0, 1])
        assert np.array_equal(before, first)
        assert not np.array_equal(before, after)
    with make(2, num_threads=2, copy=False) as envs:
        before, _ = envs.reset(seed=0)
        assert np.array_equal(before, first)
        for _ in range(5):
            after, rewards, *_ = envs.step([0, 1])
        assert after is before
        assert rewards is not envs.step([0, 1])[1]


def test_render_attributes_and_calls() -> None:
    with make(
        2, render_mode="rgb_array", env_kwargs=[{"frame_skip": 4}, {"frame_skip": 8}]
    ) as envs:
        envs.reset(seed=0)
        envs.step([0, 0])
        pictures = envs.render()
        assert len(pictures) == 2
        assert all(picture.shape == (192, 256, 3) and picture.any() for picture in pictures)
        assert envs.get_attr("frame_skip") == (4, 8)
        envs.set_attr("frame_skip", [1, 2])
        assert envs.get_attr("frame_skip") == (1, 2)
        envs.set_attr("frame_skip", 3)
        frames = envs.step([0, 0])[4]["frame"]
        assert envs.step([0, 0])[4]["frame"].tolist() == (frames + 3).tolist()
        with pytest.raises(ValueError, match="frame_skip=0"):
            envs.set_attr("frame_skip", 0)
        for name in ("frameskip", "laps", "obs_type"):
            with pytest.raises(AttributeError, match=f"no attribute '{name}'.* 'frame_skip'"):
                envs.set_attr(name, 1)
        courses = envs.call("get_wrapper_attr", "course")
        assert courses[0].track.length == courses[1].track.length
        with pytest.raises(ValueError, match="values has the length 3: expected 2"):
            envs.set_attr("frame_skip", [1, 2, 3])


def test_step_mask_leaves_other_environments_unchanged() -> None:
    with make(3, num_threads=2, autoreset_mode="Disabled") as envs:
        first, _ = envs.reset(seed=0)
        mask = np.array([True, False, True])
        for _ in range(10):
            observations, rewards, _, _, infos = envs.step([0, 0, 0], step_mask=mask)
        assert np.array_equal(observations[1], first[1])
        assert rewards[1] == 0.0
        assert infos["_frame"].tolist() == mask.tolist()
        assert envs.get_attr("console")[1].frame_count < envs.get_attr("console")[0].frame_count


# Closing, processes, threads ------------------------------------------------------------------


def test_call_in_forked_child_is_refused() -> None:
    with make(2, num_threads=2) as envs:
        envs.reset(seed=0)
        child = os.fork()
        if not child:
            try:
                envs.step([0, 0])
            except gym.error.Error as error:
                os._exit(7 if "fork" in str(error) else 8)
            os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        envs.step([0, 0])


def test_close_ends_consoles_and_threads() -> None:
    before = threading.active_count()
    envs = make(3, num_threads=3)
    envs.reset(seed=0)
    consoles = envs.get_attr("console")
    assert before < threading.active_count() <= before + 2
    envs.close()
    envs.close()
    assert envs.closed
    assert all(console.closed for console in consoles)
    assert threading.active_count() == before
    for call in (envs.reset, lambda: envs.step([0, 0, 0]), envs.render, lambda: envs.replace(0)):
        with pytest.raises(gym.error.ClosedEnvironmentError):
            call()


def test_garbage_collection_ends_threads() -> None:
    before = threading.active_count()
    envs = make(2, num_threads=2)
    envs.reset(seed=0)
    envs.step([0, 0])
    reference = weakref.ref(envs)
    del envs
    gc.collect()
    assert reference() is None
    assert threading.active_count() == before


# Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_zero_environments_raise_index_error_in_gymnasiums_modes(mode: str) -> None:
    """Documented: Gymnasium itself fails before any code of ours runs."""
    with pytest.raises(IndexError):
        gym.make_vec("MKDS-v0", num_envs=0, vectorization_mode=mode)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_envs": 0}, "num_envs=0"),
        ({"num_envs": -2}, "num_envs=-2"),
        ({"num_envs": True}, "num_envs=True"),
        ({"num_envs": 1.0}, "num_envs=1.0"),
        ({"num_envs": 10_000}, "from 1 to 1024"),
        ({"num_threads": 0}, "num_threads=0"),
        ({"num_threads": 100_000}, "from 1 to 256"),
        ({"num_threads": "two"}, "num_threads='two'"),
        ({"copy": 1}, "copy=1"),
        ({"autoreset_mode": "Never"}, "'NextStep', 'SameStep', 'Disabled'"),
        ({"on_error": "ignore"}, "'raise', 'replace'"),
        ({"env_kwargs": {"course": "random"}}, "env_kwargs"),
        ({"env_kwargs": [{}]}, "env_kwargs has the length 1: expected 2"),
        ({"env_kwargs": [{}, 3]}, r"env_kwargs\[1\]=3"),
        ({"env_kwargs": [{"obs_type": "pixels"}, {}]}, "environment 1 has the observation space"),
        ({"env_kwargs": [{"action_type": "keys"}, {}]}, "environment 1 has the action space"),
        ({"env_kwargs": [{"render_mode": "rgb_array"}, {}]}, "the same render_mode"),
        ({"env_wrappers": [lambda env: 3]}, "returned 3"),
        ({"env_wrappers": [3]}, r"env_wrappers\[0\]=3"),
        ({"env_wrappers": gym.wrappers.FlattenObservation}, "env_wrappers=.*is not a list"),
        ({"max_episode_steps": 0}, "max_episode_steps=0"),
        ({"render_mode": "human"}, "one window"),
        ({"frame_skip": 0}, "frame_skip=0"),
        ({"frameskip": 4}, "unexpected keyword argument 'frameskip'.*num_threads"),
    ],
)
def test_wrong_argument_starts_nothing(kwargs: dict[str, Any], message: str) -> None:
    threads = threading.active_count()
    with pytest.raises((ValueError, TypeError), match=message):
        MKDSVectorEnv(**{"num_envs": 2, **kwargs})
    assert threading.active_count() == threads


def test_observations_without_arrays_are_refused() -> None:
    made: list[Any] = []

    class TextObservation(gym.ObservationWrapper[Any, Any, Any]):
        def __init__(self, env: Any) -> None:
            super().__init__(env)
            self.observation_space = gym.spaces.Text(4)
            self.closed = False
            made.append(self)

        def observation(self, observation: Any) -> str:
            return "text"

        def close(self) -> None:
            self.closed = True
            super().close()

    threads = threading.active_count()
    with pytest.raises(TypeError, match="vectorization_mode='sync'"):
        MKDSVectorEnv(2, env_wrappers=[TextObservation])
    assert [env.closed for env in made] == [True, True]
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0], "has the length 1: expected 2"),
        ([0, 0, 0], "has the length 3: expected 2"),
        (0, r"shape \(\)"),
        ([[0], [0]], r"shape \(2, 1\)"),
        ([0.0, 1.0], "float64"),
        ([True, False], "bool"),
        ([0, 11], r"actions\[1\]=11 "),
        ([-1, 0], r"actions\[0\]=-1 "),
        ([[0], [0, 1]], "shape"),
        (None, "shape"),
    ],
)
def test_wrong_action_steps_nothing(pair: MKDSVectorEnv, actions: Any, message: str) -> None:
    frames = [console.frame_count for console in pair.get_attr("console")]
    with pytest.raises(ValueError, match=message):
        pair.step(actions)
    assert [console.frame_count for console in pair.get_attr("console")] == frames


def test_activation_that_is_not_finite_is_refused() -> None:
    with make(2, action_type="threshold:2") as envs:
        envs.reset()
        for wrong in (np.nan, np.inf):
            with pytest.raises(ValueError, match=r"actions\[1\]="):
                envs.step(np.array([[0.0, 0.0], [wrong, 0.0]], np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": [1]}, "seed has the length 1: expected 2"),
        ({"seed": "a"}, "seed='a'"),
        ({"seed": True}, "seed=True"),
        ({"seed": [1.7, 5]}, "seed 1.7 of environment 0"),
        ({"seed": [1, "5"]}, "seed '5' of environment 1"),
        ({"options": [None]}, "options has the length 1: expected 2"),
        ({"options": [3, None]}, "options 3 of environment 0"),
        ({"options": "state"}, "options='state'"),
        ({"options": {"reset_mask": None}}, "not a NumPy array or list of bool"),
        ({"options": {"reset_mask": [1, 0]}}, "not a NumPy array or list of bool"),
        ({"options": {"reset_mask": [True]}}, r"shape \(1,\)"),
        ({"options": {"reset_mask": np.array([True])}}, r"shape \(1,\)"),
        ({"options": {"reset_mask": np.zeros(2, np.bool_)}}, "at least one True"),
    ],
)
def test_wrong_reset_argument_is_refused(
    pair: MKDSVectorEnv, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        pair.reset(**arguments)


def test_step_before_reset_or_after_the_end_needs_a_reset(pair: MKDSVectorEnv) -> None:
    pair.reset(seed=0)
    while not pair.step([0, 0])[3].any():
        pass
    with pytest.raises(gym.error.ResetNeeded, match=r"environments \[0, 1\]"):
        pair.step([0, 0])
    pair.reset(options={"reset_mask": np.array([False, True])})
    with pytest.raises(gym.error.ResetNeeded, match=r"environments \[0\] "):
        pair.step([0, 0])
    pair.step([0, 0], step_mask=[False, True])
    for wrong, kind in ((5, IndexError), (-1, IndexError), (True, TypeError), ("a", TypeError)):
        with pytest.raises(kind, match=f"index={wrong!r}"):
            pair.replace(wrong)  # type: ignore[arg-type]
    with make(1) as envs, pytest.raises(gym.error.ResetNeeded):
        envs.step([0])


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_first_reset_of_some_leaves_the_others_waiting(mode: AutoresetMode) -> None:
    with make(3, num_threads=2, autoreset_mode=mode) as envs:
        mask = np.array([False, True, False])
        envs.reset(seed=0, options={"reset_mask": mask})
        with pytest.raises(gym.error.ResetNeeded, match=r"environments \[0, 2\] need a reset"):
            envs.step([0, 0, 0])
        envs.step([0, 0, 0], step_mask=mask)
        envs.reset(seed=0, options={"reset_mask": ~mask})
        envs.step([0, 0, 0])


def test_infos_of_different_form_are_merged_as_objects() -> None:
    infos = [
        (0, {"events": np.zeros(4, np.bool_), "laps": np.ones(5), "seed": np.int64(3)}),
        (2, {"events": np.ones(2, np.bool_), "laps": np.zeros(5), "seed": None}),
    ]
    merged = merge_infos(3, infos)
    assert [None if each is None else each.tolist() for each in merged["events"]] == [
        [False] * 4,
        None,
        [True] * 2,
    ]
    assert merged["laps"].tolist() == [[1.0] * 5, [0.0] * 5, [0.0] * 5]
    assert merged["seed"].tolist() == [3, None, None]
    assert merged["_seed"].tolist() == [True, False, True]
