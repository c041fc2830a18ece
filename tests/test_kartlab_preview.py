"""Previews of courses show the course; bad commands are refused by file and value."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from kartlab_courses import OVAL, bundled
from PIL import Image

from mkds_gym.kartlab.__main__ import main
from mkds_gym.kartlab.compiler import CompiledCourse
from mkds_gym.kartlab.preview import FLOORS, Drawing, draw, section_name

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def branched() -> CompiledCourse:
    return bundled("desert_course")


@pytest.fixture(scope="module")
def drawing(branched: CompiledCourse) -> Drawing:
    return draw(branched)


def group(root: ElementTree.Element, name: str) -> ElementTree.Element:
    found = [element for element in root.iter(f"{SVG}g") if element.get("id") == name]
    assert len(found) == 1, name
    return found[0]


def titles(element: ElementTree.Element) -> list[str]:
    return [str(title.text) for title in element.iter(f"{SVG}title")]


def test_png_shows_the_road_where_it_is(
    branched: CompiledCourse, drawing: Drawing, tmp_path: Path
) -> None:
    file = tmp_path / "course.png"
    drawing.save(file)
    with Image.open(file) as image:
        assert image.format == "PNG"
        assert image.size == (drawing.width, drawing.height)
        pixels = np.array(image.convert("RGB")).astype(int)

    def grey(x: float, z: float) -> bool:
        column, row = drawing.place(x, z)
        red, green, blue = pixels[round(row), round(column)]
        return bool(abs(red - green) < 12 and abs(green - blue) < 12 and 80 < red < 150)

    on_road, beside = [], []
    for ribbon in branched.layout.paths:
        # Halfway to the road's edges there is no dash, arrow or number.
        for sign in (1, -1):
            line = ribbon.line(sign * ribbon.half_width * 0.5)
            on_road += [grey(x, z) for x, _, z in line]
        wide = ribbon.line(ribbon.reach(0) + branched.description.bounds_width + 30)
        beside += [grey(x, z) for x, _, z in wide]
    assert np.mean(on_road) > 0.85, "item boxes, the grid and checkpoints hide some"
    assert np.mean(beside) < 0.2, "except where another road lies there"


def test_svg_has_a_vector_for_every_part_of_the_course(
    branched: CompiledCourse, drawing: Drawing
) -> None:
    root = ElementTree.fromstring(drawing.svg())
    assert root.get("viewBox") == f"0 0 {drawing.width} {drawing.height}"
    assert not list(root.iter(f"{SVG}image"))
    plan = branched.plan
    lines = group(root, "checkpoints").findall(f"{SVG}polyline")
    assert len(lines) == len(plan.checkpoints)
    for line, ends in zip(lines, plan.checkpoints, strict=True):
        drawn = [tuple(map(float, pair.split(","))) for pair in str(line.get("points")).split()]
        wanted = [drawing.place(x, z) for x, z in ends.tolist()]
        assert np.abs(np.array(drawn) - np.array(wanted)).max() < 0.1
    named = titles(group(root, "checkpoints"))
    keys = [f"key {key}" for key in plan.keys.tolist() if key >= 0]
    assert [title.split(", ")[1] for title in named if "key" in title] == keys
    words = [str(text.text) for text in group(root, "keys").iter(f"{SVG}text")]
    assert words == ["start", *keys[1:]]
    assert len(titles(group(root, "respawns"))) == len(plan.respawns)
    assert len(titles(group(root, "items"))) == len(plan.item_boxes) > 0
    assert len(titles(group(root, "grid"))) == 8
    floors = {name for kind, (name, _) in FLOORS.items() if kind in branched.triangles.types}
    assert floors | {"wall"} == set(titles(group(root, "course")))
    head = " ".join(str(text.text) for text in group(root, "head").iter(f"{SVG}text"))
    assert branched.title in head
    assert f"{branched.length:,.0f} units" in head
    assert f"{len(branched.triangles):,} triangles" in head


def test_sections_are_named_in_order_and_branches_by_a_letter(drawing: Drawing) -> None:
    root = ElementTree.fromstring(drawing.svg())
    names = [str(text.text) for text in group(root, "sections").iter(f"{SVG}text")]
    assert sorted(names) == ["1", "2", "2a", "3"]
    notes = titles(group(root, "sections"))
    first = next(note for note in notes if note.startswith("section 1 "))
    assert first.endswith("then 2, 2a")
    assert section_name(0, 0) == "1"
    assert section_name(2, 1) == "2b"


def test_respawn_arrows_point_along_the_road(branched: CompiledCourse, drawing: Drawing) -> None:
    shapes = drawing.groups["respawns"]
    for shape, heading in zip(shapes, branched.plan.respawn_headings, strict=True):
        tip, one, other = np.array(shape.points)
        ahead = tip - (one + other) / 2
        assert np.allclose(
            ahead / np.linalg.norm(ahead), [np.sin(heading), np.cos(heading)], atol=1e-6
        )


def test_pads_are_drawn_and_gaps_are_open() -> None:
    course = bundled("airship_course")
    drawing = draw(course)
    drawn = {shape.title for shape in drawing.groups["course"]}
    assert {"boost pad", "jump pad"} <= drawn
    heights = [shape for shape in drawing.groups["profile"] if shape.title]
    assert len(heights) == len(course.ribbon) - int(course.ribbon.gap.sum()) < len(course.ribbon)


@pytest.fixture
def oval(tmp_path: Path) -> Path:
    path = tmp_path / "oval.toml"
    path.write_text(OVAL, encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", ["png", "svg", "SVG"])
def test_command_writes_the_file(
    oval: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    file = oval.with_suffix(f".{suffix}")
    assert main(["preview", str(oval), "-o", str(file)]) == 0
    assert file.stat().st_size > 10_000
    assert str(file) in capsys.readouterr().out
    if suffix != "png":
        ElementTree.fromstring(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("course", "output", "message"),
    [
        ("no.toml", "x.png", r"no\.toml does not exist: expected a course"),
        ("bad.toml", "x.png", r"bad\.toml: point 1: radius=nan is out of range"),
        ("oval.toml", "x.gif", r"x\.gif: expected a name that ends in \.png or \.svg"),
        ("oval.toml", "png", r"png: expected a name that ends in \.png or \.svg"),
        ("oval.toml", "no/x.svg", r"cannot write '.*no/x\.svg': No such file"),
        ("oval.toml", "no/x.png", r"cannot write '.*no/x\.png': No such file"),
    ],
)
def test_bad_command_is_refused_by_file_and_value(
    oval: Path, capsys: pytest.CaptureFixture[str], course: str, output: str, message: str
) -> None:
    bad = oval.with_name("bad.toml")
    bad.write_text(OVAL.replace("radius = 375", "radius = nan", 1), encoding="utf-8")
    arguments = ["preview", str(oval.with_name(course)), "-o", str(oval.parent / output)]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("python -m mkds_gym.kartlab: error: ")
    assert re.search(message, error)
    assert "Errno" not in error
    assert not (oval.parent / output).exists()


def test_preview_without_output_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["preview", "course.toml"])
