"""What being watched costs: ``python -m benchmarks.viewer``; needs a display, such as Xvfb.

Prints the rows of docs/viewer.md. Whether two workers are watched or not alternates within one
run, so that both meet the same machine.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
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


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used, all of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def throughput() -> tuple[float, float, float]:
    """What two worker processes make without and with a window on both.

    Returns:
        Frames per second of their processor time, which other work on the machine changes little,
        and the share of a processor that the window takes.
    """
    envs: Any = gym.make_vec("MKDS-v0", num_envs=WORKERS, vectorization_mode="async")
    rates: tuple[list[float], list[float]] = ([], [])
    shares = []
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
                pids = [process.pid for process in envs.processes]
                used = sum(map(processor_seconds, pids))
                window_used = processor_seconds(window.pid)
                frames, start = 0, time.perf_counter()
                while time.perf_counter() - start < SECONDS:
                    envs.step(actions)
                    frames += 4 * WORKERS
                rates[watched].append(frames / (sum(map(processor_seconds, pids)) - used))
                if watched:
                    window_used = processor_seconds(window.pid) - window_used
                    shares.append(window_used / (time.perf_counter() - start))
        os.kill(window.pid, signal.SIGCONT)
    envs.close()
    return float(np.median(rates[0])), float(np.median(rates[1])), float(np.median(shares))


def main() -> None:
    """The command line; see the module."""
    costs = microseconds()
    alone, watched, share = throughput()
    rows = [
        ("publish a picture", f"{costs['publish']:.0f} µs"),
        ("publish a picture and its scene (an overlay is on)", f"{costs['publish_scene']:.0f} µs"),
        ("a step while no window looks", f"{costs['unwatched']:.1f} µs"),
        ("frames in a second of a worker's processor time, no window", f"{alone:,.0f}"),
        (f"the same, with a window on all {WORKERS} workers", f"{watched:,.0f}"),
        ("the window itself, of one processor core", f"{share:.0%}"),
    ]
    for line in table(("", "median"), rows):
        print(line)
    print(
        f"\nMeasured {time.strftime('%Y-%m-%d')} on {os.cpu_count()} cores (load average "
        f"{os.getloadavg()[0]:.1f})."
    )


if __name__ == "__main__":
    main()
