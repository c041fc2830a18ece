"""`Player`: a person drives a console in a window."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mkds_gym.components.sensors import Sensor, ray_angles
from mkds_gym.display.window import DEFAULT_SCALE, Window
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_gym.emulator.states.rewind import Rewind
from mkds_gym.errors import MKDSError, OverlayError, RecordingError, reason
from mkds_gym.overlays import (
    OVERLAYS,
    LiveRace,
    LiveReward,
    OverlayLike,
    draw_overlays,
    make_overlays,
)
from mkds_gym.recording.recorder import ConsoleRecorder
from mkds_gym.starts import keep_start

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
"""Key of the keyboard (pygame's constant without K_), key of the console, and its use."""

COMMANDS: Final[tuple[tuple[str, str], ...]] = (
    ("r", "rewind, while held"),
    ("p", "pause"),
    ("F5", "save the state"),
    ("F9", "load the state"),
    ("k", "keep the race start, on the grid"),
    ("F12", "screenshot"),
    ("TAB", "both screens, upper, lower"),
    ("o", "next overlay"),
    ("PLUS", "larger"),
    ("MINUS", "smaller"),
    ("h", "this help"),
    ("ESCAPE", "quit"),
)
"""Key of the keyboard and its use in the window."""

REWIND_INTERVAL: Final = 12
"""Frames between two points in time that the player can rewind to."""
REWIND_SECONDS: Final = 60
REWIND_LIMIT: Final = 256 << 20
"""Memory for these points, in bytes."""
REWIND_PICTURES: Final = 6
"""Pictures per point while rewinding, which runs at twice the speed."""
SAVED_EVERY: Final = 600
"""Recorded frames between two automatic saves. The process dies if the display server ends."""
MESSAGE_PICTURES: Final = 150
"""Pictures for which a message is shown."""
STICK_THRESHOLD: Final = 0.45
"""Position of a stick or trigger, 0 to 1, from which it counts as pressed."""
SCREEN_CHOICES: Final = ("both", "top", "bottom")
"""Values of ``--screens``, in the order in which TAB switches."""


class Player:
    """A window in which a person drives a console with keyboard or gamepad.

    Args:
        console: the console; it is not closed.
        save_path: file that F5 writes and F9 reads.
        scale: screen pixels per console pixel.
        screens: ``"both"``, ``"top"`` or ``"bottom"``.
        pictures: folder for screenshots; None is the current folder.
        rewind_seconds: seconds that the player can rewind; 0 disables rewinding.
        recorder: records the frames; rewound frames are removed from the recording.
        record: file to which the recording is saved from time to time.
        overlays: overlays drawn at first, see `mkds_gym.overlays`.
        reward: reward that overlays show.
        sensors: sensors whose rays overlays show; without sensors, the rays of ``seed6``.

    Attributes:
        console: the console.
        rewind: the points in time that the player can rewind to; None if disabled.
        window: the window.
        live: the race that overlays show; None until an overlay is chosen.
        paused: whether the game is paused.
        message: the last message shown.

    Raises:
        ConsoleError: pygame-ce is not installed.
        ValueError, TypeError: unknown overlay.
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
        self._writer = ThreadPoolExecutor(1, "save")  # saving takes longer than a picture
        self._writing: Future[None] | None = None
        chosen = make_overlays(overlays)
        self._overlays = [
            *([chosen] if chosen else []),
            (),
            *(make_overlays(name) for name in OVERLAYS.names()),
        ]
        self._overlay = 0
        self.live = LiveRace(console) if chosen else None
        self._reward = reward
        self._ray_angles = ray_angles(sensors)
        self.window = Window(
            f"{console.cartridge.title} - H for help",
            FRAMES_PER_SECOND,
            scale,
            on_event=self._on_event,
            wanted_by="mkds_gym.play",
            instead="play on a display (DISPLAY or WAYLAND_DISPLAY names it)",
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
        self._tapped = 0  # pressed since the last frame, perhaps already released
        self._fonts: dict[int, Any] = {}
        self._keys: dict[int, Keys] = {self._code(name): key for name, key, _ in KEYBOARD}
        actions: dict[str, Callable[[], None]] = {
            "p": self._pause,
            "F5": self._save,
            "F9": self._load,
            "k": self._keep_start,
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
        """Return the name of a key on the keyboard."""
        shown: str = self._pygame.key.name(self._code(name))
        return shown

    @property
    def keys(self) -> int:
        """Keys for the next frame, a mask of `Keys`: those held and those tapped."""
        mask = self._tapped
        for key in self._held.values():
            mask |= int(key)
        return mask

    def run(self) -> None:
        """Play until the window is closed or `stop` is called."""
        while not (self.window.closed or self._stopped):
            self.frame()

    def stop(self) -> None:
        """Let `run` return after the current frame. May be called by a signal handler."""
        self._stopped = True

    def frame(self) -> None:
        """Show one picture: run a frame, rewind, or nothing while paused.

        Raises:
            ConsoleError: the window cannot be opened or seen.
        """
        if self._rewinding:
            self._step_back()
        elif not self.paused or self._picture is None:
            self._step()
        self._tapped = 0
        picture = self._picture = self._render()
        notes: list[Callable[[Any], None]] = []
        if self._help:
            notes.append(self._draw_help)
        elif self._message_left or self.paused or self._rewinding:
            notes.append(self._draw_message)
        self._message_left = max(self._message_left - 1, 0)
        self.window.show(picture, notes)
        if not self._controllers.get_init() and not self.window.closed:
            self._controllers.init()  # sends an event for each gamepad

    def _render(self) -> NDArray[np.uint8]:
        """Return the picture with overlays."""
        picture = self.console.screen(self._screens)
        overlays = self._overlays[self._overlay]
        if not overlays or self.live is None or self._screens == "bottom":
            return picture
        reward = self._reward
        scene = self.live.scene(
            reward=None if reward is None else reward.reward,
            terms=None if reward is None else reward.terms,
            ray_angles=self._ray_angles,
        )
        if scene is None:
            return picture
        assert self.live.course is not None
        try:
            return draw_overlays(overlays, picture, scene, self.live.course)
        except OverlayError as error:  # a custom overlay failed: switch it off
            self._show_message(str(error))
            self._overlay = self._overlays.index(())
            return picture

    # Frames -----------------------------------------------------------------------------

    def _step(self) -> None:
        keys = self.keys
        self.console.step(keys)
        if self._recorder is not None:
            self._recorder.step(keys)
            self._save_recording(self._recorder)
        if self.live is not None:
            race = self.live.frame(keys)
            if self._reward is not None:
                self._reward.frame(race, self.live.course)
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
                self._show_message(str(error))
        if self._record is None or self._unsaved < SAVED_EVERY:
            return
        self._unsaved = 0
        self._writing = self._writer.submit(recorder.recording().save, self._record)

    def finish(self) -> None:
        """Wait for pending writes. Call this after the last frame."""
        self._writer.shutdown()

    def _step_back(self) -> None:
        if self.rewind is None:
            self._show_message("rewinding is disabled")
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

    # Input ------------------------------------------------------------------------------

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
            self._show_message(f"gamepad: {pad.name}")
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

    def _show_message(self, message: str) -> None:
        self.message, self._message_left = message, MESSAGE_PICTURES

    def _pause(self) -> None:
        self.paused = not self.paused

    def _toggle_help(self) -> None:
        self._help = not self._help

    def _switch_screens(self) -> None:
        self._screens = SCREEN_CHOICES[
            (SCREEN_CHOICES.index(self._screens) + 1) % len(SCREEN_CHOICES)
        ]

    def _next_overlay(self) -> None:
        self._overlay = (self._overlay + 1) % len(self._overlays)
        overlays = self._overlays[self._overlay]
        if self.live is None and overlays:
            self.live = LiveRace(self.console)
        self._show_message(f"overlay: {', '.join(each.name for each in overlays) or 'none'}")

    def _restart_overlays(self) -> None:
        """Restart overlays and reward after a jump to another state."""
        if self.live is not None:
            self.live.restart()
        if self._reward is not None:
            self._reward.restart()

    def _save(self) -> None:
        try:
            self.console.save_state(self._save_path)
        except MKDSError as error:
            self._show_message(str(error))
        else:
            self._show_message(f"saved to {self._save_path}")

    def _keep_start(self) -> None:
        try:
            start = keep_start(self.console)
        except MKDSError as error:
            self._show_message(str(error))
        else:
            self._show_message(f"kept: {start}")

    def _load(self) -> None:
        try:
            self.console.load_state(self._save_path)
        except MKDSError as error:
            self._show_message(str(error))
            return
        self._restart_overlays()
        if self.rewind is not None:
            self.rewind.clear()
        if self._recorder is not None:
            self._recorder.loaded()
            self._show_message(f"loaded {self._save_path}; the recording starts here now")
            return
        self._show_message(f"loaded {self._save_path}")

    def _screenshot(self) -> None:
        if self._picture is None:
            return
        stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{self.console.frame_count}"
        path = self._folder / f"{self.console.cartridge.title.lower()}-{stamp}.png"
        try:
            Image.fromarray(self._picture).save(path)
        except OSError as error:
            self._show_message(f"cannot write {path}: {reason(error)}")
        else:
            self._show_message(f"screenshot saved to {path}")

    # Text over the picture --------------------------------------------------------------

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
            message = "paused - P continues, H shows help"
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
            ("gamepad", "", "stick or D-pad steers, A accelerates, B brakes,"),
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
    """Break a text into lines that fit; words that are too long are split."""
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
