"""What a course can have besides one road: branches, bridges, pads, gaps, surfaces, items."""

from __future__ import annotations

import itertools
import math
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mkds_gym.course.nkm import NKM
from mkds_gym.course.track import Track
from mkds_gym.kartlab import COURSE_DIRECTORY
from mkds_gym.kartlab.compiler import (
    CompiledCourse,
    CourseDescriptionError,
    compile_course,
    compile_description,
    parse_description,
)
from mkds_gym.kartlab.compiler.description import BRIDGE_CLEARANCE, POINT_LIMIT
from mkds_gym.kartlab.compiler.geometry import Region, Ribbon
from mkds_gym.kartlab.compiler.geometry.checks import jump_reach
from mkds_gym.kartlab.compiler.geometry.planar import THIN, area
from mkds_gym.kartlab.compiler.map.racing_line import racing_line

Floats = NDArray[np.float64]

HEAD = """
title = "Ways"
name = "desert_course"
id = 27
[road]
left = "rail"
right = "rail"
{road}
[edges.rail]
width = 20
surface = "off-road"
end = "wall"
[edges.edge]
width = 15
surface = "weak off-road"
end = "drop"
"""

LOOP = """
[[point]]
at = [-100, 500]
height = 0
[[point]]
at = [200, 500]
[[point]]
at = [800, 500]
radius = 200
height = 0
[[point]]
at = [800, 100]
height = 0
[[point]]
at = [800, -700]
radius = 200
height = 0
[[point]]
at = [-200, -700]
height = 0
[[point]]
at = [-800, -700]
radius = 200
height = 0
[[point]]
at = [-800, 500]
radius = 200
height = 0
"""

BRANCH = """
[[branch]]
from = 3
to = 5
width = 80
left = "edge"
[[branch.point]]
at = [500, -150]
radius = 160
height = 18
[[branch.point]]
at = [350, -450]
radius = 160
"""

EIGHT = """
[[point]]
at = [300, 300]
height = 0
[[point]]
at = [600, 300]
radius = 200
[[point]]
at = [600, -300]
radius = 200
height = 0
[[point]]
at = [-100, -300]
radius = 110
height = {high}
[[point]]
at = [-100, 700]
radius = 200
height = {high}
[[point]]
at = [-700, 700]
radius = 200
height = 0
[[point]]
at = [-700, 300]
radius = 150
height = 0
[[point]]
at = [-300, 300]
height = 0
"""


def text(body: str, road: str = "", extra: str = "") -> str:
    return HEAD.format(road=road) + body + extra


def compiled(body: str, road: str = "", extra: str = "") -> CompiledCourse:
    return compile_description(parse_description(text(body, road, extra), "mine.toml"))


@pytest.fixture(scope="module")
def forked() -> CompiledCourse:
    return compiled(LOOP, extra=BRANCH)


@pytest.fixture(scope="module")
def bridged() -> CompiledCourse:
    return compiled(EIGHT.format(high=48))


def floors(course: CompiledCourse, point: Floats) -> list[tuple[float, int]]:
    """Height and type of every floor over or under a place, boundaries left out."""
    of = ~course.triangles.walls & ~np.isin(course.triangles.types, (10, 11))
    corners, types = course.triangles.vertices[of], course.triangles.types[of]
    flat = corners[:, :, [0, 2]] - point[[0, 2]]

    def turn(a: int, b: int) -> Floats:
        return np.asarray(flat[:, a, 0] * flat[:, b, 1] - flat[:, a, 1] * flat[:, b, 0])

    share = np.stack([turn(1, 2), turn(2, 0), turn(0, 1)], axis=1)
    total = share.sum(axis=1)
    inside = (share * np.sign(total)[:, None] >= -1e-6).all(axis=1) & (np.abs(total) > 1e-6)
    heights = (share * corners[:, :, 1]).sum(axis=1)[inside] / total[inside]
    return [(float(h), int(t)) for h, t in zip(heights, types[inside], strict=True)]


def places(ribbon: Ribbon, across: tuple[float, ...]) -> list[tuple[int, float, Floats]]:
    """Segment, share across (1 is the left end of the floor) and place, all along a path."""
    out = []
    for k in range(ribbon.segments):
        for share in across:
            ends = []
            for station in (k, ribbon.following(k)):
                reach = ribbon.reach(0 if share > 0 else 1)[station]
                ends.append(ribbon.point(station, share * float(reach)))
            out += [(k, share, ends[0] * (1 - t) + ends[1] * t) for t in (0.15, 0.5, 0.85)]
    return out


def test_ways_meet_with_one_floor_and_no_hole(forked: CompiledCourse) -> None:
    for path, ribbon in enumerate(forked.layout.paths):
        for k, share, place in places(ribbon, (-0.97, -0.5, 0.02, 0.5, 0.97)):
            near = [(h, t) for h, t in floors(forked, place) if abs(h - place[1]) < 20]
            assert near, f"a hole in segment {k} of path {path}, {share} across, at {place}"
            heights = [h for h, _ in near]
            assert max(heights) - min(heights) < 0.8, f"two floors at {place}: {near}"
            assert max(abs(h - place[1]) for h in heights) < 0.8
            # Where either road runs, a kart drives on road.
            half = float(min(ribbon.half_width[[k, ribbon.following(k)]]))
            if abs(share) * float(ribbon.reach(0)[k]) < half - 2:
                assert {t for _, t in near} == {0}, f"not road at {place}, segment {k}, path {path}"


def test_no_wall_stands_across_a_road(forked: CompiledCourse) -> None:
    walls = forked.triangles.vertices[forked.triangles.walls]
    assert len(walls) > 100
    low, high = walls.min(axis=1), walls.max(axis=1)
    for ribbon in forked.layout.paths:
        for _, _, place in places(ribbon, (-0.7, -0.3, 0.0, 0.3, 0.7)):
            hub = place + np.array([0, 6, 0])
            for corners in walls[((low - 0.5 < hub) & (hub < high + 0.5)).all(axis=1)]:
                normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
                away = abs(float((place - corners[0]) @ normal / np.linalg.norm(normal)))
                assert away > 3, f"a wall at {place}"
    # And yet both paths have their outer walls, and the branch's inner one begins at the fork.
    assert np.hypot(*(walls.mean(axis=1) - [800, 0, 100])[:, [0, 2]].T).min() < 140


def test_map_forks_and_joins(forked: CompiledCourse) -> None:
    nkm = NKM.from_bytes(forked.files["course_map.nkm"])
    track = Track(nkm)
    for sections in (nkm.checkpoint_paths, nkm.item_paths, nkm.enemy_paths):
        assert sections["next"].tolist() == [
            [1, 2, 255],
            [3, 255, 255],
            [3, 255, 255],
            [0, 255, 255],
        ]
        assert sections["previous"].tolist() == [
            *([3, 255, 255], [0, 255, 255], [0, 255, 255], [1, 2, 255])
        ]
        assert sections["order"].tolist() == [0, 1, 1, 2]
        assert (sections["start"][1:] == np.cumsum(sections["length"])[:-1]).all()
    assert track.length == pytest.approx(forked.length, rel=0.03)
    assert all(
        track.section(index) in (0, 3) for index in range(len(track)) if track.is_key(index)
    ), "everybody passes every key, whichever branch a driver takes"
    assert [track.key(index) for index in range(len(track)) if track.is_key(index)] == [
        0,
        1,
        2,
        3,
        4,
    ]
    fork = int(nkm.checkpoint_paths["start"][1]) - 1
    assert len(track.next(fork)) == 2
    # Progress grows evenly all along the branch, and its end is the end of the main path's part.
    plan, branch = forked.plan, forked.layout.paths[1]
    own = plan.checkpoint_sections[2]
    values = []
    for distance in np.arange(0, branch.length, 12.0):
        passed = plan.checkpoint_distance[own.start : own.start + own.length] <= distance
        checkpoint = own.start + int(passed.sum()) - 1 if passed.any() else fork
        point = branch.at(float(distance)).point
        values.append(track.progress(checkpoint, float(point[0]), float(point[2])))
    assert (np.diff(values) >= -1e-6).all()
    span = forked.layout.spans[0]
    assert values[-1] - values[0] == pytest.approx(span.end - span.start, rel=0.1)


def test_checkpoints_of_a_path_leave_the_other_alone(forked: CompiledCourse) -> None:
    plan = forked.plan
    for section in plan.checkpoint_sections[1:3]:
        other = forked.layout.paths[1 - section.path]
        half = other.half_width
        road = Region(other.strip(half, -half)[:, :, [0, 2]])
        for left, right in plan.checkpoints[section.start : section.start + section.length]:
            assert road.subtract_line(left, right) == [(0.0, 1.0)]
    # Each path has its own places to be put back at.
    assert set(plan.respawn_paths.tolist()) == {0, 1}
    for section in plan.checkpoint_sections:
        ids = plan.respawn_ids[section.start : section.start + section.length]
        assert set(plan.respawn_paths[ids].tolist()) == {section.path}


def test_routes_stay_on_the_road(forked: CompiledCourse, bridged: CompiledCourse) -> None:
    for course in (forked, bridged):
        enemies = NKM.from_bytes(course.files["course_map.nkm"]).enemy_points
        assert len(enemies) == len(course.plan.racing)
        for point, radius in zip(course.plan.racing, course.plan.racing_radius, strict=True):
            found = [t for h, t in floors(course, point) if abs(h - point[1]) < 1]
            assert found == [0] * len(found) != []
            assert radius >= 20
        assert enemies["drifting"].tolist() == course.plan.drifting.tolist()


def test_racing_line_cuts_corners_and_is_shorter(forked: CompiledCourse) -> None:
    ribbon = forked.layout.main
    line = racing_line(ribbon)
    assert (np.abs(line.offset) <= 60 - 28 + 1e-6).all()
    left = np.stack([np.cos(ribbon.heading), -np.sin(ribbon.heading)], axis=1)
    offset = np.array([line.offset_at(float(d)) for d in ribbon.distance])
    driven = ribbon.centre[:, [0, 2]] + offset[:, None] * left

    def length(points: Floats) -> float:
        step = np.roll(points, -1, axis=0) - points
        return float(np.hypot(step[:, 0], step[:, 1]).sum())

    assert length(driven) < 0.99 * length(ribbon.centre[:, [0, 2]])
    middle = ribbon.curvature != 0
    inside = offset[middle] * np.sign(ribbon.curvature[middle])
    assert inside.max() > 25, "touches the inside"
    assert inside.mean() > 10


def test_drifting_is_told_in_narrow_bends_only() -> None:
    hairpins = compile_course(COURSE_DIRECTORY / "mario_course.toml").plan
    assert 2 <= hairpins.drifting.sum() < len(hairpins.drifting) / 3
    assert not compiled(LOOP.replace("radius = 200", "radius = 330")).plan.drifting.any()


def test_a_bridge_has_two_floors_with_room_between(bridged: CompiledCourse) -> None:
    below = floors(bridged, np.array([-100.0, 0.0, 300.0]))
    heights = sorted(h for h, _ in below)
    assert len({round(h) for h in heights}) == 2
    assert heights[-1] - heights[0] >= BRIDGE_CLEARANCE


def test_no_bridge_names_both_points_and_the_height() -> None:
    with pytest.raises(CourseDescriptionError) as caught:
        compiled(EIGHT.format(high=20))
    message = str(caught.value)
    assert re.match(r"mine\.toml: point \d and point \d: the course overlaps itself near", message)
    assert "20 units of height lie between the two roads, and a bridge needs 40" in message


PADS = """
[[pad]]
kind = "boost"
point = 3
offset = 100
side = 25
width = 30
[[pad]]
kind = "jump"
point = 5
offset = 74
width = 110
length = 20
[[gap]]
point = 5
offset = 100
length = 70
[[items]]
point = 0
offset = 100
count = 5
"""


def test_pads_lie_where_described_and_leave_the_road_beside() -> None:
    course = compiled(LOOP, extra=PADS)
    # Point 3 is at [800, 100]; the road runs towards -z there, and its left is -x.
    for x, z, wanted in (
        *((775, -20, 7), (775, -36, 7), (762, -20, 7), (788, -20, 7)),
        *((757, -20, 0), (793, -20, 0), (775, 5, 0), (775, -45, 0), (825, -20, 0)),
    ):
        found = floors(course, np.array([x, 0.0, z]))
        assert {t for _, t in found} == {wanted}, (x, z)
    counts = {
        int(t): int(n)
        for t, n in zip(*np.unique(course.triangles.types, return_counts=True), strict=True)
    }
    assert counts[7] == 2
    assert counts[12] == 2


def test_gap_has_no_floor_and_nobody_is_put_back_before_it() -> None:
    course = compiled(LOOP, extra=PADS)
    # Point 5 is at [-200, -700]; the road runs towards -x there.
    for x, there in ((-295, True), (-305, False), (-365, False), (-375, True)):
        for z in (-700, -640, -770):
            assert bool(floors(course, np.array([x, 0.0, z]))) == there, (x, z)
    for point in course.plan.respawns:
        assert not (abs(point[2] + 700) < 1 and -390 < point[0] < -200), "no run-up from there"
        assert floors(course, point)
    plain = compiled(LOOP)
    assert len(plan_gap(plain)) > len(plan_gap(course)) == 0


def plan_gap(course: CompiledCourse) -> list[Floats]:
    """The respawn points on the run-up to where the gap is."""
    return [p for p in course.plan.respawns if abs(p[2] + 700) < 1 and -385 < p[0] < -125]


def test_item_boxes_stand_in_a_row_across_the_road() -> None:
    objects = NKM.from_bytes(compiled(LOOP, extra=PADS).files["course_map.nkm"]).objects
    assert objects["id"].tolist() == [101] * 5
    position = objects["position"] / 4096
    assert np.allclose(position[:, 0], 0, atol=0.01)
    assert np.allclose(np.sort(position[:, 2]), [458, 479, 500, 521, 542], atol=0.01)


def test_surface_of_the_road_holds_until_another() -> None:
    body = LOOP.replace("at = [800, 100]\n", 'at = [800, 100]\nsurface = "slippery road"\n')
    body = body.replace("at = [-200, -700]\n", 'at = [-200, -700]\nsurface = "road"\n')
    course = compiled(body, road='surface = "packed snow"')
    for place, wanted in (((300, 500), 6), ((800, -300), 1), ((0, -700), 1), ((-400, -700), 0)):
        found = floors(course, np.array([place[0], 0.0, place[1]]))
        assert {t for _, t in found} == {wanted}


BAD = {
    "branch turns back": (BRANCH.replace("from = 3\nto = 5", "from = 5\nto = 3"), "branch 0: to: "),
    "branch too sharp": (
        BRANCH.replace("at = [500, -150]", "at = [500, 300]"),
        "branch 0: from: the branch meets the main path at",
    ),
    "branch not level": (
        BRANCH.replace("from = 3", "from = 3\nfrom_offset = -100").replace("height = 18", ""),
        None,
    ),
    "branch wider than the road": (
        BRANCH.replace("width = 80", "width = 200"),
        "sticks out of the main path",
    ),
    "branch beyond its points": (
        BRANCH.replace("to = 5", "to = 9"),
        "branch 0: to=9 is out of range",
    ),
    "branch without points": (
        "[[branch]]\nfrom = 3\nto = 5\n",
        "branch 0 point: expected 2 to 200 [[branch.point]] tables, got 0",
    ),
    "second branch inside the first": (
        BRANCH + BRANCH.replace("[500, -150]", "[520, -140]"),
        "branch 1: from: the branch spans",
    ),
    "unknown key": (BRANCH.replace("width = 80", "wide = 80"), "branch 0: wide is unknown"),
    "pad off the road": (PADS.replace("side = 25", "side = 50"), "pad 0: side: the pad reaches 65"),
    "pad of another kind": (
        PADS.replace('"boost"', '"glue"'),
        "pad 0: kind='glue' is unknown",
    ),
    "pads on each other": (
        PADS + '[[pad]]\nkind = "boost"\npoint = 3\noffset = 110\nside = 15\n',
        "pad 2: offset: the pad lies on pad 0",
    ),
    "pad in a gap": (
        PADS + '[[pad]]\nkind = "boost"\npoint = 5\noffset = 110\n',
        "pad 2: offset: the pad lies where a gap",
    ),
    "pad at no point": (PADS.replace("point = 3", "point = 30"), "pad 0: point=30 is out of range"),
    "pad over the line": (
        '[[pad]]\nkind = "boost"\npoint = 0\noffset = -20\n',
        "pad 0: length=40 reaches over the start line",
    ),
    "gap too long": (
        PADS.replace("length = 70", "length = 200"),
        "gap 0: length: 200 units cannot",
    ),
    "gap that only the pad's end is near enough to": (
        PADS.replace("offset = 74\nwidth = 110\nlength = 20", "offset = 50\nwidth = 110"),
        "landing 0 lower, the slowest karts clear 51",
    ),
    "gap without a pad": ("[[gap]]\npoint = 5\nlength = 60\n", "without a jump pad before it"),
    "items in a gap": (
        PADS.replace("point = 0\noffset = 100\ncount", "point = 5\noffset = 140\ncount"),
        "items 0: offset: the row lies in a gap",
    ),
    "gap on the grid": (
        PADS.replace("point = 5\noffset = 74", "point = 7\noffset = 464").replace(
            "point = 5\noffset = 100\nlength", "point = 7\noffset = 490\nlength"
        ),
        "[grid]: the eight places of the grid need a plain road",
    ),
    "grid too long": (
        "[grid]\nback = 398\n",
        "the eight places of the grid reach 508 units behind",
    ),
    "theme": ('[scenery]\ntheme = "moon"\n', "[scenery]: theme='moon' is unknown: expected one of"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_entries_are_named(case: str) -> None:
    extra, message = BAD[case]
    if message is None:
        compiled(LOOP, extra=extra)
        return
    with pytest.raises(CourseDescriptionError, match=re.escape(message)) as caught:
        compiled(LOOP, extra=extra)
    assert str(caught.value).startswith("mine.toml: ")


def test_a_gap_uphill_says_how_much_higher_it_lands() -> None:
    hill = LOOP.replace(
        "[800, -700]\nradius = 200\nheight = 0", "[800, -700]\nheight = 60\nradius = 200"
    )
    with pytest.raises(CourseDescriptionError, match=r"and landing \d+ higher, the slowest"):
        compiled(hill, extra="[[gap]]\npoint = 3\noffset = 100\nlength = 100\n")


def test_ways_that_meet_on_a_slope_are_refused() -> None:
    sloping = LOOP.replace(
        "at = [800, -700]\nradius = 200\nheight = 0", "at = [800, -700]\nradius = 200\nheight = 60"
    )
    with pytest.raises(
        CourseDescriptionError, match=r"branch 0: from: both paths must be level at"
    ):
        compiled(sloping, extra=BRANCH)


def test_narrow_grid_is_refused() -> None:
    with pytest.raises(CourseDescriptionError, match=r"\[grid\]: the eight places .* 45 wide"):
        compiled(LOOP, road="width = 45")


def test_a_million_points_and_long_files_are_refused_at_once(tmp_path: Path) -> None:
    long = tmp_path / "long.toml"
    with long.open("w") as stream:
        stream.write(text(LOOP))
        stream.writelines(f"[[point]]\nat = [{i % 1900}, 0]\n" for i in range(1_000_000))
    with pytest.raises(
        CourseDescriptionError, match=r"long\.toml: too large: expected at most 131,072"
    ):
        compile_course(long)
    many = "".join(f"[[point]]\nat = [{i}, 0]\n" for i in range(POINT_LIMIT + 1))
    with pytest.raises(
        CourseDescriptionError, match=f"point: expected 4 to {POINT_LIMIT} .* got {POINT_LIMIT + 1}"
    ):
        parse_description(text(many))
    with pytest.raises(CourseDescriptionError, match="not TOML"):
        parse_description("x = " + "[" * 50_000)
    with pytest.raises(CourseDescriptionError, match="laps=an integer of thousands of digits is"):
        parse_description('title="T"\nname="desert_course"\nid=27\nlaps = 0x' + "f" * 9000)


def winding(rows: int) -> str:
    """A course of so many long rows, one below the other, and a road back at the left."""
    z = [-1700 + 280 * row for row in range(rows)]
    corners = [(-1780, -1700)]
    for row in range(rows):
        far = 1780 if row % 2 == 0 else -1500
        corners += [(far, z[row]), (far, z[row + 1])] if row + 1 < rows else [(-1780, z[row])]
    start = f"[[point]]\nat = [-1780, {z[-1] - 340}]\n"
    return start + "".join(f"[[point]]\nat = [{x}, {z}]\nradius = 135\n" for x, z in corners)


def test_course_too_large_for_the_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        CourseDescriptionError, match=r"point 0: .* units long: expected at most 16000"
    ):
        compiled(winding(8))
    assert compiled(winding(4)).length > 14_000
    monkeypatch.setattr("mkds_gym.kartlab.compiler.SIZE_LIMIT", 100_000)
    with pytest.raises(
        CourseDescriptionError, match=r"14,\d+ units of road take .* at most 100,000"
    ):
        compiled(winding(4))
    monkeypatch.setattr("mkds_gym.kartlab.compiler.TRIANGLE_LIMIT", 1000)
    with pytest.raises(
        CourseDescriptionError, match=r"1,\d+ collision triangles: expected at most 1,000"
    ):
        compiled(winding(4))


# -- pieces that the rest is made of ----------------------------------------------------


def shared_area(first: Floats, *others: Floats) -> float:
    """Area of what convex polygons (., 2) have in common, clipped by one side after another."""
    rest = [complex(*corner) for corner in first]
    for other in others:
        corners = [complex(*corner) for corner in other]
        twice = sum(
            (a.conjugate() * b).imag
            for a, b in zip(corners, corners[1:] + corners[:1], strict=True)
        )
        if twice < 0:
            corners.reverse()
        for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
            height = [((b - a).conjugate() * (corner - a)).imag for corner in rest]
            clipped = []
            for i, corner in enumerate(rest):
                if height[i] * height[i - 1] < 0:
                    part = height[i] / (height[i] - height[i - 1])
                    clipped.append(corner + (rest[i - 1] - corner) * part)
                if height[i] >= 0:
                    clipped.append(corner)
            rest = clipped
    return area(np.array([(c.real, c.imag) for c in rest]).reshape(-1, 2), 0, 1)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32 - 1))
@example(1941292)  # a sliver of a quad reaches into a piece
def test_region_leaves_exactly_what_is_outside(seed: int) -> None:
    random = np.random.default_rng(seed)

    def quad() -> Floats:
        angle = np.sort(random.uniform(0, math.tau, 4))
        middle, size = random.uniform(-8, 8, 2), random.uniform(2, 12, 2)
        return np.asarray(middle + size * np.stack([np.cos(angle), np.sin(angle)], axis=1))

    region = Region([quad() for _ in range(int(random.integers(1, 5)))])
    polygon = np.insert(quad(), 1, random.uniform(-3, 3), axis=1)
    pieces = region.subtract(polygon)
    points = random.uniform(-14, 14, (300, 2))
    inside_polygon = Region(polygon[None, :, [0, 2]]).contains(points, -1e-3)
    clear = ~region.contains(points, 1e-3) & inside_polygon
    covered = np.zeros(len(points), dtype=int)
    for piece in pieces:
        assert np.allclose(piece[:, 1], polygon[0, 1])
        side = np.roll(piece, -1, axis=0) - piece
        cross = side[:, 0, None] * (points[:, 1] - piece[:, 2, None]) - side[:, 2, None] * (
            points[:, 0] - piece[:, 0, None]
        )
        covered += (cross > 0).all(axis=0) | (cross < 0).all(axis=0)
    assert covered.max(initial=0) <= 1, "pieces do not overlap"
    missed = clear & (covered == 0)
    assert missed.sum() <= 1, "only slivers are dropped"
    for piece in pieces:
        for quad_within in region.quads:
            assert shared_area(piece[:, [0, 2]], quad_within) < THIN, "only slivers are left in"
    # What they all cover, by inclusion and exclusion; with the pieces it makes the polygon.
    hidden = sum(
        (-1) ** (count + 1) * shared_area(polygon[:, [0, 2]], *some)
        for count in range(1, len(region) + 1)
        for some in itertools.combinations(region.quads, count)
    )
    left = sum(area(piece) for piece in pieces)
    assert left <= area(polygon) + 1e-9
    slivers = 5 * len(region) * (len(pieces) + len(region))  # of a piece and a quad, at most
    assert abs(left + hidden - area(polygon)) < slivers * THIN


def test_region_cuts_a_line() -> None:
    quads = [[[2, -1], [4, -1], [4, 1], [2, 1]], [[3, -1], [6, -1], [6, 1], [3, 1]]]
    region = Region(np.array(quads, dtype=float))
    kept = region.subtract_line(np.array([0.0, 0.0]), np.array([10.0, 0.0]))
    assert np.allclose(kept, [(0.0, 0.2), (0.6, 1.0)])
    assert region.subtract_line(np.array([2.5, 0.0]), np.array([3.5, 0.5])) == []


def test_jump_reach() -> None:
    assert jump_reach(0.0, 0.0) == 0.0
    assert jump_reach(2.1, 0.0) == pytest.approx(0.9 * 3.3 * 2 * 2.1 / 0.11)
    assert jump_reach(2.1, 30.0) > jump_reach(2.1, 0.0) > jump_reach(2.1, -20.0) > 0
    assert jump_reach(2.1, -50.0) == 0.0


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_description_ends_in_anything_but_its_own_error(data: st.DataObject) -> None:
    value = st.one_of(
        *(st.floats(), st.integers(), st.booleans(), st.text(max_size=4), st.just([])),
        st.lists(st.floats(), max_size=3),
    )
    body = text(LOOP, extra=BRANCH + PADS)
    lines = body.splitlines()
    changed = [i for i, line in enumerate(lines) if " = " in line]
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.sampled_from(changed))
        key = lines[index].partition(" = ")[0]
        new = data.draw(value)
        shown = {True: "true", False: "false"}.get(new) if isinstance(new, bool) else None
        if isinstance(new, str):
            shown = '"' + "".join(c for c in new if c.isalnum()) + '"'
        lines[index] = f"{key} = {shown if shown is not None else new}"
    try:
        course = compile_description(parse_description("\n".join(lines)))
    except CourseDescriptionError:
        return
    assert struct.unpack_from("<I", course.files["course_collision.kcl"])[0] == 0x3C
