"""The course compiler writes the described road, collision and map."""

from __future__ import annotations

import dataclasses
import math
import struct

import numpy as np
import pytest
from kartlab_courses import OVAL, bundled, compiled

from mkds_gym.course.archive import read_carc
from mkds_gym.course.kcl import KCL
from mkds_gym.course.nkm import NKM
from mkds_gym.kartlab import COURSE_DIRECTORY
from mkds_gym.kartlab.compiler import CompiledCourse, compile_course, compile_description
from mkds_gym.kartlab.compiler.kcl import PRISM_THICKNESS, SPHERE_RADIUS


@pytest.fixture(scope="module")
def meadow() -> CompiledCourse:
    return bundled("mario_course")


@pytest.fixture(scope="module")
def raw(meadow: CompiledCourse) -> tuple[bytes, tuple[int, ...]]:
    """The collision file and its header."""
    data = meadow.files["course_collision.kcl"]
    return data, struct.unpack_from("<4I4i6Ii", data)


# -- the road as described --------------------------------------------------------------


def test_course_has_the_described_length_width_and_slope(meadow: CompiledCourse) -> None:
    assert meadow.name == "mario_course"
    assert meadow.course_id == 25
    assert meadow.title == "Meadow Circuit"
    assert 9000 <= meadow.length <= 11_500
    assert 275 <= 2 * meadow.ribbon.half_width.min() <= 2 * meadow.ribbon.half_width.max() <= 325
    steps = np.diff(np.vstack([meadow.ribbon.centre, meadow.ribbon.centre[:1]]), axis=0)
    # Chords of arcs of at most 15 degrees are at most 0.3 % short.
    assert np.hypot(steps[:, 0], steps[:, 2]).sum() == pytest.approx(meadow.length, rel=3e-3)
    slopes = steps[:, 1] / np.hypot(steps[:, 0], steps[:, 2])
    assert 0.06 < np.abs(slopes).max() < 0.09


def test_lap_turns_left_once(meadow: CompiledCourse) -> None:
    heading = meadow.ribbon.heading
    turns = [
        math.remainder(float(heading[k]) - float(heading[k - 1]), math.tau)
        for k in range(len(heading))
    ]
    assert sum(turns) == pytest.approx(math.tau)
    assert min(turns) < -0.1 < 0.1 < max(turns), "bends to both sides"
    # The forward direction and the stations agree.
    steps = np.roll(meadow.ribbon.centre, -1, axis=0) - meadow.ribbon.centre
    along = np.einsum("ij,ij->i", steps[:, [0, 2]], meadow.ribbon.forward)
    assert (along > 0.98 * np.hypot(steps[:, 0], steps[:, 2])).all()


def test_course_has_every_surface_and_kind_of_edge(meadow: CompiledCourse) -> None:
    assert set(meadow.triangles.types.tolist()) == {0, 2, 3, 5, 8, 10, 11}
    assert {edge.end for pair in meadow.ribbon.edges for edge in pair} == {"wall", "drop", "bounds"}


# -- collision --------------------------------------------------------------------------


def test_prisms_restore_the_triangles(meadow: CompiledCourse) -> None:
    kcl = KCL.from_bytes(meadow.files["course_collision.kcl"])
    wanted = meadow.triangles.vertices
    assert kcl.triangles.shape == wanted.shape
    # A prism may begin at any vertex but keeps the winding.
    errors = [
        np.linalg.norm(np.roll(kcl.triangles, turn, axis=1) - wanted, axis=2).max(axis=1)
        for turn in range(3)
    ]
    assert np.min(errors, axis=0).max() < 0.15
    assert np.array_equal(kcl.types, meadow.triangles.types)
    assert np.array_equal(kcl.is_wall, meadow.triangles.walls)
    assert np.array_equal(kcl.is_floor, ~meadow.triangles.walls)


def test_prism_normals_face_outwards(
    meadow: CompiledCourse, raw: tuple[bytes, tuple[int, ...]]
) -> None:
    data, header = raw
    normals_at, prisms_at = header[1], header[2] + 0x10
    count = (header[3] - prisms_at) // 0x10
    assert count == len(meadow.triangles)
    ribbon, centre = meadow.ribbon, meadow.ribbon.centre
    feet = np.array(
        [
            ribbon.point(k, sign * float(ribbon.reach(side)[k]))
            for side, sign in ((0, 1.0), (1, -1.0))
            for k in range(len(ribbon))
        ]
    )
    for index in range(count):
        height, position, *directions, _ = struct.unpack_from("<i6H", data, prisms_at + 16 * index)
        first = np.array(struct.unpack_from("<3i", data, header[0] + 12 * position)) / 4096
        face, *edges = (
            np.array(struct.unpack_from("<3h", data, normals_at + 6 * n)) / 4096 for n in directions
        )
        for normal in (face, *edges):
            assert np.linalg.norm(normal) == pytest.approx(1, abs=3e-4)
        middle = meadow.triangles.vertices[index].mean(axis=0)
        # Inside is behind the first two edges and before the third.
        assert (middle - first) @ edges[0] < 0
        assert (middle - first) @ edges[1] < 0
        assert 0 < (middle - first) @ edges[2] < height / 4096
        if meadow.triangles.walls[index]:
            assert abs(face[1]) < 0.01
            nearest = np.linalg.norm(feet - middle, axis=1).argmin() % len(centre)
            assert (centre[nearest] - middle) @ face > 0, "a wall faces its road"
        else:
            assert face[1] > 0.9


def walk_octree(data: bytes, header: tuple[int, ...], x: int, y: int, z: int) -> set[int] | None:
    """Prisms at an integral place, looked up as the game does; None outside the area."""
    octree = header[3]
    masks, (shift, x_blocks, xy_blocks) = header[8:11], header[11:14]
    if x & masks[0] or y & masks[1] or z & masks[2]:
        return None
    base = octree
    index = (z >> shift) << xy_blocks | (y >> shift) << x_blocks | (x >> shift)
    while True:
        (node,) = struct.unpack_from("<I", data, base + 4 * index)
        if node & 0x80000000:
            break
        base += node
        shift -= 1
        index = (z >> shift & 1) << 2 | (y >> shift & 1) << 1 | (x >> shift & 1)
    place = base + (node & 0x7FFFFFFF) + 2
    found = set()
    while (prism := struct.unpack_from("<H", data, place)[0]) != 0:
        assert prism not in found
        found.add(prism - 1)
        place += 2
    return found


def near_triangles(point: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Whether each triangle (T, 3, 3) touches a sphere, or is up to a prism's thickness above."""
    sides = np.roll(triangles, -1, axis=1) - triangles
    normal = np.cross(sides[:, 0], sides[:, 1])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    outward = np.cross(sides, normal[:, None])
    near = np.zeros(len(triangles), dtype=bool)
    for depth, reach in ((0.0, SPHERE_RADIUS), *((d, 6.0) for d in (10.0, 20.0, PRISM_THICKNESS))):
        away = (point + depth * normal)[:, None] - triangles
        inside = (np.einsum("ijk,ijk->ij", outward, away) <= 0).all(axis=1)
        near |= inside & (np.abs(np.einsum("ij,ij->i", away[:, 0], normal)) < reach)
    away = point - triangles
    along = np.einsum("ijk,ijk->ij", away, sides) / np.einsum("ijk,ijk->ij", sides, sides)
    nearest = away - np.clip(along, 0, 1)[..., None] * sides
    return near | (np.linalg.norm(nearest, axis=2).min(axis=1) < SPHERE_RADIUS)


def test_octree_finds_every_prism_that_a_sphere_could_touch(
    meadow: CompiledCourse, raw: tuple[bytes, tuple[int, ...]]
) -> None:
    """Compare with brute force over all prisms at random places."""
    data, header = raw
    triangles, ribbon = meadow.prisms.triangles, meadow.ribbon
    low, high = triangles.min(axis=1) - 60, triangles.max(axis=1) + 60
    random = np.random.default_rng(7)
    longest = found_any = 0
    for _ in range(2500):
        k = int(random.integers(len(ribbon)))
        offset = float(random.uniform(-300, 300))
        point = ribbon.point(k, offset, float(random.uniform(-80, 60)))
        point[[0, 2]] += ribbon.forward[k] * random.uniform(-75, 75)
        # The place in the game's numbers: integral units from the corner of the area.
        raw_point = [round(float(part) * 4096) for part in point]
        cell = [(value - low) >> 12 for value, low in zip(raw_point, header[5:8], strict=True)]
        found = walk_octree(data, header, *cell)
        assert found is not None, "the course is inside the octree's area"
        longest = max(longest, len(found))
        possible = np.flatnonzero(((low < point) & (point < high)).all(axis=1))
        wanted = set(possible[near_triangles(point, triangles[possible])].tolist())
        assert wanted <= found
        found_any += bool(wanted)
    assert found_any > 800
    assert longest < 100


def test_octree_lists_are_short_and_equal_those_of_the_reader(
    meadow: CompiledCourse, raw: tuple[bytes, tuple[int, ...]]
) -> None:
    data, header = raw
    kcl = KCL.from_bytes(data)
    lengths = []
    ribbon = meadow.ribbon
    for k in range(len(ribbon)):
        for part in (-0.9, -0.5, 0.0, 0.5, 0.9):
            spot = ribbon.point(k, part * float(ribbon.half_width[k]), 8.0)
            x, y, z = np.round(spot * 4096) / 4096  # rounded as in the game
            found = kcl.prisms_at(float(x), float(y), float(z))
            cell = [
                (int(v * 4096) - low) >> 12 for v, low in zip((x, y, z), header[5:8], strict=True)
            ]
            assert set(np.asarray(found).tolist()) == walk_octree(data, header, *cell)
            lengths.append(len(found))
    assert np.mean(lengths) < 20
    assert np.percentile(lengths, 95) <= 40
    assert len(kcl.prisms_at(12_000.0, 0.0, 0.0)) == 0


def test_fall_boundary_lies_below_every_edge(meadow: CompiledCourse) -> None:
    """Look straight down from beyond the shoulders."""
    triangles, types = meadow.prisms.triangles, meadow.triangles.types
    ribbon = meadow.ribbon
    a, b, c = (triangles[:, i][:, [0, 2]] for i in range(3))
    floors = ~meadow.triangles.walls
    checked = 0
    for k in range(len(ribbon)):
        for side, sign in ((0, 1.0), (1, -1.0)):
            spot = ribbon.point(k, sign * (float(ribbon.reach(side)[k]) + 175))[[0, 2]]
            cover = floors.copy()
            for start, end in ((a, b), (b, c), (c, a)):
                edge, away = end - start, spot - start
                # Counter-clockwise from above is clockwise in (x, z) with z down.
                cover &= edge[:, 0] * away[:, 1] - edge[:, 1] * away[:, 0] <= 1e-9
            assert cover.any()
            assert 11 in types[cover]
            checked += 1
    assert checked == 2 * len(ribbon)


# -- map --------------------------------------------------------------------------------


def test_map_file_equals_the_plan(meadow: CompiledCourse) -> None:
    data = meadow.files["course_map.nkm"]
    nkm = NKM.from_bytes(data)
    assert nkm.save() == data
    plan = meadow.plan
    assert nkm.sections == (
        *("OBJI", "PATH", "POIT", "STAG", "KTPS", "KTPJ", "KTP2", "KTPC", "KTPM"),
        *("CPOI", "CPAT", "IPOI", "IPAT", "EPOI", "EPAT", "AREA", "CAME"),
    )
    points = nkm.checkpoints
    assert len(points) == len(plan.checkpoints)
    raw_entries = data[data.index(b"CPOI") + 8 :]
    for index, ends in enumerate(plan.checkpoints):
        entry = struct.unpack_from("<7i3h2B", raw_entries, 36 * index)
        assert np.array(entry[:4]) / 4096 == pytest.approx(ends.reshape(-1), abs=2e-4)
        # Sine and cosine are of the line across, from the right end's left.
        ahead = np.array([entry[4], entry[5]]) / 4096
        across = ends[0] - ends[1]
        assert np.hypot(*ahead) == pytest.approx(1, abs=1e-3)
        assert abs(ahead @ across) < 0.25
        assert ahead[1] * across[0] - ahead[0] * across[1] > 0, "the first end is the left one"
        if index + 1 < len(plan.checkpoints):
            gap = np.hypot(*(plan.checkpoints[index + 1].mean(0) - ends.mean(0)))
            assert entry[6] / 4096 == pytest.approx(gap, abs=1e-3)
            assert entry[7] == -1
        else:
            assert entry[6:8] == (-4096, 0)
        assert entry[8] == (0 if index == 0 else -1)
        assert entry[9] == plan.keys[index]
        assert entry[10] == plan.respawn_ids[index] < len(nkm.respawns)
    assert plan.keys[plan.keys >= 0].tolist() == [0, 1, 2, 3, 4]
    assert plan.keys[0] == 0
    assert (len(nkm.starts), len(nkm.checkpoint_paths)) == (1, 1)
    assert len(nkm.enemy_points) == len(nkm.item_points) == len(plan.route)
    for magic, size in (
        *((b"PATH", 4), (b"POIT", 0x14), (b"KTPS", 0x1C), (b"KTPJ", 0x20), (b"CPOI", 0x24)),
        *((b"CPAT", 12), (b"IPOI", 0x14), (b"IPAT", 12), (b"EPOI", 0x18), (b"EPAT", 12)),
        *((b"AREA", 0x48), (b"CAME", 0x4C)),
    ):
        # Every section ends where the next one begins, so all entries have their size.
        offsets = [*sorted(0x4C + o for o in struct.unpack_from("<17I", data, 8)), len(data)]
        at = next(o for o in offsets if data[o : o + 4] == magic)
        (count,) = struct.unpack_from("<I", data, at + 4)
        assert count > 0
        assert offsets[offsets.index(at) + 1] - at == 8 + count * size, magic


def test_start_and_respawns_face_along_the_road(meadow: CompiledCourse) -> None:
    nkm = NKM.from_bytes(meadow.files["course_map.nkm"])
    assert nkm.stage is not None
    assert (int(nkm.stage["course"]), int(nkm.stage["laps"])) == (25, 3)
    start = np.asarray(nkm.starts["position"][0]) / 4096
    rotation = math.radians(float(nkm.starts["rotation"][0][1]) / 4096)
    ahead = np.array([math.sin(rotation), math.cos(rotation)])
    line = meadow.plan.checkpoints[0]
    to_line = line.mean(axis=0) - start[[0, 2]]
    assert 50 < to_line @ ahead < 300, "the grid is behind the line and looks at it"
    for position, turn in zip(
        nkm.respawns["position"] / 4096, nkm.respawns["rotation"][:, 1] / 4096, strict=True
    ):
        gap = np.hypot(*(meadow.ribbon.centre - position)[:, [0, 2]].T)
        k = int(gap.argmin())
        assert gap[k] < 150
        forward = np.array([math.sin(math.radians(turn)), math.cos(math.radians(turn))])
        assert forward @ meadow.ribbon.forward[k] > 0.8


def test_checkpoints_cover_the_floor_and_do_not_cross(meadow: CompiledCourse) -> None:
    lines = meadow.plan.checkpoints
    following = np.roll(lines, -1, axis=0)
    for (left, right), (next_left, next_right) in zip(lines, following, strict=True):
        for a, b in ((next_left, left), (next_right, right)):
            # Both ends of the next line lie ahead of this one.
            across = left - right
            ahead = np.array([-across[1], across[0]])
            assert (a - b) @ ahead > 0
    for distance, (left, right) in zip(meadow.plan.checkpoint_distance, lines, strict=True):
        k = int(np.searchsorted(meadow.ribbon.distance, distance, side="right")) - 1
        width = float(np.hypot(*(left - right)))
        floor = float(meadow.ribbon.reach(0)[k] + meadow.ribbon.reach(1)[k])
        assert width > 0.85 * floor


# -- files ------------------------------------------------------------------------------


def test_compile_twice_gives_the_same_bytes_and_a_small_archive(meadow: CompiledCourse) -> None:
    again = compile_course(str(COURSE_DIRECTORY / "mario_course.toml"))
    assert again.files == meadow.files
    packed = meadow.carc()
    assert read_carc(packed) == meadow.files
    assert len(packed) < 180_000


def test_description_with_defaults_only_compiles() -> None:
    course = compiled(OVAL)
    assert course.length == pytest.approx(2 * 1500 + 2 * math.pi * 375)
    assert np.allclose(course.ribbon.centre[:, 1], 0)
    assert set(course.triangles.types.tolist()) == {0, 8, 11}


def test_description_can_be_replaced_by_a_changed_copy() -> None:
    higher = dataclasses.replace(compiled(OVAL).description, wall_height=80.0)
    course = compile_description(higher)
    walls = course.triangles.vertices[course.triangles.walls]
    assert np.ptp(walls[:, :, 1], axis=1).max() > 80
