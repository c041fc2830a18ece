"""Overlays of the race: rays, camera, objects, trail, keys and numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from mkds_gym.components.sensors import Seed6
from mkds_gym.emulator.console import Keys
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_gym.overlays.course import check_distance
from mkds_gym.race.lengths import DRAWN_RAY_LENGTH, RAY_HEIGHT
from mkds_gym.race.names import OFFROAD_SURFACES, SURFACES

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.overlays.canvas import Canvas, Colour
    from mkds_gym.overlays.scene import OverlayScene

GREEN: Final = (60, 230, 90)
GREY: Final = (150, 150, 150)
KIND_COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "driver": (255, 220, 40),
    "item": (255, 70, 70),
    "map_object": (70, 200, 255),
    "moving_collision": (200, 120, 255),
    "other": GREY,
}
"""Colour of each kind of object."""


class Rays:
    """The rays of the environment's distance sensors, or of ``seed6`` if it has none.

    A green ray hits nothing within the length. The other rays end at the obstacle; the nearer it
    is, the redder they are.

    Args:
        length: length of the rays, world units.
    """

    name = "rays"

    def __init__(self, length: float = DRAWN_RAY_LENGTH) -> None:
        self._length = check_distance(self.name, length)

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:
        race = scene.race
        angles = np.radians(scene.ray_angles or Seed6.ray_angles)
        up = np.array(race.up)
        ahead, right = np.array(race.forward), np.array(race.right)
        directions = np.cos(angles)[:, None] * ahead - np.sin(angles)[:, None] * right
        origins = np.repeat((np.array(race.position) + RAY_HEIGHT * up)[None], len(angles), axis=0)
        distances = course.mesh.distances(
            origins.astype(np.float32),
            directions.astype(np.float32),
            race.surface in OFFROAD_SURFACES,
        )
        shown = np.minimum(distances, self._length)
        ends = origins + shown[:, None] * directions
        colours: list[Colour] = [
            (255, int(220 * length / self._length), 0) if hit else GREEN
            for length, hit in zip(
                shown.tolist(), (distances <= self._length).tolist(), strict=True
            )
        ]
        canvas.lines(origins, ends, colours)
        for end, colour in zip(ends.tolist(), colours, strict=True):
            if colour is not GREEN:
                canvas.circle(end, 1.0, colour)


class CameraTarget:
    """The camera's target."""

    name = "camera"

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:  # noqa: ARG002
        canvas.cross(scene.camera.target, (255, 255, 255), 6)
        canvas.circle(scene.camera.target, 2.0, (255, 255, 255))


class Objects:
    """Drivers, items and map objects: a circle of their size, a colour for each kind."""

    name = "objects"

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:  # noqa: ARG002
        for thing in scene.objects:
            colour: Colour = KIND_COLOURS.get(thing.kind, GREY)
            if not thing.active:
                colour = (*colour[:3], 90)
            canvas.circle(thing.position, thing.radius, colour)


class Trail:
    """The path of this lap, from blue (slow) to red (the highest speed of the lap)."""

    name = "trail"

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:  # noqa: ARG002
        trail = scene.trail.astype(np.float64)
        if len(trail) < 2:
            return
        shares = np.clip(trail[1:, 3] / max(float(trail[:, 3].max()), 1e-6), 0.0, 1.0)
        colours: list[Colour] = [
            (int(255 * share), int(160 * math.sin(math.pi * share)), int(255 * (1 - share)))
            for share in shares.tolist()
        ]
        canvas.lines(trail[:-1, :3], trail[1:, :3], colours, 3)


_PAD: Final[tuple[tuple[Keys, str, int, int], ...]] = (
    (Keys.LEFT, "", 0, 9),
    (Keys.RIGHT, "", 18, 9),
    (Keys.UP, "", 9, 0),
    (Keys.DOWN, "", 9, 18),
    (Keys.Y, "Y", 36, 9),
    (Keys.A, "A", 54, 9),
    (Keys.X, "X", 45, 0),
    (Keys.B, "B", 45, 18),
    (Keys.L, "L", 72, 0),
    (Keys.R, "R", 81, 0),
    (Keys.START, "+", 72, 18),
    (Keys.SELECT, "-", 81, 18),
)
"""Keys, their letters, and their columns and rows on the pad, pixels."""
_KEY_SIZE: Final = 8


class Controller:
    """The keys held, on a small pad in the lower right corner."""

    name = "controller"

    _COLUMN: Final = 160
    _ROW: Final = 158

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:  # noqa: ARG002
        pen = canvas.pen
        width = max(column for _, _, column, _ in _PAD) + _KEY_SIZE
        pen.rectangle(
            [self._COLUMN - 3, self._ROW - 3, self._COLUMN + width + 2, self._ROW + 28],
            fill=(0, 0, 0, 110),
        )
        for key, letter, column, row in _PAD:
            x, y = self._COLUMN + column, self._ROW + row
            held = bool(scene.keys & key)
            pen.rectangle(
                [x, y, x + _KEY_SIZE - 1, y + _KEY_SIZE - 1],
                fill=(255, 190, 40, 255) if held else (110, 110, 120, 220),
            )
            if letter:
                canvas.centered_text(
                    (x + _KEY_SIZE / 2, y + _KEY_SIZE / 2),
                    letter,
                    (0, 0, 0) if held else (230, 230, 230),
                )


class Hud:
    """Speed, lap, progress and surface, and the reward of the last step with its terms.

    A reward that is 0 and has no terms (``"none"``) is not shown.
    """

    name = "hud"

    _MOST_TERMS: Final = 5
    _ROW: Final = 44

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:  # noqa: ARG002
        race = scene.race
        surface = SURFACES[race.surface] if race.surface < len(SURFACES) else str(race.surface)
        if not race.on_floor:
            surface = "air"
        lines = [
            f"{race.speed:.2f} units/frame, {race.frame / FRAMES_PER_SECOND:.2f} s",
            f"lap {race.lap}, {scene.progress:.3f} driven",
            surface.replace("_", " "),
        ]
        if scene.reward is not None and (scene.reward or scene.terms):
            lines.append(f"reward {scene.reward:+.3f}")
        terms = sorted(scene.terms.items(), key=lambda term: -abs(term[1]))
        lines += [f"  {name} {value:+.2f}" for name, value in terms[: self._MOST_TERMS]]
        if race.driver_count > 1:
            lines[1] += f", place {race.place + 1}/{race.driver_count}"
        bottom = self._ROW + 3 + 11 * len(lines)
        canvas.pen.rectangle([0, self._ROW, 136, bottom], fill=(0, 0, 0, 110))
        for number, line in enumerate(lines):
            canvas.text((3, self._ROW + 11 * number), line)
