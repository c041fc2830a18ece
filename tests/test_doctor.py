"""The doctor, on Kartlab, on damaged cartridges and states, and on courses of hacks."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ndspy.rom
import pytest

from mkds_gym.course import Course
from mkds_gym.course.archive import write_carc
from mkds_gym.course.nkm import NKM
from mkds_gym.doctor import Finding, examine
from mkds_gym.doctor.__main__ import main
from mkds_gym.doctor.files import check_course, check_course_file, check_courses
from mkds_gym.emulator.cartridge import BUNDLED_ROM, Cartridge
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.race.reader import RaceReader
from mkds_gym.starts import keep_start
from tests import course_builder
from tests.consoles import race_console


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cartridge is imported and no start is kept."""
    monkeypatch.delenv("MKDS_ROM", raising=False)
    monkeypatch.setenv("MKDS_HOME", str(tmp_path / "home"))


def write(folder: Path, data: bytes) -> Path:
    path = folder / "game.nds"
    path.write_bytes(data)
    return path


def test_kartlab_and_states_of_it_are_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with race_console() as console:
        title = console.save_state()
        console.step(0, 100)
        console.save_state(tmp_path / "race.state")
    assert title is not None
    (tmp_path / "power_on.state").write_bytes(title)
    (tmp_path / "damaged.state").write_bytes(title[:-1])
    states = [str(tmp_path / f"{name}.state") for name in ("race", "power_on", "damaged", "none")]
    page = tmp_path / "page.json"

    status = main(["--frames", "50", "--state", *states, "--json", str(page)])

    findings = [Finding(**entry) for entry in json.loads(page.read_text())["findings"]]
    out = capsys.readouterr().out
    assert [str(finding) in out for finding in findings] == [True] * len(findings)
    bad = {finding.part: finding for finding in findings if finding.level != "ok"}
    assert set(bad) == {f"state {name}.state" for name in ("power_on", "damaged", "none")}
    assert all(finding.level == "bad" and finding.advice for finding in bad.values())
    assert "does not exist" in bad["state none.state"].text
    parts = {finding.part for finding in findings}
    assert {"library", "exactness", "course mario_course", "state race.state, driver 0"} <= parts
    assert status == 1


@pytest.mark.slow
def test_kartlab_is_all_ok(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--frames", "50"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok ") for line in lines[:-1])
    assert lines[-1] == f"{len(lines) - 1} ok, 0 odd, 0 bad"


@pytest.mark.slow
def test_kept_start_is_read_field_by_field(tmp_path: Path) -> None:
    data = bytearray(BUNDLED_ROM.read_bytes())
    data[0x0C:0x10] = b"AMCE"
    path = write(tmp_path, bytes(data))
    odd = {each.part: each for each in examine(path, frames=10) if each.level == "odd"}
    assert f"--rom {path}" in odd["starts"].advice
    with Console(path) as console:
        console.step(0, 60)
        while not RaceReader(console.ram).race_on:
            console.step(Keys.A, 4)
            console.step(0, 30)
        kept = keep_start(console)
    findings = [each for each in examine(path, frames=10) if each.part.startswith("start ")]
    assert {each.level for each in findings} == {"ok"}
    assert f"start {kept.name}, driver 0" in {each.part for each in findings}


def test_rom_that_is_not_there_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def advice(rom: str | None) -> str:
        (finding,) = (each for each in examine(rom) if each.part == "cartridge")
        return finding.advice

    assert "`python -m mkds_gym.roms list`" in advice("mkds-asia")
    assert "`python -m mkds_gym.roms list`" in advice(str(tmp_path / "gone.nds"))
    assert "complete dump" in advice(str(write(tmp_path, b"text")))
    monkeypatch.setenv("MKDS_ROM", "mkds-asia")
    assert "`python -m mkds_gym.roms list`" in advice(None)


def test_number_of_frames_is_named_when_it_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--frames", "x"])
    assert "'x': expected an integer of 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["a", "b"], ["--frames", "0"], ["--frames", "x"]])
def test_wrong_arguments_exit_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2


def without_program(rom: bytearray) -> bytes:
    """The ROM with zeros for the program of the ARM9."""
    offset, size = struct.unpack_from("<I8xI", rom, 0x20)
    rom[offset : offset + size] = bytes(size)
    return bytes(rom)


@pytest.mark.parametrize(
    ("damage", "part", "text"),
    [
        (lambda rom: rom[:-0x8000], "cartridge", "is truncated"),
        (lambda rom: b"text" * 500, "cartridge", "is not a Nintendo DS ROM"),
        (lambda rom: b"PK\x03\x04" + rom[4:], "cartridge", "compressed archive"),
        pytest.param(without_program, "console", "the emulator crashes", marks=pytest.mark.slow),
    ],
)
def test_damaged_rom_is_bad_by_name(
    tmp_path: Path, damage: Callable[[bytearray], bytes], part: str, text: str
) -> None:
    path = write(tmp_path, damage(bytearray(BUNDLED_ROM.read_bytes())))
    bad = [finding for finding in examine(path, frames=10) if finding.level == "bad"]
    assert bad[0].part == part
    assert text in bad[0].text
    assert bad[0].advice


def test_damaged_file_system_is_bad(tmp_path: Path) -> None:
    data = bytearray(BUNDLED_ROM.read_bytes())
    (names,) = struct.unpack_from("<I", data, 0x40)
    data[names : names + 8] = b"\xff" * 8  # the root folder
    (finding,) = check_courses(Cartridge.open(write(tmp_path, bytes(data))))
    assert finding.level == "bad"
    assert "file system" in finding.text


@pytest.mark.parametrize(
    ("archive", "text"),
    [
        (b"\x10\0\1\0rubbish", "LZ77"),
        (write_carc({"readme": b""}), "archive without course_collision.kcl and course_map.nkm"),
        (write_carc({"course_collision.kcl": b"x", "course_map.nkm": b"y"}), "KCL of 1 bytes"),
    ],
)
def test_damaged_course_file_is_bad_by_name(tmp_path: Path, archive: bytes, text: str) -> None:
    whole = ndspy.rom.NintendoDSRom(BUNDLED_ROM.read_bytes())
    whole.setFileByName("data/Course/mario_course.carc", archive)
    cartridge = Cartridge.open(write(tmp_path, bytes(whole.save())))
    finding = check_course_file(cartridge, "mario_course")
    assert (finding.part, finding.level) == ("course mario_course", "bad")
    assert text in finding.text


FLOOR = course_builder.quad((-600, 0, -600), (-600, 0, 600), (600, 0, 600), (600, 0, -600))
FLOOR_25 = course_builder.write_kcl(FLOOR, [0x8000 | 25 << 8] * 2)
EMPTY = course_builder.write_kcl([], [])


def hacked(kcl: bytes | None = None, keys: dict[int, int] | None = None, **other: object) -> Course:
    """A round course with something unusual."""
    nkm = course_builder.course_map(course_builder.circle(), keys=keys)
    nkm = replace(nkm, **other)  # type: ignore[arg-type]
    return Course.from_files(kcl or course_builder.plain_course(), nkm.save())


SECTIONS = NKM().sections


@pytest.mark.parametrize(
    ("course", "text"),
    [
        (hacked(FLOOR_25), "collision types 25 are unknown"),
        (hacked(EMPTY), "no collision"),
        (hacked(keys={}), "no key checkpoints"),
        (hacked(keys={0: 0, 5: 2}), "key checkpoints 1 are missing"),
        (hacked(keys={3: 1}), "key checkpoints 0 are missing"),
        (hacked(sections=tuple(set(SECTIONS) - {"STAG"})), "no stage settings"),
        (hacked(sections=tuple(set(SECTIONS) - {"CPAT"})), "no entries of checkpoint paths"),
        (hacked(), "no entries of starts"),
    ],
)
def test_unusual_course_is_read_and_odd_by_name(course: Course, text: str) -> None:
    finding = check_course("course", course)
    assert finding.level == "odd"
    assert text in finding.text
    assert finding.advice
    assert course.track.length > 1000


def test_finding_does_not_name_the_users_home() -> None:
    finding = Finding("cartridge", "bad", f"ROM '{Path.home()}/game.nds' is truncated")
    assert str(finding) == "bad  cartridge: ROM '~/game.nds' is truncated"
