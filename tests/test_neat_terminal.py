"""The live area of the terminal, on pseudo-terminals whose screens are read back."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyte
import pytest
from neat_config import config_text
from neat_runs import SMALL
from waiting import until

from mkds_neat.episode import EpisodeRecord
from mkds_neat.networks import NetworkSpec, Node
from mkds_neat.results import Champion
from mkds_neat.terminal import Status, TerminalView

NETWORK = NetworkSpec((-1,), (0,), (Node(0),), ())
RECORD = EpisodeRecord(finished=True, lap_times=(31.25, 29.5), race_time=92.5)
CHAMPION = Champion(7, 11, 812.44, "neat", {}, NETWORK, "MKDS-v0", {}, 1, RECORD)
STATUS = Status(
    generation=12,
    generations=100,
    done=31,
    individuals=50,
    species=5,
    best=812.44,
    mean=301.25,
    seconds_left=751.0,
    champion=CHAMPION,
    fastest_lap=28.75,
)


class Terminal:
    """A pseudo-terminal, its screen, and the bytes that were written to it."""

    def __init__(self, columns: int, lines: int = 24) -> None:
        self.leader, follower = os.openpty()
        self.stream = open(follower, "w", buffering=1)  # noqa: PTH123, SIM115
        self.screen = pyte.Screen(columns, lines)
        self._input = pyte.ByteStream(self.screen)
        self.written = b""
        self.resize(columns, lines)
        os.set_blocking(self.leader, False)

    def resize(self, columns: int, lines: int = 24) -> None:
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self.leader, termios.TIOCSWINSZ, size)
        self.screen.resize(lines, columns)

    def read(self) -> str:
        """Return the screen, without spaces at the ends of lines."""
        try:
            while data := os.read(self.leader, 1 << 16):
                self.written += data
                self._input.feed(data)
        except OSError:  # nothing more
            pass
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    made: list[Terminal] = []
    for name in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    ours = os.get_terminal_size

    def size(descriptor: int = 1) -> os.terminal_size:  # rich asks standard input first
        return ours(made[-1].leader) if descriptor in (0, 1, 2) else ours(descriptor)

    monkeypatch.setattr(os, "get_terminal_size", size)

    def make(columns: int, lines: int = 24) -> Terminal:
        made.append(Terminal(columns, lines))
        monkeypatch.setattr(sys, "stderr", made[-1].stream)
        return made[-1]

    yield make
    monkeypatch.undo()
    for each in made:
        each.stream.close()
        os.close(each.leader)


WIDE = """\
generation 12 of 100 · 31/50 drivers · 5 species
fitness    best 812.4 · mean 301.2
speed      0 frames/s · workers 0% busy
time       0:00:00 · 0:12:31 left at most
champion   driver 7 of generation 11 · fitness 812.4
laps       0:31.250 · 0:29.500
record     lap 0:28.750 · race 1:32.500"""

NARROW = """\
generation 12 of 100 · 31/50 drivers
           5 species
fitness    best 812.4 · mean 301.2
speed      0 frames/s · workers 0% busy
time       0:00:00
           0:12:31 left at most
champion   driver 7 of generation 11
           fitness 812.4
laps       0:31.250 · 0:29.500
record     lap 0:28.750 · race 1:32.500"""


@pytest.mark.parametrize(("columns", "expected"), [(120, WIDE), (78, WIDE), (40, NARROW)])
def test_area_fits_the_width_of_the_terminal(terminal, columns: int, expected: str) -> None:
    screen = terminal(columns)
    threads = threading.active_count()
    view = TerminalView()
    view.draw(STATUS)
    bar, _, rest = screen.read().partition("\n")
    assert (rest, len(bar)) == (expected, min(columns, 78))
    assert threading.active_count() == threads, "workers are forked"
    assert not screen.screen.cursor.hidden
    assert b"\x1b[36m" in screen.written
    assert screen.read().endswith(expected), "the last picture stays"


def test_new_pictures_replace_old_ones_below_lines_of_output(terminal) -> None:
    screen = terminal(60)
    view, updates = TerminalView(), list[int]()
    for number in range(4):
        view.draw(STATUS)
        view.hide()
        screen.stream.write(f"line {number}\n")
        view.update(lambda n=number: updates.append(n) or STATUS)
    assert updates == [0, 1, 2, 3], "an area that was hidden is drawn again at once"
    screen.stream.write("the end\n")
    lines = screen.read().splitlines()
    assert lines[:4] == [f"line {number}" for number in range(4)]
    assert [line.split()[0] for line in lines[5:]] == [
        *("generation", "fitness", "speed", "time", "champion", "laps", "record", "the"),
    ]


def test_rates_are_those_of_the_last_pictures(terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    screen, clock = terminal(80), [0.0]
    monkeypatch.setattr("mkds_neat.terminal.time.monotonic", lambda: clock[0])
    view = TerminalView()
    for second in range(100):  # a slow start, which is forgotten
        clock[0] = float(second)
        work = max(0, second - 50)
        view.update(lambda n=work: Status(frames=20_000 * n, busy_seconds=1.5 * n, workers=2))
        screen.read()  # a full pseudo-terminal blocks
    assert "speed      20,000 frames/s · workers 75% busy" in screen.read()
    assert "time       0:01:39" in screen.read()


def test_area_follows_a_resize_and_a_small_height(terminal) -> None:
    screen = terminal(100)
    view = TerminalView()
    view.draw(STATUS)
    screen.read()
    screen.resize(40)
    view.draw(STATUS)
    assert screen.read().endswith(NARROW)
    screen.resize(100)
    view.draw(STATUS)
    assert screen.read().endswith(WIDE)
    screen = terminal(40, 5)
    view = TerminalView()
    for _ in range(3):
        view.draw(STATUS)
    assert screen.read().splitlines()[1:] == NARROW.splitlines()[:3]


def test_terminal_without_colours_gets_none(terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = terminal(80)
    view = TerminalView()
    view.draw(STATUS)
    assert screen.read().endswith(WIDE)
    bar = screen.read().splitlines()[0]
    assert bar.count("━") == 78 * (12 * 50 + 31) // (100 * 50), "the share that is done"
    assert not {code for code in screen.written.split(b"\x1b[") if code[:3].rstrip(b"m").isdigit()}


@pytest.mark.parametrize("reason", ["quiet", "dumb", "pipe"])
def test_nothing_is_drawn(reason: str, terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(80)
    if reason == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    if reason == "pipe":
        monkeypatch.setattr(screen.stream, "isatty", lambda: False, raising=False)
        monkeypatch.setattr(sys, "stderr", open(os.devnull, "w"))  # noqa: PTH123, SIM115
    view = TerminalView(enabled=reason != "quiet")
    view.draw(STATUS)
    view.update(lambda: pytest.fail("nobody looks"))
    view.hide()
    assert screen.read() == ""
    assert screen.written == b""


def test_interrupt_while_drawing_leaves_a_usable_terminal(
    terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt at any write ends the block, with the cursor shown below the area."""
    for at in range(1, 20):
        screen, count = terminal(60), [0]

        def write(
            text: str, write: Any = screen.stream.write, count: list[int] = count, at: int = at
        ) -> Any:
            count[0] += 1
            if count[0] == at:
                raise KeyboardInterrupt
            return write(text)

        monkeypatch.setattr(screen.stream, "write", write, raising=False)
        try:
            view = TerminalView()
            for _ in range(2):
                view.draw(STATUS)
            view.hide()
            view.draw(STATUS)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
        else:
            assert count[0] < at
            return
        assert "stopped" in screen.read().splitlines()[-1]
        assert not screen.screen.cursor.hidden
    pytest.fail("more writes than expected")


@pytest.mark.slow
def test_ctrl_c_ends_a_run_below_its_live_area(tmp_path: Path, terminal) -> None:
    screen = terminal(80, 40)
    text = config_text(
        **{**SMALL, "run__output": "out", "run__generations": 999, "run__start_method": "fork"}
    )
    (tmp_path / "c.ini").write_text(text)
    process = subprocess.Popen(
        [sys.executable, "-m", "mkds_neat.run", "c.ini", "--no-pictures"],
        cwd=tmp_path,
        stdin=screen.stream,
        stdout=screen.stream,
        stderr=screen.stream,
        start_new_session=True,
    )
    until(lambda: "generation   1:" in screen.read(), 60)
    until(lambda: "champion   driver" in screen.read(), 60)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    lines = screen.read().splitlines()
    assert any(line.startswith("generation   0: best ") for line in lines[1:4])
    (stopped,) = [n for n, line in enumerate(lines) if line.startswith("stopped in generation")]
    (area,) = [n for n, line in enumerate(lines) if line.startswith("generation") and "of" in line]
    assert 0 <= stopped - area < 10
    assert not screen.screen.cursor.hidden
