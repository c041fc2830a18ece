"""Do the examples reach their goals? ``python -m benchmarks.goals --json FILE``.

Each goal is a run of an example with each of several seeds, none of which was used for tuning. A
run stops when the goal is reached. FILE is written after each run. The same command continues an
interrupted measurement: runs that are in FILE are not repeated.

The goals, cheapest first:

* ``first_finish``: some driver finishes three laps.
* ``pure_pursuit``: the champion of ``time_trial`` is faster than the scripted driver.
* ``hard``: the same champion is faster than the winner of a race of ``hard`` opponents.
* ``unseen``: after a budget of frames, the champion of ``generalist`` finishes three laps on 50
  random courses of the test set, on which nobody trains.

Exit status: 0, 2 for bad arguments, 130 for Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.report import add_json, describe, log, machine, table, write_json
from mkds_gym.utils.command_line import ArgumentParser
from mkds_neat.compare.reference import hard_time, pure_pursuit_time
from mkds_neat.compare.unseen import MAX_UNSEEN, drive_unseen, unseen_seeds
from mkds_neat.results import Champion, RunFolder, load_champion
from mkds_neat.results.checkpoint import plain

EXAMPLES: Final = Path(__file__).parent.parent / "examples"
SEEDS: Final = (11, 12, 13, 14, 15)
UNSEEN: Final = 50
"""Courses of the test set."""
BUDGET: Final = 4_000_000
"""Driver frames of a run of ``generalist``."""
SPEED: Final = 20_000
"""Driver frames a second of the quiet machine, by which frames are shown as seconds."""
GOALS: Final = {
    "first_finish": "first three-lap finish within 30 s",
    "pure_pursuit": "faster than PurePursuit within 10 minutes",
    "hard": "faster than the hard opponents within an hour",
    "unseen": f"finishes at least 80 % of {UNSEEN} unseen random courses within an hour",
}
_LIMITS: Final = {"first_finish": 300.0, "time_trial": 3600.0, "generalist": 3600.0}
"""Seconds after which a run is given up."""
_POLL: Final = 0.25

Milestones = Mapping[str, Callable[[Champion], bool]]


def fastest_hard_time(races: int = 3) -> float:
    """Return the seconds of the winner among seven ``hard`` opponents; the best of some races."""
    return min(hard_time({}, seed) or math.inf for seed in range(races))


def run(
    example: str, seed: int, folder: Path, milestones: Milestones, *options: str
) -> dict[str, Any]:
    """Run an example until the champion has passed all milestones, or the run ends.

    Returns:
        ``seconds`` and ``cpu_seconds`` from the start of the process to the end, ``frames`` of all
        drivers, ``milestones`` (seconds and frames of each that was passed), ``race_time`` of the
        champion (0 without a finish), ``generations``, and the ``champion`` itself.
    """
    command = [
        *(sys.executable, "-m", "mkds_neat.run", str(EXAMPLES / f"{example}.ini"), "--no-pictures"),
        *("--seed", str(seed), "--output", str(folder), *options),
    ]
    passed: dict[str, dict[str, float]] = {}
    begin, cpu = time.monotonic(), 0.0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=EXAMPLES.parent)
    try:
        while process.poll() is None and time.monotonic() - begin < _LIMITS[example]:
            time.sleep(_POLL)
            cpu = max(cpu, _cpu_seconds(process.pid))
            _pass(milestones, passed, folder, time.monotonic() - begin)
            if milestones and len(passed) == len(milestones):
                break
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait()
    _pass(milestones, passed, folder, time.monotonic() - begin)
    champion = _champion(folder)
    rows = RunFolder(folder).generations()
    return {
        "seconds": round(time.monotonic() - begin, 2),
        "cpu_seconds": round(cpu, 1),
        "frames": sum(int(row["frames"]) for row in rows),
        "milestones": passed,
        "race_time": 0.0 if champion is None else champion.record.race_time,
        "generations": len(rows),
        "champion": None if champion is None else _without_genome(champion),
    }


def _pass(
    milestones: Milestones, passed: dict[str, dict[str, float]], folder: Path, seconds: float
) -> None:
    champion = _champion(folder) if len(passed) < len(milestones) else None
    for name, reached in milestones.items():
        if champion is not None and name not in passed and reached(champion):
            frames = sum(
                int(row["frames"])
                for row in RunFolder(folder).generations()
                if int(row["generation"]) <= champion.generation
            )
            passed[name] = {
                "seconds": round(seconds, 2),
                "frames": frames,
                "race_time": champion.record.race_time,
            }


def _champion(folder: Path) -> Champion | None:
    path = folder / "champion.json"
    return load_champion(path) if path.exists() else None


def _without_genome(champion: Champion) -> dict[str, Any]:
    data = replace(champion, genome={}).to_json()
    return dict(json.loads(json.dumps(plain(data))))


def _cpu_seconds(pid: int) -> float:
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        times = [each.cpu_times() for each in (root, *root.children(recursive=True))]
        return float(sum(each.user + each.system for each in times))
    return 0.0


def _finished(champion: Champion) -> bool:
    return champion.record.finished


def _faster_than(seconds: float) -> Callable[[Champion], bool]:
    return lambda champion: champion.record.finished and champion.record.race_time < seconds


def measure(
    seeds: Sequence[int], budget: int, courses: int, result: dict[str, Any], file: Path | None
) -> None:
    """Measure what ``result`` does not have yet, and save it after each run."""
    runs: dict[str, dict[str, Any]] = result["runs"]

    def each(example: str, milestones: Milestones, *options: str) -> None:
        for seed in seeds:
            key = f"{example} {seed}"
            if key not in runs:
                with tempfile.TemporaryDirectory() as folder:
                    runs[key] = run(example, seed, Path(folder) / "run", milestones, *options)
                write_json(file, result)
                log(f"{key}: { ({k: v for k, v in runs[key].items() if k != 'champion'}) }")

    each("first_finish", {"first_finish": _finished})
    if "hard" not in result:
        result["pure_pursuit"], result["hard"] = pure_pursuit_time({}), fastest_hard_time()
    each("time_trial", {goal: _faster_than(result[goal]) for goal in ("pure_pursuit", "hard")})
    each("generalist", {}, "--frames", str(budget))
    trained = {str(seed): runs[f"generalist {seed}"]["champion"] for seed in seeds}
    champions = {
        seed: Champion.from_json(data) for seed, data in trained.items() if data is not None
    }
    networks = {seed: champion.network for seed, champion in champions.items()}
    unseen: dict[str, dict[str, bool]] = result.setdefault("unseen", {})
    for course in map(str, unseen_seeds(courses) if champions else ()):
        if not set(networks) <= set(unseen.get(course, {})):
            kwargs = next(iter(champions.values())).env_kwargs
            races = drive_unseen(networks, kwargs, int(course), laps=3)
            unseen[course] = {seed: race.finished for seed, race in races.items()}
            write_json(file, result)
            log(f"course {course}: {unseen[course]}")


def report(result: dict[str, Any]) -> str:
    """Return the result of `measure` as Markdown: a summary, and a row for each run."""
    rows: list[tuple[str, ...]] = []
    single: list[tuple[str, ...]] = []

    def add(goal: str, reached: int, runs: Mapping[str, Mapping[str, Any]], asked: int) -> None:
        if not runs:
            return
        seconds = [each["seconds"] for each in runs.values()]
        frames = statistics.median(each["frames"] for each in runs.values())
        rows.append(
            (
                GOALS[goal],
                f"{reached} of {asked}",
                f"{statistics.median(seconds):.1f} s",
                f"{min(seconds):.1f} to {max(seconds):.1f} s",
                f"{frames:,.0f}",
                f"{frames / SPEED:.0f} s",
            )
        )
        for seed, each in runs.items():
            numbers = (f"{each['seconds']:.1f} s", f"{each['frames']:,}", each["end"])
            single.append((goal, seed, *numbers))

    for goal in ("first_finish", "pure_pursuit", "hard"):
        example = "first_finish" if goal == "first_finish" else "time_trial"
        found = _of(result, example)
        passed = {s: r["milestones"][goal] for s, r in found.items() if goal in r["milestones"]}
        ends = {s: {**each, "end": f"{each['race_time']:.2f} s"} for s, each in passed.items()}
        add(goal, len(ends), ends, len(found))
    driven: dict[str, dict[str, bool]] = result.get("unseen", {})
    shares = {
        seed: 100.0 * statistics.fmean(course[seed] for course in driven.values())
        for seed in next(iter(driven.values()), {})
    }
    found = _of(result, "generalist")
    ends = {s: {**found[s], "end": f"{share:.0f} %"} for s, share in shares.items()}
    add("unseen", sum(share >= 80.0 for share in shares.values()), ends, len(found))
    head = ("goal", "reached", "median", "range", "driver frames", f"at {SPEED:,} a second")
    parts = [
        table(head, rows),
        table(("goal", "seed", "time", "driver frames", "race time, or courses"), single),
        f"PurePursuit: {result.get('pure_pursuit', 0.0):.2f} s. The fastest of the hard opponents: "
        f"{result.get('hard', 0.0):.2f} s. {describe(result['machine'])}",
    ]
    return "\n\n".join(parts)


def _of(result: Mapping[str, Any], example: str) -> dict[str, dict[str, Any]]:
    """Return the runs of an example by seed."""
    runs: dict[str, dict[str, Any]] = result["runs"]
    return {key.split()[1]: each for key, each in runs.items() if key.split()[0] == example}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = ArgumentParser(prog="python -m benchmarks.goals", description=__doc__)
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=list(SEEDS),
        metavar="N",
        help="seeds of the runs (default: 11 to 15)",
    )
    parser.add_argument(
        "--budget",
        type=int,
        default=BUDGET,
        metavar="N",
        help="driver frames of a run of generalist (default: %(default)s)",
    )
    parser.add_argument(
        "--courses",
        type=int,
        default=UNSEEN,
        choices=range(1, MAX_UNSEEN + 1),
        metavar="N",
        help=f"unseen courses, 1 to {MAX_UNSEEN} (default: %(default)s)",
    )
    add_json(parser)
    arguments = parser.parse_args(argv)
    result: dict[str, Any] = {"goals": True, "machine": machine(), "runs": {}}
    file: Path | None = arguments.json
    if file is not None and file.stat().st_size:
        try:
            result = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            parser.error(f"{file} is damaged: {error}; remove it")
    try:
        measure(arguments.seeds, arguments.budget, arguments.courses, result, file)
    except KeyboardInterrupt:
        return 130
    print(report(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
