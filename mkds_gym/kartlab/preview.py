"""Draw a compiled course from above, to a PNG or an SVG file.

`draw` returns a `Drawing` of shapes in named groups, which can be saved as PNG or SVG. The ids of
the SVG's groups are the names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mkds_gym.errors import MKDSError
from mkds_gym.kartlab.compiler import CompiledCourse
from mkds_gym.kartlab.compiler.map import GRID_PLACES
from mkds_gym.kartlab.physics import GRID_ROW, GRID_SIDE, GRID_STAGGER
from mkds_gym.race.names import Surface

Floats = NDArray[np.float64]
RGB = tuple[int, int, int]
Pixel = tuple[float, float]

SUFFIXES: Final = (".png", ".svg")

MAP_SIZE: Final = 760.0
"""Longer side of the map, in pixels."""

MARGIN: Final = 24.0
HEAD: Final = 58.0
SIDE: Final = 190.0
"""Width of the legend, in pixels."""

PROFILE: Final = 110.0
"""Height of the strip with the road's height, in pixels."""

_OVERSAMPLING: Final = 2

FLOORS: Final[dict[int, tuple[str, RGB]]] = {
    Surface.ROAD: ("road", (128, 128, 132)),
    Surface.SLIPPERY_ROAD: ("slippery road", (150, 186, 214)),
    Surface.SLIPPERY_ROAD_2: ("packed snow", (228, 234, 242)),
    Surface.WEAK_OFFROAD: ("weak off-road", (176, 200, 96)),
    Surface.OFFROAD: ("off-road", (222, 194, 128)),
    Surface.HEAVY_OFFROAD: ("heavy off-road", (150, 108, 72)),
    Surface.OUT_OF_BOUNDS: ("out of bounds", (190, 130, 150)),
    Surface.BOOST_PAD: ("boost pad", (255, 150, 20)),
    Surface.JUMP_PAD: ("jump pad", (60, 140, 250)),
}
"""Name and colour of each floor by KCL type, in the order of the legend."""

_WALL: Final = (52, 56, 66)
_PAPER: Final = (250, 250, 248)
_GROUND: Final = (224, 232, 236)
_INK: Final = (32, 34, 40)
_PALE: Final = (110, 114, 122)
_START: Final = (214, 32, 40)
_KEY: Final = (236, 112, 0)
_CHECKPOINT: Final = (84, 60, 170)
_RESPAWN: Final = (0, 130, 90)
_ITEM: Final = (200, 20, 180)
_GRID: Final = (255, 255, 255)
_SECTION: Final = (28, 92, 190)


class PreviewError(MKDSError, ValueError):
    """A preview cannot be written."""


@dataclass(frozen=True)
class Shape:
    """A polygon, a line or a text, in pixels.

    Attributes:
        points: of the polygon or the line; for a text, its anchor.
        fill: colour of the polygon's inside or of the text.
        stroke: colour of the line or of the polygon's outline.
        width: of the line, in pixels.
        text: "" for a polygon or a line.
        size: of the text, in pixels.
        anchor: start, middle or end of the text.
        title: name of the shape, such as ``boost pad``; a tooltip in the SVG.
    """

    points: tuple[Pixel, ...]
    fill: RGB | None = None
    stroke: RGB | None = None
    width: float = 1.0
    text: str = ""
    size: float = 12.0
    anchor: str = "start"
    title: str = ""


@dataclass
class Drawing:
    """Shapes in groups, drawn in order.

    Attributes:
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        scale: pixels per world unit on the map.
        origin: x and z of the map's upper left corner.
        corner: place of that corner in the picture, in pixels.
        groups: shapes by name.
    """

    width: int
    height: int
    scale: float
    origin: Pixel
    corner: Pixel
    groups: dict[str, list[Shape]] = field(default_factory=dict)

    def place(self, x: float, z: float) -> Pixel:
        """Return the pixel of a place."""
        return (
            self.corner[0] + (x - self.origin[0]) * self.scale,
            self.corner[1] + (z - self.origin[1]) * self.scale,
        )

    def places(self, points: Floats) -> tuple[Pixel, ...]:
        """Return the pixels of (N, 2) x and z, or of (N, 3) points."""
        flat = points[:, [0, -1]].tolist()
        return tuple(self.place(x, z) for x, z in flat)

    def add(self, group: str, shape: Shape) -> None:
        """Add a shape to a group; groups are drawn in the order of their creation."""
        self.groups.setdefault(group, []).append(shape)

    def svg(self) -> str:
        """Return the drawing as an SVG document."""
        root = ElementTree.Element(
            "svg",
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {self.width} {self.height}",
            width=str(self.width),
            height=str(self.height),
        )
        root.set("font-family", "sans-serif")
        for name, shapes in self.groups.items():
            group = ElementTree.SubElement(root, "g", id=name)
            for shape in shapes:
                _svg_shape(group, shape)
        return ElementTree.tostring(root, encoding="unicode")

    def image(self) -> Image.Image:
        """Return the drawing as a picture."""
        factor = _OVERSAMPLING
        image = Image.new("RGB", (self.width * factor, self.height * factor), _PAPER)
        pen = ImageDraw.Draw(image)
        for shapes in self.groups.values():
            for shape in shapes:
                _draw_shape(pen, shape, factor)
        return image.resize((self.width, self.height), Image.Resampling.LANCZOS)

    def save(self, path: Path) -> None:
        """Save the drawing as PNG or SVG, by the suffix of the name.

        Raises:
            PreviewError: the suffix is neither ``.png`` nor ``.svg``.
            OSError: the file cannot be written.
        """
        check_suffix(path)
        if path.suffix.lower() == ".svg":
            path.write_text(self.svg() + "\n", encoding="utf-8")
        else:
            self.image().save(path, "PNG", optimize=True)


def check_suffix(path: Path) -> None:
    """Check the suffix of a file name.

    Raises:
        PreviewError: the suffix is neither ``.png`` nor ``.svg``.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise PreviewError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}")


def _hex(colour: RGB | None) -> str:
    return "none" if colour is None else "#{:02x}{:02x}{:02x}".format(*colour)


def _svg_shape(group: ElementTree.Element, shape: Shape) -> None:
    if shape.text:
        (x, y) = shape.points[0]
        element = ElementTree.SubElement(
            group, "text", x=f"{x:.1f}", y=f"{y:.1f}", fill=_hex(shape.fill)
        )
        element.set("font-size", f"{shape.size:g}")
        element.set("text-anchor", shape.anchor)
        element.text = shape.text
        return
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
    name = "polyline" if shape.fill is None else "polygon"
    element = ElementTree.SubElement(group, name, points=points, fill=_hex(shape.fill))
    if shape.stroke is not None:
        element.set("stroke", _hex(shape.stroke))
        element.set("stroke-width", f"{shape.width:g}")
    if shape.title:
        ElementTree.SubElement(element, "title").text = shape.title


def _draw_shape(pen: ImageDraw.ImageDraw, shape: Shape, factor: int) -> None:
    points = [(x * factor, y * factor) for x, y in shape.points]
    if shape.text:
        anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor]
        font = ImageFont.load_default(shape.size * factor)
        pen.text(points[0], shape.text, fill=shape.fill, font=font, anchor=anchor)
        return
    width = max(round(shape.width * factor), 1)
    if shape.fill is not None:
        pen.polygon(points, fill=shape.fill)
        if shape.stroke is not None:
            pen.line([*points, points[0]], fill=shape.stroke, width=width, joint="curve")
    elif shape.stroke is not None:
        pen.line(points, fill=shape.stroke, width=width, joint="curve")


def draw(course: CompiledCourse) -> Drawing:
    """Draw a course from above: x to the right, z down.

    The map shows floors (darker where low), walls, checkpoints with key numbers, respawn points
    with their direction, numbered sections, the start grid and item boxes. Below is the height of
    the road along the lap.
    """
    triangles = course.triangles
    shown = np.isin(triangles.types, [*FLOORS, Surface.WALL])
    ground = triangles.vertices[shown][:, :, [0, 2]]
    low, high = ground.min(axis=(0, 1)) - 50, ground.max(axis=(0, 1)) + 50
    extent = high - low
    scale = MAP_SIZE / float(extent.max())
    map_width, map_height = (float(part) * scale for part in extent)
    map_width, map_height = max(map_width, 420.0), max(map_height, 330.0)
    drawing = Drawing(
        width=math.ceil(map_width + SIDE + 3 * MARGIN),
        height=math.ceil(HEAD + map_height + PROFILE + 3 * MARGIN),
        scale=scale,
        origin=(float(low[0]), float(low[1])),
        corner=(MARGIN, HEAD + MARGIN / 2),
    )
    drawing.add("paper", _box(0, 0, drawing.width, drawing.height, _PAPER))
    drawing.add("paper", _box(*drawing.corner, map_width, map_height, _GROUND))
    _floors(drawing, course)
    _checkpoints(drawing, course)
    _places(drawing, course)
    _sections(drawing, course)
    _head(drawing, course)
    _legend(drawing, course, drawing.corner[0] + map_width + MARGIN, drawing.corner[1])
    _profile(drawing, course, drawing.corner[1] + map_height + MARGIN, map_width)
    return drawing


def _box(x: float, y: float, width: float, height: float, fill: RGB) -> Shape:
    return Shape(((x, y), (x + width, y), (x + width, y + height), (x, y + height)), fill)


def _shaded(colour: RGB, factor: float) -> RGB:
    red, green, blue = (min(max(round(part * factor), 0), 255) for part in colour)
    return red, green, blue


def _floors(drawing: Drawing, course: CompiledCourse) -> None:
    """Draw floors and walls from low to high: a bridge covers the road below."""
    triangles = course.triangles
    heights = triangles.vertices[:, :, 1].mean(axis=1)
    floor = np.isin(triangles.types, list(FLOORS))
    bottom, top = float(heights[floor].min()), float(heights[floor].max())
    span = max(top - bottom, 1.0)
    for index in np.argsort(heights, kind="stable").tolist():
        kind = int(triangles.types[index])
        corners = triangles.vertices[index]
        if kind in FLOORS:
            name, colour = FLOORS[kind]
            light = 1.0 if top - bottom < 1 else 0.80 + 0.25 * (heights[index] - bottom) / span
            tone = _shaded(colour, round(light * 24) / 24)
            shape = Shape(drawing.places(corners), tone, tone, 0.8, title=name)
            drawing.add("course", shape)
        elif kind == Surface.WALL:
            flat = corners[:, [0, 2]]
            lengths = np.linalg.norm(flat - np.roll(flat, -1, axis=0), axis=1)
            a = int(np.argmax(lengths))
            ends = flat[[a, (a + 1) % 3]]
            wall = Shape(drawing.places(ends), None, _WALL, 1.6, title="wall")
            drawing.add("course", wall)


def _checkpoints(drawing: Drawing, course: CompiledCourse) -> None:
    plan = course.plan
    for index, (left, right) in enumerate(plan.checkpoints):
        key = int(plan.keys[index])
        colour = _START if key == 0 else _KEY if key > 0 else _CHECKPOINT
        title = f"checkpoint {index}" + (f", key {key}" if key >= 0 else "")
        ends = drawing.places(np.stack([left, right]))
        width = 3.0 if key == 0 else 2.2 if key > 0 else 0.9
        drawing.add("checkpoints", Shape(ends, None, colour, width, title=title))
        if key >= 0:
            text = "start" if key == 0 else f"key {key}"
            outward = np.array(ends[0]) - np.array(ends[1])
            outward = outward / max(float(np.linalg.norm(outward)), 1e-9)
            x, y = np.array(ends[0]) + outward * 12 + np.array([0.0, 4.0])
            drawing.add("keys", _text(float(x), float(y), text, colour, 12, "middle"))


def _text(
    x: float, y: float, text: str, colour: RGB = _INK, size: float = 12, anchor: str = "start"
) -> Shape:
    return Shape(((x, y),), colour, text=text, size=size, anchor=anchor)


def _arrow(drawing: Drawing, x: float, z: float, heading: float, size: float) -> tuple[Pixel, ...]:
    """Return a triangle at a place, pointing along a heading; `size` is in pixels."""
    px, py = drawing.place(x, z)
    ahead = np.array([math.sin(heading), math.cos(heading)]) * size
    side = np.array([ahead[1], -ahead[0]]) * 0.62
    at = np.array([px, py])
    corners = at + ahead, at - ahead * 0.7 + side, at - ahead * 0.7 - side
    return tuple((float(corner[0]), float(corner[1])) for corner in corners)


def _places(drawing: Drawing, course: CompiledCourse) -> None:
    """Draw the grid, item boxes and respawn points."""
    plan = course.plan
    heading = plan.start_heading
    ahead = np.array([math.sin(heading), math.cos(heading)])
    left = np.array([ahead[1], -ahead[0]])
    for place in range(GRID_PLACES):
        back = place // 2 * GRID_ROW + place % 2 * GRID_STAGGER
        side = -GRID_SIDE if place % 2 else GRID_SIDE
        middle = plan.start[[0, 2]] - ahead * back + left * side
        corners = [
            middle + ahead * a + left * b for a, b in ((12, 10), (12, -10), (-12, -10), (-12, 10))
        ]
        points = drawing.places(np.array(corners))
        drawing.add("grid", Shape(points, _GRID, _INK, 0.7, title=f"grid place {place + 1}"))
    for x, _, z in plan.item_boxes.tolist():
        px, py = drawing.place(x, z)
        diamond = ((px, py - 4), (px + 4, py), (px, py + 4), (px - 4, py))
        drawing.add("items", Shape(diamond, _ITEM, (255, 255, 255), 0.8, title="item box"))
    for index, (x, _, z) in enumerate(plan.respawns.tolist()):
        corners_of = _arrow(drawing, x, z, float(plan.respawn_headings[index]), 5.5)
        title = f"respawn point {index}"
        drawing.add("respawns", Shape(corners_of, _RESPAWN, (255, 255, 255), 0.8, title=title))


def section_name(path: int, order: int) -> str:
    """Return a section's name: its order from the start line, with a letter on a branch."""
    return f"{order + 1}{chr(ord('a') + path - 1) if path else ''}"


def _sections(drawing: Drawing, course: CompiledCourse) -> None:
    """Draw each section's name in its middle, with an arrow in the direction of driving."""
    plan = course.plan
    for index, section in enumerate(plan.checkpoint_sections):
        ribbon = course.layout.paths[section.path]
        last = section.start + section.length - 1
        begin = float(plan.checkpoint_distance[section.start])
        end = float(plan.checkpoint_distance[last])
        if end < begin:
            end += ribbon.length
        k = ribbon.at((begin + end) / 2).station
        x, _, z = ribbon.centre[k].tolist()
        px, py = drawing.place(x, z)
        angles = math.tau * np.arange(24) / 24
        circle = tuple((px + 9 * math.cos(a), py + 9 * math.sin(a)) for a in angles.tolist())
        name = section_name(section.path, section.order)
        following = ", ".join(
            section_name(other.path, other.order)
            for other in (plan.checkpoint_sections[i] for i in section.next)
        )
        title = f"section {name} ({index}): checkpoints {section.start} to {last}, then {following}"
        heading = float(ribbon.heading[k])
        ahead = 17 / drawing.scale
        tip = _arrow(
            drawing, x + ahead * math.sin(heading), z + ahead * math.cos(heading), heading, 6.0
        )
        drawing.add("sections", Shape(tip, _SECTION, (255, 255, 255), 0.8))
        drawing.add("sections", Shape(circle, _SECTION, (255, 255, 255), 1.2, title=title))
        drawing.add("sections", _text(px, py + 4, name, (255, 255, 255), 11, "middle"))


def _head(drawing: Drawing, course: CompiledCourse) -> None:
    description, model = course.description, course.model
    drawing.add("head", _text(MARGIN, 34, course.title, size=22))
    climb = course.ribbon.centre[:, 1]
    facts = (
        f"{course.name} (id {course.course_id}) \u00b7 {course.length:,.0f} units per lap \u00b7 "
        f"{description.laps} laps \u00b7 heights {climb.min():.0f} to {climb.max():.0f} \u00b7 "
        f"{len(course.triangles):,} triangles \u00b7 drawn: {model.polygons:,} polygons \u00b7 "
        f"theme {description.theme}"
    )
    drawing.add("head", _text(MARGIN, 54, facts, _PALE, 12))


def _legend(drawing: Drawing, course: CompiledCourse, x: float, y: float) -> None:
    """Draw the legend of the kinds of shapes on the map."""
    types = set(course.triangles.types.tolist())
    line = ((0.0, -3.0), (18.0, -3.0))
    rows = {
        name: _box(0, -9, 18, 12, colour)
        for kind, (name, colour) in FLOORS.items()
        if kind in types
    }
    if Surface.WALL in types:
        rows["wall"] = Shape(line, None, _WALL, 2.2)
    rows["start line"] = Shape(line, None, _START, 3.0)
    rows["key checkpoint"] = Shape(line, None, _KEY, 2.2)
    rows["checkpoint"] = Shape(line, None, _CHECKPOINT, 1.0)
    rows["respawn point"] = Shape(((14, -3), (4, -8), (4, 2)), _RESPAWN)
    rows["grid place"] = Shape(((3, -8), (15, -8), (15, 2), (3, 2)), _GRID, _INK, 0.7)
    if len(course.plan.item_boxes):
        rows["item box"] = Shape(((9, -8), (14, -3), (9, 2), (4, -3)), _ITEM)
    rows["section, in order"] = Shape(((15, -3), (3, -9), (3, 3)), _SECTION)
    y += 8
    for name, shape in rows.items():
        moved = tuple((x + px, y + py) for px, py in shape.points)
        drawing.add("legend", replace(shape, points=moved))
        drawing.add("legend", _text(x + 26, y, name))
        y += 19
    bar = 10 ** math.floor(math.log10(120 / drawing.scale))
    bar *= next(factor for factor in (5, 2, 1) if bar * factor * drawing.scale <= 150)
    y += 12
    drawing.add("legend", Shape(((x, y), (x + bar * drawing.scale, y)), None, _INK, 1.5))
    drawing.add("legend", _text(x, y + 15, f"{bar:,} units"))


def _profile(drawing: Drawing, course: CompiledCourse, y: float, width: float) -> None:
    """Draw the height of the main path along the lap, without gaps."""
    ribbon = course.ribbon
    x = MARGIN
    distance = np.append(ribbon.distance, ribbon.length)
    height = np.append(ribbon.centre[:, 1], ribbon.centre[0, 1])
    low, span = float(height.min()), max(float(np.ptp(height)), 40.0)
    drawing.add("profile", _box(x, y, width, PROFILE, (240, 242, 240)))

    def at(along: float, tall: float) -> Pixel:
        rise = (tall - low) / span * (PROFILE - 44)
        return (x + along / ribbon.length * width, y + PROFILE - 26 - rise)

    bottom = y + PROFILE - 18
    for k in range(len(ribbon)):
        if ribbon.gap[k]:
            continue
        a, b = at(distance[k], height[k]), at(distance[k + 1], height[k + 1])
        drawing.add("profile", Shape((a, b, (b[0], bottom), (a[0], bottom)), (206, 212, 206)))
        drawing.add("profile", Shape((a, b), None, _INK, 1.6, title=f"height {height[k]:.0f}"))
    for index, key in enumerate(course.plan.keys.tolist()):
        if key >= 0 and _on_main_path(course, index):
            along = float(course.plan.checkpoint_distance[index])
            px = at(along, low)[0]
            colour = _START if key == 0 else _KEY
            drawing.add("profile", Shape(((px, y + 6), (px, bottom)), None, colour, 1.0))
    drawing.add("profile", _text(x + 4, y + PROFILE - 5, "start", _PALE, 11))
    label = f"height {low:.0f} to {float(height.max()):.0f} along {ribbon.length:,.0f} units"
    drawing.add("profile", _text(x + width - 4, y + PROFILE - 5, label, _PALE, 11, "end"))


def _on_main_path(course: CompiledCourse, checkpoint: int) -> bool:
    return any(
        section.path == 0 and section.start <= checkpoint < section.start + section.length
        for section in course.plan.checkpoint_sections
    )
