"""Time single calls with pyperf: ``python -m benchmarks.calls``.

Resets, clones and restores of an environment; what a viewer adds to a step that nobody watches; and
each sensor and each metric on the states of a recorded lap. The latter run in a tight loop, so
their code and data stay in the processor's caches: compare these times with each other. Next to the
emulator, which fills the caches with its own data, the same code takes several times as long.

All options are pyperf's, for example ``-o FILE`` to save the results, ``--fast``, and
``python -m pyperf compare_to OLD NEW`` to compare two files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import pyperf

from benchmarks.lap import LAPS, record_lap
from mkds_gym.components.metrics import DEFAULT_METRICS, make_metrics
from mkds_gym.components.sensors import SENSORS
from mkds_gym.viewer import Viewer


def calls() -> dict[str, tuple[Callable[[], object], int]]:
    """Return the timed functions by title, each with the number of steps that it covers."""
    lap, states, course = record_lap()
    env: Any = gym.make("MKDS-v0", laps=LAPS)
    env.reset()
    core = env.unwrapped
    for action in lap.actions[:15]:
        env.step(action)
    clone = core.clone_state()
    found: dict[str, tuple[Callable[[], object], int]] = {
        "reset": (env.reset, 1),
        "clone_state": (core.clone_state, 1),
        "restore_state": (lambda: core.restore_state(clone), 1),
    }
    shown: Any = gym.make("MKDS-v0", laps=LAPS)
    shown.reset()
    Viewer(shown, window=False)
    publisher = shown.unwrapped.viewer
    found["shown step without a window"] = (
        lambda: publisher.step_ended(shown.unwrapped, 0.0, False),
        1,
    )
    for name in SENSORS:
        sensor = SENSORS.make(name)

        def read(sensor: Any = sensor) -> None:
            for frames in states:
                sensor.read(frames[-1], course)

        found[f"sensor {name}"] = read, len(states)
    for name in DEFAULT_METRICS:
        metric = make_metrics(["distance", name] if name == "speed" else name)[-1]

        def update(metric: Any = metric) -> None:
            metric.reset()
            for frames in states:
                for frame in frames:
                    metric.update(frame, course)
                metric.collect()

        found[f"metric {name}"] = update, len(states)
    return found


def main() -> None:
    """Run pyperf."""
    runner = pyperf.Runner(
        processes=3,
        values=5,
        program_args=("-m", "benchmarks.calls"),
    )
    for title, (function, steps) in calls().items():
        runner.bench_func(title, function, inner_loops=steps)


if __name__ == "__main__":
    main()
