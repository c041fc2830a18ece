"""Kartlab's boot parameters reach the program; bad values are refused."""

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


def test_parameters_reach_the_program_at_every_power_on() -> None:
    memories = set()
    for boot in (
        BootParameters(),
        BootParameters(engine_class=150),
        BootParameters(skip_countdown=False),
        BootParameters(laps=5),
    ):
        with Console(BUNDLED_ROM, on_power_on=boot.write) as console:
            for power_on in range(2):
                assert not boot.check(console.ram)
                console.step(0, 30, draw=False)
                assert boot.check(console.ram)
                memories.add(console.ram.tobytes())
                if not power_on:
                    console.reset()
    assert len(memories) == 4


@pytest.mark.parametrize("drivers", [1, 8])
@pytest.mark.parametrize("name", ["mario_course", "desert_course", "airship_course"])
def test_race_is_first_read_with_its_clock_at_0(name: str, drivers: int) -> None:
    """Loading times differ; the first frame of each race is readable."""
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


def test_program_refuses_an_unknown_course() -> None:
    boot = BootParameters(course=course_id("StaffRollTrue"))
    with Console(BUNDLED_ROM, on_power_on=boot.write) as console:
        console.step(0, 30, draw=False)
        with pytest.raises(ConsoleError, match="no such course"):
            boot.check(console.ram)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("laps", 0, ValueError, "laps=0 is out of range: expected an integer from 1 to 9, or None"),
        ("laps", 10, ValueError, "laps=10 is out of range"),
        ("laps", "3", TypeError, "laps='3' is not an integer: expected an integer from 1 to 9"),
        ("engine_class", 200, ValueError, "expected one of 50, 100, 150"),
        ("engine_class", None, TypeError, "expected one of 50, 100, 150"),
        ("course", 1 << 32, ValueError, "course=4294967296 is out of range"),
        ("course", "mario_course", TypeError, "course='mario_course' is not an integer"),
        ("mode", "battle", ValueError, "mode='battle' is unknown: expected one of 'time_trial'"),
        ("strength", "cruel", ValueError, "expected one of 'easy', 'normal', 'hard'"),
        ("seed", -1, ValueError, "seed=-1 is out of range"),
        ("grid", 1, ValueError, "grid=1 is out of range: expected an integer from 0 to 0, or None"),
        ("drivers", 9, ValueError, "drivers=9 is out of range"),
        ("drivers", 2, ValueError, "drivers=2 needs mode='vs'"),
        ("hosted", 2, ValueError, "hosted=2 is out of range: expected an integer from 0 to 1"),
        ("hosted", 1, ValueError, "hosted=1 needs mode='vs' or alone=True"),
        ("alone", True, ValueError, "hosted=0 is out of range: expected an integer from 1 to 8"),
        ("alone", 1, TypeError, "alone=1 is not a boolean"),
        ("course_data", b"", ValueError, r"len\(course_data\)=0 is out of range"),
        ("skip_countdown", "no", TypeError, "skip_countdown='no' is not a boolean"),
    ],
)
def test_bad_value_is_refused_by_name(
    name: str, value: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        BootParameters(**{name: value})  # type: ignore[arg-type]


def test_drivers_alone_have_no_opponents() -> None:
    with pytest.raises(ValueError, match="alone=True needs mode='time_trial'"):
        BootParameters(alone=True, hosted=2, mode="vs", drivers=2)
    with pytest.raises(ValueError, match=r"hosted=9 is out of range: .* from 1 to 8"):
        BootParameters(alone=True, hosted=9)


def test_other_cartridge_is_refused(tmp_path: Path) -> None:
    rom = bytearray(BUNDLED_ROM.read_bytes())
    rom[0x0C:0x10] = b"AMCE"
    path = tmp_path / "other.nds"
    path.write_bytes(rom)
    with pytest.raises(ValueError, match=r"'AMCE'\) takes no boot parameters; only Kartlab"):
        Console(path, on_power_on=BootParameters(laps=3).write)
    with Console(path) as console:
        assert not console.ram[0x3FE000:0x3FE004].any()


def test_course_names_have_ids() -> None:
    assert course_id("mario_course") == 25
    assert [course_id(name) for name in COURSES.values()] == list(COURSES)
    with pytest.raises(ValueError, match=r"course='atlantis' is unknown: .*'mario_course'"):
        course_id("atlantis")
