"""`Painter`: draws the viewer's window on a pygame surface."""

from __future__ import annotations

import colorsys
import math
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from mkds_gym.viewer.bus import Board, State, Status
from mkds_gym.viewer.tile_view import TileView

HELP: Final = (
    ("click, arrow keys", "enlarge a tile; click again for all"),
    ("TAB, shift TAB", "next overlay, the one before"),
    ("space", "freeze the picture (the run goes on)"),
    ("S", "save it as PNG"),
    ("+ -", "scale"),
    ("H", "this help"),
    ("ESC", "close the window (the run goes on)"),
)
# Sizes in pixels.
_FONT_SIZE: Final = 18
_LINE: Final = 17
_BORDER: Final = 3
_HEADER: Final = 24
_GAP: Final = 4
_BACKGROUND: Final = (24, 25, 30)
_HELP_BACKGROUND: Final = (44, 46, 56)
_WHITE: Final = (226, 228, 232)
_GREY: Final = (150, 153, 160)
_GOLD: Final = (255, 205, 60)
_RED: Final = (255, 90, 80)

Colour: TypeAlias = tuple[int, int, int]


def tile_colour(index: int) -> Colour:
    """Return the colour of a tile's frame. Neighbouring indices have distant hues."""
    red, green, blue = colorsys.hsv_to_rgb((0.58 + index * 0.618034) % 1.0, 0.65, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def grid(count: int) -> tuple[int, int]:
    """Return columns and rows of a nearly square grid."""
    columns = math.ceil(math.sqrt(count))
    return columns, math.ceil(count / columns)


def describe(status: Status, score: str) -> str:
    """Return the second line below a tile; ``score`` is the name of the score."""
    parts = []
    if not math.isnan(status.score):
        parts.append(f"{score} {status.score:.1f}")
    parts += [f"lap {status.lap}", f"{status.speed:.1f} u/f"]
    if status.drivers > 1:
        parts.append(f"place {status.place}/{status.drivers}")
    return " · ".join(parts)


def best_view(views: Sequence[TileView]) -> int | None:
    """Return the position of the tile with the highest score; None for fewer than two scores."""
    scores = [
        (view.shot.status.score, -number)
        for number, view in enumerate(views)
        if view.shot is not None
        and view.state is not State.DEAD
        and not math.isnan(view.shot.status.score)
    ]
    return -max(scores)[1] if len(scores) > 1 else None


@dataclass
class Contents:
    """Contents of the window."""

    views: list[TileView]
    board: Board
    enlarged: int | None = None  # position of the tile that fills the window; None shows all
    frozen: bool = False
    help: bool = False
    note: str = ""  # a line over the pictures
    rate: float = 0.0  # emulated frames per second of all tiles; 0 if unknown


class Painter:
    """Draws `Contents`. Needs an initialized pygame display."""

    def __init__(self, pygame: Any) -> None:
        pygame.font.init()
        self._pygame = pygame
        self._font: Any = pygame.font.Font(None, _FONT_SIZE)

    def size(self, views: Sequence[TileView], scale: int) -> tuple[int, int]:
        """Return width and height of a window with all tiles at a scale."""
        columns, rows = grid(len(views))
        width = max(view.tile.width for view in views) * scale + 2 * _BORDER
        height = max(view.tile.height for view in views) * scale + 2 * _BORDER + 2 * _LINE
        return columns * (width + _GAP) + _GAP, _HEADER + rows * (height + _GAP) + _GAP

    def cells(self, surface: Any, count: int) -> list[Any]:
        """Return the rectangle of each tile, with frame and caption."""
        width, height = surface.get_size()
        columns, rows = grid(count)
        cell_width = max((width - _GAP) // columns - _GAP, 16)
        cell_height = max((height - _HEADER - _GAP) // rows - _GAP, 16)
        return [
            self._pygame.Rect(
                _GAP + (number % columns) * (cell_width + _GAP),
                _HEADER + (number // columns) * (cell_height + _GAP),
                cell_width,
                cell_height,
            )
            for number in range(count)
        ]

    def fit(self, text: str, width: int) -> str:
        """Return a text, shortened with an ellipsis to a width in pixels."""
        if self._font.size(text)[0] <= width:
            return text
        fits = bisect(range(len(text)), width, key=lambda n: self._font.size(text[:n] + "…")[0])
        return text[: fits - 1].rstrip(" ·") + "…" if fits else ""

    def draw(self, surface: Any, contents: Contents) -> None:
        """Draw the whole window."""
        surface.fill(_BACKGROUND)
        self._draw_header(surface, contents)
        views, board, best = contents.views, contents.board, best_view(contents.views)
        if contents.enlarged is not None:
            width, height = surface.get_size()
            cell = self._pygame.Rect(_GAP, _HEADER, width - 2 * _GAP, height - _HEADER - _GAP)
            number = contents.enlarged
            self._draw_tile(surface, cell, views[number], board, best=number == best)
        else:
            for number, cell in enumerate(self.cells(surface, len(views))):
                self._draw_tile(surface, cell, views[number], board, best=number == best)
        if contents.note:
            # Over the pictures of the first row, because captions are below the pictures.
            place = (_GAP + _BORDER, _HEADER + _BORDER)
            surface.blit(self._font.render(contents.note, True, _GOLD, _BACKGROUND), place)
        if contents.help:
            self._draw_help(surface)

    def _draw_header(self, surface: Any, contents: Contents) -> None:
        header, views = contents.board.header, contents.views
        parts = [header] if header else []
        if contents.rate and "frames/s" not in header:
            parts.append(f"{contents.rate:.0f} frames/s")
        driving = sum(view.state is State.DRIVING for view in views)
        parts.append(f"{driving} of {len(views)} driving")
        if contents.frozen:
            parts.append("FROZEN")
        text, width = " · ".join(parts), surface.get_width()
        colour = _GOLD if contents.frozen else _WHITE
        self._write(surface, (_GAP + 2, 5), text, colour, width - 2 * (_GAP + 2))
        hint = self._font.render("H: help", True, _GREY)
        if self._font.size(text)[0] + hint.get_width() + 20 < width:
            surface.blit(hint, (width - hint.get_width() - _GAP - 2, 5))

    def _draw_tile(
        self, surface: Any, cell: Any, view: TileView, board: Board, *, best: bool
    ) -> None:
        pygame, tile = self._pygame, view.tile
        # The largest picture of the same shape, above two lines of text.
        room = (cell.width - 2 * _BORDER, cell.height - 2 * _BORDER - 2 * _LINE)
        factor = min(room[0] / tile.width, room[1] / tile.height)
        if factor <= 0.0:
            return
        size = (max(round(tile.width * factor), 1), max(round(tile.height * factor), 1))
        inside = pygame.Rect(cell.x + (cell.width - size[0]) // 2, cell.y + _BORDER, *size)
        frame = inside.inflate(2 * _BORDER, 2 * _BORDER)
        dead, colour = view.state is State.DEAD, tile_colour(tile.index)
        if best:
            pygame.draw.rect(surface, _GOLD, frame)
            frame = inside.inflate(2, 2)
        pygame.draw.rect(surface, _RED if dead else colour, frame)
        pygame.draw.rect(surface, (0, 0, 0), inside)
        if view.surface is not None:
            surface.blit(pygame.transform.scale(view.surface, size), inside)  # nearest neighbour
        if dead or view.state in (State.OVER, State.CLOSED):
            shade = pygame.Surface(size)
            shade.set_alpha(150 if dead else 90)
            surface.blit(shade, inside)
        if view.text:
            text = self._font.render(view.text, True, _RED if dead else _WHITE)
            surface.blit(text, text.get_rect(center=inside.center))
        below = cell.y + size[1] + 2 * _BORDER
        caption = view.caption(board)
        if best:
            caption, colour = f"best: {caption}", _GOLD
        self._write(surface, (inside.x, below), caption, colour, inside.width)
        if view.errors:
            line, colour = "; ".join(view.errors), _RED
        elif view.shot is not None:
            line, colour = describe(view.shot.status, board.score), _WHITE
        else:
            return
        self._write(surface, (inside.x, below + _LINE), line, colour, inside.width)

    def _draw_help(self, surface: Any) -> None:
        pygame = self._pygame
        keys_width, text_width = (max(self._font.size(row[i])[0] for row in HELP) for i in (0, 1))
        box = pygame.Rect(0, 0, keys_width + text_width + 40, (len(HELP) + 1) * _LINE + 6)
        box.center = surface.get_rect().center
        pygame.draw.rect(surface, _HELP_BACKGROUND, box, border_radius=4)
        pygame.draw.rect(surface, _GREY, box, 1, border_radius=4)
        for number, (keys, text) in enumerate(HELP):
            y = box.y + 12 + number * _LINE
            self._write(surface, (box.x + 12, y), keys, _GOLD, keys_width)
            self._write(surface, (box.x + 28 + keys_width, y), text, _WHITE, text_width)

    def _write(
        self, surface: Any, place: tuple[int, int], text: str, colour: Colour, width: int
    ) -> None:
        """Write a line, shortened to a width in pixels."""
        if text := self.fit(text, width):
            surface.blit(self._font.render(text, True, colour), place)
