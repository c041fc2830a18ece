"""The plan of an evaluation: which episodes an individual drives, and how they make one fitness."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import gymnasium as gym
import numpy as np

from mkds_gym.env import MKDSEnv
from mkds_neat.episode import EpisodeRecord, Task
from mkds_neat.individual import Individual

Seeds = Literal["individual", "generation", "run"]
Combine = Literal["mean", "min", "median"]
Course = Mapping[str, Any]
"""Arguments of the environment that choose a course."""

_COMBINE: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "mean": statistics.fmean,
    "min": min,
    "median": statistics.median,
}
_BY_GENERATION: Final = 1
_BY_RUN: Final = 2
"""Tell seeds that all individuals share from those of one individual."""


def episode_seed(run_seed: int, individual: int, episode: int = 0) -> int:
    """Return the seed of an individual's episode: a 32-bit hash of the numbers."""
    numbers = [run_seed, individual] if episode == 0 else [run_seed, individual, episode]
    return _hash(numbers)


def _hash(numbers: Sequence[int]) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


@dataclass(frozen=True)
class Plan:
    """Which episodes each individual drives.

    With ``rungs``, an evaluation is a successive halving. All individuals drive a first, cheap
    rung, the best share drives the next one, and only those that are left drive everything.

    Attributes:
        episodes: Episodes of an individual.
        seeds: What the seed of an episode depends on, besides the run and the episode's number:
            ``"individual"``; ``"generation"``: the individuals of a generation have the same seeds;
            ``"run"``: all individuals have.
        combine: How the scores of the episodes make the fitness.
        courses: Courses of the episodes; the episode with the number k drives the course k modulo
            their number. Empty for the environment's own course.
        starts: Starts of the episodes in the same way, in laps; None for the start of the race.
        drawn: Returns the course that the environment draws from a seed, for drivers that share a
            console; None for an environment that draws none, or draws by itself.
        rung_frames: Frames after which the first episode is cut off in each rung.
        rung_episodes: Episodes after which each rung ends; at most one of the two kinds.
        keep: Share of the individuals that go on after a rung.
        chance: Whether an episode depends on its seed.
    """

    episodes: int = 1
    seeds: Seeds = "individual"
    combine: Combine = "mean"
    courses: tuple[Course, ...] = ()
    starts: tuple[float | None, ...] = ()
    drawn: Callable[[int], Course] | None = field(default=None, repr=False, compare=False)
    rung_frames: tuple[int, ...] = ()
    rung_episodes: tuple[int, ...] = ()
    keep: float = 0.5
    chance: bool = True

    @property
    def rungs(self) -> int:
        """Number of rungs before the last, in which the individuals left drive everything."""
        return len(self.rung_frames) + len(self.rung_episodes)

    @property
    def first_course(self) -> Course:
        """The course of the first episode, if it is given; else empty."""
        return self.courses[0] if self.courses else {}

    @property
    def first_start(self) -> float | None:
        """The start of the first episode; None for the start of the race."""
        return self.starts[0] if self.starts else None

    def seed(self, run: int, individual: int, episode: int, generation: int) -> int:
        """Return the seed of an episode."""
        if self.seeds == "individual":
            return episode_seed(run, individual, episode)
        if self.seeds == "generation":
            return _hash([run, episode, generation, _BY_GENERATION])
        return _hash([run, episode, 0, _BY_RUN])

    def course(self, episode: int, seed: int) -> Course:
        """Return the arguments that choose the course of an episode; empty for the usual one."""
        if self.courses:
            return self.courses[episode % len(self.courses)]
        return {} if self.drawn is None else self.drawn(seed)

    def tasks(
        self, run: int, individual: Individual, generation: int, rung: int | None = None
    ) -> list[Task]:
        """Return the episodes of an individual.

        Args:
            run: The run's seed.
            individual: The individual.
            generation: Number of the generation.
            rung: Number of a rung; None for what is left after all rungs.
        """
        first, last, frames = 0, self.episodes, None
        if self.rung_frames and rung is not None:
            last, frames = 1, self.rung_frames[rung]
        elif self.rung_episodes:
            ends = (0, *self.rung_episodes, self.episodes)
            at = len(self.rung_episodes) if rung is None else rung
            first, last = ends[at], ends[at + 1]
        found = []
        for number in range(first, last):
            seed = self.seed(run, individual.id, number, generation)
            found.append(
                Task(
                    individual.id,
                    individual.network,
                    seed,
                    episode=number,
                    course=self.course(number, seed),
                    start=self.starts[number % len(self.starts)] if self.starts else None,
                    frames=frames,
                )
            )
        return found

    def fitness(self, scores: Sequence[float]) -> float:
        """Return the fitness of an individual from the scores of its episodes."""
        return scores[0] if len(scores) == 1 else float(_COMBINE[self.combine](scores))

    def record(self, records: Sequence[EpisodeRecord]) -> EpisodeRecord:
        """Return the `summary` of an individual, unfinished if some episodes were not driven."""
        record = summary(records)
        if len(records) < self.episodes:
            record = replace(record, finished=False, race_time=0.0)
        return record

    def survivors(self, count: int) -> int:
        """Return how many of ``count`` individuals go on after a rung; at least 1."""
        return max(1, math.ceil(round(count * self.keep, 9)))  # 100 * 0.07 is above 7


def summary(records: Sequence[EpisodeRecord]) -> EpisodeRecord:
    """Return one record for several episodes.

    Metrics, score, times and laps are means. Steps, frames and seconds are sums. The summary is
    finished if all episodes are; otherwise it has no time. Events are those of all episodes.
    """
    if len(records) == 1:
        return records[0]
    finished = all(each.finished for each in records)
    names = [name for name in records[0].metrics if all(name in r.metrics for r in records)]
    laps = [each.lap_times for each in records]
    same = len({len(each) for each in laps}) == 1
    return EpisodeRecord(
        metrics={name: statistics.fmean(r.metrics[name] for r in records) for name in names},
        steps=sum(each.steps for each in records),
        frames=sum(each.frames for each in records),
        score=statistics.fmean(each.score for each in records),
        finished=finished,
        lap_times=tuple(map(statistics.fmean, zip(*laps, strict=True))) if same else (),
        race_time=statistics.fmean(each.race_time for each in records) if finished else 0.0,
        events=tuple(dict.fromkeys(event for each in records for event in each.events)),
        seconds=sum(each.seconds for each in records),
    )


def with_frames(record: EpisodeRecord, frames: int) -> EpisodeRecord:
    """Return a record with further frames, which were driven in rungs before."""
    return replace(record, frames=record.frames + frames) if frames else record


def draws_of(env_kwargs: Mapping[str, Any]) -> Callable[[int], Course] | None:
    """Return the function from a seed to the course that ``MKDS-v0`` draws from it.

    Args:
        env_kwargs: Arguments of the environment.

    Returns:
        The function; None if the environment has one course only, or does not boot.
    """
    env = MKDSEnv(**env_kwargs)
    config = env.starts.config
    env.close()
    if not config.boots or not config.draws_courses:
        return None

    def course(seed: int) -> Course:
        generator, _ = gym.utils.seeding.np_random(seed)
        number = config.draw_course_seed(generator)
        if number is not None:
            return {"course": "random", "course_seed": number, "course_set": None}
        return {"course": config.draw_course(generator), "course_set": None}

    return course
