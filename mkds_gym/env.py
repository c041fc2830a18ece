"""`MKDSEnv`: the race as a Gymnasium environment, ``gym.make("MKDS-v0")``."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from mkds_gym.actions import ACTION_TYPES
from mkds_gym.cartridge import Cartridge
from mkds_gym.console import Console
from mkds_gym.core import installed_build_id
from mkds_gym.course import Course
from mkds_gym.errors import ConsoleError, CourseFormatError, NoRaceError, StateError
from mkds_gym.events import EVENTS, Event
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.memory import FRAMES_PER_SECOND, Layout, course_id
from mkds_gym.metrics import DEFAULT_METRICS, Metric, collect_all, make_metrics, reset_all
from mkds_gym.observations import Observer, SensorLike, make_observer
from mkds_gym.registry import as_list
from mkds_gym.rewards import Reward, make_reward
from mkds_gym.savestate import Snapshot, read_state
from mkds_gym.state import RaceReader, RaceState
from mkds_gym.window import Window

MAX_FRAME_SKIP: Final = 60
PRIMING_FRAMES: Final = 3
"""Frames run after each restore, with no key held, before anything is read: what the game keeps
per frame is then true, and the picture is this race's. (The emulator draws a frame's picture when
told so two frames before.)"""
BOOT_FRAMES: Final = 1200
"""How long a cartridge that boots by itself may take to its race start, in frames."""

_RENDER_MODES: Final = (None, "human", "rgb_array")
_RESET_OPTIONS: Final = ("state",)


class MKDSEnv(gym.Env[Any, Any], EzPickle):
    """A kart race in an emulated Nintendo DS.

    Without arguments the cartridge is Kartlab, the free kart game that ships with the
    package; with ``rom`` (or the environment variable ``MKDS_ROM``) and ``state`` it is
    your own. The driver is kart 0 of a race that is restored, exactly, at each `reset`.

    **Actions** (``action_type``), held for the ``frame_skip`` frames of a step:
    ``discrete`` (11 combinations of keys, see `mkds_gym.actions.DISCRETE_ACTIONS`), ``keys``
    (``MultiBinary(11)``: right, left, down, up, B, A, X, Y, L, R, start), ``threshold``
    (``Box(-1, 1, (11,))``: activations of the same keys, pressed from 0.5 on, with the
    accelerator pressed whenever any is; ``"threshold:2"`` has only right and left) and
    ``keymask`` (``Discrete(4096)``).

    **Observations** (``obs_type``): ``sensors`` (a float32 vector of the ``sensors`` named),
    ``dict`` (the same by name), ``pixels`` (RGB of ``screens``), ``ram`` (4 MiB), or directly a
    list of sensor names. The default sensor ``seed6`` is six numbers: the nearness of
    obstacles ahead, left and right, and cos, sin, -sin of the next checkpoint's bearing.

    **Rewards**: the change of a score over metrics. By default dense progress along the
    course, less what off-road driving and wall hits cost, 0.01 of a unit per world unit. The
    rewards of an episode add up to the (scaled) score.

    **Episode end**: the events in ``terminate_on`` terminate and those in ``truncate_on``
    truncate, at the end of the step in which they happen.

    **Info**, at each reset and step: ``metrics`` (flat dict of floats), ``lap_times`` (tuple of
    seconds), ``total_time`` (seconds, 0 until finished), ``progress`` (laps driven since the
    start line, a float), ``lap``, ``checkpoint``, ``frame`` (frames on the race clock),
    ``events`` (tuple of the names that ended the episode) and ``is_success`` (finished).

    Args:
        rom: path of a cartridge image; None is ``MKDS_ROM`` if set, else Kartlab.
        state: savestate of a race to start from, a path or the bytes of
            `Console.save_state`; None boots Kartlab into a race. Other cartridges need one.
        course: name of the course, Kartlab only (``env.unwrapped.cartridge.course_names()``).
        laps: laps of the race, 1 to 9, Kartlab only; None is the course's own number.
        obs_type: see above.
        sensors: sensors of ``obs_type`` ``sensors`` and ``dict``.
        action_type: see above.
        frame_skip: emulated frames per step, 1 to 60, all with the same keys.
        reward: name of a scorer, a `Reward`, or a callable from the metrics to a float
            whose change is paid.
        metrics: names or objects; None is every default metric.
        terminate_on: names (``"finish"``, ``"clock:3600"``) or objects of events.
        truncate_on: likewise.
        render_mode: None, ``"rgb_array"`` or ``"human"``.
        screens: ``"top"``, ``"bottom"`` or ``"both"``, for pictures.
        info_every_step: False leaves the info of all but an episode's first and last step
            empty, which spares a vector environment the cost of carrying it.

    Raises:
        ValueError, TypeError: an argument is wrong; the message has the allowed values.
        CartridgeError: the cartridge cannot be used.
        StateError: the savestate cannot be used.

    Version history:
        * v0: first version.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium declares it so
        "render_modes": ["human", "rgb_array"],
        "render_fps": FRAMES_PER_SECOND,
    }

    def __init__(
        self,
        rom: str | os.PathLike[str] | None = None,
        state: str | os.PathLike[str] | bytes | None = None,
        course: str | None = None,
        laps: int | None = None,
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
        info_every_step: bool = True,
    ) -> None:
        EzPickle.__init__(
            self,
            rom,
            state,
            course,
            laps,
            obs_type,
            sensors,
            action_type,
            frame_skip,
            reward,
            metrics,
            terminate_on,
            truncate_on,
            render_mode,
            screens,
            info_every_step,
        )
        # What close() touches exists before anything that may raise.
        self._console: Console | None = None
        self._window: Window | None = None
        if isinstance(frame_skip, bool) or not isinstance(frame_skip, int | np.integer):
            raise TypeError(f"frame_skip={frame_skip!r} is not a whole number of frames")
        if not 1 <= frame_skip <= MAX_FRAME_SKIP:
            raise ValueError(f"frame_skip={frame_skip} is outside 1..{MAX_FRAME_SKIP} frames")
        if render_mode not in _RENDER_MODES:
            allowed = ", ".join(map(repr, _RENDER_MODES))
            raise ValueError(f"render_mode={render_mode!r} is not one of {allowed}")
        self._observer: Observer = make_observer(obs_type, sensors, screens)
        self._actions = ACTION_TYPES.make(action_type)
        self.observation_space = self._observer.space
        self.action_space = self._actions.space
        self.frame_skip = int(frame_skip)
        self.render_mode = render_mode
        self.screens: Any = screens
        self.metadata = {**type(self).metadata, "render_fps": FRAMES_PER_SECOND / self.frame_skip}
        self._metrics = tuple(
            make_metrics(DEFAULT_METRICS if metrics is None else copy.deepcopy(metrics))
        )
        self._reward = make_reward(reward if isinstance(reward, str) else copy.deepcopy(reward))
        self._check_reward(reward)
        self._terminate_on = _make_events("terminate_on", terminate_on)
        self._truncate_on = _make_events("truncate_on", truncate_on)
        self._events = self._terminate_on + self._truncate_on
        if not isinstance(info_every_step, bool):
            raise TypeError(f"info_every_step={info_every_step!r} is neither True nor False")
        self._info_every_step = info_every_step

        self.cartridge: Final = Cartridge.open(rom)
        self._boot = self._boot_parameters(course, laps, state)
        self._state_source = state
        if state is not None:
            read_state(state, self.cartridge, installed_build_id())
        self._draws = self._observer.draws or render_mode is not None
        # The frame of a step that must be drawn for its last frame to be seen, two later; of
        # short steps, a frame of the step before.
        self._drawn_frame = (self.frame_skip - PRIMING_FRAMES) % self.frame_skip
        if not self._draws:
            self._drawn_frame = -1
        self._start: Snapshot | None = None
        self._reader: RaceReader | None = None
        self._course: Course | None = None
        self._race: RaceState | None = None
        self._needs_reset = True

    # What a user may look at ------------------------------------------------------------

    @property
    def console(self) -> Console:
        """The emulated console itself, running from the first `reset` on.

        Raises:
            ConsoleError: before the first reset, and after `close`.
        """
        if self._console is None:
            raise ConsoleError("the console starts at the first reset(); call env.reset() first")
        return self._console

    @property
    def race(self) -> RaceState:
        """The race as it was read last, at the end of the last step or reset."""
        if self._race is None:
            raise NoRaceError("no race has been read yet; call env.reset() first")
        return self._race

    @property
    def course(self) -> Course:
        """The course that is driven, decoded from the console's memory."""
        if self._course is None:
            raise NoRaceError("no course has been read yet; call env.reset() first")
        return self._course

    @property
    def observation_labels(self) -> tuple[str, ...]:
        """A name for each component of a ``sensors`` observation, for tables and plots."""
        return self._observer.labels

    # Gymnasium ---------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Restore the race start.

        Args:
            seed: seeds ``np_random``. The race itself holds no chance: the same actions give
                the same observations, rewards and memory, whatever the seed.
            options: ``{"state": path or bytes}`` starts this episode, and those after it,
                from another savestate; None keeps the last start.

        Returns:
            The observation and the info.

        Raises:
            ValueError: an unknown option.
            StateError, NoRaceError, ConsoleError: the start cannot be reached.
        """
        super().reset(seed=seed)
        # Until the start is reached: a reset that fails leaves nothing to step.
        self._needs_reset = True
        if options is not None and not isinstance(options, Mapping):
            raise TypeError(f"options={options!r} is not a dict; options are {_RESET_OPTIONS[0]}")
        for option in options or ():
            if option not in _RESET_OPTIONS:
                raise ValueError(
                    f"reset() knows no option {option!r}; options are {', '.join(_RESET_OPTIONS)}"
                )
        source = (options or {}).get("state")
        if source is not None:
            read_state(source, self.cartridge, installed_build_id())
        if self._console is None:
            on_power_on = None if self._boot is None else self._boot.write
            self._console = Console(self.cartridge, on_power_on=on_power_on)
        console = self._console
        if source is not None or self._start is None:
            self._prepare_start(console, self._state_source if source is None else source)
        assert self._start is not None
        console.restore(self._start)
        for _ in range(PRIMING_FRAMES):
            console.step(0, 1, self._draws)
        reader = self._reader
        assert reader is not None
        self._race = state = reader.read()
        reset_all(self._metrics)
        for metric in self._metrics:
            metric.update(state, self.course)
        for event in self._events:
            event.reset()
        collected = collect_all(self._metrics)
        self._reward.reset(collected)
        self._needs_reset = False
        if self.render_mode == "human":
            self._show()
        return (
            self._observer.observe(console, state, self.course),
            self._info(state, collected, ()),
        )

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Hold the action's keys for ``frame_skip`` frames.

        Args:
            action: one of ``action_space``.

        Returns:
            Observation, reward, terminated, truncated, info.

        Raises:
            ValueError: the action is not one of the space.
            gymnasium.error.ResetNeeded: before the first reset, and after an episode's end.
        """
        if self._needs_reset:
            raise gym.error.ResetNeeded("call env.reset() before env.step(), also after an end")
        keys = self._actions.keys(action)
        console, reader, course = self._console, self._reader, self._course
        assert console is not None
        assert reader is not None
        assert course is not None
        happened: list[Event] = []
        human = self.render_mode == "human"
        drawn = self._drawn_frame
        for frame in range(self.frame_skip):
            console.step(keys, 1, human or frame == drawn)
            state = reader.read()
            for metric in self._metrics:
                metric.update(state, course)
            for event in self._events:
                if event.update(state, course) and event not in happened:
                    happened.append(event)
            if human:
                self._show()
        self._race = state
        terminated = truncated = False
        names: tuple[str, ...] = ()
        if happened:
            terminated = any(event in self._terminate_on for event in happened)
            truncated = any(event in self._truncate_on for event in happened)
            names = tuple(event.name for event in happened)
            self._needs_reset = True
        collected = collect_all(self._metrics)
        reward = self._reward.step(collected)
        info = self._info(state, collected, names) if happened or self._info_every_step else {}
        observation = self._observer.observe(console, state, course)
        return observation, reward, terminated, truncated, info

    def render(self) -> NDArray[np.uint8] | None:
        """The picture of the last frame.

        Returns:
            uint8 RGB (192, 256, 3), or (384, 256, 3) for both screens, in render mode
            ``rgb_array``; None in ``human``, which shows its pictures as it steps.
        """
        if self.render_mode is None:
            gym.logger.warn(
                "env.render() without a render_mode does nothing; use "
                "gym.make('MKDS-v0', render_mode='rgb_array')"
            )
            return None
        if self.render_mode == "human":
            return None
        return self.console.screen(self.screens)

    def close(self) -> None:
        """Close console and window; the second time does nothing."""
        console, self._console = self._console, None
        if console is not None:
            console.close()
        window, self._window = self._window, None
        if window is not None:
            window.close()
        self._start = self._reader = None
        self._needs_reset = True

    # Within ---------------------------------------------------------------------------------

    def _boot_parameters(
        self, course: str | None, laps: int | None, state: object
    ) -> BootParameters | None:
        """Check what chooses the race, and turn it into Kartlab's boot parameters."""
        if laps is not None and (isinstance(laps, bool) or not isinstance(laps, int | np.integer)):
            raise TypeError(f"laps={laps!r} is not a whole number")
        for name, value in (("course", course), ("laps", laps)):
            if value is None:
                continue
            if not self.cartridge.boot_parameters:
                raise ValueError(
                    f"{name}={value!r}: on {self.cartridge.title} the start state decides; leave "
                    f"out {name} and pass the savestate of a race as state="
                )
            if state is not None:
                raise ValueError(
                    f"{name}={value!r} and a start state exclude each other: the state decides"
                )
        if not self.cartridge.boot_parameters:
            if state is None:
                raise ValueError(
                    f"{self.cartridge.title} ({self.cartridge.path}) needs a race to start from: "
                    "pass state=, a savestate made with Console.save_state() or by the desktop "
                    "emulator"
                )
            return None
        if course is not None and course not in self.cartridge.course_names():
            raise ValueError(
                f"course={course!r} is not on this cartridge; it has "
                f"{', '.join(self.cartridge.course_names())}"
            )
        return BootParameters(
            course=None if course is None else course_id(course),
            laps=None if laps is None else int(laps),
        )

    def _check_reward(self, reward: object) -> None:
        """Try the reward on the metrics of an empty episode, before any emulator starts."""
        reset_all(self._metrics)
        collected = collect_all(self._metrics)
        try:
            self._reward.reset(collected)
            paid: object = self._reward.step(collected)
        except TypeError as error:
            raise TypeError(
                f"reward={reward!r} cannot be computed from the metrics, a dict of floats: {error}"
            ) from error
        except KeyError as error:
            raise ValueError(
                f"reward={reward!r} wants the metric {error}, which is not among the metrics "
                f"collected: {', '.join(collected)}; add it to metrics="
            ) from error
        if not isinstance(paid, float | int | np.number) or not math.isfinite(paid):
            raise ValueError(
                f"reward={reward!r} pays {paid!r} for nothing driven; a finite number is wanted"
            )

    def _prepare_start(self, console: Console, source: Any) -> None:
        """Bring the console to the race start and remember it there."""
        if source is None:
            self._boot_to_race(console)
        else:
            console.load_state(source)
        start = console.snapshot()
        for _ in range(PRIMING_FRAMES):
            console.step(0, 1, draw=False)
        try:
            layout = Layout.detect(console.ram, self.cartridge.region)
            reader = RaceReader(console.ram, layout)
            reader.resolve()
            reader.read()
            course = Course.from_ram(console.ram, layout)
        except (NoRaceError, CourseFormatError) as error:
            raise StateError(
                f"the start state holds no running race ({error}); save it during a race"
            ) from error
        # Together, and last: a start that is refused leaves the one before in force.
        self._start = start
        self._reader = reader
        self._course = course

    def _boot_to_race(self, console: Console) -> None:
        """Run a freshly switched-on Kartlab until its driver may drive."""
        assert self._boot is not None
        console.reset()
        for _ in range(BOOT_FRAMES):
            console.step(0, 1, draw=False)
            try:
                reader = RaceReader(console.ram, Layout.detect(console.ram, self.cartridge.region))
                reader.resolve()
                state = reader.read()
            except NoRaceError:
                continue
            if state.race_on and state.controllable:
                self._boot.check(console.ram)
                return
        self._boot.check(console.ram)
        raise NoRaceError(f"no race began within {BOOT_FRAMES} frames of switching on")

    def _info(
        self, state: RaceState, metrics: dict[str, float], events: tuple[str, ...]
    ) -> dict[str, Any]:
        return {
            "metrics": metrics,
            "lap_times": state.lap_times,
            "total_time": state.total_time if state.finished else 0.0,
            "progress": self.course.track.laps(state),
            "lap": state.lap,
            "checkpoint": state.checkpoint,
            "frame": state.frame,
            "events": events,
            "is_success": state.finished,
        }

    def _show(self) -> None:
        if self._window is None:
            self._window = Window(f"MKDS-v0 - {self.cartridge.title}", FRAMES_PER_SECOND)
        self._window.show(self.console.screen(self.screens))


def _make_events(argument: str, events: str | Event | Sequence[str | Event]) -> tuple[Event, ...]:
    """Events from names (``"clock:3600"``) and objects; an object is copied."""
    made: list[Event] = []
    for event in as_list(argument, events, str | Event):
        if isinstance(event, str):
            made.append(EVENTS.make(event))
        elif isinstance(event, Event) and not isinstance(event, type):
            made.append(copy.deepcopy(event))
        else:
            raise TypeError(
                f"{argument}: {event!r} is no event: give a name ({', '.join(EVENTS)}) or an "
                "object with name, reset() and update()"
            )
    return tuple(made)
