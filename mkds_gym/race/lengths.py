"""Lengths and speeds by which sensors, events, rewards, overlays and drivers measure a race.

The real game and Kartlab have the same scale: a road is 200 to 400 world units wide, a lap 8,000 to
16,000 long, and a kart with a radius of 8 drives up to 7.55 units a frame. Every distance that
normalises a value is here, as a multiple of `SENSOR_UNIT`, for both cartridges. Lengths are in
world units, speeds in world units per frame.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BEND_RADIUS",
    "BEND_SPACING",
    "CENTRE_LINE_SPACING",
    "CHECKPOINT_DISTANCE",
    "CRAWL_SPEED",
    "DRAWN_LINE_AHEAD",
    "DRAWN_LINE_BEHIND",
    "DRAWN_LINE_STEP",
    "DRAWN_RADIUS",
    "DRAWN_RAY_LENGTH",
    "DRIFT_RADIUS",
    "KART_HALF_SIZE",
    "OBSTACLE_DISTANCE",
    "OPPONENT_DISTANCE",
    "PLACE_COST",
    "POSITION_UNIT",
    "PURSUIT_BRAKING",
    "PURSUIT_DISTANCE",
    "PURSUIT_TOP_SPEED",
    "RAY_HEIGHT",
    "REWARD_PER_UNIT",
    "SENSOR_UNIT",
    "SPEED_DIFFERENCE",
    "STUCK_DISTANCE",
    "TRAIL_SPACING",
    "U_TURN_SPEED",
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

CENTRE_LINE_SPACING: Final = 8 * SENSOR_UNIT
"""Distance between two samples of a course's centre line, and of the driver's speeds along it."""

DRAWN_RADIUS: Final = 180 * SENSOR_UNIT
"""Distance from the kart within which overlays draw walls: about two roads."""

DRAWN_RAY_LENGTH: Final = 200 * SENSOR_UNIT
"""Length of the drawn rays."""

DRAWN_LINE_AHEAD: Final = 500 * SENSOR_UNIT
"""Length of the drawn centre line ahead of the kart: about three seconds' drive."""

DRAWN_LINE_BEHIND: Final = 40 * SENSOR_UNIT
"""Length of the drawn centre line behind the kart, which the camera sees."""

DRAWN_LINE_STEP: Final = 10 * SENSOR_UNIT
"""Distance between two points of the drawn centre line."""

TRAIL_SPACING: Final = 4 * SENSOR_UNIT
"""Smallest distance between two points of a drawn trail: less than two frames at top speed."""

PURSUIT_DISTANCE: Final = 32 * SENSOR_UNIT
"""Distance of the point that `PurePursuit` steers for, at rest."""

DRIFT_RADIUS: Final = 330 * SENSOR_UNIT
"""Largest radius of a bend in which a drift pays."""

PURSUIT_TOP_SPEED: Final = 20.0
"""Upper limit of the scripted driver's target speeds: no kart is so fast."""

PURSUIT_BRAKING: Final = 0.115
"""Deceleration that braking certainly reaches, world units per frame squared."""

CRAWL_SPEED: Final = 1.6
"""Speed of a kart that hardly moves: a fifth of the top speed."""

U_TURN_SPEED: Final = 2.6
"""Speed at which a kart can turn round on a road."""

KART_HALF_SIZE: Final = (5.3, 4.7, 7.3)
"""Half of a kart's width, height and length."""
