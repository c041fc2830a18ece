"""Kartlab's boot parameters: what is refused, and that the program gets the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from mkds_gym.emulator.cartridge import BUNDLED_ROM
from mkds_gym.emulator.console import Console
from mkds_gym.errors import ConsoleError
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.names import COURSES, course_id
from mkds_gym.race.reader import RaceReader


def test_they_reach_the_program_at_every_power_on() -> None:
    memories = set()
    for boot in (
        BootParameters(),
        BootParameters(engine_class=150),
        BootParameters(skip_countdown=False),
        BootParameters(laps=5),
    ):
        with Console(BUNDLED_ROM, on_power_on=boot.write) as console:
            assert not boot.check(console.ram)
            console.step(0, 120, draw=False)
            assert boot.check(console.ram)
            memories.add(console.ram.tobytes())
            console.reset()
            assert not boot.check(console.ram)
            console.step(0, 120, draw=False)
            assert console.ram.tobytes() in memories
    assert len(memories) == 4


@pytest.mark.parametrize("drivers", [1, 8])
@pytest.mark.parametrize("name", ["mario_course", "desert_course", "airship_course"])
def test_every_race_is_first_seen_with_its_clock_at_0(name: str, drivers: int) -> None:
    """Loading takes its time, a different one each; no race has moved on when it is seen."""
    mode = "vs" if drivers > 1 else "time_trial"
    boot = BootParameters(mode=mode, drivers=drivers, course=course_id(name))
    with Console(BUNDLED_ROM, on_power_on=boot.write) as console:
        reader = RaceReader(console.ram, MemoryLayout())
        for _ in range(60):
            console.step(0, 1, draw=False)
            if reader.race_on:
                break
        for frame in range(3):
            assert reader.race_on
            state = reader.read()
            assert (state.frame, state.lap_frames) == (frame, frame)
            console.step(0, 1, draw=False)


def test_the_program_refuses_a_course_that_it_has_not() -> None:
    boot = BootParameters(course=course_id("StaffRollTrue"))
    with Console(BUNDLED_ROM, on_power_on=boot.write) as console:
        console.step(0, 120, draw=False)
        with pytest.raises(ConsoleError, match="no such course"):
            boot.check(console.ram)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("laps", 0, ValueError, "laps=0 is out of range: expected an integer from 1 to 9, or None"),
        ("laps", 10, ValueError, "laps=10 is out of range: expected an integer from 1 to 9"),
        ("laps", "3", TypeError, "laps='3' is not an integer: expected an integer from 1 to 9"),
        ("laps", 2.5, TypeError, r"laps=2\.5 is not an integer: expected"),
        ("laps", True, TypeError, "laps=True is not an integer"),
        ("engine_class", 200, ValueError, "expected one of 50, 100, 150"),
        ("engine_class", None, TypeError, "expected one of 50, 100, 150"),
        ("engine_class", [], TypeError, "expected one of 50, 100, 150"),
        ("course", -1, ValueError, "course=-1 is out of range: expected an integer from 0"),
        ("course", 1 << 32, ValueError, "is out of range"),
        ("course", "mario_course", TypeError, "is not an integer"),
        (
            "skip_countdown",
            "no",
            TypeError,
            "skip_countdown='no' is not a boolean",
        ),
    ],
)
def test_bad_values(name: str, value: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        BootParameters(**{name: value})  # type: ignore[arg-type]


def test_they_are_for_kartlab_only(tmp_path: Path) -> None:
    rom = bytearray(BUNDLED_ROM.read_bytes())
    rom[0x0C:0x10] = b"AMCE"
    path = tmp_path / "other.nds"
    path.write_bytes(rom)
    with pytest.raises(ValueError, match=r"'AMCE'\) takes no boot parameters; only Kartlab"):
        Console(path, on_power_on=BootParameters(laps=3).write)
    with Console(path) as console:
        assert not console.ram[0x3FE000:0x3FE004].any()


def test_courses_have_ids() -> None:
    assert course_id("mario_course") == 25
    assert [course_id(name) for name in COURSES.values()] == list(COURSES)
    with pytest.raises(ValueError, match=r"course='atlantis' is unknown: .*'mario_course'"):
        course_id("atlantis")
