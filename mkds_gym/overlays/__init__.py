"""Overlays: drawings over the picture of the top screen.

======  ==================  ====================================================================
number  name                shows
======  ==================  ====================================================================
0       ``collision[:d]``   walls (magenta) and off-road (red) within d (450) world units
1       ``rays[:d]``        the distance sensors' rays, up to d (500) world units
2       ``camera``          the camera's target
3       ``checkpoint``      the line across the track at the next checkpoint
4       ``checkpoint-aim``  where the heading meets that line
5       ``objects``         drivers, items, map objects, moving objects; a colour for each kind
6       ``controller``      the keys held
7       ``hud``             speed, lap, progress, surface, reward and its terms
8       ``trail``           the path of this lap, coloured by speed
9       ``centerline[:d]``  the centre line up to d (1250) world units ahead
======  ==================  ====================================================================

They are projected through the game's camera of the frame that the picture shows.

```python
env = gym.make("MKDS-v0", render_mode="rgb_array", overlays=["rays", "hud"])
```
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mkds_gym.components.registry import Registry
from mkds_gym.emulator.hardware import SCREEN_HEIGHT
from mkds_gym.errors import OverlayError
from mkds_gym.overlays.canvas import Canvas, Colour
from mkds_gym.overlays.course import CenterLine, Checkpoint, CheckpointAim, Collision
from mkds_gym.overlays.ghosts import Ghost, Ghosts, pose
from mkds_gym.overlays.live import LiveRace, LiveReward
from mkds_gym.overlays.projection import Projection
from mkds_gym.overlays.race import CameraTarget, Controller, Hud, Objects, Rays, Trail
from mkds_gym.overlays.scene import PICTURE_DELAY, LapTrail, OverlayScene, SceneRecorder
from mkds_gym.utils.arguments import as_list, copied, shown

if TYPE_CHECKING:
    from mkds_gym.course import Course


@runtime_checkable
class Overlay(Protocol):
    """Something drawn over the picture.

    Attributes:
        name: name in `OVERLAYS` and in messages.
    """

    @property
    def name(self) -> str: ...

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:
        """Draw on the picture.

        Args:
            canvas: the picture, with the overlays before this one.
            scene: the race in the frame that the picture shows.
            course: the course of the race.
        """


OverlayLike: TypeAlias = "str | int | Overlay"
"""A name (``"rays"``, ``"rays:120"``), a number of the table above (2, ``"2"``), an object, or the
place to import a custom overlay from (``"my.module.Bearing"``)."""

OVERLAYS: Final[Registry[Overlay]] = Registry("overlay", Overlay, "name and draw()")
"""All overlays by name. Their order is their number."""

for _overlay in (
    Collision,
    Rays,
    CameraTarget,
    Checkpoint,
    CheckpointAim,
    Objects,
    Controller,
    Hud,
    Trail,
    CenterLine,
):
    OVERLAYS.register(_overlay.name, _overlay)


def make_overlays(overlays: OverlayLike | Sequence[OverlayLike]) -> tuple[Overlay, ...]:
    """Make overlays from names, numbers and objects. Objects are copied.

    Raises:
        ValueError: an unknown name or number; the message lists all.
        TypeError: an item is not a name, a number or an overlay.
    """
    items = as_list("overlays", overlays, (str, int, Overlay))
    return tuple(OVERLAYS.make_all("overlays", map(_name_or_copy, items), unique=False))


def _name_or_copy(overlay: Any) -> Any:
    if isinstance(overlay, str) and overlay.isdecimal() and len(overlay) < 10:
        overlay = int(overlay)
    if isinstance(overlay, int) and not isinstance(overlay, bool):
        names = OVERLAYS.names()
        if not 0 <= overlay < len(names):
            numbers = ", ".join(f"{number} {name}" for number, name in enumerate(names))
            raise ValueError(f"unknown overlay number {shown(overlay)}: expected one of {numbers}")
        return names[overlay]
    if isinstance(overlay, str):
        if "," in overlay:
            parts = [name.strip() for name in overlay.split(",")]
            raise ValueError(
                f"overlays={shown(overlay)} has several names: pass a list, {shown(parts)}"
            )
        return overlay
    return copied("overlays", overlay)


def draw_overlays(
    overlays: Sequence[Overlay],
    picture: NDArray[np.uint8],
    scene: OverlayScene,
    course: Course,
    *,
    failed: Callable[[OverlayError], object] | None = None,
) -> NDArray[np.uint8]:
    """Return a picture with overlays, a new array of the same shape.

    Args:
        overlays: overlays in the order of drawing.
        picture: uint8 RGB (192, 256, 3); or (384, 256, 3), both screens, of which the upper one is
            drawn on.
        scene: the race that the picture shows.
        course: the course of the race.
        failed: called with the error of each overlay that raises; the others are drawn.

    Raises:
        OverlayError: an overlay raised and there is no ``failed``; the message names the overlay.
            Or the picture or the scene's camera is invalid.
    """
    try:
        canvas = Canvas(np.ascontiguousarray(picture[:SCREEN_HEIGHT]), Projection(scene.camera))
    except ValueError as error:
        raise OverlayError(f"cannot draw overlays: {error}") from error
    for overlay in overlays:
        try:
            overlay.draw(canvas, scene, course)
        except Exception as error:
            named = OverlayError(
                f"overlay {shown(overlay.name)} failed: {type(error).__name__}: {error}"
            )
            if failed is None:
                raise named from error
            failed(named)
    drawn = canvas.picture()
    if len(picture) == SCREEN_HEIGHT:
        return drawn
    return np.concatenate([drawn, picture[SCREEN_HEIGHT:]])


__all__ = [
    "OVERLAYS",
    "PICTURE_DELAY",
    "Canvas",
    "Colour",
    "Ghost",
    "Ghosts",
    "LapTrail",
    "LiveRace",
    "LiveReward",
    "Overlay",
    "OverlayLike",
    "OverlayScene",
    "Projection",
    "SceneRecorder",
    "draw_overlays",
    "make_overlays",
    "pose",
]
