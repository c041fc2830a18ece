"""What being watched costs: ``python -m benchmarks.viewer``; needs a display, such as Xvfb.

Prints tables of docs/reference/benchmarks.md: single pictures, workers, and an evolution. What is
compared alternates within one run, so that all meet the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import numpy as np

import mkds_gym  # noqa: F401  registers MKDS-v0
from benchmarks.evolution import answering, cpu_seconds
from benchmarks.processes import Work, processes
from benchmarks.report import between, check_writable, machine, spread, table
from mkds_gym.viewer import Bus, RacePublisher, Viewer
from mkds_gym.viewer.bus import WATCHED_FOR, Run

SHOTS: Final = 300
WORKERS: Final = 2
ROUNDS: Final = 4
SECONDS: Final = 3.0
TABLES: Final = ("costs", "evolution")
SHOWS: Final = (
    ("`--show none`", "none", ""),
    ("`--show first`", "first", ""),
    ("`--show all`", "all", ""),
    ("`--show all`, overlays rays and hud on", "all", "rays,hud"),
)
"""Ways to show an evolution: title, `--show`, overlays."""


def microseconds(shots: int = SHOTS) -> dict[str, float]:
    """Medians, of processor time.

    Args:
        shots: pictures of each kind.

    Returns:
        Of publishing after a step (``publish``), with a scene (``publish_scene``), of a step that
        nobody watches (``unwatched``), and what a picture costs ``in_all``, with and without a
        scene: two steps of which one is drawn, noted and published, less two plain ones.
    """
    env: Any = gym.make("MKDS-v0", truncate_on=()).unwrapped
    found = {}
    with Bus(1) as bus:
        publisher = RacePublisher(bus.folder, 0)
        env.spectator = publisher
        for name, scene in (("", False), ("_scene", True)):
            env.reset(seed=0)
            publishing, in_all = [], []
            for _ in range(shots):
                seconds = []
                for seen in (False, True):
                    start = time.process_time()
                    env.draw(seen)
                    if seen and scene:
                        env.record_scenes()
                    env.step(0)
                    if seen:
                        begun = time.thread_time()
                        publisher.show(env, scene=scene)
                        publishing.append(time.thread_time() - begun)
                        env.draw(False)
                        env.forget_scenes()
                    env.step(0)
                    seconds.append(time.process_time() - start)
                in_all.append(seconds[True] - seconds[False])
            found[f"publish{name}"] = float(np.median(publishing)) * 1e6
            found[f"in_all{name}"] = float(np.median(in_all)) * 1e6
        unwatched = []
        for _ in range(shots):
            start = time.thread_time()
            publisher.stepped(env, 0.0, False)
            unwatched.append(time.thread_time() - start)
        found["unwatched"] = float(np.median(unwatched)) * 1e6
    env.close()
    return found


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
                used = cpu_seconds(pids)
                window_used = cpu_seconds([window.pid])
                frames, start = 0, time.perf_counter()
                while time.perf_counter() - start < SECONDS:
                    envs.step(actions)
                    frames += 4 * WORKERS
                rates[watched].append(frames / (cpu_seconds(pids) - used))
                if watched:
                    window_used = cpu_seconds([window.pid]) - window_used
                    shares.append(window_used / (time.perf_counter() - start))
        os.kill(window.pid, signal.SIGCONT)
    envs.close()
    return float(np.median(rates[0])), float(np.median(rates[1])), float(np.median(shares))


def evolution(turns: int, drivers: int) -> dict[str, list[tuple[float, float]]]:
    """Let ways to show an evolution take turns.

    Args:
        turns: of each.
        drivers: evaluated in a turn, the same ones in each.

    Returns:
        By way, of each turn: frames per second, and per second of the workers' processor time.
    """
    works = {
        title: Work(title, answering, ({"workers": str(WORKERS), "viewer": show}, overlays))
        for title, show, overlays in SHOWS
    }
    samples: dict[str, list[tuple[float, float]]] = {title: [] for title in works}
    with processes(works) as running:
        for _ in range(turns):
            for title, process in running.items():
                frames, seconds, busy, _ = process.ask(drivers)
                samples[title].append((frames / seconds, frames / busy))
    return samples


def main(argv: Sequence[str] | None = None) -> None:
    """The command line; see the module.

    Args:
        argv: arguments, by default the process's own.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.viewer", description="Measure what being watched costs."
    )
    parser.add_argument("table", nargs="*", help=f"{' or '.join(TABLES)}; by default both")
    parser.add_argument("--turns", type=int, default=5, help="of each way to show an evolution")
    parser.add_argument("--drivers", type=int, default=25, help="evaluated in each of its turns")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to a file")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.table) - set(TABLES):
        parser.error(f"no table {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    if arguments.turns < 1 or arguments.drivers < 1:
        parser.error("--turns and --drivers must be at least 1")
    check_writable(parser, "--json", arguments.json)
    result: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "viewer": {},
    }
    for name in arguments.table or TABLES:
        result["viewer"][name] = (
            costs() if name == "costs" else evolution(arguments.turns, arguments.drivers)
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for name in result["viewer"]:
        print(report(result, name), end="\n\n")


def costs() -> dict[str, float]:
    """What single pictures and steps cost, and workers that are watched."""
    found = microseconds()
    found["alone"], found["watched"], found["window"] = throughput()
    return found


def report(result: dict[str, Any], name: str) -> str:
    """A table, as Markdown.

    Args:
        result: what ``--json`` writes.
        name: of the table, one of `TABLES`.
    """
    lines = (_costs if name == "costs" else _evolution)(result["viewer"][name])
    about = result["machine"]
    lines += [
        "",
        f"Measured {result['date']} on {about['cores']} cores (load average before: "
        f"{about['load_average_before']:.1f}).",
    ]
    return "\n".join(lines)


def _costs(costs: dict[str, float]) -> list[str]:
    rows = [
        ("publish a picture", f"{costs['publish']:.0f} µs"),
        ("publish a picture and its scene (an overlay is on)", f"{costs['publish_scene']:.0f} µs"),
        ("a picture drawn and published, all in all", f"{costs['in_all'] / 1e3:.1f} ms"),
        ("the same, with its scene", f"{costs['in_all_scene'] / 1e3:.1f} ms"),
        ("a step while no window looks", f"{costs['unwatched']:.1f} µs"),
        ("frames in a second of a worker's processor time, no window", f"{costs['alone']:,.0f}"),
        (f"the same, with a window on all {WORKERS} workers", f"{costs['watched']:,.0f}"),
        ("the window itself, of one processor core", f"{costs['window']:.0%}"),
    ]
    return table(("", "median"), rows)


def _evolution(ways: dict[str, list[tuple[float, float]]]) -> list[str]:
    rows = []
    base = 0.0
    for title, samples in ways.items():
        rate, busy = (spread(values) for values in zip(*samples, strict=True))
        base = base or rate["median"]
        rows.append(
            (
                title,
                f"{rate['median']:,.0f}",
                between(rate, ",.0f"),
                f"{rate['median'] / base:.0%}",
                f"{busy['median']:,.0f}",
            )
        )
    head = f"evolution, {WORKERS} workers", "frames/s", "middle half", "of none", "per CPU second"
    return table(head, rows)


if __name__ == "__main__":
    main()
