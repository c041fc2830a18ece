"""What a Ray cluster costs for each driver, and how far it scales.

``python -m benchmarks.cluster overhead`` measures `mkds_neat.cluster` on this machine, against
workers of this machine. ``python -m benchmarks.cluster scaling RUN ...`` simulates more workers
than this machine has, with the episodes of a run.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import heapq
import itertools
import math
import random
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.instant import INSTANT
from benchmarks.report import add_json, cells, describe, log, machine, spread, table, write_json
from mkds_gym.utils.command_line import ArgumentParser

CONFIG: Final = Path(__file__).with_name("evolution.ini")
WORKERS: Final = 2
INSTANTS: Final = 1000
"""Drivers whose episodes take no time."""
BATCHES: Final = (0.0, 0.5)
"""Values of ``[ray] batch_seconds``."""
SCALES: Final = (1, 2, 4, 8, 16, 32, 64, 125, 250, 500, 1000)
POPULATIONS: Final = (50, 1000, 10_000)


# Overhead ------------------------------------------------------------------------------------


def _individuals(count: int) -> list[Any]:
    from mkds_neat.individual import Individual
    from mkds_neat.networks import NetworkSpec, Node

    network = NetworkSpec(tuple(range(-1, -7, -1)), (0, 1), (Node(0), Node(1)), ((-1, 0, 1.0),))
    return [Individual(key, network, {}) for key in range(1, count + 1)]


class _Answers:
    """A pool that has driven all that it gets, to measure the evaluator alone."""

    processes: Final[list[Any]] = []
    needs_all: Final = True
    look_ahead: Final = 1

    def __init__(self, factory: Any, count: int) -> None:  # noqa: ARG002
        from mkds_neat.episode import Started

        self._messages: list[Any] = [(worker, Started(1)) for worker in range(count)]

    def restart(self, worker: int) -> None: ...

    def send(self, worker: int, tasks: Sequence[Any]) -> None:
        from mkds_neat.episode import EpisodeRecord, Finished

        record = EpisodeRecord(steps=1, frames=1, seconds=0.1)
        self._messages += [
            (worker, Finished(task.id, record, None, episode=task.episode)) for task in tasks
        ]

    def receive(self, timeout: float) -> Any:  # noqa: ARG002
        messages, self._messages = self._messages[:8], self._messages[8:]
        return messages

    def shut_down(self) -> None: ...


def _evaluate(evaluator: Any, drivers: Sequence[Any]) -> dict[str, float]:
    wall, own = time.perf_counter(), time.process_time()
    evaluator.evaluate(drivers)
    wall, own = time.perf_counter() - wall, time.process_time() - own
    return {"seconds": wall, "own": own}


@contextlib.contextmanager
def _evaluators(arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield an evaluator for each engine."""
    from mkds_neat.cluster import RayPool
    from mkds_neat.config.settings import RaySettings
    from mkds_neat.evaluation import Evaluator

    with contextlib.ExitStack() as stack:
        found: dict[str, Any] = {"local": stack.enter_context(Evaluator(**arguments))}
        found["local"].start()
        for seconds in BATCHES:
            settings = RaySettings(address="local", batch_seconds=seconds, cpus_per_actor=0.1)
            pool = functools.partial(RayPool, settings=settings)
            evaluator = Evaluator(**arguments, make_pool=pool)
            found[f"ray, batches of {seconds:g} s"] = stack.enter_context(evaluator)
            evaluator.start()
        yield found


def overhead(rounds: int) -> dict[str, Any]:
    """Measure engines against one another, in turns.

    Returns:
        ``instant``: milliseconds for each driver whose episode takes no time, and of these the
        CPU time of the first process (``own``), by engine. ``real``: seconds for the first
        generation of the config, and ``ratio`` to local workers in the same turn. ``dealing``:
        microseconds of CPU that the evaluator alone takes for each driver, by number of workers.
    """
    from mkds_neat.config import load_config
    from mkds_neat.evaluation import Evaluator

    result: dict[str, Any] = {"machine": machine(), "instant": {}, "real": {}, "dealing": {}}
    drivers = _individuals(INSTANTS)
    with _evaluators({"env_id": INSTANT, "workers": WORKERS, "seed": 1}) as evaluators:
        samples: dict[str, list[dict[str, float]]] = {name: [] for name in evaluators}
        for _ in range(rounds):
            for name, evaluator in evaluators.items():
                samples[name].append(_evaluate(evaluator, drivers))
    for name, found in samples.items():
        log(f"  instant, {name}")
        result["instant"][name] = {
            key: spread([1000 * each[key] / INSTANTS for each in found]) for key in found[0]
        }
    config = load_config(CONFIG, {"workers": str(WORKERS)})
    arguments = {
        "env_id": config.env_id,
        "env_kwargs": config.env_kwargs,
        "workers": WORKERS,
        "lanes": config.lanes,
        "seed": config.run.seed,
        "scorer": config.scorer,
    }
    generation = config.make_strategy().ask()
    with _evaluators(arguments) as evaluators:
        for evaluator in evaluators.values():  # the consoles boot
            evaluator.evaluate(generation[: WORKERS * config.lanes])
        samples = {name: [] for name in evaluators}
        for _ in range(rounds):
            for name, evaluator in evaluators.items():
                samples[name].append(_evaluate(evaluator, generation))
    for name, found in samples.items():
        log(f"  real, {name}")
        ratios = [
            each["seconds"] / base["seconds"]
            for each, base in zip(found, samples["local"], strict=True)
        ]
        result["real"][name] = {
            "seconds": spread([each["seconds"] for each in found]),
            "ratio": spread(ratios),
        }
    for workers in (2, 100, 1000):
        log(f"  dealing to {workers}")
        with Evaluator(INSTANT, workers=workers, seed=1, make_pool=_Answers) as evaluator:
            evaluator.start()
            values = [_evaluate(evaluator, drivers)["own"] for _ in range(rounds)]
        result["dealing"][str(workers)] = spread([1e6 * value / INSTANTS for value in values])
    return result


def report(result: dict[str, Any]) -> str:
    """Return the result of `overhead` as Markdown."""
    instant = [
        [name, *cells(found["seconds"], ".2f"), *cells(found["own"], ".2f")]
        for name, found in result["instant"].items()
    ]
    real = [
        [name, *cells(found["seconds"], ".2f"), *cells(found["ratio"], ".3f")]
        for name, found in result["real"].items()
    ]
    dealing = [
        [f"{name} workers", *cells(found, ".0f")] for name, found in result["dealing"].items()
    ]
    quartiles = "quartiles"
    return "\n\n".join(
        [
            describe(result["machine"]),
            f"Episodes that take no time, {WORKERS} workers:",
            table(
                [
                    "engine",
                    "ms a driver",
                    quartiles,
                    "of these CPU of the first process",
                    quartiles,
                ],
                instant,
            ),
            f"The first generation of {CONFIG.name}, {WORKERS} workers:",
            table(["engine", "seconds", quartiles, "ratio to local", quartiles], real),
            "The evaluator alone:",
            table(["", "us of CPU a driver", quartiles], dealing),
        ]
    )


# Scaling -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Costs:
    """Seconds that things take.

    Attributes:
        driver: In the first process, for each driver.
        worker: In the first process, for each driver, times the number of workers.
        call: In the first process, for each message to or from a worker.
        latency: Of a message on its way.
        batch: ``[ray] batch_seconds``.
        strategy: Between generations, for each individual.
    """

    driver: float
    worker: float
    call: float
    latency: float
    batch: float
    strategy: float


def generation(lengths: Sequence[float], workers: int, costs: Costs) -> float:
    """Simulate a generation, event by event.

    The first process is a server with one queue. It deals out drivers as `Evaluator` does, and the
    workers report as `EpisodeActor` does. The generation ends with the last report.

    Args:
        lengths: Seconds of each episode, in the order of dealing.
        workers: Number of workers, each of which drives one episode at a time.
        costs: What else takes time.

    Returns:
        Seconds.
    """
    waiting = deque(lengths)
    mean = statistics.fmean(lengths)
    look_ahead = max(1, math.ceil(costs.batch / mean)) if costs.batch else 1
    each = costs.driver + costs.worker * workers
    count = itertools.count()
    events: list[tuple[float, int, str, int, Any]] = []
    queues: list[deque[float]] = [deque() for _ in range(workers)]
    held = [0] * workers  # drivers that the first process knows a worker to have
    busy = [False] * workers
    reports: list[list[float]] = [[] for _ in range(workers)]  # ends of episodes
    free, last = 0.0, 0.0

    def post(at: float, kind: str, worker: int, what: Any = None) -> None:
        heapq.heappush(events, (at, next(count), kind, worker, what))

    def deal(worker: int) -> None:
        nonlocal free
        ahead = min(look_ahead, (len(waiting) - 1) // (2 * workers)) if waiting else 0
        batch = []
        while waiting and held[worker] < 1 + ahead:
            batch.append(waiting.popleft())
            held[worker] += 1
        if batch:
            free += costs.call + each * len(batch) / 2
            post(free + costs.latency, "tasks", worker, batch)

    def begin(worker: int, now: float) -> None:
        busy[worker] = bool(queues[worker])
        if busy[worker]:
            post(now + queues[worker].popleft(), "end", worker)

    for worker in range(workers):
        deal(worker)
    while events:
        now, _, kind, worker, what = heapq.heappop(events)
        if kind == "tasks":
            queues[worker].extend(what)
            if not busy[worker]:
                begin(worker, now)
        elif kind == "end":
            reports[worker].append(now)
            begin(worker, now)
            if not queues[worker] or now - reports[worker][0] >= costs.batch:
                post(now + costs.latency, "report", worker, len(reports[worker]))
                reports[worker] = []
        else:
            free = max(now, free) + costs.call + each * what / 2
            held[worker] -= what
            last = free
            deal(worker)
    return last + costs.strategy * len(lengths)


def measured_lengths(runs: Sequence[Path], speed: float | None) -> tuple[list[float], float]:
    """Read the episodes of runs.

    Args:
        runs: Folders of runs.
        speed: Frames a second of a worker; None reads it from the runs.

    Returns:
        Seconds of each episode in a worker that drives nothing else, and frames a second of such a
        worker: from ``busy`` in ``generations.csv``.
    """
    frames: list[int] = []
    total = busy = 0.0
    for run in runs:
        with (run / "individuals.csv").open(newline="") as file:
            frames += [
                int(row["frames"]) for row in csv.DictReader(file) if row["evaluated"] == "1"
            ]
        workers = _workers_of(run)
        with (run / "generations.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                total += float(row["frames"])
                busy += float(row["seconds"]) * float(row["busy"]) * workers
    speed = speed or total / busy
    return [each / speed for each in frames], speed


def _workers_of(run: Path) -> int:
    from mkds_neat.config import load_config

    return load_config(run / "config.ini").run.workers


def scaling(lengths: Sequence[float], costs: Costs, seed: int) -> dict[str, Any]:
    """Simulate generations of several sizes with several numbers of workers.

    Returns:
        By population and workers, a spread of the ``speedup`` against the sum of all episodes.
    """
    generator = random.Random(seed)
    result: dict[str, Any] = {}
    for population in POPULATIONS:
        found = {}
        repeats = 20 if population <= 1000 else 5
        for workers in SCALES:
            values = []
            for _ in range(repeats):
                drawn = generator.choices(lengths, k=population)
                values.append(sum(drawn) / generation(drawn, workers, costs))
            found[str(workers)] = spread(values)
        log(f"  population {population}")
        result[str(population)] = found
    return result


def scaling_report(result: dict[str, Any]) -> str:
    """Return the result of `scaling` as a Markdown table."""
    head = ["workers", *(f"{int(p):,} a generation" for p in result)]
    rows = []
    for workers in SCALES:
        cell = [result[p][str(workers)]["median"] for p in result]
        rows.append([f"{workers:,}", *(f"{v:.1f} ({100 * v / workers:.0f} %)" for v in cell)])
    return table(head, rows)


def plot(result: dict[str, Any], file: Path) -> None:
    """Draw the result of `scaling`."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    axes.plot(SCALES, SCALES, color="0.7", linestyle="--", label="without any loss")
    for population, found in result.items():
        values = [found[str(workers)] for workers in SCALES]
        (line,) = axes.plot(
            SCALES,
            [v["median"] for v in values],
            marker="o",
            label=f"{int(population):,} a generation",
        )
        axes.fill_between(
            SCALES,
            [v["low"] for v in values],
            [v["high"] for v in values],
            color=line.get_color(),
            alpha=0.2,
        )
    axes.set(xscale="log", yscale="log", xlabel="workers", ylabel="times as fast as one worker")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120)
    plt.close(figure)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("overhead", help="measure on this machine")
    first.add_argument("--rounds", type=int, default=7, help="turns of each engine")
    second = commands.add_parser("scaling", help="simulate more workers")
    second.add_argument("runs", nargs="+", type=Path, help="folders of runs")
    second.add_argument("--speed", type=float, help="frames a second of a worker")
    second.add_argument("--driver-us", type=float, default=60.0, help="CPU for each driver")
    second.add_argument("--worker-us", type=float, default=0.1, help="the same, for each worker")
    second.add_argument("--call-us", type=float, default=300.0, help="CPU for each message")
    second.add_argument(
        "--latency-ms",
        type=float,
        default=1.0,
        help="milliseconds of a message on its way (default: 1)",
    )
    second.add_argument("--batch", type=float, default=0.5, help="[ray] batch_seconds")
    second.add_argument(
        "--strategy-us",
        type=float,
        default=0.0,
        help="of the strategy for each individual (default: 0)",
    )
    second.add_argument("--seed", type=int, default=1, help="seed of all chance")
    second.add_argument("--plot", type=Path, help="PNG file to write")
    for command in (first, second):
        add_json(command)
    arguments = parser.parse_args(argv)
    show: Callable[[dict[str, Any]], str]
    if arguments.command == "overhead":
        result, show = overhead(arguments.rounds), report
    else:
        lengths, speed = measured_lengths(arguments.runs, arguments.speed)
        costs = Costs(
            arguments.driver_us * 1e-6,
            arguments.worker_us * 1e-6,
            arguments.call_us * 1e-6,
            arguments.latency_ms * 1e-3,
            arguments.batch,
            arguments.strategy_us * 1e-6,
        )
        quarters = statistics.quantiles(lengths, n=4)
        log(
            f"{len(lengths)} episodes, {speed:.0f} frames a second, quartiles "
            f"{', '.join(f'{q:.3f}' for q in quarters)} s, longest {max(lengths):.3f} s"
        )
        result, show = scaling(lengths, costs, arguments.seed), scaling_report
        if arguments.plot:
            plot(result, arguments.plot)
    print(show(result))
    write_json(arguments.json, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
