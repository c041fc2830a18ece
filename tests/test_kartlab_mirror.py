"""The mirrored course: every structure in RAM has left and right exchanged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from mkds_gym.course import Course
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.kartlab import ROM_PATH
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import RaceReader

COURSE = "mario_course"
MIRROR_X = np.array([-1.0, 1.0, 1.0])
KEYS = [(int(Keys.A), 150)] + 3 * [
    (int(Keys.A | Keys.LEFT), 14),
    (int(Keys.A), 30),
    (int(Keys.A | Keys.RIGHT), 21),
    (int(Keys.A), 30),
]
"""Drive along the first straight and into its walls."""
CONFIG_MIRROR = 0x57


def mirrored_keys(keys: int) -> int:
    """Return the keys with left and right exchanged."""
    sides = Keys.LEFT | Keys.RIGHT
    return keys ^ int(sides) if bool(keys & Keys.LEFT) != bool(keys & Keys.RIGHT) else keys


@pytest.fixture(scope="module")
def plain() -> Iterator[Console]:
    with Console(ROM_PATH, on_power_on=BootParameters().write) as console:
        console.step(0, 120, draw=False)
        yield console


@pytest.fixture(scope="module")
def mirrored() -> Iterator[Console]:
    parameters = BootParameters(mirror=True)
    with Console(ROM_PATH, on_power_on=parameters.write) as console:
        console.step(0, 120, draw=False)
        assert parameters.check(console.ram)
        yield console


@pytest.fixture(scope="module")
def courses(plain: Console, mirrored: Console) -> tuple[Course, Course]:
    return (
        Course.from_ram(plain.ram, MemoryLayout(), COURSE),
        Course.from_ram(mirrored.ram, MemoryLayout(), COURSE),
    )


def test_race_config_holds_the_mirror_flag(plain: Console, mirrored: Console) -> None:
    for console, expected in ((plain, 0), (mirrored, 1)):
        pointer = MemoryLayout().race_config_pointer - 0x2000000
        config = int(console.ram[pointer : pointer + 4].view("<u4")[0]) - 0x2000000
        assert console.ram[config + CONFIG_MIRROR] == expected


def test_every_triangle_is_mirrored(courses: tuple[Course, Course]) -> None:
    one, other = (course.kcl for course in courses)
    assert len(one.prisms) == len(other.prisms) > 300
    assert np.array_equal(one.types, other.types)
    # A mirror reverses the winding: the second and the third corner change places.
    corners = other.triangles[:, [0, 2, 1]] * MIRROR_X
    assert np.allclose(corners, one.triangles, atol=0.1)
    assert np.allclose(other.face_normals * MIRROR_X, one.face_normals)
    # Corners still run around the normal: faces keep their fronts.
    a, b, c = (other.triangles[:, i] for i in range(3))
    normals = np.cross(b - a, c - a)
    assert (np.einsum("ij,ij->i", normals, other.face_normals) > 0).mean() > 0.99


def test_octree_finds_the_same_prisms(courses: tuple[Course, Course]) -> None:
    one, other = (course.kcl for course in courses)
    random = np.random.default_rng(0)
    low, size = one.area_minimum, one.area_size
    found = 0
    for point in low + size * random.uniform(-0.05, 1.05, (4000, 3)):
        x, y, z = (float(part) for part in point)
        here, there = one.prisms_at(x, y, z), other.prisms_at(-x, y, z)
        assert np.array_equal(here, there), (x, y, z)
        found += bool(len(here))
    floors = one.triangles[one.is_floor].mean(axis=1)
    for x, y, z in floors:
        assert np.array_equal(one.prisms_at(x, y + 2, z), other.prisms_at(-x, y + 2, z))
    assert found > 50


def swapped(entries: NDArray[np.void], name: str) -> NDArray[np.int64]:
    """Return a vector field with x negated."""
    return np.asarray(entries[name] * np.array([-1, 1, 1]), dtype=np.int64)


def test_map_entries_are_mirrored(courses: tuple[Course, Course]) -> None:
    one, other = (course.nkm for course in courses)
    for section in ("starts", "respawns", "item_points", "enemy_points", "points", "cameras"):
        before, after = getattr(one, section), getattr(other, section)
        assert len(before) == len(after)
        assert np.array_equal(swapped(before, "position"), after["position"]), section
    for section in ("objects", "starts", "respawns"):
        before, after = getattr(one, section), getattr(other, section)
        assert np.array_equal(np.asarray(before["rotation"]) * [1, -1, -1], after["rotation"])
    before, after = one.checkpoints, other.checkpoints
    for end, opposite in (("1", "2"), ("2", "1")):
        assert np.array_equal(after["x" + end], -before["x" + opposite])
        assert np.array_equal(after["z" + end], before["z" + opposite])
    assert np.array_equal(after["sin"], -before["sin"])
    for field in ("cos", "distance", "key", "respawn", "goto_section"):
        assert np.array_equal(after[field], before[field])


def test_track_runs_in_the_mirrored_direction(courses: tuple[Course, Course]) -> None:
    one, other = (course.track for course in courses)
    assert other.length == pytest.approx(one.length)
    for distance in np.linspace(0, one.length, 40, endpoint=False):
        here, there = np.array(one.point_at(distance)), np.array(other.point_at(distance))
        assert np.allclose(there * MIRROR_X, here, atol=0.5)
        assert other.curvature_at(distance) == pytest.approx(-one.curvature_at(distance), abs=1e-3)


def test_mirrored_keys_give_the_mirrored_drive(plain: Console, mirrored: Console) -> None:
    starts = plain.snapshot(), mirrored.snapshot()
    readers = RaceReader(plain.ram), RaceReader(mirrored.ram)
    one, other = (reader.read() for reader in readers)
    first = np.array(one.position)
    for keys, frames in KEYS:
        for _ in range(frames):
            plain.step(keys, draw=False)
            mirrored.step(mirrored_keys(keys), draw=False)
            one, other = (reader.read() for reader in readers)
            # Rounding is not mirrored, and its errors add up over the drive.
            assert np.allclose(np.array(other.position) * MIRROR_X, one.position, atol=10)
    assert np.linalg.norm(np.array(one.position) - first) > 400
    plain.restore(starts[0])
    mirrored.restore(starts[1])


def test_picture_is_mirrored(plain: Console, mirrored: Console) -> None:
    for console, turn in ((plain, Keys.LEFT), (mirrored, Keys.RIGHT)):
        console.step(int(Keys.A), 240)
        console.step(int(Keys.A | turn), 70)
        console.step(int(Keys.A), 130)
    # Below the clouds, which are painted and not mirrored.
    one, other = (np.asarray(c.screen("top")[100:], np.int64) for c in (plain, mirrored))
    same = (np.abs(one - other[:, ::-1]).max(axis=2) < 48).mean()
    unlike = (np.abs(one - other).max(axis=2) < 48).mean()
    assert same > 0.85
    assert unlike < 0.7
