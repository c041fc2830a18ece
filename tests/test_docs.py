"""Links, pictures and tables of the documentation. Its examples run through /conftest.py."""

from __future__ import annotations

import collections
import re
from pathlib import Path

import pytest
from doc_tables import TABLES, parser_of

from mkds_gym.kartlab.compiler import CourseDescriptionError, parse_description

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
each_page = pytest.mark.parametrize("page", TEXTS)


def without_code(text: str) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub, and Sphinx as it does, give to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_links_resolve(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(TEXTS[page])):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        there = (ROOT / page).parent / file if file else ROOT / page
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there.read_text(encoding="utf-8")), target


@each_page
def test_files_that_are_named_exist(page: str) -> None:
    paths = r"`((?:mkds_gym|mkds_neat|examples|tests|docs|benchmarks)/[\w./-]*)`"
    for name in re.findall(paths, TEXTS[page]):
        assert name.startswith("docs/_build/") or (ROOT / name).exists(), name  # _build: make docs


def test_every_page_is_reached_from_the_index() -> None:
    reached = {
        str((page.parent / f"{entry}.md").resolve().relative_to(ROOT))
        for page in PAGES
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL)
        for entry in block.split()
        if not entry.startswith(":")
    }
    assert {*TEXTS} - reached == {"README.md", "docs/index.md"}


USED = re.findall(r"^```\{table\} (\w+) ?(.*)$", "\n".join(TEXTS.values()), re.MULTILINE)


@pytest.mark.parametrize(("name", "arguments"), USED)
def test_generated_tables_have_rows_and_meanings(name: str, arguments: str) -> None:
    rows = [line for line in TABLES[name](*arguments.split()).splitlines() if line[:1] == "|"]
    assert len(rows) > 2
    for row in rows:
        assert "|  |" not in row or name in ("events", "options"), f"a cell is empty: {row}"


def test_every_generated_table_is_on_a_page() -> None:
    assert {name for name, _ in USED} == set(TABLES)


def test_options_of_every_command_are_on_a_page() -> None:
    with_parser = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        for package in ("mkds_gym", "mkds_neat", "benchmarks")
        for path in (ROOT / package).rglob("*.py")
        if all(part in path.read_text("utf-8") for part in ("ArgumentParser(", "\ndef main("))
    }
    assert with_parser
    with_options = {parser_of(c).prog for c in with_parser if len(parser_of(c)._actions) > 1}
    assert with_options == {parser_of(command).prog for name, command in USED if name == "options"}


SMALLEST_COURSE = """
title = "T"
name = "mario_course"
id = 25
{top}
[edges.e]
width = 25
end = "wall"
{edges}
[road]
left = "e"
right = "e"
{road}
[checkpoints]
{checkpoints}
[grid]
{grid}
[scenery]
{scenery}
[[point]]
at = [0, 1250]
{point}
[[point]]
at = [1250, 1250]
radius = 375
[[point]]
at = [1250, -1250]
radius = 375
[[point]]
at = [-1250, -1250]
radius = 375
[[point]]
at = [-1250, 1250]
radius = 375
[[branch]]
from = 1
to = 3
{branch}
[[branch.point]]
at = [750, 0]
[[branch.point]]
at = [500, -250]
[[pad]]
kind = "boost"
point = 0
{pad}
[[gap]]
point = 0
length = 50
{gap}
[[items]]
point = 0
{items}
"""


def described_course_keys() -> dict[str, dict[str, str]]:
    """Default of each key on the page, by table."""
    text = TEXTS["docs/reference/course_description.md"].split("## Keys")[1].split("\n## ")[0]
    found: dict[str, dict[str, str]] = {}
    for title, section in re.findall(r"^### (.+)\n((?:(?!###).*\n)*)", text, re.MULTILINE):
        keys = found.setdefault(re.findall(r"\w+", title.lower())[0], {})
        for row in re.findall(r"^\|(.*)\|$", section, re.MULTILINE)[2:]:
            names, default, *_ = (cell.strip() for cell in row.split("|"))
            keys.update(dict.fromkeys(re.findall(r"`([^`]+)`", names), default))
    return found


@pytest.mark.parametrize("where", [key for key in described_course_keys() if key != "colours"])
def test_course_description_keys_are_those_of_the_compiler(where: str) -> None:
    def text(**extra: str) -> str:
        return SMALLEST_COURSE.format_map(collections.defaultdict(str, extra))

    described = described_course_keys()[where]
    with pytest.raises(CourseDescriptionError) as caught:
        parse_description(text(**{where: "unknown_key = 1"}))
    known = set(str(caught.value).partition("expected one of ")[2].split(", "))
    sections = {*described_course_keys(), "edges", "point"} if where == "top" else set()
    assert known - sections == set(described) - sections
    # A default that is written out changes nothing.
    defaults = {key: value.strip("`") for key, value in described.items()}
    written = [f"{key} = {value}" for key, value in defaults.items() if value not in ("", "needed")]
    assert parse_description(text(**{where: "\n".join(written)})) == parse_description(text())


def test_pictures_are_small_and_used() -> None:
    pictures = sorted((ROOT / "docs" / "images").rglob("*.png"))
    assert pictures
    for picture in pictures:
        assert picture.stat().st_size < 150_000, picture.name
        used = any(f"{picture.parent.name}/{picture.name}" in text for text in TEXTS.values())
        assert used, f"{picture.name} is on no page"
