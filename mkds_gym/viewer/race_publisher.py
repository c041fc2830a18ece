"""`RacePublisher`: publishes the pictures of an environment from the process that steps it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mkds_gym.env import MKDSEnv
from mkds_gym.episodes.race_start import PRIMING_FRAMES
from mkds_gym.observer import EnvObserver
from mkds_gym.overlays import LapTrail, OverlayScene, SceneRecorder
from mkds_gym.viewer.bus import Publisher, State, Status

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.race.state import RaceState

_log = logging.getLogger(__name__)

PICTURES_PER_SECOND: Final = 30
_PERIOD: Final = 1.0 / PICTURES_PER_SECOND
_ASK_INTERVAL: Final = 0.1
"""Seconds between checks for a viewer, while there is none."""


class RacePublisher(Publisher, EnvObserver):
    """Publishes 30 pictures a second of the environment it observes, while a viewer watches.

    Without a viewer, a step only reads a clock. The emulator draws a picture only in the steps
    that are shown, and overlay scenes are recorded only in these. When the run is closed, the
    publisher removes itself from the environment. An error is logged once, and the race goes on
    without pictures, or without overlays if only they fail.

    Args:
        folder: the run's folder.
        index: index of the tile; not used if it ``follows``.
        scorer: pickled callable from the metrics to the score so far; empty to show the sum of the
            rewards.
        follows: publish each episode in the tile that `assign` names.

    Attributes:
        trail: path of the current lap, recorded while a viewer draws overlays.
    """

    def __init__(
        self, folder: Path, index: int, scorer: bytes = b"", *, follows: bool = False
    ) -> None:
        super().__init__(folder, index)
        self._scorer_bytes: Final = scorer
        self._scorer: Callable[[Mapping[str, float]], float] | None = None
        self._follows: Final = follows
        self._assigned: tuple[int | None, str] = (None, "")
        self._label = ""
        self._failed = False
        self._idle = follows
        self._logged: set[str] = set()
        self._episode = 0
        self._reward = 0.0
        self._due = 0.0
        self._last_step = 0.0
        self._steps_left = 0
        self._sends_scenes = False
        self._scenes: SceneRecorder | None = None
        self.trail = LapTrail()
        self._delayed: deque[RaceState] = deque()
        self._course: Course | None = None
        self._fingerprint = 0

    def __reduce__(self) -> tuple[Any, ...]:
        make = partial(type(self), follows=self._follows)
        return make, (self.folder, self.index, self._scorer_bytes)

    def assign(self, tile: int | None, label: str) -> None:
        """Set the tile and the label of the episodes from the next one on.

        Args:
            tile: index of a tile that nobody else uses, if this publisher ``follows``; None hides
                the environment.
            label: name of the driver.
        """
        self._assigned = tile, label

    def attached(self, env: MKDSEnv) -> None:
        if not self._follows:
            with self._logged_errors(env):
                self.open()

    def episode_started(self, env: MKDSEnv) -> None:
        if self._failed:
            return
        self._episode += 1
        self._reward = 0.0
        self._clear_trail()
        with self._logged_errors(env):
            tile, self._label = self._assigned
            if self._follows:
                self._move(env, tile)
            if not self._idle:
                self.set_state(State.DRIVING)

    def step_ended(self, env: MKDSEnv, reward: float, over: bool) -> None:
        if self._failed or self._idle:
            return
        with self._logged_errors(env):
            self._reward += reward
            self.count(env.frame_skip)
            if over:
                self.set_state(State.OVER)
            self._update_trail(env)
            self._publish_if_due(env)
            if over and self._follows:
                self._stop_requests(env)
                self.leave()
                self._idle = True

    def detached(self, env: MKDSEnv) -> None:
        if self._failed or self._idle:
            return
        with self._logged_errors(env):
            self._stop_requests(env)
            self.set_state(State.CLOSED)

    def show(self, env: MKDSEnv, scenes: SceneRecorder | None = None) -> None:
        """Publish the picture on the screen, with or without a viewer.

        Args:
            env: the environment, which must have drawn the picture.
            scenes: recorder of its overlay scenes; None publishes no scene.

        Raises:
            ViewerError: the run is over.
        """
        race = env.race
        status = Status(
            frame=race.frame,
            lap=race.lap,
            place=race.place + 1,
            drivers=race.driver_count,
            episode=self._episode,
            speed=race.speed,
            progress=env.course.track.laps(race),
            score=self._score(env),
            label=self._label,
        )
        console = env.console
        sent = b""
        if scenes is not None:
            try:
                sent = self._scene(env, scenes)
            except Exception as error:
                self._log_once(f"tile {self.index} has no overlays", error)
        self.publish(console.colours(), status, sent)

    def _publish_if_due(self, env: MKDSEnv) -> None:
        now = time.monotonic()
        if self._steps_left:
            self._steps_left -= 1
            if not self._steps_left:
                self.show(env, self._scenes if self._sends_scenes else None)
                self._due = now + _PERIOD
                if now - self._last_step > _PERIOD / 2 and self.wanted(now):
                    self._steps_left = 1  # the picture of the next step will be due
                    self._request_scenes(env, now)
                else:
                    self.needs_picture = False
                    self._forget_scenes(env)
        elif now >= self._due:
            if self.wanted(now):
                self.needs_picture = True
                self._steps_left = _lead(env)
                self._request_scenes(env, now)
            else:
                self._stop_requests(env)
                self._due = now + _ASK_INTERVAL
                if self.over and env.viewer is self:
                    env.viewer = None  # the run was closed in the middle of a step
        self._last_step = now

    def _update_trail(self, env: MKDSEnv) -> None:
        if self._sends_scenes:
            # The picture shows the race of an earlier step.
            self._delayed.append(env.race)
            if len(self._delayed) > _lead(env):
                self.trail.add(self._delayed.popleft())

    def _move(self, env: MKDSEnv, tile: int | None) -> None:
        """Move to another tile, or to none."""
        if not self._idle and tile == self.index:
            return
        if not self._idle:  # the last episode was cut off
            self._stop_requests(env)
            self.leave()
        self._idle = tile is None
        if tile is not None:
            self.index = tile
            self._course = None
            self.open()

    def _forget_scenes(self, env: MKDSEnv) -> None:
        if self._scenes is not None:
            if self._scenes in env.observers:  # a closed environment has removed its observers
                env.remove_observer(self._scenes)
            self._scenes = None

    def _stop_requests(self, env: MKDSEnv) -> None:
        """Ask the environment for no more pictures and frames."""
        self._steps_left = 0
        self.needs_picture = self._sends_scenes = False
        self._forget_scenes(env)

    def _request_scenes(self, env: MKDSEnv, now: float) -> None:
        """Record scenes if a viewer draws overlays."""
        wanted = self.scenes_wanted(now)
        if not wanted:
            self._forget_scenes(env)
        else:
            if self._scenes is None:
                self._scenes = SceneRecorder()
                env.add_observer(self._scenes)
            if not self._sends_scenes:
                self._clear_trail()
                self._steps_left = _lead(env)  # until a picture has its scene
        self._sends_scenes = wanted

    def _clear_trail(self) -> None:
        self.trail.clear()
        self._delayed.clear()

    def _score(self, env: MKDSEnv) -> float:
        if not self._scorer_bytes:
            return self._reward
        with contextlib.suppress(Exception):  # the run reports the error when it scores
            if self._scorer is None:
                self._scorer = pickle.loads(self._scorer_bytes)
            return float(self._scorer(env.collect_metrics()))
        return math.nan

    def _scene(self, env: MKDSEnv, scenes: SceneRecorder) -> bytes:
        course = env.course
        if self._course is not course:
            fingerprint = course.fingerprint
            self.publish_course(fingerprint, pickle.dumps(course))
            self._course, self._fingerprint = course, fingerprint
        scene = scenes.scene_of(env)
        # The recorder's own trail is too short: it began with the request for scenes.
        self.trail.add(scene.race)
        trail = self.trail.up_to(scene.race).tobytes()
        return pickle.dumps((self._fingerprint, scene, trail))

    @contextlib.contextmanager
    def _logged_errors(self, env: MKDSEnv) -> Iterator[None]:
        """Log an error and stop publishing."""
        try:
            yield
        except Exception as error:
            self._failed = True
            self._log_once(f"tile {self.index} shows no more pictures", error)
            self.needs_picture = False
            with contextlib.suppress(Exception):
                self._stop_requests(env)

    def _log_once(self, text: str, error: Exception) -> None:
        message = f"{text}: {type(error).__name__}: {error}"
        if message not in self._logged:
            self._logged.add(message)
            _log.warning(message)


def unpack_scene(scene: bytes) -> tuple[int, OverlayScene]:
    """Return the fingerprint of the course, and the scene, from `Shot.scene`."""
    fingerprint, unpacked, trail = pickle.loads(scene)
    path = np.frombuffer(trail, np.float32).reshape(-1, 4)
    return fingerprint, dataclasses.replace(unpacked, trail=path)


def _lead(env: MKDSEnv) -> int:
    """Return for how many steps the emulator must draw before a picture is complete."""
    return math.ceil(PRIMING_FRAMES / env.frame_skip)
