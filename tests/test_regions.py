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
from cartridge_under_test import with_game_code
from gymnasium.utils.env_checker import data_equivalence

from mkds_gym.emulator import Console
from mkds_gym.emulator.cartridge import BUNDLED_ROM
from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.env import MKDSEnv
from mkds_gym.kartlab import boot
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.kartlab.build import COMPILER, build_rom

SHIFTS = {"KLBP": 0x680, "KLBJ": 0xD00, "KLBK": 0x3FFC, "KLBE": -0x1234}
"""Game code of Kartlab and shift of each cartridge: Europe, Japan, Korea, and an odd shift. Nobody
here has seen the shifts of other regions."""
ORIGINAL = {"KLBP": "AMCP", "KLBJ": "AMCJ", "KLBK": "AMCK"}
"""Game code of the original in the same region."""
RACES: dict[str, dict[str, Any]] = {
    "time trial": {"course": "ridge_course"},
    "mirror": {"course": "beach_course", "mirror": True},
    "items": {"mode": "vs", "opponents": 7, "items": True, "action_type": "discrete_items"},
    "random": {"course_set": "test", "mode": "vs", "opponents": 2},
}
SUITE = [
    *("test_env.py", "test_env_courses.py", "test_env_into.py", "test_sensors.py"),
    *("test_states.py", "test_vector.py", "test_shared_consoles.py", "test_multi_agent.py"),
    *("test_overlays.py", "test_recorder.py", "test_replay.py", "test_metrics.py"),
    *("test_events.py", "test_rewards.py", "test_episode_stats.py", "test_observers.py"),
    *("test_wrappers.py", "test_driver_views.py", "test_drivers.py", "test_kartlab_race.py"),
    *("test_kartlab_hosted.py", "test_kartlab_alone.py"),
]
"""Files of tests that take ROM and addresses from `cartridge_under_test`."""

needs_compiler = pytest.mark.skipif(shutil.which(COMPILER) is None, reason="no ARM compiler")
each = pytest.mark.parametrize("code", SHIFTS)


@pytest.fixture(scope="module")
def roms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each shifted cartridge by game code, also that of the original in its region."""
    folder, made = tmp_path_factory.mktemp("regions"), {}
    for code, shift in SHIFTS.items():
        image = build_rom(shift=shift, game_code=code)
        for each_code in {code, ORIGINAL.get(code, code)}:
            made[each_code] = folder / f"{each_code}.nds"
            made[each_code].write_bytes(with_game_code(image, each_code))
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
def test_race_is_the_same_at_shifted_addresses(roms: dict[str, Path], code: str, race: str) -> None:
    plain, expected = trajectory(80, rom=BUNDLED_ROM, **RACES[race])
    found, rows = trajectory(80, rom=roms[code], **RACES[race])
    assert (plain, found) == (0, SHIFTS[code])
    assert data_equivalence(rows, expected, exact=True)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("code", ORIGINAL)
def test_race_from_a_savestate_is_the_same_under_a_regions_game_code(
    roms: dict[str, Path], code: str
) -> None:
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
    rom = roms[ORIGINAL[code]]
    found, rows = trajectory(80, rom=rom, state=state_of(rom))
    assert found == SHIFTS[code]
    assert data_equivalence(rows, expected, exact=True)


@pytest.mark.slow
@needs_compiler
@pytest.mark.timeout(1500)
@each
def test_suite_of_the_environment_passes_at_shifted_addresses(
    roms: dict[str, Path], code: str
) -> None:
    folder = Path(__file__).parent
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"),
            *(str(folder / name) for name in SUITE),
        ],
        cwd=folder.parent,
        env={**os.environ, "MKDS_ROM": str(roms[code])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
