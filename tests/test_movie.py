"""Movies of DeSmuME are written and read, and play in DeSmuME's own player."""

from __future__ import annotations

import ctypes
import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recordings import record

from mkds_gym.emulator.cartridge import BUNDLED_ROM, Cartridge, header_crc16
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.errors import RecordingError
from mkds_gym.race.reader import RaceReader
from mkds_gym.recording.format import Recording, Start
from mkds_gym.recording.recorder import ConsoleRecorder
from mkds_gym.replay.dsm import booted_cartridge, read_movie, write_movie
from mkds_gym.replay.replay import Replay, verify


def played(console: Console, movie: Path) -> int:
    """Let DeSmuME play a movie, and return its number of frames."""
    library = console.library.image
    library.desmume_movie_play.argtypes = (ctypes.c_char_p,)
    library.desmume_movie_play.restype = ctypes.c_char_p
    assert library.desmume_movie_play(str(movie).encode()) is None
    length: int = library.desmume_movie_get_length()
    console.step(0, length, draw=False)
    assert library.desmume_movie_is_playing()
    library.desmume_movie_stop()
    return length


@pytest.fixture(scope="module")
def menu() -> Recording:
    """Random keys, each at least once, from power-on through the cartridge's menu."""
    keys = np.random.default_rng(0).choice([0, *map(int, Keys), 0xFFF], 30).repeat(8)
    with Console() as console:
        recorder = ConsoleRecorder(console, Start("power_on"), label="menu")
        for mask in keys.tolist():
            console.step(mask, draw=False)
            recorder.step(mask)
        return recorder.recording()


@pytest.fixture(scope="module")
def race() -> Recording:
    return record(25, engine_class=150)


@pytest.fixture(scope="module")
def race_movie(race: Recording, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of the race's movie."""
    return write_movie(race, tmp_path_factory.mktemp("movie") / "run.dsm")[0].read_text()


def test_movie_of_a_recording_reads_back_equal(
    menu: Recording, race: Recording, tmp_path: Path
) -> None:
    for recording in (menu, race):
        again = read_movie(write_movie(recording, tmp_path / "run.dsm")[0])
        assert again.to_bytes() == recording.to_bytes()
        verify(again)


def test_desmume_player_ends_with_the_same_memory(menu: Recording, tmp_path: Path) -> None:
    assert write_movie(menu, tmp_path / "run.dsm") == [tmp_path / "run.dsm"]
    with Console() as console, Replay(menu, pictures=False) as replay:
        assert played(console, tmp_path / "run.dsm") == menu.frames
        replay.run()
        np.testing.assert_array_equal(console.ram, replay.console.ram)


def test_desmume_player_needs_the_written_cartridge_for_a_booted_race(
    race: Recording, tmp_path: Path
) -> None:
    """The same memory, but for the cartridge's name and what the console keeps of its header."""
    movie, cartridge = write_movie(race, tmp_path / "run.dsm")
    with Console(cartridge) as console, Replay(race, pictures=False) as replay:
        played(console, movie)
        replay.run()
        different = np.flatnonzero(console.ram != replay.console.ram)
    assert 0 < len(different) < 32
    header = cartridge.read_bytes()[:0x160]
    assert struct.unpack_from("<H", header, 0x15E)[0] == header_crc16(header[:0x15E])
    name, kept = 0x3E0000, 0x3FF800  # offsets in main memory
    assert (((name <= different) & (different < name + 16)) | (different >= kept)).all()


def test_movie_recorded_by_desmume_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By DeSmuME's own recorder, whose header has the cartridge's checksum and all settings."""
    movie = tmp_path / "theirs.dsm"
    masks = [0] * 5 + [int(Keys.A)] * 5 + [int(Keys.LEFT | Keys.R)] * 5
    with Console() as console:
        library = console.library.image
        library.desmume_movie_record_simple.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
        library.desmume_movie_record_simple.restype = ctypes.c_char_p
        assert library.desmume_movie_record_simple(str(movie).encode(), b"them") is None
        for mask in masks:
            console.step(mask)
        library.desmume_movie_stop()
    assert f"{zlib.crc32(BUNDLED_ROM.read_bytes()):08X}" in movie.read_text()
    recording = read_movie(movie)
    assert recording.keys.tolist() == masks
    assert recording.jit
    assert caplog.messages == []


def test_desktop_movie_with_other_settings_warns(menu: Recording, tmp_path: Path) -> None:
    """Without our comment, in the older version of the format, and with other letters."""
    (movie,) = write_movie(menu, tmp_path / "run.dsm")
    lines = [line for line in movie.read_text().splitlines() if not line.startswith("comment")]
    text = "\n".join(lines).replace("version 2", "version 1").replace(" 000|", "|")
    movie.write_text(text.replace("A", "#"))
    again = read_movie(movie)
    np.testing.assert_array_equal(again.keys, menu.keys)
    assert (again.start, again.ram, again.jit) == (menu.start, "", menu.jit)
    verify(replace(again, ram=menu.ram))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version 2", "version 7", "not a DeSmuME movie"),
        ("000 000 0 000|", "010 020 1 000|", "line 21.*stylus"),
        ("|0|", "|2|", "reset"),
        ("000 000 0 000|", "000 000|", "not a frame"),
        ("savestate 0", "savestate 1", "power-on"),
        ('"frame": ', '"frame": 1', "changed"),
        ("mkds-gym {", "mkds-gym ", "comment of movie .* is not JSON"),
        ("mkds-gym {", "mkds-gym [", "comment of movie .* is not JSON"),
        ('"kind": "race"', '"kind": "state"', "the savestate is missing"),
        ('"frame": ', '"frame": -', r"start\.frame"),
        ('"frame": ', '"frame": 99999999', "more than a day"),
        ('"lead": ', '"lead": 9999', "lead: "),
        ('"label": "', '"lable": "', "label|lable"),
        ('"label": "', '"label": NaN, "x": "', "is not JSON"),
        ("|0|", "|" + "9" * 5000 + "|", "not a frame"),
        ("|0|", "|\u0663|", "not a frame"),
        ("rerecordCount 0", "x" * (1 << 20), "line 3: the header is too long"),
        ("rerecordCount 0", "x\n" * 10_000, "line 10001: the header is too long"),
    ],
)
def test_unsupported_movie_is_refused(
    race_movie: str, old: str, new: str, message: str, tmp_path: Path
) -> None:
    movie = tmp_path / "run.dsm"
    movie.write_text(race_movie.replace(old, new, 1))
    with pytest.raises(RecordingError, match=message):
        read_movie(movie)


def test_movie_that_is_not_a_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.dsm")
    for path in (tmp_path / "run.dsm", "/dev/zero", tmp_path):
        with pytest.raises(RecordingError, match=r"is a .*: expected a \.dsm file"):
            read_movie(path)


def test_recording_from_a_savestate_is_no_movie(race: Recording, tmp_path: Path) -> None:
    state = replace(race, start=Start("state", path="x"))
    with pytest.raises(RecordingError, match=r"starts at power-on; .*progress"):
        write_movie(state, tmp_path / "run.dsm")
    with pytest.raises(RecordingError, match="suffix"):
        write_movie(race, tmp_path / "run.nds")
    with pytest.raises(RecordingError, match="does not exist"):
        read_movie(tmp_path / "none.dsm")
    assert list(tmp_path.iterdir()) == []


def test_other_cartridge_file_is_not_overwritten(race: Recording, tmp_path: Path) -> None:
    """Least of all the cartridge itself, whose name a movie beside it may have."""
    own = tmp_path / "run.nds"
    own.write_bytes(BUNDLED_ROM.read_bytes())
    for rom in (own, None):
        with pytest.raises(RecordingError, match=r"run\.nds.*another file exists"):
            write_movie(race, tmp_path / "run.dsm", rom)
    assert own.read_bytes() == BUNDLED_ROM.read_bytes()
    assert list(tmp_path.iterdir()) == [own]
    for _ in range(2):  # the very same file may be there
        assert len(write_movie(race, tmp_path / "again.dsm")) == 2
    (tmp_path / "folder.nds").mkdir()
    with pytest.raises(RecordingError, match=r"folder\.nds"):
        write_movie(race, tmp_path / "folder.dsm")


@pytest.mark.slow
def test_vs_race_movie_ends_as_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its chance is set at power-on then, and not at the race's start."""
    versus = record(40, mode="vs", opponents=3, items=True, seed=5)
    assert versus.start.race_seed is not None
    movie, cartridge = write_movie(versus, tmp_path / "kartlab.dsm")
    again = read_movie(movie)
    assert again.to_bytes() == versus.to_bytes()
    with Console(cartridge) as console, Replay(versus, pictures=False) as replay:
        played(console, movie)
        replay.run()
        there, here = (each.ram.view("<u4") for each in (console, replay.console))
        different = np.flatnonzero(there != here)
        seeds = there[different[different < 0x3FF800 // 4]].tolist()
        karts = [RaceReader(each.ram).read().opponents for each in (console, replay.console)]
    assert seeds == [versus.start.race_seed] * len(seeds)
    assert 0 < len(seeds) < 8
    assert karts[0] == karts[1]
    assert len(karts[0]) == 3
    # With another seed at power-on the opponents drive elsewhere, and that is seen.
    seed77 = replace(versus, start=replace(versus.start, race_seed=77))
    other = booted_cartridge(seed77, Cartridge.open())
    monkeypatch.setattr("mkds_gym.replay.dsm.booted_cartridge", lambda *_: other)
    with pytest.raises(RecordingError, match="race differs"):
        write_movie(versus, tmp_path / "other.dsm")
    assert not (tmp_path / "other.dsm").exists()


def test_movie_of_another_cartridge_is_refused(
    menu: Recording, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (movie,) = write_movie(menu, tmp_path / "run.dsm")
    lines = [line for line in movie.read_text().splitlines() if not line.startswith("comment")]

    def written(**values: str) -> Path:
        """The movie with another header."""
        changed = [
            f"{key} {values[key]}" if (key := line.split(" ")[0]) in values else line
            for line in lines
        ]
        movie.write_text("\n".join(changed))
        return movie

    here = f"{zlib.crc32(BUNDLED_ROM.read_bytes()):08X}"
    with pytest.raises(RecordingError, match=f"DEADBEEF.*{here}"):
        read_movie(written(romChecksum="DEADBEEF"))
    with pytest.raises(RecordingError, match="NTR-ASME-USA"):
        read_movie(written(romChecksum="00000000", romSerial="NTR-ASME-USA"))
    for serial in ("NTR-KLBE-EUR", "Homebrew"):
        read_movie(written(romChecksum="0", romSerial=serial))
    assert caplog.messages == []
    read_movie(written(jitBlockSize="100", advancedTiming="0", rtcStartNew="2011-MAY-05 01:02:03"))
    assert len(caplog.messages) == 1
    for words in ("jitBlockSize 100 (12)", "advancedTiming 0 (1)", "rtcStartNew 2011-MAY-05"):
        assert words in caplog.text
    caplog.clear()
    assert not read_movie(written(jitBlockSize="0")).jit
    assert caplog.messages == []
