"""`drivers_per_console`: environments that share a console, and those that do not."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from vector_envs import FaultyMetric, equal, fail_next_frame, make, make_faulty, play

import mkds_gym
from mkds_gym.emulator import Cartridge, Console, Keys
from mkds_gym.emulator.states import known_states
from mkds_gym.episodes.cloned_state import ClonedState
from mkds_gym.errors import ConsoleError, RecordingError, StateError, VectorEnvError
from mkds_gym.kartlab.host_drivers import MAGIC
from mkds_gym.recording import Recorder
from mkds_gym.replay import verify
from mkds_gym.vector.env import MKDSVectorEnv
from mkds_gym.wrappers import StartStates

SHORT: dict[str, Any] = {"frame_skip": 7, "truncate_on": ("clock:60", "stuck:100")}
"""Episodes of one second, nine steps."""


def pair(num_envs: int, drivers: int, **kwargs: Any) -> tuple[MKDSVectorEnv, MKDSVectorEnv]:
    """The same environments, with and without shared consoles."""
    return make(num_envs, drivers_per_console=drivers, **kwargs), make(num_envs, **kwargs)


def drive(envs: MKDSVectorEnv, steps: int, seed: int = 5) -> list[Any]:
    envs.action_space.seed(seed)
    return [envs.step(envs.action_space.sample()) for _ in range(steps)]


# The same results -----------------------------------------------------------------------------


NEXT_STEP, SAME_STEP, DISABLED = AutoresetMode
SKIPS = [{"frame_skip": 1 + 3 * (index % 3)} for index in range(8)]
RIDGE: dict[str, Any] = {"course": "ridge_course", "engine_class": 150, "mirror": True}
WRAPPED: dict[str, Any] = {"env_wrappers": [gym.wrappers.FlattenObservation]}


@pytest.mark.parametrize(
    ("num_envs", "drivers", "mode", "kwargs"),
    [
        (2, 1, NEXT_STEP, {}),
        (4, 2, SAME_STEP, {**RIDGE, "obs_type": "dict"}),
        (8, 8, NEXT_STEP, {"laps": 1, "env_kwargs": SKIPS}),
        *(
            pytest.param(8, 8, mode, {"laps": 1, "env_kwargs": SKIPS}, marks=pytest.mark.slow)
            for mode in (SAME_STEP, DISABLED)
        ),
        (2, 2, SAME_STEP, {"course": "random", "course_seed": 5, "max_episode_steps": 4}),
        (2, 2, NEXT_STEP, {**WRAPPED, "obs_type": "rays:5"}),
        (2, 2, DISABLED, {**WRAPPED, "max_episode_steps": 4}),
    ],
)
def test_results_equal_those_of_own_consoles(
    num_envs: int, drivers: int, mode: AutoresetMode, kwargs: dict[str, Any]
) -> None:
    shared, own = pair(num_envs, drivers, autoreset_mode=mode, **{**SHORT, **kwargs})
    with shared, own:
        assert shared.num_threads <= num_envs // drivers
        for got, expected in zip(play(shared, 22), play(own, 22), strict=True):
            assert equal(expected, got)


@pytest.mark.slow
@pytest.mark.parametrize(("course", "engine_class"), [("mario_course", 150), ("ridge_course", 50)])
def test_long_drives_of_many_drivers_equal_those_on_own_consoles(
    course: str, engine_class: int
) -> None:
    shared, own = pair(
        16,
        8,
        course=course,
        engine_class=engine_class,
        sensors=["seed6", "kinematics", "progress"],
        truncate_on=("clock:400", "stuck:200", "wrong_way"),
        autoreset_mode="SameStep",
    )
    rng = np.random.default_rng(3)
    actions = rng.integers(0, 5, 16)
    ended = 0
    with shared, own:
        assert equal(own.reset(seed=0), shared.reset(seed=0))
        for _ in range(250):
            actions = np.where(rng.random(16) < 0.3, rng.integers(0, 9, 16), actions)
            got, expected = shared.step(actions), own.step(actions)
            assert equal(expected, got)
            ended += int((got[2] | got[3]).sum())
    assert ended >= 16


def test_masked_steps_and_resets_leave_the_other_drivers_where_they_are() -> None:
    shared, own = pair(4, 4, autoreset_mode="Disabled", **SHORT)
    rng = np.random.default_rng(4)
    with shared, own:
        for envs in (shared, own):
            envs.reset(seed=1)
        for _ in range(30):
            mask = rng.random(4) < 0.6
            mask[rng.integers(4)] = True
            actions = rng.integers(11, size=4)
            results = [envs.step(actions, step_mask=mask) for envs in (shared, own)]
            assert equal(results[1], results[0])
            over = results[0][2] | results[0][3]
            if over.any():
                options = {"reset_mask": over}
                assert equal(own.reset(options=options), shared.reset(options=options))


PIXELS: dict[str, Any] = {"obs_type": "pixels", "screens": "both"}
OVERLAYS = {"render_mode": "rgb_array", "overlays": ["hud", "camera", "objects", "trail", "rays"]}


@pytest.mark.parametrize(
    ("frame_skip", "kwargs"),
    [
        pytest.param(1, PIXELS, marks=pytest.mark.slow),
        (5, PIXELS),
        (2, OVERLAYS),
        pytest.param(5, OVERLAYS, marks=pytest.mark.slow),
    ],
)
def test_pictures_equal_those_of_own_consoles(frame_skip: int, kwargs: dict[str, Any]) -> None:
    truncate_on = f"clock:{6 * frame_skip}"
    shared, own = pair(2, 2, frame_skip=frame_skip, truncate_on=truncate_on, **kwargs)
    with shared, own:
        for got, expected in zip(play(shared, 8), play(own, 8), strict=True):
            assert equal(expected, got)
            if "render_mode" in kwargs:
                for picture, other in zip(shared.render(), own.render(), strict=True):
                    assert np.array_equal(picture, other)


def test_progress_starts_where_it_does_on_own_consoles() -> None:
    shared, own = pair(2, 2, **SHORT)
    with shared, own:
        options = [{"progress": 0.2}, None]
        assert equal(own.reset(seed=0, options=options), shared.reset(seed=0, options=options))
        assert equal(drive(own, 5), drive(shared, 5))


def test_frame_skip_can_be_set_for_each_driver() -> None:
    shared, own = pair(2, 2, **SHORT)
    with shared, own:
        for envs in (shared, own):
            envs.reset(seed=0)
            envs.set_attr("frame_skip", [2, 9])
        assert equal(drive(own, 6), drive(shared, 6))


# States -----------------------------------------------------------------------------------------


def test_state_of_a_driver_restores_into_any_driver_of_the_race() -> None:
    with make(4, drivers_per_console=2, **SHORT) as envs, make(3, drivers_per_console=3) as fresh:
        envs.reset(seed=0)
        drive(envs, 3)
        states = envs.clone_states()
        expected = envs.step([0, 1, 2, 3])
        for order in ([3, 2, 1, 0], [0, 0, 3, 3]):
            envs.restore_states([states[index] for index in order])
            got = envs.step(order)
            assert np.array_equal(got[0], expected[0][order])
            assert np.array_equal(got[1], expected[1][order])
        assert isinstance(states[0], ClonedState)
        assert states[0].kind == "driver"
        assert states[0].nbytes < 30_000
        with pytest.raises(StateError, match="frame_skip"):
            fresh.restore_states(states[0])
        carried = pickle.loads(pickle.dumps(states))
        envs.restore_states(carried)
        assert np.array_equal(envs.step([0, 1, 2, 3])[0], expected[0])
        observations, _ = fresh.reset(options={"state": carried[1]})
        assert not np.array_equal(observations[0], expected[0][1])
        assert np.array_equal(observations[0], observations[2])


@pytest.mark.parametrize("frame_skip", [1, 4])
def test_restored_state_shows_the_same_pictures(frame_skip: int) -> None:
    with make(2, drivers_per_console=2, frame_skip=frame_skip, obs_type="pixels") as envs:
        envs.reset(seed=0)
        drive(envs, 4)
        states = envs.clone_states()
        expected = drive(envs, 3)
        envs.restore_states(states)
        assert equal(expected, drive(envs, 3))


def test_start_states_of_a_driver_start_episodes_of_drivers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make(2, drivers_per_console=2) as envs:
        envs.reset(seed=0)
        states = StartStates.collect(envs.envs[0], 2, laps=0.1)
        assert [state.kind for state in states] == ["driver"] * 2
        envs.reset(options=[{"state": states[0]}, {"state": states[1]}])
        expected = envs.step([0, 0])
        envs.reset(options=[{"state": states[1]}, {"state": states[0]}])
        assert np.array_equal(envs.step([0, 0])[0], expected[0][::-1])
        # Those of another user work, too. Saved again, they are still those of another user.
        states.save(tmp_path / "states")
        monkeypatch.setattr(known_states, "_here", {})
        monkeypatch.setenv("MKDS_HOME", str(tmp_path / "home"))
        loaded = StartStates.load(tmp_path / "states")
        envs.reset(options=[{"state": loaded[0]}, {"state": loaded[1]}])
        assert np.array_equal(envs.step([0, 0])[0], expected[0])
        loaded.save(tmp_path / "again")
        for name in ("states", "again"):
            assert all(state.foreign for state in StartStates.load(tmp_path / name))
        states.save(tmp_path / "own")
        assert not any(state.foreign for state in StartStates.load(tmp_path / "own"))


def test_states_of_consoles_and_of_other_races_are_refused(tmp_path: Path) -> None:
    with (
        make(2, drivers_per_console=2) as envs,
        make(1) as own,
        make(2, drivers_per_console=2, course="ridge_course") as elsewhere,
    ):
        for each in (envs, own, elsewhere):
            each.reset(seed=0)
        whole, other = own.clone_states()[0], elsewhere.clone_states()[0]
        driver = envs.clone_states()[0]
        assert whole is not None
        assert driver is not None
        expected = envs.step([0, 0])
        envs.restore_states(driver)
        with pytest.raises(StateError, match="of a whole console"):
            envs.restore_states(whole)
        with pytest.raises(StateError, match="of a whole console"):
            envs.reset(options={"state": whole})
        with pytest.raises(StateError, match="of another race"):
            envs.reset(options={"state": other})
        with pytest.raises(StateError, match="savestate holds a whole console"):
            envs.reset(options={"state": tmp_path / "race.state"})
        with pytest.raises(StateError, match="of one driver of a shared console"):
            own.restore_states(driver)
        with pytest.raises(StateError, match="of one driver of a shared console"):
            own.reset(options={"state": driver})
        assert np.array_equal(envs.step([0, 0])[0], expected[0])  # no episode ended
        console = envs.get_attr("console")[0]
        for refused in (console.reset, console.save_state, lambda: console.load_state(b"")):
            with pytest.raises((ConsoleError, StateError)):
                refused()


# Refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"drivers_per_console": 0}, ValueError, "expected an integer from 1 to 8"),
        ({"drivers_per_console": 9}, ValueError, "expected an integer from 1 to 8"),
        ({"drivers_per_console": 2.5}, TypeError, "drivers_per_console=2.5 is not an integer"),
        ({"drivers_per_console": True}, TypeError, "drivers_per_console=True is not an integer"),
        ({"num_envs": 9}, ValueError, "num_envs=9 is not a multiple of drivers_per_console=2"),
        ({"mode": "vs"}, ValueError, r"mkds_gym\.parallel_env"),
        ({"course": "random"}, ValueError, "pass a course_seed"),
        ({"course_set": "test"}, ValueError, "pass a course_seed"),
        ({"obs_type": "ram"}, ValueError, "obs_type='ram'"),
        ({"env_kwargs": [{}, {"laps": 2}]}, ValueError, "environment 1 has laps=2"),
        ({"env_kwargs": [{}, {"mirror": True}]}, ValueError, "environment 1 has mirror=True"),
    ],
)
def test_what_cannot_share_a_console_is_refused(
    kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make(**{"num_envs": 2, "drivers_per_console": 2, **kwargs})


def test_savestates_and_other_cartridges_cannot_share_a_console(tmp_path: Path) -> None:
    data = bytearray(Cartridge.open().path.read_bytes())
    data[0x0C:0x10] = b"AMCE"
    other = tmp_path / "other.nds"
    other.write_bytes(data)
    for rom, message in ((None, "holds a whole console"), (other, "drives one kart: use Kartlab")):
        with Console(rom) as console:
            state = console.save_state()
        with pytest.raises(ValueError, match=message):
            make(2, drivers_per_console=2, rom=rom, state=state)


def test_cartridge_without_hosted_drivers_is_refused_before_anything_starts(
    tmp_path: Path,
) -> None:
    old = tmp_path / "old.nds"
    old.write_bytes(Cartridge.open().path.read_bytes().replace(MAGIC, b"none"))
    with pytest.raises(ValueError, match=r"old\.nds' is older than hosted drivers"):
        make(2, drivers_per_console=2, rom=old)
    with pytest.raises(ValueError, match=r"old\.nds' is older than hosted drivers"):
        mkds_gym.parallel_env(rom=old)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_other_vector_environments_refuse_drivers_per_console(mode: str) -> None:
    with pytest.raises(TypeError, match="argument of MKDSVectorEnv"):
        gym.make_vec("MKDS-v0", num_envs=2, vectorization_mode=mode, drivers_per_console=2)


def test_course_seed_of_another_course_is_refused() -> None:
    with make(2, drivers_per_console=2, course="random", course_seed=3) as envs:
        envs.reset(options={"course_seed": 3})
        with pytest.raises(ValueError, match="course_seed=4 is another course"):
            envs.reset(options={"course_seed": 4})


# Failures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrappers", [(), (gym.wrappers.FlattenObservation,)])
def test_failing_metric_fails_one_driver(wrappers: Any) -> None:
    with (
        make_faulty(3, drivers_per_console=3, env_wrappers=wrappers) as envs,
        make(3, frame_skip=8, metrics=["progress", "distance"], reward="none") as sound,
    ):
        envs.reset(seed=0)
        sound.reset(seed=0)
        fail_next_frame(1)
        with pytest.raises(VectorEnvError, match="environment 1 of 3") as told:
            envs.step([0, 1, 2])
        expected = sound.step([0, 1, 2])
        assert told.value.results is not None
        for index in (0, 2):
            assert np.array_equal(told.value.results[0][index], expected[0][index])
        envs.replace(1)
        for _ in range(2):
            got, expected = envs.step([0, 1, 2])[0], sound.step([0, 1, 2])[0]
            assert np.array_equal(got[[0, 2]], expected[[0, 2]])
        FaultyMetric.reset_faults[1] = [ZeroDivisionError("no replacement")]
        before = envs.clone_states()
        with pytest.raises(ZeroDivisionError):
            envs.replace(1)
        assert equal(
            [each.snapshot().data for each in before if each is not None],
            [each.snapshot().data for each in envs.clone_states() if each is not None],
        )


@pytest.mark.parametrize("wrappers", [(), (gym.wrappers.FlattenObservation,)])
def test_interrupted_step_needs_a_reset_of_all_drivers(wrappers: Any) -> None:
    with make_faulty(3, drivers_per_console=3, env_wrappers=wrappers) as envs:
        envs.reset(seed=0)
        expected = envs.step([0, 1, 2])
        fail_next_frame(1, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            envs.step([0, 1, 2])
        with pytest.raises(gym.error.ResetNeeded):
            envs.step([0, 1, 2])
        envs.reset(seed=0)
        assert equal(expected, envs.step([0, 1, 2]))


def test_objects_of_a_driver_are_those_of_its_own_console() -> None:
    shared, own = pair(2, 2)
    with shared, own:
        for envs in (shared, own):
            envs.reset(seed=0)
            envs.step([0, 0])
        for seat, console in zip(shared.envs, own.envs, strict=True):
            found, expected = (
                [each.kind for each in env.get_wrapper_attr("reader").read_objects()]
                for env in (seat, console)
            )
            assert found == expected
            assert found.count("driver") == 1


def test_picture_of_a_restored_state_replaces_the_last_picture() -> None:
    with make(2, drivers_per_console=2, render_mode="rgb_array", frame_skip=4) as envs:
        envs.reset(seed=0)
        envs.step([0, 0])
        states, before = envs.clone_states(), envs.render()
        for _ in range(10):
            envs.step([0, 0])
        assert not np.array_equal(envs.render()[0], before[0])
        envs.restore_states(states)
        assert np.array_equal(envs.render()[0], before[0])


def test_picture_after_undrawn_frames_leaves_the_driver_where_it_is() -> None:
    with make(2, drivers_per_console=2) as envs:
        envs.reset(seed=0)
        seat = envs.get_attr("console")[0]

        def drive_on(look: bool) -> Any:
            envs.reset(seed=0)
            seat.snapshot()
            seat.step(Keys.A, 4)
            envs.step([0, 0])
            if look:
                seat.colours()
            return envs.step([0, 0])

        assert equal(drive_on(look=False), drive_on(look=True))


def test_interrupted_picture_leaves_the_driver_where_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with make(2, drivers_per_console=2, render_mode="rgb_array", frame_skip=4) as envs:
        envs.reset(seed=0)
        envs.render()
        envs.step([0, 0])
        state = envs.clone_states()
        expected = envs.step([1, 1])
        envs.restore_states(state)
        console = envs.get_attr("unwrapped")[0].seat.shared.console
        step, calls = console.step, itertools.count()

        def interrupted(*arguments: Any, **kwargs: Any) -> None:
            if next(calls) == 1:
                raise KeyboardInterrupt
            step(*arguments, **kwargs)

        monkeypatch.setattr(console, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            envs.render()
        monkeypatch.undo()
        assert equal(expected, envs.step([1, 1]))


def test_failing_console_fails_its_drivers() -> None:
    with make(4, drivers_per_console=2, on_error="replace", **SHORT) as envs:
        envs.reset(seed=0)
        expected = envs.step([0] * 4)
        seat = envs.get_attr("unwrapped")[2].seat
        seat.shared.console.close()
        results = envs.step([0] * 4)
        assert results[3].tolist() == [False, False, True, True]
        assert "ConsoleError" in results[4]["error"][3]
        envs.step([0] * 4)
        results = envs.step([0] * 4)
        assert not results[3].any()
        assert np.array_equal(results[0][2:], expected[0][2:])


def test_consoles_close_with_their_last_environment() -> None:
    envs = make(4, drivers_per_console=2)
    envs.reset(seed=0)
    shared = [env.unwrapped.seat.shared for env in envs.envs[::2]]  # type: ignore[attr-defined]
    envs.envs[0].close()
    assert not shared[0].closed
    envs.close()
    assert all(each.closed for each in shared)


# Observers --------------------------------------------------------------------------------------


def test_recording_of_a_driver_is_replayed_on_a_console_of_its_own() -> None:
    with make(2, drivers_per_console=2, autoreset_mode="Disabled", **SHORT) as envs:
        recorders = [Recorder(env) for env in envs.envs]
        envs.reset(seed=0)
        for actions in itertools.islice(itertools.cycle([(0, 1), (3, 2)]), 9):
            *_, infos = envs.step(actions)
        for index, recorder in enumerate(recorders):
            recording = recorder.recording()
            assert recording.ram == ""
            assert recording.result["progress"] == infos["progress"][index]
            verify(recording)
        with pytest.raises((RecordingError, VectorEnvError), match="start of the race only"):
            envs.reset(options={"progress": 0.1})
