"""`EpisodeEnv`: resets and steps, and what they lead to."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mkds_gym.components.agent import Agent
from mkds_gym.components.episode_stats import EpisodeStats
from mkds_gym.components.events import Event
from mkds_gym.components.info import INFO_TYPES
from mkds_gym.components.observations import ObservationBuilder
from mkds_gym.components.sensors import ray_angles
from mkds_gym.course import Course
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_gym.episodes.race_start import PRIMING_FRAMES, RaceStart
from mkds_gym.episodes.seat_starts import SeatStarts
from mkds_gym.episodes.shared_console import FrameRequest, Seat
from mkds_gym.episodes.start_manager import NO_RACE, StartManager, UsesStarts
from mkds_gym.errors import NoRaceError
from mkds_gym.observer import Observable
from mkds_gym.overlays import OverlayLike, SceneRecorder, draw_overlays, make_overlays
from mkds_gym.race.state import RaceState
from mkds_gym.recording.format import Start
from mkds_gym.utils.arguments import boolean, choice, integer, optional, shown
from mkds_gym.utils.leftovers import own_semaphores
from mkds_gym.utils.one_thread import OneThread, one_thread
from mkds_gym.utils.processes import end_with_parent

MAX_FRAME_SKIP: Final = 60
RENDER_MODES: Final = (None, "human", "rgb_array")


class EpisodeEnv(UsesStarts, OneThread, Observable, gym.Env[Any, Any]):
    """The episodes of an environment: the base class of `MKDSEnv`, which has their interface.

    Args:
        cartridge: the cartridge in the console.
        agent: what the agent sees, does and earns.
        starts: brings the console to the start of each episode.
        frame_skip: as for `MKDSEnv`, like all further arguments.
        render_mode: as for `MKDSEnv`.
        screens: as for `MKDSEnv`.
        overlays: as for `MKDSEnv`.
        info_type: as for `MKDSEnv`.
        info_every_step: as for `MKDSEnv`.

    Attributes:
        seat: the driver of a shared console; None with a console of its own.

    Raises:
        ValueError, TypeError: an argument is wrong.
    """

    def __init__(
        self,
        cartridge: Cartridge,
        agent: Agent,
        starts: StartManager,
        *,
        frame_skip: int,
        render_mode: str | None,
        screens: str,
        overlays: OverlayLike | Sequence[OverlayLike],
        info_type: str,
        info_every_step: bool,
    ) -> None:
        end_with_parent()
        own_semaphores()
        OneThread.__init__(self)
        Observable.__init__(self)
        self.frame_skip = frame_skip
        self.render_mode = choice("render_mode", render_mode, RENDER_MODES)
        self.screens: Any = screens
        self._info_type = choice("info_type", info_type, INFO_TYPES)
        self._info_every_step = boolean("info_every_step", info_every_step)
        self._overlays = make_overlays(overlays)
        if self._overlays and render_mode is None:
            raise ValueError(
                f"overlays={shown(overlays)} are drawn by render(): pass a render_mode too"
            )

        self._agent = agent
        self.action_space = agent.actions.space
        self.observation_builder: ObservationBuilder = agent.observation_builder
        self.observation_space = agent.observation_builder.space
        self.cartridge: Final = cartridge
        self.starts = starts
        self.seat: Seat | None = None

        self._start: RaceStart | None = None
        self._course: Course | None = None
        self._race: RaceState | None = None
        self._events: tuple[Event, ...] = ()  # that ended the episode
        self._needs_reset = True
        self._episode_open = False  # observers have not been told of its end
        self._closed = False
        self._scenes = SceneRecorder()
        if self._overlays:
            self.add_observer(self._scenes)

    def _reset(
        self, seed: int | None, options: dict[str, Any] | None, out: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Reset; the observation is written into `out`, or a new object if `out` is None."""
        self._check_open()
        checked = self.starts.check_options(options)  # before the episode ends
        super().reset(seed=optional(integer, "seed", seed, 0))
        self._end_episode()
        return self._start_episode(self.starts.choose(checked, self.np_random), out)

    def _start_episode(self, start: RaceStart, out: Any) -> tuple[Any, dict[str, Any]]:
        """Go to a start and begin an episode."""
        self._go_to_start(start)
        return self._begin_episode(self._prime(), out)

    def _prime(self) -> RaceState:
        """Run the frames of a reset; return the race after them."""
        console, reader, draw = self.console, self.reader, self._draws
        watching = [observer for observer in self._observers if observer.needs_frames]
        if not draw and not watching:
            return reader.race(console.run(0, PRIMING_FRAMES, reader.copy)[-1])
        for _ in range(PRIMING_FRAMES):
            console.step(0, 1, draw)
            race = reader.read()
            for observer in watching:
                observer.frame(self, race, 0)
        return race

    def _go_to_start(self, start: RaceStart) -> None:
        self._start, self._course = start, start.course
        self.starts.go_to(start, self.np_random)
        self._episode_open = True
        for observer in self._observers:
            observer.start_reached(self, PRIMING_FRAMES)

    def _begin_episode(self, race: RaceState, out: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode with the race after the first frames."""
        self._race, self._events = race, ()
        self._agent.begin(race, self.course)
        self._needs_reset = False
        for observer in self._observers:
            observer.episode_started(self)
        observation = self.observation_builder.observe(self.console, race, self.course, out)
        return observation, self._info(self._info_type)

    def _step(self, action: Any, out: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step; the observation is written into `out`, or a new object if `out` is None."""
        keys = self._keys_of(action)
        try:
            self._tell_step_started(keys)
            return self._complete_step(self._run_frames(keys), out)
        except BaseException:
            self._needs_reset = True
            raise

    def _keys_of(self, action: Any) -> int:
        """Return the keys of an action, if an episode is under way."""
        if self._needs_reset:
            self._check_open()
            raise gym.error.ResetNeeded(
                "no episode is under way: call env.reset() before the first step, after the end of "
                "an episode, and after a step that failed or was interrupted; a copy or a pickle "
                "of an environment holds its arguments only, and clone_state() and "
                "restore_state() carry an episode over"
            )
        return self._agent.actions.keys(action)

    def _tell_step_started(self, keys: int) -> None:
        for observer in self._observers:
            observer.step_started(self, keys, self._frame_skip)

    def _complete_step(
        self, states: Sequence[RaceState], out: Any
    ) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Compute the results of a step from the race after each of its frames."""
        race, course, agent = states[-1], self.course, self._agent
        events = agent.advance(states, course)
        reward = agent.last_reward
        self._race = race
        self._needs_reset = over = bool(events)
        for observer in self._observers:
            observer.step_ended(self, reward, over)
        terminated = truncated = False
        self._events = events
        if events:
            terminated, truncated = agent.ends(events)
            self._end_episode(tuple(event.name for event in events))
        info = self._info(self._info_type) if over or self._info_every_step else {}
        observation = self.observation_builder.observe(self.console, race, course, out)
        return observation, reward, terminated, truncated, info

    def _run_frames(self, keys: int) -> Sequence[RaceState]:
        """Run the frames of a step; return the race after each."""
        console, reader = self.console, self.reader
        # A picture is on the screen two frames after it was drawn; for short steps, the frame to
        # draw belongs to an earlier step.
        drawn = (self._frame_skip - PRIMING_FRAMES) % self._frame_skip if self._draws else -1
        watching = [observer for observer in self._observers if observer.needs_frames]
        if not watching:
            return reader.run(console, keys, self._frame_skip, drawn)
        draw_all = any(observer.needs_picture for observer in watching)
        states = []
        for frame in range(self._frame_skip):
            console.step(keys, 1, draw_all or frame == drawn)
            states.append(reader.read())
            for observer in watching:
                observer.frame(self, states[-1], keys)
        return states

    def _end_episode(self, events: tuple[str, ...] = ()) -> None:
        """Tell observers of the end of the episode, once; `step` refuses until the next begins."""
        self._needs_reset = True
        if self._episode_open:
            self._episode_open = False
            for observer in self._observers:
                observer.episode_ended(self, events)

    def _info(self, form: str) -> dict[str, Any]:
        race, start = self.race, self._start
        if start is None:
            raise NoRaceError(NO_RACE)
        return self._agent.info(
            form, race, self.course, start.course_name(race), start.course_seed, self._events
        )

    def _check_open(self) -> None:
        if self._closed:
            raise gym.error.ClosedEnvironmentError(
                "the environment is closed: make a new one with gym.make('MKDS-v0', ...)"
            )

    # Public attributes -------------------------------------------------------------------------

    @property
    def race(self) -> RaceState:
        """The race at the end of the last step or reset.

        Raises:
            NoRaceError: before the first reset.
        """
        if self._race is None:
            raise NoRaceError(NO_RACE)
        return self._race

    @property
    def course(self) -> Course:
        """The course of the race, decoded from the console's memory.

        Raises:
            NoRaceError: before the first reset.
        """
        if self._course is None:
            raise NoRaceError(NO_RACE)
        return self._course

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def episode_over(self) -> bool:
        """Whether no episode is under way, so that `step` needs a `reset` first."""
        return self._needs_reset

    @property
    def frame_skip(self) -> int:
        """Frames per step, 1 to 60; may be set between steps."""
        return self._frame_skip

    @frame_skip.setter
    @one_thread
    def frame_skip(self, frame_skip: int) -> None:
        self._frame_skip = integer("frame_skip", frame_skip, 1, MAX_FRAME_SKIP)
        self.metadata = {**self.metadata, "render_fps": max(1, round(self.steps_per_second))}

    @property
    def steps_per_second(self) -> float:
        """Steps per second of the game's time, 59.8261 / ``frame_skip``.

        ``metadata["render_fps"]`` is this rate as an integer, which Gymnasium's tools expect.
        """
        return FRAMES_PER_SECOND / self._frame_skip

    @property
    def observation_labels(self) -> tuple[str, ...]:
        """A name for each component of a ``sensors`` observation, for tables and plots."""
        return self.observation_builder.labels

    @property
    def ray_angles(self) -> tuple[float, ...]:
        """Angles of the distance sensors' rays: degrees from the heading, positive to the left."""
        return ray_angles(getattr(self.observation_builder, "sensors", ()))

    @property
    def event_names(self) -> tuple[str, ...]:
        """Names of the events, those of ``terminate_on`` first, for ``info["events"]``."""
        return tuple(event.name for event in self.episode_stats.events)

    @one_thread
    def full_info(self) -> dict[str, Any]:
        """Return the info of the last step or reset in its full form.

        Raises:
            NoRaceError: before the first reset.
        """
        return self._info("full")

    @property
    def episode_stats(self) -> EpisodeStats:
        """Metrics and events of the episode."""
        return self._agent.stats

    @property
    def last_reward(self) -> float:
        """Reward of the last step; 0 after a reset."""
        return self._agent.last_reward

    @property
    @one_thread
    def last_reward_terms(self) -> dict[str, float]:
        """Change in the last step of each metric that the reward reads, by name."""
        return self._agent.last_reward_terms()

    @one_thread
    def collect_metrics(self) -> dict[str, float]:
        """Return the metrics of the episode so far, as in the info."""
        return self.episode_stats.collect()

    @one_thread
    def picture(self) -> NDArray[np.uint8]:
        """Return the picture on the screens, uint8 RGB; overlays are drawn on the top screen.

        The picture is up to date if a `render_mode`, the observations or an observer need it.
        """
        picture = self.console.screen(self.screens)
        if not self._overlays or self.screens == "bottom":
            return picture
        scene = self._scenes.scene_of(self)
        return draw_overlays(self._overlays, picture, scene, self.course)

    @one_thread
    def recording_start(self) -> tuple[Start, bytes | None]:
        """Return how a recording describes the start; call in `EnvObserver.start_reached` only.

        Returns:
            The description, and the savestate if the recording must hold it.
        """
        start = self._start
        if start is None:
            raise NoRaceError(NO_RACE)
        return self.starts.recording_start(start)

    @property
    def _draws(self) -> bool:
        """Whether anything needs the picture of a step."""
        return (
            self.render_mode is not None
            or self.observation_builder.draws
            or (self._observers != () and any(o.needs_picture for o in self._observers))
        )

    # For vector environments ---------------------------------------------------------------------

    def take_seat(self, seat: Seat) -> None:
        """Drive one driver of a shared console, instead of a console; before the first reset."""
        self.seat = seat
        self.starts = SeatStarts(self.cartridge, self.starts.config, seat)

    @one_thread
    def prepare(self) -> None:
        """Go where the first reset goes, without an episode, to be rendered and cloned.

        The next reset is the same as without this call, and the viewer is not told. Errors as
        `reset`.
        """
        generator = copy.deepcopy(self.np_random), self._np_random_seed
        with self.without_viewer():
            self._reset(None, None, None)
        self._end_episode()
        self._np_random, self._np_random_seed = generator

    def begin_reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> FrameRequest:
        """Do the part of a reset before its frames; errors as `reset`.

        Returns:
            The frames to run before `finish_reset`.
        """
        self._check_open()
        checked = self.starts.check_options(options)
        super().reset(seed=optional(integer, "seed", seed, 0))
        self._end_episode()
        self._go_to_start(self.starts.choose(checked, self.np_random))
        return self._request(0, PRIMING_FRAMES)

    def finish_reset(self, request: FrameRequest, out: Any) -> dict[str, Any]:
        """Do the part of a reset after its frames, and return the info; ``out`` as `reset_into`."""
        reader = self.reader
        if request.alone:
            race = self._prime()
        else:
            race = reader.race(reader.completed(request.results)[-1])
        return self._begin_episode(race, out)[1]

    def begin_step(self, action: Any) -> FrameRequest:
        """Do the part of a step before its frames; errors as `step`.

        Returns:
            The frames to run before `finish_step`; a reset is needed until then.
        """
        keys = self._keys_of(action)
        self._needs_reset = True
        self._tell_step_started(keys)
        return self._request(keys, self._frame_skip)

    def finish_step(
        self, request: FrameRequest, out: Any
    ) -> tuple[float, bool, bool, dict[str, Any]]:
        """Do the part of a step after its frames; ``out`` and results as `step_into`."""
        self._needs_reset = False
        try:
            if request.alone:
                states = self._run_frames(request.keys)
            else:
                states = self.reader.frames(self.reader.completed(request.results))
            return self._complete_step(states, out)[1:]
        except BaseException:
            self._needs_reset = True
            raise

    def _request(self, keys: int, frames: int) -> FrameRequest:
        assert self.seat is not None
        self.seat.check_open()
        alone = any(observer.needs_frames for observer in self._observers)
        return FrameRequest(self.seat, keys, frames, None, self._draws, alone)

    def copy_np_random(self, other: EpisodeEnv) -> None:
        """Continue with a copy of the random generator of another environment."""
        self._np_random = copy.deepcopy(other.np_random)
        self._np_random_seed = other._np_random_seed
