"""Drive yourself: ``python -m mkds_gym.play`` opens a window (needs pygame-ce).

Without arguments the cartridge shows its own menu; an argument that chooses a race starts it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mkds_gym.components.sensors import Sensor, make_sensors, ray_angles
from mkds_gym.display.window import DEFAULT_SCALE, MAX_SCALE, Window
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_gym.emulator.loader import installed_build_id
from mkds_gym.emulator.rewind import Rewind
from mkds_gym.emulator.state_file import pack_state, read_state
from mkds_gym.episodes.race_config import COURSE_SETS, MAX_OPPONENTS, RaceArguments, RaceConfig
from mkds_gym.errors import MKDSError, OverlayError, RecordingError, reason
from mkds_gym.kartlab.boot import CLASSES, MODES, STRENGTHS
from mkds_gym.overlays import (
    OVERLAYS,
    LiveRace,
    LiveReward,
    OverlayLike,
    draw_overlays,
    make_overlays,
)
from mkds_gym.recording.format import SUFFIX, Recording, Start, boot_digest
from mkds_gym.recording.recorder import ConsoleRecorder
from mkds_gym.utils.files import free_path, same_file

KEYBOARD: Final[tuple[tuple[str, Keys, str], ...]] = (
    ("UP", Keys.UP, "menus; in the air, fly shorter"),
    ("DOWN", Keys.DOWN, "menus; in the air, fall faster"),
    ("LEFT", Keys.LEFT, "steer"),
    ("RIGHT", Keys.RIGHT, "steer"),
    ("x", Keys.A, "accelerate"),
    ("z", Keys.B, "brake, reverse"),
    ("s", Keys.X, ""),
    ("a", Keys.Y, ""),
    ("q", Keys.L, "use an item"),
    ("w", Keys.R, "hop, drift"),
    ("RETURN", Keys.START, "pause of the game"),
    ("RSHIFT", Keys.SELECT, ""),
)
"""Key of the keyboard (pygame's constant, without K_), of the console, and what it does there."""

COMMANDS: Final[tuple[tuple[str, str], ...]] = (
    ("r", "rewind, while held"),
    ("p", "pause"),
    ("F5", "save the state"),
    ("F9", "load it"),
    ("F12", "screenshot"),
    ("TAB", "both screens, the upper, the lower"),
    ("o", "next overlay"),
    ("PLUS", "larger"),
    ("MINUS", "smaller"),
    ("h", "this help"),
    ("ESCAPE", "quit"),
)
"""Key of the keyboard, likewise, and what it does to the window."""

REWIND_INTERVAL: Final = 12
"""Frames between two points that one can rewind to."""
REWIND_SECONDS: Final = 60
REWIND_LIMIT: Final = 256 << 20
"""Bytes of memory that they may take up."""
REWIND_PICTURES: Final = 6
"""Pictures for which each of those points is shown: twice as fast as it was driven."""
SAVED_EVERY: Final = 600
"""Recorded frames after which the recording is saved: a display server that goes takes the process
with it at once, and nobody can catch that."""
MESSAGE_PICTURES: Final = 150
"""Pictures for which a message stays."""
STICK_THRESHOLD: Final = 0.45
"""How far a stick (or trigger) must be moved to count as pressed, of 1."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SCREENS: Final = ("both", "top", "bottom")
_PROGRAM: Final = "python -m mkds_gym.play"


class Player:
    """A console, a window, and a person.

    Args:
        console: what is played; it is not closed.
        save_path: the file that F5 writes and F9 reads.
        scale: screen pixels per console pixel.
        screens: ``"both"``, ``"top"`` or ``"bottom"``.
        pictures: folder for screenshots.
        rewind_seconds: how far back one can rewind; 0 is not at all.
        recorder: records what is driven; what is rewound was not driven.
        record: the file that the recording is saved to now and then.
        overlays: drawn over the picture at first, see `mkds_gym.overlays`.
        reward: what they tell of it.
        sensors: whose rays they show; without any, those of ``seed6``.

    Attributes:
        console: as given.
        rewind: what can be gone back to.
        window: where it is shown.
        paused: nothing moves.
        message: what the person is told last.

    Raises:
        ConsoleError: pygame-ce is not installed.
        ValueError, TypeError: there is no such overlay.
    """

    def __init__(
        self,
        console: Console,
        *,
        save_path: Path,
        scale: int = DEFAULT_SCALE,
        screens: str = "both",
        pictures: Path | None = None,
        rewind_seconds: float = REWIND_SECONDS,
        recorder: ConsoleRecorder | None = None,
        record: Path | None = None,
        overlays: OverlayLike | Sequence[OverlayLike] = (),
        reward: LiveReward | None = None,
        sensors: Sequence[Sensor] = (),
    ) -> None:
        self.console = console
        self._recorder = recorder
        self._record = record
        self._unsaved = 0
        self._writer = ThreadPoolExecutor(1, "save")  # a long recording takes several pictures
        self._writing: Future[None] | None = None
        chosen = make_overlays(overlays)
        self._overlays = [
            *([chosen] if chosen else []),
            (),
            *(make_overlays(name) for name in OVERLAYS.names()),
        ]
        self._overlay = 0
        self._live = LiveRace(console) if chosen else None
        self._reward = reward
        self._ray_angles = ray_angles(sensors)
        self.window = Window(
            f"{console.cartridge.title} - H for help",
            FRAMES_PER_SECOND,
            scale,
            on_event=self._on_event,
            wanted_by="mkds_gym.play",
            instead="play under a display (DISPLAY or WAYLAND_DISPLAY names it)",
            must_be_seen=True,
        )
        import pygame
        import pygame._sdl2.controller as controllers

        self._pygame: Any = pygame
        self._controllers: Any = controllers
        self._pads: dict[int, Any] = {}
        self._save_path = save_path
        self._folder = Path() if pictures is None else pictures
        self._screens = screens
        length = int(rewind_seconds * FRAMES_PER_SECOND / REWIND_INTERVAL)
        self.rewind = Rewind(length, REWIND_LIMIT) if length > 0 else None
        self.paused = False
        self.message = ""
        self._message_left = 0
        self._help = False
        self._stopped = False
        self._rewinding = False
        self._pictures_back = 0
        self._since_push = 0
        self._picture: NDArray[np.uint8] | None = None
        self._held: dict[object, Keys] = {}
        self._tapped = 0  # pressed since the last frame, and perhaps let go already
        self._fonts: dict[int, Any] = {}
        self._keys: dict[int, Keys] = {self._code(name): key for name, key, _ in KEYBOARD}
        actions: dict[str, Callable[[], None]] = {
            "p": self._pause,
            "F5": self._save,
            "F9": self._load,
            "F12": self._screenshot,
            "TAB": self._switch_screens,
            "o": self._next_overlay,
            "h": self._toggle_help,
        }
        self._actions = {self._code(name): act for name, act in actions.items()}
        self._rewind_key = pygame.K_r
        self._buttons = {
            pygame.CONTROLLER_BUTTON_A: Keys.A,
            pygame.CONTROLLER_BUTTON_B: Keys.B,
            pygame.CONTROLLER_BUTTON_X: Keys.Y,
            pygame.CONTROLLER_BUTTON_Y: Keys.X,
            pygame.CONTROLLER_BUTTON_LEFTSHOULDER: Keys.L,
            pygame.CONTROLLER_BUTTON_RIGHTSHOULDER: Keys.R,
            pygame.CONTROLLER_BUTTON_START: Keys.START,
            pygame.CONTROLLER_BUTTON_BACK: Keys.SELECT,
            pygame.CONTROLLER_BUTTON_DPAD_UP: Keys.UP,
            pygame.CONTROLLER_BUTTON_DPAD_DOWN: Keys.DOWN,
            pygame.CONTROLLER_BUTTON_DPAD_LEFT: Keys.LEFT,
            pygame.CONTROLLER_BUTTON_DPAD_RIGHT: Keys.RIGHT,
        }

    def _code(self, name: str) -> int:
        code: int = getattr(self._pygame, f"K_{name}")
        return code

    def _name(self, name: str) -> str:
        """A key as it is called on the keyboard."""
        shown: str = self._pygame.key.name(self._code(name))
        return shown

    @property
    def keys(self) -> int:
        """The console's keys for the next frame, a mask of `Keys`: those held, and those tapped."""
        mask = self._tapped
        for key in self._held.values():
            mask |= int(key)
        return mask

    def run(self) -> None:
        """Play until the window is closed, or `stop` is called."""
        while not (self.window.closed or self._stopped):
            self.frame()

    def stop(self) -> None:
        """Have `run` return after this frame; may be called by a signal's handler."""
        self._stopped = True

    def frame(self) -> None:
        """One picture: a frame of the console, or a step back, or nothing if it is paused.

        Raises:
            ConsoleError: no window can be opened, or nobody could see it.
        """
        if self._rewinding:
            self._step_back()
        elif not self.paused or self._picture is None:
            self._step()
        self._tapped = 0
        picture = self._picture = self._look()
        notes: list[Callable[[Any], None]] = []
        if self._help:
            notes.append(self._draw_help)
        elif self._message_left or self.paused or self._rewinding:
            notes.append(self._draw_message)
        self._message_left = max(self._message_left - 1, 0)
        self.window.show(picture, notes)
        if not self._controllers.get_init() and not self.window.closed:
            self._controllers.init()  # finds the pads that are there, and tells of each

    def _look(self) -> NDArray[np.uint8]:
        """The picture, with the overlays."""
        picture = self.console.screen(self._screens)
        overlays = self._overlays[self._overlay]
        if not overlays or self._live is None or self._screens == "bottom":
            return picture
        paid = self._reward
        scene = self._live.scene(
            reward=None if paid is None else paid.reward,
            terms=None if paid is None else paid.terms,
            ray_angles=self._ray_angles,
        )
        if scene is None:
            return picture
        assert self._live.course is not None
        try:
            return draw_overlays(overlays, picture, scene, self._live.course)
        except OverlayError as error:  # one of the person's own: it is not tried again
            self._tell(str(error))
            self._overlay = self._overlays.index(())
            return picture

    # What happens in a picture's time ---------------------------------------------------

    def _step(self) -> None:
        keys = self.keys
        self.console.step(keys)
        if self._recorder is not None:
            self._recorder.step(keys)
            self._save_recording(self._recorder)
        if self._live is not None:
            race = self._live.frame(keys)
            if self._reward is not None:
                self._reward.frame(race, self._live.course)
        if self.rewind is None:
            return
        self._since_push += 1
        if self._since_push >= REWIND_INTERVAL or not len(self.rewind):
            self.rewind.push(self.console.snapshot())
            self._since_push = 0

    def _save_recording(self, recorder: ConsoleRecorder) -> None:
        self._unsaved += 1
        if self._writing is not None:
            if not self._writing.done():
                return
            written, self._writing = self._writing, None
            try:
                written.result()
            except RecordingError as error:
                self._tell(str(error))
        if self._record is None or self._unsaved < SAVED_EVERY:
            return
        self._unsaved = 0
        self._writing = self._writer.submit(recorder.recording().save, self._record)

    def finish(self) -> None:
        """Wait until nothing is written any more; nothing is recorded after it."""
        self._writer.shutdown()

    def _step_back(self) -> None:
        if self.rewind is None:
            self._tell("rewinding is switched off")
            return
        if self._pictures_back % REWIND_PICTURES == 0:
            snapshot = self.rewind.back()
            if snapshot is not None:
                self.console.restore(snapshot)
                self._since_push = 0
                self._restart_overlays()
                if self._recorder is not None:
                    self._recorder.rewound()
        self._pictures_back += 1

    # What the person wants --------------------------------------------------------------

    def _on_event(self, event: Any) -> None:
        pygame = self._pygame
        kind = event.type
        if kind == pygame.KEYDOWN:
            if event.key in self._keys:
                self._hold(event.key, self._keys[event.key])
            elif event.key == self._rewind_key:
                self._set_rewinding(True)
            elif event.key in self._actions:
                self._actions[event.key]()
        elif kind == pygame.KEYUP:
            self._held.pop(event.key, None)
            if event.key == self._rewind_key:
                self._set_rewinding(False)
        elif kind == pygame.WINDOWFOCUSLOST:
            self._held.clear()
            self._tapped = 0
            self._set_rewinding(False)
        elif kind == pygame.CONTROLLERDEVICEADDED:
            pad = self._controllers.Controller(event.device_index)
            self._pads[pad.as_joystick().get_instance_id()] = pad
            self._tell(f"gamepad: {pad.name}")
        elif kind == pygame.CONTROLLERDEVICEREMOVED:
            self._pads.pop(event.instance_id, None)
            self._held.clear()
        elif kind == pygame.CONTROLLERBUTTONDOWN:
            if event.button in self._buttons:
                self._hold(("button", event.button), self._buttons[event.button])
        elif kind == pygame.CONTROLLERBUTTONUP:
            self._held.pop(("button", event.button), None)
        elif kind == pygame.CONTROLLERAXISMOTION:
            self._on_axis(event.axis, event.value / 32768)

    def _hold(self, what: object, key: Keys) -> None:
        self._held[what] = key
        self._tapped |= int(key)

    def _on_axis(self, axis: int, value: float) -> None:
        pygame = self._pygame
        sticks = {
            pygame.CONTROLLER_AXIS_LEFTX: (Keys.LEFT, Keys.RIGHT),
            pygame.CONTROLLER_AXIS_LEFTY: (Keys.UP, Keys.DOWN),
            pygame.CONTROLLER_AXIS_TRIGGERRIGHT: (Keys.R, Keys.R),
        }
        if axis == pygame.CONTROLLER_AXIS_TRIGGERLEFT:
            self._set_rewinding(value > STICK_THRESHOLD)
        elif axis in sticks:
            self._held.pop(("axis", axis), None)
            if abs(value) > STICK_THRESHOLD:
                self._held["axis", axis] = sticks[axis][value > 0]

    def _set_rewinding(self, on: bool) -> None:
        if on and not self._rewinding:
            self._pictures_back = 0
        self._rewinding = on

    def _tell(self, message: str) -> None:
        self.message, self._message_left = message, MESSAGE_PICTURES

    def _pause(self) -> None:
        self.paused = not self.paused

    def _toggle_help(self) -> None:
        self._help = not self._help

    def _switch_screens(self) -> None:
        self._screens = _SCREENS[(_SCREENS.index(self._screens) + 1) % len(_SCREENS)]

    def _next_overlay(self) -> None:
        self._overlay = (self._overlay + 1) % len(self._overlays)
        overlays = self._overlays[self._overlay]
        if self._live is None and overlays:
            self._live = LiveRace(self.console)
        self._tell(f"overlay: {', '.join(each.name for each in overlays) or 'none'}")

    def _restart_overlays(self) -> None:
        """The console is at another state now."""
        if self._live is not None:
            self._live.restart()
        if self._reward is not None:
            self._reward.restart()

    def _save(self) -> None:
        try:
            self.console.save_state(self._save_path)
        except MKDSError as error:
            self._tell(str(error))
        else:
            self._tell(f"saved to {self._save_path}")

    def _load(self) -> None:
        try:
            self.console.load_state(self._save_path)
        except MKDSError as error:
            self._tell(str(error))
            return
        self._restart_overlays()
        if self.rewind is not None:
            self.rewind.clear()
        if self._recorder is not None:
            self._recorder.loaded()
            self._tell(f"loaded {self._save_path}; the recording begins here now")
            return
        self._tell(f"loaded {self._save_path}")

    def _screenshot(self) -> None:
        if self._picture is None:
            return
        stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{self.console.frame_count}"
        path = self._folder / f"{self.console.cartridge.title.lower()}-{stamp}.png"
        try:
            Image.fromarray(self._picture).save(path)
        except OSError as error:
            self._tell(f"cannot write {path}: {reason(error)}")
        else:
            self._tell(f"picture in {path}")

    # What is drawn over the picture -----------------------------------------------------

    def _text(self, size: int, text: str) -> Any:
        pygame = self._pygame
        if not pygame.font.get_init():
            pygame.font.init()
            self._fonts.clear()
        font = self._fonts.setdefault(size, None) or pygame.font.Font(None, size)
        self._fonts[size] = font
        return font.render(text, True, (255, 255, 255))

    def _panel(self, surface: Any, area: Any) -> None:
        panel = self._pygame.Surface(area.size, self._pygame.SRCALPHA)
        panel.fill((0, 0, 0, 215))
        surface.blit(panel, area)

    def _draw_message(self, surface: Any) -> None:
        if self._rewinding:
            message = self.message if self.rewind is None else "rewinding"
        elif self._message_left:
            message = self.message
        else:
            message = "paused - P goes on, H is help"
        width = surface.get_width()
        size = 12 + 4 * self.window.scale
        lines = _wrapped(message, lambda text: self._text(size, text).get_width() <= width - 12)
        rendered = [self._text(size, line) for line in lines]
        height = sum(line.get_height() for line in rendered) + 8
        self._panel(surface, self._pygame.Rect(0, 0, width, height))
        y = 4
        for line in rendered:
            surface.blit(line, (6, y))
            y += line.get_height()

    def _draw_help(self, surface: Any) -> None:
        width, height = surface.get_size()
        rows = [
            *((self._name(name), key.name or "", what) for name, key, what in KEYBOARD),
            *((self._name(name), "", what) for name, what in COMMANDS),
            ("", "", ""),
            ("gamepad", "", "stick or pad steers, A accelerates, B brakes,"),
            ("", "", "right trigger drifts, left trigger rewinds"),
        ]
        self._panel(surface, self._pygame.Rect(0, 0, width, height))
        line = (height - 8) // len(rows)
        size = min(line + 4, 10 + 6 * self.window.scale)
        for number, row in enumerate(rows):
            for text, share in zip(row, (0.04, 0.3, 0.45 if row[1] else 0.3), strict=True):
                if text:
                    surface.blit(self._text(size, text), (int(width * share), 4 + number * line))


def _wrapped(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Lines of a text, each of which fits; a word that is too long is cut."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if fits(longer):
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and not fits(lines[-1] + letter):
                lines.append("")
            lines[-1] += letter
    return lines


# The command line -----------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Drive with keyboard or gamepad. Without arguments the cartridge shows its "
        "menu; an argument of the race starts that race. H shows the keys. There is no sound.",
    )
    race = parser.add_argument_group(
        "the race (Kartlab only)", "Named as MKDS-v0's arguments; two have a shorter name as well."
    )
    race.add_argument("--course", metavar="NAME", help="a course's name, or random")
    race.add_argument("--course-seed", type=int, metavar="N", help="which random course")
    race.add_argument("--difficulty", type=float, metavar="D", help="of random courses, 0 to 1")
    race.add_argument("--course-set", choices=COURSE_SETS, help="a random course of that set")
    race.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="of what is left to chance, as that of reset(): which random course, and a VS race",
    )
    race.add_argument("--laps", type=int, metavar="N", help="1 to 9")
    race.add_argument(
        "--engine-class", "--class", type=int, choices=tuple(CLASSES), help="engine, cc"
    )
    race.add_argument("--mirror", action="store_true", default=None, help="exchange left and right")
    race.add_argument("--mode", choices=tuple(MODES))
    race.add_argument("--opponents", type=int, metavar="N", help=f"0 to {MAX_OPPONENTS}, in vs")
    race.add_argument("--opponent-strength", "--strength", choices=tuple(STRENGTHS))
    race.add_argument("--items", action="store_true", default=None, help="item boxes, in vs")
    parser.add_argument("--rom", metavar="FILE", help="a cartridge of your own")
    parser.add_argument("--state", metavar="FILE", help="savestate to start from")
    parser.add_argument(
        "--save",
        type=Path,
        default=Path("play.state"),
        metavar="FILE",
        help="what F5 saves to and F9 loads; default: %(default)s",
    )
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="record what is driven (.mkr), for python -m mkds_gym.replay; if there is that file, "
        "the next free name (FILE-2 and so on)",
    )
    parser.add_argument(
        "--overlays", metavar="A,B", default="", help="such as rays,hud; O for more"
    )
    parser.add_argument("--reward", metavar="NAME", help="that the overlay hud tells")
    parser.add_argument(
        "--sensors", metavar="A,B", default="", help="whose rays overlays show, such as rays:15"
    )
    parser.add_argument(
        "--scale",
        type=int,
        default=DEFAULT_SCALE,
        choices=range(1, MAX_SCALE + 1),
        metavar=f"1-{MAX_SCALE}",
        help="screen pixels per console pixel; default: %(default)s",
    )
    parser.add_argument("--screens", choices=_SCREENS, default="both")
    parser.add_argument(
        "--rewind",
        type=float,
        default=REWIND_SECONDS,
        metavar="SECONDS",
        help="how far back R can go; default: %(default)s, 0 switches it off",
    )
    return parser


_NO_CHANCE: Final = (
    "--seed {}: nothing is left to chance; it is for --mode vs, --course random and --course-set"
)


@contextlib.contextmanager
def _stopped_by_signals(player: Player) -> Iterator[list[int]]:
    """Signals that end the process end the game after this frame; gives those that came."""
    came: list[int] = []

    def stop(number: int, _: Any) -> None:
        came.append(number)
        player.stop()

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {each: signal.signal(each, stop) for each in _SIGNALS}
    try:
        yield came
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _keep(recording: Recording, path: Path) -> int:
    """Write a recording, elsewhere if it cannot be written there.

    Returns:
        What the command returns.

    Raises:
        RecordingError: nor elsewhere.
    """
    try:
        recording.save(path)
    except RecordingError as error:
        place = Path(tempfile.mkdtemp(prefix="mkds-")) / f"{path.stem}{SUFFIX}"
        recording.save(place)
        print(f"{_PROGRAM}: error: {error}; the recording is in {place}", file=sys.stderr)
        return 1
    print(f"{recording.describe()}: {path}")
    return 0


def _console(options: argparse.Namespace) -> tuple[Console, Start, bytes | None]:
    """The console that is asked for, at its start; which start that is; its state, if need be.

    A recording names the savestate that it starts at. F5 would write over that one here, so that
    the recording has to hold it.
    """
    cartridge = Cartridge.open(options.rom)
    wanted = {
        field.name: getattr(options, field.name)
        for field in fields(RaceArguments)
        if getattr(options, field.name) is not None
    }
    on_power_on = None
    start, held = Start("power_on"), None
    if wanted:
        races = RaceConfig(cartridge, RaceArguments(**wanted), has_state=options.state is not None)
        # In the order of an environment's reset.
        chance = np.random.default_rng(options.seed)
        course_seed = races.draw_course_seed(chance)
        parameters = replace(races.boot_parameters(course_seed), skip_countdown=False)
        race_seed = int(chance.integers(1 << 32)) if races.has_race_seed else None
        if race_seed is not None:
            parameters = replace(parameters, seed=race_seed)
        elif options.seed is not None and (course_seed is None or options.course_seed is not None):
            raise ValueError(_NO_CHANCE.format(options.seed))
        on_power_on = parameters.write
        start = Start(
            "power_on",
            race=vars(races.arguments),
            course_seed=course_seed,
            race_seed=race_seed,
            countdown=True,
            digest=boot_digest(parameters),
        )
    elif options.seed is not None:
        raise ValueError(_NO_CHANCE.format(options.seed))
    if options.state is not None:
        read_state(options.state, cartridge, installed_build_id())
    console = Console(cartridge, on_power_on=on_power_on)
    if options.state is not None:
        console.load_state(options.state)
        snapshot = console.snapshot()
        start = Start(
            "state",
            digest=hashlib.sha256(snapshot.data).hexdigest(),
            path=str(Path(options.state).resolve()),
            frame=console.frame_count,
        )
        if same_file(options.state, options.save):
            start, held = replace(start, path=None), pack_state(snapshot)
    return console, start, held


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words behind the command; None takes the process's own.

    Returns:
        0; 1 when there is nothing to play, or no window to play in, or the recording had to be
        written elsewhere; 128 and its number after a signal (Ctrl-C is 130).
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if not 0 <= options.rewind <= 600:
        parser.error(f"--rewind {options.rewind}: allowed: 0 to 600 seconds")
    if options.save.is_dir() or not options.save.parent.is_dir():
        parser.error(f"--save {options.save}: is not a file in an existing directory")
    record = options.record
    if record is not None and (record.is_dir() or not record.parent.is_dir()):
        parser.error(f"--record {record}: is not a file in an existing directory")
    if record is not None and record.suffix.lower() != SUFFIX:
        parser.error(f"--record {record}: the suffix of a recording is {SUFFIX}")
    for written, other in (
        ("record", "save"),
        ("record", "state"),
        ("record", "rom"),
        ("save", "rom"),
    ):
        paths = getattr(options, written), getattr(options, other)
        if None not in paths and same_file(*paths):
            parser.error(f"--{written} {paths[0]}: is the file of --{other}; choose another name")
    if record is not None:
        record = free_path(record)  # what was recorded before stays
    left = 0
    try:
        overlays = [name for name in options.overlays.split(",") if name]
        make_overlays(overlays)
        reward = None if options.reward is None else LiveReward(options.reward)
        sensors = make_sensors([name for name in options.sensors.split(",") if name])
        console, start, held = _console(options)
        with console:
            recorder = None if record is None else ConsoleRecorder(console, start, state=held)
            player = Player(
                console,
                save_path=options.save,
                scale=options.scale,
                screens=options.screens,
                rewind_seconds=options.rewind,
                recorder=recorder,
                record=record,
                overlays=overlays,
                reward=reward,
                sensors=sensors,
            )
            with _stopped_by_signals(player) as came:
                try:
                    player.run()
                finally:
                    player.window.close()
                    player.finish()  # else it may come after what is written now
                    if recorder is not None and recorder.frames:
                        left = _keep(recorder.recording(), record)
            if came:
                return 128 + came[0]
    except (MKDSError, ValueError, TypeError) as error:
        print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return left
