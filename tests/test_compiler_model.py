"""The drawn course lies where the collision is, complete and within the hardware's limits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from kartlab_courses import MEADOW, bundled
from klm_model import Model, read_model

from mkds_gym.kartlab.compiler import CompiledCourse, compile_description, parse_description
from mkds_gym.kartlab.compiler.model.klm import rgb15
from mkds_gym.kartlab.compiler.model.scenery import OBJECTS
from mkds_gym.kartlab.compiler.themes import COLOURS, THEMES

BRIDGE, BRANCH, GAPS = "cross_course", "desert_course", "airship_course"
FLOORS = (0, 1, 2, 3, 5, 6, 7, 10, 12)


@dataclasses.dataclass
class Drawn:
    """A compiled course and its decoded model; a triangle is a quad with a double corner."""

    course: CompiledCourse
    model: Model
    near: np.ndarray
    colours: np.ndarray
    far: np.ndarray


def quads(polygons: list[list[tuple[np.ndarray, int]]]) -> np.ndarray:
    return np.array([[point for point, _ in (*p, p[-1])][:4] for p in polygons]).reshape(-1, 4, 3)


@pytest.fixture(scope="module")
def drawn() -> dict[str, Drawn]:
    out = {}
    for name in ("mario_course", BRIDGE, BRANCH, GAPS):
        course = bundled(name)
        model = read_model(course.files["course_model.klm"])
        near = [polygon for chunk in model.fine for polygon in chunk.near]
        far = [polygon for chunk in model.fine for polygon in chunk.far]
        tones = np.array([[tone for _, tone in (*p, p[-1])][:4] for p in near])
        out[name] = Drawn(course, model, quads(near), tones, quads(far))
    return out


def heights_at(polygons: np.ndarray, x: float, z: float, margin: float = -0.002) -> np.ndarray:
    """Heights of all polygons above or below a place."""
    a = polygons[:, :, [0, 2]]
    at = np.array([x, z])
    near = (a.min(axis=1) <= at + 1e-6).all(axis=1) & (a.max(axis=1) >= at - 1e-6).all(axis=1)
    out = []
    for quad in polygons[near]:
        for i, j, k in ((0, 1, 2), (0, 2, 3)):
            p, q, r = quad[i], quad[j], quad[k]
            across = np.array([[q[0] - p[0], r[0] - p[0]], [q[2] - p[2], r[2] - p[2]]])
            if abs(np.linalg.det(across)) < 1e-6:
                continue
            s, t = np.linalg.solve(across, [x - p[0], z - p[2]])
            if s >= margin and t >= margin and s + t <= 1 - margin:
                out.append(p[1] + (q[1] - p[1]) * s + (r[1] - p[1]) * t)
                break
    return np.array(out)


@pytest.mark.parametrize("name", ["mario_course", BRIDGE, BRANCH, GAPS])
def test_model_decodes_and_fits_the_hardware(drawn: dict[str, Drawn], name: str) -> None:
    course, model = drawn[name].course, drawn[name].model
    chunks = model.fine + model.coarse
    assert len(chunks) == course.model.chunks <= 512, "as many as the program keeps"
    assert sum(len(chunk.near) for chunk in chunks) == course.model.polygons < 4000
    assert max(len(chunk.near) for chunk in chunks) == course.model.largest_chunk <= 250
    for chunk in chunks:
        assert chunk.near
        assert chunk.radius < 1250
        points = quads(chunk.near + chunk.far).reshape(-1, 3)
        assert np.linalg.norm(points - chunk.centre, axis=1).max() <= chunk.radius
    assert len(drawn[name].far) < 0.75 * len(drawn[name].near)


@pytest.mark.parametrize("name", ["mario_course", BRIDGE, BRANCH, GAPS])
def test_every_floor_is_drawn_at_its_height(drawn: dict[str, Drawn], name: str) -> None:
    """Also at joints and on both levels of a bridge, near and far.

    Where the bank changes, a quad and its two triangles differ by some units.
    """
    shown, triangles = drawn[name], drawn[name].course.triangles
    floors = triangles.vertices[np.isin(triangles.types, FLOORS)]
    random = np.random.default_rng(1)
    missing = [0, 0]
    chosen = random.choice(len(floors), 120, replace=False)
    for middle in floors[chosen].mean(axis=1):
        for index, polygons in enumerate((shown.near, shown.far)):
            heights = heights_at(polygons, middle[0], middle[2])
            missing[index] += not (np.abs(heights - middle[1]) < 10).any()
    assert missing[0] == 0
    assert missing[1] <= 6, "from afar, bends have fewer corners"


@pytest.mark.parametrize("name", ["mario_course", BRIDGE, BRANCH, GAPS])
def test_roads_are_free_up_to_a_walls_height(drawn: dict[str, Drawn], name: str) -> None:
    """No tree, land or wall of one path stands on another path's road."""
    shown = drawn[name]
    checked = 0
    for ribbon in shown.course.layout.paths:
        for share in (-0.7, 0.8):
            line = ribbon.line(ribbon.half_width * share)
            for k in range(ribbon.segments):
                x, y, z = (line[k] + line[ribbon.following(k)]) / 2
                above = heights_at(shown.near, x, z) - y
                assert not ((above > 6) & (above < 55)).any(), (k, share, above)
                checked += 1
    assert checked > 150


@pytest.mark.parametrize("name", [BRANCH, "mario_course"])
def test_faces_at_one_place_have_different_heights(drawn: dict[str, Drawn], name: str) -> None:
    """Paint lies above the road, and joints have one floor."""
    shown = drawn[name]
    random = np.random.default_rng(2)
    roads = shown.course.triangles.vertices[shown.course.triangles.types == 0]
    corners = roads[random.integers(len(roads), size=200)]
    weights = random.dirichlet([1, 1, 1], size=200)
    for x, y, z in np.einsum("nij,ni->nj", corners, weights):
        heights = np.sort(heights_at(shown.near, x, z, 0.02))
        heights = heights[np.abs(heights - y) < 3]
        assert (np.diff(heights) > 0.1).all(), (x, z, heights)


def test_gaps_are_open_and_have_end_walls(drawn: dict[str, Drawn]) -> None:
    shown = drawn[GAPS]
    ribbon = shown.course.ribbon
    gaps = np.flatnonzero(ribbon.gap)
    assert len(gaps)
    for k in gaps:
        n = ribbon.following(int(k))
        x, y, z = (ribbon.centre[k] + ribbon.centre[n]) / 2
        for polygons in (shown.near, shown.far):
            assert not (heights_at(polygons, x, z) > y - 50).any()
    for k in gaps[~ribbon.gap[gaps - 1]]:
        at, below = ribbon.centre[k], shown.course.fall_height
        for polygons in (shown.near, shown.far):
            upright = np.ptp(polygons[:, :, 1], axis=1) > 25
            here = np.hypot(*(polygons[:, :, [0, 2]] - at[[0, 2]]).transpose(2, 0, 1)).min(axis=1)
            wall = polygons[upright & (here < ribbon.half_width[k] + 200)]
            foot = wall[:, :, 1].min(axis=1)
            top = np.abs(wall[:, :, 1].max(axis=1) - at[1]) < 20
            # A high wall is drawn in two parts.
            assert top.any()
            assert (foot < below + 1).any()


def test_bridge_has_an_underside_above_the_lower_road(drawn: dict[str, Drawn]) -> None:
    shown = drawn[BRIDGE]
    centre = shown.course.ribbon.centre
    a, b = shown.near[:, 2] - shown.near[:, 0], shown.near[:, 3] - shown.near[:, 1]
    down = shown.near[np.cross(a, b)[:, 1] < -3000]
    assert len(down)
    clear = [heights_at(down, x, z) - y for x, y, z in centre if len(heights_at(down, x, z))]
    assert max(float(room.max()) for room in clear) > 80
    # Only the deck, not the land of the upper road, is above the lower road.
    assert all((room > 80).all() or (room < 0).all() for room in clear)


def test_pads_have_bright_colours(drawn: dict[str, Drawn]) -> None:
    shown = drawn[GAPS]
    ribbon, colours = shown.course.ribbon, shown.course.description.colours
    middles = shown.near.mean(axis=1)
    for pad in ribbon.pads:
        across = (pad.left + pad.right) / 2
        here = (ribbon.point(pad.first, across) + ribbon.point(pad.last, across)) / 2
        near = np.linalg.norm(middles - here, axis=1) < 150
        for name in (pad.kind, f"{pad.kind} mark"):
            assert (shown.colours[near] == int(rgb15(colours[name]))).any()


def test_asphalt_is_drawn_only_on_the_road(drawn: dict[str, Drawn]) -> None:
    shown = drawn["mario_course"]
    greys = [int(rgb15((112 * tone,) * 3)) for tone in np.arange(0.85, 1.1, 0.005)]
    road = shown.course.triangles.vertices[shown.course.triangles.types == 0]
    quadrilaterals = np.repeat(road, [1, 1, 2], axis=1)
    asphalt = shown.near[np.isin(shown.colours, greys).all(axis=1)]
    flat = asphalt[np.ptp(asphalt[:, :, 1], axis=1) < 30]
    for x, y, z in flat.mean(axis=1):
        assert (np.abs(heights_at(quadrilaterals, x, z) - y) < 6).any()
    assert len(flat) > 100


# -- themes -----------------------------------------------------------------------------


def test_themes_and_their_surfaces_have_distinct_colours() -> None:
    assert len(THEMES) >= 6
    names = ["road", "weak off-road", "off-road", "heavy off-road", "wall", "wall bend", "bounds"]
    palettes = []
    for name, theme in THEMES.items():
        palette = theme.colours
        assert set(palette) == set(COLOURS)
        assert set(theme.objects) <= set(OBJECTS)
        colours = [np.array(palette[key]) for key in names]
        for index, one in enumerate(colours):
            for other, key in zip(colours[index + 1 :], names[index + 1 :], strict=True):
                assert np.abs(one - other).sum() > 36, (name, names[index], key)
        palettes.append(np.array([palette[key] for key in ("terrain", "sky top", "water", "road")]))
    for index, one_theme in enumerate(palettes):
        for other_theme in palettes[index + 1 :]:
            assert np.abs(one_theme - other_theme).sum() > 150


def test_explicit_colours_override_the_theme() -> None:
    text = MEADOW.replace("trees = 48", 'trees = 48\ntheme = "volcano"')
    description = parse_description(text + "\n[colours]\nwater = [1, 2, 255]\n")
    volcano = THEMES["volcano"].colours
    assert description.colours["terrain"] == volcano["terrain"] != COLOURS["terrain"]
    assert description.colours["water"] == (1, 2, 255)
    model = read_model(compile_description(description).files["course_model.klm"])
    names = ("sky top", "sky bottom", "shallows", "water", "hill", "cloud")
    assert model.beyond == tuple(int(rgb15(description.colours[name])) for name in names)


@pytest.fixture(scope="module")
def bare_polygons() -> int:
    """Polygons of a course without objects."""
    plain = bundled("mario_course").description
    return compile_description(dataclasses.replace(plain, trees=0)).model.polygons


@pytest.mark.parametrize("theme", list(THEMES))
def test_objects_of_each_theme_are_drawn(theme: str, bare_polygons: int) -> None:
    plain, colours = bundled("mario_course").description, THEMES[theme].colours
    description = dataclasses.replace(plain, theme=theme, colours=colours, trees=40)
    polygons = compile_description(description).model.polygons - bare_polygons
    assert 40 * 4 < polygons < 40 * 28, "all objects, with few polygons"
