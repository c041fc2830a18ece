"""What a step of the environment costs beside the emulation, part by part.

The states are those of a real lap; each part is called on all of them in order, as a step calls
it, and the whole lap is timed. The parts take turns, lap after lap. Nothing comes between two calls
of a part, so that its code and data stay in the processor's caches: these are warm costs, good to
compare the parts with each other. Beside the emulator, which fills the caches with its own, each of
them costs several times as much; what all of them cost there is in the table ``step``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import gymnasium as gym

from benchmarks.race import LAPS
from benchmarks.report import say, spread
from mkds_gym.components.episode_stats import EpisodeStats
from mkds_gym.components.metrics import DEFAULT_METRICS, make_metrics
from mkds_gym.components.rewards import make_reward
from mkds_gym.components.sensors import SENSORS
from mkds_gym.course import Course
from mkds_gym.env import MKDSEnv
from mkds_gym.race.state import RaceState

PARTS: Final = {
    "parts": (
        "part of a step, microseconds, warm",
        "What does each part of our own code cost by itself, in warm caches?",
    ),
    "sensors": (
        "sensor, microseconds a step, warm",
        "What does each sensor cost by itself, in warm caches?",
    ),
    "metrics": (
        "metric, microseconds a step, warm",
        "What does each metric cost by itself, in warm caches?",
    ),
}
"""Tables of parts: head of the first column, and question."""

Pass = Callable[[], None]
"""Goes over the whole lap."""


def parts_of_a_step(
    kind: str, states: Sequence[Sequence[RaceState]], course: Course, passes: int
) -> dict[str, dict[str, float]]:
    """Time parts on recorded states.

    Args:
        kind: ``"parts"``: those of a step of the default environment, reading memory (``state``),
            ``metrics`` (every frame, and collecting), ``events`` (every frame), ``reward``,
            ``observation`` (the sensor with what goes round it) and ``info``; ``"sensors"``: each
            by itself, once a step; ``"metrics"``: each by itself, every frame, and collecting.
        states: of each step's frames; the first step is the race start alone.
        course: that is driven.
        passes: over the lap, of each part.

    Returns:
        Microseconds per step; see `spread`.
    """
    say(f"timing {kind} ...")
    if kind == "sensors":
        return _turns({name: _sensor(name, states, course) for name in SENSORS}, states, passes)
    if kind == "metrics":
        parts = {name: _metric(name, states, course) for name in DEFAULT_METRICS}
        return _turns(parts, states, passes)
    env: Any = gym.make("MKDS-v0", laps=LAPS)
    try:
        env.reset()
        return _turns(_of_a_step(env.unwrapped, states, course), states, passes)
    finally:
        env.close()


def _turns(
    parts: dict[str, Pass], states: Sequence[object], passes: int
) -> dict[str, dict[str, float]]:
    steps = len(states) - 1
    samples: dict[str, list[float]] = {name: [] for name in parts}
    for part in parts.values():
        part()  # warms up
    for _ in range(passes):
        for name, part in parts.items():
            begin = time.perf_counter()
            part()
            samples[name].append((time.perf_counter() - begin) / steps * 1e6)
    return {name: spread(values) for name, values in samples.items()}


def _of_a_step(
    base: MKDSEnv, states: Sequence[Sequence[RaceState]], course: Course
) -> dict[str, Pass]:
    """With the environment's own objects, so that they are what it uses."""
    start, driven = states[0][0], states[1:]
    observer = base.observation_builder
    metrics = EpisodeStats(base.episode_stats.metrics, ())
    events = EpisodeStats((), base.episode_stats.events)
    console, reader = base.console, base._starts.reader
    assert reader is not None
    reward = make_reward("driving")
    collected: list[dict[str, float]] = []

    def state() -> None:
        for frames in driven:
            for _ in frames:
                reader.read()

    def measure() -> None:
        collected.clear()
        metrics.reset(start, course)
        for frames in driven:
            metrics.update(frames, course)
            collected.append(metrics.collect())

    def happen() -> None:
        events.reset(start, course)
        for frames in driven:
            events.update(frames, course)

    def pay() -> None:
        reward.reset(collected[0])
        for measures in collected:
            reward.step(measures)

    def observe() -> None:
        for frames in driven:
            observer.observe(console, frames[-1], course)

    def inform() -> None:
        for frames, measures in zip(driven, collected, strict=True):
            base._info(frames[-1], measures, ())

    return {
        "state": state,
        "metrics": measure,
        "events": happen,
        "reward": pay,
        "observation": observe,
        "info": inform,
    }


def _sensor(name: str, states: Sequence[Sequence[RaceState]], course: Course) -> Pass:
    sensor = SENSORS.make(name)

    def read() -> None:
        for frames in states:
            sensor.read(frames[-1], course)

    return read


def _metric(name: str, states: Sequence[Sequence[RaceState]], course: Course) -> Pass:
    metric = make_metrics(["distance", name] if name == "speed" else name)[-1]

    def lap() -> None:
        metric.reset()
        for frames in states:
            for frame in frames:
                metric.update(frame, course)
            metric.collect()

    return lap
