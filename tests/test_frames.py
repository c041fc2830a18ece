"""Running frames with copies of the race after each: the same with and without machine code."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from consoles import race_console

from mkds_gym.emulator import Console, Keys
from mkds_gym.emulator.frame_copies import FrameCopies
from mkds_gym.errors import ConsoleError, NoRaceError
from mkds_gym.race.frames import RaceFrames
from mkds_gym.race.reader import RaceReader
from mkds_gym.race.state import RaceState

KEYS = [Keys.A, Keys.A | Keys.LEFT, Keys.B, Keys.A | Keys.R | Keys.RIGHT]


@pytest.fixture(scope="module")
def console() -> Iterator[Console]:
    with race_console() as console:
        console.step(0, 90)
        yield console


@pytest.mark.parametrize("drawn", [-1, 1])
def test_run_returns_the_race_after_each_frame(console: Console, drawn: int) -> None:
    reader = RaceReader(console.ram)
    reader.resolve()
    start = console.snapshot()
    expected: list[RaceState] = []
    for keys in KEYS:
        expected += console.run(keys, 5, reader.read, drawn)
    memory, picture, count = console.ram.copy(), console.screen("both"), console.frame_count
    console.restore(start)
    found: list[RaceState] = []
    for keys in KEYS:
        frames = reader.run(console, keys, 5, drawn)
        assert isinstance(frames, RaceFrames)
        assert frames[-1] == frames[4] == frames[2:][2]
        found += frames
    assert found == expected
    assert console.frame_count == count
    np.testing.assert_array_equal(console.ram, memory)
    np.testing.assert_array_equal(console.screen("both"), picture)


def test_run_looks_up_a_race_that_moves() -> None:
    """At power-on memory has no race; booting creates one."""
    with race_console() as booting, race_console() as other:
        booting.step(0, 90)
        reader = RaceReader(booting.ram)
        before = reader.read()
        state = booting.snapshot()
        booting.reset()
        with pytest.raises(NoRaceError):  # the first frame clears the pointers
            reader.run(booting, 0, 10)
        assert booting.frame_count == 1
        other.step(0, 1)
        np.testing.assert_array_equal(booting.ram, other.ram)
        booting.restore(state)
        assert reader.run(booting, 0, 1)[0].frame >= before.frame


def test_run_and_copy_ends_at_a_changed_word(console: Console) -> None:
    console.reset()
    counter = RaceReader(console.ram)
    console.step(0, 90)
    counter.resolve()
    ram = console.ram
    at = next(  # a word that changes with every frame
        at for at in np.flatnonzero(ram.view("<u4") != _after_a_frame(console).view("<u4"))[:50] * 4
    )
    copies = FrameCopies(ram, [(0, 16), (0x1000, 4)], [int(at)])
    assert copies.supported
    count = console.frame_count
    ran, copied = console.run_and_copy(0, 50, copies)
    assert ran == len(copied) + 1 < 50
    assert console.frame_count == count + ran
    assert all(copy[:16] == ram[:16].tobytes() for copy in copied)


def _after_a_frame(console: Console) -> np.ndarray:
    start = console.snapshot()
    console.step(0, 5)
    later = console.ram.copy()
    console.restore(start)
    return later


def test_run_of_a_closed_console_is_refused() -> None:
    with race_console() as console:
        console.step(0, 90)
        reader = RaceReader(console.ram)
        reader.resolve()
    with pytest.raises(ConsoleError, match="closed"):
        reader.run(console, 0, 1)


@pytest.mark.parametrize(
    ("spans", "words"),
    [([(0, 0)], []), ([(-4, 8)], []), ([(0x3FFFFC, 8)], []), ([(0, 4)], [0x3FFFFD])],
)
def test_parts_outside_memory_are_refused(
    console: Console, spans: list[tuple[int, int]], words: list[int]
) -> None:
    with pytest.raises(ValueError, match="is out of range: expected at least one byte of 0x400000"):
        FrameCopies(console.ram, spans, words)


def test_number_of_frames_is_at_least_one(console: Console) -> None:
    with pytest.raises(ValueError, match="frames=0 is out of range: expected at least 1"):
        console.run_and_copy(0, 0, FrameCopies(console.ram, [(0, 4)], []))
