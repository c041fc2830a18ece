"""Run the doctor on good and damaged cartridges: ``python docs/doctor_page.py`` writes the page.

The shifted cartridge is built, which needs gcc-arm-none-eabi.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import ndspy.rom

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from measured import put  # noqa: E402

from mkds_gym import Console, Keys  # noqa: E402
from mkds_gym.course.archive import write_carc  # noqa: E402
from mkds_gym.doctor import Finding, examine  # noqa: E402
from mkds_gym.emulator.cartridge import BUNDLED_ROM  # noqa: E402
from mkds_gym.kartlab.build import build_rom  # noqa: E402
from mkds_gym.race.reader import RaceReader  # noqa: E402
from mkds_gym.starts import keep_start  # noqa: E402

PAGE: Final = ROOT / "docs" / "reference" / "doctor.md"
SHIFT: Final = 0x1C0
"""Bytes by which the addresses of the shifted cartridge are moved."""
COURSE: Final = "mario_course"
WIDTH: Final = 116
"""Characters in a line of the page."""


@contextlib.contextmanager
def empty_folder() -> Iterator[None]:
    """Work in an empty folder, without imported cartridges and kept starts."""
    before, home = (
        Path.cwd(),
        {name: os.environ.pop(name, None) for name in ("MKDS_HOME", "MKDS_ROM")},
    )
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["MKDS_HOME"] = str(Path(folder) / "home")
        try:
            yield
        finally:
            os.chdir(before)
            del os.environ["MKDS_HOME"]
            os.environ.update({name: value for name, value in home.items() if value is not None})


def kartlab() -> list[Finding]:
    """Examine Kartlab."""
    return list(examine())


def shifted() -> list[Finding]:
    """Examine a build of Kartlab with shifted addresses, which is treated as an original cartridge.

    A start is kept, by pressing A until a race runs.
    """
    Path("shifted.nds").write_bytes(build_rom(shift=SHIFT, game_code="AMCP"))
    with Console("shifted.nds") as console:
        console.step(0, 60)
        while not RaceReader(console.ram).race_on:
            console.step(Keys.A, 4)
            console.step(0, 30)
        keep_start(console)
    return list(examine("shifted.nds"))


def damaged_files() -> dict[str, bytes]:
    """Return damaged copies of Kartlab by the name of their damage."""
    rom = BUNDLED_ROM.read_bytes()

    def patched(offset: int, data: bytes) -> bytes:
        return rom[:offset] + data + rom[offset + len(data) :]

    def with_course(archive: bytes) -> bytes:
        image = ndspy.rom.NintendoDSRom(rom)
        image.setFileByName(f"data/Course/{COURSE}.carc", archive)
        return bytes(image.save())

    program, size = struct.unpack_from("<I8xI", rom, 0x20)
    (names,) = struct.unpack_from("<I", rom, 0x40)
    return {
        "truncated": rom[:-0x8000],
        "not a ROM": b"text" * 500,
        "an archive that was renamed": patched(0, b"PK\x03\x04"),
        "a changed header": patched(0x1C, b"\x01"),
        "an unknown game code": patched(0x0C, b"XXXX"),
        "no program": patched(program, bytes(size)),
        "a damaged table of files": patched(names, b"\xff" * 8),
        "a damaged course": with_course(b"\x10\0\1\0rubbish"),
        "a course without collision": with_course(write_carc({"course_map.nkm": b""})),
    }


def damaged() -> dict[str, list[Finding]]:
    """Examine the damaged copies; return the lines that are not ok."""
    found = {}
    for name, data in damaged_files().items():
        Path("damaged.nds").write_bytes(data)
        findings = examine("damaged.nds", frames=100)
        found[name] = [
            each for each in findings if each.level != "ok" and not each.part.startswith("speed")
        ]
    return found


def page_lines(findings: Iterable[Finding], omitted: Iterable[Finding] = ()) -> str:
    """Return findings as the page shows them, with long lines wrapped."""
    left_out, here = set(omitted), f"{Path.cwd()}/"
    lines = [
        wrapped
        for finding in findings
        if finding not in left_out
        for line in str(finding).replace(here, "").splitlines()
        for wrapped in textwrap.wrap(line, WIDTH, subsequent_indent=" " * 8) or [""]
    ]
    return "\n".join(["```text", *lines, "```"])


def damaged_text(found: dict[str, list[Finding]]) -> str:
    """Return the section of damaged cartridges."""
    return "\n\n".join(
        f"**{name[:1].upper()}{name[1:]}**\n\n{page_lines(found[name])}" for name in found
    )


def main() -> None:
    """Write the page."""
    with empty_folder():
        original = kartlab()
        put(PAGE, "kartlab", page_lines(original))
        put(PAGE, "shifted", page_lines(shifted(), omitted=original))
        put(PAGE, "damaged", damaged_text(damaged()))


if __name__ == "__main__":
    main()
