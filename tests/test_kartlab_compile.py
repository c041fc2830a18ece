"""``python -m mkds_gym.kartlab compile`` adds custom courses without a C compiler."""

from __future__ import annotations

import struct
from pathlib import Path

import gymnasium as gym
import pytest
from kartlab_courses import OVAL

import mkds_gym  # noqa: F401 - registers the environment
from mkds_gym.course import Course
from mkds_gym.emulator.cartridge import Cartridge, header_crc16
from mkds_gym.kartlab import COURSE_DIRECTORY, ROM_PATH
from mkds_gym.kartlab.__main__ import main
from mkds_gym.kartlab.build import COURSE_TABLE, with_courses


@pytest.fixture
def oval(tmp_path: Path) -> Path:
    path = tmp_path / "oval.toml"
    path.write_text(OVAL, encoding="utf-8")
    return path


def titles(rom: Path) -> dict[int, str]:
    """The menu's list: titles by number."""
    table = Cartridge.open(rom).file(COURSE_TABLE)
    magic, count, size = struct.unpack_from("<4sHH", table)
    assert magic == b"KLCT"
    assert len(table) == 8 + count * size
    entries = [table[8 + i * size : 8 + (i + 1) * size] for i in range(count)]
    return {entry[0]: entry[4:].rstrip(b"\0").decode("ascii") for entry in entries}


def test_course_is_added_and_can_be_driven_without_a_c_compiler(
    oval: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rom = tmp_path / "my.nds"
    monkeypatch.setenv("PATH", "")
    assert main(["compile", str(oval), "-o", str(rom)]) == 0
    output = capsys.readouterr().out
    assert "My own oval: test_circle (id 21)" in output
    assert f'gymnasium.make("MKDS-v0", rom="{rom}", course="test_circle")' in output
    cartridge = Cartridge.open(rom)
    packed = Cartridge.open(ROM_PATH)
    assert set(cartridge.course_names()) == {*packed.course_names(), "test_circle"}
    assert titles(rom) == {**titles(ROM_PATH), 21: "MY OWN OVAL"}
    assert cartridge.header != packed.header, "savestates know a ROM by its header"
    header = bytearray(cartridge.header)
    assert struct.unpack_from("<H", header, 0x15E)[0] == header_crc16(header[:0x15E])
    course = Course.from_cartridge(cartridge, "test_circle")
    assert course.track.length == pytest.approx(2 * 1500 + 2356, rel=0.03)

    env = gym.make("MKDS-v0", rom=str(rom), course="test_circle", frame_skip=4)
    try:
        env.reset(seed=1)
        for _ in range(60):
            _, _, _, _, info = env.step(0)
        assert 0.04 < info["progress"] < 0.6
    finally:
        env.close()


def test_bundled_courses_give_the_bundled_cartridge() -> None:
    paths = sorted(COURSE_DIRECTORY.glob("*.toml"))
    assert with_courses(ROM_PATH.read_bytes(), paths[:2])[0] == ROM_PATH.read_bytes()


def test_course_of_the_same_name_is_replaced_and_others_stay(oval: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.nds", tmp_path / "second.nds"
    assert main(["compile", str(oval), "-o", str(first)]) == 0
    oval.write_text(
        OVAL.replace("My own oval", "Another").replace("1125", "1250"), encoding="utf-8"
    )
    assert main(["compile", str(oval), "-o", str(second), "--base", str(first)]) == 0
    assert titles(second)[21] == "ANOTHER"
    lengths = [
        Course.from_cartridge(Cartridge.open(rom), "test_circle").track.length
        for rom in (first, second)
    ]
    assert lengths[1] - lengths[0] == pytest.approx(500, rel=0.05)
    name = "data/Course/mario_course.carc"
    assert Cartridge.open(second).file(name) == Cartridge.open(ROM_PATH).file(name)


def test_inputs_are_not_overwritten(
    oval: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ROM_PATH.read_bytes()
    copy = tmp_path / "copy.nds"
    copy.write_bytes(before)
    for output, message in (
        (ROM_PATH, "would overwrite the bundled cartridge"),
        (copy, "would overwrite an input"),
        (oval, "would overwrite an input"),
        (tmp_path, "this is a folder: expected a file"),
        (tmp_path / "none" / "my.nds", "none does not exist: make it first"),
    ):
        arguments = ["compile", str(oval), "-o", str(output), "--base", str(copy)]
        assert main(arguments) == 1
        assert message in capsys.readouterr().err
    assert ROM_PATH.read_bytes() == copy.read_bytes() == before
    assert oval.read_text(encoding="utf-8") == OVAL


def test_bad_course_leaves_the_old_file(
    oval: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rom = tmp_path / "my.nds"
    rom.write_bytes(b"old")
    bad = tmp_path / "bad.toml"
    bad.write_text(OVAL.replace("radius = 375", "radius = 125", 1), encoding="utf-8")
    assert main(["compile", str(bad), "-o", str(rom)]) == 1
    program = "python -m mkds_gym.kartlab"
    assert capsys.readouterr().err.startswith(f"{program}: error: {bad}: point 1: radius=125 is ")
    twin = tmp_path / "twin.toml"
    twin.write_text(OVAL, encoding="utf-8")
    assert main(["compile", str(oval), str(twin), "-o", str(rom)]) == 1
    assert "'twin.toml' is the second course named 'test_circle'" in capsys.readouterr().err
    assert main(["compile", str(tmp_path / "none.toml"), "-o", str(rom)]) == 1
    assert "none.toml does not exist" in capsys.readouterr().err
    assert rom.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *("bad.toml", "my.nds", "oval.toml", "twin.toml")
    ]


def test_base_other_than_kartlab_is_refused(
    oval: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = bytearray(ROM_PATH.read_bytes())
    image[0x0C:0x10] = b"AMCE"
    other = tmp_path / "other.nds"
    other.write_bytes(image)
    cut = tmp_path / "cut.nds"
    cut.write_bytes(ROM_PATH.read_bytes()[:5000])
    for base, message in (
        (other, f"--base {other} is 'KARTLAB': expected a Kartlab cartridge"),
        (cut, "is truncated"),
        (oval, "is not a Nintendo DS ROM"),
        (tmp_path / "none.nds", "does not exist"),
    ):
        rom = tmp_path / "my.nds"
        assert main(["compile", str(oval), "-o", str(rom), "--base", str(base)]) == 1
        assert message in capsys.readouterr().err
        assert not rom.exists()
