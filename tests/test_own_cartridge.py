"""From a file to training, as docs/how-to/own_cartridge.md says, on Kartlab under another name."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import gymnasium as gym
import pytest
from neat_config import config_text
from stable_baselines3 import PPO

from mkds_gym.doctor.__main__ import main as doctor
from mkds_gym.emulator.cartridge import BUNDLED_ROM, header_crc16
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.errors import StateError
from mkds_gym.integrations.stable_baselines3 import MKDSVecEnv
from mkds_gym.race.reader import RaceReader
from mkds_gym.replay.__main__ import main as replay
from mkds_gym.roms.__main__ import main as roms
from mkds_gym.starts.__main__ import main as starts
from mkds_neat.run import main as evolve

ROM, COURSE = "mkds-usa", "desert_course"


def renamed_kartlab() -> bytes:
    """Kartlab with title and game code of the original, which boots into its menu."""
    rom = bytearray(BUNDLED_ROM.read_bytes())
    rom[:16] = b"MARIOKARTDS\0AMCE"
    struct.pack_into("<H", rom, 0x15E, header_crc16(bytes(rom[:0x15E])))
    return bytes(rom)


@pytest.mark.slow
def test_newcomer_gets_from_a_file_to_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MKDS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MKDS_ROM", raising=False)
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("dump.zip", "w") as archive:
        archive.writestr("my game.nds", renamed_kartlab())

    assert roms(["import", "dump.zip"]) == 0
    assert f"imported: {ROM} " in capsys.readouterr().out
    with pytest.raises(StateError, match=rf"play --rom {ROM}` and press K"):
        gym.make("MKDS-v0", rom=ROM, course=COURSE)

    with Console(ROM) as console:  # title, menu, the next course, its grid
        for keys, frames in ((0, 120), (Keys.START, 8), (0, 60), (Keys.RIGHT, 8), (0, 30)):
            console.step(keys, frames)
        while not RaceReader(console.ram).race_on:
            console.step(Keys.A, 8)
            console.step(0, 30)
        console.save_state("grid.state")
    assert starts(["import", "grid.state"]) == 0
    assert starts(["list"]) == 0
    out = capsys.readouterr().out
    assert f"kept: grid.state: {COURSE}  time_trial" in out
    assert f"{ROM}: 1 start\n" in out

    vector = MKDSVecEnv(2, rom=ROM, course=COURSE, laps=1)
    model = PPO("MlpPolicy", vector, n_steps=32, batch_size=32, device="cpu").learn(64)
    vector.close()
    assert model.num_timesteps == 64

    Path("small.ini").write_text(config_text(NEAT__pop_size=8, evaluation__frames=300))
    race = ["--rom", ROM, "--course", COURSE]
    options = ["--workers", "1", "--generations", "1", "--output", "run", "--no-pictures"]
    assert evolve(["small.ini", *race, *options, "--quiet"]) == 0
    assert replay(["run/champion.mkr", "--rom", ROM]) == 0

    assert doctor([ROM, "--frames", "100"]) == 0
    assert f"start {COURSE}, driver 0" in capsys.readouterr().out
    assert roms(["remove", ROM]) == 0
