"""`MKDSEnv`: the race as a Gymnasium environment, ``gym.make("MKDS-v0")``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from mkds_gym.components.actions import keys_to_action
from mkds_gym.components.agent import Agent
from mkds_gym.components.events import Event
from mkds_gym.components.info import InfoType
from mkds_gym.components.metrics import Metric
from mkds_gym.components.observations import SensorLike
from mkds_gym.components.rewards import Reward
from mkds_gym.course import Course
from mkds_gym.display.live_window import LiveWindow
from mkds_gym.display.window import DEFAULT_SCALE, MAX_SCALE
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_gym.episodes.cloned_state import Bookkeeping, ClonedState, argument_key, check_arguments
from mkds_gym.episodes.episode_env import EpisodeEnv
from mkds_gym.episodes.race_config import RaceArguments, RaceConfig
from mkds_gym.episodes.race_start import RaceStart
from mkds_gym.episodes.start_manager import StartManager
from mkds_gym.errors import ConsoleError, CourseFormatError, NoRaceError, StateError
from mkds_gym.overlays import OverlayLike
from mkds_gym.race.reader import RaceReader
from mkds_gym.race.state import RaceState
from mkds_gym.recording.format import component_names
from mkds_gym.utils.arguments import as_list, integer, number, shown
from mkds_gym.utils.one_thread import one_thread


class MKDSEnv(EpisodeEnv, EzPickle):
    """A kart race in an emulated Nintendo DS.

    Without arguments the cartridge is Kartlab, the free kart game of this package. With ``rom``
    (or the environment variable ``MKDS_ROM``) and ``state`` it is your own. The agent drives kart
    0. Each `reset` restores the race start exactly.

    An environment serves one thread at a time: while a thread is in a method, calls from other
    threads raise `ConcurrentCallError` at once and change nothing.

    ## Actions

    An action holds keys for the ``frame_skip`` frames of a step.

    | ``action_type`` | space | meaning |
    | --- | --- | --- |
    | ``discrete`` | ``Discrete(11)`` | combinations of keys, see `DISCRETE_ACTIONS` |
    | ``discrete_items`` | ``Discrete(14)`` | three more, which use the item |
    | ``keys`` | ``MultiBinary(11)`` | right, left, down, up, B, A, X, Y, L, R, start |
    | ``threshold`` | ``Box(-1, 1, (11,))`` | the same keys, pressed from 0.5; any key presses A |
    | ``threshold:2`` | ``Box(-1, 1, (2,))`` | right and left only |
    | ``wheel`` | ``Box(-1, 1, (4,))`` | steering, drift, brake, item; accelerates by itself |
    | ``keymask`` | ``Discrete(4096)`` | a combination of `Keys` |

    ## Observations

    ``obs_type`` is ``sensors`` (a float32 vector of the ``sensors`` named), ``dict`` (the same by
    name), ``pixels`` (uint8 RGB of ``screens``), ``ram`` (4 MiB of uint8), or a list of sensor
    names. The default sensor ``seed6`` has six numbers: how near obstacles are ahead, left and
    right, and cos, sin and -sin of the bearing of the next checkpoint.

    ## Rewards

    The reward of a step is the change of a score, which is computed from the metrics. By default
    the score is the progress along the course, minus costs for driving off the road and for
    hitting walls, times 0.004 per world unit. The rewards of an episode add up to its score.

    ## Episode end

    The events in ``terminate_on`` terminate and those in ``truncate_on`` truncate the episode, at
    the end of the step in which they happen.

    ## Info

    Every step and reset has the same keys, and values of the same dtype and shape:

    | key | dtype, shape | value |
    | --- | --- | --- |
    | ``metric_*`` | float64 | each metric by its name, such as ``metric_distance`` |
    | ``lap_times`` | float64 ``(5,)`` | seconds of each lap; -1 for laps to come |
    | ``total_time`` | float64 | seconds; -1 until the race is finished |
    | ``progress`` | float64 | laps since the start line |
    | ``lap``, ``checkpoint`` | int64 | where the kart is |
    | ``frame`` | int64 | frames on the race clock |
    | ``place``, ``drivers`` | int64 | place (1 leads) and number of karts |
    | ``course`` | int64 | number of the course, a key of `mkds_gym.race.names.COURSES` |
    | ``course_seed`` | int64 | seed of a random course, else -1 |
    | ``events`` | bool ``(n,)`` | whether each of `event_names` ended the episode |
    | ``is_success`` | bool ``()`` | whether the race is finished |

    ``info_type="full"``, or the method `full_info`, has the same in words: the metrics as a dict,
    lap times as a tuple, and names of the course and the events.

    Args:
        rom: path of a cartridge image, or the name of one that ``python -m mkds_gym.roms import``
            has imported; None uses ``MKDS_ROM`` if set, else Kartlab.
        state: savestate of a race to start from, a path or the bytes of `Console.save_state`.
            None boots Kartlab into a race, and starts other cartridges at a start that the user
            keeps (`mkds_gym.starts`).
        course: name of the course (``env.unwrapped.cartridge.course_names()``), or, on Kartlab,
            ``"random"`` for a course that is generated from a seed.
        laps: laps of the race, 1 to 9; None uses the course's number. Other cartridges than
            Kartlab: at most the number of the kept start; also with ``state``.
        obs_type: ``"sensors"``, ``"dict"``, ``"pixels"``, ``"ram"``, a sensor's name, or a list of
            sensors; see Observations.
        sensors: sensors of the ``obs_type`` ``sensors`` and ``dict``.
        action_type: ``"discrete"``, ``"discrete_items"``, ``"keys"``, ``"threshold"``,
            ``"threshold:n"``, ``"wheel"``, ``"wheel:n"`` or ``"keymask"``; see Actions.
        frame_skip: emulated frames per step, 1 to 60, all with the same keys.
        reward: name of a scorer, a `Reward`, or a function from the metrics to a score.
        metrics: names or objects; None means all default metrics.
        terminate_on: names (``"finish"``, ``"clock:3600"``) or objects of events.
        truncate_on: names or objects of events.
        render_mode: None, ``"rgb_array"`` or ``"human"``.
        screens: ``"top"``, ``"bottom"`` or ``"both"``; for pixels and rendering.
        info_type: ``"numeric"`` or ``"full"``; see Info.
        info_every_step: False leaves the info empty except at the start and end of an episode,
            which makes vector environments faster.
        course_seed: seed of the random course, at least 0. None draws one from the
            ``course_set`` at every reset. This and the following race arguments: Kartlab only, but
            ``engine_class``, ``mirror`` and ``mode`` choose among kept starts.
        difficulty: of random courses, from 0 (wide and gentle) to 1; None is 0.5.
        course_set: ``"train"`` or ``"test"``: a random course of that set at every reset. The
            sets share no course. None, with ``course="random"`` and no seed, is ``"train"``. Or a
            list of courses, of which every reset draws one; other cartridges need kept starts.
        engine_class: 50, 100 or 150.
        mirror: whether left and right of the course are exchanged.
        mode: ``"time_trial"``, alone against the clock, or ``"vs"``, against CPU karts; for kept
            starts also ``"grand_prix"``.
        opponents: number of CPU karts, 0 to 7; None is 7 in VS. They start in front of the agent.
        opponent_strength: ``"easy"``, ``"normal"`` or ``"hard"``; None is normal.
        items: whether the course has item boxes (VS only).
        overlays: names, numbers or objects of overlays to draw on rendered pictures, see
            `mkds_gym.overlays`; observations have none. Needs a ``render_mode``.
        window_scale: initial scale of the window of ``"human"``, 1 to 8 screen pixels per pixel.

    Raises:
        ValueError, TypeError: an argument is wrong.
        CartridgeError: the cartridge cannot be used.
        StateError: the savestate cannot be used.

    Attributes:
        cartridge: the cartridge in the console.
        observation_builder: makes the observations.
        starts: brings the console to the start of each episode.

    Version history:
        * v0: first version.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - declared so by Gymnasium
        "render_modes": ["human", "rgb_array"],
        "render_fps": round(FRAMES_PER_SECOND),
        "observers": True,  # tells viewers, even across processes, that `viewer` can be set
    }

    def __init__(
        self,
        rom: str | os.PathLike[str] | None = None,
        state: str | os.PathLike[str] | bytes | None = None,
        course: str | None = RaceArguments.course,
        laps: int | None = RaceArguments.laps,
        obs_type: str | Sequence[SensorLike] = "sensors",
        sensors: SensorLike | Sequence[SensorLike] | None = None,
        action_type: str = "discrete",
        frame_skip: int = 4,
        reward: str | Reward | Callable[[Mapping[str, float]], float] = "driving",
        metrics: str | Metric | Sequence[str | Metric] | None = None,
        terminate_on: str | Event | Sequence[str | Event] = ("finish",),
        truncate_on: str | Event | Sequence[str | Event] = ("clock", "stuck", "wrong_way"),
        render_mode: str | None = None,
        screens: str = "top",
        info_type: InfoType = "numeric",
        info_every_step: bool = True,
        course_seed: int | None = RaceArguments.course_seed,
        difficulty: float | None = RaceArguments.difficulty,
        course_set: str | Sequence[str] | None = RaceArguments.course_set,
        engine_class: int = RaceArguments.engine_class,
        mirror: bool = RaceArguments.mirror,
        mode: str = RaceArguments.mode,
        opponents: int | None = RaceArguments.opponents,
        opponent_strength: str | None = RaceArguments.opponent_strength,
        items: bool = RaceArguments.items,
        overlays: OverlayLike | Sequence[OverlayLike] = (),
        window_scale: int = DEFAULT_SCALE,
    ) -> None:
        arguments = {name: value for name, value in locals().items() if name != "self"}
        EzPickle.__init__(self, **arguments)
        integer("window_scale", window_scale, 1, MAX_SCALE)
        agent = Agent(
            obs_type,
            sensors,
            screens,
            action_type,
            reward,
            metrics,
            terminate_on,
            truncate_on,
        )
        cartridge = Cartridge.open(rom)
        race = RaceArguments.select(arguments)
        config = RaceConfig(cartridge, race, has_state=state is not None)
        EpisodeEnv.__init__(
            self,
            cartridge,
            agent,
            StartManager(cartridge, config, state),
            frame_skip=frame_skip,
            render_mode=render_mode,
            screens=screens,
            overlays=overlays,
            info_type=info_type,
            info_every_step=info_every_step,
        )
        self._bookkeeping = Bookkeeping()
        # The arguments in which cloned states must agree with the environment.
        kept = ("frame_skip", "reward", "metrics", "terminate_on", "truncate_on")
        self._state_arguments = vars(race) | {name: argument_key(arguments[name]) for name in kept}
        key = self._state_arguments["reward"]
        self._reward_name = key if isinstance(reward, str) else key.partition(":")[0]
        self._component_names = component_names(arguments)
        self._window: LiveWindow | None = None
        if render_mode == "human":
            self._window = LiveWindow(f"MKDS-v0 - {cartridge.title}", window_scale)
            self.add_observer(self._window)

    # Reset, step, render, close ----------------------------------------------------------------

    @one_thread
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Restore the race start and begin an episode.

        Args:
            seed: seeds ``np_random``, which draws the course of an episode (``course_set``) and
                the seed of a VS race. Equal seeds and actions give equal observations, rewards
                and memory. A time trial on a fixed course draws nothing.
            options: a dict of

                - ``state``: a path, bytes or a `ClonedState` to start at, in this episode and
                  those after it;
                - ``course_seed``: the random course of this episode;
                - ``progress``: where along the course this episode starts, in laps since the start
                  line. The scripted driver drives there once, in about a second.

                ``course_seed`` and ``progress`` may be combined. Resets after them return to the
                race of the environment's arguments.

        Returns:
            Observation and info.

        Raises:
            ValueError, TypeError: an option is unknown or wrong. The episode goes on.
            StateError, NoRaceError, ConsoleError: the start cannot be reached. The episode goes on
                if the state is missing, damaged, or of another cartridge.
            gymnasium.error.ClosedEnvironmentError: the environment is closed.
        """
        return self._reset(seed, options, None)

    @one_thread
    def reset_into(
        self, out: Any, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Reset, and write the observation into arrays of the caller.

        Args:
            out: see `step_into`.
            seed: see `reset`.
            options: see `reset`.

        Returns:
            The info.

        Raises:
            ValueError, TypeError: as `reset`, or ``out`` does not fit the observation space.
            StateError, NoRaceError, ConsoleError: the start cannot be reached.
            gymnasium.error.ClosedEnvironmentError: the environment is closed.
        """
        self.observation_builder.check(out)
        return self._reset(seed, options, out)[1]

    @one_thread
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Hold the keys of an action for ``frame_skip`` frames.

        Args:
            action: an element of ``action_space``.

        Returns:
            Observation, reward, terminated, truncated and info.

        Raises:
            ValueError: the action is not in the space.
            gymnasium.error.ResetNeeded: no episode is under way: before the first reset, after the
                end of an episode, or after a step that failed or was interrupted.
            gymnasium.error.ClosedEnvironmentError: the environment is closed.
        """
        return self._step(action, None)

    @one_thread
    def step_into(self, action: Any, out: Any) -> tuple[float, bool, bool, dict[str, Any]]:
        """Step, and write the observation into arrays of the caller, as vector environments do.

        Args:
            action: an element of ``action_space``.
            out: an array (or view) with shape and dtype of ``observation_space``; for ``obs_type``
                ``dict``, such an array by sensor name. An error leaves the contents unchanged.

        Returns:
            Reward, terminated, truncated and info.

        Raises:
            ValueError, TypeError: the action is not in the space, or ``out`` does not fit the
                observation space. No frame was run.
            gymnasium.error.ResetNeeded: as `step`.
            gymnasium.error.ClosedEnvironmentError: the environment is closed.
        """
        self.observation_builder.check(out)
        return self._step(action, out)[1:]

    @one_thread
    def render(self) -> NDArray[np.uint8] | None:
        """Return the picture of the last frame.

        Returns:
            uint8 RGB of shape (192, 256, 3), or (384, 256, 3) for both screens, in render mode
            ``rgb_array``. None in render mode ``human``, whose window shows every frame.
        """
        if self.render_mode is None:
            gym.logger.warn(
                "env.render() does nothing without a render_mode: use "
                "gym.make('MKDS-v0', render_mode='rgb_array')"
            )
        return self.picture() if self.render_mode == "rgb_array" else None

    @one_thread
    def close(self) -> None:
        """Close console and window. A second call does nothing."""
        try:
            self._end_episode()
        finally:  # an observer may raise
            self._closed = self._needs_reset = True
            try:
                for observer in self._observers:
                    self.remove_observer(observer)
            finally:
                self.starts.close()
                self._start = None

    def get_keys_to_action(self) -> dict[tuple[int, ...], Any]:
        """Return the action for keys of the keyboard, as `gymnasium.utils.play.play` asks for it.

        The keys are those of ``python -m mkds_gym.play``: the arrow keys steer, X accelerates, Z
        brakes, W drifts, Q uses the item. A combination without an action is ``play``'s ``noop``.

        Returns:
            Actions by the sorted codes of the keys that are held.
        """
        return keys_to_action(self._agent.actions)

    @property
    def recorded_arguments(self) -> dict[str, Any]:
        """The arguments that a recording notes, see `Recording.environment`."""
        laps = self.starts.config.laps  # a state does not hold them
        return {
            **self._component_names,
            "frame_skip": self.frame_skip,
            "action_type": self._agent.actions.name,
            "reward": self._reward_name,
            **({} if laps is None else {"laps": int(laps)}),
        }

    # States ------------------------------------------------------------------------------------

    @one_thread
    def clone_state(self) -> ClonedState:
        """Return the whole state of the environment, to return to with `restore_state`.

        The state holds the console (memory, registers, picture), the metrics, events and reward of
        the episode, ``np_random``, and whether the episode has ended. It does not hold where
        resets go, or anything of wrappers. It takes 50 to 110 KiB on Kartlab. It can be restored
        any number of times, and pickled for an environment of another process with the same
        arguments (apart from those of observations and pictures).

        Raises:
            ConsoleError: before the first reset.
            gymnasium.error.ClosedEnvironmentError: the environment is closed.
            StateError: a custom metric, event or reward cannot be pickled.
        """
        self._check_open()
        start = self._start
        if start is None:
            raise ConsoleError("there is no race to clone yet: call env.reset() first")
        self.console.hold(0)  # as after restore_state(), so that both states are equal
        return ClonedState(
            start.base,
            self.console.difference(start.base.snapshot),
            arguments=self._state_arguments,
            course=start.course.fingerprint,
            course_seed=start.course_seed,
            parts=self._bookkeeping.dump(self._parts()),
            progress=self.reader.progress,
        )

    @one_thread
    def clone_along(self, progress: Sequence[float]) -> list[ClonedState]:
        """Return states along the course: at each point, the state after a reset there.

        The scripted driver reaches all points in one drive. Afterwards an episode is under way at
        the last point.

        Args:
            progress: points, in laps since the start line, each at least 0.

        Raises:
            ValueError, TypeError: a point is wrong, or the race ends before it.
            StateError: the driver does not reach a point.
            ConsoleError: before the first reset.
            gymnasium.error.ClosedEnvironmentError: the environment is closed.
        """
        self._check_open()
        start = self.starts.current
        if start is None:
            raise ConsoleError("there is no course yet: call env.reset() first")
        laps = [number("progress", point, 0) for point in as_list("progress", progress, ())]
        self._end_episode()
        states = []
        for point in self.starts.points(start, laps):
            self._end_episode()
            self._start_episode(point, None)
            states.append(self.clone_state())
        return states

    @one_thread
    def restore_state(self, state: ClonedState) -> None:
        """Return to a state of `clone_state`, exactly.

        The same actions then bring the same observations, rewards, infos, memory and pictures.
        No reset is needed before, unless a wrapper insists (as that of ``gym.make`` does). Where
        resets go does not change, apart from what they draw from ``np_random``.

        Args:
            state: a state of this environment, or of one with the same arguments.

        Raises:
            TypeError: `state` is not a `ClonedState`.
            StateError: the state is of another cartridge, emulator build or course, or of an
                environment with other arguments; nothing has changed. Or the state is damaged; a
                reset may be needed then.
            ConsoleError: the emulator cannot be started.
            gymnasium.error.ClosedEnvironmentError: the environment is closed.
        """
        self._check_open()
        if not isinstance(state, ClonedState):
            raise TypeError(
                f"state={shown(state)} is not a ClonedState: pass the result of clone_state(), "
                "or load a savestate with reset(options={'state': ...})"
            )
        self.starts.check_state(state)
        check_arguments(state, self._state_arguments)
        course, reader, race, parts = self._go_to(state)
        self._start = RaceStart.at_state(state, course)
        self._course, self.starts.reader, self._race = course, reader, race
        self._events = ()
        self._episode_open = True
        for observer in self._observers:
            observer.start_reached(self, 0)
        *self._agent.parts, self._needs_reset, self._np_random, self._np_random_seed = parts
        if not self._needs_reset:
            for observer in self._observers:
                observer.episode_started(self)
        elif self._window is not None:
            self._window.show(self)

    def _go_to(self, state: ClonedState) -> tuple[Course, RaceReader, RaceState, Any]:
        """Bring the console to a cloned state.

        Returns:
            The course, the reader, the race, and the bookkeeping of the state.
        """
        course = self._known_course(state)
        parts = None
        if course is not None:
            parts = self._bookkeeping.load(state.parts, self._parts(), course)
        console = self.starts.powered_on()
        was_over, was_open = self._needs_reset, self._episode_open
        # A state of an unknown course is only checked by going there.
        before = console.snapshot() if course is None else None
        remembered = None if self.starts.reader is None else self.starts.reader.progress
        self._end_episode()
        # After _end_episode(), because an observer may restore a state as well.
        console.restore(state.snapshot(lasting=False))
        try:
            reader = self.starts.reader or self.starts.new_reader(console)
            reader.continue_from(state.progress)
            race = reader.read()
            if course is None:
                course = Course.from_ram(console.ram, reader.layout)
                parts = self._bookkeeping.load(state.parts, self._parts(), course)
        except (NoRaceError, CourseFormatError, StateError) as error:
            if before is not None:
                console.restore(before)
                if self.starts.reader is not None:
                    self.starts.reader.continue_from(remembered)
                if not self._observers:  # they were told that the episode ended
                    self._needs_reset, self._episode_open = was_over, was_open
            raise StateError(f"the state cannot be restored here: {error}") from error
        return course, reader, race, parts

    def _known_course(self, state: ClonedState) -> Course | None:
        """Return the course of a cloned state, if it is in use or kept."""
        for start in (self._start, self.starts.current):
            if start is not None and start.course.fingerprint == state.course:
                return start.course
        course = self.starts.course_of_seed(state.course_seed)
        if course is None and self._start is not None and not self.starts.config.draws_courses:
            raise StateError(
                "the state is of another course: to start an episode there, use "
                "reset(options={'state': state})"
            )
        return course

    def _parts(self) -> tuple[Any, ...]:
        """Return what a cloned state holds besides the console."""
        return (
            *self._agent.parts,
            self._needs_reset,
            self.np_random,
            self._np_random_seed,
        )


def make_env(**kwargs: Any) -> MKDSEnv:
    """Return an environment; the entry point of ``gym.make`` and of Gymnasium's `make_vec`."""
    if "drivers_per_console" in kwargs:
        raise TypeError(
            "drivers_per_console is an argument of MKDSVectorEnv, whose environments share "
            "consoles: leave out vectorization_mode, or pass 'vector_entry_point' to make_vec()"
        )
    return MKDSEnv(**kwargs)


make_env.__signature__ = inspect.signature(MKDSEnv)  # type: ignore[attr-defined]
