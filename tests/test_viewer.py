"""The viewer: what it shows of real environments, and that nothing it suffers harms them."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pygame
import pytest
from PIL import Image, ImageGrab
from programs import DISPLAYS
from waiting import until

from mkds_gym.errors import ViewerError
from mkds_gym.observer import EnvObserver
from mkds_gym.overlays import OVERLAYS, SceneRecorder, draw_overlays, make_overlays
from mkds_gym.overlays.scene import TRAIL_POINTS
from mkds_gym.viewer import Board, Bus, Publisher, RacePublisher, State, Status, Viewer, runs
from mkds_gym.viewer.__main__ import main
from mkds_gym.viewer.bus import Run, Shot, Tile
from mkds_gym.viewer.publisher import unpack_scene
from mkds_gym.viewer.shared import birth
from mkds_gym.viewer.window import ViewerWindow, colour_of, grid

# Publishing -------------------------------------------------------------------------------------


def test_the_published_picture_is_the_rendered_one() -> None:
    """In the step in which it is drawn, though the environment itself draws none."""
    for skip in (1, 2, 3, 4):
        plain: Any = gym.make("MKDS-v0", frame_skip=skip).unwrapped
        drawn: Any = gym.make("MKDS-v0", frame_skip=skip, render_mode="rgb_array").unwrapped
        with Viewer(plain, window=False) as viewer:
            assert viewer.folder is not None
            run = Run(viewer.folder)
            for env in (plain, drawn):
                env.reset(seed=0)
            known = compared = scenes = number = 0
            # Pictures come by the clock, however many steps that are.
            while number < 40 or compared < 3 or scenes < 2:
                number += 1
                assert number < 1000, "no more pictures come"
                run.watch(scenes=number >= 15)
                outcome = plain.step(0)
                expected = drawn.step(0)
                assert outcome[1:] == expected[1:]
                assert np.array_equal(outcome[0], expected[0])
                shot = run.tiles[0].shot(known)
                if shot is not None:
                    known = shot.number
                    compared += 1
                    assert np.array_equal(shot.picture, drawn.render())
                    assert shot.status.frame == plain.race.frame
                    assert shot.status.lap == plain.race.lap
                    if shot.scene:
                        scenes += 1
                        _, scene = unpack_scene(shot.scene)
                        assert scene.race.frame == plain.race.frame - 2
                        assert np.array_equal(
                            scene.trail[-1],
                            np.array([*scene.race.position, scene.race.speed], np.float32),
                        )
                        assert scene.trail.tolist() == unique(scene.trail.tolist())
            assert len(scene.trail) > 2
        plain.close()
        drawn.close()


def unique(points: list[list[float]]) -> list[list[float]]:
    """Without those that come twice, one after the other or with others between."""
    return [list(point) for point in dict.fromkeys(map(tuple, points))]


def test_publishing_is_quick_and_costs_nothing_unwatched() -> None:
    env: Any = gym.make("MKDS-v0").unwrapped
    with Viewer(env, window=False) as viewer:
        assert viewer.folder is not None
        run = Run(viewer.folder)
        env.reset(seed=0)
        for _ in range(20):
            env.step(0)
        assert run.tiles[0].shot() is None
        publisher = env.viewer
        assert not publisher.needs_picture
        run.watch()
        room = np.empty((192, 256, 3), np.uint8)
        publisher.show(env)  # opens the tile
        recorder = SceneRecorder()
        env.add_observer(recorder)
        for scene in (False, True):  # with a trail as long as it can be
            scenes = recorder if scene else None
            if scene:
                publisher._trail._end, publisher._trail._lap = TRAIL_POINTS, env.race.lap
                publisher.show(env, scenes)  # sends the course, once
            # Beside what taking the picture costs, in turns, as others on the machine slow both.
            ways: tuple[Callable[[], object], ...] = (
                lambda: env.console.screen("top", room),
                lambda scenes=scenes: publisher.show(env, scenes),  # type: ignore[misc]
            )
            picture: list[float] = []
            shown: list[float] = []
            for _ in range(200):
                for way, seconds in zip(ways, (picture, shown), strict=True):
                    start = time.thread_time()
                    way()
                    seconds.append(time.thread_time() - start)
            # Of the quicker ones, as others have the machine's caches half of the time.
            assert np.quantile(shown, 0.1) < (6 if scene else 3) * np.quantile(picture, 0.1)
            shot = run.tiles[0].shot()
            assert shot is not None
            assert bool(shot.scene) == scene
            if scene:
                assert len(unpack_scene(shot.scene)[1].trail) == TRAIL_POINTS
    env.close()


def test_scenes_come_when_asked_for_and_draw_as_in_the_environment() -> None:
    arguments: dict[str, Any] = {"mode": "vs", "items": True}
    plain: Any = gym.make("MKDS-v0", **arguments).unwrapped
    own: Any = gym.make(
        "MKDS-v0", render_mode="rgb_array", overlays=["hud", "objects"], **arguments
    )
    own = own.unwrapped
    with Viewer(plain, window=False) as viewer:
        assert viewer.folder is not None
        run = Run(viewer.folder)
        for env in (plain, own):
            env.reset(seed=3)
        compared = known = number = 0
        while compared < 3:  # pictures come by the clock, however many steps that are
            number += 1
            assert number < 1000, "no more pictures come"
            run.watch(scenes=number >= 15)  # in the middle of a race
            plain.step(0)
            own.step(0)
            shot = run.tiles[0].shot(known)
            if shot is None:
                continue
            known = shot.number
            assert bool(shot.scene) <= (number >= 15)
            if number < 20 or not shot.scene:
                continue
            fingerprint, scene = unpack_scene(shot.scene)
            course = run.tiles[0].course(fingerprint)
            overlays = make_overlays(["hud", "objects"])
            drawn = draw_overlays(overlays, shot.picture, scene, course)
            assert np.array_equal(drawn, own.render())
            compared += 1
        assert run.tiles[0].course(17) is None
        publisher = plain.viewer
        publisher._due = 0.0
        publisher.wanted = publisher.scenes_wanted = lambda now: False
        until(lambda: plain.step(0) and not publisher._sends_scenes, 5.0)
        assert plain.observers == (publisher,)
    plain.close()
    own.close()


def test_a_viewer_leaves_alone_what_others_asked_for() -> None:
    """Pictures and scenes: while it looks, when it looks no more, and when it is gone."""
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
        publisher = env.viewer

        def look(*, scenes: bool) -> None:
            publisher._due = 0.0
            run.watch(scenes=scenes)
            step()
            assert publisher._left  # it has asked for a picture

        for wanted in (False, True):
            look(scenes=wanted)
            run._wants[0] = run._wants[1] = 0.0
            for _ in range(3):
                publisher._due = 0.0
                step()
            shot = run.tiles[0].shot()
            assert shot is not None
            assert bool(shot.scene) == wanted
        # Nor do others take away what it has asked for.
        look(scenes=True)
        own.needs_picture = False
        env.remove_observer(scenes)
        env.step(0)
        drawn.step(0)
        newer = run.tiles[0].shot(shot.number)
        assert newer is not None
        assert newer.scene
        assert np.array_equal(newer.picture, drawn.render())
        own.needs_picture = True
        env.add_observer(scenes)
    for _ in range(3):
        step()
    env.close()
    drawn.close()


def test_a_restored_state_begins_anew_on_its_tile() -> None:
    env: Any = gym.make("MKDS-v0", truncate_on="clock:80").unwrapped
    with Viewer(env, window=False) as viewer:
        assert viewer.folder is not None
        run = Run(viewer.folder)
        env.reset(seed=0)
        early = env.clone_state()
        over = False
        while not over:
            run.watch(scenes=True)
            *_, over, _ = env.step(0)
        tile, far = run.tiles[0], env.race.position
        assert tile.state() == State.OVER
        env.restore_state(early)
        assert tile.state() == State.DRIVING
        seen, start = tile.shot(), env.race.position
        assert seen is not None
        rewards = 0.0
        while (shot := tile.shot(seen.number)) is None or not shot.scene:
            run.watch(scenes=True)
            rewards += env.step(0)[1]
        assert shot.status.episode == seen.status.episode + 1
        assert shot.status.score == pytest.approx(rewards)
        first = unpack_scene(shot.scene)[1].trail[0, :3]
        assert np.linalg.norm(first - start) < np.linalg.norm(first - far)
    env.close()


class _Broken:
    def __call__(self, metrics: Any) -> float:
        raise RuntimeError("on purpose")


def test_what_fails_while_publishing_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    env: Any = gym.make("MKDS-v0").unwrapped
    env.reset(seed=0)
    with Bus(2) as bus:
        run = Run(bus.folder)
        run.watch()
        for lane, scorer in enumerate((pickle.dumps(_Broken()), b"no pickle")):
            env.viewer = RacePublisher(bus.folder, lane, scorer)
            env.step(0)
            env.viewer.show(env)
            shot = run.tiles[lane].shot()
            assert shot is not None
            assert np.isnan(shot.status.score)
        assert run.tiles[0].state() == State.CLOSED
        # What overlays need cannot be sent: the pictures go on without, and with it again later.
        (bus.folder / "1.course").mkdir()
        known = 0
        for there in (False, False, True):
            if there:
                (bus.folder / "1.course").rmdir()
            env.viewer._record_scenes(env)
            env.viewer._sends_scenes = True
            env.viewer._left = 1
            env.step(0)
            shot = run.tiles[1].shot(known)
            assert shot is not None
            known = shot.number
            assert bool(shot.scene) == there
    env.viewer = RacePublisher(bus.folder, 1)
    env.reset(seed=0)
    env.step(0)
    env.close()
    said = [record.message for record in caplog.records if record.message.startswith("tile ")]
    assert len(said) == 2
    assert "tile 1 has no overlays: ViewerError: the course cannot be shown" in said[0]
    assert "tile 1 shows nothing more" in said[1]
    assert "is over" in said[1]


def test_a_lane_publishes_where_it_is_told_to() -> None:
    env: Any = gym.make("MKDS-v0", truncate_on=["clock:24"]).unwrapped

    def drive(seed: int) -> None:
        env.reset(seed=seed)
        over = False
        while not over:
            run.watch()
            over = any(env.step(0)[2:4])
            env.viewer._due = 0.0

    with Bus([3, 5], lanes=2) as bus:
        run = Run(bus.folder)
        env.viewer = pickle.loads(pickle.dumps(RacePublisher(bus.folder, 1, follows=True)))
        drive(0)  # nowhere, as long as nobody has said so
        assert [tile.state() for tile in run.tiles] == [State.WAITING] * 2
        bus.assign(1, 5, "driver 7 · " + 300 * "ö")
        drive(1)
        assert [tile.state() for tile in run.tiles] == [State.WAITING, State.OVER]
        shot = run.tiles[1].shot()
        assert shot is not None
        assert shot.status.label.startswith("driver 7 · öö")
        assert len(shot.status.label.encode()) in (239, 240)
        frames = run.tiles[1].frames
        assert frames > 0
        bus.assign(1, 3, "driver 8")
        drive(2)
        assert [tile.frames for tile in run.tiles] == [frames, frames]
        bus.assign(1, None)
        drive(3)
        assert [tile.frames for tile in run.tiles] == [frames, frames]
        # The label of a picture is that of its driver, whoever is told to drive next.
        bus.assign(1, 3, "driver 9")
        shot = run.tiles[0].shot()
        assert shot is not None
        assert shot.status.label == "driver 8"
        for lane, tile in ((2, 3), (-1, 3), (0, 4)):
            with pytest.raises(KeyError):
                bus.assign(lane, tile)
    env.close()


# Environments of all kinds ------------------------------------------------------------------------


def sb3(kind: str) -> Any:
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

    if kind == "sb3-dummy":
        return VecNormalize(make_vec_env("MKDS-v0", 2, vec_env_cls=DummyVecEnv))
    return make_vec_env(
        "MKDS-v0", 2, vec_env_cls=SubprocVecEnv, vec_env_kwargs={"start_method": "fork"}
    )


@pytest.mark.parametrize("kind", ["sync", "async", "native", "wrapped", "sb3-dummy", "sb3-subproc"])
def test_every_kind_of_vector_environment_is_shown(kind: str) -> None:
    if kind.startswith("sb3"):
        envs = sb3(kind)
        reset = envs.reset
    else:
        mode = {"native": None, "wrapped": "sync"}.get(kind, kind)
        envs = gym.make_vec("MKDS-v0", num_envs=2, vectorization_mode=mode)
        if kind == "wrapped":
            envs = gym.wrappers.vector.RecordEpisodeStatistics(envs)

        def reset() -> Any:
            return envs.reset(seed=0)

    with Viewer(envs, "1", title=f"all of {kind}", window=False) as viewer:
        assert viewer.folder is not None
        run = Run(viewer.folder)
        assert [tile.index for tile in run.tiles] == [1]
        assert viewer.folder in runs()
        reset()

        def step() -> Any:
            run.watch()
            envs.step(np.zeros(2, np.int64))
            return run.tiles[0].shot()

        until(step)
        shot = run.tiles[0].shot()
        assert shot is not None
        assert shot.picture.std() > 10.0
        assert run.tiles[0].state() == State.DRIVING
        viewer.caption(1, "mine")
        viewer.header("12 steps")
        for index, text, error in (
            (2, "none", ValueError),
            (-1, "", ValueError),
            (1, 5, TypeError),
        ):
            with pytest.raises(error, match=r"caption\(\)"):
                viewer.caption(index, text)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"header\(\)"):
            viewer.header(b"12 steps")  # type: ignore[arg-type]
        viewer.caption(np.int64(1), "mine")  # type: ignore[arg-type]
        assert run.board() == Board(f"all of {kind}", "12 steps", {1: "mine"}, "reward")
        if kind == "async":
            process = envs.processes[1]
            process.kill()
            until(lambda: run.tiles[0].state() == State.DEAD)
            envs.close(terminate=True)
            return
    assert not viewer.folder.exists()
    base: Any = envs if kind.startswith("sb3") else envs.unwrapped
    assert list(base.get_attr("viewer")) == [None, None]
    envs.step(np.zeros(2, np.int64))
    envs.close()


def test_a_viewer_that_is_closed_in_the_middle_of_a_step_leaves_nothing_behind() -> None:
    """By another thread's timer, say. Each publisher then goes in a step of its own."""

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

        def left() -> bool:
            envs.step([0, 0])
            return list(base.get_attr("viewer")) == [None, None]

        until(left)
        assert not viewer.folder.exists()
    envs.close()


def test_what_cannot_be_shown_is_refused() -> None:
    before = set(runs())
    other = gym.make("CartPole-v1")
    vector: Any = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
    processes = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="async")
    for envs in (other, vector, processes, 3):
        with pytest.raises(TypeError, match=r"MKDSEnv|cannot be shown"):
            Viewer(envs)
    # They are as they were.
    assert not hasattr(vector.envs[0].unwrapped, "viewer")
    processes.reset(seed=0)
    processes.close()
    for arguments, match in (
        ({"show": "0,2"}, r"outside 0\.\.1"),
        ({"scale": 0}, r"outside 1\.\.6"),
        ({"overlays": ["hat"]}, "unknown overlay 'hat'"),
    ):
        with pytest.raises(ValueError, match=match):
            Viewer(vector, **arguments)
    env = gym.make("MKDS-v0")
    for nobody in ("none", False, [False]):
        with Viewer(env, nobody) as viewer:
            assert viewer.folder is None
            assert viewer.window is None
            viewer.header("nobody reads it")
    assert set(runs()) <= before


# The window ---------------------------------------------------------------------------------------


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield
    pygame.quit()


def key(code: int, letter: str = "", mod: int = 0) -> Any:
    return pygame.event.Event(pygame.KEYDOWN, key=code, unicode=letter, mod=mod)


def pixels() -> Any:
    surface = pygame.display.get_surface()
    assert surface is not None
    return pygame.surfarray.array3d(surface).swapaxes(0, 1)


def contains(window: Any, picture: Any) -> bool:
    height, width = picture.shape[:2]
    corners = (window[:, :, 0] == picture[0, 0, 0]) & (window[:, :, 1] == picture[0, 0, 1])
    return any(
        np.array_equal(window[y : y + height, x : x + width], picture)
        for y, x in zip(*np.nonzero(corners), strict=True)
    )


def test_grids_are_near_square() -> None:
    shapes = {1: (1, 1), 2: (2, 1), 4: (2, 2), 5: (3, 2), 9: (3, 3), 13: (4, 4), 12: (4, 3)}
    assert {count: grid(count) for count in shapes} == shapes
    assert len({colour_of(index) for index in range(64)}) == 64


@pytest.mark.usefixtures("unseen")
def test_the_window_and_its_keys(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    pictures = [random.integers(0, 255, (192, 256, 3), np.uint8) for _ in range(3)]
    pictures[2][:] = np.where(pictures[2][:, :, :1] < 128, (255, 0, 0), (0, 0, 255))
    with Bus(3) as bus:
        publishers = [bus.publisher(index) for index in range(3)]
        for publisher, picture, score in zip(publishers, pictures, (1.0, 3.0, 2.0), strict=True):
            publisher.publish(picture, Status(frame=1, lap=1, score=score))
        bus.post(Board("a title", "generation 7", {0: "driver 5"}, "fitness"))
        window = ViewerWindow(bus.folder, scale=1, pictures=tmp_path)
        window.update()
        shown = pixels()
        assert all(contains(shown, picture) for picture in pictures)
        assert window._best() == 1
        assert pygame.display.get_caption()[0] == "a title"
        assert bus.watched
        for index in range(3):  # the frame of a tile, in its colour; the best is marked
            assert (shown == colour_of(index)).all(axis=2).sum() > 400
        assert (shown == (255, 205, 60)).all(axis=2).sum() > 1000
        # +, and every pixel is four.
        window.handle(key(pygame.K_PLUS, "+"))
        window.update()
        assert contains(pixels(), pictures[2].repeat(2, axis=0).repeat(2, axis=1))
        window.handle(key(pygame.K_MINUS, "-"))
        # Another size: still nearest neighbour, so that there are no new colours.
        pygame.display.set_mode((1000, 400), pygame.RESIZABLE)
        window.update()
        cell, inside = window._cells()[2], pygame.Rect(0, 0, 100, 60)
        inside.center = (cell.centerx, cell.y + 75)
        seen = pixels()[inside.top : inside.bottom, inside.left : inside.right].reshape(-1, 3)
        assert np.unique(seen, axis=0).tolist() == [[0, 0, 255], [255, 0, 0]]
        # A click enlarges, arrow keys go on, a click goes back.
        window.handle(pygame.event.Event(pygame.MOUSEBUTTONDOWN, button=1, pos=(700, 100)))
        assert (window._enlarged, window._chosen) == (1, 1)
        window.handle(key(pygame.K_RIGHT))
        assert window._enlarged == 2
        window.handle(key(pygame.K_RIGHT))
        assert window._enlarged == 2
        window.handle(key(pygame.K_UP))
        assert window._enlarged == 0
        window.update()
        window.handle(pygame.event.Event(pygame.MOUSEBUTTONDOWN, button=1, pos=(5, 50)))
        assert window._enlarged is None
        # Space freezes, and publishing goes on.
        window._rescale(0)
        window.handle(key(pygame.K_SPACE))
        window.update()
        frozen = pixels()
        publishers[0].publish(pictures[1], Status(frame=2, label="driver 6"))
        bus.post(Board("a title", "generation 8", {0: "driver 6"}, "fitness"))
        window.update()
        assert np.array_equal(pixels(), frozen)  # the words, too
        window.handle(key(pygame.K_TAB))
        window.update()
        assert "(from the next pictures on" in window._note[0]
        window.handle(key(pygame.K_TAB, mod=pygame.KMOD_LSHIFT))
        assert window._views[0].caption(window._board) == "driver 5"
        window.handle(key(pygame.K_SPACE))
        window._note = ("", 0.0)
        window.update()
        assert not contains(pixels(), pictures[0])
        assert window._views[0].caption(window._board) == "driver 6"
        assert window._views[2].caption(window._board) == "env 2"
        # One whose process stopped says so.
        view = window._views[0]
        publishers[0].count(4)
        for later, word in ((0.0, ""), (2.5, ""), (4.0, "no frame for 4 s")):
            view.look(1e6 + later)
            assert view.word == word
        publishers[0].count(4)
        view.look(1e6 + 4.5)
        assert view.word == ""
        publishers[0].say(State.OVER)
        view.look(1e6 + 99.0)
        assert view.word == "over"
        publishers[0].say(State.DRIVING)
        # What is too long ends in an ellipsis.
        for wide in (0, 3, 20, 100, 5000):
            text = window._fitting("driver 12345 · species 4", wide)
            assert window._font.size(text)[0] <= wide
            assert text in ("", "driver 12345 · species 4") or text.endswith("…")
        assert window._fitting("driver 12345 · species 4", 100).startswith("driver 1")
        window.update()
        # S saves what is seen.
        seen = pixels()
        window.handle(key(pygame.K_s))
        window.handle(key(pygame.K_s))
        files = sorted(tmp_path.glob("*.png"))
        assert len(files) == 2
        assert np.array_equal(np.asarray(Image.open(files[0]).convert("RGB")), seen)
        window._pictures = tmp_path / "no such folder"
        window.handle(key(pygame.K_s))
        assert "not saved" in window._note[0]
        # H, TAB through all overlays and back to none.
        helps = []
        for _ in range(2):
            window.handle(key(pygame.K_h))
            window.update()
            helps.append((pixels() == (44, 46, 56)).all(axis=2).sum())
        assert helps[0] > 10_000
        assert helps[1] < 100
        window._run._wants[1] = 0.0
        window.update()
        assert not window._run._wants[1]
        for name in (*OVERLAYS.names(), "none"):
            window.handle(key(pygame.K_TAB))
            assert window._note[0] == f"overlay: {name}"
            window.update()
        assert window._run._wants[1]
        # What is told covers no caption of the lower tiles.
        window._note = ("", 0.0)
        window.draw()
        untold = pixels()
        window._say("overlay: collision")
        window.draw()
        told = np.flatnonzero((pixels() != untold).any(axis=(1, 2)))
        assert 0 < told.max() < len(untold) / 4
        window.handle(key(pygame.K_TAB, mod=pygame.KMOD_LSHIFT))
        assert OVERLAYS.names()[-1] in window._note[0]
        window.handle(key(pygame.K_ESCAPE))
        assert window.closed
        window.close()


class _Bad:
    name = "bad"

    def draw(self, canvas: Any, scene: Any, course: Any) -> None:
        raise RuntimeError("on purpose")


@pytest.mark.usefixtures("unseen")
def test_an_overlay_that_fails_is_named_and_the_rest_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    env: Any = gym.make("MKDS-v0").unwrapped
    env.reset(seed=0)
    with Viewer(env, window=False) as viewer:
        assert viewer.folder is not None
        window = ViewerWindow(viewer.folder, overlays=["hud"])
        hud = window._overlays[0]
        window._overlays[0] = (_Bad(), *hud)
        view = window._views[0]

        def step() -> Any:
            window.update()
            env.step(0)
            return view.errors

        until(step)
        known = view.shot.number if view.shot is not None else 0
        until(lambda: step() and view.shot is not None and view.shot.number > known)
        said = "overlay 'bad' failed: RuntimeError: on purpose"
        assert view.errors == [said]
        messages = [record.message for record in caplog.records]
        assert messages.count(f"tile 0: {said}") == 1

        def shown() -> Any:
            canvas = pygame.Surface(view.picture.get_size())
            canvas.blit(view.picture, (0, 0))  # as the window does: it must not be transparent
            return pygame.surfarray.array3d(canvas).swapaxes(0, 1)

        # The other one is drawn.
        shot = view.shot
        assert shot is not None
        _, scene = unpack_scene(shot.scene)
        assert np.array_equal(shown(), draw_overlays(hud, shot.picture, scene, env.course))
        # The same picture with none, with the next one, in a window that is frozen.
        window.handle(key(pygame.K_SPACE))
        window.handle(key(pygame.K_TAB))
        window.update()
        assert view.errors == []
        assert np.array_equal(shown(), shot.picture)
        window.handle(key(pygame.K_TAB, mod=pygame.KMOD_LSHIFT))
        env.step(0)
        window.update()
        assert view.shot is shot
        assert np.array_equal(shown(), draw_overlays(hud, shot.picture, scene, env.course))
        # A scene that cannot be read, as another version's.
        view.shot = Shot(shot.number, shot.pixels, shot.status, b"no pickle")
        view.drawn = None
        window.update()
        assert view.errors[0].startswith("no overlays: UnpicklingError")
        assert np.array_equal(shown(), shot.picture)
        window.handle(key(pygame.K_SPACE))
    # Its run is over.
    until(lambda: (window.update(), window.closed)[1])  # type: ignore[func-returns-value]
    window.close()
    env.close()


def test_an_overlay_of_ones_own_is_found_by_the_windows_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the program that shows it lies in another folder than it was started in."""
    drawn = tmp_path / "drawn"
    module = f"""
        from pathlib import Path

        class Mark:
            name = "mark"

            def draw(self, canvas, scene, course):
                Path({str(drawn)!r}).touch()
    """
    (tmp_path / "own_overlays.py").write_text(textwrap.dedent(module))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gym.make("MKDS-v0", truncate_on=())
    env.reset(seed=0)
    with Viewer(env, overlays=["own_overlays.Mark"]):
        until(lambda: env.step(0) and drawn.exists())
    env.close()


def screen(display: str) -> Any:
    return np.asarray(ImageGrab.grab(xdisplay=display).convert("RGB"))


def test_a_window_that_is_killed_or_closed_harms_nothing(
    display: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    env: Any = gym.make("MKDS-v0")
    env.reset(seed=0)
    with Viewer(env) as viewer:
        assert viewer.folder is not None
        tile = Tile(viewer.folder, 0)
        until(lambda: env.step(0)[2:4] == (False, False) or env.reset())

        def step(until_number: int = 0) -> bool:
            if any(env.step(0)[2:4]):
                env.reset()
            shot = tile.shot()
            return shot is not None and shot.number > until_number

        until(step)
        shot = tile.shot()
        assert shot is not None
        # It is on the screen.
        until(lambda: step() and (screen(display) == colour_of(0)).all(axis=2).sum() > 500)
        window = viewer.window
        assert window is not None
        assert window.pid is not None
        os.kill(window.pid, signal.SIGKILL)
        until(lambda: not window.running)
        # The publisher rests when nobody has looked for a while.
        publisher = env.unwrapped.viewer
        until(lambda: step() and not publisher.wanted(time.monotonic()))
        for _ in range(20):
            step()
        shot = tile.shot()
        assert shot is not None
        step()
        assert tile.shot(shot.number) is None
        # Another window attaches to what goes on.
        with subprocess.Popen(
            [sys.executable, "-m", "mkds_gym.viewer", viewer.folder.name, "--overlays=hud"]
        ) as again:
            until(lambda: step(shot.number))
            viewer.close()
            assert again.wait(30) == 0
    env.close()


def test_a_run_that_is_killed_leaves_no_window_and_no_memory() -> None:
    program = """
        import time
        from mkds_gym.viewer import Bus, WindowProcess
        bus = Bus(1)
        window = WindowProcess(bus.folder)
        print(bus.folder, window.pid, flush=True)
        time.sleep(60)
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "SDL_VIDEODRIVER": "dummy"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    name, window = owner.stdout.readline().split()
    run = Run(Path(name))
    until(lambda: run._wants[0] > 0.0)  # the window looks
    owner.kill()
    until(lambda: not Path(name).exists() and birth(int(window)) is None)
    owner.communicate()


def test_ctrl_c_leaves_no_window_and_no_memory() -> None:
    """It reaches the workers too, in the middle of a step."""
    program = """
        import gymnasium as gym
        import numpy as np
        import mkds_gym
        from mkds_gym.viewer import Viewer
        envs = gym.make_vec("MKDS-v0", num_envs=2, vectorization_mode="async")
        with Viewer(envs) as viewer:
            envs.reset(seed=0)
            print(viewer.folder, viewer.window.pid, flush=True)
            while True:
                envs.step(np.zeros(2, np.int64))
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "SDL_VIDEODRIVER": "dummy"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        name, window = process.stdout.readline().split()
        run = Run(Path(name))
        until(lambda: run.tiles[0].shot())  # the window looks, and is given pictures
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert "resource_tracker" not in errors
    assert not Path(name).exists()
    assert birth(int(window)) is None


@pytest.mark.parametrize("name", [None, ":977"])
def test_without_a_display_the_viewer_says_so(
    name: str | None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for variable in DISPLAYS:
        monkeypatch.delenv(variable, raising=False)
    if name is not None:
        monkeypatch.setenv("DISPLAY", name)
    env = gym.make("MKDS-v0")
    with Viewer(env) as viewer:
        window = viewer.window
        assert window is not None
        until(lambda: not window.running)
        env.reset(seed=0)
        env.step(0)
    env.close()
    (said,) = capfd.readouterr().err.splitlines()
    assert "python -m mkds_gym.viewer: error: no" in said
    assert "the run goes on without its window" in said


@pytest.mark.usefixtures("unseen")
def test_the_command_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["no such run"]) == 1
    assert "there is no run 'no such run'" in capsys.readouterr().err
    # Wrong arguments are said to be wrong also where no run is going.
    for wrong, words in (
        ("--scale=9", "outside 1..6"),
        ("--scale=0", "outside 1..6"),
        ("--overlays=hat", "unknown overlay 'hat'"),
        ("--pictures=nowhere", "--pictures nowhere: is no folder"),
    ):
        with pytest.raises(SystemExit) as left:
            main(["no such run", wrong])
        assert left.value.code == 2
        assert words in capsys.readouterr().err
    with Bus(1, label="mine") as bus:
        assert main(["--list"]) == 0
        assert bus.folder.name in capsys.readouterr().out.split()
        with monkeypatch.context() as without:
            without.setitem(sys.modules, "pygame", None)
            assert main([bus.folder.name]) == 1
        assert "needs pygame-ce: pip install 'mkds-gym[human]'" in capsys.readouterr().err
        old = Publisher(bus.folder, 0)
        segment = Tile(bus.folder, 0)
        assert (segment.width, segment.height) == (256, 192)
        (bus.folder / "0").write_bytes(bytes(8192))
        assert main([bus.folder.name]) == 1
        assert "another version" in capsys.readouterr().err
        with pytest.raises(ViewerError, match="another version"):
            old.open()
