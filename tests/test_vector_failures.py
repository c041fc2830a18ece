"""`MKDSVectorEnv`: environments that fail, interrupted calls, and cloned states."""

from __future__ import annotations

import pickle
import signal
import threading
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from vector_envs import (
    SHORT,
    EventLog,
    FaultyMetric,
    equal,
    fail_next_frame,
    make,
    make_faulty,
)

from mkds_gym.env import MKDSEnv
from mkds_gym.errors import ConcurrentCallError, ConsoleError, MKDSError, StateError, VectorEnvError
from mkds_gym.vector.env import MKDSVectorEnv

WRAPPED = pytest.mark.parametrize(
    "wrappers", [(), (gym.wrappers.FlattenObservation,)], ids=["plain", "wrapped"]
)
MODES = pytest.mark.parametrize("mode", list(AutoresetMode))
NO_ACTION = [0, 0, 0]

# A failing environment ------------------------------------------------------------------------


def test_failing_environment_is_named_and_can_be_replaced() -> None:
    others = np.array([True, False, True])
    with make_faulty() as envs, make(3, frame_skip=8) as sound:
        envs.reset(seed=0)
        sound.reset(seed=0)
        envs.step([0, 1, 2])
        sound.step([0, 1, 2])
        fail_next_frame(1)
        with pytest.raises(VectorEnvError, match=r"environment 1 of 3 .*the metric broke") as told:
            envs.step([0, 1, 2])
        error = told.value
        assert error.index == 1
        assert isinstance(error.failures[1], ZeroDivisionError)
        assert isinstance(error.__cause__, ZeroDivisionError)
        assert error.results is not None
        expected = sound.step([0, 1, 2])
        assert np.array_equal(error.results[0][others], expected[0][others])
        assert error.results[3].tolist() == [False, True, False]
        assert "the metric broke" in error.results[4]["error"][1]
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        with pytest.raises(VectorEnvError, match=r"environment 1 .* earlier call"):
            envs.step([0, 1, 2])
        old = envs.envs[1]
        observations, infos = envs.replace(1, seed=1)
        assert envs.envs[1] is not old
        assert infos["_frame"].tolist() == [False, True, False]
        assert np.array_equal(observations[others], expected[0][others])
        for _ in range(2):
            got, expected = envs.step([0, 1, 2]), sound.step([0, 1, 2])
            assert np.array_equal(got[0][others], expected[0][others])
        assert got[4]["frame"][1] < got[4]["frame"][0]


def test_console_closed_by_the_user_is_a_vector_env_error() -> None:
    with make(2, num_threads=2) as envs:
        envs.reset(seed=0)
        envs.get_attr("console")[0].close()
        with pytest.raises(VectorEnvError, match=r"environment 0 of 2 .*ConsoleError") as told:
            envs.step([0, 0])
        assert isinstance(told.value.__cause__, ConsoleError)
        assert isinstance(told.value, MKDSError)
        envs.replace(0)
        envs.step([0, 0])


@MODES
@WRAPPED
def test_on_error_replace_truncates_the_episode_and_continues(
    mode: AutoresetMode, wrappers: Any
) -> None:
    with make_faulty(
        on_error="replace",
        autoreset_mode=mode,
        env_wrappers=wrappers,
        render_mode="rgb_array",
        mode="vs",
        opponents=1,
    ) as envs:
        envs.reset(seed=0)
        before = envs.step(NO_ACTION)[0]
        before = envs.step(NO_ACTION)[0]
        fail_next_frame(2)
        generator = envs.np_random[2].bit_generator.state
        log = EventLog()
        envs.get_attr("unwrapped")[2].viewer = log
        observations, rewards, terminations, truncations, infos = envs.step(NO_ACTION)
        # The new environment can be rendered and cloned, even before its first reset.
        assert all(picture.any() for picture in envs.render())
        assert envs.get_attr("race")[2].frame < 10
        assert None not in envs.clone_states()
        if mode != AutoresetMode.SAME_STEP:
            assert log.events == ["attached", "detached", "attached"]
            assert envs.np_random[2].bit_generator.state == generator
            envs.restore_states(envs.clone_states())
            with pytest.raises(gym.error.ResetNeeded):
                envs.get_attr("unwrapped")[2].step(0)
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
                begun = envs.step(NO_ACTION)[4]
        assert begun["frame"][2] < 10
        assert envs.np_random_seed == (0, 1, 2)
        after = envs.step(NO_ACTION)
        assert not after[3].any()
        assert after[4]["frame"][2] < after[4]["frame"][0]


@pytest.mark.parametrize("on_error", ["raise", "replace"])
def test_failing_reset_after_an_episode_keeps_its_last_results(on_error: str) -> None:
    kwargs: dict[str, Any] = {
        "frame_skip": 30,
        "truncate_on": "clock:120",
        "reward": lambda metrics: metrics["progress"],
        "autoreset_mode": "SameStep",
    }
    with make_faulty(2, on_error=on_error, **kwargs) as envs, make(2, **kwargs) as sound:
        envs.reset(seed=0)
        sound.reset(seed=0)
        FaultyMetric.reset_faults[1] = [ZeroDivisionError("no reset")]
        expected = sound.step([0, 0])
        while not expected[3][1]:
            envs.step([0, 0])
            expected = sound.step([0, 0])
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
        assert equal(expected[2:4], (terminations, truncations))
        assert np.array_equal(infos["final_obs"][1], expected[4]["final_obs"][1])
        assert equal(infos["final_info"]["events"][1], expected[4]["final_info"]["events"][1])
        assert "no reset" in infos["error"][1]
        if on_error == "replace":
            assert np.array_equal(sound.step([0, 0])[0], envs.step([0, 0])[0])


def failed_replacement(envs: MKDSVectorEnv, message: str) -> VectorEnvError:
    """The error of a step in which environment 1 cannot be replaced."""
    with pytest.raises(VectorEnvError, match=rf"environment 1 of 3 .*{message}") as told:
        envs.step(NO_ACTION)
    assert told.value.results is not None
    return told.value


def test_failing_replacement_is_not_replaced_again() -> None:
    refuse = False

    def wrapper(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        if refuse:
            raise OSError("no new environment")
        return env

    with make_faulty(on_error="replace", env_wrappers=[wrapper]) as envs:
        envs.reset(seed=0)
        frames = envs.step(NO_ACTION)[4]["frame"][0]
        # The replacement fails in its first step.
        fail_next_frame(1)
        _, _, _, truncations, infos = envs.step(NO_ACTION)
        assert truncations.tolist() == [False, True, False]
        assert "the metric broke" in infos["error"][1]
        envs.step(NO_ACTION, step_mask=np.array([False, True, False]))  # its reset
        fail_next_frame(1)
        infos = failed_replacement(envs, "the metric broke").results[4]  # type: ignore[index]
        assert infos["_frame"].tolist() == [True, False, True]
        assert infos["frame"][0] == infos["frame"][2] == frames + 8 * 2
        with pytest.raises(VectorEnvError, match="earlier call"):
            envs.step(NO_ACTION)
        # The replacement cannot be reset, and cannot be made.
        envs.replace(1)
        envs.step(NO_ACTION)
        fail_next_frame(1)
        FaultyMetric.reset_faults[1] = [ArithmeticError("no reset")] * 2
        results = failed_replacement(envs, "no reset").results
        assert results is not None
        assert "; and its replacement: ArithmeticError" in results[4]["error"][1]
        FaultyMetric.reset_faults.clear()
        envs.replace(1)
        envs.step(NO_ACTION)
        fail_next_frame(1)
        refuse = True
        results = failed_replacement(envs, "no new environment").results
        assert results is not None
        assert "the metric broke" in results[4]["error"][1]
        assert results[3].tolist() == [False, True, False]
        envs.step(NO_ACTION, step_mask=np.array([True, False, True]))


def test_refused_replace_changes_nothing() -> None:
    with make(2, course="random", frame_skip=8) as envs:
        envs.reset(seed=[5, 6])
        old = envs.envs[1]
        with pytest.raises(ValueError, match="start"):
            envs.replace(1, options={"start": 3})
        assert envs.envs[1] is old
        assert envs.np_random_seed == (5, 6)
        after = envs.step([0, 0])
        envs.reset(seed=[5, 6])
        assert equal(envs.step([0, 0]), after)
        envs.replace(1)
        assert envs.np_random_seed == (5, 6)


# Refused resets -------------------------------------------------------------------------------


def test_refused_reset_ends_no_episode() -> None:
    with make(2, num_threads=2) as envs:
        with pytest.raises(VectorEnvError, match=r"environment 1 of 2 failed in reset") as told:
            envs.reset(options=[None, {"start": 3}])
        assert isinstance(told.value.failures[1], ValueError)
        assert "envs.replace(1)" in str(told.value)
        envs.replace(1)
        first = envs.step([0, 0])[4]["frame"]
        with pytest.raises(ValueError, match="start"):
            envs.reset(options={"start": 3})
        assert (envs.step([0, 0])[4]["frame"] > first).all()
        with pytest.raises(VectorEnvError, match=r"environment 1 of 2 failed in reset") as told:
            envs.reset(options=[None, {"start": 3}])
        assert "envs.replace" not in str(told.value)
        frames = envs.step([0, 0])[4]["frame"]
        assert frames[0] == first[0] < frames[1]
        with pytest.raises(ValueError, match="progress"):
            envs.reset(options={"progress": -1.0})
        for seed in (-1, [1, -1]):
            with pytest.raises(ValueError, match=r"seed -1 of environment \d is negative"):
                envs.reset(seed=seed)
        for state in ("/nowhere.mkds", b"none"):
            with pytest.raises(StateError):
                envs.reset(options={"state": state})
        assert (envs.step([0, 0])[4]["frame"] == frames + 4).all()


def test_reset_that_fails_after_its_start_needs_another() -> None:
    with make(2, num_threads=2) as envs:
        envs.reset(seed=0)
        with pytest.raises(ValueError, match="progress"):
            envs.reset(options={"progress": 9.0})  # the race ends before lap 9
        with pytest.raises(VectorEnvError, match=r"envs\.replace\(0\)"):
            envs.step([0, 0])
        envs.reset()
        envs.step([0, 0])
        envs.get_attr("console")[1].close()
        with pytest.raises(VectorEnvError, match="environment 1 of 2 failed in reset") as told:
            envs.reset(options={"reset_mask": np.array([False, True])})
        assert list(told.value.failures) == [1]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
@pytest.mark.parametrize("limit", [{"max_episode_steps": 2}, {"truncate_on": "clock:1"}])
def test_refused_reset_leaves_an_ended_episode_ended(
    mode: AutoresetMode, limit: dict[str, Any]
) -> None:
    with make(1, autoreset_mode=mode, **limit) as envs:
        envs.reset(seed=0)
        while not envs.step([0])[3].any():
            pass
        with pytest.raises(ValueError, match="start"):
            envs.reset(options={"start": 3})
        if mode == AutoresetMode.DISABLED:
            with pytest.raises(gym.error.ResetNeeded, match=r"episodes of environments \[0\]"):
                envs.step([0])
        else:
            assert envs.step([0])[4]["metric_distance"][0] == 0.0


def test_wrapper_that_refuses_after_the_reset_has_failed() -> None:
    class RefuseSeed13(gym.Wrapper[Any, Any, Any, Any]):
        def reset(self, **kwargs: Any) -> Any:
            result = self.env.reset(**kwargs)
            if kwargs.get("seed") == 13:
                raise ValueError("seed 13 is refused")
            return result

    with make(1, env_wrappers=[RefuseSeed13]) as envs:
        envs.reset(seed=0)
        envs.step([0])
        with pytest.raises(ValueError, match="seed 13"):
            envs.reset(seed=13)
        with pytest.raises(VectorEnvError, match="earlier call"):
            envs.step([0])


# Interrupted calls ----------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_exit_in_a_thread_reaches_the_caller(threads: int) -> None:
    with make_faulty(num_threads=threads) as envs:
        for index, error in ((0, SystemExit(3)), (2, SystemExit(4)), (1, KeyboardInterrupt())):
            envs.reset(seed=0)
            envs.step(NO_ACTION)
            fail_next_frame(index, error)
            with pytest.raises(type(error)):
                envs.step(NO_ACTION)
            # Some environments have made the step, one has made half of it.
            with pytest.raises(gym.error.ResetNeeded, match=r"call envs\.reset\(\)"):
                envs.step(NO_ACTION)
            mask = np.arange(3) == index
            envs.reset(seed=0, options={"reset_mask": mask})
            envs.step(NO_ACTION, step_mask=mask)
            with pytest.raises(gym.error.ResetNeeded, match="a call was interrupted"):
                envs.step(NO_ACTION)
        envs.reset(seed=0)
        FaultyMetric.reset_faults[1] = [KeyboardInterrupt()]
        with pytest.raises(KeyboardInterrupt):
            envs.reset(options={"reset_mask": np.array([True, True, False])})
        with pytest.raises(gym.error.ResetNeeded, match=r"environments \[0, 1\]"):
            envs.step(NO_ACTION)
        envs.reset()
        envs.step(NO_ACTION)


def test_ctrl_c_in_a_step_needs_a_reset() -> None:
    with make(3, num_threads=2, **SHORT) as envs:
        expected, _ = envs.reset(seed=0)
        first = envs.step([0, 1, 2])[0]
        caller = threading.get_ident()

        def step_until_interrupted(timer: threading.Timer) -> None:
            timer.start()  # within `raises`: it may fire at once
            while True:
                envs.step(NO_ACTION)

        for number in range(6):
            timer = threading.Timer(
                0.03 + 0.017 * number, signal.pthread_kill, (caller, signal.SIGINT)
            )
            with pytest.raises(KeyboardInterrupt):
                step_until_interrupted(timer)
            timer.join()
            consoles = envs.get_attr("console")
            before = [console.frame_count for console in consoles]
            try:
                envs.step(NO_ACTION)
            except gym.error.ResetNeeded:
                # No thread is still stepping.
                assert before == [console.frame_count for console in consoles]
            else:
                assert len(set(before)) == 1  # the interrupt came between two calls
            assert np.array_equal(envs.reset(seed=0)[0], expected)
            assert np.array_equal(envs.step([0, 1, 2])[0], first)


def test_second_call_during_a_call_is_refused() -> None:
    class WaitingObserver(EventLog):
        def __init__(self) -> None:
            super().__init__()
            self.reached, self.go = threading.Event(), threading.Event()

        def step_ended(self, env: Any, reward: float, over: bool) -> None:
            self.reached.set()
            self.go.wait(20)

    with make(2, num_threads=1) as envs:
        envs.reset(seed=0)
        observer = WaitingObserver()
        envs.get_attr("unwrapped")[0].viewer = observer
        thread = threading.Thread(target=envs.step, args=([0, 0],))
        thread.start()
        assert observer.reached.wait(20)
        for call in (
            lambda: envs.step([0, 0]),
            envs.reset,
            envs.render,
            envs.clone_states,
            envs.close,
            lambda: envs.get_attr("frame_skip"),
            lambda: envs.set_attr("frame_skip", 2),
            lambda: envs.replace(1),
        ):
            with pytest.raises(ConcurrentCallError, match="still under way"):
                call()
        observer.go.set()
        thread.join()
        envs.step([0, 0])


# Cloned states --------------------------------------------------------------------------------


@MODES
def test_restored_states_repeat_the_steps(mode: AutoresetMode) -> None:
    kwargs = {**SHORT, "mode": "vs", "opponents": 1, "items": True}
    with (
        make(2, num_threads=2, autoreset_mode=mode, **kwargs) as envs,
        make(2, num_threads=1, autoreset_mode=mode, **kwargs) as others,
    ):
        with pytest.raises(gym.error.ResetNeeded):
            envs.clone_states()
        envs.reset(seed=[3, 4])
        envs.step([0, 0])
        early = envs.clone_states()
        told = [envs.step([1, 2])]
        while not told[-1][3].any():
            told.append(envs.step([1, 2]))
        # After the end of an episode, and before the first reset.
        for each in (envs, others):
            each.restore_states(early)
            assert all(equal(expected, each.step([1, 2])) for expected in told)
        mask = np.array([False, True])
        envs.restore_states([None, early[1]])
        others.restore_states(early, mask)
        for each in (envs, others):
            got = each.step([0, 2], step_mask=mask)
            assert np.array_equal(got[0][1], told[0][0][1])
            assert got[1][1] == told[0][1][1]
        # One state for all environments.
        assert early[1] is not None
        envs.restore_states(early[1])
        observations, *_ = envs.step([2, 2])
        assert np.array_equal(observations[0], observations[1])
        assert envs.clone_states(mask)[0] is None
        # A single environment takes the state of a vector environment.
        env = MKDSEnv(**kwargs)
        assert early[0] is not None
        env.restore_state(early[0])
        assert np.array_equal(env.step(1)[0], told[0][0][0])
        env.close()


def test_restored_state_restarts_the_wrappers_of_an_ended_episode() -> None:
    with make(2, num_threads=2, max_episode_steps=3, autoreset_mode="Disabled") as envs:
        envs.reset(seed=0)
        envs.step([0, 0])
        states = envs.clone_states()
        expected = envs.step([0, 0])
        assert envs.step([0, 0])[3].all()
        logs = [EventLog(), EventLog()]
        envs.set_attr("viewer", logs)
        envs.restore_states(states)
        frames = [env.race.frame for env in envs.get_attr("unwrapped")]
        assert [each.started_at for each in logs] == [[frame] for frame in frames]
        assert envs.get_attr("viewer") == tuple(logs)
        assert equal(expected, envs.step([0, 0]))
        assert not envs.step([0, 0])[3].any()
        assert envs.step([0, 0])[3].all()
    with make(2, num_threads=1, max_episode_steps=3) as envs:
        envs.restore_states(states)
        assert equal(expected, envs.step([0, 0]))


@pytest.fixture(scope="module")
def running_and_ended() -> tuple[Any, Any, Any]:
    """First observations, states of running episodes, and states of ended ones."""
    with make(2, autoreset_mode="Disabled", **SHORT) as envs:
        first = envs.reset(seed=0)[0]
        envs.step([0, 0])
        running = envs.clone_states()
        while not envs.step([0, 0])[3].all():
            pass
        return first, running, envs.clone_states()


@MODES
@WRAPPED
@pytest.mark.parametrize("on_error", ["raise", "replace"])
def test_restored_state_of_an_ended_episode_resets_in_the_next_step(
    mode: AutoresetMode, wrappers: Any, on_error: str, running_and_ended: tuple[Any, Any, Any]
) -> None:
    first, running, ended = running_and_ended
    kwargs = {**SHORT, "on_error": on_error, "env_wrappers": wrappers}
    with make(2, autoreset_mode=mode, **kwargs) as envs:
        for reset_before in (False, True):
            if reset_before:
                envs.reset(seed=0)
            envs.restore_states([running[0], ended[1]])
            if mode == AutoresetMode.DISABLED:
                with pytest.raises(gym.error.ResetNeeded, match=r"\[1\] are over"):
                    envs.step([0, 0])
                continue
            observations, rewards, terminations, truncations, infos = envs.step([0, 0])
            assert np.array_equal(observations[1], first[1])
            assert rewards[0] != 0.0
            assert rewards[1] == 0.0
            assert not (terminations | truncations).any()
            assert "error" not in infos
            assert "final_obs" not in infos
            assert envs.step([0, 0])[4]["frame"][1] == infos["frame"][1] + SHORT["frame_skip"]


@pytest.fixture(scope="module")
def foreign_states() -> tuple[Any, ...]:
    """States of environments with another frame_skip."""
    with make(2, frame_skip=9) as envs:
        envs.reset(seed=0)
        return envs.clone_states()


def test_refused_state_leaves_wrapped_environments_unchanged(
    foreign_states: tuple[Any, ...],
) -> None:
    with make(2, max_episode_steps=2) as envs:
        with pytest.raises(StateError, match="frame_skip=9"):
            envs.restore_states(foreign_states)
        with pytest.raises(gym.error.ResetNeeded):
            envs.step([0, 0])
        first = envs.reset(seed=0)[0]
        envs.step([0, 0])
        good = envs.clone_states()
        last = envs.step([0, 0])
        assert last[3].all()
        frames = [console.frame_count for console in envs.get_attr("console")]
        for wrong in (foreign_states, [None, foreign_states[1]]):
            with pytest.raises(StateError, match="frame_skip=9"):
                envs.restore_states(wrong)
        assert [console.frame_count for console in envs.get_attr("console")] == frames
        with pytest.raises(VectorEnvError, match=r"environment 1 of 2 .*frame_skip=9"):
            envs.restore_states([good[0], foreign_states[1]])
        observations, _, _, truncations, _ = envs.step([0, 0])
        assert np.array_equal(observations[0], last[0][0])
        assert np.array_equal(observations[1], first[1])
        assert not truncations.any()


def test_wrong_states_change_nothing(foreign_states: tuple[Any, ...]) -> None:
    with make(2) as envs:
        envs.reset(seed=0)
        states = envs.clone_states()
        for wrong, kind, message in (
            ("here", TypeError, "states='here'"),
            ([states[0]], ValueError, "states has the length 1: expected 2"),
            ([states[0], b"state"], TypeError, r"states\[1\] is a bytes, expected a cloned state"),
            ([None, None], ValueError, "all states are None"),
            (foreign_states, StateError, "frame_skip=9"),
            ([states[0], foreign_states[1]], VectorEnvError, "environment 1 of 2 .*frame_skip=9"),
        ):
            with pytest.raises(kind, match=message):
                envs.restore_states(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="mask=3"):
            envs.clone_states(3)  # type: ignore[arg-type]
        envs.step([0, 0])
