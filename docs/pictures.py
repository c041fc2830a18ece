"""Make the pictures of README and docs: ``python docs/pictures.py [FOLDER]``.

The same cartridge gives the same pictures.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import imageio.v2
import matplotlib as mpl
import numpy as np
import pygame
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageGrab
from rich.console import Console as RichConsole

import mkds_gym  # noqa: F401  registers MKDS-v0
from mkds_gym.components.scorers import SCORERS
from mkds_gym.course import Course
from mkds_gym.drivers.pure_pursuit import PurePursuit
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_gym.episodes.race_config import boot_to_race
from mkds_gym.kartlab import COURSE_DIRECTORY
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.kartlab.compiler import compile_course, compile_description
from mkds_gym.kartlab.generator import generate
from mkds_gym.kartlab.preview import MARGIN, PROFILE, SIDE
from mkds_gym.kartlab.preview import draw as preview
from mkds_gym.overlays import OVERLAYS, SceneRecorder, draw_overlays, make_overlays
from mkds_gym.play.player import Player
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.names import COURSES
from mkds_gym.race.reader import RaceReader
from mkds_gym.recording.recorder import Recorder
from mkds_gym.replay.__main__ import main as replay
from mkds_gym.viewer import Board, Bus, RacePublisher, Run, runs
from mkds_gym.viewer.window import ViewerWindow
from mkds_neat import plots
from mkds_neat.config import load_config
from mkds_neat.episode import EpisodeRecord
from mkds_neat.evolution import Evolution
from mkds_neat.networks import NetworkSpec, Node
from mkds_neat.race import main as race_champions
from mkds_neat.report import write_page
from mkds_neat.results import Champion, RunFolder
from mkds_neat.terminal import Status, StatusArea

mpl.use("Agg")
from matplotlib import pyplot as plt

logger = logging.getLogger("pictures")

STRAIGHT, LEFT, RIGHT = 0, 1, 2
MOMENTS: Final = (0.02, 0.17, 0.43, 0.68)
"""Fractions of the lap in the strip."""
PLAYED: Final = 700
"""Frames driven before the picture of `mkds_gym.play`'s window."""
PLAYED_WITH: Final = ("rays", "hud", "objects")
"""Overlays in that picture."""
GAP: Final = 6
"""Pixels between the pictures of a row."""
LOADING: Final = 40
"""Frames in which a course is loaded."""
PAUSE_FRAME: Final = 240
"""Frame of the race clock at which the race is paused."""
MAP_SIZE: Final = 640
"""Longer side of the course's map, in pixels."""
COURSE_MOMENTS: Final = {
    "airship_course": (0.12, 0.72),
    "cross_course": (0.058, 0.9),
    "desert_course": (0.245, 0.8125),
    "ridge_course": (0.4375, 0.8125),
}
"""Fractions of the lap in a course's picture; 0.1 and 0.5 on other courses."""
REPLAYED: Final = {"ada": 0.6, "ben": 0.68, "cyd": 1.0}
"""Pace of each driver in the replays, the slowest first."""
REPLAYED_FRAMES: Final = 520
"""Frames of the race clock in each replay."""
TILES: Final = (1, 4, 9, 13)
VIEWER_STEPS: Final = 60
"""Steps of the first driver in the viewer's picture; each other driver has eight more."""
EVOLVING: Final = 4
"""Workers of the evolution in the picture."""
EVOLVED: Final = 1
"""Generation in the picture."""
EVOLVED_LAPS: Final = 0.03
"""Least laps of each driver in the picture."""
REPORTED: Final = 8
"""Generations of the run in the picture of a report."""
PAGE: Final = (1320, 3575)
"""Width and height of the page in that picture, in pixels: all before its metrics."""
CONFIG: Final = Path(__file__).parent.parent / "examples" / "first_finish.ini"
OVERLAY_SEED: Final = 1
OVERLAY_MOMENT: Final = ("mario_course", 570, 0)
"""Course, frames driven, and frames of turning after them, for most overlays."""
OVERLAY_MOMENTS: Final = {
    "checkpoint": ("desert_course", 500, 0),
    "objects": ("airship_course", 300, 0),
    "trail": ("mario_course", 600, 140),
}
"""The same for overlays with little to show at that moment."""
DRAWN_BEFORE: Final = 4
"""Frames drawn before a picture: the emulator decides two frames ahead what to draw."""
RANDOM_COURSES: Final = ((0, 0.0), (3, 0.0), (7, 0.5), (12, 0.5), (26, 1.0), (41, 1.0))
"""Seed and difficulty of the random courses on the sheet, two in a column."""
SHEET_TILE: Final = (420, 380)
"""Largest size of each, in pixels."""
COLOURS: Final = {
    0: (112, 112, 112),
    1: (150, 186, 214),
    6: (228, 234, 242),
    7: (255, 150, 20),
    12: (60, 140, 250),
    2: (176, 200, 96),
    3: (222, 194, 128),
    5: (138, 98, 62),
    8: (70, 118, 196),
}
"""Colour of each surface on the map, by KCL type. Other surfaces are not drawn."""


def drive() -> tuple[list[NDArray[np.uint8]], list[NDArray[np.float32]], list[Any], Course]:
    """Drive a lap and return the pictures, observations and races of its steps, and the course."""
    env: Any = gym.make(
        "MKDS-v0",
        laps=1,
        obs_type=["seed6", "checkpoints:2"],
        render_mode="rgb_array",
        screens="both",
    )
    pictures, observations, races = [], [], []
    observation, info = env.reset(seed=0)
    over = False
    while not over:
        pictures.append(env.render())
        observations.append(observation[:6])
        races.append(env.unwrapped.race)
        sine = observation[-1]  # of the bearing of the checkpoint after next
        action = LEFT if sine > 0.1 else RIGHT if sine < -0.1 else STRAIGHT
        observation, _, terminated, truncated, info = env.step(action)
        over = terminated or truncated
    course = env.unwrapped.course
    env.close()
    if not info["is_success"]:
        raise SystemExit(f"the driver did not finish: {info}")
    return pictures, observations, races, course


def meet() -> list[NDArray[np.uint8]]:
    """Press keys as a player does and return pictures of title, menu, pause and result."""
    pictures: list[NDArray[np.uint8]] = []
    layout = MemoryLayout()
    with Console() as console:

        def press(*keys: Keys, wait: int = LOADING) -> None:
            for key in keys:
                console.step(key, 2)
                console.step(0, 4)
            console.step(0, wait)

        def show() -> None:
            console.step(0, 1)
            pictures.append(console.screen("both"))

        press(wait=4 * LOADING)
        show()
        press(Keys.START)
        press(Keys.R)  # another course
        press(Keys.DOWN, Keys.RIGHT, Keys.DOWN, Keys.DOWN, Keys.RIGHT)  # VS, one lap
        show()
        press(Keys.START, wait=2 * LOADING)
        reader = RaceReader(console.ram, layout)
        course, driver = Course.from_ram(console.ram, layout), PurePursuit()
        while not (state := reader.read()).finished:
            console.step(driver.keys(state, course))
            if state.frame == PAUSE_FRAME and len(pictures) == 2:
                press(Keys.START)
                show()
                press(Keys.START, wait=1)
        console.step(0, 300)
        show()
    return pictures


def play() -> list[NDArray[np.uint8]]:
    """Return the window of `mkds_gym.play` with overlays, and with its help."""
    os.environ["SDL_VIDEODRIVER"] = "dummy"  # a window without a display
    boot = BootParameters(mode="vs", drivers=8, strength="easy", items=True, seed=7)
    with Console(on_power_on=boot.write) as console:
        boot_to_race(console, boot)
        reader, driver = RaceReader(console.ram), PurePursuit()
        course = Course.from_ram(console.ram, MemoryLayout.detect(console.ram))
        for _ in range(PLAYED):
            console.step(driver.keys(reader.read(), course), draw=False)
        player = Player(console, save_path=Path("play.state"), overlays=PLAYED_WITH)

        def show(key: int) -> NDArray[np.uint8]:
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
            for _ in range(DRAWN_BEFORE):
                player.frame()
            pygame.event.post(pygame.event.Event(pygame.KEYUP, key=key))
            return player.window.grab()

        for _ in range(DRAWN_BEFORE):
            player.frame()
        pictures = [player.window.grab(), show(pygame.K_h)]
        player.window.close()
        return pictures


def row(pictures: Sequence[NDArray[np.uint8]], *, down: bool = False) -> Image.Image:
    """Join pictures of one size, side by side or one below another."""
    height, width, _ = pictures[0].shape
    count = len(pictures)
    across, along = (1, count) if down else (count, 1)
    size = (across * (width + GAP) - GAP, along * (height + GAP) - GAP)
    image = Image.new("RGB", size, (255, 255, 255))
    for number, picture in enumerate(pictures):
        place = number * ((height if down else width) + GAP)
        image.paste(Image.fromarray(picture), (0, place) if down else (place, 0))
    return image


def strip(pictures: Sequence[NDArray[np.uint8]]) -> Image.Image:
    """Join both screens at `MOMENTS` of the lap."""
    return row([pictures[int(moment * len(pictures))] for moment in MOMENTS])


def course_map(course: Course, races: Sequence[Any]) -> Image.Image:
    """Draw the course from above, with its checkpoints and the driven way."""
    triangles = course.kcl.triangles[:, :, [0, 2]]
    kinds = course.kcl.types
    shown = np.isin(kinds, list(COLOURS))
    low = triangles[shown].min(axis=(0, 1))
    high = triangles[shown].max(axis=(0, 1))
    scale = (MAP_SIZE - 16) / float((high - low).max()) * 2  # drawn twice as large, then halved
    size = tuple(int(v) for v in (high - low) * scale + 32)
    image = Image.new("RGB", size, (198, 222, 240))
    draw = ImageDraw.Draw(image)

    def place(points: Any) -> list[tuple[float, float]]:
        return [(float(x), float(y)) for x, y in (np.asarray(points) - low) * scale + 16]

    # Walls last: seen from above they are lines.
    for kind in sorted(COLOURS, key=lambda k: k == 8):
        for triangle in triangles[kinds == kind]:
            if kind == 8:
                draw.line(place(triangle), fill=COLOURS[kind], width=4)
            else:
                draw.polygon(place(triangle), fill=COLOURS[kind], outline=COLOURS[kind])
    track = course.track
    for index, ends in enumerate(zip(track.left, track.right, strict=True)):
        colour = (220, 40, 40) if index == track.start else (240, 240, 240)
        draw.line(place(ends), fill=colour, width=6 if index == track.start else 2)
    way = [(race.position[0], race.position[2]) for race in races]
    draw.line(place(way), fill=(20, 20, 20), width=5, joint="curve")
    return image.resize((size[0] // 2, size[1] // 2), Image.Resampling.LANCZOS)


def course_picture(name: str) -> Image.Image:
    """Join two moments of a lap and the course from above with the driven way."""
    parameters = BootParameters(
        course=next(number for number, known in COURSES.items() if known == name), laps=1
    )
    with Console(on_power_on=parameters.write) as console:
        boot_to_race(console, parameters)
        course = Course.from_cartridge(console.cartridge, name)
        reader, driver = RaceReader(console.ram), PurePursuit()
        state = reader.read()
        states, shots, wanted = [state], [], list(COURSE_MOMENTS.get(name, (0.1, 0.5)))
        pending = 0
        while not state.finished and len(states) < 8000:
            console.step(driver.keys(state, course), 1, draw=pending > 0)
            state = reader.read()
            states.append(state)
            if pending:
                pending -= 1
                if not pending:
                    shots.append(console.screen("top").copy())
            elif wanted and state.race_progress >= wanted[0]:
                pending = DRAWN_BEFORE
                del wanted[0]
    if not state.finished:
        raise SystemExit(f"the driver did not finish on {name}")
    plan = course_map(course, states)
    height = shots[0].shape[0]
    plan.thumbnail((MAP_SIZE, height), Image.Resampling.LANCZOS)
    pieces = [*(Image.fromarray(shot) for shot in shots), plan]
    width = sum(piece.width for piece in pieces) + GAP * (len(pieces) - 1)
    image = Image.new("RGB", (width, height), (255, 255, 255))
    left = 0
    for piece in pieces:
        image.paste(piece, (left, (height - piece.height) // 2))
        left += piece.width + GAP
    return image


def random_courses() -> Image.Image:
    """Join previews of random courses, harder from left to right."""
    width, height = SHEET_TILE
    sheet = Image.new("RGB", (3 * width + 2 * GAP, 2 * height + GAP), (255, 255, 255))
    for number, (seed, difficulty) in enumerate(RANDOM_COURSES):
        plan = preview(compile_description(generate(seed, difficulty)))
        # The map alone: title, legend and profile are illegible at this size.
        left, top = (round(part) for part in plan.corner)
        tile = plan.image().crop(
            (
                left,
                top,
                plan.width - round(SIDE + 2 * MARGIN),
                plan.height - round(PROFILE + 2 * MARGIN),
            )
        )
        tile.thumbnail(SHEET_TILE, Image.Resampling.LANCZOS)
        left = number // 2 * (width + GAP) + (width - tile.width) // 2
        top = number % 2 * (height + GAP) + (height - tile.height) // 2
        sheet.paste(tile, (left, top))
    return sheet


def sensor_plot(observations: Sequence[NDArray[np.float32]], file: Path) -> None:
    """Plot the six numbers of ``seed6`` over the lap."""
    values = np.array(observations)
    seconds = np.arange(len(values)) * 4 / FRAMES_PER_SECOND
    figure, axes = plt.subplots(2, 1, figsize=(8, 3.6), sharex=True, layout="constrained")
    for name, column in (("ahead", 0), ("left", 1), ("right", 2)):
        axes[0].plot(seconds, values[:, column], label=name, linewidth=1)
    for name, column in (("checkpoint_cos", 3), ("checkpoint_sin", 4)):
        axes[1].plot(seconds, values[:, column], label=name, linewidth=1)
    for axis in axes:
        axis.set_ylim(-1.1, 1.1)
        axis.legend(loc="lower right", fontsize="x-small", ncols=3)
        axis.grid(alpha=0.3)
    axes[1].set_xlabel("seconds")
    figure.savefig(file, dpi=80, metadata={"Software": None})
    plt.close(figure)


def save(image: Image.Image, file: Path, colours: int) -> None:
    """Write a PNG with a palette of the given number of colours."""
    image.quantize(colours, dither=Image.Dither.NONE).save(file, optimize=True)
    logger.info("%s: %d bytes", file, file.stat().st_size)


def overlays() -> list[NDArray[np.uint8]]:
    """Return a picture for each overlay, in the order of their numbers."""
    moments = {name: OVERLAY_MOMENTS.get(name, OVERLAY_MOMENT) for name in OVERLAYS}
    drawn = {}
    for moment in dict.fromkeys(moments.values()):
        names = [name for name, own in moments.items() if own == moment]
        drawn.update(overlays_at(*moment, names))
    return [drawn[name] for name in OVERLAYS]


def overlays_at(
    course: str, frames: int, turning: int, names: Sequence[str]
) -> dict[str, NDArray[np.uint8]]:
    """Return one moment of a race with each of the named overlays."""
    env: Any = gym.make(
        "MKDS-v0",
        course=course,
        mode="vs",
        items=True,
        obs_type=["rays:9"],
        action_type="keymask",
        render_mode="rgb_array",
        frame_skip=1,
    ).unwrapped
    try:
        scenes = SceneRecorder()
        env.add_observer(scenes)
        env.reset(seed=OVERLAY_SEED)
        driver = PurePursuit()
        for _ in range(frames):
            env.step(driver.keys(env.race, env.course))
        for _ in range(turning):
            env.step(int(Keys.A | Keys.R | Keys.LEFT))
        picture, scene = env.render(), scenes.scene_of(env)
        return {
            name: draw_overlays(make_overlays(name), picture, scene, env.course) for name in names
        }
    finally:
        env.close()


def viewer() -> dict[int, NDArray[np.uint8]]:
    """Return the viewer's window by number of tiles."""
    if "DISPLAY" not in os.environ:
        os.environ["SDL_VIDEODRIVER"] = "dummy"
    names = sorted(path.stem for path in COURSE_DIRECTORY.glob("*.toml"))
    courses = [{"course": names[lane % len(names)]} for lane in range(max(TILES))]
    windows = {}
    scorer = pickle.dumps(SCORERS.make("distance"))
    with gym.make_vec(
        "MKDS-v0",
        num_envs=len(courses),
        env_kwargs=courses,
        mode="vs",
        obs_type=["seed6", "rays:9"],
        action_type="keymask",
        render_mode="rgb_array",
    ) as envs:
        lanes: list[Any] = [env.unwrapped for env in envs.envs]
        scenes = [SceneRecorder() for _ in lanes]
        for env, recorder in zip(lanes, scenes, strict=True):
            env.add_observer(recorder)
        envs.reset(seed=0)
        drivers = [PurePursuit() for _ in lanes]
        last = VIEWER_STEPS + 8 * (len(lanes) - 1)
        for step in range(last):
            pairs = zip(drivers, lanes, strict=True)
            keys = [int(driver.keys(env.race, env.course)) for driver, env in pairs]
            # The first drivers wait, so the drivers are in different places.
            moving = np.array([step >= last - VIEWER_STEPS - 8 * n for n in range(len(lanes))])
            envs.step(np.array(keys), step_mask=moving)
        for count in TILES:
            with Bus(count) as shown:
                for lane in range(count):
                    publisher = RacePublisher(shown.folder, lane, scorer)
                    publisher.show(lanes[lane], scenes[lane])
                words = {lane: names[lane % len(names)] for lane in range(count)}
                shown.post(
                    Board(header="pure pursuit on every course", captions=words, score="distance")
                )
                window = ViewerWindow(
                    shown.folder,
                    scale=2 if count == 1 else 1,
                    overlays=["rays", "checkpoint", "hud"] if count == 1 else (),
                )
                window.update()
                surface = pygame.display.get_surface()
                assert surface is not None
                windows[count] = pygame.surfarray.array3d(surface).swapaxes(0, 1).copy()
                window.close()
    return windows


def evolution(folder: Path) -> Image.Image | None:
    """Return a screenshot of an evolution with ``--show all``, or None without a display.

    Args:
        folder: Folder for the run.
    """
    display = os.environ.get("DISPLAY")
    if not display:
        logger.warning("no display, so no picture of an evolution: run this with xvfb-run")
        return None
    command = [sys.executable, "-m", "mkds_neat.run", str(CONFIG), "--show=all", "--quiet"]
    command += ["--no-pictures", "--stop-when=never", f"--workers={EVOLVING}"]
    command += ["--drivers-per-console=1"]
    environment = {k: v for k, v in os.environ.items() if k != "SDL_VIDEODRIVER"}
    process = subprocess.Popen(
        [*command, f"--output={folder / 'run'}"],
        env={**environment, "SDL_VIDEO_WINDOW_POS": "0,0"},
        stdout=subprocess.DEVNULL,
    )
    try:
        shown: Run | None = None
        while process.poll() is None:
            time.sleep(0.1)
            if shown is None:
                going = [run for run in runs() if f"-{process.pid}-" in run.name]
                shown = Run(going[0]) if going else None
                continue
            shots = [tile.shot() for tile in shown.tiles]
            if all(
                shot is not None and shot.status.progress > EVOLVED_LAPS for shot in shots
            ) and shown.board().header.startswith(f"generation {EVOLVED}"):
                screen = ImageGrab.grab(xdisplay=display).convert("RGB")
                return screen.crop(screen.getbbox())
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    raise SystemExit("the evolution ended before its picture was taken")


def replays(folder: Path) -> None:
    """Record a few drivers and export the replays with `mkds_gym.replay`."""
    with tempfile.TemporaryDirectory() as name:
        there = Path(name)
        for driver, pace in REPLAYED.items():
            pursuit = PurePursuit(pace)
            env: Any = gym.make(
                "MKDS-v0",
                course="cross_course",
                action_type="keymask",
                truncate_on=f"clock:{REPLAYED_FRAMES}",
            )
            recorder = Recorder(env, label=driver)
            env.reset()
            over = False
            while not over:
                keys = pursuit.keys(env.unwrapped.race, env.unwrapped.course)
                _, _, terminated, truncated, _ = env.step(keys)
                over = terminated or truncated
            recorder.recording().save(there / f"{driver}.mkr")
            env.close()
        ada, ben, cyd = (str(there / f"{driver}.mkr") for driver in REPLAYED)
        for arguments, option, file in (
            ([cyd, "--overlays", "rays,controller", "--pictures", "8"], "--sheet", "replay.png"),
            ([ada, ben, cyd, "--ghosts", "--pictures", "4"], "--sheet", "ghosts.png"),
            ([ada, cyd, "--pictures", "4"], "--sheet", "side.png"),
            ([ada, ben, cyd, "--ghosts", "--speed", "4"], "--gif", "ghosts.gif"),
        ):
            if replay([*arguments, option, str(there / file)]):
                raise SystemExit(f"mkds_gym.replay did not write {file}")
            if option == "--sheet":
                with Image.open(there / file) as sheet:
                    save(sheet, folder / file, 128)
            else:
                shutil.copy(there / file, folder / file)
                logger.info("%s: %d bytes", folder / file, (folder / file).stat().st_size)


def terminal(file: Path) -> None:
    """Draw the live area of a run, with two lines above it, as SVG."""
    network = NetworkSpec((-1,), (0,), (Node(0),), ())
    record = EpisodeRecord(finished=True, lap_times=(36.65, 35.02, 34.9), race_time=106.57)
    status = Status(
        generation=7,
        generations=100,
        done=31,
        individuals=50,
        species=5,
        best=9218.4,
        mean=3410.7,
        seconds_left=1042,
        champion=Champion(287, 5, 9218.4, "neat", {}, network, "MKDS-v0", {}, 0, record),
        fastest_lap=34.9,
    )
    console = RichConsole(file=io.StringIO(), record=True, force_terminal=True, width=80)
    for generation, best, mean in ((5, 9218.4, 2988.1), (6, 9218.4, 3102.5)):
        console.print(
            f"generation   {generation}: best {best}, mean {mean}, 5 species, 1 finished",
            highlight=False,
        )
    console.print(StatusArea(status, 83, 17_940, 0.93))
    # Without the fonts that a browser would load from elsewhere.
    drawn = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="mkds-evolve"), flags=re.S)
    file.write_text(drawn, encoding="utf-8")
    logger.info("%s: %d bytes", file, file.stat().st_size)


def race(folder: Path) -> Image.Image:
    """Return a picture of two champions side by side, and one of both in one race."""
    runs = []
    for name in ("neat", "truncation"):
        changes = {"strategy": name}
        changes |= {"output": str(folder / name), "generations": "4", "stop_when": "never"}
        changes |= {"vectorization": "native", "workers": "2"}
        config = load_config(CONFIG, changes)
        with RunFolder.create(config.run.output, config.text) as made:
            Evolution(config, made, progress=False).run()
            runs.append(str(made.path))
    rows = []
    for arguments in ([], ["--versus", "--view", "2"]):
        video = folder / "race.mp4"
        options = ["--frames", "900", "--scale", "1", "--no-window", "--overlays", "hud"]
        if race_champions([*runs, *options, *arguments, "--video", str(video)]) != 0:
            raise RuntimeError("the race failed")
        pictures = list(imageio.v2.get_reader(video).iter_data())
        rows.append(np.asarray(pictures[len(pictures) * 2 // 3]))
    width = max(picture.shape[1] for picture in rows)
    padded = [np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0))) for picture in rows]
    return Image.fromarray(np.concatenate(padded))


def report(folder: Path) -> None:
    """Evolve drivers, and save pictures of the page about them and of a plot."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "mkds_neat.run", str(CONFIG), "--quiet", "--no-pictures"]
        command += ["--stop-when=never", f"--generations={REPORTED}", "--output=runs/first_finish"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=name)
        report_of(Path(name), folder)


def report_of(there: Path, folder: Path) -> None:
    """Save pictures of the page about the run ``runs/first_finish`` in a folder, and of a plot."""
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if browser is None:
        logger.warning("no Chromium, so no picture of a report")
        return
    target, before = folder.resolve(), Path.cwd()
    os.chdir(there)  # the page shows the path of the run
    try:
        page = write_page("runs/first_finish")
        shot = page.with_suffix(".png").resolve()
        command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--window-size={PAGE[0]},{PAGE[1]}", f"--screenshot={shot}"]
        command += ["--virtual-time-budget=5000", page.resolve().as_uri()]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        with Image.open(shot) as image:
            small = image.convert("RGB")
            small.thumbnail((PAGE[0] * 4 // 7, PAGE[1]), Image.Resampling.LANCZOS)
            save(small, target / "report.png", 192)
        plots.racing_line("runs/first_finish", lap=2).figure.savefig(shot, dpi=130)
        with Image.open(shot) as image:
            save(image.convert("RGB"), target / "racing_line.png", 256)
    finally:
        os.chdir(before)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Make the pictures of README and docs.")
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path(__file__).parent / "images",
        help="folder to write to",
    )
    parser.add_argument(
        "--viewer", action="store_true", help="make only the pictures of the viewer"
    )
    parser.add_argument("--replays", action="store_true", help="make only the pictures of replays")
    parser.add_argument(
        "--runs", action="store_true", help="make only the pictures of a terminal and of a race"
    )
    parser.add_argument("--report", action="store_true", help="make only the pictures of a report")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder.mkdir(parents=True, exist_ok=True)
    if not (arguments.viewer or arguments.replays or arguments.report):
        terminal(folder / "terminal.svg")
        with tempfile.TemporaryDirectory() as place:
            save(race(Path(place)), folder / "champions.png", 128)
    if arguments.runs:
        return
    if not (arguments.viewer or arguments.replays):
        report(folder)
    if arguments.report:
        return
    if not arguments.viewer:
        replays(folder)
    if arguments.replays:
        return
    for count, window in viewer().items():
        save(Image.fromarray(window), folder / f"viewer{count}.png", 256)
    with tempfile.TemporaryDirectory() as place:
        seen = evolution(Path(place))
    if seen is not None:
        save(seen, folder / "viewer_evolution.png", 256)
    if arguments.viewer:
        return
    pictures, observations, races, course = drive()
    save(strip(pictures), folder / "race.png", 128)
    save(row(meet()), folder / "menu.png", 128)
    save(row(play()), folder / "play.png", 192)
    save(course_map(course, races), folder / "course.png", 64)
    plan = preview(compile_course(COURSE_DIRECTORY / "desert_course.toml"))
    save(plan.image(), folder / "preview.png", 256)
    drawn = overlays()
    half = len(drawn) // 2
    rows = [row(drawn[:half]), row(drawn[half:])]
    save(row([np.array(image) for image in rows], down=True), folder / "overlays.png", 128)
    save(random_courses(), folder / "random.png", 192)
    (folder / "courses").mkdir(exist_ok=True)
    for name in sorted(path.stem for path in COURSE_DIRECTORY.glob("*.toml")):
        save(course_picture(name), folder / "courses" / f"{name}.png", 128)
    plot = folder / "seed6.png"
    sensor_plot(observations, plot)
    logger.info("%s: %d bytes", plot, plot.stat().st_size)


if __name__ == "__main__":
    main()
