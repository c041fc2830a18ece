"""Compare strategies on equal budgets of frames: ``python -m mkds_neat.compare CONFIG ...``.

Ctrl-C stops the comparison cleanly. The same command continues it: complete runs are not repeated,
others are resumed. A second Ctrl-C stops at once.

Exit status: 0 done, 1 a run failed, 2 bad config or arguments, 129, 130 or 143 stopped by SIGHUP,
Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import math
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mkds_gym.utils.arguments import escaped, shown
from mkds_gym.utils.command_line import (
    ArgumentParser,
    path_or_name,
    print_error,
    print_line,
    run_command,
)

if TYPE_CHECKING:
    from mkds_neat.compare.plan import Plan
    from mkds_neat.compare.scheduler import Job, Scheduler
    from mkds_neat.compare.store import Store

_PROGRAM: Final = "python -m mkds_neat.compare"
_MAX_SEEDS: Final = 1000
_FILE_WIDTH: Final = 160


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog=_PROGRAM,
        description="Run several strategies, courses and seeds on equal budgets of driver frames, "
        "and write a table and curves. The same command continues a comparison that was stopped.",
    )
    parser.add_argument(
        "configs",
        type=path_or_name,
        nargs="+",
        metavar="CONFIG",
        help="config files, such as examples/*.ini",
    )
    parser.add_argument(
        "--strategies",
        type=_names,
        default=(),
        metavar="A,B",
        help="strategies to compare, each with every config; ppo is PPO of Stable-Baselines3 "
        "(default: each config's own)",
    )
    parser.add_argument(
        "--courses",
        type=_names,
        default=(),
        metavar="A,B",
        help="courses of the cartridge; random for another random course in every episode; "
        "random:SEED for one of them (default: each config's own)",
    )
    parser.add_argument(
        "--seeds", type=_seeds, default=(1,), metavar="1-5", help="seeds of the runs (default: 1)"
    )
    parser.add_argument(
        "--frames",
        type=_count,
        default=300_000,
        metavar="N",
        help="budget of each run in driver frames (default: 300000)",
    )
    parser.add_argument(
        "--unseen",
        type=int,
        default=0,
        metavar="N",
        help="random courses of the test set that each champion drives on at the end, up to 200 "
        "(default: 0)",
    )
    parser.add_argument(
        "--unseen-laps",
        type=int,
        default=0,
        metavar="N",
        help="laps of a race there (default: as many as in training)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/compare"),
        metavar="FOLDER",
        help="folder to write to, or of the comparison to continue (default: runs/compare)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=0,
        metavar="N",
        help="runs at a time, each with one worker; the results are the same (default: one for "
        "each core)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything, print the runs and stop"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=math.inf,
        metavar="N",
        help="stop runs after this time, and go on with the champions of the complete ones; the "
        "same command continues the others (default: no limit)",
    )
    parser.add_argument("--quiet", action="store_true", help="print the final table only")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


def _count(text: str) -> int:
    try:
        return int(float(text)) if re.fullmatch(r"\d+(\.\d+)?e\d+", text) else int(text)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not a number of frames: expected an integer, or 3e5"
        ) from None


def _seeds(text: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part.strip())
        if match is None:
            raise argparse.ArgumentTypeError(
                f"{shown(text)} are not seeds: expected a list such as 1-5 or 1,3,7-9"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise argparse.ArgumentTypeError(
                f"{part} is an empty range of seeds: expected the smaller seed first"
            )
        if len(found) + last - first >= _MAX_SEEDS:
            raise argparse.ArgumentTypeError(f"more than {_MAX_SEEDS} seeds")
        found += range(first, last + 1)
    return tuple(found)


class _Report:
    """What the command prints while jobs run."""

    def __init__(self, store: Store, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.store = store
        self.quiet = quiet
        self.failures: list[str] = []
        self.console = Console(highlight=False, soft_wrap=True)
        if not self.console.is_terminal:  # a file: a table needs its whole width
            self.console.width = _FILE_WIDTH
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %, {task.fields[speed]} frames/s, left:"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
            speed_estimate_period=600,
        )
        self._complete = {r.name for r in store.plan.runs if store.measures(r.name) is not None}
        self._at_start = self._frames([])
        self._started = time.monotonic()
        self._looked = 0.0
        self._task = self.bar.add_task("", total=self._total, completed=self._at_start, speed="0")

    @property
    def _total(self) -> int:
        return len(self.store.plan.runs) * self.store.plan.frames

    def _frames(self, running: Sequence[Job]) -> int:
        """Return the frames within budgets of all runs so far."""
        budget = self.store.plan.frames
        partly = sum(
            min(budget, self.store.frames(job.name)) for job in running if job.kind == "run"
        )
        return len(self._complete) * budget + partly

    def say(self, text: str) -> None:
        """Print a line."""
        if not self.quiet:
            self.console.print(escaped(text), markup=False)

    def poll(self, scheduler: Scheduler) -> None:
        """Update the bar, once a second."""
        now = time.monotonic()
        if self.bar.disable or now < self._looked + 1.0:
            return
        self._looked = now
        frames = self._frames(scheduler.running)
        runs = self.store.plan.runs
        self.bar.update(
            self._task,
            completed=frames,
            description=f"{len(self._complete)} of {len(runs)} runs",
            speed=f"{(frames - self._at_start) / (now - self._started):,.0f}",
        )

    def end(self, job: Job, error: str | None) -> None:
        """Report the end of a job."""
        self._looked = 0.0  # the next look updates the bar
        if error is not None:
            self.failures.append(escaped(f"{job.kind} {job.name} failed: {error}"))
            self.console.print(self.failures[-1], markup=False)
        elif job.kind == "run":
            self._complete.add(job.name)
            self.say(f"{self._position()} {job.name}: {self._result(job.name)}")
        elif job.kind == "unseen":
            self.say(f"champions have driven on the unseen course {job.name}")

    def _position(self) -> str:
        done, runs = len(self._complete), len(self.store.plan.runs)
        driven = self._frames([]) - self._at_start
        left = (self._total - self._frames([])) / max(1, driven)
        seconds = (time.monotonic() - self._started) * left
        return f"[{done}/{runs}, {_duration(seconds)} left]"

    def _result(self, name: str) -> str:
        from mkds_gym.display.video import race_clock

        found = self.store.measures(name)
        if found is None or found.best_fitness is None:
            return "no individual within the budget"
        if found.first_finish is None or found.best_time is None:
            return f"no driver finished, best fitness {found.best_fitness:.1f}"
        return (
            f"first finish after {found.first_finish:,} frames, best race "
            f"{race_clock(found.best_time)}"
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Args:
        argv: Arguments; None for those of the process.
    """
    arguments = _parser().parse_args(argv)
    from mkds_gym.errors import MKDSError

    try:
        return _compare(arguments)
    except MKDSError as error:
        print_error(f"{_PROGRAM}: error: {error}")
        return 2  # 1 stands for failed runs: all others are complete
    except KeyboardInterrupt:
        print_error(f"{_PROGRAM}: stopped; the same command continues")
        return 128 + signal.SIGINT


def _compare(arguments: argparse.Namespace) -> int:
    from mkds_neat.compare.plan import make_plan
    from mkds_neat.compare.requirements import check_packages
    from mkds_neat.compare.store import Store
    from mkds_neat.errors import ConfigError

    check_packages(arguments.strategies)
    if not 0 <= arguments.jobs <= 256:
        raise ConfigError(f"--jobs {arguments.jobs} is out of range: expected 0 to 256")
    if not arguments.minutes >= 0.0:
        raise ConfigError(f"--minutes {arguments.minutes} is out of range: expected at least 0")
    plan = make_plan(
        arguments.configs,
        arguments.strategies,
        arguments.courses,
        arguments.seeds,
        frames=arguments.frames,
        unseen=arguments.unseen,
        unseen_laps=arguments.unseen_laps,
    )
    if arguments.dry_run:
        _print_plan(plan)
        return 0
    store = Store.begin(arguments.output, plan)
    try:
        return _drive(store, arguments)
    finally:
        store.close()


def _print_plan(plan: Plan) -> None:
    lines = [
        f"{len(plan.runs)} runs of {plan.frames:,} frames: {len(plan.runs) * plan.frames:,} frames",
        *(run.name for run in plan.runs),
    ]
    print_line("\n".join(lines))


def _drive(store: Store, arguments: argparse.Namespace) -> int:
    from mkds_neat.compare.output import write_output
    from mkds_neat.compare.scheduler import Scheduler, job_count

    report = _Report(store, arguments.quiet)
    scheduler = Scheduler(store.path, store.log_folder, job_count(arguments.jobs))
    stopped_by = 0

    def catch(number: int, frame: object) -> None:  # noqa: ARG001
        nonlocal stopped_by
        if stopped_by:
            raise KeyboardInterrupt
        stopped_by = number
        scheduler.stop()

    old = {
        number: signal.signal(number, catch)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        with report.bar:
            scheduler.deadline = time.monotonic() + 60.0 * arguments.minutes
            for jobs in (_first_jobs, _last_jobs):
                if not scheduler.stopped:
                    scheduler.run(jobs(store), report.end, lambda: report.poll(scheduler))
                scheduler.deadline = math.inf
        lines = write_output(store)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    _print_end(store, report, lines)
    if stopped_by:
        report.say("stopped; the same command continues the comparison")
        return 128 + stopped_by
    return 1 if report.failures else 0


def _first_jobs(store: Store) -> list[Job]:
    """Return the runs that are not complete, and the race times that are not measured."""
    from mkds_neat.compare.plan import has_reference
    from mkds_neat.compare.scheduler import Job

    courses = [c for c in store.plan.courses if has_reference(store.plan, c)]
    return [
        *(Job("reference", c) for c in courses if store.reference(c) is None),
        *(Job("run", r.name) for r in store.plan.runs if store.measures(r.name) is None),
    ]


def _last_jobs(store: Store) -> list[Job]:
    """Return the unseen courses on which champions of complete runs have not driven."""
    from mkds_neat.compare.scheduler import Job
    from mkds_neat.compare.unseen import unseen_seeds

    complete = {
        run.name
        for run in store.plan.runs
        if (found := store.measures(run.name)) is not None and found.champion is not None
    }
    seeds = unseen_seeds(store.plan.unseen)
    return [Job("unseen", str(s)) for s in seeds if complete - set(store.unseen_races(s))]


def _print_end(store: Store, report: _Report, lines: Sequence[Any]) -> None:
    from rich.table import Table

    from mkds_neat.compare.summary import rows_of

    for course in dict.fromkeys(line.course for line in lines):
        table = Table(title=course, title_justify="left")
        head, rows = rows_of([line for line in lines if line.course == course])
        for number, name in enumerate(head):
            table.add_column(name, justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        report.console.print(table)
    for text in report.failures:
        report.console.print(text, markup=False)
    if lines:
        names = ("table.md", "table.csv", "runs.csv", "curves.svg", "curves.png")
        report.say("saved: " + ", ".join(str(store.path / name) for name in names))


if __name__ == "__main__":
    run_command(main)
