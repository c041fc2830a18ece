"""`MKDSVectorEnv`: the same races as single environments drive, together in one process."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode

import mkds_gym  # noqa: F401
from mkds_gym.env import MKDSEnv
from mkds_gym.errors import ConsoleError, MKDSError, StateError, VectorEnvError
from mkds_gym.vector.env import MKDSVectorEnv

SHORT: dict[str, Any] = {"frame_skip": 20, "truncate_on": ("clock:60", "stuck:100")}
"""Episodes of a second on the race clock, of which there are several in a test."""


def make(num_envs: int, **kwargs: Any) -> MKDSVectorEnv:
    envs = gym.make_vec(
        "MKDS-v0", num_envs=num_envs, vectorization_mode="vector_entry_point", **kwargs
    )
    assert isinstance(envs, MKDSVectorEnv)
    return envs


def make_sync(num_envs: int, mode: AutoresetMode, **kwargs: Any) -> Any:
    return gym.make_vec(
        "MKDS-v0",
        num_envs=num_envs,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": mode},
        **kwargs,
    )


def play(envs: Any, steps: int, seed: Any = 3, action_seed: int = 5) -> Iterator[Any]:
    """What reset and steps give; ended episodes are begun again where the user has to."""
    yield envs.reset(seed=seed)
    envs.action_space.seed(action_seed)
    for _ in range(steps):
        told = envs.step(envs.action_space.sample())
        yield told
        over = told[2] | told[3]
        if over.any() and envs.metadata["autoreset_mode"] == AutoresetMode.DISABLED:
            yield envs.reset(options={"reset_mask": over})


def same(expected: Any, got: Any) -> bool:
    return bool(data_equivalence(expected, got, exact=True))


# The same results ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "threads", "kwargs"),
    [
        (AutoresetMode.NEXT_STEP, 1, {}),
        (AutoresetMode.NEXT_STEP, 2, {"obs_type": "dict", "info_every_step": False}),
        (AutoresetMode.SAME_STEP, 2, {"obs_type": ["seed6", "kinematics"]}),
        (AutoresetMode.SAME_STEP, 3, {"obs_type": "pixels", "screens": "both"}),
        (AutoresetMode.DISABLED, 4, {"obs_type": "ram"}),
        (AutoresetMode.DISABLED, 2, {"action_type": "threshold:2", "max_episode_steps": 7}),
    ],
)
def test_the_same_as_gymnasiums_own(
    mode: AutoresetMode, threads: int, kwargs: dict[str, Any]
) -> None:
    kwargs = {**SHORT, **kwargs}
    sync = make_sync(3, mode, **kwargs)
    with make(3, num_threads=threads, autoreset_mode=mode, **kwargs) as envs:
        assert envs.num_threads == min(threads, 3)
        assert envs.observation_space == sync.observation_space
        assert envs.action_space == sync.action_space
        ends = 0
        for expected, got in zip(play(sync, 25), play(envs, 25), strict=True):
            assert same(expected, got)
            ends += len(got) == 5 and int((got[2] | got[3]).sum())
        assert ends >= 3
        assert envs.np_random_seed == sync.np_random_seed
    sync.close()


@pytest.mark.parametrize(
    "kwargs",
    [
        {"mode": "vs", "opponents": 3, "items": True, "action_type": "discrete_items"},
        {"course_set": "train", "difficulty": 0.3},
    ],
    ids=["vs", "random courses"],
)
def test_races_of_chance_are_those_of_single_environments(kwargs: dict[str, Any]) -> None:
    kwargs = {**SHORT, **kwargs}
    seeds = [11, 4]
    with make(2, num_threads=2, autoreset_mode="SameStep", **kwargs) as envs:
        told = list(play(envs, 8, seeds))
    for index, seed in enumerate(seeds):
        space = envs.action_space
        space.seed(5)
        env = MKDSEnv(**kwargs)
        observation, info = env.reset(seed=seed)
        for step, (observations, *_, infos) in enumerate(told):
            assert np.array_equal(observation, observations[index])
            assert info["course_seed"] == infos["course_seed"][index]
            assert info["metrics"]["distance"] == infos["metrics"]["distance"][index]
            if step == len(told) - 1:
                break
            action = space.sample()[index]
            observation, reward, terminated, truncated, info = env.step(action)
            following = told[step + 1]
            assert [reward, terminated, truncated] == [each[index] for each in following[1:4]]
            if terminated or truncated:
                assert np.array_equal(observation, following[4]["final_obs"][index])
                observation, info = env.reset()
        env.close()


def test_any_number_of_threads_gives_the_same() -> None:
    told = []
    for threads in (1, 2, 3, 5, 8):
        with make(8, num_threads=threads, mode="vs", opponents=2, items=True, **SHORT) as envs:
            assert envs.num_threads == threads
            told.append(list(play(envs, 6)))
    for other in told[1:]:
        for expected, got in zip(told[0], other, strict=True):
            assert same(expected, got)
    distances = told[0][3][4]["metrics"]["progress"]
    assert len(set(distances.tolist())) > 4  # each has a race of its own


def test_made_again_from_its_spec() -> None:
    with make(2, num_threads=1, frame_skip=6) as envs:
        assert envs.spec is not None
        again = gym.make_vec(envs.spec)
        assert isinstance(again, MKDSVectorEnv)
        assert again.num_envs == 2
        assert again.get_attr("frame_skip") == (6, 6)
        again.close()


def test_seeds_and_options_for_each() -> None:
    kwargs = {"course": "random", "frame_skip": 4, "autoreset_mode": "Disabled"}
    with make(3, num_threads=2, **kwargs) as envs:
        options = [{"course_seed": 5}, {"course_seed": 6}, None]
        _, infos = envs.reset(seed=[1, None, 3], options=options)
        drawn = infos["course_seed"].tolist()
        assert drawn[:2] == [5, 6]
        assert envs.np_random_seed[0] == 1
        assert envs.np_random_seed[2] == 3
        mask = np.array([True, False, True])
        _, infos = envs.reset(
            options={"course_seed": 7, "reset_mask": mask, "per_env": [None, None, options[1]]}
        )
        assert infos["course_seed"].tolist() == [7, 0, 6]
        assert infos["_course_seed"].tolist() == mask.tolist()
        _, infos = envs.reset(seed=7)
        assert envs.np_random_seed == (7, 8, 9)


def test_arguments_for_each() -> None:
    names = MKDSEnv().cartridge.course_names()
    with make(2, course=names[0], env_kwargs=[{"course": names[1]}, None]) as envs:
        _, infos = envs.reset(seed=0)
        assert infos["course"].tolist() == [names[1], names[0]]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_infos_of_different_kinds(mode: AutoresetMode) -> None:
    """A random course has a seed, another has none."""
    each = [{"course": "random", "course_seed": 5}, None]
    with make(2, env_kwargs=each, autoreset_mode=mode, **SHORT) as envs:
        for told in play(envs, 10):
            infos = told[-1]
            seeds = dict(zip(infos["course_seed"], infos["_course_seed"], strict=True))
            assert {seed for seed, there in seeds.items() if there} <= {5, None}


def test_with_gymnasiums_wrappers() -> None:
    kwargs = {**SHORT, "autoreset_mode": "NextStep"}
    inner = make(
        2,
        num_threads=2,
        env_wrappers=[gym.wrappers.TimeAwareObservation],
        max_episode_steps=99,
        **kwargs,
    )
    envs: Any = gym.wrappers.vector.RecordEpisodeStatistics(inner)
    envs = gym.wrappers.vector.NormalizeObservation(envs)
    envs = gym.wrappers.vector.ClipReward(envs, -1.0, 1.0)
    envs.reset(seed=0)
    episodes = 0
    for step in range(12):
        observations, _, _, _, infos = envs.step(envs.action_space.sample())
        assert observations.shape == (2, 7)
        if "episode" in infos:
            assert infos["episode"]["l"][infos["_episode"]].tolist() == [step + 1] * 2
            episodes += 1
            break
    assert episodes == 1
    envs.close()
    assert inner.closed


def test_copies_unless_told_otherwise() -> None:
    with make(2, num_threads=1) as envs:
        before, _ = envs.reset(seed=0)
        kept = before.copy()
        for _ in range(5):
            after, *_ = envs.step([0, 1])
        assert np.array_equal(before, kept)
        assert not np.array_equal(before, after)
    with make(2, num_threads=2, copy=False) as envs:
        before, _ = envs.reset(seed=0)
        assert np.array_equal(before, kept)
        for _ in range(5):
            after, rewards, *_ = envs.step([0, 1])
        assert after is before
        assert rewards is not envs.step([0, 1])[1]


def test_pictures_attributes_and_calls() -> None:
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
        envs.step([0, 0])
        states = envs.call("get_wrapper_attr", "course")
        assert states[0].track.length == states[1].track.length
        with pytest.raises(ValueError, match="3 values for 2"):
            envs.set_attr("frame_skip", [1, 2, 3])


def test_left_out_environments_stay_where_they_are() -> None:
    with make(3, num_threads=2, autoreset_mode="Disabled") as envs:
        first, _ = envs.reset(seed=0)
        mask = np.array([True, False, True])
        for _ in range(10):
            observations, rewards, _, _, infos = envs.step([0, 0, 0], step_mask=mask)
        assert np.array_equal(observations[1], first[1])
        assert rewards[1] == 0.0
        assert infos["_frame"].tolist() == mask.tolist()
        assert envs.get_attr("console")[1].frame_count < envs.get_attr("console")[0].frame_count


# Failures -----------------------------------------------------------------------------------


class Breaks:
    """A metric that fails when told to: in the next frames, or in the next reset."""

    name = "breaks"
    cursed = False
    """Every one of them fails at every frame."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.reset_error: BaseException | None = None
        self.times = 0

    def reset(self) -> None:
        """See `Metric`."""
        if self.reset_error is not None:
            raise self.reset_error

    def update(self, state: Any, course: Any) -> None:
        """See `Metric`."""
        if Breaks.cursed:
            raise ArithmeticError("cursed")
        if self.error is not None and self.times:
            self.times -= 1
            raise self.error

    def collect(self) -> dict[str, float]:
        """See `Metric`."""
        return {"breaks": 0.0}


def breaks_of(envs: MKDSVectorEnv, index: int) -> Breaks:
    env: Any = envs.envs[index].unwrapped
    return next(metric for metric in env.episode_stats.metrics if isinstance(metric, Breaks))


def break_one(
    envs: MKDSVectorEnv, index: int, error: BaseException | None = None, times: int = 1_000_000
) -> None:
    metric = breaks_of(envs, index)
    metric.error = error or ZeroDivisionError("the metric broke")
    metric.times = times


def with_breaks(num_envs: int = 3, **kwargs: Any) -> MKDSVectorEnv:
    metrics: list[Any] = ["progress", "distance", Breaks()]
    return make(
        num_envs,
        **{"metrics": metrics, "reward": "none", "num_threads": 2, "frame_skip": 8, **kwargs},
    )


def test_a_failing_environment_is_named_and_replaced() -> None:
    with with_breaks() as envs, with_breaks() as whole:
        for each in (envs, whole):
            each.reset(seed=0)
        for _ in range(3):
            envs.step([0, 1, 2])
            whole.step([0, 1, 2])
        break_one(envs, 1)
        with pytest.raises(VectorEnvError, match=r"environment 1 of 3 .*the metric broke") as told:
            envs.step([0, 1, 2])
        error = told.value
        assert error.index == 1
        assert isinstance(error.failures[1], ZeroDivisionError)
        assert isinstance(error.__cause__, ZeroDivisionError)
        assert error.results is not None
        expected = whole.step([0, 1, 2])
        others = np.array([True, False, True])
        assert np.array_equal(error.results[0][others], expected[0][others])
        assert error.results[3].tolist() == [False, True, False]
        assert "the metric broke" in error.results[4]["error"][1]
        copy = pickle.loads(pickle.dumps(error))
        assert str(copy) == str(error)
        # Not before it is replaced; nothing is stepped until then.
        with pytest.raises(VectorEnvError, match=r"environment 1 .* earlier call"):
            envs.step([0, 1, 2])
        old = envs.envs[1]
        observations, infos = envs.replace(1, seed=1)
        assert envs.envs[1] is not old
        assert infos["_frame"].tolist() == [False, True, False]
        assert np.array_equal(observations[others], expected[0][others])
        for _ in range(3):
            got, expected = envs.step([0, 1, 2]), whole.step([0, 1, 2])
            assert np.array_equal(got[0][others], expected[0][others])
        assert got[4]["frame"][1] < got[4]["frame"][0]


def test_a_console_that_is_closed_behind_its_back() -> None:
    with make(2, num_threads=2) as envs:
        envs.reset(seed=0)
        envs.envs[0].unwrapped.console.close()  # type: ignore[attr-defined]
        with pytest.raises(VectorEnvError, match=r"environment 0 of 2 .*ConsoleError") as told:
            envs.step([0, 0])
        assert isinstance(told.value.__cause__, ConsoleError)
        assert isinstance(told.value, MKDSError)
        envs.replace(0)
        envs.step([0, 0])


class Listens:
    """A spectator that notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def attached(self, env: Any) -> None:
        self.heard.append("attached")

    def started(self, env: Any) -> None:
        self.heard.append("started")

    def stepped(self, env: Any, reward: float, over: bool) -> None:
        self.heard.append("stepped")

    def closed(self, env: Any) -> None:
        self.heard.append("closed")


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("wrappers", [(), (gym.wrappers.FlattenObservation,)])
def test_replaced_without_asking(mode: AutoresetMode, wrappers: Any) -> None:
    with with_breaks(
        on_error="replace",
        autoreset_mode=mode,
        env_wrappers=wrappers,
        render_mode="rgb_array",
        mode="vs",
        opponents=1,
    ) as envs:
        before, _ = envs.reset(seed=0)
        for _ in range(3):
            before = envs.step([0, 0, 0])[0]
        break_one(envs, 2)
        drawn = envs.np_random[2].bit_generator.state
        spectator = envs.envs[2].unwrapped.spectator = Listens()  # type: ignore[attr-defined]
        observations, rewards, terminations, truncations, infos = envs.step([0, 0, 0])
        # It is there, before its episode has begun as well: its pictures, what it has, its state.
        assert all(picture.any() for picture in envs.render())
        assert envs.get_attr("race")[2].frame < 10
        assert None not in envs.clone_states()
        if mode != AutoresetMode.SAME_STEP:
            assert spectator.heard == ["attached", "closed", "attached"]
            assert envs.np_random[2].bit_generator.state == drawn
            # Nothing is under way in that state: what it waits for is a reset.
            envs.restore_states(envs.clone_states())
            with pytest.raises(gym.error.ResetNeeded):
                envs.envs[2].unwrapped.step(0)
        assert truncations.tolist() == [False, False, True]
        assert not terminations.any()
        assert rewards[2] == 0.0
        assert "the metric broke" in infos["error"][2]
        assert infos["_error"].tolist() == [False, False, True]
        if mode == AutoresetMode.SAME_STEP:
            assert "the metric broke" in infos["final_info"]["error"][2]
            assert np.array_equal(infos["final_obs"][2], before[2])
            begun = infos
        else:
            assert np.array_equal(observations[2], before[2])
            if mode == AutoresetMode.DISABLED:
                begun = envs.reset(options={"reset_mask": truncations})[1]
            else:
                begun = envs.step([0, 0, 0])[4]
        assert begun["frame"][2] < 10
        assert envs.np_random_seed == (0, 1, 2)
        after = envs.step([0, 0, 0])
        assert not after[3].any()
        assert after[4]["frame"][2] < after[4]["frame"][0]


def earned(num_envs: int, **kwargs: Any) -> MKDSVectorEnv:
    """Of which environment 1 can be told to break, paid, in short episodes."""
    metrics: list[Any] = ["progress", "distance", Breaks()]
    return with_breaks(
        num_envs, **{**SHORT, "metrics": metrics, "reward": lambda m: m["distance"], **kwargs}
    )


@pytest.mark.parametrize("on_error", ["raise", "replace"])
def test_what_was_earned_is_kept_if_the_next_reset_fails(on_error: str) -> None:
    with (
        earned(2, autoreset_mode="SameStep", on_error=on_error) as envs,
        earned(2, autoreset_mode="SameStep") as whole,
    ):
        envs.reset(seed=0)
        whole.reset(seed=0)
        breaks_of(envs, 1).reset_error = ZeroDivisionError("no reset")
        expected = whole.step([0, 0])
        while not expected[3][1]:
            envs.step([0, 0])
            expected = whole.step([0, 0])
        if on_error == "raise":
            with pytest.raises(VectorEnvError, match=r"environment 1 .*no reset") as told:
                envs.step([0, 0])
            results = told.value.results
            assert results is not None
        else:
            results = envs.step([0, 0])
            assert np.array_equal(results[0], expected[0])
        _, rewards, terminations, truncations, infos = results
        assert rewards[1] == expected[1][1] > 0
        assert same(expected[2:4], (terminations, truncations))
        assert np.array_equal(infos["final_obs"][1], expected[4]["final_obs"][1])
        assert infos["final_info"]["events"][1] == expected[4]["final_info"]["events"][1]
        assert "no reset" in infos["error"][1]
        if on_error == "replace":
            assert same(whole.step([0, 0]), envs.step([0, 0]))


def cursed_step(envs: MKDSVectorEnv) -> VectorEnvError:
    """The error of a step in which the second environment cannot be made anew."""
    Breaks.cursed = True
    try:
        with pytest.raises(VectorEnvError, match=r"environment 1 of 3 .*cursed") as told:
            envs.step([0, 0, 0])
    finally:
        Breaks.cursed = False
    return told.value


def test_a_replacement_that_fails_is_given_up() -> None:
    metrics = {"metrics": ["progress", Breaks()]}
    kwargs: Any = {
        "metrics": ["progress"],
        "on_error": "replace",
        "env_kwargs": [None, metrics, None],
    }
    with with_breaks(**kwargs) as envs:
        envs.reset(seed=0)
        frames = envs.step([0, 0, 0])[4]["frame"][0]
        break_one(envs, 1)
        _, _, _, truncations, infos = envs.step([0, 0, 0])
        assert truncations.tolist() == [False, True, False]
        assert "the metric broke" in infos["error"][1]
        told = cursed_step(envs)
        assert told.results is not None
        infos = told.results[4]
        assert infos["_frame"].tolist() == [True, False, True]
        assert infos["frame"][0] == infos["frame"][2] == frames + 8 * 2
        with pytest.raises(VectorEnvError, match="earlier call"):
            envs.step([0, 0, 0])
        envs.replace(1)
        # One that cannot begin, and one that cannot even be made.
        told = cursed_step(envs)
        assert told.results is not None
        assert "; and its replacement: ArithmeticError" in told.results[4]["error"][1]
        envs.replace(1)
        break_one(envs, 1)
        envs._kwargs[1]["rom"] = "gone.nds"
        with pytest.raises(VectorEnvError, match=r"environment 1 of 3 .*gone\.nds") as told:
            envs.step([0, 0, 0])
        assert told.value.results is not None
        assert "the metric broke" in told.value.results[4]["error"][1]
        assert told.value.results[3].tolist() == [False, True, False]
        envs.step([0, 0, 0], step_mask=np.array([True, False, True]))


def test_replacing_with_what_is_refused_changes_nothing() -> None:
    with with_breaks(2, course="random") as envs:
        before, _ = envs.reset(seed=[5, 6])
        before = before.copy()
        old = envs.envs[1]
        with pytest.raises(ValueError, match="no option 'start'"):
            envs.replace(1, options={"start": 3})
        assert envs.envs[1] is old
        assert envs.np_random_seed == (5, 6)
        after = envs.step([0, 0])
        envs.reset(seed=[5, 6])
        assert same(envs.step([0, 0]), after)
        envs.replace(1)
        assert envs.np_random_seed == (5, 6)


def test_a_reset_that_one_refuses() -> None:
    only_second = {"reset_mask": np.array([False, True])}
    with make(2, num_threads=2) as envs:
        with pytest.raises(VectorEnvError, match=r"environment 1 of 2 failed in reset") as told:
            envs.reset(options=[None, {"start": 3}])
        assert isinstance(told.value.failures[1], ValueError)
        # As it says. The other one has been reset.
        assert "envs.replace(1)" in str(told.value)
        envs.replace(1)
        # Once they are driven, a misspelt option ends no episode.
        first = envs.step([0, 0])[4]["frame"]
        with pytest.raises(ValueError, match="no option 'start'"):
            envs.reset(options={"start": 3})
        assert (envs.step([0, 0])[4]["frame"] > first).all()
        with pytest.raises(VectorEnvError, match=r"environment 1 of 2 failed in reset") as told:
            envs.reset(options=[None, {"start": 3}])
        assert "envs.replace" not in str(told.value)
        frames = envs.step([0, 0])[4]["frame"]
        assert frames[0] == first[0] < frames[1]
        # Nor does a wrong value, a seed that is none, or a state that is not there.
        frames = envs.step([0, 0])[4]["frame"]
        with pytest.raises(ValueError, match="progress"):
            envs.reset(options={"progress": -1.0})
        for seed in (-1, [1, -1]):
            with pytest.raises(ValueError, match=r"seed of environment \d, -1, is less than 0"):
                envs.reset(seed=seed)
        for state in ("/nowhere.mkds", b"none"):
            with pytest.raises(StateError):
                envs.reset(options={"state": state})
        assert (envs.step([0, 0])[4]["frame"] == frames + 4).all()
        # A point that cannot be reached does, as that of a single environment.
        with pytest.raises(ValueError, match="progress"):
            envs.reset(options={"progress": 9.0})
        with pytest.raises(VectorEnvError, match=r"go on with envs\.replace\(0\)"):
            envs.step([0, 0])
        envs.reset()
        envs.step([0, 0])
        # What is not the caller's mistake has a number, also if there is no other.
        envs.envs[1].unwrapped.console.close()  # type: ignore[attr-defined]
        with pytest.raises(VectorEnvError, match="environment 1 of 2 failed in reset") as told:
            envs.reset(options=only_second)
        assert list(told.value.failures) == [1]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
@pytest.mark.parametrize("limit", [{"max_episode_steps": 2}, {"truncate_on": "clock:1"}])
def test_a_refused_reset_leaves_an_ended_episode_ended(
    mode: AutoresetMode, limit: dict[str, Any]
) -> None:
    with make(1, autoreset_mode=mode, **limit) as envs:
        envs.reset(seed=0)
        while not envs.step([0])[3].any():
            pass
        with pytest.raises(ValueError, match="no option 'start'"):
            envs.reset(options={"start": 3})
        if mode == AutoresetMode.DISABLED:
            with pytest.raises(gym.error.ResetNeeded, match=r"episodes of environments \[0\]"):
                envs.step([0])
        else:
            infos = envs.step([0])[4]
            assert infos["metrics"]["distance"][0] == 0.0


class Picky(gym.Wrapper[Any, Any, Any, Any]):
    """Refuses what it finds only after the reset."""

    def reset(self, **kwargs: Any) -> Any:
        told = self.env.reset(**kwargs)
        if kwargs.get("seed") == 13:
            raise ValueError("no seed of mine")
        return told


def test_a_wrapper_that_refuses_too_late_is_not_gone_on_with() -> None:
    with make(1, env_wrappers=[Picky]) as envs:
        envs.reset(seed=0)
        envs.step([0])
        with pytest.raises(ValueError, match="no seed of mine"):
            envs.reset(seed=13)
        with pytest.raises(VectorEnvError, match="earlier call"):
            envs.step([0])


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_first_reset_of_some(mode: AutoresetMode) -> None:
    with make(3, num_threads=2, autoreset_mode=mode) as envs:
        mask = np.array([False, True, False])
        envs.reset(seed=0, options={"reset_mask": mask})
        with pytest.raises(
            gym.error.ResetNeeded, match=r"environments \[0, 2\] have not been reset"
        ):
            envs.step([0, 0, 0])
        envs.step([0, 0, 0], step_mask=mask)
        envs.reset(seed=0, options={"reset_mask": ~mask})
        envs.step([0, 0, 0])


@pytest.mark.parametrize("threads", [1, 2])
def test_what_ends_a_thread_reaches_the_caller_and_leaves_it_usable(threads: int) -> None:
    with with_breaks(num_threads=threads) as envs:
        for index, error in ((0, SystemExit(3)), (2, SystemExit(4)), (1, KeyboardInterrupt())):
            envs.reset(seed=0)
            envs.step([0, 0, 0])
            break_one(envs, index, error, times=1)
            with pytest.raises(type(error)):
                envs.step([0, 0, 0])
            # Some have made that step, and one half of it: none goes on from there.
            with pytest.raises(gym.error.ResetNeeded, match=r"call envs\.reset\(\)"):
                envs.step([0, 0, 0])
            mask = np.arange(3) == index
            envs.reset(seed=0, options={"reset_mask": mask})
            envs.step([0, 0, 0], step_mask=mask)
            with pytest.raises(gym.error.ResetNeeded, match="not since a call was interrupted"):
                envs.step([0, 0, 0])
        # In a reset.
        envs.reset(seed=0)
        break_one(envs, 1, KeyboardInterrupt(), times=1)
        with pytest.raises(KeyboardInterrupt):
            envs.reset(options={"reset_mask": np.array([True, True, False])})
        with pytest.raises(gym.error.ResetNeeded, match=r"environments \[0, 1\]"):
            envs.step([0, 0, 0])
        envs.reset()
        envs.step([0, 0, 0])


def test_ctrl_c_at_any_time() -> None:
    with make(3, num_threads=2, **SHORT) as envs:
        expected, _ = envs.reset(seed=0)
        first = envs.step([0, 1, 2])[0]
        caller = threading.get_ident()

        def drive(timer: threading.Timer) -> None:
            timer.start()  # not before `raises`: it may go off at once
            while True:
                envs.step([0, 0, 0])

        for number in range(6):
            timer = threading.Timer(
                0.03 + 0.017 * number, signal.pthread_kill, (caller, signal.SIGINT)
            )
            with pytest.raises(KeyboardInterrupt):
                drive(timer)
            timer.join()
            frames = envs.get_attr("console")
            before = [console.frame_count for console in frames]
            try:
                envs.step([0, 0, 0])
            except gym.error.ResetNeeded:
                # Nobody is at work any more, and nothing goes on from half a step.
                assert before == [console.frame_count for console in frames]
            else:
                assert len(set(before)) == 1  # it came between two calls
            assert np.array_equal(envs.reset(seed=0)[0], expected)
            assert np.array_equal(envs.step([0, 1, 2])[0], first)


def test_one_call_after_the_other() -> None:
    class Waits:
        """A spectator at which a step waits."""

        def __init__(self) -> None:
            self.reached, self.go = threading.Event(), threading.Event()

        def attached(self, env: Any) -> None: ...

        def started(self, env: Any) -> None: ...

        def stepped(self, env: Any, reward: float, over: bool) -> None:
            self.reached.set()
            self.go.wait(20)

        def closed(self, env: Any) -> None: ...

    with make(2, num_threads=1) as envs:
        envs.reset(seed=0)
        spectator = Waits()
        envs.envs[0].unwrapped.spectator = spectator  # type: ignore[attr-defined]
        thread = threading.Thread(target=envs.step, args=([0, 0],))
        thread.start()
        assert spectator.reached.wait(20)
        for call in (
            lambda: envs.step([0, 0]),
            envs.reset,
            envs.render,
            envs.clone_states,
            envs.close,
            lambda: envs.get_attr("spectator"),
            lambda: envs.set_attr("spectator", None),
            lambda: envs.replace(1),
        ):
            with pytest.raises(gym.error.AlreadyPendingCallError, match="still under way"):
                call()
        spectator.go.set()
        thread.join()
        envs.step([0, 0])


# States -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_back_to_states(mode: AutoresetMode) -> None:
    kwargs = {**SHORT, "autoreset_mode": mode, "mode": "vs", "opponents": 1, "items": True}
    with make(2, num_threads=2, **kwargs) as envs, make(2, num_threads=1, **kwargs) as others:
        with pytest.raises(gym.error.ResetNeeded):
            envs.clone_states()
        envs.reset(seed=[3, 4])
        envs.step([0, 0])
        early = envs.clone_states()
        told = [envs.step([1, 2]) for _ in range(2)]
        while not told[-1][3].any():
            told.append(envs.step([1, 2]))
        # After the end; before the first reset; and one of them only.
        for each in (envs, others):
            each.restore_states(early)
            for expected in told:
                assert same(expected, each.step([1, 2]))
        mask = np.array([False, True])
        envs.restore_states([None, early[1]])
        others.restore_states(early, mask)
        for each in (envs, others):
            got = each.step([0, 2], step_mask=mask)
            assert np.array_equal(got[0][1], told[0][0][1])
            assert got[1][1] == told[0][1][1]
        # One for all, also of an ended episode: the next step does what it would have done then.
        envs.restore_states(early[1])  # type: ignore[arg-type]
        observations, *_ = envs.step([2, 2])
        assert np.array_equal(observations[0], observations[1])
        assert envs.clone_states(mask)[0] is None
        # A single environment's, and for it.
        env = MKDSEnv(**{name: value for name, value in kwargs.items() if name != "autoreset_mode"})
        assert early[0] is not None
        env.restore_state(early[0])
        assert np.array_equal(env.step(1)[0], told[0][0][0])
        env.close()


class Hears:
    """A spectator that counts the episodes."""

    def __init__(self) -> None:
        self.started_at: list[int] = []

    def attached(self, env: MKDSEnv) -> None: ...

    def started(self, env: MKDSEnv) -> None:
        self.started_at.append(env.race.frame)

    def stepped(self, env: MKDSEnv, reward: float, over: bool) -> None: ...

    def closed(self, env: MKDSEnv) -> None: ...


def test_states_of_wrapped_environments() -> None:
    with make(2, num_threads=2, max_episode_steps=3, autoreset_mode="Disabled") as envs:
        envs.reset(seed=0)
        envs.step([0, 0])
        states = envs.clone_states()
        expected = envs.step([0, 0])
        assert envs.step([0, 0])[3].all()
        # The limit's own count is no part of the state: it begins anew. It is one episode.
        spectators = [Hears(), Hears()]
        envs.set_attr("spectator", spectators)
        envs.restore_states(states)
        frames = [env.race.frame for env in envs.get_attr("unwrapped")]
        assert [each.started_at for each in spectators] == [[frame] for frame in frames]
        assert envs.get_attr("spectator") == tuple(spectators)
        assert same(expected, envs.step([0, 0]))
        assert not envs.step([0, 0])[3].any()
        assert envs.step([0, 0])[3].all()
    with make(2, num_threads=1, max_episode_steps=3) as envs:
        envs.restore_states(states)
        assert same(expected, envs.step([0, 0]))


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("wrappers", [(), (gym.wrappers.FlattenObservation,)])
@pytest.mark.parametrize("on_error", ["raise", "replace"])
def test_states_of_ended_episodes(mode: AutoresetMode, wrappers: Any, on_error: str) -> None:
    with make(2, autoreset_mode="Disabled", **SHORT) as envs:
        begun = envs.reset(seed=0)[0]
        envs.step([0, 0])
        early = envs.clone_states()
        told = envs.step([0, 0])
        while not told[3].all():
            told = envs.step([0, 0])
        ended = envs.clone_states()
    kwargs = {**SHORT, "on_error": on_error, "env_wrappers": wrappers}
    with make(2, autoreset_mode=mode, **kwargs) as envs:
        for reset_before in (False, True):
            if reset_before:
                envs.reset(seed=0)
            envs.restore_states([early[0], ended[1]])
            if mode == AutoresetMode.DISABLED:
                with pytest.raises(gym.error.ResetNeeded, match=r"\[1\] are over"):
                    envs.step([0, 0])
                continue
            observations, rewards, terminations, truncations, infos = envs.step([0, 0])
            assert np.array_equal(observations[1], begun[1])
            assert rewards[0] != 0.0
            assert rewards[1] == 0.0
            assert not (terminations | truncations).any()
            assert "error" not in infos
            assert "final_obs" not in infos
            assert envs.step([0, 0])[4]["frame"][1] == infos["frame"][1] + SHORT["frame_skip"]


def test_refused_states_leave_wrapped_environments_where_they_were() -> None:
    with make(2, frame_skip=9) as strangers:
        strangers.reset(seed=0)
        strange = strangers.clone_states()
    with make(2, max_episode_steps=2) as envs:
        # None has begun.
        with pytest.raises(StateError, match="frame_skip=9"):
            envs.restore_states(strange)
        with pytest.raises(gym.error.ResetNeeded):
            envs.step([0, 0])
        begun = envs.reset(seed=0)[0]
        envs.step([0, 0])
        good = envs.clone_states()
        last = envs.step([0, 0])
        assert last[3].all()
        frames = [console.frame_count for console in envs.get_attr("console")]
        # The episodes are over, and still are.
        for wrong in (strange, [None, strange[1]]):
            with pytest.raises(StateError, match="frame_skip=9"):
                envs.restore_states(wrong)
        assert [console.frame_count for console in envs.get_attr("console")] == frames
        with pytest.raises(VectorEnvError, match=r"environment 1 of 2 .*frame_skip=9"):
            envs.restore_states([good[0], strange[1]])
        observations, _, _, truncations, _ = envs.step([0, 0])
        assert np.array_equal(observations[0], last[0][0])
        assert np.array_equal(observations[1], begun[1])
        assert not truncations.any()


def test_wrong_states_change_nothing(pair: MKDSVectorEnv) -> None:
    pair.reset(seed=0)
    states = pair.clone_states()
    with make(2, frame_skip=9) as strangers:
        strangers.reset(seed=0)
        strange = strangers.clone_states()
    for wrong, kind, message in (
        ("here", TypeError, "states='here'"),
        ([states[0]], ValueError, "1 states for 2"),
        ([states[0], b"state"], TypeError, r"states\[1\] is no cloned state, but a bytes"),
        ([None, None], ValueError, "all states are None"),
        (strange, StateError, "frame_skip=9"),
        ([states[0], strange[1]], VectorEnvError, "environment 1 of 2 .*frame_skip=9"),
    ):
        with pytest.raises(kind, match=message):
            pair.restore_states(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="mask=3"):
        pair.clone_states(3)  # type: ignore[arg-type]
    pair.step([0, 0])


def test_a_forked_child_is_told() -> None:
    with make(2, num_threads=2) as envs:
        envs.reset(seed=0)
        child = os.fork()
        if not child:
            try:
                envs.step([0, 0])
            except gym.error.Error as error:
                os._exit(7 if "forked" in str(error) else 8)
            os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        envs.step([0, 0])


def test_closing() -> None:
    before = threading.active_count()
    envs = make(3, num_threads=3)
    envs.reset(seed=0)
    consoles = envs.get_attr("console")
    assert threading.active_count() == before + 2
    envs.close()
    envs.close()
    assert envs.closed
    assert all(console.closed for console in consoles)
    assert threading.active_count() == before
    for call in (envs.reset, lambda: envs.step([0, 0, 0]), envs.render, lambda: envs.replace(0)):
        with pytest.raises(gym.error.ClosedEnvironmentError):
            call()


def test_one_that_nobody_closed() -> None:
    before = threading.active_count()
    envs = make(2, num_threads=2)
    envs.reset(seed=0)
    envs.step([0, 0])
    gone = weakref.ref(envs)
    del envs
    gc.collect()
    assert gone() is None
    assert threading.active_count() == before


# Wrong use --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_gymnasiums_own_modes_refuse_no_environments_without_us(mode: str) -> None:
    """The documentation says so."""
    with pytest.raises(IndexError):
        gym.make_vec("MKDS-v0", num_envs=0, vectorization_mode=mode)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_envs": 0}, "num_envs=0"),
        ({"num_envs": -2}, "num_envs=-2"),
        ({"num_envs": True}, "num_envs=True"),
        ({"num_envs": 1.0}, "num_envs=1.0"),
        ({"num_envs": 10_000}, "1 to 1024"),
        ({"num_threads": 0}, "num_threads=0"),
        ({"num_threads": 100_000}, "1 to 256"),
        ({"num_threads": "two"}, "num_threads='two'"),
        ({"copy": 1}, "copy=1"),
        ({"autoreset_mode": "Never"}, "'NextStep', 'SameStep', 'Disabled'"),
        ({"on_error": "ignore"}, "'raise', 'replace'"),
        ({"env_kwargs": {"course": "random"}}, "env_kwargs"),
        ({"env_kwargs": [{}]}, "1 items for 2"),
        ({"env_kwargs": [{}, 3]}, r"env_kwargs\[1\]=3"),
        ({"env_kwargs": [{"obs_type": "pixels"}, {}]}, "environment 1 has observations"),
        ({"env_kwargs": [{"action_type": "keys"}, {}]}, "environment 1 has actions"),
        ({"env_kwargs": [{"render_mode": "rgb_array"}, {}]}, "one render_mode"),
        ({"env_wrappers": [lambda env: 3]}, "gave 3"),
        ({"env_wrappers": [3]}, r"env_wrappers\[0\]=3"),
        ({"env_wrappers": gym.wrappers.FlattenObservation}, "env_wrappers=.*is no list"),
        ({"max_episode_steps": 0}, "max_episode_steps=0"),
        ({"render_mode": "human"}, "one window"),
        ({"frame_skip": 0}, "frame_skip=0"),
        ({"frameskip": 4}, "unexpected keyword argument 'frameskip'.*num_threads"),
    ],
)
def test_wrong_arguments_start_nothing(kwargs: dict[str, Any], message: str) -> None:
    threads = threading.active_count()
    with pytest.raises((ValueError, TypeError), match=message):
        MKDSVectorEnv(**{"num_envs": 2, **kwargs})
    assert threading.active_count() == threads


def test_observations_that_do_not_go_into_arrays_start_nothing() -> None:
    made: list[Any] = []

    class Words(gym.ObservationWrapper[Any, Any, Any]):
        def __init__(self, env: Any) -> None:
            super().__init__(env)
            self.observation_space = gym.spaces.Text(4)
            self.closed = False
            made.append(self)

        def observation(self, observation: Any) -> str:
            return "here"

        def close(self) -> None:
            self.closed = True
            super().close()

    threads = threading.active_count()
    with pytest.raises(TypeError, match="vectorization_mode='sync'"):
        MKDSVectorEnv(2, env_wrappers=[Words])
    assert [env.closed for env in made] == [True, True]
    assert threading.active_count() == threads


@pytest.fixture(scope="module")
def pair() -> Iterator[MKDSVectorEnv]:
    with make(2, num_threads=2, autoreset_mode="Disabled", truncate_on="clock:8") as envs:
        envs.reset(seed=0)
        yield envs


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0], r"shape \(1,\)"),
        ([0, 0, 0], r"shape \(3,\)"),
        (0, r"shape \(\)"),
        ([[0], [0]], r"shape \(2, 1\)"),
        ([0.0, 1.0], "float64"),
        ([True, False], "bool"),
        ([0, 11], r"actions\[1\] = 11 "),
        ([-1, 0], r"actions\[0\] = -1 "),
        ([[0], [0, 1]], "shape"),
        (None, "shape"),
    ],
)
def test_wrong_actions_step_nothing(pair: MKDSVectorEnv, actions: Any, message: str) -> None:
    frames = [console.frame_count for console in pair.get_attr("console")]
    with pytest.raises(ValueError, match=message):
        pair.step(actions)
    assert [console.frame_count for console in pair.get_attr("console")] == frames


@pytest.mark.parametrize("action", [[np.nan, 0.0], [np.inf, 0.0]])
def test_wrong_activations_step_nothing(action: list[float]) -> None:
    with make(2, action_type="threshold:2") as envs:
        envs.reset()
        with pytest.raises(ValueError, match=r"actions\[1\] = "):
            envs.step(np.array([[0.0, 0.0], action], np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": [1]}, "1 seeds for 2"),
        ({"seed": "a"}, "seed='a'"),
        ({"seed": True}, "seed=True"),
        ({"seed": [1.7, 5]}, "seed of environment 0, 1.7"),
        ({"seed": [1, "5"]}, "seed of environment 1, '5'"),
        ({"options": [None]}, "options for 1 of 2"),
        ({"options": [3, None]}, "options of environment 0"),
        ({"options": "state"}, "options='state'"),
        ({"options": {"reset_mask": [1, 0]}}, "no NumPy array, or list, of bool"),
        ({"options": {"reset_mask": [True]}}, r"shape \(1,\)"),
        ({"options": {"reset_mask": np.array([True])}}, r"shape \(1,\)"),
        ({"options": {"reset_mask": np.zeros(2, np.bool_)}}, "no True"),
    ],
)
def test_wrong_resets(pair: MKDSVectorEnv, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        pair.reset(**arguments)


def test_steps_out_of_order(pair: MKDSVectorEnv) -> None:
    pair.reset(seed=0)
    while not pair.step([0, 0])[3].any():
        pass
    with pytest.raises(gym.error.ResetNeeded, match=r"environments \[0, 1\]"):
        pair.step([0, 0])
    pair.reset(options={"reset_mask": np.array([False, True])})
    with pytest.raises(gym.error.ResetNeeded, match=r"environments \[0\] "):
        pair.step([0, 0])
    pair.step([0, 0], step_mask=[False, True])  # a list will do
    for wrong, kind in ((5, IndexError), (-1, IndexError), (True, TypeError), ("a", TypeError)):
        with pytest.raises(kind):
            pair.replace(wrong)  # type: ignore[arg-type]
    with make(1) as envs, pytest.raises(gym.error.ResetNeeded):
        envs.step([0])
