"""Lengths and speeds by which sensors, events, rewards and overlays measure a race.

The real game and Kartlab have the same scale: a road is 200 to 400 world units wide, a lap 8,000 to
16,000 long, and a kart with a radius of 8 drives up to 7.55 units a frame. Every distance that
normalises a value is here, as a multiple of `SENSOR_UNIT`, for both cartridges.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BEND_RADIUS",
    "BEND_SPACING",
    "CHECKPOINT_DISTANCE",
    "KART_HALF_SIZE",
    "OBSTACLE_DISTANCE",
    "OPPONENT_DISTANCE",
    "PLACE_COST",
    "POSITION_UNIT",
    "RAY_HEIGHT",
    "REWARD_PER_UNIT",
    "SENSOR_UNIT",
    "SPEED_DIFFERENCE",
    "STUCK_DISTANCE",
    "WALL_HIT_COST",
]

SENSOR_UNIT: Final = 2.5
"""World units of one sensor unit: 60 sensor units are half the width of a usual road."""

OBSTACLE_DISTANCE: Final = 60 * SENSOR_UNIT
"""Distance at which the nearness of an obstacle is 0: half a road, from its middle to its edge."""

RAY_HEIGHT: Final = 4.0
"""Height above the wheels at which rays start. From there they miss the floor."""

CHECKPOINT_DISTANCE: Final = 200 * SENSOR_UNIT
"""Distance of a checkpoint that gives 0.5: more than the usual distance between two checkpoints."""

BEND_SPACING: Final = 80 * SENSOR_UNIT
"""Distance between the places at which the curvature ahead is read: about half a second's drive."""

BEND_RADIUS: Final = 100 * SENSOR_UNIT
"""Radius of a bend that gives tanh(1): a tight bend, taken below top speed."""

OPPONENT_DISTANCE: Final = 100 * SENSOR_UNIT
"""Distance of another kart that gives 0.5."""

SPEED_DIFFERENCE: Final = 6.5
"""Difference of two karts' speeds that gives 1, in world units per frame."""

STUCK_DISTANCE: Final = 5 * SENSOR_UNIT
"""Progress that a driver must make within the frames of the event ``stuck``."""

WALL_HIT_COST: Final = 10 * SENSOR_UNIT
"""Progress that one wall hit costs."""

PLACE_COST: Final = 100 * SENSOR_UNIT
"""Progress that each kart in front costs."""

REWARD_PER_UNIT: Final = 0.01 / SENSOR_UNIT
"""Reward of one world unit: a step pays less than about 0.2, and a lap about 40."""

POSITION_UNIT: Final = 1000 * SENSOR_UNIT
"""Distance that gives 1 in the state of several agents: a course reaches about twice as far."""

KART_HALF_SIZE: Final = (5.3, 4.7, 7.3)
"""Half of a kart's width, height and length."""
