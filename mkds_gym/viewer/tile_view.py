"""`TileView`: a tile as the viewer's window shows it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.hardware import RGB_OF_COLOURS
from mkds_gym.errors import OverlayError
from mkds_gym.overlays import Overlay, draw_overlays
from mkds_gym.viewer.bus import Board, Shot, State, Tile
from mkds_gym.viewer.race_publisher import unpack_scene

_log = logging.getLogger(__name__)

_STALLED: Final = 3.0
"""Seconds without a frame after which a driving tile says so."""
_RGBX_OF_COLOURS: Final = np.pad(RGB_OF_COLOURS, ((0, 0), (0, 1))).view(np.uint32)[:, 0]
"""Whole words, because they are three times as fast to look up as three bytes each."""


class TileView:
    """The picture of a tile with overlays, and the text over and below it."""

    def __init__(self, tile: Tile, pygame: Any) -> None:
        self.tile: Final = tile
        self.shot: Shot | None = None
        self.state = State.WAITING
        self.surface: Any = None  # the picture with overlays
        self.errors: list[str] = []  # of the overlays that failed on this picture
        self._pygame = pygame
        self._drawn: tuple[Shot, object] | None = None
        self._frames = -1
        self._last_frame = 0.0
        self._stalled = 0.0
        self._logged: set[str] = set()

    def check(self, now: float) -> None:
        """Read the state of the tile; ``now`` is that of `time.monotonic`."""
        self.state = self.tile.state()
        frames = self.tile.frames
        if frames != self._frames or self.state is not State.DRIVING:
            self._frames, self._last_frame = frames, now
        self._stalled = now - self._last_frame

    def update(self, overlays: Sequence[Overlay], *, read: bool = True) -> None:
        """Draw the latest picture, or (not ``read``) the current one, with overlays."""
        shot = self.tile.shot(0 if self.shot is None else self.shot.number) if read else None
        if shot is not None:
            self.shot = shot
        if self.shot is None:
            return
        if self._drawn is None or self._drawn[0] is not self.shot or self._drawn[1] is not overlays:
            self._drawn = (self.shot, overlays)
            self._draw(self.shot, overlays)

    @property
    def text(self) -> str:
        """Text over the picture; empty for a race in progress."""
        if self._stalled > _STALLED:
            return f"no frame for {self._stalled:.0f} s"
        return {
            State.WAITING: "waiting",
            State.OVER: "over",
            State.CLOSED: "closed",
            State.DEAD: "its process has died",
        }.get(self.state, "" if self.shot is not None else "no picture yet")

    def caption(self, board: Board) -> str:
        """Return the first line below the picture."""
        label = "" if self.shot is None else self.shot.status.label
        return label or board.captions.get(self.tile.index, f"env {self.tile.index}")

    def _draw(self, shot: Shot, overlays: Sequence[Overlay]) -> None:
        pixels = self._with_overlays(shot, overlays)
        size = pixels.shape[1::-1]
        if pixels.ndim == 2:
            colours = _RGBX_OF_COLOURS.take(pixels, mode="clip")
            self.surface = self._pygame.image.frombuffer(colours, size, "RGBX")
        else:
            data = np.ascontiguousarray(pixels).tobytes()
            self.surface = self._pygame.image.frombuffer(data, size, "RGB")

    def _with_overlays(
        self, shot: Shot, overlays: Sequence[Overlay]
    ) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """Return the picture with overlays, or its pixels if there are none to draw."""
        self.errors = []
        if not overlays or not shot.scene:
            return shot.pixels
        try:
            fingerprint, scene = unpack_scene(shot.scene)
            course = self.tile.course(fingerprint)
            if course is None:
                return shot.pixels
            return draw_overlays(overlays, shot.picture, scene, course, failed=self._log_error)
        except OverlayError as error:
            self._log_error(error)
        except Exception as error:  # a scene of another version may raise anything
            self._log_error(f"no overlays: {type(error).__name__}: {error}")
        return shot.pixels

    def _log_error(self, error: object) -> None:
        """Show an error below the tile, and log it once."""
        self.errors.append(str(error))
        message = f"tile {self.tile.index}: {error}"
        if message not in self._logged:
            self._logged.add(message)
            _log.warning(message)
