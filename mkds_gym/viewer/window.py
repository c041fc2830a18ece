"""`ViewerWindow`: the window with all tiles of a run (pygame-ce)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mkds_gym.display.window import import_pygame, open_display, scale_step
from mkds_gym.errors import ViewerError, reason
from mkds_gym.overlays import OVERLAYS, make_overlays
from mkds_gym.utils.arguments import integer, optional
from mkds_gym.utils.files import free_path
from mkds_gym.viewer.bus import Run, runs
from mkds_gym.viewer.painter import Contents, Painter, grid
from mkds_gym.viewer.race_publisher import PICTURES_PER_SECOND
from mkds_gym.viewer.tile_view import TileView

MAX_SCALE: Final = 6
_CHECK_INTERVAL: Final = 0.25
"""Seconds between checks of the run and of the tiles' states."""
_RATE_SECONDS: Final = 3.0
"""Time over which the frame rate is measured."""
_NOTE_SECONDS: Final = 4.0
_SCREEN_SHARE: Final = 0.9
"""Largest share of the screen's width and height that the window takes at first."""
_NO_DISPLAY: Final = (
    "the run goes on without this window; to see it, set DISPLAY and run python -m mkds_gym.viewer"
)


def check_scale(scale: int | None) -> None:
    """Check the argument ``scale``; raise TypeError or ValueError."""
    optional(integer, "scale", scale, 1, MAX_SCALE)


class ViewerWindow:
    """Shows a run, which it only reads.

    Args:
        folder: the run's folder, one of `mkds_gym.viewer.runs`.
        scale: screen pixels per pixel of a picture; None fits the window to the screen.
        overlays: overlays drawn at first; TAB switches to none, then to each overlay alone.
        pictures: folder in which S saves pictures; None for the current folder.
        visible: raise an error if nobody can see the window.

    Attributes:
        closed: whether the user closed the window, or the run is over.
        contents: contents of the window.
        painter: draws them.
        overlays: what TAB cycles through.
        pictures: folder in which S saves pictures.
        run: the run.

    Raises:
        ViewerError: the run is over, pygame-ce is not installed, or there is no display.
        ValueError: an unknown overlay, or ``scale`` out of range.
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
        self.overlays = [make_overlays(name) for name in ((), *OVERLAYS.names())]
        if overlays:
            self.overlays.insert(0, make_overlays(overlays))
        self._overlay = 0
        self.run = Run(folder)
        self._pygame = pygame = import_pygame("the viewer's window", ViewerError)
        views = [TileView(tile, pygame) for tile in self.run.tiles]
        self.contents: Final = Contents(views, self.run.board())
        self.pictures = pictures or Path.cwd()
        self._selected = 0
        self._note_end = 0.0
        self._checked = 0.0
        self._counts: deque[tuple[float, int]] = deque()
        self.closed = False
        try:
            open_display(pygame, _NO_DISPLAY, must_be_seen=visible, error=ViewerError)
            self.painter: Final = Painter(pygame)
            self._scale = scale or self._fitting_scale()
            self._resize()
        except pygame.error as error:
            pygame.quit()
            raise ViewerError(f"no window can be opened ({error}): {_NO_DISPLAY}") from error
        except BaseException:
            pygame.quit()
            raise

    def show(self) -> None:
        """Show the run until it is over or the user closes the window."""
        clock = self._pygame.time.Clock()
        try:
            while not self.closed:
                self.update()
                clock.tick(PICTURES_PER_SECOND)
        finally:
            self.close()

    def update(self) -> None:
        """Handle the events and show the latest pictures."""
        for event in self._pygame.event.get():
            self.handle(event)
        contents, overlays = self.contents, self.overlays[self._overlay]
        self.run.watch(scenes=bool(overlays))
        now = time.monotonic()
        if now - self._checked > _CHECK_INTERVAL:
            self._checked = now
            self._check(now)
        if self.closed:
            return
        if not contents.frozen:
            contents.board = self.run.board()
        for view in contents.views:
            view.update(overlays, read=not contents.frozen)
        self.draw()

    def draw(self) -> None:
        """Draw the window."""
        if time.monotonic() >= self._note_end:
            self.contents.note = ""
        self._pygame.display.set_caption(self.contents.board.title)
        self.painter.draw(self._pygame.display.get_surface(), self.contents)
        self._pygame.display.flip()

    def close(self) -> None:
        """Close the window. A second call does nothing."""
        self.closed = True
        self._pygame.quit()

    def handle(self, event: Any) -> None:
        """Handle a pygame event."""
        pygame = self._pygame
        if event.type == pygame.QUIT:
            self.closed = True
        elif event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
            self._click(event.pos)
        elif event.type == pygame.KEYDOWN:
            self._press(event)

    def write_note(self, note: str) -> None:
        """Show a line over the pictures for a few seconds."""
        self.contents.note, self._note_end = note, time.monotonic() + _NOTE_SECONDS

    def _check(self, now: float) -> None:
        if not self.run.alive:
            self.closed = True
            runs()  # remove the folder of a killed run
        contents = self.contents
        if contents.frozen:
            return
        for view in contents.views:
            view.check(now)
        counts = self._counts
        counts.append((now, sum(view.tile.frames for view in contents.views)))
        while now - counts[0][0] >= _RATE_SECONDS:
            counts.popleft()
        (then, before), (_, frames) = counts[0], counts[-1]
        contents.rate = (frames - before) / (now - then) if now > then else 0.0

    def _press(self, event: Any) -> None:
        pygame, contents, key = self._pygame, self.contents, event.key
        columns = grid(len(contents.views))[0]
        moves = {
            pygame.K_LEFT: -1,
            pygame.K_RIGHT: 1,
            pygame.K_UP: -columns,
            pygame.K_DOWN: columns,
        }
        if key == pygame.K_ESCAPE:
            self.closed = True
        elif key in moves:
            if contents.enlarged is not None:
                selected = self._selected + moves[key]
                if 0 <= selected < len(contents.views):
                    self._selected = selected
            contents.enlarged = self._selected
        elif key == pygame.K_TAB:
            self._switch_overlay(-1 if event.mod & pygame.KMOD_SHIFT else 1)
        elif key == pygame.K_SPACE:
            contents.frozen = not contents.frozen
        elif key == pygame.K_s:
            self._save()
        elif key == pygame.K_h:
            contents.help = not contents.help
        elif step := scale_step(pygame, event):
            self._scale = min(max(self._scale + step, 1), MAX_SCALE)
            self._resize()

    def _switch_overlay(self, step: int) -> None:
        self._overlay = (self._overlay + step) % len(self.overlays)
        names = ", ".join(overlay.name for overlay in self.overlays[self._overlay])
        note = f"overlay: {names or 'none'}"
        contents = self.contents
        if names and contents.frozen and not any(v.shot and v.shot.scene for v in contents.views):
            note += " (after unfreezing: these pictures came without data for overlays)"
        self.write_note(note)

    def _click(self, place: tuple[int, int]) -> None:
        contents = self.contents
        if contents.enlarged is not None:
            contents.enlarged = None
            return
        cells = self.painter.cells(self._pygame.display.get_surface(), len(contents.views))
        for number, cell in enumerate(cells):
            if cell.collidepoint(place):
                contents.enlarged = self._selected = number

    def _save(self) -> None:
        name = time.strftime("mkds-viewer-%Y%m%d-%H%M%S.png")
        path = free_path(self.pictures / name)
        try:
            self._pygame.image.save(self._pygame.display.get_surface(), str(path))
        except (OSError, self._pygame.error) as error:
            self.write_note(f"not saved in {self.pictures}: {reason(error)}")
        else:
            self.write_note(f"saved {path}")

    def _fitting_scale(self) -> int:
        sizes = self._pygame.display.get_desktop_sizes()
        screen = sizes[0] if sizes else (1280, 800)
        for scale in (3, 2):
            size = self.painter.size(self.contents.views, scale)
            if all(a <= _SCREEN_SHARE * b for a, b in zip(size, screen, strict=True)):
                return scale
        return 1

    def _resize(self) -> None:
        size = self.painter.size(self.contents.views, self._scale)
        self._pygame.display.set_mode(size, self._pygame.RESIZABLE)
