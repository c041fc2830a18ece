"""Movies of DeSmuME: there and back, and played by DeSmuME's own player."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_replay import record

from mkds_gym.console import Console, Keys
from mkds_gym.errors import RecordingError
from mkds_gym.movie import read_movie, write_movie
from mkds_gym.recording import ConsoleRecorder, Recording, Start
from mkds_gym.replay import Replay, verify


def played(console: Console, movie: Path) -> int:
    """Let DeSmuME play a movie; how many frames it has."""
    library = console._live().library
    library.desmume_movie_play.argtypes = (ctypes.c_char_p,)
    library.desmume_movie_play.restype = ctypes.c_char_p
    assert library.desmume_movie_play(str(movie).encode()) is None
    length: int = library.desmume_movie_get_length()
    for _ in range(length):
        console.step(0)
    assert library.desmume_movie_is_playing()
    library.desmume_movie_stop()
    return length


@pytest.fixture(scope="module")
def menu() -> Recording:
    """Keys of chance, all of them, from power-on through the cartridge's menu."""
    keys = np.random.default_rng(0).choice([0, *map(int, Keys), 0xFFF], 30).repeat(8)
    with Console() as console:
        recorder = ConsoleRecorder(console, Start("power_on"), label="menu")
        for mask in keys.tolist():
            console.step(mask)
            recorder.step(mask)
        return recorder.recording()


@pytest.fixture(scope="module")
def race() -> Recording:
    return record(40, engine_class=150)


def test_there_and_back(menu: Recording, race: Recording, tmp_path: Path) -> None:
    for recording in (menu, race):
        again = read_movie(write_movie(recording, tmp_path / "run.dsm")[0])
        assert again.to_bytes() == recording.to_bytes()
        verify(again)


def test_desmume_plays_it_to_the_same_memory(menu: Recording, tmp_path: Path) -> None:
    assert write_movie(menu, tmp_path / "run.dsm") == [tmp_path / "run.dsm"]
    with Console() as console, Replay(menu, pictures=False) as replay:
        assert played(console, tmp_path / "run.dsm") == menu.frames
        replay.run()
        np.testing.assert_array_equal(console.ram, replay.console.ram)


def test_desmume_plays_a_race_on_the_cartridge_beside_it(race: Recording, tmp_path: Path) -> None:
    """The same memory, but for the cartridge's name and what the console keeps of its header."""
    movie, cartridge = write_movie(race, tmp_path / "run.dsm")
    with Console(cartridge) as console, Replay(race, pictures=False) as replay:
        played(console, movie)
        replay.run()
        different = np.flatnonzero(console.ram != replay.console.ram)
    assert 0 < len(different) < 32
    name, header = 0x3E0000, 0x3FF800  # offsets in main memory
    assert (((name <= different) & (different < name + 16)) | (different >= header)).all()


def test_a_movie_of_the_desktop_emulator(menu: Recording, tmp_path: Path) -> None:
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
        ("version 2", "version 7", "no movie"),
        ("000 000 0 000|", "010 020 1 000|", "line 21.*stylus"),
        ("|0|", "|2|", "reset"),
        ("000 000 0 000|", "000 000|", "no frame"),
        ("savestate 0", "savestate 1", "power-on"),
        ('"frame": ', '"frame": 1', "changed"),
        ("mkds-gym {", "mkds-gym ", "damaged"),
    ],
)
def test_what_cannot_be_driven(
    race: Recording, old: str, new: str, message: str, tmp_path: Path
) -> None:
    movie, _ = write_movie(race, tmp_path / "run.dsm")
    movie.write_text(movie.read_text().replace(old, new, 1))
    with pytest.raises(RecordingError, match=message):
        read_movie(movie)


def test_what_cannot_be_a_movie(race: Recording, tmp_path: Path) -> None:
    state = replace(race, start=Start("state", path="x"))
    with pytest.raises(RecordingError, match="power-on only"):
        write_movie(state, tmp_path / "run.dsm")
    versus = replace(race, start=replace(race.start, race_seed=3))
    with pytest.raises(RecordingError, match="chance"):
        write_movie(versus, tmp_path / "run.dsm")
    with pytest.raises(RecordingError, match="no movie"):
        read_movie(tmp_path / "none.dsm")
    assert list(tmp_path.iterdir()) == []
