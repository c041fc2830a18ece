"""Evaluation of drivers by `mkds_neat`: frames per second, and how long the workers wait.

The first generation of ``examples/kartlab.ini`` is evaluated, in a process of its own for each way,
the ways in turns. Drivers differ in how long they last, as they do in a real run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.processes import Answer, Work, processes
from benchmarks.report import between, say, spread, table

CONFIG: Final = Path(__file__).parent.parent / "examples" / "kartlab.ini"


@dataclass(frozen=True)
class Way:
    """A way to evaluate.

    Attributes:
        title: in the table.
        workers: processes, or threads.
        run: of the config's ``[run]`` section, what it has beside the number of workers.
    """

    title: str
    workers: int
    run: dict[str, str] = field(default_factory=dict)

    @property
    def overrides(self) -> dict[str, str]:
        """All overrides."""
        return {"workers": str(self.workers), **self.run}


WAYS: Final = {
    "async_1": Way("vectorization = async, 1 worker", 1),
    "async_2": Way("vectorization = async, 2 workers", 2),
    "native_1": Way("vectorization = native, 1 worker", 1, {"vectorization": "native"}),
    "native_2": Way("vectorization = native, 2 workers", 2, {"vectorization": "native"}),
}
"""The ways by key."""


@contextlib.contextmanager
def answering(overrides: dict[str, str], overlays: str = "") -> Iterator[Answer]:
    """A way's process, for `benchmarks.processes`.

    A number of drivers is answered with what their evaluation took: frames, seconds, CPU seconds
    of the workers, CPU seconds of what they wait for. Native workers are threads of this process,
    whose CPU seconds are then all theirs. If the config shows anything, a window does, while they
    are evaluated.

    Args:
        overrides: of the config's ``[run]`` section.
        overlays: that the window draws, such as ``rays,hud``.
    """
    import torch

    from mkds_neat.config import load_config
    from mkds_neat.evaluation import Evaluator

    torch.set_num_threads(1)
    config = load_config(CONFIG, overrides)
    drivers = config.make_strategy().ask()
    with (
        _audience(config, overlays) as (audience, window),
        Evaluator(
            config.env_id,
            config.env_kwargs,
            workers=config.run.workers,
            seed=config.run.seed,
            scorer=config.scorer,
            start_method=config.run.start_method,
            vectorization=config.run.vectorization,
            audience=audience,
        ) as evaluator,
    ):

        def answer(wanted: int) -> tuple[int, float, float, float]:
            workers = [process.pid for process in evaluator.processes]
            with window():
                frames, busy = evaluator.frames, cpu_seconds(workers)
                own, begin = time.process_time(), time.perf_counter()
                evaluator.evaluate(drivers[:wanted])
                spent = time.perf_counter() - begin
                own = time.process_time() - own
                busy = cpu_seconds(workers) - busy
            frames = evaluator.frames - frames
            return (frames, spent, busy, own) if workers else (frames, spent, own, 0.0)

        evaluator.evaluate(drivers[: config.run.workers])  # consoles boot at the first reset
        yield answer


@contextlib.contextmanager
def _audience(config: Any, overlays: str) -> Iterator[tuple[Any, Any]]:
    """An evolution's audience, and what opens its window for a while; neither if none is shown."""
    from mkds_gym.viewer import WindowProcess
    from mkds_neat.audience import RunAudience

    if not config.shown:
        yield None, contextlib.nullcontext
        return
    audience = RunAudience(config, "benchmark", window=False)
    process = WindowProcess(audience.bus.folder, [f"--overlays={overlays}"] if overlays else [])

    @contextlib.contextmanager
    def window() -> Iterator[None]:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGCONT)
        while not audience.bus.watched:
            if not process.running:
                raise RuntimeError("the window did not open; run this under a display, as of Xvfb")
            time.sleep(0.05)
        yield
        os.kill(process.pid, signal.SIGSTOP)  # it takes nothing while others have their turn

    try:
        yield audience, window
    finally:
        if process.running and process.pid is not None:
            os.kill(process.pid, signal.SIGCONT)
        audience.close()
        process.close()


def cpu_seconds(numbers: Sequence[int | None]) -> float:
    """What processes have computed so far, all their threads together."""
    ticks = 0
    for number in numbers:
        text = Path(f"/proc/{number}/stat").read_text(encoding="ascii", errors="replace")
        fields = text.rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def evolution(rounds: int) -> dict[str, Any]:
    """Let the ways take turns.

    Args:
        rounds: of the benchmark; a few turns are taken, of 16 drivers, or fewer for a short run.

    Returns:
        By way: title, workers, frames per second (`spread`), and as `spread` too the shares of
        the time in which a worker computed nothing, and in which the parent (networks,
        bookkeeping) computed.

    Raises:
        RuntimeError: a way failed.
    """
    say("evaluating drivers ...")
    turns, drivers = max(1, min(3, rounds)), max(2, min(16, 3 * rounds))
    samples: dict[str, list[tuple[float, float, float]]] = {key: [] for key in WAYS}
    works = {key: Work(way.title, answering, (way.overrides,)) for key, way in WAYS.items()}
    with processes(works) as running:
        for _ in range(turns):
            for key, process in running.items():
                frames, seconds, busy, own = process.ask(drivers)
                idle = 1.0 - busy / seconds / WAYS[key].workers
                samples[key].append((frames / seconds, max(0.0, idle), own / seconds))
    return {
        "drivers": drivers,
        "rows": {
            key: {
                "title": WAYS[key].title,
                **{
                    name: spread(values)
                    for name, values in zip(
                        ("frames_per_second", "idle", "parent"),
                        zip(*samples[key], strict=True),
                        strict=True,
                    )
                },
            }
            for key in WAYS
        },
    }


def evolution_lines(data: dict[str, Any]) -> list[str]:
    """What `evolution` gives, as Markdown."""
    return table(
        ("evaluating drivers", "frames per second", "range", "workers idle", "parent busy"),
        [
            (
                row["title"],
                f"{row['frames_per_second']['median']:,.0f}",
                between(row["frames_per_second"], ",.0f"),
                f"{row['idle']['median']:.0%}",
                f"{row['parent']['median']:.0%}" if row["parent"]["median"] else "",
            )
            for row in data["rows"].values()
        ],
    )
