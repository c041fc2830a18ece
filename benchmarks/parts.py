"""What a step of the environment costs beside the emulation, part by part, and a reset.

The states are those of a real lap; each part is called on all of them in order, as a step calls
it, and the whole lap is timed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import gymnasium as gym

from benchmarks.race import LAPS
from mkds_gym.course import Course
from mkds_gym.env import MKDSEnv
from mkds_gym.metrics import DEFAULT_METRICS, collect_all, make_metrics, reset_all
from mkds_gym.rewards import make_reward
from mkds_gym.sensors import SENSORS
from mkds_gym.state import RaceState

PASSES: Final = 5
"""Laps timed of each part; the median counts."""


def microseconds_per_step(states: list[list[RaceState]], course: Course) -> dict[str, float]:
    """Time the environment's own parts on recorded states.

    Args:
        states: of each step's frames; the first step is the race start alone.
        course: that is driven.

    Returns:
        Microseconds per step of the default environment's parts: ``state`` (reading memory),
        ``metrics`` (every frame, and collecting), ``events`` (every frame), ``reward``,
        ``observation`` (the sensor with what goes round it), ``info``; and of each sensor, as
        ``sensor NAME``.
    """
    env: Any = gym.make("MKDS-v0", laps=LAPS)
    env.reset()
    base: MKDSEnv = env.unwrapped
    steps = len(states) - 1
    start, driven = states[0][0], states[1:]
    # Everything is measured with the environment's own objects, so that they are what it uses.
    metrics, events, observer = base._metrics, base._events, base._observer
    console, reader = base.console, base._reader
    assert reader is not None

    collected: list[dict[str, float]] = []

    def state() -> None:
        for frames in driven:
            for _ in frames:
                reader.read()

    def measure() -> None:
        collected.clear()
        reset_all(metrics)
        for metric in metrics:
            metric.update(start, course)
        for frames in driven:
            for frame in frames:
                for metric in metrics:
                    metric.update(frame, course)
            collected.append(collect_all(metrics))

    def happen() -> None:
        for event in events:
            event.reset()
        for frames in driven:
            for frame in frames:
                for event in events:
                    event.update(frame, course)

    reward = make_reward("driving")

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

    def reader_of(name: str) -> Callable[[], None]:
        sensor = SENSORS.make(name)

        def read() -> None:
            for frames in driven:
                sensor.read(frames[-1], course)

        return read

    parts: dict[str, Callable[[], None]] = {
        "state": state,
        "metrics": measure,
        "events": happen,
        "reward": pay,
        "observation": observe,
        "info": inform,
    }
    parts |= {f"sensor {name}": reader_of(name) for name in SENSORS}
    try:
        return {name: _median(part) / steps * 1e6 for name, part in parts.items()}
    finally:
        env.close()


def microseconds_per_metric(states: list[list[RaceState]], course: Course) -> dict[str, float]:
    """Microseconds per step (all its frames, and collecting) of each metric by itself."""
    steps = len(states) - 1
    result: dict[str, float] = {}
    for name in DEFAULT_METRICS:
        metric = make_metrics(["distance", name] if name == "speed" else name)[-1]

        def lap(metric: Any = metric) -> None:
            metric.reset()
            for frames in states:
                for frame in frames:
                    metric.update(frame, course)
                metric.collect()

        result[name] = _median(lap) / steps * 1e6
    return result


def reset_milliseconds(resets: int) -> dict[str, float]:
    """Time `reset`.

    Args:
        resets: how many to time.

    Returns:
        ``first``: the one that starts the emulator and boots the cartridge; ``median``,
        ``fastest`` and ``slowest`` of the others, each after some driving.
    """
    env = gym.make("MKDS-v0", laps=LAPS)
    try:
        begin = time.perf_counter()
        env.reset()
        first = time.perf_counter() - begin
        times: list[float] = []
        for _ in range(resets):
            for _ in range(15):
                env.step(0)
            begin = time.perf_counter()
            env.reset()
            times.append(time.perf_counter() - begin)
    finally:
        env.close()
    return {
        "first": first * 1e3,
        "median": statistics.median(times) * 1e3,
        "fastest": min(times) * 1e3,
        "slowest": max(times) * 1e3,
    }


def _median(part: Callable[[], None]) -> float:
    """Median seconds of a few calls, after one that warms up."""
    part()
    times: list[float] = []
    for _ in range(PASSES):
        begin = time.perf_counter()
        part()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
