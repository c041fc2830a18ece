"""The map of a course: checkpoints, respawn points, routes, start grid and item boxes."""

from mkds_gym.kartlab.compiler.map.nkm import build_nkm
from mkds_gym.kartlab.compiler.map.plan import (
    GRID_PLACES,
    MapPlan,
    plan_map,
)

__all__ = [
    "GRID_PLACES",
    "MapPlan",
    "build_nkm",
    "plan_map",
]
