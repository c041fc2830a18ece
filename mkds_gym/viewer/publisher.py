"""Publishes what an environment shows: its spectator, in whatever process it is stepped."""

from __future__ import annotations

import contextlib
import logging
import math
import pickle
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from mkds_gym.env import PRIMING_FRAMES, MKDSEnv
from mkds_gym.viewer.bus import Publisher, State, Status

_log = logging.getLogger(__name__)

PICTURES_PER_SECOND: Final = 30
_PERIOD: Final = 1.0 / PICTURES_PER_SECOND
_ASK: Final = 0.1
"""Seconds between looks whether anybody watches."""


class RacePublisher(Publisher):
    """A `mkds_gym.env.Spectator` that publishes 30 pictures a second, while a viewer looks.

    While none does, it reads a clock in each step and nothing else. A picture is drawn by the
    emulator only in the steps that are shown. Whatever fails is logged, once; the race goes on
    unseen.

    Args:
        folder: of the run.
        index: of the tile.
        scorer: pickled callable from the metrics to the score so far; empty sums up the rewards.
    """

    def __init__(self, folder: Path, index: int, scorer: bytes = b"") -> None:
        super().__init__(folder, index)
        self._scorer_bytes: Final = scorer
        self._scorer: Callable[[Mapping[str, float]], float] | None = None
        self._failed = False
        self._episode = 0
        self._reward = 0.0
        self._due = 0.0
        self._last = 0.0
        self._left = 0
        self._sends_scenes = False
        self._course: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as new."""
        return type(self), (self.folder, self.index, self._scorer_bytes)

    def attached(self, env: MKDSEnv) -> None:
        """See `mkds_gym.env.Spectator`."""
        try:
            self.open()
        except Exception as error:
            self._fail(env, error)

    def started(self, env: MKDSEnv) -> None:
        """See `mkds_gym.env.Spectator`."""
        if self._failed:
            return
        self._episode += 1
        self._reward = 0.0
        try:
            self.say(State.DRIVING)
        except Exception as error:
            self._fail(env, error)

    def stepped(self, env: MKDSEnv, reward: float, over: bool) -> None:
        """See `mkds_gym.env.Spectator`."""
        if self._failed:
            return
        try:
            self._stepped(env, reward, over)
        except Exception as error:
            self._fail(env, error)

    def closed(self, env: MKDSEnv) -> None:
        """See `mkds_gym.env.Spectator`."""
        if self._failed:
            return
        try:
            self._rest(env)
            self.say(State.CLOSED)
        except Exception as error:
            self._fail(env, error)

    def show(self, env: MKDSEnv, *, scene: bool = False) -> None:
        """Publish what is on the screen now, whether or not anybody looks.

        Args:
            env: the environment, which must have drawn its picture.
            scene: with the scene for overlays, which the environment must record.

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
        )
        console = env.console
        sent = self._scene(env) if scene else b""
        self.publish(lambda room: console.screen("top", room), status, sent)

    # Within ---------------------------------------------------------------------------------

    def _stepped(self, env: MKDSEnv, reward: float, over: bool) -> None:
        now = time.monotonic()
        self._reward += reward
        self.count(env.frame_skip)
        if over:
            self.say(State.OVER)
        if self._left:
            self._left -= 1
            if not self._left:
                self.show(env, scene=self._sends_scenes)
                self._due = now + _PERIOD
                if now - self._last > _PERIOD / 2 and self.wanted(now):
                    self._left = 1  # the next step's picture will be due already
                    self._ask_for_scenes(env, now)
                else:
                    env.draw(False)
        elif now >= self._due:
            if self.wanted(now):
                env.draw(True)
                self._left = math.ceil(PRIMING_FRAMES / env.frame_skip)
                self._ask_for_scenes(env, now)
            else:
                self._rest(env)
                self._due = now + _ASK
        self._last = now

    def _rest(self, env: MKDSEnv) -> None:
        """Nobody looks."""
        if self._left:
            self._left = 0
            env.draw(False)
        if self._sends_scenes:
            self._sends_scenes = False
            env.forget_scenes()

    def _ask_for_scenes(self, env: MKDSEnv, now: float) -> None:
        wanted = self.scenes_wanted(now)
        if wanted and not self._sends_scenes:
            env.record_scenes()
        elif self._sends_scenes and not wanted:
            env.forget_scenes()
        self._sends_scenes = wanted

    def _score(self, env: MKDSEnv) -> float:
        if not self._scorer_bytes:
            return self._reward
        with contextlib.suppress(Exception):  # the run itself will tell, when it scores
            if self._scorer is None:
                self._scorer = pickle.loads(self._scorer_bytes)
            return float(self._scorer(env.collect_metrics()))
        return math.nan

    def _scene(self, env: MKDSEnv) -> bytes:
        course = env.course
        if self._course != course.fingerprint:
            self.publish_course(course.fingerprint, pickle.dumps(course))
            self._course = course.fingerprint
        return pickle.dumps((course.fingerprint, env.overlay_scene()))

    def _fail(self, env: MKDSEnv, error: Exception) -> None:
        self._failed = True
        try:
            env.draw(False)
            env.forget_scenes()
        except Exception as another:
            error = another
        _log.warning("tile %d shows nothing more: %s: %s", self.index, type(error).__name__, error)
