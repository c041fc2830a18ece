"""The metric ``place`` and the score ``racing``, for races against others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mkds_gym.components.metrics import register_metric
from mkds_gym.components.scorers import driving_scorer, register_scorer
from mkds_gym.race.lengths import PLACE_COST

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.race.state import RaceState


class Place:
    """Place in the race: 1 leads. Not among the default metrics of ``MKDS-v0``."""

    name = "place"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._place = 1

    def update(self, state: RaceState, course: Course) -> None:  # noqa: ARG002
        self._place = state.place + 1

    def collect(self) -> dict[str, float]:
        return {"place": float(self._place)}


def racing_scorer(metrics: Mapping[str, float], /) -> float:
    """Return the score ``driving`` minus 250 for each kart in front, world units.

    Needs the metric ``place``, which is not a default metric of ``MKDS-v0``.

    Raises:
        KeyError: ``place``, ``progress``, ``offroad_path`` or ``wall_hits`` is missing.
    """
    return driving_scorer(metrics) - PLACE_COST * (metrics["place"] - 1.0)


register_metric("place", Place)
register_scorer("racing", racing_scorer)
