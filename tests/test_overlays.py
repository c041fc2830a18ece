"""Overlays: on the pixels where the game draws what they show, composable, and safe to add to."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from kartlab_field import LAYOUT, Field
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
from mkds_gym.overlays.scene import TRAIL_POINTS, TRAIL_SPACING
from mkds_gym.race.names import course_id
from mkds_gym.race.reader import RaceReader

BOX_HEIGHT = 9.0
"""World units above the floor at which the boxes of these tests float."""


def watching(field: Field) -> SceneRecorder:
    recorder = SceneRecorder()
    recorder.begin(field.reader)
    return recorder


def shots(field: Field, recorder: SceneRecorder, keys: int = 0, frames: int = 8) -> None:
    """Frames that are drawn and noted: enough for the picture to be of these."""
    for _ in range(frames):
        field.console.step(keys)
        recorder.add(field.state(), keys)


@pytest.fixture(scope="module")
def drive() -> Iterator[tuple[NDArray[np.uint8], OverlayScene, Course]]:
    """A picture in mid-race with opponents, the scene of it, and the course."""
    field = Field(course=25, skip_countdown=True)
    recorder = watching(field)
    for _ in range(300):
        field.console.step(field.pursuit(), draw=False)
        recorder.add(field.state(), 0)
    shots(field, recorder, Keys.A)
    scene = recorder.scene(field.course, reward=0.25, terms={"distance": 3.0})
    yield field.console.screen("top"), scene, field.course
    field.close()


def test_a_live_race_knows_random_courses_apart(tmp_path: Path) -> None:
    """They share a number: one whose state is loaded would be drawn as the one before."""
    state = tmp_path / "a.state"
    other: Any = gym.make("MKDS-v0", course="random", course_seed=4).unwrapped
    other.reset(seed=0)
    other.console.save_state(state)
    env: Any = gym.make("MKDS-v0", course="random", course_seed=3).unwrapped
    env.reset(seed=0)
    live = LiveRace(env.console)
    before = live.course
    assert before is not None
    here = env.console.snapshot()
    env.console.step(0, 30)
    env.console.restore(here)
    live.restart()
    assert live.course is before  # gone back, nothing is read anew
    env.console.load_state(state)
    live.restart()
    assert live.course is not None
    assert live.course.fingerprint == other.course.fingerprint != before.fingerprint
    assert live.frame(0) is not None
    for each in (env, other):
        each.close()


# ------------------------------------------------------- the pixels where the game draws it


def test_the_rear_tyres_stand_where_they_project() -> None:
    """They touch the road 5.6 behind the kart's place and 5.1 beside it (kart_model.c)."""
    field = Field(course=25, drivers=1, skip_countdown=True)
    try:
        recorder = watching(field)
        shots(field, recorder)
        scene = recorder.scene(field.course)
        picture = field.console.screen("top").astype(int)
    finally:
        field.close()
    place, ahead, right = (
        np.array(v) for v in (scene.race.position, scene.race.forward, scene.race.right)
    )
    behind = place - 5.6 * ahead
    tyres = np.array([behind - 5.1 * right, behind + 5.1 * right])
    pixels, seen = Projection(scene.camera).points(tyres)
    assert seen.all()
    for column, row in pixels:
        strip = picture[:, round(column)].max(axis=1)
        # Upwards from the road, which is paler than tyre and shadow: where the tyre begins.
        bottom = next(y for y in range(188, 100, -1) if strip[y] < 80) + 1
        assert abs(bottom - row) <= 2, (bottom, row)
    assert abs(pixels[:, 0].mean() - 128) < 1


COURSE = "ridge_course"
"""No wall hides the ends of its checkpoints."""


def boxes_at(points: NDArray[np.float64]) -> bytes:
    """A course to hand over with item boxes at these points and nowhere else."""
    files = dict(read_course_archive(Cartridge.open(), COURSE))
    boxes = np.zeros(len(points), OBJECT)
    boxes["position"] = np.round(points * 4096)
    boxes["scale"], boxes["id"], boxes["path"] = 4096, 101, -1
    nkm = dataclasses.replace(NKM.from_bytes(files["course_map.nkm"]), objects=boxes)
    return write_narc({**files, "course_map.nkm": nkm.save()})


def picture_with_boxes(points: NDArray[np.float64]) -> tuple[NDArray[np.uint8], OverlayScene]:
    """The same moment of a race, whatever stands on the course."""
    field = Field(
        course=course_id(COURSE),
        course_data=boxes_at(points),
        drivers=1,
        items=True,
        skip_countdown=True,
    )
    try:
        recorder = watching(field)
        for _ in range(150):
            field.console.step(field.pursuit(), draw=False)
            recorder.add(field.state(), 0)
        shots(field, recorder, Keys.A)
        return field.console.screen("top"), recorder.scene(field.course)
    finally:
        field.close()


def test_the_next_checkpoints_ends_are_where_the_game_draws_what_stands_there() -> None:
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
    pixels, seen = projection.points(points)
    inside = seen & (np.abs(pixels - (128, 96)) < (120, 88)).all(axis=1)
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
    assert len(found) >= 2
    # And the line that the overlay draws ends there, but for the height at which the boxes float.
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


def test_an_opponent_is_circled_where_it_is_drawn() -> None:
    field = Field(course=25, drivers=2, skip_countdown=True)
    try:
        recorder = watching(field)
        for _ in range(100):  # until the letters of GO are gone
            field.step(field.pursuit())
        shots(field, recorder)
        start = field.console.snapshot()
        x, y, z = field.state().position
        fx, _, fz = field.state().forward
        pictures = []
        left = 25.0  # else one's own kart hides it
        for ahead in (130.0, -300.0):
            field.console.restore(start)
            place = x + ahead * fx + left * fz, y, z + ahead * fz - left * fx
            for _ in range(6):
                # A kart that the host holds in its place.
                field.put(1, *place, field.state().heading, 0.0)
                shots(field, recorder, frames=1)
            pictures.append(field.console.screen("top").astype(int))
            if ahead > 0:
                scene = recorder.scene(field.course)
    finally:
        field.close()
    _, thing = [o for o in scene.objects if o.kind == "driver"]
    ((column, row),), _ = Projection(scene.camera).points(np.array([thing.position]))
    changed = (np.abs(pictures[0] - pictures[1]) > 16).any(axis=2)
    changed[130:, :80] = False  # the number of the place, which changes too
    rows, columns = np.nonzero(changed)
    assert len(rows) > 20
    assert abs((columns.min() + columns.max() + 1) / 2 - column) <= 2
    # Its tyres touch the road up to 6 units nearer, a pixel lower.
    assert abs(rows.max() + 1 - row) <= 2


def test_the_scene_is_of_the_frame_that_the_picture_shows() -> None:
    field = Field(course=25, drivers=1, skip_countdown=True)
    try:
        recorder = watching(field)
        shots(field, recorder, Keys.A, 40)
        scene = recorder.scene(field.course)
        assert scene.race.frame == field.state().frame - PICTURE_DELAY
        # So is the path's head, which is not where the driver is by now.
        head = np.array([*scene.race.position, scene.race.speed], np.float32)
        assert np.array_equal(scene.trail[-1], head)
        assert len(scene.trail) > 3
        steps = np.linalg.norm(np.diff(scene.trail[:-1, :3], axis=0), axis=1)
        assert (steps >= TRAIL_SPACING - 0.01).all()
        # A path begins with a lap, when the picture does, and not when the driver does.
        trail = LapTrail()
        laps = [copy.copy(scene.race) for _ in range(3)]
        laps[2].lap += 1
        for lap, count in zip(laps, (1, 1, 1), strict=True):
            trail.add(lap)
            assert len(trail.up_to(lap)) == count
        # One that is longer than what is kept ends with its last points.
        trail._points[: trail._end] = 7.0
        trail._end = len(trail._points)
        trail._points[-1] = 8.0
        trail._last = (0.0, 0.0, 0.0)
        trail.add(laps[2])
        assert trail._end == TRAIL_POINTS + 1
        kept = trail.up_to(laps[2])
        assert len(kept) == TRAIL_POINTS
        assert kept[-2].tolist() == [8.0] * 4
        assert np.array_equal(kept[-1], head)
        # It comes through a pickle as it is.
        again = pickle.loads(pickle.dumps(scene))
        assert repr(again) == repr(scene)
        assert again.camera.matrix.tolist() == scene.camera.matrix.tolist()
        assert again.objects == scene.objects
        assert again.race.position == scene.race.position
        # Where there is no camera, no picture has a scene, and nobody's frame fails.
        word = field.ram[LAYOUT.camera_pointer - RAM_START :][:4]
        before = word.copy()
        word[:] = 0
        recorder.add(field.state(), 0)
        word[:] = before
        recorder.scene(field.course)
        for missing in (False, True, False):
            recorder.add(field.state(), 0)
            if missing:
                with pytest.raises(NoRaceError, match="cannot be drawn on this picture"):
                    recorder.scene(field.course)
            else:
                recorder.scene(field.course)
    finally:
        field.close()


# ------------------------------------------------------------------- in the environment


def make(**arguments: Any) -> Any:
    arguments = {"course": "desert_course", "render_mode": "rgb_array", **arguments}
    return gym.make("MKDS-v0", **arguments).unwrapped


def observed(**arguments: Any) -> tuple[Any, SceneRecorder]:
    """An environment, and a recorder of its scenes."""
    env, scenes = make(**arguments), SceneRecorder()
    env.add_observer(scenes)
    return env, scenes


def test_rendered_pictures_have_overlays_and_observations_have_none() -> None:
    plain = make(obs_type="pixels")
    drawn, scenes = observed(obs_type="pixels", overlays=["rays", "hud", 6])
    try:
        for env in (plain, drawn):
            env.reset(seed=0)
        for step in range(20):
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
        assert scene.terms["progress"] == pytest.approx(paid * 100, abs=1e-6)
        wanted = draw_overlays(make_overlays(["rays", "hud", 6]), first, scene, drawn.course)
        assert (picture == wanted).all()
        assert (picture != first).any()
    finally:
        plain.close()
        drawn.close()


def test_rays_are_those_of_the_sensors() -> None:
    env, scenes = observed(obs_type=["rays:5"], overlays="rays", screens="both")
    try:
        env.reset()
        env.step(0)
        assert scenes.scene_of(env).ray_angles == (90, 45, 0, -45, -90)
        picture = env.render()
        assert picture.shape == (384, 256, 3)
        assert (picture[192:] == env.console.screen("bottom")).all()
        assert (picture[:192] != env.console.screen("top")).any()
    finally:
        env.close()


def test_overlays_begin_anew_with_each_race() -> None:
    env, scenes = observed(overlays="trail")
    try:
        env.reset(seed=0)
        for _ in range(60):
            env.step(0)
        assert len(scenes.scene_of(env).trail) > 20
        env.reset(seed=0)
        scene = scenes.scene_of(env)
        assert len(scene.trail) == 1
        assert scene.race.frame <= env.race.frame
    finally:
        env.close()


def test_overlays_go_on_from_a_restored_state() -> None:
    env, scenes = observed(overlays=["trail", "checkpoint"])
    try:
        env.reset(seed=0)
        for _ in range(30):
            env.step(0)
        state, frame = env.clone_state(), env.race.frame
        for _ in range(10):
            env.step(1)
        env.restore_state(state)
        assert scenes.scene_of(env).race.frame == frame
        assert env.render().shape == (192, 256, 3)
        env.step(0)
        assert scenes.scene_of(env).race.frame == frame + 2
    finally:
        env.close()


def test_overlays_need_a_render_mode_and_a_race() -> None:
    with pytest.raises(ValueError, match="render_mode"):
        make(render_mode=None, overlays="hud")
    with pytest.raises(ValueError, match="unknown overlay"):
        make(overlays="hat")
    with pytest.raises(ValueError, match=r"give a list, \['rays', 'hud'\]"):
        make(overlays="rays, hud")
    env, scenes = observed()
    with pytest.raises(NoRaceError, match="reset"):
        scenes.scene_of(env)
    env.close()


# --------------------------------------------------------------------------- projection


def test_lines_and_areas_are_cut_at_the_eye(
    drive: tuple[NDArray[np.uint8], OverlayScene, Course],
) -> None:
    _, scene, _ = drive
    projection = Projection(scene.camera)
    eye, target = np.array(scene.camera.position), np.array(scene.camera.target)
    behind, ahead = eye - (target - eye), target
    far = eye + (target - eye) * 1e4
    ends, left = projection.lines(
        np.array([behind, behind, ahead, far]), np.array([ahead, behind - 1, far, far + 1])
    )
    assert left.tolist() == [True, False, True, False]
    assert np.isfinite(ends).all()
    assert np.allclose(ends[0, 1], (128, 96), atol=0.5)
    side = np.array(scene.camera.right) * 20
    triangle = projection.polygon(np.array([behind, ahead - side, ahead + side]))
    assert len(triangle) == 4  # a corner behind the eye gives way to two
    assert np.isfinite(triangle).all()
    assert len(projection.polygon(np.array([behind, behind - side, behind + side]))) == 0
    _, seen = projection.points(np.array([behind, ahead, far]))
    assert seen.tolist() == [False, True, False]


def test_axes_are_those_of_the_games_matrix(
    drive: tuple[NDArray[np.uint8], OverlayScene, Course],
) -> None:
    _, scene, _ = drive
    points = np.array(scene.race.position) + np.random.default_rng(0).normal(0, 50, (20, 3))
    view = Projection(scene.camera).view(points)
    game = points @ scene.camera.matrix[:3] + scene.camera.matrix[3]
    assert np.allclose(view * (1, 1, -1), game, atol=0.5)


# --------------------------------------------------------------------------- drawing


@pytest.mark.parametrize("name", list(OVERLAYS))
def test_every_overlay_draws_something_of_its_own(
    name: str, drive: tuple[NDArray[np.uint8], OverlayScene, Course]
) -> None:
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


def test_walls_are_magenta_and_off_road_red(
    drive: tuple[NDArray[np.uint8], OverlayScene, Course],
) -> None:
    picture, scene, course = drive
    drawn = draw_overlays(make_overlays("collision:400"), picture, scene, course).astype(int)
    more = drawn - picture
    magenta = (more[..., 0] > 8) & (more[..., 2] > 8) & (more[..., 1] <= 0)
    red = (more[..., 0] > 8) & (more[..., 2] <= 0)
    assert magenta.sum() > 50
    assert red.sum() > 50


def test_numbers_names_and_objects(
    drive: tuple[NDArray[np.uint8], OverlayScene, Course],
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
    assert tuple(drawn[96, 128]) == (1, 2, 3)
    # Likewise by the place that it is imported from, as on a command line.
    (imported,) = make_overlays("custom_overlays.Dot")
    assert (draw_overlays([imported], picture, scene, course)[96, 128] == (9, 8, 7)).all()
    both = np.concatenate([picture, picture])
    assert (draw_overlays(make_overlays(Dot()), both, scene, course)[192:] == picture).all()


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ("ray", ValueError, "did you mean 'rays'"),
        (10, ValueError, "7 hud"),
        (-1, ValueError, "no overlay number"),
        ("rays:-1", ValueError, "above 0"),
        ("hud:3", ValueError, "takes no number"),
        ([None], TypeError, "collision"),
        (True, TypeError, "True"),
        (3.5, TypeError, "3.5"),
        ("custom_overlays.Nothing", ValueError, "'custom_overlays.Nothing' is no over"),
        ("custom_overlays.Dit", ValueError, "Dit"),
        ("no_such_module.Dot", ValueError, "no_such_module"),
    ],
)
def test_wrong_overlays_are_refused(wrong: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make_overlays(wrong)


def test_without_a_reward_none_is_written(
    drive: tuple[NDArray[np.uint8], OverlayScene, Course],
) -> None:
    picture, scene, course = drive
    unpaid = dataclasses.replace(scene, reward=None)
    shorter = dataclasses.replace(scene, reward=None, terms={})
    nothing = dataclasses.replace(scene, reward=0.0, terms={})
    own = dataclasses.replace(scene, reward=0.5, terms={})  # that looks at no metric
    lines = [
        int((draw_overlays(make_overlays("hud"), picture, each, course) != picture)[:, 0].sum())
        for each in (scene, unpaid, own, shorter, nothing)
    ]
    assert lines[0] > lines[1] == lines[2] > lines[3] == lines[4]


def test_labels_do_not_cover_one_another(
    drive: tuple[NDArray[np.uint8], OverlayScene, Course],
) -> None:
    """Each colour has as many pixels as it has alone; the uppermost stays where it is."""
    _, scene, _ = drive
    black = np.zeros((192, 256, 3), np.uint8)

    def rows(*labels: Any) -> list[list[int]]:
        canvas = Canvas(black, Projection(scene.camera))
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


def test_an_error_names_its_overlay(
    drive: tuple[NDArray[np.uint8], OverlayScene, Course],
) -> None:
    class Broken:
        name = "broken"

        def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:
            raise KeyError("nothing")

    picture, scene, course = drive
    with pytest.raises(OverlayError, match=r"'broken' failed: KeyError: 'nothing'"):
        draw_overlays([Broken()], picture, scene, course)
    nowhere = dataclasses.replace(scene.camera, target=scene.camera.position)
    with pytest.raises(OverlayError, match="looks nowhere"):
        draw_overlays([], picture, dataclasses.replace(scene, camera=nowhere), course)
    with pytest.raises(OverlayError, match="192"):
        draw_overlays([], picture[:10], scene, course)


def test_scenes_travel_and_stay(drive: tuple[NDArray[np.uint8], OverlayScene, Course]) -> None:
    picture, scene, course = drive
    data = pickle.dumps(scene)
    assert len(data) < 50_000
    names = list(OVERLAYS)
    drawn = draw_overlays(make_overlays(names), picture, scene, course)
    other = draw_overlays(make_overlays(names), picture, pickle.loads(data), copy.deepcopy(course))
    assert (drawn == other).all()


def test_a_race_that_is_being_set_up_has_no_scene_yet() -> None:
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
                Projection(scene.camera)  # it looks somewhere
    finally:
        console.close()
    assert scenes[-1] is not None
    assert missing
