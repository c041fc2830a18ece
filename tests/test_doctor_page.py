"""docs/reference/doctor.md shows what the doctor prints."""

from __future__ import annotations

import re
from collections.abc import Iterator

import doctor_page
import pytest

from mkds_gym.doctor.files import check_courses
from mkds_gym.emulator.cartridge import Cartridge

VARYING = re.compile(
    r"^(ok|odd) +(machine|packages|speed, (not )?drawn): .*(\n +-> .*)?$", re.MULTILINE
)
HASH = re.compile(r"SHA-1\s+[0-9a-f]{40}")


def comparable(text: str) -> str:
    """A block without what depends on the machine, and of the cartridge's build."""
    text = re.sub(r"\n {8}(?=\S)", " ", text)  # joins wrapped lines
    return HASH.sub("SHA-1", VARYING.sub("", text))


def block(name: str) -> str:
    text = doctor_page.PAGE.read_text(encoding="utf-8")
    return text.split(f"<!-- {name}: begin -->\n")[1].split(f"\n<!-- {name}: end -->")[0]


@pytest.fixture(autouse=True)
def folder() -> Iterator[None]:
    with doctor_page.empty_folder():
        yield


def test_page_shows_the_courses_of_the_cartridge() -> None:
    page = comparable(block("kartlab"))
    assert [str(each) for each in check_courses(Cartridge.open()) if str(each) not in page] == []


@pytest.mark.slow
def test_page_shows_what_the_doctor_prints() -> None:
    original = doctor_page.kartlab()
    shown = {
        "kartlab": doctor_page.page_lines(original),
        "shifted": doctor_page.page_lines(doctor_page.shifted(), omitted=original),
        "damaged": doctor_page.damaged_text(doctor_page.damaged()),
    }
    for name, text in shown.items():
        assert comparable(block(name)) == comparable(text), "run: python docs/doctor_page.py"
