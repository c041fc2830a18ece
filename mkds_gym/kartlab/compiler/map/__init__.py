"""The map of a course: checkpoints, respawn points, routes, start grid and item boxes."""

from mkds_gym.kartlab.compiler.map.nkm import build_nkm
from mkds_gym.kartlab.compiler.map.plan import (
    GRID_PLACES,
    GRID_ROW,
    GRID_SIDE,
    GRID_STAGGER,
    MapPlan,
    plan_map,
)

__all__ = [
    "GRID_PLACES",
    "GRID_ROW",
    "GRID_SIDE",
    "GRID_STAGGER",
    "MapPlan",
    "build_nkm",
    "plan_map",
]
