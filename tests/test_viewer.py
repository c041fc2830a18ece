"""The viewer: real environments in real windows, which cannot harm each other."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pygame
import pytest
from custom_overlays import Broken
from gymnasium.utils.env_checker import data_equivalence
from PIL import Image
from programs import first_line, started
from waiting import until
from windows import (
    Clock,
    click,
    contains,
    enlarged,
    key,
    screenshot,
    set_display,
    surface_pixels,
)

from mkds_gym.errors import ViewerError
from mkds_gym.observer import EnvObserver
from mkds_gym.overlays import OVERLAYS, SceneRecorder, draw_overlays, make_overlays
from mkds_gym.overlays.scene import TRAIL_POINTS, TRAIL_SPACING
from mkds_gym.utils.processes import start_time
from mkds_gym.viewer import (
    Board,
    Bus,
    Publisher,
    RacePublisher,
    Run,
    Shot,
    State,
    Status,
    Tile,
    Viewer,
    runs,
)
from mkds_gym.viewer.__main__ import main
from mkds_gym.viewer.painter import best_view, grid, tile_colour
from mkds_gym.viewer.race_publisher import unpack_scene
from mkds_gym.viewer.window import ViewerWindow

GOLD, HELP_BACKGROUND = (255, 205, 60), (44, 46, 56)
PERIOD = 1 / 30


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of publishers and of the requests of viewers."""
    clock = Clock()
    monkeypatch.setattr("mkds_gym.viewer.race_publisher.time", clock)
    monkeypatch.setattr("mkds_gym.viewer.bus.reader.time", clock)
    return clock


@pytest.fixture(scope="module")
def env() -> Iterator[Any]:
    env = gym.make("MKDS-v0", truncate_on=()).unwrapped
    yield env
    env.close()


@pytest.fixture
def watched(env: Any) -> Iterator[tuple[Any, Run]]:
    """An environment at the start of an episode, and its run."""
    with Viewer(env, window=False) as viewer:
        assert viewer.folder is not None
        env.reset(seed=0)
        yield env, Run(viewer.folder)


def read_shot(tile: Tile, known: int = 0) -> Shot:
    shot = tile.shot(known)
    assert shot is not None
    return shot


# Publishing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("skip", [1, 2, 3, 4])
def test_published_picture_is_the_rendered_one(skip: int, clock: Clock) -> None:
    """Also its scene, in an environment that does not render."""
    plain: Any = gym.make("MKDS-v0", frame_skip=skip).unwrapped
    drawn: Any = gym.make("MKDS-v0", frame_skip=skip, render_mode="rgb_array").unwrapped
    with Viewer(plain, window=False) as viewer:
        assert viewer.folder is not None
        run = Run(viewer.folder)
        for env in (plain, drawn):
            env.reset(seed=0)
        known = compared = scenes = 0
        for step in range(40):
            clock.now += 0.4 * PERIOD
            run.watch(scenes=step >= 15)
            outcome, expected = plain.step(0), drawn.step(0)
            assert data_equivalence(outcome, expected, exact=True)
            shot = run.tiles[0].shot(known)
            if shot is None:
                continue
            known = shot.number
            compared += 1
            assert np.array_equal(shot.picture, drawn.render())
            assert shot.status.frame == plain.race.frame
            assert shot.status.lap == plain.race.lap
            if shot.scene:
                scenes += 1
                _, scene = unpack_scene(shot.scene)
                assert scene.race.frame == plain.race.frame - 2
                head = np.array([*scene.race.position, scene.race.speed], np.float32)
                assert np.array_equal(scene.trail[-1], head)
                assert len(np.unique(scene.trail, axis=0)) == len(scene.trail)
        assert compared > 5
        assert scenes > 2
        assert len(scene.trail) > 2
    plain.close()
    drawn.close()


def test_publishing_is_cheap_and_unwatched_steps_draw_nothing(
    watched: tuple[Any, Run],
) -> None:
    env, run = watched
    for _ in range(5):
        env.step(0)
    assert run.tiles[0].shot() is None
    publisher = env.viewer
    assert not publisher.needs_picture
    run.watch()
    buffer = np.empty((192, 256, 3), np.uint8)
    publisher.show(env)  # opens the tile
    recorder = SceneRecorder()
    env.add_observer(recorder)
    for scenes in (None, recorder):
        if scenes is not None:  # with the longest trail
            for number in range(TRAIL_POINTS + 1):
                position = (number * (TRAIL_SPACING + 0.1), 0.0, 0.0)
                publisher.trail.add(
                    SimpleNamespace(lap=env.race.lap, driver=0, position=position, speed=1.0)
                )
            publisher.show(env, scenes)  # publishes the course, once
        # Compared with taking the picture, in turns, because other programs slow both down.
        calls: tuple[Callable[[], object], ...] = (
            lambda: env.console.screen("top", buffer),
            lambda scenes=scenes: publisher.show(env, scenes),  # type: ignore[misc]
        )
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(200):
            for call, seconds in zip(calls, times, strict=True):
                start = time.thread_time()
                call()
                seconds.append(time.thread_time() - start)
        picture, shown = (np.quantile(seconds, 0.1) for seconds in times)
        assert shown < (3 if scenes is None else 6) * picture
        shot = read_shot(run.tiles[0])
        assert bool(shot.scene) == (scenes is not None)
    assert len(unpack_scene(shot.scene)[1].trail) == TRAIL_POINTS
    env.remove_observer(recorder)


def test_requested_scenes_draw_the_same_overlays_as_the_environment(clock: Clock) -> None:
    arguments: dict[str, Any] = {"mode": "vs", "items": True}
    plain: Any = gym.make("MKDS-v0", **arguments).unwrapped
    names = ["hud", "objects"]
    own: Any = gym.make("MKDS-v0", render_mode="rgb_array", overlays=names, **arguments).unwrapped
    with Viewer(plain, window=False) as viewer:
        assert viewer.folder is not None
        run = Run(viewer.folder)
        tile = run.tiles[0]
        for env in (plain, own):
            env.reset(seed=3)
        compared = known = 0
        for step in range(30):
            clock.now += PERIOD
            run.watch(scenes=step >= 15)
            plain.step(0)
            own.step(0)
            shot = tile.shot(known)
            if shot is None:
                continue
            known = shot.number
            assert bool(shot.scene) <= (step >= 15)
            if step >= 20 and shot.scene:
                fingerprint, scene = unpack_scene(shot.scene)
                course = tile.course(fingerprint)
                drawn = draw_overlays(make_overlays(names), shot.picture, scene, course)
                assert np.array_equal(drawn, own.render())
                compared += 1
        assert compared >= 3
        assert tile.course(17) is None
        for _ in range(3):
            clock.now += 3.0  # no request for so long
            plain.step(0)
        assert plain.observers == (plain.viewer,)
        assert not plain.viewer.needs_picture
    plain.close()
    own.close()


def test_viewer_and_other_observers_do_not_disturb_each_other(clock: Clock) -> None:
    """Pictures and scenes stay requested while a viewer watches, after that, and without it."""
    env: Any = gym.make("MKDS-v0").unwrapped
    drawn: Any = gym.make("MKDS-v0", render_mode="rgb_array").unwrapped
    own, scenes = EnvObserver(), SceneRecorder()
    own.needs_picture = True
    env.add_observer(own)
    env.add_observer(scenes)
    for each in (env, drawn):
        each.reset(seed=0)

    def step() -> None:
        env.step(0)
        drawn.step(0)
        assert np.array_equal(env.console.screen("top"), drawn.render())
        assert scenes.scene_of(env).race.frame == env.race.frame - 2

    with Viewer(env, window=False) as viewer:
        assert viewer.folder is not None
        run = Run(viewer.folder)

        def request(*, scenes: bool) -> None:
            clock.now += 1.0
            run.watch(scenes=scenes)
            step()
            assert env.viewer.needs_picture

        for wanted in (False, True):
            request(scenes=wanted)
            for _ in range(3):
                clock.now += 3.0  # no request for so long
                step()
            shot = read_shot(run.tiles[0])
            assert bool(shot.scene) == wanted
        # The other observers leave, and the viewer still gets its picture.
        request(scenes=True)
        own.needs_picture = False
        env.remove_observer(scenes)
        env.step(0)
        drawn.step(0)
        newer = read_shot(run.tiles[0], shot.number)
        assert newer.scene
        assert np.array_equal(newer.picture, drawn.render())
        own.needs_picture = True
        env.add_observer(scenes)
    for _ in range(3):
        step()
    env.close()
    drawn.close()


def test_restored_state_starts_a_new_episode_on_its_tile(clock: Clock) -> None:
    env: Any = gym.make("MKDS-v0", truncate_on="clock:80").unwrapped
    with Viewer(env, window=False) as viewer:
        assert viewer.folder is not None
        run = Run(viewer.folder)
        tile = run.tiles[0]

        def step() -> Any:
            clock.now += PERIOD
            run.watch(scenes=True)
            return env.step(0)

        env.reset(seed=0)
        early = env.clone_state()
        while not step()[3]:
            pass
        end = env.race.position
        assert tile.state() == State.OVER
        env.restore_state(early)
        assert tile.state() == State.DRIVING
        last, start = read_shot(tile), env.race.position
        rewards = 0.0
        while (shot := tile.shot(last.number)) is None or not shot.scene:
            rewards += step()[1]
        assert shot.status.episode == last.status.episode + 1
        assert shot.status.score == pytest.approx(rewards)
        first = unpack_scene(shot.scene)[1].trail[0, :3]
        assert np.linalg.norm(first - start) < np.linalg.norm(first - end)
    env.close()


class BrokenScorer:
    def __call__(self, metrics: Any) -> float:
        raise RuntimeError("on purpose")


def test_publishing_error_is_logged_once(
    env: Any, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    env.reset(seed=0)
    with Bus(2) as bus:
        run = Run(bus.folder)
        for index, scorer in enumerate((pickle.dumps(BrokenScorer()), b"not a pickle")):
            env.viewer = RacePublisher(bus.folder, index, scorer)
            env.step(0)
            env.viewer.show(env)
            assert np.isnan(read_shot(run.tiles[index]).status.score)
        assert run.tiles[0].state() == State.CLOSED
        # A course that cannot be published costs the scene only, and only as long as it fails.
        (bus.folder / "1.course").mkdir()
        known = read_shot(run.tiles[1]).number
        for there in (False, False, True):
            if there:
                (bus.folder / "1.course").rmdir()
            clock.now += 1.0
            run.watch(scenes=True)
            while (shot := run.tiles[1].shot(known)) is None:
                env.step(0)
            known = shot.number
            assert bool(shot.scene) == there
    env.viewer = RacePublisher(bus.folder, 1)
    env.reset(seed=0)
    env.step(0)
    env.viewer = None
    logged = [record.message for record in caplog.records if record.message.startswith("tile ")]
    assert len(logged) == 2
    assert "tile 1 has no overlays: ViewerError: the course cannot be published" in logged[0]
    assert "tile 1 shows no more pictures" in logged[1]
    assert "is over" in logged[1]


def test_following_publisher_publishes_into_its_assigned_tile(clock: Clock) -> None:
    env: Any = gym.make("MKDS-v0", truncate_on=["clock:16"]).unwrapped

    def drive() -> None:
        env.reset(seed=0)
        over = False
        while not over:
            clock.now += 1.0
            run.watch()
            over = any(env.step(0)[2:4])

    with Bus([3, 5]) as bus:
        run = Run(bus.folder)
        publisher = pickle.loads(pickle.dumps(RacePublisher(bus.folder, 1, follows=True)))
        env.viewer = publisher
        drive()
        assert [tile.state() for tile in run.tiles] == [State.WAITING] * 2
        publisher.assign(5, "driver 7 · " + 300 * "ö")
        drive()
        assert [tile.state() for tile in run.tiles] == [State.WAITING, State.OVER]
        label = read_shot(run.tiles[1]).status.label
        assert label.startswith("driver 7 · öö")
        assert len(label.encode()) in (239, 240)
        frames = run.tiles[1].frames
        assert frames > 0
        publisher.assign(3, "driver 8")
        drive()
        assert [tile.frames for tile in run.tiles] == [frames, frames]
        publisher.assign(None, "")
        drive()
        assert [tile.frames for tile in run.tiles] == [frames, frames]
        # A picture keeps the label of its driver when another one is assigned.
        publisher.assign(3, "driver 9")
        assert read_shot(run.tiles[0]).status.label == "driver 8"
    env.close()


# Environments -------------------------------------------------------------------------------------


def make_envs(kind: str) -> Any:
    if not kind.startswith("sb3"):
        mode = {"native": None, "wrapped": "sync"}.get(kind, kind)
        envs = gym.make_vec("MKDS-v0", num_envs=2, vectorization_mode=mode)
        wrap = gym.wrappers.vector.RecordEpisodeStatistics
        return wrap(envs) if kind == "wrapped" else envs
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

    from mkds_gym.integrations.stable_baselines3 import MKDSVecEnv

    if kind == "sb3-native":
        return MKDSVecEnv(2)
    if kind == "sb3-dummy":
        return VecNormalize(make_vec_env("MKDS-v0", 2, vec_env_cls=DummyVecEnv))
    return make_vec_env(
        "MKDS-v0", 2, vec_env_cls=SubprocVecEnv, vec_env_kwargs={"start_method": "fork"}
    )


@pytest.mark.parametrize(
    "kind", ["sync", "async", "native", "wrapped", "sb3-dummy", "sb3-subproc", "sb3-native"]
)
def test_viewer_shows_any_vector_environment(kind: str) -> None:
    envs = make_envs(kind)
    with Viewer(envs, "1", title=f"all of {kind}", window=False) as viewer:
        assert viewer.folder in runs()
        run = Run(viewer.folder)
        (tile,) = run.tiles
        assert tile.index == 1
        envs.reset()

        def step() -> Any:
            run.watch()
            envs.step(np.zeros(2, np.int64))
            return tile.shot()

        until(step)
        assert read_shot(tile).picture.std() > 10.0
        assert tile.state() == State.DRIVING
        viewer.caption(np.int64(1), "mine")  # type: ignore[arg-type]
        viewer.header("12 steps")
        assert run.board() == Board(f"all of {kind}", "12 steps", {1: "mine"}, "reward")
        if kind == "async":
            envs.processes[1].kill()
            until(lambda: tile.state() == State.DEAD)
            envs.close(terminate=True)
            return
    assert not viewer.folder.exists()
    base: Any = envs if kind.startswith("sb3") else envs.unwrapped
    assert list(base.get_attr("viewer")) == [None, None]
    envs.step(np.zeros(2, np.int64))
    envs.close()


def test_viewer_closed_during_a_step_detaches_later() -> None:
    """Another thread may close it."""

    class Closes(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            viewer.close()
            return super().step(action)

    envs = gym.make_vec("MKDS-v0", 2, num_threads=1, env_wrappers=[Closes])
    envs.reset(seed=0)
    base: Any = envs.unwrapped
    with Viewer(envs, window=False) as viewer:
        assert viewer.folder is not None
        assert None not in base.get_attr("viewer")
        until(lambda: envs.step([0, 0]) and list(base.get_attr("viewer")) == [None, None])
        assert not viewer.folder.exists()
    envs.close()


def test_bad_arguments_of_viewer_are_refused(env: Any) -> None:
    before = set(runs())
    vector: Any = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
    processes = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="async")
    for envs in (gym.make("CartPole-v1"), vector, processes, 3):
        with pytest.raises(TypeError, match=r"expected an (MKDSEnv|environment)"):
            Viewer(envs)
    assert not hasattr(vector.envs[0].unwrapped, "viewer")
    processes.reset(seed=0)
    processes.close()
    for arguments, words in (
        ({"show": "0,2"}, "2 is out of range"),
        ({"scale": 0}, "scale=0 is out of range: expected an integer from 1 to 6"),
        ({"overlays": ["hat"]}, "unknown overlay 'hat'"),
    ):
        with pytest.raises(ValueError, match=words):
            Viewer(vector, **arguments)
    for nothing in ("none", False, [False]):
        with Viewer(env, nothing) as viewer:
            assert viewer.folder is None
            assert viewer.window is None
            viewer.header("12 steps")
    for index, text, error in (
        (1, "mine", ValueError),
        (-1, "", ValueError),
        (True, "", TypeError),
        (0, 5, TypeError),
    ):
        with pytest.raises(error, match=r"(index|text)="):
            viewer.caption(index, text)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="is not a string"):
        viewer.header(b"12 steps")  # type: ignore[arg-type]
    assert set(runs()) <= before


# The window ---------------------------------------------------------------------------------------


@pytest.fixture
def invisible(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    set_display(monkeypatch, None, driver="dummy")
    yield
    pygame.quit()


class ThreeTiles:
    """A window on three tiles with random pictures."""

    def __init__(self, folder: Path) -> None:
        random = np.random.default_rng(1)
        self.pictures = [random.integers(0, 255, (192, 256, 3), np.uint8) for _ in range(3)]
        two_colours = self.pictures[2][:, :, :1] < 128
        self.pictures[2][:] = np.where(two_colours, (255, 0, 0), (0, 0, 255))
        self.bus = Bus(3)
        self.publishers = [self.bus.publisher(index) for index in range(3)]
        for publisher, picture, score in zip(
            self.publishers, self.pictures, (1.0, 3.0, 2.0), strict=True
        ):
            publisher.publish(picture, Status(frame=1, lap=1, score=score))
        self.bus.post(Board("a title", "generation 7", {0: "driver 5"}, "fitness"))
        self.window = ViewerWindow(self.bus.folder, scale=1, pictures=folder)
        self.contents = self.window.contents
        self.window.update()

    def press(self, code: int, letter: str = "", mod: int = 0) -> Any:
        """Press a key and return the pixels of the window."""
        self.window.handle(key(code, letter, mod))
        self.window.update()
        return surface_pixels()


@pytest.fixture
def three(invisible: None, tmp_path: Path) -> Iterator[ThreeTiles]:  # noqa: ARG001
    three = ThreeTiles(tmp_path)
    yield three
    three.window.close()
    three.bus.close()


def test_tiles_form_a_nearly_square_grid() -> None:
    shapes = {1: (1, 1), 2: (2, 1), 4: (2, 2), 5: (3, 2), 9: (3, 3), 13: (4, 4), 12: (4, 3)}
    assert {count: grid(count) for count in shapes} == shapes
    assert len({tile_colour(index) for index in range(64)}) == 64


def test_window_shows_pictures_frames_and_captions(three: ThreeTiles) -> None:
    window, contents = three.window, three.contents
    pixels = surface_pixels()
    assert all(contains(pixels, picture) for picture in three.pictures)
    assert best_view(contents.views) == 1
    assert pygame.display.get_caption()[0] == "a title"
    assert three.bus.watched
    for index in range(3):
        assert (pixels == tile_colour(index)).all(axis=2).sum() > 400
    assert (pixels == GOLD).all(axis=2).sum() > 1000
    captions = [view.caption(contents.board) for view in contents.views]
    assert captions == ["driver 5", "env 1", "env 2"]
    # A process that stops is reported.
    view, publisher = contents.views[0], three.publishers[0]
    publisher.count(4)
    for later, text in ((0.0, ""), (2.5, ""), (4.0, "no frame for 4 s")):
        view.check(1e6 + later)
        assert view.text == text
    publisher.count(4)
    view.check(1e6 + 4.5)
    assert view.text == ""
    publisher.set_state(State.OVER)
    view.check(1e6 + 99.0)
    assert view.text == "over"
    # Long texts end in an ellipsis.
    text = "driver 12345 · species 4"
    widths = [window.painter.fit(text, width) for width in (0, 3, 20, 100, 5000)]
    assert widths[0] == ""
    assert widths[3].startswith("driver 1")
    assert widths[3].endswith("…")
    assert widths[-1] == text
    font = pygame.font.Font(None, 18)
    for width, shown in zip((0, 3, 20, 100, 5000), widths, strict=True):
        assert font.size(shown)[0] <= width
        assert shown in ("", text) or shown.endswith("…")


def test_window_is_scaled_without_new_colours(three: ThreeTiles) -> None:
    assert contains(three.press(pygame.K_PLUS, "+"), enlarged(three.pictures[2], 2))
    three.press(pygame.K_MINUS, "-")
    surface = pygame.display.set_mode((1000, 400), pygame.RESIZABLE)
    three.window.update()
    cell, inside = three.window.painter.cells(surface, 3)[2], pygame.Rect(0, 0, 100, 60)
    inside.center = (cell.centerx, cell.y + 75)
    pixels = surface_pixels()[inside.top : inside.bottom, inside.left : inside.right]
    colours = np.unique(pixels.reshape(-1, 3), axis=0).tolist()
    assert colours == [[0, 0, 255], [255, 0, 0]]


def test_click_and_arrow_keys_enlarge_a_tile(three: ThreeTiles) -> None:
    contents = three.contents
    three.window.handle(click(400, 100))
    assert contents.enlarged == 1
    for code, number in ((pygame.K_RIGHT, 2), (pygame.K_RIGHT, 2), (pygame.K_UP, 0)):
        three.press(code)
        assert contents.enlarged == number
    three.window.handle(click(5, 50))
    assert contents.enlarged is None


def test_frozen_window_keeps_pictures_and_text(three: ThreeTiles) -> None:
    window, contents = three.window, three.contents
    frozen = three.press(pygame.K_SPACE)
    three.publishers[0].publish(three.pictures[1], Status(frame=2, label="driver 6"))
    three.bus.post(Board("a title", "generation 8", {0: "driver 6"}, "fitness"))
    window.update()
    assert np.array_equal(surface_pixels(), frozen)
    three.press(pygame.K_TAB)
    assert "after unfreezing" in contents.note
    three.press(pygame.K_TAB, mod=pygame.KMOD_LSHIFT)
    assert contents.views[0].caption(contents.board) == "driver 5"
    window.write_note("")
    assert not contains(three.press(pygame.K_SPACE), three.pictures[0])
    assert contents.views[0].caption(contents.board) == "driver 6"


def test_keys_save_help_and_switch_overlays(three: ThreeTiles, tmp_path: Path) -> None:
    window, contents = three.window, three.contents
    pixels = surface_pixels()
    for _ in range(2):
        window.handle(key(pygame.K_s))
    files = sorted(tmp_path.glob("*.png"))
    assert len(files) == 2
    assert np.array_equal(np.asarray(Image.open(files[0]).convert("RGB")), pixels)
    window.pictures = tmp_path / "no such folder"
    window.handle(key(pygame.K_s))
    assert "not saved" in contents.note
    helps = [(three.press(pygame.K_h) == HELP_BACKGROUND).all(axis=2).sum() for _ in range(2)]
    assert helps[0] > 10_000
    assert helps[1] < 100
    publisher = three.publishers[0]
    assert publisher.wanted(time.monotonic())
    assert not publisher.scenes_wanted(time.monotonic())
    for name in (*OVERLAYS.names(), "none"):
        three.press(pygame.K_TAB)
        assert contents.note == f"overlay: {name}"
    assert publisher.scenes_wanted(time.monotonic())
    # A note does not cover the captions of the lower tiles.
    window.write_note("")
    window.draw()
    before = surface_pixels()
    window.write_note("overlay: collision")
    window.draw()
    rows = np.flatnonzero((surface_pixels() != before).any(axis=(1, 2)))
    assert 0 < rows.max() < len(before) / 4
    three.press(pygame.K_TAB, mod=pygame.KMOD_LSHIFT)
    assert OVERLAYS.names()[-1] in contents.note
    window.handle(key(pygame.K_ESCAPE))
    assert window.closed


@pytest.mark.usefixtures("invisible")
def test_failing_overlay_is_named_and_the_others_are_drawn(
    watched: tuple[Any, Run], caplog: pytest.LogCaptureFixture
) -> None:
    env, run = watched
    window = ViewerWindow(run.folder, overlays=["hud"])
    hud = window.overlays[0]
    window.overlays[0] = (Broken(), *hud)
    (view,) = window.contents.views
    message = "overlay 'broken' failed: RuntimeError: on purpose"

    def picture() -> Any:
        surface = pygame.Surface(view.surface.get_size())
        surface.blit(view.surface, (0, 0))  # as the window does: the surface must be opaque
        return surface_pixels(surface)

    def step() -> bool:
        window.update()
        env.step(0)
        return bool(view.errors)

    until(step)
    known = view.shot.number if view.shot is not None else 0
    until(lambda: step() and view.shot is not None and view.shot.number > known)
    assert view.errors == [message]
    messages = [record.message for record in caplog.records]
    assert messages.count(f"tile 0: {message}") == 1
    shot = view.shot
    assert shot is not None
    _, scene = unpack_scene(shot.scene)
    with_hud = draw_overlays(hud, shot.picture, scene, env.course)
    assert np.array_equal(picture(), with_hud)
    # A frozen picture without the overlay, and with it again.
    window.handle(key(pygame.K_SPACE))
    window.handle(key(pygame.K_TAB))
    window.update()
    assert view.errors == []
    assert np.array_equal(picture(), shot.picture)
    window.handle(key(pygame.K_TAB, mod=pygame.KMOD_LSHIFT))
    env.step(0)
    window.update()
    assert view.shot is shot
    assert np.array_equal(picture(), with_hud)
    # A scene of another version.
    view.shot = Shot(shot.number, shot.pixels, shot.status, b"not a pickle")
    window.update()
    assert view.errors[0].startswith("no overlays: UnpicklingError")
    assert np.array_equal(picture(), shot.picture)
    env.viewer = None
    window.close()


# Processes ----------------------------------------------------------------------------------------


def test_window_process_imports_custom_overlays_and_survives_kills(
    display: str, env: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_display(monkeypatch, display)
    touched = tmp_path / "touched"
    monkeypatch.setenv("TOUCHED", str(touched))
    monkeypatch.chdir(tmp_path)
    env.reset(seed=0)
    with Viewer(env, overlays=["custom_overlays:Touch"]) as viewer:
        assert viewer.folder is not None
        tile = Tile(viewer.folder, 0)
        until(lambda: env.step(0) and touched.exists() and tile.shot())
        until(lambda: env.step(0) and (screenshot(display) == tile_colour(0)).all(2).sum() > 500)
        window, publisher = viewer.window, env.viewer
        assert window is not None
        assert window.pid is not None
        os.kill(window.pid, signal.SIGKILL)
        until(lambda: not window.running)
        until(lambda: env.step(0) and not publisher.wanted(time.monotonic()))
        until(lambda: env.step(0) and not publisher.needs_picture)
        shot = read_shot(tile)
        for _ in range(5):
            env.step(0)
        assert tile.shot(shot.number) is None
        # Another window attaches to the run.
        command = [sys.executable, "-m", "mkds_gym.viewer", viewer.folder.name, "--overlays=hud"]
        with subprocess.Popen(command) as again:
            until(lambda: env.step(0) and tile.shot(shot.number))
            viewer.close()
            assert again.wait(30) == 0


def test_killed_run_leaves_no_window_and_no_memory() -> None:
    with started("viewer_owner.py", SDL_VIDEODRIVER="dummy") as owner:
        folder, window = first_line(owner).split()
        publisher = Publisher(Path(folder), 0)
        publisher.open()
        until(lambda: publisher.wanted(time.monotonic()))
        owner.kill()
        until(lambda: not Path(folder).exists() and start_time(int(window)) is None)


def test_ctrl_c_leaves_no_window_and_no_memory() -> None:
    """The signal reaches the workers too, during a step."""
    with started("viewer_of_vector_env.py", SDL_VIDEODRIVER="dummy") as process:
        folder, window = first_line(process).split()
        run = Run(Path(folder))
        until(lambda: run.tiles[0].shot())  # the window watches
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert "resource_tracker" not in errors
    assert not Path(folder).exists()
    assert start_time(int(window)) is None


@pytest.mark.parametrize("name", [None, ":977"])
def test_window_without_display_is_reported(
    name: str | None,
    env: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    set_display(monkeypatch, name)
    with Viewer(env) as viewer:
        window = viewer.window
        assert window is not None
        until(lambda: not window.running)
        env.reset(seed=0)
        env.step(0)
    (line,) = capfd.readouterr().err.splitlines()
    assert "python -m mkds_gym.viewer: error: no" in line
    assert "the run goes on without this window" in line


# The command --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--scale=9", "scale=9 is out of range: expected an integer from 1 to 6"),
        ("--scale=0", "scale=0 is out of range"),
        ("--overlays=hat", "unknown overlay 'hat'"),
        ("--pictures=nowhere", "--pictures nowhere: there is no such folder"),
    ],
)
def test_bad_option_exits_with_2(
    argument: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["no such run", argument])
    assert left.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.usefixtures("invisible")
def test_command_finds_runs_and_reports_errors(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["no such run"]) == 1
    assert "no run is named 'no such run'" in capsys.readouterr().err
    with Bus(1, label="mine") as bus:
        assert main(["--list"]) == 0
        assert bus.folder.name in capsys.readouterr().out.split()
        with monkeypatch.context() as without:
            without.setitem(sys.modules, "pygame", None)
            assert main([bus.folder.name]) == 1
        assert "needs pygame-ce: pip install 'mkds-gym[human]'" in capsys.readouterr().err
        publisher, tile = Publisher(bus.folder, 0), Tile(bus.folder, 0)
        assert (tile.width, tile.height) == (256, 192)
        (bus.folder / "0").write_bytes(bytes(8192))
        assert main([bus.folder.name]) == 1
        assert "another version" in capsys.readouterr().err
        with pytest.raises(ViewerError, match="another version"):
            publisher.open()


def test_window_closes_when_its_run_is_over(three: ThreeTiles) -> None:
    three.bus.close()
    until(lambda: [three.window.update(), three.window.closed][1])
