"""Races and rewards of a console without an environment, for overlays."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from mkds_gym.components.metrics import DEFAULT_METRICS, collect_all, make_metrics, reset_all
from mkds_gym.components.rewards import REWARDS, Read, make_reward
from mkds_gym.components.scorers import SCORERS
from mkds_gym.course import Course
from mkds_gym.course.progress import race_reader
from mkds_gym.emulator.console import Console
from mkds_gym.errors import NoRaceError
from mkds_gym.overlays.scene import OverlayScene, SceneRecorder
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import RaceReader
from mkds_gym.race.state import RaceState
from mkds_gym.utils.arguments import shown


class LiveRace:
    """Finds the race on a console. The demonstration behind a title or a menu is not a race.

    Args:
        console: the console, which the caller steps.
        scenes: record overlay scenes, which takes some tens of microseconds per frame.

    Attributes:
        course: course of the race; None without a race.
    """

    def __init__(self, console: Console, *, scenes: bool = True) -> None:
        self._console = console
        self._records_scenes = scenes
        self._scenes = SceneRecorder()
        self._reader: RaceReader | None = None
        self._course_id = 0
        self.course: Course | None = None
        self.restart()

    def restart(self) -> None:
        """Find the race again, after the console was set to another state."""
        ram = self._console.ram
        course = self.course
        self._reader = self.course = None
        try:
            layout = MemoryLayout.detect(ram, self._console.cartridge.region)
            reader = race_reader(ram, layout)
            race = reader.read()
            if not race.race_on:
                return
            # All random courses have the same number.
            if course is None or course.fingerprint != Course.fingerprint_ram(ram, layout):
                course = Course.from_ram(ram, layout)
            self._scenes.begin(reader)
        except (NoRaceError, ValueError):  # a menu, or a course that is being loaded
            return
        self._reader, self.course, self._course_id = reader, course, race.course_id

    def frame(self, keys: int) -> RaceState | None:
        """Return the race after a frame; None without a race. Call after each frame.

        Args:
            keys: combination of `Keys` held in the frame.
        """
        if self._reader is None:
            self.restart()
        if self._reader is None:
            return None
        with contextlib.suppress(NoRaceError):
            race = self._reader.read()
            if race.race_on:
                if race.course_id != self._course_id:
                    self.restart()
                elif self._records_scenes:
                    self._scenes.add(race, keys)
                return race
        self._reader = self.course = None
        return None

    def scene(
        self,
        *,
        reward: float | None = None,
        terms: Mapping[str, float] | None = None,
        ray_angles: tuple[float, ...] = (),
    ) -> OverlayScene | None:
        """Return the scene of the picture on the screen; None without a race or a camera.

        Args:
            reward: as in `OverlayScene`.
            terms: as in `OverlayScene`.
            ray_angles: as in `OverlayScene`.
        """
        if self.course is None:
            return None
        with contextlib.suppress(NoRaceError):
            return self._scenes.scene(
                self.course, reward=reward, terms=terms, ray_angles=ray_angles
            )
        return None


class LiveReward:
    """Computes the rewards of a race without an environment.

    Args:
        reward: a name in `REWARDS` or `SCORERS`.
        frame_skip: frames per step.
        lead: frames before the first step.

    Attributes:
        reward: reward of the last step.
        terms: change in the last step of each metric that the reward reads.

    Raises:
        ValueError: unknown name.
    """

    def __init__(self, reward: str, *, frame_skip: int = 4, lead: int = 0) -> None:
        named = {**dict.fromkeys(REWARDS), **dict.fromkeys(SCORERS)}
        if reward.partition(":")[0] not in named:
            raise ValueError(f"unknown reward {shown(reward)}: expected one of {', '.join(named)}")
        self._scorer = make_reward(reward)
        self._skip = frame_skip
        self._lead = lead
        self._metrics = make_metrics(DEFAULT_METRICS)
        self.restart()

    def restart(self) -> None:
        """Start again without a reward, after the console was set to another state."""
        self._number = 0
        self._last: dict[str, float] | None = None
        self.reward = 0.0
        self.terms: dict[str, float] = {}

    def frame(self, race: RaceState | None, course: Course | None) -> None:
        """Add a frame. Call after each frame.

        Args:
            race: the race after the frame; None without a race, which restarts.
            course: the course of the race.
        """
        if race is None or course is None:
            self.restart()
            return
        self._number += 1
        if self._number < self._lead:
            return
        if self._last is None:
            reset_all(self._metrics)
        for metric in self._metrics:
            metric.update(race, course)
        if self._last is not None and (self._number - self._lead) % self._skip:
            return
        collected = collect_all(self._metrics)
        read = Read(collected)
        if self._last is None:
            self._scorer.reset(read)
            self.terms = dict.fromkeys(sorted(read.names), 0.0)
        else:
            self.reward = self._scorer.step(read)
            self.terms = {name: read[name] - self._last[name] for name in sorted(read.names)}
        self._last = collected
