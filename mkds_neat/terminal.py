"""The live area of the terminal during a run.

The area is drawn by the thread that runs the evolution: a second thread must not exist when worker
processes are forked.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mkds_gym.display.video import race_clock
from mkds_neat.results import Champion

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_INTERVAL: Final = 0.25
"""Seconds between two pictures."""
_RATES: Final = 20
"""Pictures over which frames per second and busy workers are measured."""
_WIDTH: Final = 78
"""Widest area, in columns. A wide area would be torn when its terminal gets narrower."""
_ERASE: Final = "\x1b[1A\x1b[2K"
"""Goes up a line, and erases it (ECMA-48)."""
_INDENT: Final = 11
"""Columns of a row's title."""


@dataclass(frozen=True)
class Status:
    """What the live area shows.

    Attributes:
        generation: The generation that is evaluated.
        generations: Most generations of the run.
        done: Individuals of the generation that have a result.
        individuals: Individuals of the generation.
        species: Its species; 0 for a strategy without species.
        best: Best fitness of the generation so far; None before the first result.
        mean: Mean fitness of the generation so far.
        frames: Driver frames emulated so far, in all generations of this process.
        busy_seconds: Seconds that the workers have spent on episodes so far, added up.
        workers: Number of workers.
        seconds_left: Estimated time until the last generation ends; None before there is one.
        champion: The best driver so far.
        fastest_lap: Fastest lap of any driver since the run began or was resumed, in seconds.
    """

    generation: int = 0
    generations: int = 1
    done: int = 0
    individuals: int = 1
    species: int = 0
    best: float | None = None
    mean: float | None = None
    frames: int = 0
    busy_seconds: float = 0.0
    workers: int = 1
    seconds_left: float | None = None
    champion: Champion | None = None
    fastest_lap: float | None = None


class TerminalView:
    """The live area at the bottom of a terminal. The standard error is used.

    Nothing is drawn if the standard error is not a terminal, or one that cannot move its cursor.
    The loss of the terminal has no effect. ``NO_COLOR`` is respected. The cursor stays visible, so
    that a terminal whose run was killed is as before. The last picture stays at the end.

    Args:
        enabled: False draws nothing.
    """

    def __init__(self, enabled: bool = True) -> None:
        able = os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
        drawn = enabled and able and _is_terminal(sys.stderr)
        self._console = _make_console() if drawn else None
        self._started = self._due = time.monotonic()
        self._rates: deque[tuple[float, int, float]] = deque(maxlen=_RATES)
        self._lines = 0  # of the area that is in the terminal, above the cursor

    def update(self, status: Callable[[], Status]) -> None:
        """Draw the area if the last picture is old enough.

        Args:
            status: Returns what to show. Called only if the area is drawn.
        """
        now = time.monotonic()
        if self._console is not None and now >= self._due:
            self.draw(status())
            self._due = time.monotonic() + _INTERVAL

    def draw(self, status: Status) -> None:
        """Draw the area."""
        console = self._console
        if console is None:
            return
        now = time.monotonic()
        self._rates.append((now, status.frames, status.busy_seconds))
        then, frames, busy = self._rates[0]
        seconds = max(now - then, 1e-9)
        rate = (status.frames - frames) / seconds
        share = min(1.0, (status.busy_seconds - busy) / (seconds * status.workers))
        area = StatusArea(status, now - self._started, rate, share)
        with console.capture() as capture:
            console.print(area)
        drawn, erased = capture.get(), self._erase()
        self._lines = drawn.count("\n")
        # In one call: nothing flickers, and an interrupt leaves the terminal as it was.
        console.file.write(erased + drawn)
        console.file.flush()

    def hide(self) -> None:
        """Remove the area, so that lines can be printed. The next `update` draws again."""
        if self._console is not None:
            self._console.file.write(self._erase())
            self._console.file.flush()
            self._lines, self._due = 0, 0.0

    def _erase(self) -> str:
        return f"{_ERASE * self._lines}\r" if self._lines else ""


class StatusArea:
    """A status as a renderable of rich, cut to the size of the terminal.

    Args:
        status: What to show.
        seconds: Time since the start.
        rate: Driver frames a second.
        busy: Workers' busy share, from 0 to 1.
    """

    def __init__(self, status: Status, seconds: float, rate: float, busy: float) -> None:
        self._status, self._seconds, self._rate, self._busy = status, seconds, rate, busy

    def _rows(self) -> Iterator[tuple[str, list[str]]]:
        """Return the rows, each a title and parts between which a line may be broken."""
        s = self._status
        parts = [f"{s.generation} of {s.generations}", f"{s.done}/{s.individuals} drivers"]
        yield "generation", [*parts, *([f"{s.species} species"] if s.species else [])]
        if s.best is not None and s.mean is not None:
            yield "fitness", [f"best {s.best:.1f}", f"mean {s.mean:.1f}"]
        yield "speed", [f"{self._rate:,.0f} frames/s", f"workers {self._busy:.0%} busy"]
        left = [] if s.seconds_left is None else [f"{duration(s.seconds_left)} left at most"]
        yield "time", [duration(self._seconds), *left]
        if s.champion is None:
            return
        record = s.champion.record
        name = f"driver {s.champion.id} of generation {s.champion.generation}"
        yield "champion", [name, f"fitness {s.champion.fitness:.1f}"]
        if record.lap_times:
            yield "laps", [race_clock(lap) for lap in record.lap_times]
        records = [f"lap {race_clock(s.fastest_lap)}"] if s.fastest_lap is not None else []
        if record.finished:
            records.append(f"race {race_clock(record.race_time)}")
        if records:
            yield "record", records

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.progress_bar import ProgressBar
        from rich.segment import Segment
        from rich.text import Text

        status, width = self._status, min(options.max_width, _WIDTH)
        separator = " | " if options.ascii_only else " · "
        total = status.generations * status.individuals
        done = status.generation * status.individuals + status.done
        overflow: Any = "crop" if options.ascii_only else "ellipsis"
        drawn: list[Any] = [ProgressBar(total, done, width=width)]
        for title, parts in self._rows():
            for line in _packed(parts, separator, width - _INDENT):
                text = Text(title.ljust(_INDENT), "cyan", no_wrap=True, overflow=overflow, end="")
                drawn.append(text.append(line, "default"))
                title = ""
        for each in drawn[: max(1, options.size.height - 1)]:
            yield from console.render(each, options.update(width=width))
            yield Segment.line()


def _packed(parts: Sequence[str], separator: str, width: int) -> list[str]:
    """Join parts to lines that are no wider than ``width`` if no part is."""
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(separator) + len(part) <= width:
            lines[-1] += separator + part
        else:
            lines.append(part)
    return lines


class _Stream:
    """A stream whose loss does not end a run."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _make_console() -> Console:
    from rich.console import Console

    stream: Any = _Stream(sys.stderr)
    return Console(
        file=stream,
        force_terminal=True,
        force_interactive=True,
        force_jupyter=False,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # no stream, or a closed one
        return False


def duration(seconds: float) -> str:
    """Return a time as hours, minutes and seconds, such as ``0:12:31``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
