"""Overlays are drawn where the game draws the same things; they combine, and errors name them."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import pickle
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
import pytest
from custom_overlays import Broken
from kartlab_race import LAYOUT, KartlabRace
from numpy.typing import NDArray

from mkds_gym.course import Course, read_course_archive
from mkds_gym.course.archive import write_narc
from mkds_gym.course.nkm import NKM, OBJECT
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.errors import NoRaceError, OverlayError
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.overlays import (
    OVERLAYS,
    PICTURE_DELAY,
    Canvas,
    LapTrail,
    LiveRace,
    OverlayScene,
    Projection,
    SceneRecorder,
    draw_overlays,
    make_overlays,
)
from mkds_gym.overlays.course import checkpoint_line, next_checkpoints
from mkds_gym.overlays.scene import TRAIL_POINTS
from mkds_gym.race.lengths import REWARD_PER_UNIT, TRAIL_SPACING
from mkds_gym.race.names import course_id
from mkds_gym.race.reader import RaceReader

BOX_HEIGHT = 9.0
"""Height of the item boxes above the floor, world units."""
Drive: TypeAlias = "tuple[NDArray[np.uint8], OverlayScene, Course]"
Drawn: TypeAlias = "tuple[KartlabRace, SceneRecorder]"
BLACK = np.zeros((192, 256, 3), np.uint8)


def recorder_of(field: KartlabRace) -> SceneRecorder:
    recorder = SceneRecorder()
    recorder.begin(field.reader)
    return recorder


def draw(field: KartlabRace, recorder: SceneRecorder, keys: int = 0, frames: int = 4) -> None:
    """Run frames with pictures; the picture is complete after the third."""
    for _ in range(frames):
        field.console.step(keys)
        recorder.add(field.state, keys)


@pytest.fixture(scope="module")
def drive() -> Iterator[Drive]:
    """A picture of a race with opponents, its scene, and the course."""
    field = KartlabRace.boot_vs(course=25, skip_countdown=True)
    recorder = recorder_of(field)
    for _ in range(300):
        field.console.step(field.pursuit(), draw=False)
        recorder.add(field.state, 0)
    draw(field, recorder, Keys.A)
    scene = recorder.scene(field.course, reward=0.25, terms={"distance": 3.0})
    yield field.console.screen("top"), scene, field.course
    field.close()


def test_live_race_distinguishes_random_courses(tmp_path: Path) -> None:
    """All random courses have the same number."""
    state = tmp_path / "a.state"
    env = make(course="random")
    env.reset(seed=1)
    env.console.save_state(state)
    other = env.course
    env.reset(seed=0)
    live = LiveRace(env.console)
    before = live.course
    assert before is not None
    here = env.console.snapshot()
    env.console.step(0, 30)
    env.console.restore(here)
    live.restart()
    assert live.course is before  # the same course is not read again
    env.console.load_state(state)
    live.restart()
    assert live.course is not None
    assert live.course.fingerprint == other.fingerprint != before.fingerprint
    assert live.frame(0) is not None
    env.close()


# Places on the picture ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone() -> Iterator[Drawn]:
    """A race without opponents, after 40 frames, and the recorder of its scenes."""
    field = KartlabRace.boot_vs(course=25, drivers=1, skip_countdown=True)
    recorder = recorder_of(field)
    draw(field, recorder, Keys.A, 40)
    yield field, recorder
    field.close()


def test_rear_tyres_stand_where_they_are_projected(alone: Drawn) -> None:
    """The tyres touch the road 7.5 behind the kart and 6.8 beside it (kart_model.c)."""
    field, recorder = alone
    scene, picture = recorder.scene(field.course), field.console.screen("top").astype(int)
    place, ahead, right = (
        np.array(v) for v in (scene.race.position, scene.race.forward, scene.race.right)
    )
    behind = place - 7.5 * ahead
    tyres = np.array([behind - 6.8 * right, behind + 6.8 * right])
    pixels, visible = Projection(scene.camera).points(tyres)
    assert visible.all()
    for column, row in pixels:
        strip = picture[:, round(column)].max(axis=1)
        # The lower edge of the tyre: the road is brighter.
        bottom = next(y for y in range(188, 100, -1) if strip[y] < 80) + 1
        assert abs(bottom - row) <= 2, (bottom, row)
    assert abs(pixels[:, 0].mean() - 128) < 1


COURSE = "ridge_course"
"""A course without walls in front of its checkpoints."""


def boxes_at(points: NDArray[np.float64]) -> bytes:
    """Return a course with item boxes at these points only, for `BootParameters.course_data`."""
    files = dict(read_course_archive(Cartridge.open(), COURSE))
    boxes = np.zeros(len(points), OBJECT)
    boxes["position"] = np.round(points * 4096)
    boxes["scale"], boxes["id"], boxes["path"] = 4096, 101, -1
    nkm = dataclasses.replace(NKM.from_bytes(files["course_map.nkm"]), objects=boxes)
    return write_narc({**files, "course_map.nkm": nkm.save()})


def picture_with_boxes(points: NDArray[np.float64]) -> tuple[NDArray[np.uint8], OverlayScene]:
    """Return a picture and its scene; the race is the same with any boxes."""
    field = KartlabRace.boot_vs(
        course=course_id(COURSE),
        course_data=boxes_at(points),
        drivers=1,
        items=True,
        skip_countdown=True,
    )
    try:
        recorder = recorder_of(field)
        for _ in range(150):
            field.console.step(field.pursuit(), draw=False)
            recorder.add(field.state, 0)
        draw(field, recorder, Keys.A)
        return field.console.screen("top"), recorder.scene(field.course)
    finally:
        field.close()


def test_checkpoint_line_ends_where_the_game_draws_boxes_on_its_ends() -> None:
    course = Course.from_cartridge(Cartridge.open(), COURSE)
    nowhere = np.array([[0.0, -500.0, 0.0]])
    without, scene = picture_with_boxes(nowhere)
    (checkpoint,) = next_checkpoints(scene, course.track)
    ends: list[NDArray[np.float64]] = []
    before = [scene.race.checkpoint]
    for _ in range(4):
        ends.extend(checkpoint_line(course, checkpoint, scene.race.position[1]))
        before.append(checkpoint)
        (checkpoint,) = course.track.next(checkpoint)
    points = np.array(ends) + np.array([0.0, BOX_HEIGHT, 0.0])
    projection = Projection(scene.camera)
    pixels, visible = projection.points(points)
    inside = visible & (np.abs(pixels - (128, 96)) < (120, 88)).all(axis=1)
    found: dict[int, tuple[float, float]] = {}
    for end in np.flatnonzero(inside).tolist():
        point, (column, row) = points[end], pixels[end]
        picture, other = picture_with_boxes(point[None])
        assert other.race == scene.race
        rows, columns = np.nonzero((picture.astype(int) != without).any(axis=2))
        if len(rows) < 9:
            continue  # a wall hides it
        middle = (columns.min() + columns.max() + 1) / 2, (rows.min() + rows.max() + 1) / 2
        assert abs(middle[0] - column) <= 2, (middle, column, row)
        assert abs(middle[1] - row) <= 2, (middle, column, row)
        found[end] = middle
        if len(found) == 2:
            break
    assert len(found) == 2
    # The overlay's line ends below the boxes.
    feet, _ = projection.points(np.array(ends))
    for end, middle in found.items():
        race = copy.copy(scene.race)
        race.checkpoint = before[end // 2]
        line = draw_overlays(
            make_overlays("checkpoint"), without, dataclasses.replace(scene, race=race), course
        )
        rows, columns = np.nonzero((line != without).any(axis=2))
        column, row = np.array(middle) + feet[end] - pixels[end]
        assert np.hypot(columns + 0.5 - column, rows + 0.5 - row).min() <= 2, (end, column, row)
        other = feet[end ^ 1][0]
        outermost = columns.min() if column < other else columns.max() + 1
        assert abs(outermost - column) <= 2, (end, outermost, column)


def test_opponent_is_projected_to_where_it_is_drawn() -> None:
    field = KartlabRace.boot_vs(course=25, drivers=2, skip_countdown=True)
    try:
        recorder = recorder_of(field)
        for _ in range(100):  # until GO has disappeared
            field.step(field.pursuit())
        draw(field, recorder)
        start = field.console.snapshot()
        x, y, z = field.state.position
        fx, _, fz = field.state.forward
        pictures = []
        left = 36.0  # otherwise the player's kart hides it
        for ahead in (200.0, -300.0):
            field.console.restore(start)
            place = x + ahead * fx + left * fz, z + ahead * fz - left * fx
            for _ in range(4):
                # Hold the kart in its place.
                field.put(*place, field.state.heading, y=y, index=1)
                draw(field, recorder, frames=1)
            pictures.append(field.console.screen("top").astype(int))
            if ahead > 0:
                scene = recorder.scene(field.course)
    finally:
        field.close()
    _, thing = [o for o in scene.objects if o.kind == "driver"]
    ((column, row),), _ = Projection(scene.camera).points(np.array([thing.position]))
    changed = (np.abs(pictures[0] - pictures[1]) > 16).any(axis=2)
    changed[130:, :80] = False  # the displayed place changes too
    rows, columns = np.nonzero(changed)
    assert len(rows) > 20
    assert abs((columns.min() + columns.max() + 1) / 2 - column) <= 2
    # Its tyres touch the road up to 8 units nearer, which is a pixel lower.
    assert abs(rows.max() + 1 - row) <= 2


def test_scene_is_of_the_frame_that_the_picture_shows(alone: Drawn) -> None:
    field, recorder = alone
    scene = recorder.scene(field.course)
    assert scene.race.frame == field.state.frame - PICTURE_DELAY
    head = np.array([*scene.race.position, scene.race.speed], np.float32)
    assert np.array_equal(scene.trail[-1], head)
    assert len(scene.trail) > 3
    steps = np.linalg.norm(np.diff(scene.trail[:-1, :3], axis=0), axis=1)
    assert (steps >= TRAIL_SPACING - 0.01).all()
    again = pickle.loads(pickle.dumps(scene))
    assert repr(again) == repr(scene)
    assert again.camera.matrix.tolist() == scene.camera.matrix.tolist()
    assert again.objects == scene.objects
    assert again.race.position == scene.race.position


def test_frame_without_camera_has_no_scene(alone: Drawn) -> None:
    field, recorder = alone
    pointer = field.ram[LAYOUT.camera_pointer - RAM_START :][:4]
    before = pointer.copy()
    pointer[:] = 0
    recorder.add(field.state, 0)
    pointer[:] = before
    recorder.scene(field.course)
    for missing in (False, True, False):
        recorder.add(field.state, 0)
        if missing:
            with pytest.raises(NoRaceError, match="cannot be drawn on this picture"):
                recorder.scene(field.course)
        else:
            recorder.scene(field.course)


def test_lap_trail_restarts_with_a_lap_and_keeps_the_last_points() -> None:
    trail = LapTrail()

    def race(number: float, lap: int = 1) -> Any:
        position = (number * TRAIL_SPACING, 0.0, 0.0)
        return SimpleNamespace(lap=lap, driver=0, position=position, speed=number)

    for lap in (1, 1, 2):
        trail.add(race(0, lap))
        assert len(trail.up_to(race(0, lap))) == 1
    trail.add(race(0.9, 2))
    assert trail.up_to(race(0.9, 2))[:, 3].tolist() == pytest.approx([0.0, 0.9])
    count = 2 * TRAIL_POINTS + 10
    for number in range(1, count):
        trail.add(race(number, 2))
    points = trail.up_to(race(count - 0.5, 2))
    assert len(points) == TRAIL_POINTS
    expected = [*range(count - TRAIL_POINTS + 1, count), count - 0.5]
    assert points[:, 3].tolist() == expected


# In the environment ------------------------------------------------------------------------------


def make(**arguments: Any) -> Any:
    return gym.make("MKDS-v0", **{"render_mode": "rgb_array", **arguments}).unwrapped


@pytest.fixture(scope="module")
def observed() -> Iterator[tuple[Any, SceneRecorder]]:
    """An environment with overlays, before its first reset, and a recorder of its scenes."""
    env, scenes = make(overlays=["trail", "checkpoint"]), SceneRecorder()
    env.add_observer(scenes)
    with pytest.raises(NoRaceError, match="reset"):
        scenes.scene_of(env)
    yield env, scenes
    env.close()


def test_render_draws_overlays_and_observations_have_none() -> None:
    plain = make(obs_type="pixels")
    drawn, scenes = make(obs_type="pixels", overlays=["rays", "hud", 6]), SceneRecorder()
    drawn.add_observer(scenes)
    try:
        for env in (plain, drawn):
            env.reset(seed=0)
        for step in range(8):
            action = step % 3
            (first, paid, *_), (second, also, *_) = plain.step(action), drawn.step(action)
            assert (first == second).all()
            assert paid == also
        picture = drawn.render()
        assert (plain.render() == first).all()
        scene = scenes.scene_of(drawn)
        assert scene.reward == paid
        assert scene.keys == Keys.A | Keys.LEFT
        assert scene.ray_angles == ()
        assert set(scene.terms) == {"progress", "offroad_path", "wall_hits"}
        assert scene.terms["progress"] == pytest.approx(paid / REWARD_PER_UNIT, abs=1e-6)
        wanted = draw_overlays(make_overlays(["rays", "hud", 6]), first, scene, drawn.course)
        assert (picture == wanted).all()
        assert (picture != first).any()
    finally:
        plain.close()
        drawn.close()


def test_rays_are_those_of_the_sensors_on_the_upper_screen() -> None:
    env, scenes = make(obs_type=["rays:5"], overlays="rays", screens="both"), SceneRecorder()
    env.add_observer(scenes)
    env.reset()
    env.step(0)
    assert scenes.scene_of(env).ray_angles == (90, 45, 0, -45, -90)
    picture = env.render()
    assert picture.shape == (384, 256, 3)
    assert (picture[192:] == env.console.screen("bottom")).all()
    assert (picture[:192] != env.console.screen("top")).any()
    env.close()


def test_scenes_restart_with_a_reset(observed: tuple[Any, SceneRecorder]) -> None:
    env, scenes = observed
    env.reset(seed=0)
    for _ in range(40):
        env.step(0)
    assert len(scenes.scene_of(env).trail) > 10
    env.reset(seed=0)
    scene = scenes.scene_of(env)
    assert len(scene.trail) == 1
    assert scene.race.frame <= env.race.frame


def test_scenes_continue_from_a_restored_state(observed: tuple[Any, SceneRecorder]) -> None:
    env, scenes = observed
    env.reset(seed=0)
    env.step(0)
    state, frame = env.clone_state(), env.race.frame
    for _ in range(3):
        env.step(1)
    env.restore_state(state)
    assert scenes.scene_of(env).race.frame == frame
    assert env.render().shape == (192, 256, 3)
    env.step(0)
    assert scenes.scene_of(env).race.frame == frame + 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"render_mode": None, "overlays": "hud"}, "render_mode"),
        ({"overlays": "hat"}, "unknown overlay"),
        ({"overlays": "rays, hud"}, r"pass a list, \['rays', 'hud'\]"),
    ],
)
def test_environment_refuses_bad_overlays(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(**arguments)


# Projection ---------------------------------------------------------------------------------------


def test_points_lines_and_polygons_are_clipped_at_both_planes(drive: Drive) -> None:
    camera = drive[1].camera
    eye = np.array(camera.position)
    ahead = np.array(camera.target) - eye
    right = np.cross(ahead, camera.up)
    ahead, right = ahead / np.linalg.norm(ahead), right / np.linalg.norm(right)
    axes = np.stack([right, np.cross(right, ahead), -ahead], axis=1)
    matrix = np.vstack([axes, -eye @ axes])
    projection = Projection(dataclasses.replace(camera, matrix=matrix, near=2.0, far=100.0))

    def world(*points: tuple[float, float]) -> NDArray[np.float64]:
        """Points to the right of the eye and in front of it."""
        return np.array([eye + x * right + depth * ahead for x, depth in points])

    def screen(*points: tuple[float, float]) -> NDArray[np.float64]:
        return projection.screen(np.array([(x, 0.0, depth) for x, depth in points]))

    def same_corners(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
        return len(one) == len(other) and np.allclose(
            sorted(one.round(6).tolist()), sorted(other.round(6).tolist()), atol=1e-3
        )

    pixels, visible = projection.points(world((0, -5), (0, 1.9), (0, 50), (5, 99.9), (0, 101)))
    assert visible.tolist() == [False, False, True, True, False]
    assert np.allclose(pixels[2], (128, 96))
    begin = world((0, -50), (-10, 0), (0, -5), (10, 50), (0, 120))
    end = world((0, 50), (10, 0), (0, -6), (20, 150), (5, 110))
    ends, visible = projection.lines(begin, end)
    assert visible.tolist() == [True, False, False, True, False]
    assert np.allclose(ends[0], screen((0, 2), (0, 50)))
    assert np.allclose(ends[1], screen((10, 50), (15, 100)))
    # A corner outside becomes two corners on the plane.
    whole = [(-10.0, 50.0), (10.0, 50.0), (0.0, 80.0)]
    too_near = [(-10.0, 50.0), (10.0, 50.0), (0.0, -46.0)]
    too_far = [(-10.0, 50.0), (10.0, 50.0), (0.0, 150.0)]
    assert same_corners(projection.polygon(world(*whole)), screen(*whole))
    assert same_corners(
        projection.polygon(world(*too_near)),
        screen((-10, 50), (10, 50), (5, 2), (-5, 2)),
    )
    assert same_corners(
        projection.polygon(world(*too_far)),
        screen((-10, 50), (10, 50), (5, 100), (-5, 100)),
    )
    for depths in ((-1, -2, 1.5), (101, 150, 300)):
        hidden = world(*zip((-10.0, 10.0, 0.0), depths, strict=True))
        assert projection.polygon(hidden).shape == (0, 2)


def test_view_axes_are_those_of_the_games_matrix(
    drive: Drive,
) -> None:
    _, scene, _ = drive
    points = np.array(scene.race.position) + np.random.default_rng(0).normal(0, 50, (20, 3))
    view = Projection(scene.camera).view(points)
    game = points @ scene.camera.matrix[:3] + scene.camera.matrix[3]
    assert np.allclose(view * (1, 1, -1), game, atol=0.5)


# Drawing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(OVERLAYS))
def test_every_overlay_draws_on_a_copy(name: str, drive: Drive) -> None:
    picture, scene, course = drive
    before = picture.copy()
    drawn = draw_overlays(make_overlays(name), picture, scene, course)
    assert drawn.shape == picture.shape
    assert drawn.dtype == np.uint8
    assert (picture == before).all()
    changed = (drawn != picture).any(axis=2).mean()
    assert 0.0005 < changed < 0.6
    again = draw_overlays(make_overlays(name), picture, scene, course)
    assert (drawn == again).all()


def test_collision_draws_walls_magenta_and_off_road_red(
    drive: Drive,
) -> None:
    picture, scene, course = drive
    drawn = draw_overlays(make_overlays("collision:1000"), picture, scene, course).astype(int)
    more = drawn - picture
    magenta = (more[..., 0] > 8) & (more[..., 2] > 8) & (more[..., 1] <= 0)
    red = (more[..., 0] > 8) & (more[..., 2] <= 0)
    assert magenta.sum() > 50
    assert red.sum() > 50


def test_overlays_are_made_from_numbers_names_and_objects(
    drive: Drive,
) -> None:
    names = list(OVERLAYS)
    assert names[:6] == [
        "collision",
        "rays",
        "camera",
        "checkpoint",
        "checkpoint-aim",
        "objects",
    ]
    made = make_overlays([0, "1", "hud", "rays:50"])
    assert [overlay.name for overlay in made] == ["collision", "rays", "hud", "rays"]

    class Dot:
        name = "dot"

        def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:
            canvas.cross(scene.camera.target, (1, 2, 3))

    picture, scene, course = drive
    drawn = draw_overlays(make_overlays([Dot()]), picture, scene, course)
    assert (drawn[95:97, 127:129] == (1, 2, 3)).all(axis=2).any()
    # Imported by name, as on a command line.
    (imported,) = make_overlays("custom_overlays:Dot")
    assert (draw_overlays([imported], picture, scene, course)[96, 128] == (9, 8, 7)).all()
    both = np.concatenate([picture, picture])
    assert (draw_overlays(make_overlays(Dot()), both, scene, course)[192:] == picture).all()


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ("ray", ValueError, "did you mean 'rays'"),
        (10, ValueError, "7 hud"),
        (-1, ValueError, "unknown overlay number"),
        ("rays:-1", ValueError, "above 0"),
        ("hud:3", ValueError, "takes no number"),
        ([None], TypeError, "collision"),
        (True, TypeError, "True"),
        (3.5, TypeError, "3.5"),
        (
            "custom_overlays:Nothing",
            ValueError,
            "Nothing' is not an overlay: expected an object",
        ),
        ("custom_overlays:Dit", ValueError, "Dit"),
        ("no_such_module:Dot", ValueError, "no_such_module"),
    ],
)
def test_bad_overlay_is_refused(wrong: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make_overlays(wrong)


def test_hud_omits_missing_rewards(
    drive: Drive,
) -> None:
    picture, scene, course = drive
    unpaid = dataclasses.replace(scene, reward=None)
    shorter = dataclasses.replace(scene, reward=None, terms={})
    nothing = dataclasses.replace(scene, reward=0.0, terms={})
    own = dataclasses.replace(scene, reward=0.5, terms={})  # that reads no metric
    lines = [
        int((draw_overlays(make_overlays("hud"), picture, each, course) != picture)[:, 0].sum())
        for each in (scene, unpaid, own, shorter, nothing)
    ]
    assert lines[0] > lines[1] == lines[2] > lines[3] == lines[4]


def test_labels_do_not_cover_each_other(
    drive: Drive,
) -> None:
    """Each colour has as many pixels as alone, and the highest label stays in its place."""
    _, scene, _ = drive

    def rows(*labels: Any) -> list[list[int]]:
        canvas = Canvas(BLACK, Projection(scene.camera))
        canvas.labels(labels)
        seen = canvas.picture()
        return [seen[:, :, channel].sum(axis=1).tolist() for channel in range(3)]

    first = ((100.0, 60.0), "first", (255, 0, 0))
    others = [((103.0, 62.0), "gyges", (0, 255, 0)), ((97.0, 66.0), "third", (0, 0, 255))]
    red, *lower = rows(others[1], first, others[0])
    assert red == rows(first)[0]
    for channel, label in enumerate(others, 1):
        assert sum(lower[channel - 1]) == sum(rows(label)[channel]) > 0
    top = [np.flatnonzero(each)[0] for each in (red, *lower)]
    assert top == sorted(top)
    assert top[2] < 90
    apart = [first, ((200.0, 60.0), "gyges", (0, 255, 0))]
    assert rows(*apart)[:2] == [rows(apart[0])[0], rows(apart[1])[1]]


def test_drawing_error_names_the_overlay(
    drive: Drive,
) -> None:
    picture, scene, course = drive
    with pytest.raises(OverlayError, match="'broken' failed: RuntimeError: on purpose"):
        draw_overlays([Broken()], picture, scene, course)
    nowhere = dataclasses.replace(scene.camera, matrix=np.zeros((4, 3)))
    with pytest.raises(OverlayError, match="has no direction"):
        draw_overlays([], picture, dataclasses.replace(scene, camera=nowhere), course)
    with pytest.raises(OverlayError, match="192"):
        draw_overlays([], picture[:10], scene, course)


def test_pickled_scene_draws_the_same(drive: Drive) -> None:
    picture, scene, course = drive
    data = pickle.dumps(scene)
    assert len(data) < 50_000
    names = list(OVERLAYS)
    drawn = draw_overlays(make_overlays(names), picture, scene, course)
    other = draw_overlays(make_overlays(names), picture, pickle.loads(data), copy.deepcopy(course))
    assert (drawn == other).all()


def test_race_without_a_camera_has_no_scene_yet() -> None:
    console = Console(on_power_on=BootParameters().write)
    try:
        live, reader, recorder = LiveRace(console), RaceReader(console.ram), SceneRecorder()
        missing, scenes = 0, []
        for _ in range(150):
            console.step(0, 1, draw=False)
            live.frame(0)
            scenes.append(live.scene())
            # The race is in memory some frames before its camera.
            with contextlib.suppress(NoRaceError):
                race = reader.read()
                if live.course is None:
                    recorder.begin(reader)
                    with pytest.raises(NoRaceError, match="camera"):
                        recorder.scene(Course.from_ram(console.ram, reader.layout))
                    missing += not race.race_on
        for scene in scenes:
            if scene is not None:
                Projection(scene.camera)  # the camera has a direction
    finally:
        console.close()
    assert scenes[-1] is not None
    assert missing
