"""Branches, bridges, pads, gaps, surfaces and items of compiled courses."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kartlab_courses import BRANCH, LOOP, PADS, bundled, compiled, eight, text
from numpy.typing import NDArray

from mkds_gym.course.nkm import NKM
from mkds_gym.course.track import Track
from mkds_gym.kartlab.compiler import CompiledCourse
from mkds_gym.kartlab.compiler.description import BRIDGE_CLEARANCE
from mkds_gym.kartlab.compiler.geometry import Region, Ribbon
from mkds_gym.kartlab.compiler.geometry.checks import jump_reach
from mkds_gym.kartlab.compiler.geometry.planar import THIN, area
from mkds_gym.kartlab.compiler.map.racing_line import LINE_EDGE, racing_line
from mkds_gym.kartlab.physics import GRAVITY, SLOWEST_JUMP

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def forked() -> CompiledCourse:
    return compiled(text(LOOP, BRANCH))


@pytest.fixture(scope="module")
def bridged() -> CompiledCourse:
    return compiled(text(eight(120)))


@pytest.fixture(scope="module")
def padded() -> CompiledCourse:
    return compiled(text(LOOP, PADS))


def floors(course: CompiledCourse, point: Floats) -> list[tuple[float, int]]:
    """Height and type of every floor above or below a place, without boundaries."""
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
    """Segment, fraction of the width (1 is the left end) and place, all along a path."""
    out = []
    for k in range(ribbon.segments):
        for share in across:
            ends = []
            for station in (k, ribbon.following(k)):
                reach = ribbon.reach(0 if share > 0 else 1)[station]
                ends.append(ribbon.point(station, share * float(reach)))
            out += [(k, share, ends[0] * (1 - t) + ends[1] * t) for t in (0.15, 0.5, 0.85)]
    return out


def test_joint_has_one_floor_and_no_hole(forked: CompiledCourse) -> None:
    for path, ribbon in enumerate(forked.layout.paths):
        for k, share, place in places(ribbon, (-0.97, -0.5, 0.02, 0.5, 0.97)):
            near = [(h, t) for h, t in floors(forked, place) if abs(h - place[1]) < 50]
            assert near, f"a hole in segment {k} of path {path}, {share} across, at {place}"
            heights = [h for h, _ in near]
            assert max(heights) - min(heights) < 2.0, f"two floors at {place}: {near}"
            assert max(abs(h - place[1]) for h in heights) < 2.0
            # Where either road runs, a kart drives on road.
            half = float(min(ribbon.half_width[[k, ribbon.following(k)]]))
            if abs(share) * float(ribbon.reach(0)[k]) < half - 5:
                assert {t for _, t in near} == {0}, f"not road at {place}, segment {k}, path {path}"


def test_no_wall_stands_across_a_road(forked: CompiledCourse) -> None:
    walls = forked.triangles.vertices[forked.triangles.walls]
    assert len(walls) > 100
    low, high = walls.min(axis=1), walls.max(axis=1)
    for ribbon in forked.layout.paths:
        for _, _, place in places(ribbon, (-0.7, -0.3, 0.0, 0.3, 0.7)):
            hub = place + np.array([0, 8, 0])
            for corners in walls[((low - 0.5 < hub) & (hub < high + 0.5)).all(axis=1)]:
                normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
                away = abs(float((place - corners[0]) @ normal / np.linalg.norm(normal)))
                assert away > 8, f"a wall at {place}"
    # Both paths have outer walls, and the branch's inner wall begins at the fork.
    assert np.hypot(*(walls.mean(axis=1) - [2000, 0, 250])[:, [0, 2]].T).min() < 350


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
    ), "every driver passes every key, on any branch"
    assert [track.key(index) for index in range(len(track)) if track.is_key(index)] == [
        0,
        1,
        2,
        3,
        4,
    ]
    fork = int(nkm.checkpoint_paths["start"][1]) - 1
    assert len(track.next(fork)) == 2
    # Progress grows evenly along the branch, up to that of the main path.
    plan, branch = forked.plan, forked.layout.paths[1]
    own = plan.checkpoint_sections[2]
    values: list[float] = []
    for distance in np.arange(0, branch.length, 30.0):
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
    # Each path has its own respawn points.
    assert set(plan.respawn_paths.tolist()) == {0, 1}
    for section in plan.checkpoint_sections:
        ids = plan.respawn_ids[section.start : section.start + section.length]
        assert set(plan.respawn_paths[ids].tolist()) == {section.path}


def test_routes_stay_on_the_road(forked: CompiledCourse, bridged: CompiledCourse) -> None:
    for course in (forked, bridged):
        enemies = NKM.from_bytes(course.files["course_map.nkm"]).enemy_points
        assert len(enemies) == len(course.plan.racing)
        for point, radius in zip(course.plan.racing, course.plan.racing_radius, strict=True):
            found = [t for h, t in floors(course, point) if abs(h - point[1]) < 2]
            assert found == [0] * len(found) != []
            assert radius >= 50
        assert enemies["drifting"].tolist() == course.plan.drifting.tolist()


def test_racing_line_cuts_corners_and_is_shorter(forked: CompiledCourse) -> None:
    ribbon = forked.layout.main
    line = racing_line(ribbon)
    assert (np.abs(line.offset) <= 150 - LINE_EDGE + 1e-6).all()
    left = np.stack([np.cos(ribbon.heading), -np.sin(ribbon.heading)], axis=1)
    offset = np.array([line.offset_at(float(d)) for d in ribbon.distance])
    driven = ribbon.centre[:, [0, 2]] + offset[:, None] * left

    def length(points: Floats) -> float:
        step = np.roll(points, -1, axis=0) - points
        return float(np.hypot(step[:, 0], step[:, 1]).sum())

    assert length(driven) < 0.99 * length(ribbon.centre[:, [0, 2]])
    middle = ribbon.curvature != 0
    inside = offset[middle] * np.sign(ribbon.curvature[middle])
    assert inside.max() > 60, "touches the inside"
    assert inside.mean() > 25


def test_drifting_pays_in_narrow_bends_only() -> None:
    hairpins = bundled("mario_course").plan
    assert 2 <= hairpins.drifting.sum() < len(hairpins.drifting) / 3
    wide = compiled(text(LOOP.replace("radius = 500", "radius = 825")))
    assert not wide.plan.drifting.any()


def test_bridge_has_two_floors_with_room_between(bridged: CompiledCourse) -> None:
    below = floors(bridged, np.array([-250.0, 0.0, 750.0]))
    heights = sorted(h for h, _ in below)
    assert len({round(h) for h in heights}) == 2
    assert heights[-1] - heights[0] >= BRIDGE_CLEARANCE


def test_pads_lie_where_described_with_road_beside_them(padded: CompiledCourse) -> None:
    # Point 3 is at [2000, 250]; the road runs towards -z there, and its left is -x.
    for x, z, wanted in (
        *((1937, -50, 7), (1937, -90, 7), (1905, -50, 7), (1970, -50, 7)),
        *((1892, -50, 0), (1982, -50, 0), (1937, 12, 0), (1937, -112, 0), (2062, -50, 0)),
    ):
        found = floors(padded, np.array([x, 0.0, z]))
        assert {t for _, t in found} == {wanted}, (x, z)
    counts = {
        int(t): int(n)
        for t, n in zip(*np.unique(padded.triangles.types, return_counts=True), strict=True)
    }
    assert counts[7] == 2
    assert counts[12] == 2


def test_gap_has_no_floor_and_no_respawn_point_on_its_run_up(padded: CompiledCourse) -> None:
    # Point 5 is at [-500, -1750]; the road runs towards -x there.
    for x, there in ((-737, True), (-762, False), (-912, False), (-937, True)):
        for z in (-1750, -1600, -1925):
            assert bool(floors(padded, np.array([x, 0.0, z]))) == there, (x, z)
    for point in padded.plan.respawns:
        assert not (abs(point[2] + 1750) < 1 and -975 < point[0] < -500), "too short a run-up"
        assert floors(padded, point)
    plain = compiled(text(LOOP))
    assert len(plan_gap(plain)) > len(plan_gap(padded)) == 0


def plan_gap(course: CompiledCourse) -> list[Floats]:
    """The respawn points on the run-up to the gap."""
    return [p for p in course.plan.respawns if abs(p[2] + 1750) < 1 and -962 < p[0] < -312]


def test_item_boxes_stand_in_a_row_across_the_road(padded: CompiledCourse) -> None:
    objects = NKM.from_bytes(padded.files["course_map.nkm"]).objects
    assert objects["id"].tolist() == [101] * 5
    position = objects["position"] / 4096
    assert np.allclose(position[:, 0], 0, atol=0.01)
    assert np.allclose(np.sort(position[:, 2]), [1145, 1197.5, 1250, 1302.5, 1355], atol=0.01)


def test_surface_holds_until_the_next() -> None:
    body = LOOP.replace("at = [2000, 250]\n", 'at = [2000, 250]\nsurface = "slippery road"\n')
    body = body.replace("at = [-500, -1750]\n", 'at = [-500, -1750]\nsurface = "road"\n')
    course = compiled(text(body, road='surface = "packed snow"'))
    for place, wanted in (
        ((750, 1250), 6),
        ((2000, -750), 1),
        ((0, -1750), 1),
        ((-1000, -1750), 0),
    ):
        found = floors(course, np.array([place[0], 0.0, place[1]]))
        assert {t for _, t in found} == {wanted}


# -- geometry ---------------------------------------------------------------------------


def shared_area(first: Floats, *others: Floats) -> float:
    """Area of the intersection of convex polygons (., 2)."""
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
def test_region_subtract_returns_exactly_the_outside(seed: int) -> None:
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
    # The area that they cover, by inclusion and exclusion; pieces and covered area add up.
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
    parts = region.subtract_line(np.array([0.0, 0.0]), np.array([10.0, 0.0]))
    assert np.allclose(parts, [(0.0, 0.2), (0.6, 1.0)])
    assert region.subtract_line(np.array([2.5, 0.0]), np.array([3.5, 0.5])) == []


def test_jump_reach_grows_with_speed_and_drop() -> None:
    assert jump_reach(0.0, 0.0) == 0.0
    assert jump_reach(3.5, 0.0) == pytest.approx(SLOWEST_JUMP * 2 * 3.5 / GRAVITY)
    assert jump_reach(3.5, 75.0) > jump_reach(3.5, 0.0) > jump_reach(3.5, -50.0) > 0
    assert jump_reach(3.5, -125.0) == 0.0
