"""The numbers and texts of a page."""

from __future__ import annotations

import contextlib
import fcntl
import math
import shlex
from pathlib import Path
from typing import Any, Final

import numpy as np

from mkds_gym.display.video import race_clock
from mkds_gym.errors import MKDSError
from mkds_gym.utils.reading import open_file
from mkds_neat.plots import Run
from mkds_neat.plots.progress import lap_seconds

MAX_TEXT: Final = 300
"""Most characters of a text of the run."""
TOP_DRIVERS: Final = 10
MAX_SESSIONS: Final = 20
_UNUSED: Final = ("none", "never")
"""Values of [evaluation] that the page leaves out."""


def shown_text(text: str, limit: int = MAX_TEXT, *, lines: bool = False) -> str:
    """Return a text of a run for the page: of limited length, and with printable characters."""
    short = text if len(text) <= limit else f"{text[:limit]} …"
    keep = "\n\t" if lines else ""
    return "".join(c if c.isprintable() or c in keep else "�" for c in short)


def run_status(run: Run) -> tuple[str, str]:
    """Return whether the run goes on, for the style and for the reader."""
    if _is_going(run.path):
        return "going", "under way"
    try:
        checkpoint = run.checkpoint()
    except MKDSError:
        return "unknown", "no checkpoint can be read"
    why = None if checkpoint is None else checkpoint.reason
    if why == "finished":
        return "done", "ended: a driver finished the race"
    if why == "solved":
        return "done", "ended: the fitness threshold was met"
    settings = run.config.get("run", {})
    planned, budget = (_integer(settings.get(key, "")) for key in ("generations", "frames"))
    done = len(run.generations.get("generation", ()))
    if planned is not None and done >= planned:
        what = f"all {done:,} generations are" if done > 1 else "the generation is"
        return "done", f"ended: {what} done"
    if budget is not None and _total(run.generations, "frames") >= budget:
        return "done", f"ended: the budget of {budget:,} frames is spent"
    return "stopped", f"stopped in generation {done:,}"


def _is_going(path: Path) -> bool:
    """Return whether a process of this machine writes to the folder."""
    lock = path / "run.lock"
    with contextlib.suppress(MKDSError), open_file(lock, lock.name, MKDSError, remedy="") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def tiles(run: Run) -> list[tuple[str, str]]:
    """Return the numbers at the top of the page, with their names."""
    table: Any = run.individuals
    scores = table.get("fitness", np.empty(0))
    scores = scores[np.isfinite(scores)]
    found = []
    if len(scores):
        found.append((f"{scores.max():,.0f}", "best fitness"))
    champion = run.champion
    if champion is not None and champion.record.finished:
        found.append((race_clock(champion.record.race_time), "champion's race"))
        if champion.record.lap_times:
            found.append((race_clock(min(champion.record.lap_times)), "champion's best lap"))
    finished = table.get("finished", np.empty(0))
    drove = table.get("evaluated", np.ones(len(finished))) != 0
    if len(finished):
        finishes, total = int((finished[drove] > 0).sum()), int(drove.sum())
        name = f"finish{'es'[: 2 * (finishes != 1)]} of {total:,} evaluation{'s'[: total != 1]}"
        found.append((f"{finishes:,}", name))
    done = len(run.generations.get("generation", ()))
    found.append((f"{done:,}", f"generation{'s'[: done != 1]}"))
    frames = _total(table, "frames", drove)
    if frames:
        found.append((f"{frames:,.0f}", "frames driven"))
    seconds = _total(run.generations, "seconds")
    if seconds:
        found.append((_duration(seconds), "driving time"))
    return found


def _total(table: Any, name: str, chosen: Any = slice(None)) -> float:
    values = np.asarray(table.get(name, np.zeros(0)), np.float64)
    values = values[chosen] if len(values) else values
    return float(values[np.isfinite(values)].sum())


def _duration(seconds: float) -> str:
    whole = round(min(seconds, 3.6e9))
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole // 60 % 60:02d} min"


def facts(run: Run) -> list[tuple[str, str]]:
    """Return the names and texts of the table of facts."""
    info, config = run.info, run.config
    settings = config.get("run", {})
    environment = dict(config.get("environment", {}))
    env_id = environment.pop("id", "" if run.champion is None else run.champion.env_id)
    for key in ("rom", "state"):
        environment.pop(key, None)
    evaluation = dict(config.get("evaluation", {}))
    unused = ["retries"]
    if evaluation.get("episodes", "1") == "1":
        unused += ["episodes", "seeds", "combine"]
    if {evaluation.get(key, "none") for key in ("rung_frames", "rung_episodes")} == {"none"}:
        unused.append("keep")
    for key in unused:
        evaluation.pop(key, None)
    found = [
        ("strategy", run.strategy),
        ("seed", str(info.seed) if info is not None else settings.get("seed", "")),
        ("environment", env_id),
        ("arguments", ", ".join(f"{key} = {value}" for key, value in environment.items())),
        ("fitness", evaluation.pop("scorer", "")),
        ("evaluation", ", ".join(f"{k} = {v}" for k, v in evaluation.items() if v not in _UNUSED)),
        ("workers", settings.get("workers", "")),
    ]
    if info is not None and info.rom_sha1:
        found.append(("cartridge", f"{info.rom_title}, SHA-1 {info.rom_sha1}"))
    if info is not None and info.sessions:
        first, last = info.sessions[0], info.sessions[-1]
        found.append(("begun", first.started))
        versions = ", ".join(f"{name} {text[:20]}" for name, text in last.versions.items())
        found.append(("versions", versions))
        found.append(("commit", last.commit))
    if run.champion is not None:
        found.append(("champion", run.champion.describe()))
    folder = shlex.quote(str(run.path))
    found.append(("continue with", f"python -m mkds_neat.run --resume {folder}"))
    return [(name, shown_text(text, 600)) for name, text in found if text]


def drivers(run: Run) -> list[tuple[str, ...]]:
    """Return the cells of the best drivers, the best first."""
    table: Any = run.individuals
    count = len(table.get("fitness", ()))
    if not count or "id" not in table:
        return []

    def column(name: str, default: float = math.nan) -> Any:
        return table.get(name, np.full(count, default))

    finished, seconds = column("finished", 0) > 0, column("race_seconds")
    scores = np.nan_to_num(column("fitness"), nan=-np.inf)
    order = np.lexsort(
        (column("generation"), -scores, np.where(finished, seconds, np.inf), ~finished)
    )
    _, first = np.unique(table["id"][order], return_index=True)  # a survivor has several rows
    rows: list[tuple[str, ...]] = []
    for row in order[np.sort(first)][:TOP_DRIVERS].tolist():
        laps = table["lap_seconds"][row] if "lap_seconds" in table else ""
        times = " ".join(f"{seconds:.3f}" for seconds in lap_seconds(str(laps)))
        rows.append(
            (
                f"{table['id'][row]:g}",
                f"{column('generation')[row]:g}",
                f"{scores[row]:,.1f}",
                race_clock(float(seconds[row])) if finished[row] and seconds[row] > 0 else "–",
                shown_text(times, 60) or "–",
                shown_text(str(table["events"][row]) if "events" in table else "", 60),
            )
        )
    return rows


def sessions(run: Run) -> list[tuple[str, ...]]:
    """Return the cells of the processes that drove the run."""
    if run.info is None:
        return []
    return [
        (
            shown_text(each.started),
            str(each.generation),
            shown_text(each.versions.get("mkds-gym", ""), 30),
            shown_text(each.commit[:12] + "+" * each.commit.endswith("+")),
            shown_text("; ".join(f"{k}: {a} → {b}" for k, a, b in each.changes)),
        )
        for each in run.info.sessions[-MAX_SESSIONS:]
    ]


def _integer(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None
