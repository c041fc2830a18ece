"""The window: all tiles of a run, near-square, each with its caption (pygame-ce).

It runs in a process of its own, and only reads: neither its pace, nor an overlay, nor its end
matters to who publishes.
"""

from __future__ import annotations

import colorsys
import logging
import math
import time
from bisect import bisect
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mkds_gym.display.window import import_pygame, open_display
from mkds_gym.emulator.hardware import RGB_OF_COLOURS
from mkds_gym.errors import OverlayError, ViewerError, reason
from mkds_gym.overlays import OVERLAYS, Overlay, draw_overlays, make_overlays
from mkds_gym.viewer.bus import Board, Run, Shot, State, Status, Tile, runs
from mkds_gym.viewer.publisher import PICTURES_PER_SECOND, unpack_scene

_log = logging.getLogger(__name__)

MAX_SCALE: Final = 6
HELP: Final = (
    ("click, arrow keys", "enlarge a tile; click again for all"),
    ("TAB, shift TAB", "next overlay, the one before"),
    ("space", "freeze the picture (the run goes on)"),
    ("S", "save it as PNG"),
    ("+ -", "scale"),
    ("H", "this help"),
    ("ESC", "close the window (the run goes on)"),
)
_CHECK: Final = 0.25
"""Seconds between looks whether the run goes on, and what has become of its processes."""
_STALLED: Final = 3.0
"""Seconds without a frame after which a driving tile says so."""
_NOTE_SECONDS: Final = 4.0
_FONT: Final = 15
_LINE: Final = 17
_BORDER: Final = 3
_HEADER: Final = 24
_GAP: Final = 4
_BACK: Final = (24, 25, 30)
_INK: Final = (226, 228, 232)
_DIM: Final = (150, 153, 160)
_GOLD: Final = (255, 205, 60)
_RED: Final = (255, 90, 80)
_NO_DISPLAY: Final = "the run goes on without its window"

Colour: TypeAlias = tuple[int, int, int]


def check_scale(scale: int | None) -> None:
    """Refuse a scale that there is not.

    Raises:
        ValueError: it is neither None nor 1 to `MAX_SCALE`.
    """
    if scale is not None and not 1 <= scale <= MAX_SCALE:
        raise ValueError(f"scale={scale} is outside 1..{MAX_SCALE}")


def colour_of(index: int) -> Colour:
    """The colour of a tile's frame: hues as far from each other as their number allows."""
    red, green, blue = colorsys.hsv_to_rgb((0.58 + index * 0.618034) % 1.0, 0.65, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def grid(count: int) -> tuple[int, int]:
    """Columns and rows for so many tiles: as good as square."""
    columns = math.ceil(math.sqrt(count))
    return columns, math.ceil(count / columns)


_RGBX_OF_COLOURS: Final = np.pad(RGB_OF_COLOURS, ((0, 0), (0, 1))).view(np.uint32)[:, 0]
"""A lookup of whole words is three times as quick as one of three bytes each."""


def describe(status: Status, score: str) -> str:
    """The numbers below a tile."""
    parts = []
    if not math.isnan(status.score):
        parts.append(f"{score} {status.score:.1f}")
    parts += [f"lap {status.lap}", f"{status.speed:.1f} u/f"]
    if status.drivers > 1:
        parts.append(f"place {status.place}/{status.drivers}")
    return " · ".join(parts)


class _View:
    """One tile, as it is shown."""

    def __init__(self, tile: Tile) -> None:
        self.tile = tile
        self.shot: Shot | None = None
        self.state = State.WAITING
        self.picture: Any = None  # a pygame surface
        self.errors: list[str] = []
        self.drawn: tuple[int, int] | None = None  # picture and overlays that `picture` shows
        self._frames = -1
        self._since = 0.0
        self.stalled = 0.0
        """Seconds since its last frame, if those are too many."""

    def look(self, now: float) -> None:
        """See what its process is at."""
        self.state = self.tile.state()
        frames = self.tile.frames
        if frames != self._frames or self.state is not State.DRIVING:
            self._frames, self._since = frames, now
        since = now - self._since
        self.stalled = since if since > _STALLED else 0.0

    @property
    def word(self) -> str:
        """What is written over its picture."""
        if self.stalled:
            return f"no frame for {self.stalled:.0f} s"
        return {
            State.WAITING: "waiting",
            State.OVER: "over",
            State.CLOSED: "closed",
            State.DEAD: "its process has died",
        }.get(self.state, "" if self.shot is not None else "no picture yet")

    def caption(self, board: Board) -> str:
        """Who drives in the picture that is shown."""
        label = "" if self.shot is None else self.shot.status.label
        return label or board.captions.get(self.tile.index, f"env {self.tile.index}")


class ViewerWindow:
    """A window on a run.

    Args:
        folder: of the run, one of `mkds_gym.viewer.runs`.
        scale: screen pixels per pixel of a picture at first; None fits it to the screen.
        overlays: drawn at first; TAB then goes on to each alone.
        pictures: folder that S saves into.
        visible: refuse to run where nobody could see the window.

    Attributes:
        closed: by the user, or as the run is over.

    Raises:
        ViewerError: the run is over, pygame-ce is not installed, or there is no display.
        ValueError: an overlay or scale that there is not.
    """

    def __init__(
        self,
        folder: Path,
        *,
        scale: int | None = None,
        overlays: Sequence[str] = (),
        pictures: Path | None = None,
        visible: bool = True,
    ) -> None:
        check_scale(scale)
        chosen = [tuple(make_overlays(list(overlays)))] if overlays else []
        # What TAB goes through.
        self._overlays: list[tuple[Overlay, ...]] = [
            *chosen,
            (),
            *(tuple(make_overlays(name)) for name in OVERLAYS.names()),
        ]
        self._overlay = 0
        self._run = Run(folder)
        self._views = [_View(tile) for tile in self._run.tiles]
        self._board = self._run.board()
        self._logged: set[str] = set()
        self._pygame = pygame = import_pygame("the viewer's window", ViewerError)
        self._pictures = pictures or Path.cwd()
        self._enlarged: int | None = None
        self._chosen = 0
        self._frozen = False
        self._help = False
        self._note = ("", 0.0)
        self._checked = 0.0
        self._frames: list[tuple[float, int]] = []
        self._rate = 0.0
        self.closed = False
        try:
            open_display(pygame, _NO_DISPLAY, must_be_seen=visible, error=ViewerError)
            pygame.font.init()
            self._font: Any = pygame.font.Font(None, _FONT + 3)
            self._scale = scale or self._fitting_scale()
            self._resize()
        except pygame.error as error:
            pygame.quit()
            raise ViewerError(f"no window can be opened ({error}); {_NO_DISPLAY}") from error
        except BaseException:
            pygame.quit()
            raise

    # What it does -----------------------------------------------------------------------------

    def run(self) -> None:
        """Show the run until it is over, or the window is closed."""
        clock = self._pygame.time.Clock()
        try:
            while not self.closed:
                self.update()
                clock.tick(PICTURES_PER_SECOND)
        finally:
            self.close()

    def update(self) -> None:
        """Handle what was pressed, and show the latest pictures."""
        for event in self._pygame.event.get():
            self.handle(event)
        now = time.monotonic()
        self._run.watch(scenes=bool(self._overlays[self._overlay]))
        if now - self._checked > _CHECK:
            self._checked = now
            if not self._run.alive:
                self.closed = True
                runs()  # one that was killed has left its folder
            if not self._frozen:
                self._count(now)
                for view in self._views:
                    view.look(now)
        if self.closed:
            return
        if not self._frozen:
            self._board = self._run.board()
        self._take(new=not self._frozen)
        self.draw()

    def close(self) -> None:
        """Close the window; the second time does nothing."""
        self.closed = True
        self._pygame.quit()

    def handle(self, event: Any) -> None:
        """What a pygame event does."""
        pygame = self._pygame
        if event.type == pygame.QUIT:
            self.closed = True
        elif event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
            self._click(event.pos)
        elif event.type == pygame.KEYDOWN:
            self._press(event.key, getattr(event, "mod", 0), getattr(event, "unicode", ""))

    # Within -----------------------------------------------------------------------------------

    def _press(self, key: int, mod: int, letter: str) -> None:
        pygame = self._pygame
        steps = {pygame.K_LEFT: -1, pygame.K_RIGHT: 1}
        columns = grid(len(self._views))[0]
        steps.update({pygame.K_UP: -columns, pygame.K_DOWN: columns})
        if key == pygame.K_ESCAPE:
            self.closed = True
        elif key in steps:
            if self._enlarged is not None:
                goal = self._chosen + steps[key]
                if 0 <= goal < len(self._views):
                    self._chosen = goal
            self._enlarged = self._chosen
        elif key == pygame.K_TAB:
            step = -1 if mod & pygame.KMOD_SHIFT else 1
            self._overlay = (self._overlay + step) % len(self._overlays)
            names = ", ".join(overlay.name for overlay in self._overlays[self._overlay])
            note = f"overlay: {names or 'none'}"
            if names and self._frozen and not any(v.shot and v.shot.scene for v in self._views):
                note += " (from the next pictures on: these were sent without what it needs)"
            self._say(note)
        elif key == pygame.K_SPACE:
            self._frozen = not self._frozen
        elif key == pygame.K_s:
            self._save()
        elif key in (pygame.K_PLUS, pygame.K_KP_PLUS) or letter == "+":
            self._rescale(1)
        elif key in (pygame.K_MINUS, pygame.K_KP_MINUS) or letter == "-":
            self._rescale(-1)
        elif key == pygame.K_h:
            self._help = not self._help

    def _click(self, place: tuple[int, int]) -> None:
        if self._enlarged is not None:
            self._enlarged = None
            return
        for number, rectangle in enumerate(self._cells()):
            if rectangle.collidepoint(place):
                self._enlarged = self._chosen = number

    def _save(self) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        path = self._pictures / f"mkds-viewer-{stamp}.png"
        number = 1
        while path.exists():
            number += 1
            path = path.with_name(f"mkds-viewer-{stamp}-{number}.png")
        try:
            self._pygame.image.save(self._pygame.display.get_surface(), str(path))
        except (OSError, self._pygame.error) as error:
            self._say(f"not saved in {self._pictures}: {reason(error)}")
        else:
            self._say(f"saved {path}")

    def _say(self, note: str) -> None:
        self._note = (note, time.monotonic() + _NOTE_SECONDS)

    def _rescale(self, step: int) -> None:
        self._scale = min(max(self._scale + step, 1), MAX_SCALE)
        self._resize()

    def _cell_size(self, scale: int) -> tuple[int, int]:
        """Of the largest tile, with frame and caption."""
        width = max(view.tile.width for view in self._views)
        height = max(view.tile.height for view in self._views)
        return width * scale + 2 * _BORDER, height * scale + 2 * _BORDER + 2 * _LINE

    def _size(self, scale: int) -> tuple[int, int]:
        columns, rows = grid(len(self._views))
        width, height = self._cell_size(scale)
        return (
            columns * (width + _GAP) + _GAP,
            _HEADER + rows * (height + _GAP) + _GAP,
        )

    def _fitting_scale(self) -> int:
        sizes = self._pygame.display.get_desktop_sizes()
        width, height = sizes[0] if sizes else (1280, 800)
        for scale in (3, 2):
            wanted = self._size(scale)
            if wanted[0] <= 0.9 * width and wanted[1] <= 0.9 * height:
                return scale
        return 1

    def _resize(self) -> None:
        self._pygame.display.set_mode(self._size(self._scale), self._pygame.RESIZABLE)

    def _count(self, now: float) -> None:
        """Frames a second of all tiles, over the last few seconds."""
        self._frames.append((now, sum(view.tile.frames for view in self._views)))
        self._frames = [each for each in self._frames if now - each[0] < 3.0]
        (then, before), (_, frames) = self._frames[0], self._frames[-1]
        self._rate = (frames - before) / (now - then) if now > then else 0.0

    def _take(self, *, new: bool) -> None:
        """The latest pictures, or those that are there already, with overlays."""
        for view in self._views:
            shot = view.tile.shot(0 if view.shot is None else view.shot.number) if new else None
            if shot is not None:
                view.shot = shot
            elif view.shot is None or view.drawn == (view.shot.number, self._overlay):
                continue
            view.drawn = (view.shot.number, self._overlay)
            pixels = self._overlaid(view, view.shot)
            size = pixels.shape[1::-1]
            if pixels.ndim == 2:
                colours = _RGBX_OF_COLOURS.take(pixels, mode="clip")
                view.picture = self._pygame.image.frombuffer(colours, size, "RGBX")
            else:
                data = np.ascontiguousarray(pixels).tobytes()
                view.picture = self._pygame.image.frombuffer(data, size, "RGB")

    def _overlaid(self, view: _View, shot: Shot) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """A picture with overlays; without any, its pixels as they are."""
        overlays = self._overlays[self._overlay]
        view.errors = []
        if not overlays or not shot.scene:
            return shot.pixels
        try:
            fingerprint, scene = unpack_scene(shot.scene)
            course = view.tile.course(fingerprint)
            if course is None:
                return shot.pixels
            return draw_overlays(
                overlays, shot.picture, scene, course, failed=partial(self._failed, view)
            )
        except OverlayError as error:
            self._failed(view, error)
        except Exception as error:  # what another version has pickled may raise anything
            what = f"no overlays: {type(error).__name__}: {error}"
            self._failed(view, OverlayError(what))
        return shot.pixels

    def _failed(self, view: _View, error: OverlayError) -> None:
        """An overlay could not be drawn: named below its tile, and once in the log."""
        view.errors.append(str(error))
        message = f"tile {view.tile.index}: {error}"
        if message not in self._logged:
            self._logged.add(message)
            _log.warning(message)

    # Drawing ----------------------------------------------------------------------------------

    def _cells(self) -> list[Any]:
        """The rectangle of each tile, with frame and caption."""
        pygame = self._pygame
        width, height = pygame.display.get_surface().get_size()
        columns, rows = grid(len(self._views))
        cell_width = max((width - _GAP) // columns - _GAP, 16)
        cell_height = max((height - _HEADER - _GAP) // rows - _GAP, 16)
        return [
            pygame.Rect(
                _GAP + (number % columns) * (cell_width + _GAP),
                _HEADER + (number // columns) * (cell_height + _GAP),
                cell_width,
                cell_height,
            )
            for number in range(len(self._views))
        ]

    def draw(self) -> None:
        """Draw everything once more."""
        pygame = self._pygame
        surface = pygame.display.get_surface()
        surface.fill(_BACK)
        board = self._board
        pygame.display.set_caption(board.title)
        self._draw_header(surface, board)
        best = self._best()
        if self._enlarged is not None:
            width, height = surface.get_size()
            cell = pygame.Rect(_GAP, _HEADER, width - 2 * _GAP, height - _HEADER - _GAP)
            self._draw_tile(surface, cell, self._enlarged, board, best)
        else:
            for number, cell in enumerate(self._cells()):
                self._draw_tile(surface, cell, number, board, best)
        note, until = self._note
        if time.monotonic() < until:
            # Over the pictures of the first row: captions stand everywhere below them.
            place = (_GAP + _BORDER, _HEADER + _BORDER)
            self._write(surface, place, note, _GOLD, back=_BACK)
        if self._help:
            self._draw_help(surface)
        pygame.display.flip()

    def _best(self) -> int | None:
        """The tile with the highest score."""
        scores = [
            (view.shot.status.score, -number)
            for number, view in enumerate(self._views)
            if view.shot is not None
            and view.state is not State.DEAD
            and not math.isnan(view.shot.status.score)
        ]
        return -max(scores)[1] if len(scores) > 1 else None

    def _draw_header(self, surface: Any, board: Board) -> None:
        driving = sum(view.state is State.DRIVING for view in self._views)
        parts = [board.header] if board.header else []
        if self._rate and "frames/s" not in board.header:
            parts.append(f"{self._rate:.0f} frames/s")
        parts.append(f"{driving} of {len(self._views)} driving")
        if self._frozen:
            parts.append("FROZEN")
        text, width = " · ".join(parts), surface.get_width()
        place, colour = (_GAP + 2, 5), _GOLD if self._frozen else _INK
        self._write(surface, place, text, colour, wide=width - 2 * (_GAP + 2))
        hint = self._font.render("H: help", True, _DIM)
        if self._font.size(text)[0] + hint.get_width() + 20 < width:
            surface.blit(hint, (width - hint.get_width() - _GAP - 2, 5))

    def _draw_tile(
        self, surface: Any, cell: Any, number: int, board: Board, best: int | None
    ) -> None:
        pygame = self._pygame
        view = self._views[number]
        tile = view.tile
        colour = colour_of(tile.index)
        # The largest picture of the same shape, above two lines of text.
        room = (cell.width - 2 * _BORDER, cell.height - 2 * _BORDER - 2 * _LINE)
        factor = min(room[0] / tile.width, room[1] / tile.height)
        if factor <= 0.0:
            return
        size = (max(round(tile.width * factor), 1), max(round(tile.height * factor), 1))
        inside = pygame.Rect(cell.x + (cell.width - size[0]) // 2, cell.y + _BORDER, *size)
        frame = inside.inflate(2 * _BORDER, 2 * _BORDER)
        dead = view.state is State.DEAD
        if number == best:
            pygame.draw.rect(surface, _GOLD, frame)
            frame = inside.inflate(2, 2)
        pygame.draw.rect(surface, _RED if dead else colour, frame)
        pygame.draw.rect(surface, (0, 0, 0), inside)
        if view.picture is not None:
            # Nearest neighbour, as the console has pixels and not photographs.
            surface.blit(pygame.transform.scale(view.picture, size), inside)
        if dead or view.state in (State.OVER, State.CLOSED):
            shade = pygame.Surface(size)
            shade.set_alpha(150 if dead else 90)
            surface.blit(shade, inside)
        word = view.word
        if word:
            text = self._font.render(word, True, _RED if dead else _INK)
            surface.blit(text, text.get_rect(center=inside.center))
        caption = view.caption(board)
        below = cell.y + size[1] + 2 * _BORDER
        wide = inside.width
        if number == best:
            caption = f"best: {caption}"
        self._write(
            surface, (inside.x, below), caption, _GOLD if number == best else colour, wide=wide
        )
        if view.errors:
            errors = "; ".join(view.errors)
            self._write(surface, (inside.x, below + _LINE), errors, _RED, wide=wide)
        elif view.shot is not None:
            numbers = describe(view.shot.status, board.score)
            self._write(surface, (inside.x, below + _LINE), numbers, _INK, wide=wide)

    def _draw_help(self, surface: Any) -> None:
        pygame = self._pygame
        widest = max(self._font.size(keys)[0] for keys, _ in HELP)
        width = widest + max(self._font.size(what)[0] for _, what in HELP) + 40
        box = pygame.Rect(0, 0, width, (len(HELP) + 1) * _LINE + 6)
        box.center = surface.get_rect().center
        pygame.draw.rect(surface, (44, 46, 56), box, border_radius=4)
        pygame.draw.rect(surface, _DIM, box, 1, border_radius=4)
        for number, (keys, what) in enumerate(HELP):
            y = box.y + 12 + number * _LINE
            self._write(surface, (box.x + 12, y), keys, _GOLD)
            self._write(surface, (box.x + 28 + widest, y), what, _INK)

    def _write(
        self,
        surface: Any,
        place: tuple[int, int],
        text: str,
        colour: Colour,
        *,
        wide: int | None = None,
        back: Colour | None = None,
    ) -> None:
        """One line; what is too long for its place ends in an ellipsis."""
        if wide is not None:
            text = self._fitting(text, wide)
        if text:
            surface.blit(self._font.render(text, True, colour, back), place)

    def _fitting(self, text: str, wide: int) -> str:
        """As much of a text as these pixels hold."""
        if self._font.size(text)[0] <= wide:
            return text
        fits = bisect(range(len(text)), wide, key=lambda n: self._font.size(text[:n] + "…")[0])
        return text[: fits - 1].rstrip(" ·") + "…" if fits else ""
