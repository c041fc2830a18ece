"""Kartlab's screens: title, menu, pause, results, ghost, sound.

The tests press keys, read text from the screens with the program's alphabet, and read sounds from
the emulator's sound channels.
"""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from kartlab_race import LAYOUT, KartlabRace
from numpy.typing import NDArray

from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.kartlab import ROM_PATH, SOURCE_DIRECTORY
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.race import memory_layout
from mkds_gym.race.names import course_id
from mkds_gym.race.reader import RaceReader

LOADING = 40  # frames, more than any course takes
RACE_MEMORY = slice(0x175000, 0x3CF000)
"""Main memory of a race: fixed addresses, heap, race config."""


def alphabet() -> dict[bytes, str]:
    """Return the program's small letters by their 64 pixels."""
    text = (SOURCE_DIRECTORY / "hud" / "font.c").read_text()
    rows = [int(row, 2) for row in re.findall(r"0b([01]{8})", text)]
    bits = np.unpackbits(np.array(rows, np.uint8)).reshape(-1, 64)
    letters = {}
    for i in reversed(range(64)):  # of two equal glyphs, the first counts
        letters[bits[i].tobytes()] = chr(32 + i)
    return letters


LETTERS = alphabet()
STROKES = {  # colours that text is written in, five bits each
    "white": (31, 31, 31),
    "dim": (13, 15, 19),
    "gold": (31, 26, 6),
    "green": (12, 31, 12),
    "cyan": (14, 28, 31),
}


class Person(KartlabRace):
    """A person who presses keys and reads the screens."""

    def __init__(self, console: Console, wait: int = 2 * LOADING) -> None:
        super().__init__(console)
        self.wait(wait)

    def press(self, *keys: Keys) -> None:
        for key in keys:
            self.wait(2, key)
            self.wait(2)

    def wait(self, frames: int = LOADING, keys: int = 0) -> None:
        super().wait(frames, keys)

    def menu(self) -> None:
        self.press(Keys.START)
        self.wait()

    def start_race(self) -> None:
        """Start the race of the menu and wait for it."""
        self.press(Keys.START)
        self.wait_for_race()

    @property
    def scene_frame(self) -> int:
        """Return the frames since the race was loaded."""
        return self.word(self.word(LAYOUT.race_state_pointer) + 4)

    def text(self, row: int) -> str:
        """Return the small letters in a row (0 to 23) of the bottom screen."""
        for _ in range(3):  # until the picture is on the screen
            self.console.step(0, 1)
        picture = self.console.screen("bottom")[..., :3].astype(int) // 8
        inked = np.zeros(picture.shape[:2], bool)
        for colour in STROKES.values():
            inked |= (picture == colour).all(-1)
        cells = inked[8 * row + 3 : 8 * row + 11, 2:250].reshape(8, 31, 8).transpose(1, 0, 2)
        found = (LETTERS.get(cell.astype(np.uint8).tobytes(), " ") for cell in cells)
        return "".join(found).rstrip()


@pytest.fixture
def person() -> Iterator[Person]:
    with Console(ROM_PATH) as console:
        yield Person(console)


def titles() -> dict[int, str]:
    """Return the courses of the menu: id -> title."""
    table = Cartridge.open(ROM_PATH).file("kartlab/courses.bin")
    count, size = struct.unpack_from("<HH", table, 4)
    entries = (table[8 + i * size : 8 + (i + 1) * size] for i in range(count))
    return {entry[0]: entry[4:].split(b"\0")[0].decode("ascii") for entry in entries}


# ------------------------------------------------------------------------------- title and menu


def test_title_shows_one_course_after_another_without_a_race(person: Person) -> None:
    assert not person.reader.race_on
    shown = {person.text(0)}
    person.wait(1210)
    shown.add(person.text(0))
    assert not person.reader.race_on
    names = titles().values()
    assert len(shown) == 2
    assert all(any(line.endswith(name) for name in names) for line in shown), shown


def test_two_presses_start_a_race(person: Person) -> None:
    person.menu()
    assert not person.reader.race_on
    assert "CHOOSE A RACE" in person.text(0)
    person.start_race()
    assert person.config["course_id"] == 25
    assert person.config["mode"] == 1
    assert person.config["engine_class"] == 1
    assert person.config["lap_override"] == -1  # the course's laps, as the original writes
    assert len(person.drivers) == 1
    assert person.status["not_controllable"] > 200
    assert titles()[25] in person.text(0)


def test_every_menu_row_changes_the_race(person: Person) -> None:
    person.menu()
    for keys, row, line in (
        ((Keys.DOWN, Keys.RIGHT), 6, "MODE     VS"),
        ((Keys.DOWN, Keys.RIGHT), 8, "CLASS    150CC"),
        ((Keys.DOWN, Keys.RIGHT, Keys.RIGHT), 10, "LAPS     2"),
        ((Keys.DOWN, Keys.LEFT), 12, "MIRROR   ON"),
        ((Keys.DOWN, Keys.LEFT, Keys.LEFT), 14, "RIVALS   5"),
        ((Keys.DOWN, Keys.RIGHT), 16, "STRENGTH HARD"),
        ((Keys.DOWN, Keys.RIGHT), 18, "ITEMS    OFF"),
    ):
        person.press(*keys)
        assert person.text(row)[2:].startswith(line)
    person.wait(60)
    person.start_race()
    setup = person.config
    assert setup["mode"] == 3
    assert setup["engine_class"] == 2
    assert setup["lap_override"] == 2
    assert setup["mirror"] == 1
    assert person.config["driver_count"] == 6
    assert person.kinds() == ["player"] + ["CPU"] * 5
    assert person.driver["place"] == 5
    assert "VS 150CC" in person.text(0)


def test_time_trial_skips_the_rows_of_vs(person: Person) -> None:
    person.menu()
    person.press(Keys.UP, Keys.RIGHT)  # the last usable row
    assert person.text(12)[2:].startswith("MIRROR   ON")
    person.press(Keys.DOWN, Keys.DOWN, Keys.RIGHT)
    assert person.text(6)[2:].startswith("MODE     VS")
    person.press(Keys.B)
    person.wait()
    assert "A" in person.text(13)  # the title's list of keys


def test_key_tapped_while_a_course_loads_counts(person: Person) -> None:
    person.menu()
    courses = sorted(titles())
    place = courses.index(person.config["course_id"])
    for frames in range(14, 38, 4):  # a choice rests for 20 frames, then its course is loaded
        person.press(Keys.R)
        person.wait(frames)
        person.press(Keys.R)
        person.wait(2 * LOADING)
        place += 2
        assert person.config["course_id"] == courses[place % len(courses)], frames


def test_every_course_can_be_started_and_left(person: Person) -> None:
    person.menu()
    found = set()
    for _ in titles():
        person.press(Keys.R)
        person.wait(40)
        person.start_race()
        found.add(int(person.config["course_id"]))
        assert int(person.config["course_id"]) == person.state.course_id
        assert person.text(0).startswith(" " + titles()[person.state.course_id])
        person.press(Keys.START, Keys.UP, Keys.A)  # pause, quit
        person.wait()
        assert not person.reader.race_on
    assert found == set(titles())


def test_race_from_the_menu_equals_the_host_s_race_bit_for_bit(person: Person) -> None:
    """An earlier race, course or menu leaves no trace in memory."""
    person.menu()
    person.press(Keys.R, Keys.DOWN, Keys.RIGHT)  # another course, VS
    person.wait(40)
    person.start_race()
    person.wait(400, Keys.A)
    person.press(Keys.START, Keys.DOWN, Keys.DOWN, Keys.A)
    person.wait()
    person.press(Keys.L, Keys.DOWN, Keys.RIGHT, Keys.DOWN, Keys.DOWN, Keys.RIGHT)  # 150cc, mirror
    person.wait(60)
    person.start_race()
    boot = BootParameters(
        course=course_id("mario_course"),
        mode="vs",
        drivers=8,
        engine_class=150,
        mirror=True,
        items=True,
        skip_countdown=False,
        sound=True,
        seed=int(person.config["rng_seed"]),
    )
    with Console(ROM_PATH, on_power_on=boot.write) as console:
        other = Person(console, wait=1)
        other.wait_for_race()
        for one in (other, person):
            while one.scene_frame < 20:
                one.wait(1)
        for frame in range(401):
            keys = Keys.A | (Keys.LEFT if frame // 40 % 3 == 1 else 0)
            for one in (other, person):
                one.wait(1, keys)
            if frame % 100 == 0:
                assert other.scene_frame == person.scene_frame
                differ = np.flatnonzero(person.ram[RACE_MEMORY] != console.ram[RACE_MEMORY])
                assert len(differ) == 0, [hex(0x02175000 + int(i)) for i in differ[:8]]


# ---------------------------------------------------------------------------------------- pause


def driven(pauses: tuple[int, ...], **parameters: Any) -> NDArray[np.uint8]:
    """Return the memory of a race after 500 frames, with pauses of half a second."""
    boot = BootParameters(skip_countdown=False, **parameters)
    with Console(ROM_PATH, on_power_on=boot.write) as console:
        for frame in range(500):
            if frame in pauses:
                before = console.ram[RACE_MEMORY].copy()
                console.step(Keys.A | Keys.START, 3, draw=False)
                console.step(Keys.LEFT | Keys.B, 27, draw=False)
                assert (console.ram[RACE_MEMORY] == before).all(), "a paused race does not move"
                assert RaceReader(console.ram, LAYOUT).race_on
                console.step(Keys.START, 1, draw=False)
            console.step(Keys.A | (Keys.LEFT if frame // 30 % 2 else 0), 1, draw=False)
        memory: NDArray[np.uint8] = console.ram[RACE_MEMORY].copy()
        return memory


@pytest.mark.parametrize(
    "parameters", [{}, {"mode": "vs", "drivers": 4, "items": True}], ids=["alone", "vs"]
)
def test_pauses_leave_no_trace_in_the_race(parameters: dict[str, Any]) -> None:
    """The pauses fall into the countdown, just after GO, and into the race."""
    assert (driven((), **parameters) == driven((90, 300, 301, 450), **parameters)).all()


def test_pause_of_the_host_s_race_can_only_resume() -> None:
    with Console(ROM_PATH, on_power_on=BootParameters().write) as console:
        person = Person(console)
        frame = int(person.status["frame"])
        person.press(Keys.START)
        assert "RACE PAUSED" in person.text(7)
        person.press(Keys.DOWN, Keys.A, Keys.DOWN, Keys.DOWN, Keys.A, Keys.B, Keys.UP, Keys.A)
        assert person.reader.race_on
        stood = int(person.status["frame"])
        assert stood - frame <= 3
        person.press(Keys.START)
        person.wait(20)
        assert 18 <= person.status["frame"] - stood <= 26
        assert "RACE PAUSED" not in person.text(7)


def test_restart_begins_the_same_race_again(person: Person) -> None:
    person.menu()
    person.start_race()
    first = person.driver["position"].copy()
    person.wait(400, Keys.A)
    assert (person.driver["position"] != first).any()
    person.press(Keys.START, Keys.DOWN, Keys.A)
    person.wait()
    assert person.reader.race_on
    assert person.status["not_controllable"] > 200
    assert np.abs(person.driver["position"] - first).max() < 4096


# ---------------------------------------------------------------------------- results and ghost


def race_to_the_end(person: Person, seen: Callable[[], object] | None = None) -> None:
    """Drive the race to its finish, and wait for the results."""
    for _ in range(6000):
        finished = person.state.finished
        person.step(person.pursuit())
        if seen:
            seen()
        if finished:
            break
    else:
        pytest.fail(f"no finish: {person.state}")
    person.wait(200)


def put_into_last_lap(person: Person) -> None:
    """Count the coming start line as the finish of a race of one lap, for every driver."""
    for driver in person.status["drivers"]:
        driver["lap"] = driver["highest_lap"] = 1


def one_lap(person: Person) -> None:
    """Start a time trial of one lap from the title."""
    person.menu()
    person.press(Keys.DOWN, Keys.DOWN, Keys.DOWN, Keys.RIGHT)
    person.start_race()


def shown_time(milliseconds: int) -> str:
    return f"{milliseconds // 60000}:{milliseconds // 1000 % 60:02d}.{milliseconds // 10 % 100:02d}"


def recordings(person: Person) -> list[int]:
    """Return the pointer to recorded keys of each input unit; 0 without a recording."""
    size = memory_layout.INPUT_UNIT.itemsize * memory_layout.INPUT_UNIT_COUNT
    units = person.ram[LAYOUT.input_units - RAM_START :][:size].view(memory_layout.INPUT_UNIT)
    return [int(pointer) for pointer in units["recording"]]


def test_best_run_becomes_the_ghost_and_the_record(person: Person) -> None:
    one_lap(person)
    assert len(person.drivers) == 1
    assert recordings(person) == [0] * memory_layout.INPUT_UNIT_COUNT
    way: dict[int, tuple[int, ...]] = {}

    pressed: list[int] = []
    keys = person.ram[LAYOUT.input_units - RAM_START :][:2].view("<u2")

    def record() -> None:
        pressed.append(int(keys[0]))
        way[person.scene_frame] = tuple(person.driver["position"].tolist())

    race_to_the_end(person, record)
    mine = person.status["drivers"][0]
    total = int(mine["total_milliseconds"])
    before = person.ram[RACE_MEMORY].copy()
    assert "RESULT" in person.text(3)
    assert f"LAP 1  {shown_time(total)}" in person.text(10)
    assert "THE FIRST RECORD" in person.text(16)
    finish = person.word(LAYOUT.race_status_pointer) - RAM_START - 0x175000
    assert (person.ram[RACE_MEMORY][finish : finish + 0x14] == before[finish:][:0x14]).all()

    # The next race: the ghost repeats the run frame by frame.
    person.press(Keys.A)
    person.wait()
    person.reader.resolve()
    drivers = person.drivers
    assert person.kinds() == ["player", "ghost"]
    assert [int(kind) for kind in drivers["kind"]] == [0x08000011, 0x08000014]
    # Only the second input unit points to recorded keys and their frames.
    pointer = recordings(person)[1]
    assert recordings(person) == [0, pointer, *[0] * (memory_layout.INPUT_UNIT_COUNT - 2)]
    recorded: list[int] = []
    for held, frames in person.ram[pointer - RAM_START :][:4000].view("<u2").reshape(-1, 2):
        recorded += [int(held)] * int(frames)
    assert recorded[:1000] in [pressed[i : i + 1000] for i in range(10)]
    assert len(set(recorded[:1000])) > 3
    compared = 0
    while person.scene_frame < max(way):
        person.wait(1)
        frame = person.scene_frame
        if frame in way:
            assert tuple(drivers[1]["position"].tolist()) == way[frame], frame
            compared += 1
    assert compared > 1000
    assert person.status["drivers"][1]["total_milliseconds"] == total

    # Leaving the race keeps the record. The menu shows it for this race only.
    person.press(Keys.START, Keys.UP, Keys.A)
    person.wait()
    assert shown_time(total) in person.text(19)
    person.press(Keys.UP, Keys.RIGHT)  # class
    assert shown_time(total) not in person.text(19)
    person.wait(40)
    person.start_race()
    assert len(person.drivers) == 1
    assert recordings(person) == [0] * memory_layout.INPUT_UNIT_COUNT


def test_results_of_a_vs_race_list_all_drivers(person: Person) -> None:
    person.menu()
    person.press(Keys.DOWN, Keys.RIGHT, Keys.DOWN, Keys.DOWN, Keys.RIGHT, Keys.DOWN, Keys.DOWN)
    person.press(*[Keys.RIGHT] * 3)  # seven rivals, then one, two, three
    person.start_race()
    assert len(person.drivers) == 4
    put_into_last_lap(person)
    race_to_the_end(person)
    order = [int(i) for i in person.status["driver_by_place"][:4]]
    for place, who in enumerate(order):
        line = person.text(9 + 2 * place)
        assert ("YOU" if who == 0 else f"KART {who}") in line
        one = person.status["drivers"][who]
        if int(one["flags"]) & 0x40:
            assert shown_time(int(one["total_milliseconds"])) in line
    person.press(Keys.RIGHT, Keys.A)
    person.wait()
    assert "CHOOSE A RACE" in person.text(0)
    assert not person.reader.race_on


def test_host_s_race_stays_after_its_finish() -> None:
    with Console(ROM_PATH, on_power_on=BootParameters(laps=1).write) as console:
        person = Person(console)
        put_into_last_lap(person)
        race_to_the_end(person)
        assert person.config["lap_override"] == person.state.lap == len(person.state.lap_times) == 1
        kept = person.ram[slice(person.word(LAYOUT.race_status_pointer) & 0x3FFFFF, None)][:0x14]
        before = kept.copy()
        person.press(Keys.A, Keys.START, Keys.A, Keys.RIGHT, Keys.START)
        person.wait(600)
        assert person.state.race_on
        assert person.state.finished
        assert (kept == before).all()


# ---------------------------------------------------------------------------------------- sound


class Channels:
    """The emulator's sixteen sound channels."""

    def __init__(self, console: Console) -> None:
        library = console.library.image
        self._read = library["_ZN10SPU_struct8ReadLongEj"]
        self._read.restype = ctypes.c_uint32
        self._read.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        self._spu = ctypes.c_void_p.in_dll(library, "SPU_core")

    def control(self, channel: int) -> int:
        return int(self._read(self._spu, 0x400 + 16 * channel))

    def on(self, channel: int) -> bool:
        return self.control(channel) >> 31 == 1 and self.control(channel) & 0x7F > 0


def engine_timer(person: Person) -> int:
    """Return the start of the engine channel's timer; a larger value is a higher note."""
    return person.word(0x023FF000 + 8 + 6) & 0xFFFF


ENGINE, TYRES, LEAD = 0, 14, 8


def test_race_from_the_menu_plays_sounds(person: Person) -> None:
    channels = Channels(person.console)
    person.menu()
    assert not channels.on(ENGINE)
    person.start_race()
    heard_beeps = 0
    was = False
    while not person.state.controllable:
        person.wait(1)
        heard_beeps += channels.on(LEAD) and not was
        was = channels.on(LEAD)
    assert heard_beeps == 3  # three, two, one
    person.wait(2)
    assert channels.on(LEAD)  # go
    assert channels.on(ENGINE)
    assert channels.control(ENGINE) >> 27 & 3 == 1, "a wave that repeats"
    idle = engine_timer(person)
    person.wait(200, Keys.A)
    assert engine_timer(person) > idle
    person.press(Keys.START)
    person.wait(3)
    assert not channels.on(ENGINE)
    person.press(Keys.START)
    person.wait(3)
    assert channels.on(ENGINE)


def test_host_s_race_plays_sounds_only_on_request() -> None:
    for sound in (False, True):
        with Console(ROM_PATH, on_power_on=BootParameters(sound=sound).write) as console:
            console.step(Keys.A, 200, draw=False)
            assert Channels(console).on(ENGINE) == sound
