"""What overlays need of a console that is driven frame by frame, without an environment."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from mkds_gym.components.metrics import DEFAULT_METRICS, collect_all, make_metrics, reset_all
from mkds_gym.components.rewards import REWARDS, Read, make_reward
from mkds_gym.components.scorers import SCORERS
from mkds_gym.course import Course
from mkds_gym.emulator.console import Console
from mkds_gym.errors import NoRaceError
from mkds_gym.overlays.scene import OverlayScene, SceneRecorder
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import RaceReader
from mkds_gym.race.state import RaceState


class LiveRace:
    """The race that runs on a console, if one does: it is found by itself, and found anew.

    What a game shows behind its title and its menu is none, as nobody drives there.

    Args:
        console: that somebody else steps.
        scenes: note what overlays draw, some tens of microseconds a frame.

    Attributes:
        course: that is driven; None where no race runs.
    """

    def __init__(self, console: Console, *, scenes: bool = True) -> None:
        self._console = console
        self._noted = scenes
        self._scenes = SceneRecorder()
        self._reader: RaceReader | None = None
        self._course_id = 0
        self.course: Course | None = None
        self.restart()

    def restart(self) -> None:
        """The console has gone to another state: look for its race, and forget the frames."""
        ram = self._console.ram
        course = self.course
        self._reader = self.course = None
        try:
            layout = MemoryLayout.detect(ram, self._console.cartridge.region)
            reader = RaceReader(ram, layout)
            race = reader.read()
            if not race.race_on:
                return
            # Not by its number, which all random courses share.
            if course is None or course.fingerprint != Course.fingerprint_ram(ram, layout):
                course = Course.from_ram(ram, layout)
            self._scenes.begin(reader)
        except (NoRaceError, ValueError):  # a menu, or a course that is just being loaded
            return
        self._reader, self.course, self._course_id = reader, course, race.course_id

    def frame(self, keys: int) -> RaceState | None:
        """Note a frame; to be called after each.

        Args:
            keys: combination of `Keys` that was held.

        Returns:
            The race after it; None where none runs (a title, a menu).
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
                elif self._noted:
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
        """What overlays draw of the picture that is on the screen now.

        None without a race, or where that frame had no camera.

        Args:
            reward: see `OverlayScene`.
            terms: likewise.
            ray_angles: likewise.
        """
        if self.course is None:
            return None
        with contextlib.suppress(NoRaceError):
            return self._scenes.scene(
                self.course, reward=reward, terms=terms, ray_angles=ray_angles
            )
        return None


class LiveReward:
    """What a driver is paid, step by step, where no environment pays.

    Args:
        reward: its name, of `REWARDS` or `SCORERS`.
        frame_skip: frames per step.
        lead: frames before the first step.

    Attributes:
        reward: of the last step.
        terms: what that step changed of the metrics that the reward looks at, by name.

    Raises:
        ValueError: there is no reward of that name.
    """

    def __init__(self, reward: str, *, frame_skip: int = 4, lead: int = 0) -> None:
        named = {**dict.fromkeys(REWARDS), **dict.fromkeys(SCORERS)}
        if reward.partition(":")[0] not in named:
            raise ValueError(f"unknown reward '{reward}'; allowed: {', '.join(named)}")
        self._scorer = make_reward(reward)
        self._skip = frame_skip
        self._lead = lead
        self._metrics = make_metrics(DEFAULT_METRICS)
        self.restart()

    def restart(self) -> None:
        """The console has gone to another state: nothing is paid for that."""
        self._number = 0
        self._last: dict[str, float] | None = None
        self.reward = 0.0
        self.terms: dict[str, float] = {}

    def frame(self, race: RaceState | None, course: Course | None) -> None:
        """Note a frame; to be called after each.

        Args:
            race: after it; None where none runs, and the next race begins anew.
            course: that is driven.
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
        looked = Read(collected)
        if self._last is None:
            self._scorer.reset(looked)
            self.terms = dict.fromkeys(sorted(looked.names), 0.0)
        else:
            self.reward = self._scorer.step(looked)
            self.terms = {name: looked[name] - self._last[name] for name in sorted(looked.names)}
        self._last = collected
