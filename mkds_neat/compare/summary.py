"""Statistics over the seeds of a comparison, as tables."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.display.video import race_clock
from mkds_neat.compare.measures import Measures
from mkds_neat.compare.plan import Plan, PlannedRun
from mkds_neat.compare.reference import Reference
from mkds_neat.compare.unseen import Unseen
from mkds_neat.errors import ConfigError

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 2_000
_TRIMMED: Final = 0.25
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Quartiles over seeds. An infinite number stands for a run that did not get there.

    Attributes:
        low: The first quartile.
        median: The median.
        high: The third quartile.
    """

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread:
        """Return the quartiles of some values; None counts as infinite."""
        sample = np.array([math.inf if value is None else value for value in values])
        return cls(*map(float, middle_half(sample)))


def middle_half(samples: Floats) -> Floats:
    """Return first quartile, median and third quartile of samples, which may be infinite.

    Args:
        samples: One sample, or one in each column.
    """
    # Without interpolation between a number and infinity.
    low, high = np.quantile(samples, (0.25, 0.75), axis=0, method="closest_observation")
    return np.stack([low, np.median(samples, axis=0), high])


@dataclass(frozen=True)
class Line:
    """A line of the table: a competitor on a course.

    Attributes:
        competitor: The competitor.
        course: The course.
        seeds: Complete runs.
        finished: Runs in which a driver finished the race.
        first_finish: Frames until the first finish.
        first_finish_seconds: Wall time until then.
        best_time: Best race time in seconds.
        best_fitness: Highest fitness.
        to_pure_pursuit: Median best time divided by the scripted driver's; below 1 is faster.
        to_hard: The same for the winner of seven ``hard`` opponents.
        unseen: Part of the unseen courses that champions finish, mean over seeds.
        unseen_low: Lower end of its bootstrap interval.
        unseen_high: Upper end.
        frames_per_second: Driver frames a second, median over runs.
    """

    competitor: str
    course: str
    seeds: int
    finished: int
    first_finish: Spread
    first_finish_seconds: Spread
    best_time: Spread
    best_fitness: Spread
    to_pure_pursuit: float
    to_hard: float
    unseen: float
    unseen_low: float
    unseen_high: float
    frames_per_second: float


@dataclass(frozen=True)
class Overall:
    """A competitor over all fixed courses: speed relative to the scripted driver.

    The speed of a run is the scripted driver's race time divided by the run's best, and 0 if no
    driver finished.

    Attributes:
        competitor: The competitor.
        runs: Complete runs.
        speed: Interquartile mean over all runs, which Agarwal et al. (2021, "Deep Reinforcement
            Learning at the Edge of the Statistical Precipice", the library rliable) recommend for
            few runs.
        low: Lower end of the 95 % interval, of a bootstrap that is stratified by course.
        high: Upper end.
    """

    competitor: str
    runs: int
    speed: float
    low: float
    high: float


def _stats() -> Any:
    try:
        from scipy import stats
    except ImportError as error:
        raise ConfigError(
            "mkds_neat.compare needs SciPy for its statistics: pip install 'mkds-gym[compare]'"
        ) from error
    return stats


def interval(samples: Sequence[Floats], statistic: Any) -> tuple[float, float, float]:
    """Return a statistic of some samples, and its stratified bootstrap interval.

    Args:
        samples: A sample for each stratum. Each is resampled by itself.
        statistic: Takes the concatenated samples.
    """
    samples = [sample for sample in samples if sample.size]
    if not samples:
        return math.nan, math.nan, math.nan
    value = float(statistic(np.concatenate(samples)))
    if all(np.ptp(sample) == 0.0 for sample in samples):
        return value, value, value
    # A sample of one value is the same whenever it is resampled, and SciPy refuses it.
    fixed = [sample for sample in samples if sample.size == 1]
    result = _stats().bootstrap(
        [sample for sample in samples if sample.size > 1],
        lambda *resampled: statistic(np.concatenate([*resampled, *fixed])),
        n_resamples=RESAMPLES,
        vectorized=False,
        paired=False,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    found = result.confidence_interval
    return value, float(found.low), float(found.high)


def interquartile_mean(sample: Floats) -> float:
    """Return the mean of the middle half of a sample."""
    return float(_stats().trim_mean(sample, _TRIMMED))


def summarize(
    plan: Plan,
    measures: dict[str, Measures],
    references: dict[str, Reference],
    unseen: dict[str, list[Unseen]],
) -> tuple[list[Line], list[Overall]]:
    """Return the table of a comparison, whose runs need not all be complete.

    Args:
        plan: The comparison.
        measures: Measures of the complete runs, by name.
        references: Race times, by course.
        unseen: Races of champions on unseen courses, by name of the run.
    """
    lines = []
    speeds: dict[str, dict[str, Floats]] = {}
    for course in plan.courses:
        times = references.get(course) or Reference(None, None)
        for competitor in plan.competitors:
            runs = [
                run
                for run in plan.runs
                if (run.course, run.competitor) == (course, competitor) and run.name in measures
            ]
            if not runs:
                continue
            found = [measures[run.name] for run in runs]
            lines.append(_line(runs, found, times, unseen))
            if times.pure_pursuit is not None:
                speeds.setdefault(competitor, {})[course] = np.array(
                    [times.pure_pursuit / m.best_time if m.best_time else 0.0 for m in found]
                )
    overall = [
        Overall(
            competitor,
            sum(sample.size for sample in by_course.values()),
            *interval(list(by_course.values()), interquartile_mean),
        )
        for competitor, by_course in speeds.items()
    ]
    return lines, sorted(overall, key=lambda each: -each.speed)


def _line(
    runs: Sequence[PlannedRun],
    found: Sequence[Measures],
    times: Reference,
    unseen: dict[str, list[Unseen]],
) -> Line:
    best = Spread.of(m.best_time for m in found)
    races = [unseen[run.name] for run in runs if unseen.get(run.name)]
    shares = np.array([np.mean([race.finished for race in each]) for each in races])
    return Line(
        competitor=runs[0].competitor,
        course=runs[0].course,
        seeds=len(runs),
        finished=sum(m.finished > 0 for m in found),
        first_finish=Spread.of(m.first_finish for m in found),
        first_finish_seconds=Spread.of(m.first_finish_seconds for m in found),
        best_time=best,
        best_fitness=Spread.of(m.best_fitness for m in found),
        to_pure_pursuit=best.median / (times.pure_pursuit or math.nan),
        to_hard=best.median / (times.hard or math.nan),
        **dict(
            zip(
                ("unseen", "unseen_low", "unseen_high"),
                interval([shares], np.mean),
                strict=True,
            )
        ),
        frames_per_second=float(np.median([m.spent / m.seconds for m in found if m.seconds]))
        if any(m.seconds for m in found)
        else math.nan,
    )


HEAD: Final = (
    *("competitor", "finished", "frames to first finish", "seconds", "best race time"),
    *("/ PurePursuit", "/ hard", "unseen finished"),
)


def cells(line: Line) -> tuple[str, ...]:
    """Return the cells of a line of the table, below `HEAD`."""
    return (
        line.competitor,
        f"{line.finished} of {line.seeds}",
        _spread(line.first_finish, lambda value: f"{value:,.0f}"),
        _number(line.first_finish_seconds.median, "{:.0f}"),
        _spread(line.best_time, race_clock),
        _number(line.to_pure_pursuit, "{:.3f}", ""),
        _number(line.to_hard, "{:.3f}", ""),
        _share(line),
    )


def rows_of(lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table of a course, without the columns that are empty."""
    rows = [cells(line) for line in lines]
    used = [number for number in range(len(HEAD)) if any(row[number] for row in rows)]
    return [HEAD[i] for i in used], [[row[i] for i in used] for row in rows]


def _share(line: Line) -> str:
    if math.isnan(line.unseen):
        return ""
    ends = f" ({line.unseen_low:.0%} to {line.unseen_high:.0%})"
    return f"{line.unseen:.0%}{ends * (line.seeds > 1)}"


def _number(value: float, form: str, infinite: str = "never") -> str:
    return form.format(value) if math.isfinite(value) else "" if math.isnan(value) else infinite


def _spread(spread: Spread, form: Any) -> str:
    values = (spread.median, spread.low, spread.high)
    middle, low, high = (form(v) if math.isfinite(v) else "never" for v in values)
    return middle if low == high else f"{middle} ({low} to {high})"


def markdown(
    lines: Sequence[Line], overall: Sequence[Overall], references: dict[str, Reference]
) -> str:
    """Return all tables as Markdown."""
    parts = []
    for course in dict.fromkeys(line.course for line in lines):
        table_head, table_rows = rows_of([line for line in lines if line.course == course])
        times = references.get(course)
        against = ""
        if times is not None and times.pure_pursuit and times.hard:
            against = (
                f" PurePursuit takes {race_clock(times.pure_pursuit)}, the first of seven `hard` "
                f"opponents {race_clock(times.hard)}."
            )
        parts.append(f"**`{course}`.**{against}\n\n{_table(table_head, table_rows)}")
    if len(overall) > 1 and len(parts) > 1:
        head = ("competitor", "runs", "speed relative to PurePursuit", "95 % interval")
        rows = [
            (
                o.competitor,
                str(o.runs),
                f"{o.speed:.3f}",
                f"{o.low:.3f} to {o.high:.3f}" if o.runs > 1 else "",
            )
            for o in overall
        ]
        parts.append(f"**All courses.**\n\n{_table(head, rows)}")
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruler = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ruler, *rows))


def table_csv(lines: Sequence[Line]) -> str:
    """Return the table as CSV; an empty cell is a number that does not exist."""
    rows = []
    for line in lines:
        row: dict[str, Any] = {}
        for field in fields(line):
            value = getattr(line, field.name)
            if isinstance(value, Spread):
                for part in fields(value):
                    row[f"{field.name}_{part.name}"] = _cell(getattr(value, part.name))
            else:
                row[field.name] = _cell(value)
        rows.append(row)
    return _csv(rows)


def runs_csv(plan: Plan, measures: dict[str, Measures], unseen: dict[str, list[Unseen]]) -> str:
    """Return the measures of each complete run as CSV."""
    rows = []
    for run in plan.runs:
        if (found := measures.get(run.name)) is None:
            continue
        row: dict[str, Any] = {
            "competitor": run.competitor,
            "course": run.course,
            "seed": run.seed,
            "budget": plan.frames,
        }
        for field in fields(found):
            if field.name not in ("name", "curve"):
                row[field.name] = _cell(getattr(found, field.name))
        races = unseen.get(run.name, [])
        row["unseen_courses"] = len(races)
        row["unseen_finished"] = sum(race.finished for race in races)
        rows.append(row)
    return _csv(rows)


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return round(value, 4) if isinstance(value, float) else value


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
