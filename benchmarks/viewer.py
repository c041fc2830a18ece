"""What being watched costs: ``python -m benchmarks.viewer``; needs a display, such as Xvfb.

Prints the rows of docs/viewer.md. Whether two workers are watched or not alternates within one
run, so that both meet the same machine.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any, Final

import gymnasium as gym
import numpy as np

import mkds_gym  # noqa: F401  registers MKDS-v0
from benchmarks.report import table
from mkds_gym.viewer import Bus, RacePublisher, Viewer
from mkds_gym.viewer.bus import WATCHED_FOR, Run

SHOTS: Final = 300
WORKERS: Final = 2
ROUNDS: Final = 4
SECONDS: Final = 3.0


def microseconds() -> dict[str, float]:
    """Medians, of processor time: publishing after a step, with a scene, and an unwatched step."""
    env: Any = gym.make("MKDS-v0", truncate_on=()).unwrapped
    found = {}
    with Bus(1) as bus:
        publisher = RacePublisher(bus.folder, 0)
        env.spectator = publisher
        for name, scene in (("publish", False), ("publish_scene", True)):
            if scene:
                env.record_scenes()
            env.reset(seed=0)
            seconds = []
            for _ in range(SHOTS):
                env.step(0)
                start = time.thread_time()
                publisher.show(env, scene=scene)
                seconds.append(time.thread_time() - start)
            found[name] = float(np.median(seconds)) * 1e6
        seconds = []
        for _ in range(SHOTS):
            start = time.thread_time()
            publisher.stepped(env, 0.0, False)
            seconds.append(time.thread_time() - start)
        found["unwatched"] = float(np.median(seconds)) * 1e6
    env.close()
    return found


def throughput() -> tuple[float, float]:
    """Frames per second of two worker processes without and with a window on both."""
    envs: Any = gym.make_vec("MKDS-v0", num_envs=WORKERS, vectorization_mode="async")
    rates: tuple[list[float], list[float]] = ([], [])
    actions = np.zeros(WORKERS, np.int64)
    with Viewer(envs, title="benchmark") as viewer:
        window, folder = viewer.window, viewer.folder
        assert window is not None
        assert folder is not None
        tile = Run(folder).tiles[0]
        envs.reset(seed=0)
        while tile.shot() is None:
            envs.step(actions)
            if not window.running:
                raise SystemExit("the window did not open; run this under a display, as of Xvfb")
        assert window.pid is not None
        for _ in range(ROUNDS):
            for watched in (False, True):
                # A window that is stopped counts as gone, after a while.
                os.kill(window.pid, signal.SIGCONT if watched else signal.SIGSTOP)
                time.sleep(WATCHED_FOR + 0.2)
                steps, start = 0, time.perf_counter()
                while time.perf_counter() - start < SECONDS:
                    envs.step(actions)
                    steps += 4 * WORKERS
                rates[watched].append(steps / (time.perf_counter() - start))
        os.kill(window.pid, signal.SIGCONT)
    envs.close()
    return float(np.median(rates[0])), float(np.median(rates[1]))


def main() -> None:
    """The command line; see the module."""
    costs = microseconds()
    alone, watched = throughput()
    rows = [
        ("publish a picture", f"{costs['publish']:.0f} µs"),
        ("publish a picture and its scene (an overlay is on)", f"{costs['publish_scene']:.0f} µs"),
        ("a step while no window looks", f"{costs['unwatched']:.1f} µs"),
        (f"{WORKERS} worker processes, no window", f"{alone:,.0f} frames/s"),
        (f"{WORKERS} worker processes, a window on all of them", f"{watched:,.0f} frames/s"),
    ]
    for line in table(("", "median"), rows):
        print(line)
    print(
        f"\nMeasured {time.strftime('%Y-%m-%d')} on {os.cpu_count()} cores (load average "
        f"{os.getloadavg()[0]:.1f})."
    )


if __name__ == "__main__":
    main()
