"""`MKDSEnv`: the race as a Gymnasium environment, ``gym.make("MKDS-v0")``."""

from __future__ import annotations

import contextlib
import copy
import math
import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from mkds_gym.components.actions import ACTION_TYPES
from mkds_gym.components.episode_stats import EpisodeStats
from mkds_gym.components.events import EVENTS, Event
from mkds_gym.components.metrics import DEFAULT_METRICS, Metric, make_metrics
from mkds_gym.components.observations import (
    ObservationBuilder,
    SensorLike,
    make_observation_builder,
)
from mkds_gym.components.rewards import Read, Reward, make_reward
from mkds_gym.components.sensors import ray_angles
from mkds_gym.course import Course
from mkds_gym.display.window import DEFAULT_SCALE, MAX_SCALE, Window
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_gym.emulator.state_file import check_origin
from mkds_gym.episodes.cloned_state import ClonedState, Parts, check_arguments, describe
from mkds_gym.episodes.race_config import RANDOM_COURSE, RaceArguments, Races
from mkds_gym.episodes.start_manager import PRIMING_FRAMES, RaceStart, RaceStarts, check_progress
from mkds_gym.errors import ConsoleError, CourseFormatError, NoRaceError, StateError
from mkds_gym.overlays import OverlayLike, OverlayScene, SceneRecorder, draw_overlays, make_overlays
from mkds_gym.race.reader import RaceReader
from mkds_gym.race.state import RaceState
from mkds_gym.recording.format import Start
from mkds_gym.recording.recorder import Recorder
from mkds_gym.utils.arguments import as_list, boolean, choice, integer

MAX_FRAME_SKIP: Final = 60
_RENDER_MODES: Final = (None, "human", "rgb_array")
_RESET_OPTIONS: Final = ("state", "course_seed", "progress")


class Watcher(Protocol):
    """Sees every frame that an environment runs; see `MKDSEnv.watch`."""

    def start(self, reader: RaceReader) -> None:
        """A race begins, or goes on from another state.

        Args:
            reader: of the console's memory.
        """

    def frame(self, race: RaceState, keys: int) -> None:
        """A frame was run, with these keys held.

        Args:
            race: as it is after the frame.
            keys: combination of `Keys`.
        """


class Spectator(Protocol):
    """Looks at an environment after each reset and step; see `MKDSEnv.spectator`.

    It must not raise: what it raises ends the step that it was called in. What it asks of the
    environment (`MKDSEnv.draw`, `MKDSEnv.record_scenes`), it asks with itself as ``by``.
    """

    def attached(self, env: MKDSEnv) -> None:
        """It has become the spectator of an environment."""

    def started(self, env: MKDSEnv) -> None:
        """An episode begins, or goes on from a restored state."""

    def stepped(self, env: MKDSEnv, reward: float, over: bool) -> None:
        """A step was made.

        Args:
            env: the environment.
            reward: of the step.
            over: the episode is.
        """

    def closed(self, env: MKDSEnv) -> None:
        """The environment is closed, or has another spectator now."""


class MKDSEnv(gym.Env[Any, Any], EzPickle):
    """A kart race in an emulated Nintendo DS.

    Without arguments the cartridge is Kartlab, the free kart game that ships with the
    package; with ``rom`` (or the environment variable ``MKDS_ROM``) and ``state`` it is
    your own. The driver is kart 0 of a race that is restored, exactly, at each `reset`.

    **Actions** (``action_type``), held for the ``frame_skip`` frames of a step:
    ``discrete`` (11 combinations of keys, see `DISCRETE_ACTIONS`),
    ``discrete_items`` (3 more, with which the item is used), ``keys``
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
    ``place`` (1 leads), ``drivers`` (karts in the race), ``course`` (its name), ``course_seed``
    (of a random course, else None), ``events`` (tuple of the names that ended the episode) and
    ``is_success`` (finished).

    Args:
        rom: path of a cartridge image; None is ``MKDS_ROM`` if set, else Kartlab.
        state: savestate of a race to start from, a path or the bytes of
            `Console.save_state`; None boots Kartlab into a race. Other cartridges need one.
        course: name of the course, Kartlab only (``env.unwrapped.cartridge.course_names()``), or
            ``"random"`` for one that is made from a seed.
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
        course_seed: which random course, 0 and up; None is another one at every reset, drawn
            from the ``course_set``. This and what follows is Kartlab only.
        difficulty: of random courses, 0 (wide and gentle) to 1; None is 0.5.
        course_set: ``"train"`` or ``"test"``: every reset has a random course of that set, which
            share none. None, with ``course="random"`` and no seed, is ``"train"``.
        engine_class: 50, 100 or 150.
        mirror: left and right of the course exchanged.
        mode: ``"time_trial"``, alone with the clock, or ``"vs"``, against CPU karts.
        opponents: CPU karts, 0 to 7; None is 7 in VS. The driver starts behind them.
        opponent_strength: ``"easy"``, ``"normal"`` or ``"hard"``; None is normal.
        items: item boxes stand on the course (VS).
        overlays: what is drawn over the picture that is rendered (never over observations): names,
            numbers or objects, see `mkds_gym.overlays`. Needs a ``render_mode``.
        window_scale: screen pixels per console pixel of the window of render mode ``"human"`` at
            first, 1 to 8; the user may change it.

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
        "spectators": True,  # by which others tell, in whatever process, that it takes one
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
        course_seed: int | None = None,
        difficulty: float | None = None,
        course_set: str | None = None,
        engine_class: int = 100,
        mirror: bool = False,
        mode: str = "time_trial",
        opponents: int | None = None,
        opponent_strength: str | None = None,
        items: bool = False,
        overlays: OverlayLike | Sequence[OverlayLike] = (),
        window_scale: int = DEFAULT_SCALE,
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
            course_seed,
            difficulty,
            course_set,
            engine_class,
            mirror,
            mode,
            opponents,
            opponent_strength,
            items,
            overlays,
            window_scale,
        )
        self._frame_skip = integer("frame_skip", frame_skip, 1, MAX_FRAME_SKIP)
        choice("render_mode", render_mode, _RENDER_MODES)
        self._overlays = make_overlays(overlays)
        if self._overlays and render_mode is None:
            raise ValueError(
                f"overlays={overlays!r} are drawn by render(); choose a render_mode as well"
            )
        self._window_scale = integer("window_scale", window_scale, 1, MAX_SCALE)
        self.observation_builder: ObservationBuilder = make_observation_builder(
            obs_type, sensors, screens
        )
        self._actions = ACTION_TYPES.make(action_type)
        self.observation_space = self.observation_builder.space
        self.action_space = self._actions.space
        self.render_mode = render_mode
        self.screens: Any = screens
        self.metadata = {**type(self).metadata, "render_fps": FRAMES_PER_SECOND / self.frame_skip}
        self.episode_stats = EpisodeStats(
            make_metrics(DEFAULT_METRICS if metrics is None else copy.deepcopy(metrics)), ()
        )
        self._reward = make_reward(reward if isinstance(reward, str) else copy.deepcopy(reward))
        self._check_reward(reward)
        self._terminate_on = _make_events("terminate_on", terminate_on)
        self._truncate_on = _make_events("truncate_on", truncate_on)
        self.episode_stats = EpisodeStats(
            self.episode_stats.metrics, self._terminate_on + self._truncate_on
        )
        self._info_every_step = boolean("info_every_step", info_every_step)

        self.cartridge: Final = Cartridge.open(rom)
        race = RaceArguments(
            course=course,
            course_seed=course_seed,
            difficulty=difficulty,
            course_set=course_set,
            laps=laps,
            engine_class=engine_class,
            mirror=mirror,
            mode=mode,
            opponents=opponents,
            opponent_strength=opponent_strength,
            items=items,
        )
        self._races = Races(self.cartridge, race, has_state=state is not None)
        # What a cloned state must agree in with the environment that it is restored in.
        self._arguments = {
            **vars(race),
            "frame_skip": self.frame_skip,
            "reward": describe(reward),
            "metrics": describe(metrics),
            "terminate_on": describe(terminate_on),
            "truncate_on": describe(truncate_on),
        }
        self._parts = Parts()
        self._starts = RaceStarts(self.cartridge, self._races, state)
        self._drawn_for: set[Hashable] = set()
        self.draw(False)
        self._closed = False
        self._window: Window | None = None
        self._spectator: Spectator | None = None
        # Of the episode that is driven, which is kept as a difference from there.
        self._here: RaceStart | None = None
        self._course: Course | None = None
        self._race: RaceState | None = None
        self._watchers: tuple[Watcher, ...] = ()
        self._recorder: Recorder | None = None
        self._scenes: SceneRecorder | None = None
        self._scenes_for: set[Hashable] = set()
        self._last_reward = 0.0
        self._last_metrics: tuple[dict[str, float], dict[str, float]] = ({}, {})
        if self._overlays:
            self.record_scenes(by="overlays")
        self._needs_reset = True

    # What a user may look at ------------------------------------------------------------

    @property
    def console(self) -> Console:
        """The emulated console itself, running from the first `reset` on.

        Raises:
            ConsoleError: before the first reset, and after `close`.
        """
        if self._starts.console is None:
            raise ConsoleError("the console starts at the first reset(); call env.reset() first")
        return self._starts.console

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

    def watch(self, watcher: Watcher) -> None:
        """Have a watcher see every frame from the next reset on; one more costs only its own time.

        Args:
            watcher: its ``start`` is called at each reset, and its ``frame`` after each frame.
        """
        self._watchers = (*self._watchers, watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Have a watcher see no more frames.

        Raises:
            ValueError: it does not watch.
        """
        if watcher not in self._watchers:
            raise ValueError(f"{watcher!r} does not watch this environment")
        self._watchers = tuple(other for other in self._watchers if other is not watcher)

    def record(self, recorder: Recorder | None) -> None:
        """Have a recorder told of every step from the next reset on; None ends that.

        Made for `mkds_gym.recording.format.Recorder`, which calls it.

        Raises:
            ValueError: another one records already.
        """
        if recorder is not None and self._recorder is not None:
            raise ValueError("this environment is being recorded already; close that recorder")
        self._recorder = recorder

    @property
    def recorded_arguments(self) -> dict[str, Any]:
        """What recordings note of how the race was seen."""
        return {
            "frame_skip": self.frame_skip,
            "action_type": self._actions.name,
            # Its name, without what it holds.
            "reward": self._arguments["reward"].partition("(")[0].partition(" ")[0],
        }

    @property
    def frame_skip(self) -> int:
        """Frames of a step, 1 to 60; to be set, for the steps that follow."""
        return self._frame_skip

    @frame_skip.setter
    def frame_skip(self, frame_skip: int) -> None:
        self._frame_skip = integer("frame_skip", frame_skip, 1, MAX_FRAME_SKIP)
        self.metadata = {**self.metadata, "render_fps": FRAMES_PER_SECOND / frame_skip}
        self._choose_drawn_frame()

    @property
    def spectator(self) -> Spectator | None:
        """Who looks after each reset and step, if anybody; to be set.

        ``envs.set_attr("spectator", [...])`` sets those of a vector environment's environments,
        in other processes too. (`mkds_gym.viewer` publishes pictures from it.)
        """
        return self._spectator

    @spectator.setter
    def spectator(self, spectator: Spectator | None) -> None:
        old, self._spectator = self._spectator, spectator
        if old is not None:
            old.closed(self)
        if spectator is not None:
            spectator.attached(self)

    @contextlib.contextmanager
    def unseen(self) -> Iterator[None]:
        """Within it, the spectator is told nothing."""
        spectator, self._spectator = self._spectator, None
        try:
            yield
        finally:
            self._spectator = spectator

    def draw(self, wanted: bool, by: Hashable = None) -> None:
        """Have the picture of each step drawn from now on, or only if the arguments need it.

        For who looks at ``env.unwrapped.console.screen()`` at times. The last picture that is
        drawn is complete after `PRIMING_FRAMES` frames.

        Args:
            wanted: by the one who asks.
            by: who asks; None is you. It is drawn while anybody wants it, so that a spectator
                that comes and goes leaves the wish of others as it is.
        """
        if wanted:
            self._drawn_for.add(by)
        else:
            self._drawn_for.discard(by)
        self._draws = (
            bool(self._drawn_for) or self.observation_builder.draws or self.render_mode is not None
        )
        self._choose_drawn_frame()

    def _choose_drawn_frame(self) -> None:
        """The frame of a step that must be drawn for its last frame to be seen, two later.

        Of short steps, a frame of the step before.
        """
        self._drawn_frame = -1
        if self._draws:
            self._drawn_frame = (self._frame_skip - PRIMING_FRAMES) % self._frame_skip

    def collect_metrics(self) -> dict[str, float]:
        """The metrics of the episode so far, as the info has them."""
        return self.episode_stats.collect()

    def record_scenes(self, by: Hashable = None) -> None:
        """Note from now on what `overlay_scene` gives; ``overlays`` do so by themselves.

        Reads camera and objects in every frame: some tens of microseconds.

        Args:
            by: who asks, see `draw`.
        """
        self._scenes_for.add(by)
        if self._scenes is None:
            self._scenes = SceneRecorder()
            self.watch(self._scenes)
            if self._starts.reader is not None and self._race is not None:
                self._scenes.start(self._starts.reader)

    def forget_scenes(self, by: Hashable = None) -> None:
        """Note no scenes any more, unless ``overlays`` or somebody else need them.

        Args:
            by: who asked for them, see `draw`.
        """
        self._scenes_for.discard(by)
        if self._scenes is not None and not self._scenes_for:
            self.unwatch(self._scenes)
            self._scenes = None

    def overlay_scene(self) -> OverlayScene:
        """What overlays draw of the picture that is on the screen now.

        Raises:
            NoRaceError: no frame was noted: before the first reset after `record_scenes`.
        """
        if self._scenes is None:
            raise NoRaceError("no scenes are noted; call record_scenes() and reset() first")
        before, now = self._last_metrics
        return self._scenes.scene(
            self.course,
            reward=self._last_reward,
            terms={name: now[name] - before.get(name, 0.0) for name in self._reward_terms},
            ray_angles=ray_angles(getattr(self.observation_builder, "sensors", ())),
        )

    @property
    def observation_labels(self) -> tuple[str, ...]:
        """A name for each component of a ``sensors`` observation, for tables and plots."""
        return self.observation_builder.labels

    # Gymnasium ---------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Restore the race start.

        Args:
            seed: seeds ``np_random``, from which the course of an episode (``course_set``) and
                the chance of a VS race are drawn: the same seed and actions, the same
                observations, rewards and memory. A time trial on one course holds no chance, and
                is the same whatever the seed.
            options: ``{"state": path, bytes or cloned state}`` starts this episode, and those
                after it, from another savestate or a state of `clone_state`; ``{"course_seed":
                7}`` has this episode on that random course; ``{"progress": 0.4}`` starts this one
                at 0.4 laps along its course, where the scripted driver gets to from the race
                start (a second's work, once for each course and place). These two may be given
                together; the resets after them go where the arguments say, whatever ``state`` was
                given before. None goes on as before.

        Returns:
            The observation and the info.

        Raises:
            ValueError, TypeError: an unknown option, or a bad value.
            StateError, NoRaceError, ConsoleError: the start cannot be reached. (The episode goes
                on if the state's file is not there, no savestate, or another cartridge's.)
            gymnasium.error.ClosedEnvironmentError: after `close`.
        """
        return self._begin(seed, options, None)

    def reset_into(
        self, out: Any, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Restore the race start, as `reset`, and write the observation where the caller wants it.

        Args:
            out: what the observation is written into, see `step_into`.
            seed: see `reset`.
            options: see `reset`.

        Returns:
            The info.

        Raises:
            ValueError, TypeError: as `reset`, or ``out`` is not as the observation space.
            StateError, NoRaceError, ConsoleError: the start cannot be reached.
            gymnasium.error.ClosedEnvironmentError: after `close`.
        """
        self.observation_builder.check(out)
        return self._begin(seed, options, out)[1]

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Hold the action's keys for ``frame_skip`` frames.

        Args:
            action: one of ``action_space``.

        Returns:
            Observation, reward, terminated, truncated, info.

        Raises:
            ValueError: the action is not one of the space.
            gymnasium.error.ResetNeeded: before the first reset, after an episode's end, and after a
                step that was interrupted (Ctrl-C) or failed.
            gymnasium.error.ClosedEnvironmentError: after `close`.
        """
        return self._advance(action, None)

    def step_into(self, action: Any, out: Any) -> tuple[float, bool, bool, dict[str, Any]]:
        """Take a step, as `step`, and write the observation where the caller wants it.

        What a vector environment calls, whose observations are rows of one large array.

        Args:
            action: one of ``action_space``.
            out: what the observation is written into: an array of the shape and dtype of
                ``observation_space`` (a view of a larger one will do), or for ``obs_type``
                ``dict`` such an array by sensor name. An error leaves it as it was.

        Returns:
            Reward, terminated, truncated, info.

        Raises:
            ValueError: the action is not one of the space, or ``out`` is not as the observation
                space; no frame was run.
            TypeError: ``out`` is no array, or no dict of arrays; no frame was run.
            gymnasium.error.ResetNeeded: as `step`.
            gymnasium.error.ClosedEnvironmentError: after `close`.
        """
        self.observation_builder.check(out)
        _, reward, terminated, truncated, info = self._advance(action, out)
        return reward, terminated, truncated, info

    # The frames -------------------------------------------------------------------------------

    def _begin(
        self, seed: int | None, options: dict[str, Any] | None, out: Any
    ) -> tuple[Any, dict[str, Any]]:
        """See `reset`; the observation is a new object if ``out`` is None."""
        self._check_open()
        if options is not None and not isinstance(options, Mapping):
            raise TypeError(
                f"options={options!r} is not a dict; options are {', '.join(_RESET_OPTIONS)}"
            )
        for option in options or ():
            if option not in _RESET_OPTIONS:
                raise ValueError(
                    f"reset() knows no option {option!r}; options are {', '.join(_RESET_OPTIONS)}"
                )
        # Before the episode is broken off: it goes on after what is refused.
        wanted = self._starts.check(**(options or {}))
        super().reset(seed=seed)
        self._break_off()
        start = self._starts.choose(lambda: self._races.draw_seed(self.np_random), *wanted)
        return self._begin_at(start, out)

    def prepare(self) -> None:
        """Go where the first reset goes, without an episode: to be looked at, cloned and asked.

        The next reset is as without it; a spectator hears nothing. Errors as `reset`.
        """
        before = copy.deepcopy(self.np_random), self._np_random_seed
        with self.unseen():
            self._begin(None, None, None)
        self._break_off()
        self._np_random, self._np_random_seed = before

    def go_on_with_chance_of(self, other: MKDSEnv) -> None:
        """Draw what another environment would draw next, from a generator like its own."""
        self._np_random = copy.deepcopy(other.np_random)
        self._np_random_seed = other._np_random_seed

    def _break_off(self) -> None:
        """End the episode; until another one has begun, there is nothing to step."""
        self._needs_reset = True
        if self._recorder is not None:
            self._recorder.end()

    def _begin_at(self, start: RaceStart, out: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; ``out`` as `_begin`'s."""
        self._here, self._course = start, start.course
        # The chance of a race is drawn from this episode's ``np_random``.
        console, reader = self._starts.go_to(start, lambda: int(self.np_random.integers(1 << 32)))
        if self._recorder is not None:
            at, packed = self._starts.recorded(start)
            self._recorder.begin(at, PRIMING_FRAMES, packed)
        for watcher in self._watchers:
            watcher.start(reader)
        for _ in range(PRIMING_FRAMES):
            console.step(0, 1, self._draws)
            for watcher in self._watchers:
                watcher.frame(reader.read(), 0)
        self._race = state = reader.read()
        collected = self.episode_stats.reset(state, self.course)
        self._reward.reset(collected)
        self._last_reward, self._last_metrics = 0.0, (collected, collected)
        self._needs_reset = False
        if self._seen:
            self._show()
        if self._spectator is not None:
            self._spectator.started(self)
        return (
            self.observation_builder.observe(console, state, self.course, out),
            self._info(state, collected, ()),
        )

    def _advance(self, action: Any, out: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """See `step`; the observation is a new object if ``out`` is None."""
        if self._needs_reset:
            self._check_open()
            raise gym.error.ResetNeeded(
                "call env.reset() before env.step(), also after an end, and after a step that was "
                "interrupted or failed"
            )
        keys = self._actions.keys(action)
        try:
            return self._drive(keys, out)
        except BaseException:
            self._needs_reset = True  # nobody goes on from half of a step
            raise

    def _drive(self, keys: int, out: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """A step with these keys; whoever looks meanwhile finds the episode under way."""
        console, reader, course = self._starts.console, self._starts.reader, self._course
        assert console is not None
        assert reader is not None
        assert course is not None
        if self._recorder is not None:
            self._recorder.step(keys, self._frame_skip)
        human = self._seen
        if human or self._watchers:
            # Somebody looks at the console itself after each frame.
            states = []
            for frame in range(self._frame_skip):
                console.step(keys, 1, human or frame == self._drawn_frame)
                state = reader.read()
                states.append(state)
                for watcher in self._watchers:
                    watcher.frame(state, keys)
                if human and self._seen:
                    self._show()
        else:
            race = reader.race
            copies = console.run(keys, self._frame_skip, reader.copy, self._drawn_frame)
            states = [race(copied) for copied in copies]
            state = states[-1]
        happened = self.episode_stats.update(states, course)
        self._race = state
        terminated = truncated = False
        names: tuple[str, ...] = ()
        if happened:
            terminated = any(event in self._terminate_on for event in happened)
            truncated = any(event in self._truncate_on for event in happened)
            names = tuple(event.name for event in happened)
        collected = self.episode_stats.collect()
        reward = self._reward.step(collected)
        self._last_reward, self._last_metrics = reward, (self._last_metrics[1], collected)
        self._needs_reset = over = bool(happened)
        if self._spectator is not None:
            self._spectator.stepped(self, reward, over)
        info = self._info(state, collected, names) if happened or self._info_every_step else {}
        if happened and self._recorder is not None:
            self._recorder.end(names)
        observation = self.observation_builder.observe(console, state, course, out)
        return observation, reward, terminated, truncated, info

    # States ---------------------------------------------------------------------------------

    def clone_state(self) -> ClonedState:
        """The whole state of the environment now, to go back to with `restore_state`.

        It holds the console (memory, registers, picture), the metrics, events and reward of the
        episode so far, ``np_random``, and whether the episode has ended. It is kept as what
        differs from the race start, some 50 to 110 KiB on Kartlab. It may be restored any number of
        times, and pickled: then an environment of another process that was made with the same
        arguments (those that only concern what is seen or done, as ``obs_type``, aside) takes it.
        Where resets go, and what wrappers remember, is no part of it.

        Raises:
            ConsoleError: before the first reset.
            gymnasium.error.ClosedEnvironmentError: after `close`.
            StateError: a metric, event or reward of your own cannot be pickled.
        """
        self._check_open()
        here = self._here
        if here is None:
            raise ConsoleError("there is no race to clone yet; call env.reset() first")
        return ClonedState(
            here.base,
            self.console.difference(here.base.snapshot),
            arguments=self._arguments,
            course=here.course.fingerprint,
            course_seed=here.course_seed,
            parts=self._parts.dump(self._own_parts()),
        )

    def clone_along(self, progress: Sequence[float]) -> list[ClonedState]:
        """States along the course: at each point, what `clone_state` gives after a reset there.

        One drive of the scripted driver is enough for all of them, where resets at
        ``{"progress": ...}`` have one each. The episode at the last point has begun afterwards.

        Args:
            progress: points, in laps since the start line, each at least 0.

        Returns:
            A state for each, in the same order.

        Raises:
            ValueError, TypeError: a point is none, or the race is over before it.
            StateError: the driver does not get there.
            ConsoleError: before the first reset.
            gymnasium.error.ClosedEnvironmentError: after `close`.
        """
        self._check_open()
        start = self._starts.current
        if start is None:
            raise ConsoleError("there is no course yet; call env.reset() first")
        points = [check_progress(one) for one in progress]
        self._break_off()
        states = []
        for point in self._starts.points(start, points):
            self._break_off()
            self._begin_at(point, None)
            states.append(self.clone_state())
        return states

    def restore_state(self, state: ClonedState) -> None:
        """Go back to a state of `clone_state`, exactly.

        The same actions bring the same observations, rewards, infos, memory and pictures as they
        did, or would have done, when it was cloned. A reset is not needed before, unless a
        wrapper (``gym.make`` puts one there) insists on it. Where later resets go does not
        change, but for what they draw from ``np_random``.

        Args:
            state: of this environment, or of one with the same arguments.

        Raises:
            TypeError: no cloned state.
            StateError: it is of another cartridge, emulator build or course, or of an environment
                with other arguments; nothing has changed. Or it is damaged; then, at worst (and
                always with a recorder), a reset is needed.
            ConsoleError: the emulator cannot be started.
            gymnasium.error.ClosedEnvironmentError: after `close`.
        """
        self._check_open()
        if not isinstance(state, ClonedState):
            raise TypeError(
                f"restore_state() takes what clone_state() gave, not {type(state).__name__}; for "
                "savestates there is reset(options={'state': ...})"
            )
        check_origin(state, "the state", self.cartridge, self._starts.build_id)
        check_arguments(state, self._arguments)
        course, reader, race, parts = self._go_to(state)
        here = self._here
        if here is None or here.base is not state.base or here.course_seed != state.course_seed:
            self._here = RaceStart.at_state(state, course)
        self._course, self._starts.reader, self._race = course, reader, race
        for watcher in self._watchers:
            watcher.start(reader)
        if self._recorder is not None:
            packed, _ = state.saved()
            self._recorder.begin(Start("state", frame=self.console.frame_count), 0, packed)
        (
            metrics,
            self._reward,
            self._terminate_on,
            self._truncate_on,
            self._np_random,
            self._np_random_seed,
            self._needs_reset,
            self._last_reward,
            self._last_metrics,
        ) = parts
        self.episode_stats = EpisodeStats(metrics, self._terminate_on + self._truncate_on)
        if self._seen:
            self._show()
        if self._spectator is not None and not self._needs_reset:
            self._spectator.started(self)

    def _go_to(self, state: ClonedState) -> tuple[Course, RaceReader, RaceState, Any]:
        """Bring the console to a cloned state; its course, the race there, and its own parts.

        Raises:
            StateError: as `restore_state`.
        """
        course = self._course_of(state)
        parts = None
        if course is not None:
            parts = self._parts.load(state.parts, self._own_parts(), course)
        console, over = self._starts.powered_on(), self._needs_reset
        # Whether the state is sound shows only there, unless its course is known.
        before = console.snapshot() if course is None else None
        self._break_off()
        # Not sooner: whoever hears of the end may restore something in this thread as well, and
        # such a snapshot lasts until the next one.
        console.restore(state.snapshot(lasting=False))
        try:
            # A reader finds by itself what is elsewhere now.
            reader = self._starts.reader or self._starts.new_reader(console)
            race = reader.read()
            if course is None:
                course = Course.from_ram(console.ram, reader.layout)
                parts = self._parts.load(state.parts, self._own_parts(), course)
        except (NoRaceError, CourseFormatError, StateError) as error:
            if before is not None:
                console.restore(before)
                if self._recorder is None:  # else the episode has ended for the recorder
                    self._needs_reset = over
            raise StateError(f"the state cannot be restored here: {error}") from error
        return course, reader, race, parts

    @property
    def closed(self) -> bool:
        """Whether `close` was called: nothing can be done with it any more."""
        return self._closed

    @property
    def episode_over(self) -> bool:
        """Whether the next `step` wants a `reset` first: no episode is under way."""
        return self._needs_reset

    def _own_parts(self) -> tuple[Any, ...]:
        """What a cloned state holds besides the console."""
        return (
            self.episode_stats.metrics,
            self._reward,
            self._terminate_on,
            self._truncate_on,
            self.np_random,
            self._np_random_seed,
            self._needs_reset,
            self._last_reward,
            self._last_metrics,
        )

    def _course_of(self, state: ClonedState) -> Course | None:
        """The course of a cloned state, if it is known, and is one that this environment has."""
        for start in (self._here, self._starts.current):
            if start is not None and start.course.fingerprint == state.course:
                return start.course
        if (kept := self._starts.course_of_seed(state.course_seed)) is not None:
            return kept
        if self._here is not None and not self._races.random:
            raise StateError(
                "the state is of another course than the one that is driven; to start an episode "
                "there, reset(options={'state': state})"
            )
        return None

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
        return self._picture()

    def close(self) -> None:
        """Close console and window, for good; the second time does nothing."""
        try:
            if self._starts.console is not None:
                self._break_off()
        finally:  # whatever the recorder's owner raises
            self._closed = True
            self.spectator = None
            self._starts.close()
            self._here = None
            window, self._window = self._window, None
            if window is not None:
                window.close()
            self._needs_reset = True

    # Within ---------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise gym.error.ClosedEnvironmentError(
                "this environment is closed; make a new one with gym.make('MKDS-v0', ...)"
            )

    def _check_reward(self, reward: object) -> None:
        """Try the reward on the metrics of an empty episode, before any emulator starts."""
        for metric in self.episode_stats.metrics:
            metric.reset()
        collected = Read(self.episode_stats.collect())
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
        self._reward_terms = tuple(name for name in collected if name in collected.names)

    def _info(
        self, state: RaceState, metrics: dict[str, float], events: tuple[str, ...]
    ) -> dict[str, Any]:
        course_seed = None if self._here is None else self._here.course_seed
        return {
            "metrics": metrics,
            "lap_times": state.lap_times,
            "total_time": state.total_time if state.finished else 0.0,
            "progress": self.course.track.laps(state),
            "lap": state.lap,
            "checkpoint": state.checkpoint,
            "frame": state.frame,
            "place": state.place + 1,
            "drivers": state.driver_count,
            "course": state.course_name or "" if course_seed is None else RANDOM_COURSE,
            "course_seed": course_seed,
            "events": events,
            "is_success": state.finished,
        }

    @property
    def _seen(self) -> bool:
        """The race is shown in a window, which the user has not closed."""
        return self.render_mode == "human" and not (self._window and self._window.closed)

    def _show(self) -> None:
        if self._window is None:
            title = f"MKDS-v0 - {self.cartridge.title}"
            self._window = Window(title, FRAMES_PER_SECOND, self._window_scale)
        self._window.show(self._picture())

    def _picture(self) -> NDArray[np.uint8]:
        """The picture on the screens, with the overlays; they are on the top screen only."""
        picture = self.console.screen(self.screens)
        if not self._overlays or self.screens == "bottom":
            return picture
        return draw_overlays(self._overlays, picture, self.overlay_scene(), self.course)


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
