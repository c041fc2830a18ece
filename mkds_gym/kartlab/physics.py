"""Constants that the course compiler and the C program share: the physics and the start grid.

The build writes them into the C header ``kart/physics.h`` (`header`). Lengths are in world units,
times in frames.
"""

from __future__ import annotations

__all__ = [
    "CLASS_SPEEDS",
    "GRAVITY",
    "GRID_ROW",
    "GRID_SIDE",
    "GRID_STAGGER",
    "JUMP_SHARE",
    "JUMP_SPEED",
    "KART_CENTRE",
    "KART_RADIUS",
    "SLOWEST_JUMP",
    "header",
]

CLASS_SPEEDS = (5.42, 6.57, 7.55)
"""Top speed of a kart on a level road, in 50cc, 100cc and 150cc; the game has 7.55 in 150cc."""

GRAVITY = 0.118
"""Speed that a falling kart or item gains in a frame."""

JUMP_SPEED = 3.45
"""Speed upwards that a jump pad adds."""

JUMP_SHARE = 0.9
"""Share of the class's top speed: a jump pad speeds slower karts up to it."""

SLOWEST_JUMP = round(JUMP_SHARE * CLASS_SPEEDS[0], 6)
"""Speed of the slowest kart that leaves a jump pad."""

KART_RADIUS = 8.0
"""Radius of the sphere with which a kart collides."""

KART_CENTRE = 7.2
"""Height of the sphere's centre above the floor: the sphere sinks in, as in the game."""

GRID_ROW = 48.0
"""Distance between two rows of the start grid, which has two columns."""

GRID_SIDE = 36.0
"""Distance of both columns from the middle of the grid."""

GRID_STAGGER = 18.0
"""How far the second column stands behind the first."""


def header() -> str:
    """Return the text of the C header ``kart/physics.h``."""
    numbers = {
        "GRAVITY": GRAVITY,
        "JUMP_SPEED": JUMP_SPEED,
        "JUMP_SHARE": JUMP_SHARE,
        "KART_RADIUS": KART_RADIUS,
        "KART_CENTRE": KART_CENTRE,
        "GRID_ROW": GRID_ROW,
        "GRID_SIDE": GRID_SIDE,
        "GRID_STAGGER": GRID_STAGGER,
    }
    speeds = ", ".join(f"FX({speed})" for speed in CLASS_SPEEDS)
    lines = [
        "/* Generated from mkds_gym/kartlab/physics.py, which describes each constant. */",
        "#pragma once",
        "",
        '#include "platform/fx.h"',
        "",
        *(f"#define {name} FX({number})" for name, number in numbers.items()),
        f"#define CLASS_SPEEDS {{{speeds}}}",
    ]
    return "\n".join(lines) + "\n"
