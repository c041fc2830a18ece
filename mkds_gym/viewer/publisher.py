"""`RacePublisher`: publishes the pictures of an environment from the process that steps it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import pickle
import time
from collections import deque
from collections.abc import Callable, Mapping
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
_ASK: Final = 0.1
"""Seconds between looks whether anybody watches."""


class RacePublisher(Publisher, EnvObserver):
    """Publishes 30 pictures a second of the environment it observes, while a viewer watches.

    Without a viewer, a step only reads a clock. The emulator draws a picture only in the steps
    that are shown, and overlay scenes are recorded only in these. When the run is closed, the
    publisher removes itself from the environment. An error is logged once, and the race goes on
    without pictures; or without overlays, if only overlays fail.

    Args:
        folder: of the run.
        index: of the tile; or of the lane, if it ``follows``.
        scorer: pickled callable from the metrics to the score so far; empty sums up the rewards.
        follows: at the beginning of each episode, ask the run (`Bus.assign`) which tile to publish
            into, if any.
    """

    def __init__(
        self, folder: Path, index: int, scorer: bytes = b"", *, follows: bool = False
    ) -> None:
        super().__init__(folder, index)
        self._scorer_bytes: Final = scorer
        self._scorer: Callable[[Mapping[str, float]], float] | None = None
        self._lane: Final = index if follows else None
        self._label = ""
        self._failed = False
        self._idle = follows
        self._said: set[str] = set()
        self._episode = 0
        self._reward = 0.0
        self._due = 0.0
        self._last = 0.0
        self._left = 0
        self._sends_scenes = False
        self._scenes: SceneRecorder | None = None
        self._trail = LapTrail()
        self._behind: deque[RaceState] = deque()
        self._course: Course | None = None
        self._fingerprint = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as new."""
        index = self.index if self._lane is None else self._lane
        make = partial(type(self), follows=self._lane is not None)
        return make, (self.folder, index, self._scorer_bytes)

    def attached(self, env: MKDSEnv) -> None:
        """Open the tile."""
        try:
            if self._lane is None:
                self.open()
        except Exception as error:
            self._fail(env, error)

    def episode_started(self, env: MKDSEnv) -> None:
        """Begin an episode on the tile."""
        if self._failed:
            return
        self._episode += 1
        self._reward = 0.0
        self._forget_path()
        try:
            if self._lane is not None:
                self._follow(env, self._lane)
            if not self._idle:
                self.say(State.DRIVING)
        except Exception as error:
            self._fail(env, error)

    def step_ended(self, env: MKDSEnv, reward: float, over: bool) -> None:
        """Publish the picture if it is due."""
        if self._failed or self._idle:
            return
        try:
            self._stepped(env, reward, over)
        except Exception as error:
            self._fail(env, error)

    def detached(self, env: MKDSEnv) -> None:
        """Close the tile."""
        if self._failed or self._idle:
            return
        try:
            self._rest(env)
            self.say(State.CLOSED)
        except Exception as error:
            self._fail(env, error)

    def show(self, env: MKDSEnv, scenes: SceneRecorder | None = None) -> None:
        """Publish what is on the screen now, whether or not anybody looks.

        Args:
            env: the environment, which must have drawn its picture.
            scenes: records the scenes of the environment; None publishes none.

        Raises:
            ViewerError: the run is no more.
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
            except Exception as error:  # the picture is there all the same
                self._say_once(f"tile {self.index} has no overlays", error)
        self.publish(console.colours(), status, sent)

    # Internals -------------------------------------------------------------------------------

    def _stepped(self, env: MKDSEnv, reward: float, over: bool) -> None:
        now = time.monotonic()
        self._reward += reward
        self.count(env.frame_skip)
        if self._sends_scenes:
            # The picture is as many steps behind.
            self._behind.append(env.race)
            if len(self._behind) > _ahead(env):
                self._trail.add(self._behind.popleft())
        if over:
            self.say(State.OVER)
        if self._left:
            self._left -= 1
            if not self._left:
                self.show(env, self._scenes if self._sends_scenes else None)
                self._due = now + _PERIOD
                if now - self._last > _PERIOD / 2 and self.wanted(now):
                    self._left = 1  # the next step's picture will be due already
                    self._ask_for_scenes(env, now)
                else:
                    self.needs_picture = False
                    self._forget_scenes(env)
        elif now >= self._due:
            if self.wanted(now):
                self.needs_picture = True
                self._left = _ahead(env)
                self._ask_for_scenes(env, now)
            else:
                self._rest(env)
                self._due = now + _ASK
                if self.over and env.viewer is self:
                    env.viewer = None  # the run was closed in the middle of a step
                    return
        self._last = now
        if over and self._lane is not None:
            self._rest(env)
            self.leave()
            self._idle = True

    def _follow(self, env: MKDSEnv, lane: int) -> None:
        """Go where the run wants this lane's pictures."""
        tile, self._label = self.assigned(lane)
        if not self._idle and tile == self.index:
            return
        if not self._idle:  # the episode before was given up
            self._rest(env)
            self.leave()
        self._idle = tile is None
        if tile is not None:
            self.index = tile
            self._course = None
            self.open()

    def _record_scenes(self, env: MKDSEnv) -> None:
        if self._scenes is None:
            self._scenes = SceneRecorder()
            env.add_observer(self._scenes)

    def _forget_scenes(self, env: MKDSEnv) -> None:
        if self._scenes is not None:
            if self._scenes in env.observers:  # a closed environment has removed its observers
                env.remove_observer(self._scenes)
            self._scenes = None

    def _rest(self, env: MKDSEnv) -> None:
        """Need nothing, as no viewer watches."""
        self._left = 0
        self.needs_picture = self._sends_scenes = False
        self._forget_scenes(env)

    def _ask_for_scenes(self, env: MKDSEnv, now: float) -> None:
        """Record scenes if a viewer draws overlays."""
        wanted = self.scenes_wanted(now)
        if not wanted:
            self._forget_scenes(env)
        else:
            self._record_scenes(env)
            if not self._sends_scenes:
                self._forget_path()
                self._left = _ahead(env)  # the picture shows the race of an earlier step
        self._sends_scenes = wanted

    def _forget_path(self) -> None:
        self._trail.clear()
        self._behind.clear()

    def _score(self, env: MKDSEnv) -> float:
        if not self._scorer_bytes:
            return self._reward
        with contextlib.suppress(Exception):  # the run itself will tell, when it scores
            if self._scorer is None:
                self._scorer = pickle.loads(self._scorer_bytes)
            return float(self._scorer(env.collect_metrics()))
        return math.nan

    def _scene(self, env: MKDSEnv, scenes: SceneRecorder) -> bytes:
        course = env.course
        if self._course is not course:  # which takes long to compare
            fingerprint = course.fingerprint
            self.publish_course(fingerprint, pickle.dumps(course))
            self._course, self._fingerprint = course, fingerprint
        scene = scenes.scene_of(env)
        # Its own trail begins where recording did, steps ago.
        self._trail.add(scene.race)
        trail = self._trail.up_to(scene.race).tobytes()
        return pickle.dumps((self._fingerprint, scene, trail))

    def _fail(self, env: MKDSEnv, error: Exception) -> None:
        self._failed = True
        try:
            self._rest(env)
        except Exception as another:
            error = another
        self._say_once(f"tile {self.index} shows nothing more", error)

    def _say_once(self, what: str, error: Exception) -> None:
        message = f"{what}: {type(error).__name__}: {error}"
        if message not in self._said:
            self._said.add(message)
            _log.warning(message)


def unpack_scene(scene: bytes) -> tuple[int, OverlayScene]:
    """The fingerprint of the course, and the scene, of what was published with a picture."""
    fingerprint, unpacked, trail = pickle.loads(scene)
    path = np.frombuffer(trail, np.float32).reshape(-1, 4)
    return fingerprint, dataclasses.replace(unpacked, trail=path)


def _ahead(env: MKDSEnv) -> int:
    """Steps before its own in which a picture must be drawn to be seen whole."""
    return math.ceil(PRIMING_FRAMES / env.frame_skip)
