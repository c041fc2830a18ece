"""The environment on cartridges whose static addresses are shifted, as in other regions."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from mkds_gym.emulator import Console
from mkds_gym.emulator.cartridge import BUNDLED_ROM
from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.env import MKDSEnv
from mkds_gym.kartlab import boot
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.kartlab.build import COMPILER, build_rom

SHIFTS = {"AMCP": 0x680, "AMCJ": 0xD00, "AMCK": 0x3FFC, "KLBE": -0x1234}
"""Game code and shift of each cartridge. Nobody here has seen the shifts of other regions."""
RACES: dict[str, dict[str, Any]] = {
    "time trial": {"course": "ridge_course"},
    "mirror": {"course": "beach_course", "mirror": True},
    "items": {"mode": "vs", "opponents": 7, "items": True, "action_type": "discrete_items"},
    "random": {"course_set": "test", "mode": "vs", "opponents": 2},
}
SUITE = [
    *("test_env.py", "test_env_courses.py", "test_sensors.py", "test_states.py"),
    *("test_vector.py", "test_shared_consoles.py"),
]
"""Files whose own code reads no fixed address."""

needs_compiler = pytest.mark.skipif(shutil.which(COMPILER) is None, reason="no ARM compiler")
each = pytest.mark.parametrize("code", SHIFTS)


@pytest.fixture(scope="module")
def roms(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Path]:
    """Each cartridge by game code and shift: with the code of its region, and with Kartlab's."""
    folder, made = tmp_path_factory.mktemp("regions"), {}
    for code, shift in SHIFTS.items():
        for each_code in {code, "KLBE"}:
            path = folder / f"{each_code}{shift}.nds"
            path.write_bytes(build_rom(shift=shift, game_code=each_code))
            made[each_code, shift] = path
    return made


def trajectory(steps: int, **kwargs: Any) -> tuple[int, list[Any]]:
    """The shift of the addresses, and everything that a reset and steps return."""
    env = MKDSEnv(**kwargs)
    try:
        rows: list[Any] = [env.reset(seed=2)]
        env.action_space.seed(1)
        for _, action in zip(range(steps), itertools.cycle((0, 0, 1, 0, 2)), strict=False):
            rows.append(env.step(action))
        return env.reader.layout.shift, rows
    finally:
        env.close()


@pytest.mark.parametrize("shift", [2, 0x4004, -0x8000])
def test_shift_out_of_range_is_refused(shift: int) -> None:
    with pytest.raises(ValueError, match=f"shift={shift} is out of range"):
        build_rom(shift=shift)


def test_unknown_game_code_is_refused() -> None:
    with pytest.raises(ValueError, match="game_code"):
        build_rom(game_code="ABCD")


@pytest.mark.slow
@needs_compiler
@each
@pytest.mark.parametrize("race", RACES)
def test_race_is_the_same_at_shifted_addresses(
    roms: dict[tuple[str, int], Path], code: str, race: str
) -> None:
    shift = SHIFTS[code]
    plain, expected = trajectory(80, rom=BUNDLED_ROM, **RACES[race])
    found, rows = trajectory(80, rom=roms["KLBE", shift], **RACES[race])
    assert (plain, found) == (0, shift)
    assert data_equivalence(rows, expected, exact=True)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("code", [code for code in SHIFTS if code != "KLBE"])
def test_race_from_a_savestate_is_the_same_under_a_regions_game_code(
    roms: dict[tuple[str, int], Path], code: str
) -> None:
    shift = SHIFTS[code]

    def state_of(rom: Path) -> bytes:
        def write(ram: Any) -> None:  # `BootParameters.write` refuses other game codes
            block = BootParameters(skip_countdown=True).pack()
            start = boot.ADDRESS - RAM_START
            ram[start : start + len(block)] = np.frombuffer(block, np.uint8)

        with Console(rom, on_power_on=write) as console:
            console.step(0, 120, draw=False)
            state = console.save_state()
            assert state is not None
            return state

    _, expected = trajectory(80, rom=BUNDLED_ROM, state=state_of(BUNDLED_ROM))
    rom = roms[code, shift]
    found, rows = trajectory(80, rom=rom, state=state_of(rom))
    assert found == shift
    assert data_equivalence(rows, expected, exact=True)


@pytest.mark.slow
@needs_compiler
@pytest.mark.timeout(1200)
def test_suite_of_the_environment_passes_at_shifted_addresses(
    roms: dict[tuple[str, int], Path],
) -> None:
    rom = roms["KLBE", SHIFTS["KLBE"]]
    folder = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
        + [str(folder / name) for name in SUITE],
        cwd=folder.parent,
        env={**os.environ, "MKDS_ROM": str(rom)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
