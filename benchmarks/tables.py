"""The tables of the benchmark: each answers one question, and measures only what that takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from benchmarks.evolution import evolution, evolution_lines
from benchmarks.pairs import pairs, pairs_lines
from benchmarks.parts import PARTS, parts_of_a_step
from benchmarks.peers import PEERS
from benchmarks.race import Tape, drive
from benchmarks.report import available_mib, between, say, spread, table
from benchmarks.rows import COUNTS, ROWS, VECTORS
from benchmarks.states import states, states_lines
from benchmarks.together import together, together_lines
from benchmarks.turns import Samples, ratio, take_turns
from mkds_gym.course import Course
from mkds_gym.race.state import RaceState

_MIB_A_CONSOLE: Final = 200
"""Memory to have at hand for each console of a vector; workers of `AsyncVectorEnv` take most."""


class Session:
    """One run of the benchmark: its settings, and the lap, driven when it is first wanted.

    Args:
        seconds: of measurement of each row, on average.
        rounds: pieces of the lap that each row drives at least, and passes over other parts.
    """

    def __init__(self, seconds: float, rounds: int) -> None:
        self.seconds = seconds
        self.rounds = rounds

    @cached_property
    def _lap(self) -> tuple[Tape, list[list[RaceState]], Course]:
        say("driving a lap to record it ...")
        return drive()

    @property
    def tape(self) -> Tape:
        """The recorded lap."""
        return self._lap[0]

    @property
    def race_states(self) -> list[list[RaceState]]:
        """Of the lap, step by step, frame by frame."""
        return self._lap[1]

    @property
    def course(self) -> Course:
        """That is driven."""
        return self._lap[2]


@dataclass(frozen=True)
class Table:
    """One question.

    Attributes:
        question: that it answers.
        measure: gives what JSON keeps.
        lines: prints that, as Markdown.
    """

    question: str
    measure: Callable[[Session], dict[str, Any]]
    lines: Callable[[dict[str, Any]], list[str]]


# Ways to run the race --------------------------------------------------------------------------


def _rows(
    session: Session, keys: Sequence[str], ratios: Sequence[tuple[str, str, str]]
) -> dict[str, Any]:
    """Let rows take turns; ``ratios`` are (name, upper row, lower row)."""
    samples, memory = take_turns(keys, session.tape, session.seconds, session.rounds)
    return {
        "rows": {key: _row(key, samples, memory[key]) for key in keys},
        "ratios": {name: ratio(samples, upper, lower) for name, upper, lower in ratios},
    }


def _row(key: str, samples: Samples, memory: float | None) -> dict[str, Any]:
    return {
        "title": ROWS[key].title,
        **spread(samples[key]),
        "pieces": len(samples[key]),
        "memory_mib": memory,
    }


def _rows_lines(data: dict[str, Any]) -> list[str]:
    return [
        *table(
            ("frames per second", "median", "middle half"),
            [
                (row["title"], f"{row['median']:,.0f}", between(row, ",.0f"))
                for row in data["rows"].values()
            ],
        ),
        "",
        *_ratio_lines(data),
    ]


def _ratio_lines(data: dict[str, Any]) -> list[str]:
    return table(
        ("ratio", "median", "middle half"),
        [
            (name, f"{value['median']:.3f}", between(value, ".3f"))
            for name, value in data["ratios"].items()
        ],
    )


def named(pairs_of_rows: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Ratios as `_rows` wants them, named by the titles of (upper row, lower row)."""
    return [(f"{ROWS[a].title} / {ROWS[b].title}", a, b) for a, b in pairs_of_rows]


PLAIN_ROWS: Final = ("plain", "console_draw", "console", "env", "async_2", "native_2")
"""The rows of the table ``plain``; the first is what the others are compared with."""


def _plain(session: Session) -> dict[str, Any]:
    return _rows(session, PLAIN_ROWS, named([(key, PLAIN_ROWS[0]) for key in PLAIN_ROWS[1:]]))


def _peers(session: Session) -> dict[str, Any]:
    found = [key for key, peer in PEERS.items() if peer.interpreter() is not None]
    left_out = {
        ROWS[key].title: f"{peer.package} {peer.version} is not installed"
        for key, peer in PEERS.items()
        if key not in found
    }
    for title, reason in left_out.items():
        say(f"  left out: {title}: {reason}")
    if not found:
        return {"rows": {}, "ratios": {}, "left_out": left_out}
    ours = ("plain", "env_pixels", "env")
    return {
        **_rows(
            session,
            (*found, *ours),
            named([(upper, lower) for lower in found for upper in ours[1:]]),
        ),
        "left_out": left_out,
    }


def _peers_lines(data: dict[str, Any]) -> list[str]:
    lines = _rows_lines(data) if data["rows"] else ["None is installed."]
    return [*lines, *_left_out_lines(data)]


def _left_out_lines(data: dict[str, Any]) -> list[str]:
    return [f"\nLeft out: {title}: {reason}." for title, reason in data["left_out"].items()]


# Vector environments ---------------------------------------------------------------------------

REFERENCE: Final = "native_2"
"""Takes its turns in every group, so that all can be compared."""


@dataclass(frozen=True)
class Group:
    """Rows of vector environments that take turns; few at a time, for the memory's sake.

    Attributes:
        count: environments of each, but for the reference and what is no vector.
        keys: of the rows, the reference first.
    """

    count: int
    keys: list[str]


def vector_groups(counts: Sequence[int]) -> list[Group]:
    """The groups for numbers of environments."""
    groups: list[Group] = []
    for count in counts:
        rows = [f"{kind}_{count}" for kind in VECTORS if f"{kind}_{count}" != REFERENCE]
        if count <= 2:
            rows = ["env", *rows, *(["plain_workers"] if count == 2 else [])]
        apart = [rows] if count < 16 else [[row] for row in rows]
        groups += [Group(count, [REFERENCE, *keys]) for keys in apart]
    return groups


def vector_ratios(count: int) -> list[tuple[str, str, str]]:
    """The ratios with a number of environments: (name, upper row, lower row)."""
    if count >= 16:  # their rows take turns with the reference alone
        return named([(f"{kind}_{count}", REFERENCE) for kind in VECTORS])
    native = f"native_{count}"
    lower = ["env" if count <= 2 else REFERENCE]
    lower += [f"{kind}_{count}" for kind in VECTORS if kind != "native"]
    if count == 2:
        lower.append("plain_workers")
    return named([(native, key) for key in lower])


def _vector(session: Session, counts: Sequence[int]) -> dict[str, Any]:
    result: dict[str, Any] = {"groups": [], "ratios": {}, "left_out": {}}
    for group in vector_groups(counts):
        keys, environments = group.keys, _environments(group.count)
        wanted = _MIB_A_CONSOLE * sum(ROWS[key].consoles for key in keys)
        if (there := available_mib()) < wanted:
            reason = f"{wanted / 1024:.0f} GiB of memory wanted, {there / 1024:.0f} available"
            titles = [ROWS[key].title for key in keys if ROWS[key].consoles == group.count]
            result["left_out"] |= dict.fromkeys(titles, reason)
            say(f"  left out: {', '.join(titles)}: {reason}")
            continue
        say(f"  {environments}")
        samples, memory = take_turns(keys, session.tape, session.seconds, session.rounds)
        rows = {
            key: {
                **_row(key, samples, memory[key]),
                "consoles": ROWS[key].consoles,
                "of_reference": ratio(samples, key, REFERENCE),
            }
            for key in keys
        }
        result["groups"].append({"environments": group.count, "rows": rows})
        for name, upper, lower in vector_ratios(group.count):
            if upper in samples and lower in samples:
                result["ratios"][name] = ratio(samples, upper, lower)
    return result


def _environments(count: int) -> str:
    return "1 environment" if count == 1 else f"{count} environments"


def _vector_lines(data: dict[str, Any]) -> list[str]:
    def memory(row: dict[str, Any]) -> str:
        total = row["memory_mib"]
        return "" if total is None else f"{total / row['consoles']:.0f}"

    lines: list[str] = []
    for group in data["groups"]:
        head = f"{_environments(group['environments'])}, frames per second"
        cells = []
        for key, row in group["rows"].items():
            speed = f"{row['median']:,.0f}", between(row, ",.0f")
            times = f"{row['of_reference']['median']:.3f}", between(row["of_reference"], ".3f")
            compared = ("1", "") if key == REFERENCE else times
            cells.append((row["title"], *speed, *compared, memory(row)))
        of = f"x {ROWS[REFERENCE].title}"
        columns = (head, "median", "middle half", of, "middle half", "MiB each")
        lines += [*table(columns, cells), ""]
    return [*lines, *_ratio_lines(data), *_left_out_lines(data)]


# What a step is made of -------------------------------------------------------------------------


def _parts(kind: str) -> Table:
    head, question = PARTS[kind]

    def measure(session: Session) -> dict[str, Any]:
        passes = max(3, min(50, session.rounds))
        return {"microseconds": parts_of_a_step(kind, session.race_states, session.course, passes)}

    def lines(data: dict[str, Any]) -> list[str]:
        return table(
            (head, "median", "middle half"),
            [
                (name, f"{value['median']:.1f}", between(value, ".1f"))
                for name, value in data["microseconds"].items()
            ],
        )

    return Table(question, measure, lines)


TABLES: Final[dict[str, Table]] = {
    "plain": Table("How much faster is it than py-desmume as it comes?", _plain, _rows_lines),
    "step": Table(
        "How much of the console's speed does env.step keep?",
        lambda session: pairs(session.tape, session.seconds, session.rounds),
        pairs_lines,
    ),
    "states": Table(
        "How long do reset, clone and restore take, and how large is a clone?",
        lambda session: states(session.tape, session.rounds),
        states_lines,
    ),
    "parts": _parts("parts"),
    "sensors": _parts("sensors"),
    "metrics": _parts("metrics"),
    "together": Table(
        "Why are two at once not twice as fast?",
        lambda session: together(session.tape, session.seconds, session.rounds),
        together_lines,
    ),
    "evolution": Table(
        "How fast are drivers evaluated, and how long do workers wait?",
        lambda session: evolution(session.rounds),
        evolution_lines,
    ),
    "peers": Table("How fast are other projects on the same lap?", _peers, _peers_lines),
    "vector": Table(
        "What do several environments make together?",
        lambda session: _vector(session, [count for count in COUNTS if count < 16]),
        _vector_lines,
    ),
    "vector64": Table(
        "And 64 of them, far more than cores?",
        lambda session: _vector(session, [count for count in COUNTS if count >= 16]),
        _vector_lines,
    ),
}
"""The tables by the name that ``--only`` takes, in the order in which they are measured: last
what takes gigabytes, as systems are slow to give memory for some time after that."""
