"""Measure what docs/results shows: ``python -m benchmarks.results tune``, ``run`` and ``page``.

``tune`` tries three settings of each competitor on a course that the page does not show, and writes
the best to ``tuned.json``. ``run`` is two comparisons of `mkds_neat.compare` in one folder: three
courses (``courses/``) and random courses (``random/``). Ctrl-C stops a command, and the same
command continues. ``page`` writes docs/results from the folder, with the runs that are complete.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.report import describe, machine
from benchmarks.results import tuning
from mkds_gym.kartlab.generator import TEST_SEEDS
from mkds_gym.utils.arguments import shown
from mkds_gym.utils.command_line import ArgumentParser

HERE: Final = Path(__file__).parent
PAGE: Final = HERE.parents[1] / "docs" / "results"
OUTPUT: Final = Path("runs/results")
STRATEGIES: Final = (
    *("random_search", "neat", "truncation", "openai_es", "cma_es", "sep_cma_es", "map_elites"),
    *("cma_me", "ppo"),
)
LEAST_FRAMES: Final = 100_000
LEAST_SEEDS: Final = 3
"""What the page calls a result needs this budget and so many seeds."""
COURSES: Final = ("mario_course", "cross_course", "snow_course")


@dataclass(frozen=True)
class Part:
    """A comparison.

    Attributes:
        name: Name of its folder, config and files.
        title: Its heading on the page.
        courses: Courses; empty for those of its config.
        share: Its share of ``--minutes``.
        text: What the page says above its table.
    """

    name: str
    title: str
    courses: tuple[str, ...]
    share: float
    text: str


PARTS: Final = (
    Part(
        "courses",
        "Three courses",
        COURSES,
        0.7,
        "Each run learns on one course, in time trials of three laps.",
    ),
    Part(
        "random",
        "Random courses",
        (),
        0.3,
        "Each run learns on random courses of the training set, in races of one lap. An "
        "individual drives on two courses, which the next generation never sees again. It counts "
        "as finished if it finishes both; race times are means of different courses, and say "
        "little.",
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Args:
        argv: Arguments; None for those of the process.
    """
    parser = ArgumentParser(
        prog="python -m benchmarks.results",
        description="Measure all strategies and PPO on equal budgets of frames, and write "
        "docs/results.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="measure, or continue to measure")
    run.add_argument("--seeds", default="1-5", help="seeds of the runs (default: 1-5)")
    run.add_argument(
        "--frames", default="400000", help="driver frames of each run on a course (default: 400000)"
    )
    run.add_argument(
        "--random-frames",
        default="100000",
        help="driver frames of each run on random courses, which are slower (default: 100000)",
    )
    run.add_argument(
        "--strategies", default=",".join(STRATEGIES), help="competitors (default: all)"
    )
    run.add_argument("--courses", default=",".join(COURSES), help="fixed courses")
    run.add_argument(
        "--unseen", default="20", help="unseen courses for the champions (default: 20)"
    )
    run.add_argument("--jobs", default="0", help="runs at a time (default: one for each core)")
    run.add_argument(
        "--minutes",
        type=float,
        default=math.inf,
        help="stop after about this time, without that of the unseen courses (default: no limit)",
    )
    tune = commands.add_parser("tune", help="choose one of three settings of each competitor")
    tune.add_argument(
        "--strategies", default=",".join(STRATEGIES), help="competitors to tune (default: all)"
    )
    tune.add_argument(
        "--frames",
        type=int,
        default=tuning.FRAMES,
        help=f"driver frames of each run (default: {tuning.FRAMES})",
    )
    tune.add_argument("--jobs", default="0", help="runs at a time (default: one for each core)")
    page = commands.add_parser("page", help="write docs/results from what was measured")
    for each in (tune, run, page):
        each.add_argument("--output", type=Path, default=OUTPUT, help="folder of the results")
    page.add_argument("--page", type=Path, default=PAGE, help="folder of the page")
    arguments = parser.parse_args(argv)
    if arguments.command == "tune":
        competitors = arguments.strategies.split(",")
        if unknown := set(competitors) - set(STRATEGIES):
            parser.error(f"--strategies {', '.join(sorted(unknown))}: not one of {STRATEGIES}")
        folder = arguments.output / "tuning"
        return tuning.tune(folder, competitors, arguments.frames, arguments.jobs)
    if arguments.command == "run":
        return _run(arguments)
    return _page(arguments.output, arguments.page)


def _run(arguments: argparse.Namespace) -> int:
    from mkds_neat.compare.__main__ import main as compare

    arguments.output.mkdir(parents=True, exist_ok=True)
    about = arguments.output / "machine.json"
    if not about.is_file():
        about.write_text(json.dumps(machine(), indent=1) + "\n")
    failed = 0
    for part in PARTS:
        courses = ["--courses", arguments.courses] if part.courses else []
        frames = arguments.frames if part.courses else arguments.random_frames
        limit = arguments.minutes * part.share
        config = arguments.output / "configs" / f"{part.name}.ini"
        tuning.write_config(HERE / f"{part.name}.ini", tuning.chosen(), config)
        status = compare(
            [
                *(str(config), "--strategies", arguments.strategies, *courses),
                *("--seeds", arguments.seeds, "--frames", frames),
                *("--unseen", arguments.unseen, "--unseen-laps", "1"),
                *("--jobs", arguments.jobs, "--output", str(arguments.output / part.name)),
                *(["--minutes", str(limit)] if math.isfinite(limit) else []),
            ]
        )
        if status > 1:
            return status
        failed = max(failed, status)  # the other runs are complete
    page = "" if arguments.output == OUTPUT else f" --page {arguments.output / 'page'}"
    print(f"now: python -m benchmarks.results page --output {arguments.output}{page}")
    return failed


def _page(folder: Path, page: Path) -> int:
    try:
        about = json.loads((folder / "machine.json").read_text())
        parts = [part for part in PARTS if (folder / part.name / "table.md").is_file()]
        if not parts:
            raise FileNotFoundError(f"no table.md in {shown(str(folder))}")
        text = _text(folder, parts, about)
    except (OSError, ValueError, KeyError) as error:
        print(
            f"benchmarks.results: error: {error}; run python -m benchmarks.results run first",
            file=sys.stderr,
        )
        return 1
    page.mkdir(parents=True, exist_ok=True)
    for part in parts:
        for name, ending in (("runs", "csv"), ("table", "csv"), ("curves", "png")):
            shutil.copyfile(
                folder / part.name / f"{name}.{ending}", page / f"{part.name}_{name}.{ending}"
            )
    (page / "index.md").write_text(text, encoding="utf-8")
    print(f"wrote {page / 'index.md'}")
    return 0


def _text(folder: Path, parts: Sequence[Part], about: dict[str, Any]) -> str:
    from mkds_neat.compare.plan import load_plan

    text = (HERE / "page.md").read_text(encoding="utf-8").strip()
    blocks = [text.replace("TUNING", _tuning_text())]
    for part in parts:
        plan = load_plan(folder / part.name)
        assert plan is not None
        done = sum(1 for run in plan.runs if _is_done(folder / part.name, run.name))
        table = (folder / part.name / "table.md").read_text(encoding="utf-8").strip()
        table = re.sub(r"(?m)^\*\*(.+?)\.\*\*\s*", r"### \1\n\n", table)
        seeds = len({run.seed for run in plan.runs})
        trial = (
            " **This is a trial of the command, not a result: the budget is too small, or there "
            "are too few seeds.**"
        )
        unseen = (
            f" Each champion then drives one lap on {plan.unseen} "
            f"course{'s'[: plan.unseen != 1]} of the test set (seeds "
            f"from {TEST_SEEDS.start}, difficulty 0.5), on which nothing learns."
            if plan.unseen
            else ""
        )
        is_trial = plan.frames < LEAST_FRAMES or seeds < LEAST_SEEDS
        blocks.append(
            f"## {part.title}\n\n{part.text} The budget of a run is {plan.frames:,} driver frames, "
            f"with {seeds} seed{'s'[: seeds != 1]}. {done} of {len(plan.runs)} runs are complete."
            f"{unseen}{trial * is_trial}\n\n"
            f"![Curves over frames]({part.name}_curves.png)\n\n"
            f"{table}\n\n"
            f"Numbers: [each run]({part.name}_runs.csv), [the tables]({part.name}_table.csv)."
        )
    blocks.append(f"## Machine\n\n{describe(about)}")
    return "\n\n".join(blocks) + "\n"


def _tuning_text() -> str:
    if not tuning.chosen():
        return (
            "Nothing was tuned for this page: every competitor has its defaults, and PPO has the "
            "values of `examples/ppo_sb3.py`."
        )
    return (
        f"Each competitor got the same effort of tuning: three settings on `{tuning.COURSE}`, "
        f"which is not on this page, with the seeds {tuning.SEEDS} and "
        f"{tuning.chosen_frames():,} frames, by `python -m benchmarks.results tune`. The best "
        "(bold) has the shortest median race, and after that the highest fitness.\n\n"
        f"{tuning.describe()}"
    )


def _is_done(folder: Path, name: str) -> bool:
    return (folder / "results" / f"{name}.json").is_file()


if __name__ == "__main__":
    sys.exit(main())
