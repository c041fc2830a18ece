import pickle
import time

import numpy as np
import pytest
from course_builder import FLOOR_BIT, OFF_ROAD, ROAD, WALL, WALL_BIT, plain_course, quad, write_kcl
from programs import run_file
from test_kcl import random_triangles

from mkds_gym.course import KCL
from mkds_gym.course.mesh import ObstacleMesh, border_edges

PLAIN = ObstacleMesh(KCL.from_bytes(plain_course()))


def brute_force(triangles, origins, directions):
    """Moeller and Trumbore's test of every ray against every triangle, in float64."""
    v0, e1, e2 = (
        triangles[:, 0].astype(float),
        (triangles[:, 1] - triangles[:, 0]).astype(float),
        (triangles[:, 2] - triangles[:, 0]).astype(float),
    )
    nearest = np.full(len(origins), np.inf)
    for index, (origin, direction) in enumerate(
        zip(origins.astype(float), directions.astype(float), strict=True)
    ):
        p = np.cross(direction, e2)
        determinant = (e1 * p).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = origin - v0
            u = (t * p).sum(axis=1) / determinant
            q = np.cross(t, e1)
            v = (q @ direction) / determinant
            distance = (e2 * q).sum(axis=1) / determinant
            hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 0)
        if hit.any():
            nearest[index] = distance[hit].min()
    return nearest


def rays(rows):
    array = np.array(rows, dtype=np.float32)
    return array[:, :3].copy(), array[:, 3:].copy()


@pytest.mark.parametrize("off_road", [False, True])
def test_distances_agree_with_brute_force(off_road):
    rng = np.random.default_rng(8)
    kcl = KCL.from_bytes(
        write_kcl(
            random_triangles(150, rng),
            rng.choice([WALL_BIT | WALL << 8, FLOOR_BIT | OFF_ROAD << 8, FLOOR_BIT], 150).tolist(),
        )
    )
    mesh = ObstacleMesh(kcl)
    triangles = mesh.walls if off_road else np.concatenate([mesh.walls, mesh.curtains])
    origins = rng.uniform((-900, -150, -900), (900, 150, 900), (2000, 3)).astype(np.float32)
    aims = triangles[rng.integers(0, len(triangles), 2000)].mean(axis=1)
    directions = (aims - origins + rng.normal(0, 30, (2000, 3))).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    found = mesh.distances(origins, directions, off_road)
    expected = brute_force(triangles, origins, directions)
    assert 0.2 < np.isfinite(expected).mean() < 1
    # A ray that grazes an edge may go either way in float32.
    agree = np.isclose(found, expected, rtol=1e-3, atol=0.05) | (found == expected)
    assert agree.mean() > 0.998


def test_distances_to_walls_and_curtains():
    origins, directions = rays(
        [
            [0, 5, 0, -1, 0, 0],  # the wall
            [0, 5, 0, 1, 0, 0],  # the edge of off-road
            [0, 5, 0, 0, 0, 1],  # along the road
            [0, 5, 0, 0.8, 0, 0.6],  # aslant
            [0, 29, 0, 1, 0, 0],  # near the curtain's top
            [0, 31, 0, 1, 0, 0],  # above
            [0, -29, 0, 1, 0, 0],
            [0, -31, 0, 1, 0, 0],
            [0, 49, 0, -1, 0, 0],
            [0, 51, 0, -1, 0, 0],
        ]
    )
    expected = [100, 100, np.inf, 125, 100, np.inf, 100, np.inf, 100, np.inf]
    np.testing.assert_allclose(PLAIN.distances(origins, directions, False), expected, atol=0.1)


def test_curtains_do_not_count_off_road():
    origins, directions = rays([[200, 5, 0, -1, 0, 0], [200, 5, 0, 1, 0, 0]])
    np.testing.assert_allclose(
        PLAIN.distances(origins, directions, on_offroad=True), [300, np.inf], atol=0.1
    )
    np.testing.assert_allclose(
        PLAIN.distances(origins, directions, on_offroad=False), [100, 100], atol=0.1
    )


def test_distances_are_independent_of_earlier_calls():
    origins, directions = rays([[0, 5, 0, -1, 0, 0], [0, 5, 0, 0, 1, 0]])
    for _ in range(3):
        found = PLAIN.distances(origins, directions, False)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, [100, np.inf], atol=0.1)
    assert len(PLAIN.distances(origins[:0], directions[:0], False)) == 0


def test_invalid_rays_hit_nothing():
    origins, directions = rays([[np.nan] * 6, [0, 5, 0, 0, 0, 0]])
    assert np.isinf(PLAIN.distances(origins, directions, False)).all()


def test_mesh_without_obstacles_hits_nothing():
    road = quad((-100, 0, -500), (-100, 0, 500), (100, 0, 500), (100, 0, -500))
    mesh = ObstacleMesh(KCL.from_bytes(write_kcl(road, [FLOOR_BIT | ROAD << 8] * 2)))
    origins, directions = rays([[0, 5, 0, -1, 0, 0]])
    assert np.isinf(mesh.distances(origins, directions, False)).all()
    assert np.isinf(mesh.distances(origins, directions, True)).all()


def length(edges):
    return np.linalg.norm(edges[:, 1] - edges[:, 0], axis=1).sum()


def test_border_of_a_rectangle_has_four_edges():
    area = np.array(quad((0, 0, 0), (0, 0, 100), (200, 0, 100), (200, 0, 0)), dtype=float)
    edges = border_edges(area)
    assert len(edges) == 4
    assert length(edges) == pytest.approx(600)
    assert border_edges(area[:0]).shape == (0, 2, 3)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_border_ignores_t_junctions(noise):
    """One long edge against three short ones of unequal length, as tools like to make them."""
    left = quad((0, 0, 0), (0, 0, 300), (100, 0, 300), (100, 0, 0))
    right = []
    for low, high in ((0, 70), (70, 130), (130, 300)):
        right += quad((100, 0, low), (100, 0, high), (200, 0, high), (200, 0, low))
    area = np.array(left + right, dtype=float)
    area += np.random.default_rng(0).uniform(-noise, noise, area.shape)
    edges = border_edges(area)
    assert length(edges) == pytest.approx(1000, abs=5)
    inside = np.abs(edges[:, :, 0] - 100).max(axis=1) < 5
    assert not inside.any()


def test_border_includes_the_uncovered_parts_of_an_edge():
    """What the neighbour does not cover stays a border."""
    left = quad((0, 0, 0), (0, 0, 300), (100, 0, 300), (100, 0, 0))
    right = quad((100, 0, 100), (100, 0, 200), (200, 0, 200), (200, 0, 100))
    edges = border_edges(np.array(left + right, dtype=float))
    assert length(edges) == pytest.approx(800 + 400 - 200)
    gap = edges[(np.abs(edges[:, :, 0] - 100) < 1).all(axis=1)]
    assert sorted(np.sort(gap[:, :, 2], axis=1).tolist()) == [[0, 100], [200, 300]]


def test_border_with_duplicate_triangles_is_the_same():
    area = np.array(quad((0, 0, 0), (0, 0, 100), (100, 0, 100), (100, 0, 0)) * 2, dtype=float)
    assert length(border_edges(area)) == pytest.approx(400)


def test_border_excludes_a_fold():
    """Two slopes that meet in a ditch."""
    area = np.array(
        quad((0, 40, 0), (0, 40, 100), (100, 0, 100), (100, 0, 0))
        + quad((100, 0, 0), (100, 0, 100), (200, 40, 100), (200, 40, 0)),
        dtype=float,
    )
    edges = border_edges(area)
    assert not (np.abs(edges[:, :, 0] - 100) < 1).all(axis=1).any()


def test_mesh_pickles():
    copy = pickle.loads(pickle.dumps(PLAIN))
    origins, directions = rays([[0, 5, 0, -1, 0, 0]])
    assert copy.distances(origins, directions, False) == PLAIN.distances(origins, directions, False)


def test_mesh_works_after_fork():
    """A forked child must not wait for Embree's threads. The parent has no other threads."""
    done = run_file("mesh_after_fork.py")
    assert done.returncode == 0, done.stderr
    assert [float(word) for word in done.stdout.split()] == pytest.approx([100, 100], abs=0.1)


def test_border_of_a_large_area_is_quick():
    count = 40
    area = []
    for row in range(count):
        for column in range(count):
            x, z = column * 20, row * 20
            area += quad((x, 0, z), (x, 0, z + 20), (x + 20, 0, z + 20), (x + 20, 0, z))
    start = time.process_time()
    edges = border_edges(np.array(area, dtype=float))
    assert time.process_time() - start < 5
    assert length(edges) == pytest.approx(4 * count * 20)
