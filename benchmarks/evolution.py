"""How fast `mkds_neat` evaluates drivers, and how long its workers wait.

The first generation of ``benchmarks/evolution.ini`` is evaluated in different ways, in turns. Each
way has its own process. Drivers differ in how long their episodes are, as in a real run.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.remote import remotes
from benchmarks.report import cells, log, memory_mib, spread, table

CONFIG: Final = Path(__file__).with_name("evolution.ini")
GENERATION: Final = 50
"""Drivers of a generation of the config."""
WAYS: Final[dict[str, dict[str, str]]] = {
    **{
        f"{kind}, {workers} worker{'s'[: workers - 1]}, {drivers} a console": {
            "vectorization": kind,
            "workers": str(workers),
            "drivers_per_console": str(drivers),
        }
        for drivers in (1, 8)
        for kind in ("async", "native")
        for workers in (1, 2)
    },
    "as in the config, all shown": {"viewer": "all"},
}
"""Overrides of the section ``[run]`` by title. The last way needs a display, as from Xvfb."""


class Evaluation:
    """Evaluates drivers in one way, in a separate process.

    Args:
        title: a key of `WAYS`.
    """

    def __init__(self, title: str) -> None:
        from mkds_neat.config import load_config
        from mkds_neat.evaluation import Evaluator
        from mkds_neat.viewer import RunViewer

        config = load_config(CONFIG, WAYS[title])
        self._drivers = config.make_strategy().ask()
        self._workers = config.run.workers
        with contextlib.ExitStack() as stack:
            viewer = None
            if config.shown:
                viewer = RunViewer(config, "benchmark")
                stack.callback(viewer.close)
            self._evaluator: Any = stack.enter_context(
                Evaluator(
                    config.env_id,
                    config.env_kwargs,
                    workers=config.run.workers,
                    lanes=config.lanes,
                    seed=config.run.seed,
                    scorer=config.scorer,
                    start_method=config.run.start_method,
                    vectorization=config.run.vectorization,
                    viewer=viewer,
                )
            )
            # The consoles boot now.
            self._evaluator.evaluate(self._drivers[: self._workers * config.lanes])
            self._stack = stack.pop_all()

    def evaluate(self, count: int) -> dict[str, float]:
        """Evaluate the first drivers.

        Returns:
            ``frames_per_second`` of all drivers; ``memory_mib`` of this process and the workers,
            per driver at a time; ``seconds``; ``idle``, the share of time in which a worker
            computes nothing; and ``parent``, the share in which the parent process computes (0 for
            native workers, which are threads of the parent).
        """
        evaluator = self._evaluator
        workers = [psutil.Process(process.pid) for process in evaluator.processes]
        frames, busy, own = evaluator.frames, _cpu_seconds(workers), time.process_time()
        begin = time.perf_counter()
        evaluator.evaluate(self._drivers[:count])
        seconds = time.perf_counter() - begin
        own = time.process_time() - own
        busy = _cpu_seconds(workers) - busy if workers else own
        return {
            "frames_per_second": (evaluator.frames - frames) / seconds,
            "seconds": seconds,
            "memory_mib": memory_mib([os.getpid(), *(worker.pid for worker in workers)])
            / (evaluator.workers * evaluator.lanes),
            "idle": max(0.0, 1.0 - busy / seconds / self._workers),
            "parent": own / seconds if workers else 0.0,
        }

    def close(self) -> None:
        """End the workers."""
        self._stack.close()


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return float(sum(each.user + each.system for each in times))


def measure(rounds: int) -> dict[str, Any]:
    """Evaluate drivers in all ways, in turns.

    Args:
        rounds: turns, at most 3, of up to a whole generation.

    Returns:
        By title, what `Evaluation.evaluate` returns, each as a `spread`.
    """
    turns, drivers = min(3, rounds), GENERATION if rounds > 1 else 3
    titles = [title for title, run in WAYS.items() if "viewer" not in run]
    if os.environ.get("DISPLAY"):
        titles = list(WAYS)
    else:
        log("  no display: the evolution that is shown is left out")
    with remotes(Evaluation, {title: (title,) for title in titles}, {}) as evaluations:
        samples: dict[str, list[dict[str, float]]] = {title: [] for title in evaluations}
        for _ in range(turns):
            for title, remote in evaluations.items():
                samples[title].append(remote.call("evaluate", drivers))
    return {
        title: {name: spread([each[name] for each in found]) for name in found[0]}
        for title, found in samples.items()
    }


def report(result: dict[str, Any]) -> str:
    """Return the result of `measure` as a Markdown table."""
    head = (
        "evaluation of a generation",
        "driver frames/s",
        "quartiles",
        "seconds",
        "workers idle",
        "parent busy",
        "MiB a driver",
    )
    return table(
        head,
        [
            (
                title,
                *cells(row["frames_per_second"], ",.0f"),
                f"{row['seconds']['median']:.1f}",
                f"{row['idle']['median']:.0%}",
                f"{row['parent']['median']:.0%}" if row["parent"]["median"] else "",
                f"{row['memory_mib']['median']:,.0f}",
            )
            for title, row in result.items()
        ],
    )
