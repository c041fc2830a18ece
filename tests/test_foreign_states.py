"""States from outside: tried in a child process, refused without a trace, remembered if good."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from consoles import drive, race_console

from mkds_gym.emulator import Console, Keys, Snapshot
from mkds_gym.emulator.desmume.loader import library_path
from mkds_gym.emulator.states import known_states, trial
from mkds_gym.emulator.states.snapshot import chunks
from mkds_gym.emulator.states.state_file import ReadState, read_state
from mkds_gym.emulator.states.state_layout import Layout
from mkds_gym.errors import ConsoleError, StateError


@pytest.fixture(scope="module")
def console(race_start: Snapshot) -> Iterator[Console]:
    with race_console() as console:
        console.restore(race_start)
        yield console


@pytest.fixture
def no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """No child process is started."""

    def run_in_child(*_: object) -> None:
        raise AssertionError("a child process was started")

    monkeypatch.setattr(trial, "run_in_child", run_in_child)


def state_file(state: bytes, like: Snapshot) -> bytes:
    """A file as `Console.save_state` writes it, with a right checksum, which nobody saved."""
    header = struct.pack(
        "<8sI20s32sQII",
        b"MKDSGYM\0",
        1,
        bytes.fromhex(like.rom),
        bytes.fromhex(like.build_id),
        like.frame_count,
        len(state),
        zlib.crc32(state),
    )
    return header + zlib.compress(state, 1)


def data_of(state: bytes, chunk: int) -> int:
    """Where the data of a chunk begins."""
    return next(start + 8 for number, start, _ in chunks(state) if number == chunk)


def written(state: bytes, place: int, data: bytes) -> bytes:
    return state[:place] + data + state[place + len(data) :]


def resized(state: bytes, chunk: int, more: bytes) -> bytes:
    """A state with bytes added to a chunk."""
    start, end = next((start, end) for number, start, end in chunks(state) if number == chunk)
    size = struct.pack("<I", end - start - 8 + len(more))
    longer = state[: start + 4] + size + state[start + 8 : end] + more + state[end:]
    return written(longer, 24, struct.pack("<I", len(longer)))


def damaged_layouts(state: bytes) -> dict[str, tuple[bytes, str]]:
    """States with another layout, and what is said of them."""
    rtc = data_of(state, 120)
    tables = {
        f"name in chunk {chunk}": (
            written(state, data_of(state, chunk), b"XXXX"),
            f"chunk {chunk} has the entry 'XXXX'",
        )
        for chunk in (1, 2, 4, 5, 60, 90, 100, 120, 130, 160, 170, 180)
    }
    sizes = {
        f"size of chunk {chunk}": (resized(state, chunk, bytes(4)), f"chunk {chunk} has .* bytes")
        for chunk in (3, 51, 7, 8, 81, 111, 140, 150)
    }
    return {
        **tables,
        **sizes,
        "size of an element": (
            written(state, rtc + 4, b"\x02"),
            "120 has the entry 'R000' of 2 x 1",
        ),
        "number": (written(state, rtc - 8, b"\x01"), "it has the chunks"),
    }


def damaged_states(state: bytes) -> dict[str, tuple[bytes, str]]:
    """States that the emulator complains of, or crashes on, and what their errors say."""
    registers = data_of(state, 1)
    place = state.index(b"9REG", registers) + 12
    nowhere = written(state, place, bytes(range(1, 65)))
    for name in (b"9INA", b"9INN"):
        nowhere = written(nowhere, nowhere.index(name, registers) + 12, b"\x77\x66\x55\x44")
    return {
        "one bit": (flipped(state, data_of(state, 120) + 2, 2), "chunk 120 has the entry"),
        "movie": (resized(state, 101, bytes(4)), "There was an error loading the savestate"),
        "registers": (nowhere, "the emulator crashes on it .SIGSEGV"),
    }


def flipped(state: bytes, place: int, bit: int) -> bytes:
    return written(state, place, bytes([state[place] ^ 1 << bit]))


def test_other_layout_is_named(race_start: Snapshot) -> None:
    state = bytes(race_start.data)
    layout = Layout(state)
    assert layout.fault(state) == ""
    for case, (damaged, message) in damaged_layouts(state).items():
        assert re.search(message, layout.fault(damaged)), case


def test_value_that_the_emulator_cannot_take_is_named(race_start: Snapshot) -> None:
    state = bytes(race_start.data)
    layout = Layout(state)
    for chunk, name, value, message in (
        (5, b"_VCT", 263, "_VCT in chunk 5 is 263"),
        (60, b"F1TL", 16, "F1TL in chunk 60 is 16"),
        (60, b"FDHD", 0x6000, "FDHD in chunk 60 is 24576"),
        (90, b"GMOD", 4, "GMOD in chunk 90 is 4"),
        (90, b"ML4I", 16, "ML4I in chunk 90 is 16"),
        (90, b"GTVM", 80_000, "GTVM in chunk 90 is 80000"),
        (90, b"GFTA", 200_000, "GFTA in chunk 90 is 200000"),
    ):
        entry = state.index(name, data_of(state, chunk))
        size = state[entry + 4]
        damaged = written(state, entry + 12, value.to_bytes(size, "little"))
        assert layout.fault(damaged) == message
    many, nan = b"\xff\xff\xff\x7f", struct.pack("<d", float("nan"))
    for chunk, place, data, message in (
        (3, 0, b"\x02", "chunk 3 begins with"),
        (101, 0, b"MOVI", "chunk 101 begins with"),
        (140, 4, b"\x02", "chunk 140 begins with"),
        (150, 8, many, "chunk 150 begins with"),
        (51, 4, many, "the clocks in chunk 51 are far apart"),
        (51, 36, b"\x04", "no line of a picture"),
        (8, 4 + 10, b"\x04", "sound channel 0"),
        (8, 4 + 57 + 24, nan, "sound channel 1"),
        (8, 1084 - 44, b"\x10", "the queue of captured sound"),
        (61, 28, many, "the backup memory has another size"),
        (61, 264755 - 0x40000 - 4, many, "the firmware has another size"),
        (91, 4, many, "vertices and"),
        (91, 8 + 39 * 2519, b"\x01", "another size than its vertices"),
        (91, 8 + 39 * 2519 + 4 + 4, b"\xff\xff", "a polygon without its vertices"),
        (91, 130857 - 140 - 4240, b"\x02", "a matrix stack that is too high"),
    ):
        damaged = written(state, data_of(state, chunk) + place, data)
        assert message in layout.fault(damaged)


def test_damaged_state_is_refused_and_changes_nothing(
    console: Console, race_start: Snapshot
) -> None:
    state = bytes(race_start.data)
    console.restore(race_start)
    expected = drive(console, 30)
    console.restore(race_start)
    console.hold(Keys.A)
    before = console.ram.tobytes()
    cases = damaged_states(state)
    for case, (damaged, message) in cases.items():
        snapshot = Snapshot(damaged, race_start.rom, race_start.build_id, 0, foreign=True)
        file = state_file(damaged, race_start)
        load = (
            partial(console.load_state, file)
            if case != "movie"
            else partial(console.restore, snapshot)
        )
        with pytest.raises(StateError, match=message):
            load()
        assert console.ram.tobytes() == before, case
        assert console.frame_count == race_start.frame_count
    assert drive(console, 30) == expected


def test_good_state_is_tried_once_even_without_a_cache_folder(
    console: Console,
    race_start: Snapshot,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MKDS_HOME", str(tmp_path / "file"))
    file = state_file(bytes(race_start.data), race_start)
    console.restore(race_start)
    expected = drive(console, 10)
    console.load_state(file)
    request.getfixturevalue("no_child")
    console.load_state(file)
    assert drive(console, 10) == expected


def test_state_that_a_process_saved_is_not_tried(
    console: Console,
    race_start: Snapshot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_child: None,  # noqa: ARG001
) -> None:
    monkeypatch.setenv("MKDS_HOME", str(tmp_path))
    console.restore(race_start)
    bytes_only = console.save_state()
    console.step(0, 1)
    console.save_state(tmp_path / "a.state")
    console.load_state(bytes_only or b"")
    console.load_state(tmp_path / "a.state")
    monkeypatch.setattr(known_states, "_here", {})  # as in a later process
    console.load_state(tmp_path / "a.state")
    with pytest.raises(AssertionError, match="a child process was started"):
        console.load_state(bytes_only or b"")


def test_state_without_a_fingerprint_is_tried_at_each_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_states, "_here", {})
    known_states.remember("")
    assert not known_states.is_known("")


def test_states_are_tried_one_after_the_other(console: Console, race_start: Snapshot) -> None:
    good = bytes(race_start.data)
    bad, message = damaged_states(good)["registers"]
    states = [
        ReadState(Snapshot(data, race_start.rom, race_start.build_id, 0), name)
        for name, data in (("a", good), ("b", bad), ("c", good))
    ]
    found = list(trial.faults(states, console.cartridge, library_path(), jit=True))
    assert [bool(fault) for fault in found] == [False, True, False]
    assert re.match(message, found[1])


def test_child_that_cannot_start_is_named(
    console: Console, race_start: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged, _ = damaged_states(bytes(race_start.data))["movie"]
    for program, message in (
        ("/nowhere", "cannot start a process"),
        ("/bin/false", "failed: exit"),
    ):
        monkeypatch.setattr("sys.executable", program)
        with pytest.raises(ConsoleError, match=message):
            console.load_state(damaged)


def mutated(state: bytes, random: np.random.Generator) -> bytes:
    """A state with a few bytes changed in one chunk, each chunk as often as the others."""
    spans = [(start, end) for _, start, end in chunks(state)]
    start, end = spans[random.integers(len(spans))]
    end = min(end, start + int(random.choice([64, 1024, 1 << 24])))
    changed = bytearray(state)
    for place in random.integers(start, end, int(random.choice([1, 1, 4, 16]))):
        changed[place] = random.integers(256)
    return bytes(changed)


@pytest.mark.slow
def test_state_that_hangs_the_emulator_is_refused(console: Console, race_start: Snapshot) -> None:
    state = bytes(race_start.data)
    # A timer that is due since power-on, and never comes to its end.
    damaged = flipped(state, data_of(state, 51) + 251, 5)
    with pytest.raises(StateError, match="the state is damaged: the emulator hangs on it"):
        console.load_state(damaged)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_mutated_state_is_refused_or_runs(console: Console, race_start: Snapshot) -> None:
    """A state that passed its trial neither crashes nor hangs this process."""
    random = np.random.default_rng(13)
    counts = {"refused at once": 0, "refused on trial": 0, "loaded": 0}
    for _ in range(400 // 20):
        read = []
        for _ in range(20):
            file = state_file(mutated(bytes(race_start.data), random), race_start)
            try:
                read.append(read_state(file, console.cartridge, console.build_id))
            except StateError:
                counts["refused at once"] += 1
        found = trial.faults(read, console.cartridge, library_path(), jit=True)
        for state, fault in zip(read, found, strict=True):
            if fault:
                counts["refused on trial"] += 1
                continue
            known_states.remember(state.fingerprint)
            console.load_state(state)
            drive(console, 40)
            drive(console, 6, draw=True)
            counts["loaded"] += 1
    assert min(counts.values()) > 20, counts
