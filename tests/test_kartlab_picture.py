"""Kartlab's picture: pixels lie where the camera struct projects them.

The picture captured after frame k + 2 shows the camera and the race of frame k
(``draw/draw.h``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.courses import CYCLES, POLYGONS, VERTICES, Work, crowd_parameters, crowded
from mkds_gym.course import Course
from mkds_gym.drivers.pure_pursuit import PurePursuit
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.emulator.states.snapshot import Snapshot
from mkds_gym.kartlab import COURSE_DIRECTORY, ROM_PATH
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.kartlab.compiler import compile_description, parse_description
from mkds_gym.race.memory_layout import CAMERA, CAMERA_UNIT, DRIVER, MemoryLayout
from mkds_gym.race.names import course_id
from mkds_gym.race.reader import RaceReader

LATENCY = 2
"""Frames from a state in RAM to the captured picture of the state."""

PROFILE, LOAD, START = 0x3FE040, 0x3FE064, 0x2000000
ROAD, OFF_ROAD = 0, (2, 3, 5)


@dataclass
class View:
    """Copies of a frame's camera and kart."""

    camera: np.void
    driver: np.void

    @classmethod
    def of(cls, ram: NDArray[np.uint8]) -> View:
        layout = MemoryLayout()

        def at(pointer: int, dtype: np.dtype[np.void]) -> np.void:
            start = int(ram[pointer - START :][:4].view("<u4")[0]) - START
            record: np.void = np.frombuffer(ram[start : start + dtype.itemsize].tobytes(), dtype)[0]
            return record

        return cls(at(layout.camera_pointer, CAMERA), at(layout.drivers_pointer, DRIVER))

    def vector(self, name: str) -> NDArray[np.float64]:
        return np.array(self.driver[name], dtype=np.float64) / 4096

    @property
    def matrix(self) -> NDArray[np.float64]:
        """World to view, world units."""
        matrix = np.array(self.camera["matrix"], dtype=np.float64) / 4096
        matrix[3] *= CAMERA_UNIT
        return matrix

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return column, row and depth of world points (N, 3), from the camera struct alone."""
        matrix = self.matrix
        seen = points @ matrix[:3] + matrix[3]
        depth = -seen[:, 2]
        scale = 96 / math.tan(int(self.camera["fov"]) * math.tau / 65536) / depth
        aspect = int(self.camera["aspect"]) / 4096
        column = 128 + seen[:, 0] * scale * (4 / 3) / aspect
        return np.stack([column, 96 - seen[:, 1] * scale, depth], axis=1)


@dataclass
class Shot:
    """A picture of both screens and the state that the picture shows."""

    top: NDArray[np.uint8]
    bottom: NDArray[np.uint8]
    view: View


@dataclass
class Drive:
    shots: list[Shot]
    loads: list[tuple[int, int]]
    course: Course


@pytest.fixture(scope="module")
def console() -> Iterator[Console]:
    with Console(ROM_PATH, on_power_on=BootParameters().write) as console:
        console.step(0, 120)
        yield console


@pytest.fixture(scope="module")
def at_start(console: Console) -> Snapshot:
    """Return the start, with the kart at rest on the grid."""
    return console.snapshot()


def steer(view: View, course: Course, checkpoint: int) -> int:
    """Return keys that drive towards the middle of the road ahead."""
    x, _, z = view.vector("position")
    track = course.track
    target = track.point_at((track.progress(checkpoint, x, z) + 150) % track.length)
    forward = view.vector("forward")
    left = forward[2] * (target[0] - x) - forward[0] * (target[2] - z)
    keys = Keys.A
    if left > 8:
        keys |= Keys.LEFT
    elif left < -8:
        keys |= Keys.RIGHT
    return int(keys)


@pytest.fixture(scope="module")
def drive(console: Console, at_start: Snapshot) -> Drive:
    """Drive the first half of a lap and take a picture every 35 frames."""
    course = Course.from_cartridge(console.cartridge, "mario_course")
    console.restore(at_start)
    console.ram[PROFILE : PROFILE + 4] = np.frombuffer(b"KLPR", np.uint8)
    shots: list[Shot] = []
    loads = []
    views = [View.of(console.ram)]
    for frame in range(1050):
        wanted = frame % 35 == 34
        # The emulator decides two frames ahead what it draws.
        drawn = frame % 35 >= 30
        status = int(console.ram[0x1755FC:][:4].view("<u4")[0]) - START
        checkpoint = int(console.ram[status + 0x46 :][:2].view("<u2")[0])
        console.step(steer(views[-1], course, checkpoint), draw=drawn)
        views.append(View.of(console.ram))
        load = int(console.ram[LOAD : LOAD + 4].view("<u4")[0])
        loads.append((load & 0xFFFF, load >> 16))
        if wanted:
            shown = views[-1 - LATENCY]
            shots.append(Shot(console.screen("top"), console.screen("bottom"), shown))
    return Drive(shots, loads, course)


def floor_points(course: Course, view: View) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Return a grid of floor points ahead of the kart, and their surfaces (255: no floor)."""
    kcl = course.kcl
    forward, position = view.vector("forward"), view.vector("position")
    ahead, aside = np.meshgrid(np.linspace(40, 250, 10), np.linspace(-190, 190, 17))
    flat = position[None, [0, 2]] + (
        ahead.reshape(-1, 1) * forward[[0, 2]]
        + aside.reshape(-1, 1) * np.array([forward[2], -forward[0]])
    )
    triangles, types = kcl.triangles[kcl.is_floor], kcl.types[kcl.is_floor]
    a, b, c = (triangles[:, i][:, [0, 2]] for i in range(3))
    points = np.full((len(flat), 3), np.nan)
    surface = np.full(len(flat), 255, dtype=np.uint8)

    def cross(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])

    area = cross(b - a, c - a)
    for index, p in enumerate(flat):
        with np.errstate(divide="ignore", invalid="ignore"):
            u = cross(p - a, c - a) / area
            v = cross(b - a, p - a) / area
        height = triangles[:, 0, 1] + u * (triangles[:, 1, 1] - triangles[:, 0, 1])
        height += v * (triangles[:, 2, 1] - triangles[:, 0, 1])
        inside = (u >= 0) & (v >= 0) & (u + v <= 1) & (np.abs(height - position[1]) < 90)
        if inside.any():
            best = int(np.flatnonzero(inside)[0])
            points[index] = (p[0], height[best], p[1])
            surface[index] = types[best]
    return points, surface


def pixels(
    shot: Shot, points: NDArray[np.float64], view: View | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the colours at projected points, and a mask of the points in plain view."""
    where = (view or shot.view).project(points)
    column, row = np.round(where[:, 0]), np.round(where[:, 1])
    free = (where[:, 2] > 10) & (column >= 2) & (column < 254) & (row >= 2) & (row < 190)
    # The kart hides points behind it, large letters hide the upper middle.
    free &= ~((np.abs(column - 128) < 48) & (row > 95)) & (row > 82)
    out = np.zeros((len(points), 3))
    picked = shot.top[row[free].astype(int), column[free].astype(int)]
    out[free] = picked
    return out, free


def samples(drive: Drive, kinds: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the colours at floor points of these surfaces, over the whole drive."""
    out = []
    for shot in drive.shots:
        points, surface = floor_points(drive.course, shot.view)
        colours, free = pixels(shot, points)
        out.append(colours[free & np.isin(surface, kinds)])
    return np.concatenate(out)


def is_asphalt(colours: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((np.ptp(colours, axis=1) <= 24) & (colours.max(axis=1) < 160))


def test_camera_struct_is_consistent(drive: Drive) -> None:
    for shot in drive.shots:
        camera = shot.view.camera
        matrix = shot.view.matrix
        assert np.allclose(matrix[:3].T @ matrix[:3], np.eye(3), atol=2e-3)
        assert np.linalg.det(matrix[:3]) == pytest.approx(1, abs=5e-3)
        eye = np.array(camera["position"], dtype=np.float64) / 4096
        eye[1] += int(camera["elevation"]) / 4096
        assert np.allclose(eye @ matrix[:3] + matrix[3], 0, atol=1.0)
        target = np.array(camera["target"], dtype=np.float64)[None] / 4096
        column, row, depth = shot.view.project(target)[0]
        assert (column, row) == (pytest.approx(128, abs=1), pytest.approx(96, abs=1))
        assert depth > 10


def test_kart_is_at_its_projected_position(drive: Drive) -> None:
    for shot in drive.shots:
        view = shot.view
        up, forward = view.vector("up"), view.vector("forward")
        # The red rear wing lies 9.7 behind and 7.3 above the kart's position.
        wing = view.vector("position") - 9.7 * forward + 7.3 * up
        column, row, depth = view.project(wing[None])[0]
        assert 20 < depth < 105
        c, r = round(column), round(row)
        patch = shot.top[r - 1 : r + 5, c - 3 : c + 4].astype(int).reshape(-1, 3)
        red = (patch[:, 0] > 120) & (patch[:, 1] < 70) & (patch[:, 2] < 70)
        assert red.mean() > 0.25, (c, r)


def test_road_pixels_are_asphalt(drive: Drive) -> None:
    asphalt = is_asphalt(samples(drive, (ROAD,)))
    assert len(asphalt) > 300
    # The rest is lines, kerbs and the shadow.
    assert asphalt.mean() > 0.85


def test_road_grass_and_walls_differ_in_colour(drive: Drive) -> None:
    road = samples(drive, (ROAD,))
    beside = samples(drive, OFF_ROAD)
    assert len(beside) > 50
    assert is_asphalt(beside).mean() < 0.1
    assert np.abs(np.median(road, axis=0) - np.median(beside, axis=0)).sum() > 60

    kcl = drive.course.kcl
    walls = kcl.triangles[kcl.is_wall].mean(axis=1)
    colours = []
    for shot in drive.shots:
        near = walls[np.linalg.norm(walls - shot.view.vector("position"), axis=1) < 600]
        picked, free = pixels(shot, near)
        colours.append(picked[free])
    wall = np.concatenate(colours)
    assert len(wall) > 10
    assert is_asphalt(wall).mean() < 0.4


def test_picture_shows_the_state_of_two_frames_earlier(
    console: Console, at_start: Snapshot
) -> None:
    """After a move of the kart, the camera follows at once, the picture two frames later."""
    console.restore(at_start)
    for _ in range(6):
        console.step(0)
    layout = MemoryLayout()
    driver = int(console.ram[layout.drivers_pointer - START :][:4].view("<u4")[0]) - START
    moved = np.zeros(3, "<i4")
    moved[0] = 300 * 4096
    for offset in (0x080, 0x1B8):  # position, collision sphere
        where = slice(driver + offset, driver + offset + 12)
        vector = console.ram[where].copy().view("<i4") + moved
        console.ram[where] = vector.view(np.uint8)
    before = console.screen()
    eye = np.array(View.of(console.ram).camera["position"], dtype=np.int64) / 4096
    eyes, changes = [], []
    for _ in range(5):
        console.step(0)
        picture = console.screen()
        eyes.append(np.array(View.of(console.ram).camera["position"], dtype=np.int64) / 4096)
        changes.append(float((picture != before).any(axis=2).mean()))
        before = picture
    # The first frame has the new camera, which then follows the kart.
    assert np.linalg.norm(eyes[0] - eye) > 200
    assert np.linalg.norm(eyes[1] - eyes[0]) < 15
    assert int(np.argmax(changes)) == LATENCY
    assert changes[LATENCY] > 0.2
    assert sum(changes) < changes[LATENCY] + 0.1


def test_sky_is_above_the_horizon(drive: Drive) -> None:
    for shot in drive.shots:
        top = shot.top[:6].reshape(-1, 3).astype(int)
        blue = (top[:, 2] > top[:, 0]) | (top.min(axis=1) > 170)  # or a cloud
        assert blue.mean() > 0.7


def test_both_screens_change_during_a_drive(drive: Drive) -> None:
    for one, two in zip(drive.shots, drive.shots[1:], strict=False):
        assert (one.top != two.top).any(axis=2).mean() > 0.2
        assert (one.bottom != two.bottom).any()
    assert len(np.unique(drive.shots[0].bottom.reshape(-1, 3), axis=0)) > 20


def test_picture_stays_within_the_hardware_limits(drive: Drive) -> None:
    polygons, vertices = np.array(drive.loads).T
    assert 100 < polygons.max() < 2048
    assert 400 < vertices.max() < 6144


def test_held_key_lights_up_on_the_bottom_screen(console: Console, at_start: Snapshot) -> None:
    console.restore(at_start)
    console.step(0, 10)
    idle = console.screen("bottom")
    console.step(int(Keys.A), 4)
    held = console.screen("bottom")
    # The keycap lies at tile (29, 19); the grid is shifted by (2, 3) pixels.
    cap = (slice(19 * 8 + 3, 21 * 8 + 3), slice(29 * 8 + 2, 31 * 8 + 2))
    assert held[cap].mean() > idle[cap].mean() + 20
    console.step(0, 4)
    assert np.array_equal(console.screen("bottom")[cap], idle[cap])


def walls_between(course: Course, start: NDArray[np.float64], end: NDArray[np.float64]) -> int:
    """Return the number of walls that the line between two points passes through."""
    a, b, c = (course.kcl.triangles[course.kcl.is_wall][:, i] for i in range(3))
    way, one, two, from_a = end - start, b - a, c - a, start - a
    across, along = np.cross(way, two), np.cross(from_a, one)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1 / np.einsum("ij,ij->i", one, across)
        u = np.einsum("ij,ij->i", from_a, across) * scale
        v = np.einsum("j,ij->i", way, along) * scale
        t = np.einsum("ij,ij->i", two, along) * scale
        inside = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & (t < 1)
    return int(inside.sum())


def test_no_wall_hides_the_kart_from_the_camera(console: Console, at_start: Snapshot) -> None:
    """The kart drives blindly along and into walls, also backwards."""
    console.restore(at_start)
    course = Course.from_ram(console.ram, MemoryLayout(), "mario_course")
    random = np.random.default_rng(1)
    touched, eyes = 0, []
    for _ in range(45):
        keys = random.choice([Keys.A, Keys.A | Keys.LEFT, Keys.A | Keys.RIGHT, Keys.B | Keys.LEFT])
        for _ in range(int(random.integers(10, 50))):
            console.step(int(keys), draw=False)
            view = View.of(console.ram)
            eye = np.array(view.camera["position"], dtype=np.float64) / 4096
            position = view.vector("position")
            assert not walls_between(course, position + np.array([0, 12, 0]), eye)
            touched += bool(int(view.driver["state_bits"]) & 1 << 7)
            eyes.append(eye - position)
    assert touched > 20
    # The camera moves smoothly, except when the kart respawns.
    assert np.median(np.linalg.norm(np.diff(eyes, axis=0), axis=1)) < 1.6
    console.restore(at_start)


COLOURS = ("red", "blue", "green", "yellow", "pink", "cyan", "orange", "violet")
"""Colours of the drivers' helmets, by number."""
HUES = (
    *((12, "red"), (42, "orange"), (72, "yellow"), (160, "green"), (205, "cyan")),
    *((245, "blue"), (288, "violet"), (340, "pink"), (361, "red")),
)
"""The end of each colour's hues, in degrees."""


def colour_of(patch: NDArray[np.float64]) -> str | None:
    """Return the name of the strong colour that most pixels of a patch have."""
    names = []
    for red, green, blue in patch.reshape(-1, 3) / 255:
        high, low = max(red, green, blue), min(red, green, blue)
        if high < 0.3 or (high - low) < 0.5 * high:
            continue
        if high == red:
            hue = 60 * ((green - blue) / (high - low)) % 360
        elif high == green:
            hue = 120 + 60 * (blue - red) / (high - low)
        else:
            hue = 240 + 60 * (red - green) / (high - low)
        names.append(next(name for limit, name in HUES if hue < limit))
    return max(set(names), key=names.count) if len(names) >= 3 else None


def test_karts_on_the_grid_have_their_own_colours() -> None:
    parameters = BootParameters(mode="vs", drivers=8, skip_countdown=False)
    with Console(ROM_PATH, on_power_on=parameters.write) as console:
        # Before the large digits, which would hide some karts.
        console.step(0, 125)
        picture = console.screen("top").astype(np.float64)
        view, reader = View.of(console.ram), RaceReader(console.ram)
        seen = {}
        for index in range(8):
            driver = reader.read_driver(index)
            helmet = (np.array(driver["position"]) + 8.5 * np.array(driver["up"])) / 4096
            column, row, depth = view.project(helmet[None])[0]
            if 10 < depth < 250 and 4 < column < 252 and 4 < row < 188:
                c, r = round(column), round(row)
                seen[COLOURS[index]] = colour_of(picture[r - 2 : r + 3, c - 2 : c + 3])
    assert seen.pop("red") == "red"
    # Some karts hide others.
    right = [name for name, colour in seen.items() if name == colour]
    assert len(seen) >= 5
    assert len(right) >= 3, seen


def test_item_boxes_are_at_their_projected_positions() -> None:
    parameters = BootParameters(
        course=course_id("snow_course"), mode="vs", items=True, skip_countdown=True
    )
    with Console(ROM_PATH, on_power_on=parameters.write) as console:
        console.step(0, 140, draw=False)
        reader, driver = RaceReader(console.ram), PurePursuit()
        course = Course.from_ram(console.ram, MemoryLayout(), "snow_course")
        colourful = total = 0
        before: list[NDArray[np.float64]] = []
        while total < 20 and console.frame_count < 2000:
            console.step(driver.keys(reader.read(), course))
            view = View.of(console.ram)
            objects = reader.read_objects()
            boxes = np.array([o.position for o in objects if o.type_id == 101 and o.active])
            before.append(view.project(boxes))
            for column, row, depth in before[-1 - LATENCY] if len(before) > LATENCY else ():
                if 80 < depth < 170 and 10 < row < 170 and 10 < column < 246:
                    r, c = round(row), round(column)
                    patch = console.screen("top")[r - 3 : r + 4, c - 3 : c + 4].astype(int)
                    total += 1
                    # Only boxes are this colourful on the ice.
                    colourful += bool((np.ptp(patch, axis=2) > 80).mean() > 0.3)
    assert total >= 20
    # The kart may hide a box.
    assert colourful / total > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in COURSE_DIRECTORY.glob("*.toml")))
def test_heaviest_scenes_fit_the_hardware_limits(name: str) -> None:
    """Eight karts stand before the camera, all round the course, also mirrored."""
    for mirror, spacing in ((False, 325.0), (True, 2000.0)):
        works = [work for _, work in crowded(crowd_parameters(name, mirror), spacing)]
        for work in works:
            assert work.booked == (work.polygons, work.vertices)
        most = Work.most(works)
        assert 700 < most.polygons < POLYGONS
        assert 2000 < most.vertices < VERTICES
        assert most.cycles < CYCLES / 2


TOO_MUCH = """
title = "Six Straights"
name = "test_circle"
id = 21
[road]
width = 225
left = "verge"
right = "verge"
[edges.verge]
surface = "weak off-road"
width = 12.5
end = "wall"
[scenery]
trees = 200
"""


def too_much() -> bytes:
    """Return a course of six straights side by side, most of them in view at once."""
    rows = [-1125 + 375 * i for i in range(6)]
    corners = [(x * (-1) ** i, z) for i, z in enumerate(rows) for x in (-2875, 2875)][1:]
    corners += [(-3375, rows[-1]), (-3375, rows[0])]
    points = [f"[[point]]\nat = [0, {rows[0]}]"]
    points += [f"[[point]]\nat = [{x}, {z}]\nradius = 150" for x, z in corners]
    return compile_description(parse_description(TOO_MUCH + "\n".join(points))).carc()


@pytest.mark.slow
def test_full_picture_drops_only_distant_parts() -> None:
    """The picture stays within the limits, and the road before the kart stays visible."""
    parameters = BootParameters(course=21, course_data=too_much(), mode="vs", drivers=8, items=True)
    works, heavy, asphalt = [], [], []
    course = None
    for console, work in crowded(parameters, 750.0, draw=True):
        course = course or Course.from_ram(console.ram, MemoryLayout())
        assert work.booked == (work.polygons, work.vertices)
        works.append(work)
        heavy.append((work.vertices, View.of(console.ram)))
        shown_vertices, shown = heavy[-1 - LATENCY] if len(heavy) > LATENCY else (0, None)
        # Only pictures with a full budget, some frames after the move.
        if shown is None or shown_vertices < 5600 or len(works) % 4:
            continue
        points, surface = floor_points(course, shown)
        shot = Shot(console.screen("top"), console.screen("bottom"), shown)
        colours, free = pixels(shot, points)
        asphalt.append(is_asphalt(colours[free & (surface == ROAD)]).mean())
    most = Work.most(works)
    assert 5700 < most.vertices < VERTICES
    assert most.polygons <= POLYGONS
    assert most.cycles < CYCLES
    assert len(asphalt) > 3
    # Other karts hide much of the road, and lines are white.
    assert min(asphalt) > 0.3
    assert np.median(asphalt) > 0.5
