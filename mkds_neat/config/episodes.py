"""The episodes that ``[evaluation]`` describes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from mkds_gym.env import MKDSEnv
from mkds_gym.utils.arguments import shown
from mkds_neat.config.environment import inspect_environment, is_mkds
from mkds_neat.config.settings import EvaluationSettings
from mkds_neat.errors import ConfigError
from mkds_neat.plan import Course, Plan, draws_of

_MOST_COURSES: Final = 1000
"""Most courses, as many as there can be episodes."""


def make_plan(evaluation: EvaluationSettings, env_id: str, env_kwargs: Mapping[str, Any]) -> Plan:
    """Return the episodes of an individual.

    Args:
        evaluation: The section.
        env_id: The environment.
        env_kwargs: Its arguments, with which it can be made.

    Raises:
        ConfigError: A course or start is unknown, the environment has none, or two episodes of an
            individual would be the same.
    """
    courses = given_courses(evaluation.courses)
    starts = tuple(map(_start, evaluation.starts))
    plan = Plan(
        episodes=evaluation.episodes,
        seeds=evaluation.seeds,
        combine=evaluation.combine,
        courses=courses,
        starts=starts,
        rung_frames=evaluation.rung_frames,
        rung_episodes=evaluation.rung_episodes,
        keep=evaluation.keep,
    )
    if not is_mkds(env_id):
        for name in ("courses", "starts", "rung_frames"):
            if getattr(plan, name):
                raise ConfigError(f"[evaluation] {name} needs MKDS-v0, not {env_id}")
        return plan
    for name, items in (("courses", courses), ("starts", starts)):
        if len(items) > plan.episodes:
            raise ConfigError(
                f"[evaluation] {name} has {len(items)} items, but each individual drives "
                f"{plan.episodes}: write episodes = {len(items)}"
            )
    for course in courses:
        try:
            inspect_environment(env_id, {**env_kwargs, **course})
        except ConfigError as error:
            problem = str(error).removeprefix("[environment] ")
            raise ConfigError(f"[evaluation] courses: {problem}") from error
    if not courses:
        plan = replace(plan, drawn=draws_of(env_kwargs))
    plan = replace(plan, chance=_has_chance({**env_kwargs, **plan.first_course}))
    if not plan.chance:
        _check_repeats(plan, evaluation)
    return plan


def _has_chance(env_kwargs: Mapping[str, Any]) -> bool:
    env = MKDSEnv(**env_kwargs)
    config = env.starts.config
    env.close()
    return config.has_race_seed or config.draws_courses


def _check_repeats(plan: Plan, evaluation: EvaluationSettings) -> None:
    """Refuse to drive the same episode twice."""
    different = math.lcm(len(plan.courses) or 1, len(plan.starts) or 1)
    if plan.episodes > different:
        raise ConfigError(
            f"[evaluation] episodes = {plan.episodes} would repeat the same episode, as nothing in "
            f"the race is drawn: write at most {different}, or several courses or starts"
        )
    if evaluation.reevaluate != "never":
        raise ConfigError(
            f"[evaluation] reevaluate = {evaluation.reevaluate} would repeat the same episodes, as "
            "nothing in the race is drawn: write never"
        )


def given_courses(words: Iterable[str]) -> tuple[Course, ...]:
    """Return the courses of ``[evaluation] courses``.

    Args:
        words: Its items.

    Raises:
        ConfigError: There are too many courses.
    """
    courses: list[Course] = []
    for word in words:
        courses += _courses(word)
        if len(courses) > _MOST_COURSES:
            raise ConfigError(
                f"[evaluation] courses has more than {_MOST_COURSES} courses: write fewer"
            )
    return tuple(courses)


def _courses(word: str) -> list[Course]:
    """Return the courses of a name, of a seed, or of the seeds of ``a:b``, without b."""
    if not re.fullmatch(r"\d{1,10}(:\d{1,10})?", word):
        return [{"course": word, "course_seed": None, "course_set": None}]
    first, _, end = word.partition(":")
    seeds = range(int(first), int(end) if end else int(first) + 1)
    if not 0 < len(seeds) <= _MOST_COURSES:
        raise ConfigError(
            f"[evaluation] courses: {shown(word)} are {len(seeds)} courses: expected from 1 to "
            f"{_MOST_COURSES}"
        )
    return [{"course": "random", "course_seed": seed, "course_set": None} for seed in seeds]


def _start(word: str) -> float | None:
    if word.lower() == "grid":
        return None
    try:
        laps = float(word)
    except ValueError:
        laps = math.nan
    if not 0.0 <= laps < 9.0:
        raise ConfigError(
            f"[evaluation] starts: {shown(word)} is not a start: expected grid, or laps such as "
            "0.25"
        )
    return laps
