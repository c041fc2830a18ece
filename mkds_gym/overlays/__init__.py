"""Overlays: what a driver cannot see, drawn over the picture of the top screen.

======  ==================  ====================================================================
number  name                shows
======  ==================  ====================================================================
0       ``collision[:d]``   walls (magenta) and off-road (red) within d (180) world units
1       ``rays[:d]``        the distance sensors' rays, up to d (200) world units
2       ``camera``          the point that the camera looks at
3       ``checkpoint``      the line across the track at the next checkpoint
4       ``checkpoint-aim``  where the heading meets that line
5       ``objects``         drivers, items, map objects, moving objects, a colour each
6       ``controller``      the keys that are held
7       ``hud``             speed, lap, progress, surface, reward and its terms
8       ``trail``           the path of this lap, coloured by speed
9       ``centerline[:d]``  the centre line, d (500) world units ahead
======  ==================  ====================================================================

They are projected through the game's own camera, as it was in the frame that the picture shows.

```python
env = gym.make("MKDS-v0", render_mode="rgb_array", overlays=["rays", "hud"])
```
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, runtime_checkable

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
from mkds_gym.utils.arguments import as_list

if TYPE_CHECKING:
    from mkds_gym.course import Course


@runtime_checkable
class Overlay(Protocol):
    """Something drawn over the picture.

    Attributes:
        name: what it is called in `OVERLAYS` and in messages.
    """

    name: str

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:
        """Draw it.

        Args:
            canvas: the picture, with what was drawn before.
            scene: the race in the frame that the picture shows.
            course: that is driven.
        """


OverlayLike: TypeAlias = "str | int | Overlay"
"""A name (``"rays"``, ``"rays:120"``), a number of the table above (2, ``"2"``), an object, or
where one of one's own is imported from (``"my.module.Bearing"``)."""

OVERLAYS: Final[Registry[Overlay]] = Registry("overlay", Overlay)
"""What ``overlays`` may name; the first ten have their place as a number."""

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
    """Overlays from names, numbers and objects (which are copied).

    Raises:
        ValueError: an unknown name or number; the message has the known ones.
        TypeError: neither name, number nor object.
    """
    names = OVERLAYS.names()
    made: list[Overlay] = []
    for overlay in as_list("overlays", overlays, str | int | Overlay):
        if isinstance(overlay, str) and overlay.isdecimal():
            overlay = int(overlay)
        if isinstance(overlay, int) and not isinstance(overlay, bool):
            if not 0 <= overlay < len(names):
                numbered = ", ".join(f"{number} {name}" for number, name in enumerate(names))
                raise ValueError(f"there is no overlay number {overlay}; known: {numbered}")
            made.append(OVERLAYS.make(names[overlay]))
        elif isinstance(overlay, str):
            if "," in overlay:
                each = [name.strip() for name in overlay.split(",")]
                raise ValueError(f"overlays={overlay!r} names several: give a list, {each!r}")
            made.append(OVERLAYS.make(overlay))
        elif isinstance(overlay, Overlay) and not isinstance(overlay, type):
            made.append(copy.deepcopy(overlay))
        else:
            raise TypeError(
                f"overlays: {overlay!r} is no overlay: give a name ({', '.join(names)}), its "
                "number, or an object with name and draw()"
            )
    return tuple(made)


def draw_overlays(
    overlays: Sequence[Overlay],
    picture: NDArray[np.uint8],
    scene: OverlayScene,
    course: Course,
    *,
    failed: Callable[[OverlayError], object] | None = None,
) -> NDArray[np.uint8]:
    """A picture with overlays.

    Args:
        overlays: drawn in this order.
        picture: uint8 RGB (192, 256, 3), or (384, 256, 3) of both screens, whose upper half is
            drawn on.
        scene: the race that the picture shows.
        course: that is driven.
        failed: called with the error of each that raised; the others are drawn then.

    Returns:
        A new picture of the same shape.

    Raises:
        OverlayError: one of them raised, and there is no ``failed``; the message names it. Or none
            can be drawn.
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
                f"overlay {overlay.name!r} failed: {type(error).__name__}: {error}"
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
