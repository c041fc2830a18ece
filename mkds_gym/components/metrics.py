"""Metrics: measurements of an episode.

A metric observes and never touches the emulator or the keys. `Metric.reset` is called once per
episode before the first update, `Metric.update` once per emulated frame (first with the race
start), and `Metric.collect` at any time.

Units: distances are world units (fx32 / 4096); times are centiseconds (frames x 100 / 59.8261) of
the race clock, which starts at GO. The distance between two checkpoints is the distance between
the midpoints of their lines, seen from above.

======================  ==========================================================================
metric                  floats that it collects
======================  ==========================================================================
``distance``            ``distance``: between the checkpoints passed; driving backward subtracts
``speed``               ``speed``: distance divided by the time since the first checkpoint was
                        seen, world units per centisecond; 0 before
``offroad_dist``        ``offroad_dist``: straight lines from where the kart left the road to
                        where it returned
``offroad_path``        ``offroad_path``: length of the path driven off the road
``progress``            ``progress``: world units along the centre line since the episode's start;
                        driving backward subtracts; ``progress_laps``: the same in laps
``lap_times``           ``laps``: laps completed; ``best_lap``, ``last_lap``, ``race_time``:
                        centiseconds, 0 until known
``checkpoint_records``  ``checkpoints``: number of checkpoints left; ``checkpoint_distance``: sum
                        of the distances to each at the moment when the next one was reached
``wall_hits``           ``wall_hits``: number of wall contacts
``air_time``            ``air_time``: centiseconds in the air
``respawns``            ``respawns``: number of respawns
``wrong_way_time``      ``wrong_way_time``: centiseconds under the wrong-way sign
``offroad_share``       ``offroad_share``: share of the frames off the road, without respawns, 0 to
                        1; only if named
``mini_turbos``         ``mini_turbos``: number of mini-turbos; only if named
======================  ==========================================================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, runtime_checkable

from mkds_gym.components.distances import (
    NO_CHECKPOINT,
    Distance,
    OffroadDistance,
    OffroadPath,
    Progress,
    Speed,
)
from mkds_gym.components.registry import Registry
from mkds_gym.race.memory_layout import (
    CENTISECONDS_PER_FRAME,
    DRIVER_FLAG_DRIFT_BOOST,
    DRIVER_FLAG_RESPAWNING,
    DRIVER_STATE_ON_FLOOR,
    DRIVER_STATE_TOUCHING_WALL,
    STATUS_FLAG_FINISHED,
    STATUS_FLAG_WRONG_WAY,
)
from mkds_gym.race.names import OFFROAD_SURFACES
from mkds_gym.utils.arguments import shown

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.course.track import Track
    from mkds_gym.race.state import RaceState

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "AirTime",
    "CheckpointRecord",
    "CheckpointRecords",
    "Distance",
    "LapTimes",
    "Metric",
    "MiniTurbos",
    "OffroadDistance",
    "OffroadPath",
    "OffroadShare",
    "Progress",
    "Respawns",
    "Speed",
    "WallHits",
    "WrongWayTime",
    "collect_all",
    "make_metrics",
    "register_metric",
    "reset_all",
]


@runtime_checkable
class Metric(Protocol):
    """Measures an episode. A small picklable class at the top level of a module."""

    @property
    def name(self) -> str:
        """Name in `METRICS` and in messages."""

    def reset(self) -> None:
        """Start an episode. Called before the first update."""

    def update(self, state: RaceState, course: Course) -> None:
        """Process one emulated frame. The first call gets the race start, before any frame."""

    def collect(self) -> dict[str, float]:
        """Return the measures so far, by name. Callable at any time; changes nothing."""


METRICS: Final[Registry[Metric]] = Registry(
    "metric", Metric, "name, reset(), update(state, course) and collect()"
)
"""Metrics by the name that the argument ``metrics`` takes."""


class LapTimes:
    """Laps completed and their times, exact to the frame.

    As in the game, the first lap starts at GO. In an episode that starts within a lap, that lap's
    time includes what the game's lap timer already shows.
    """

    name = "lap_times"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.times: list[float] = []
        """Centiseconds of each completed lap, in order."""
        self._lap: int | None = None
        self._start = 0
        self._finish = 0
        self._finished = False

    def update(self, state: RaceState, course: Course) -> None:  # noqa: ARG002
        lap = state.lap
        if lap != self._lap or state.status_flags & STATUS_FLAG_FINISHED:
            self._change(state, lap)

    def _change(self, state: RaceState, lap: int) -> None:
        finished = state.finished
        if self._lap is None:
            self._lap = lap
            self._start = max(state.frame - state.lap_frames, 0)
            self._finished = finished
            return
        if self._finished:
            return
        if lap > self._lap or finished:
            if self._lap >= 1:
                self.times.append((state.frame - self._start) * CENTISECONDS_PER_FRAME)
                self._start = state.frame
            # A kart that crosses the line backward and forward again does not count a lap twice.
            self._lap = max(lap, self._lap)
        if finished:
            self._finished = True
            self._finish = state.frame

    def collect(self) -> dict[str, float]:
        times = self.times
        return {
            "laps": float(len(times)),
            "best_lap": min(times) if times else 0.0,
            "last_lap": times[-1] if times else 0.0,
            "race_time": self._finish * CENTISECONDS_PER_FRAME,
        }


class CheckpointRecord(NamedTuple):
    """A checkpoint that was left.

    Attributes:
        checkpoint: index of the checkpoint.
        lap: lap in which it was left.
        time: centiseconds since the previous record; for the first, since the first update.
        distance: world units from the kart to the checkpoint's line when it was left.
    """

    checkpoint: int
    lap: int
    time: float
    distance: float


class CheckpointRecords:
    """One `CheckpointRecord` per change of the current checkpoint, over all laps.

    Attributes:
        records: those of this episode, in order.
    """

    name = "checkpoint_records"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.records: list[CheckpointRecord] = []
        self._checkpoint = NO_CHECKPOINT
        self._lap = 0
        self._split = 0
        self._distance = 0.0

    def update(self, state: RaceState, course: Course) -> None:
        if state.checkpoint != self._checkpoint:
            self._change(state, course.track)
        self._lap = state.lap

    def _change(self, state: RaceState, track: Track) -> None:
        if not 0 <= state.checkpoint < len(track):
            return
        left = self._checkpoint
        self._checkpoint = state.checkpoint
        if left != NO_CHECKPOINT:
            x, _, z = state.position
            distance = track.distance_to(left, x, z)
            time = (state.frame - self._split) * CENTISECONDS_PER_FRAME
            self.records.append(CheckpointRecord(left, self._lap, time, distance))
            self._distance += distance
        self._split = state.frame

    def collect(self) -> dict[str, float]:
        return {
            "checkpoints": float(len(self.records)),
            "checkpoint_distance": self._distance,
        }


class _Count(ABC):
    """Counts how often a condition becomes true. A condition that holds at the start is ignored."""

    name: str

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._count = 0
        self._held = True

    def update(self, state: RaceState, course: Course) -> None:  # noqa: ARG002
        holds = self._holds(state)
        if holds and not self._held:
            self._count += 1
        self._held = holds

    def collect(self) -> dict[str, float]:
        return {self.name: float(self._count)}

    @abstractmethod
    def _holds(self, state: RaceState) -> bool:
        """Return whether the condition holds in this frame."""


class WallHits(_Count):
    """Number of wall contacts: rising edges of the game's bit."""

    name = "wall_hits"

    def _holds(self, state: RaceState) -> bool:
        return bool(state.state_bits & DRIVER_STATE_TOUCHING_WALL)


class Respawns(_Count):
    """Number of respawns."""

    name = "respawns"

    def _holds(self, state: RaceState) -> bool:
        return bool(state.flags & DRIVER_FLAG_RESPAWNING)


class MiniTurbos(_Count):
    """Number of mini-turbos: rising edges of the game's bit."""

    name = "mini_turbos"

    def _holds(self, state: RaceState) -> bool:
        return bool(state.flags & DRIVER_FLAG_DRIFT_BOOST)


class OffroadShare:
    """Share of the frames in which the kart is off the road. Respawns count as on the road."""

    name = "offroad_share"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._frames = self._offroad = 0

    def update(self, state: RaceState, course: Course) -> None:  # noqa: ARG002
        self._frames += 1
        self._offroad += (
            state.surface in OFFROAD_SURFACES and not state.flags & DRIVER_FLAG_RESPAWNING
        )

    def collect(self) -> dict[str, float]:
        return {"offroad_share": self._offroad / self._frames if self._frames else 0.0}


class _Time(ABC):
    """Centiseconds during which a condition holds.

    A frame counts if the condition held at its start, so the first update adds nothing.
    """

    name: str

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._frames = 0
        self._held = False

    def update(self, state: RaceState, course: Course) -> None:  # noqa: ARG002
        self._frames += self._held
        self._held = self._holds(state)

    def collect(self) -> dict[str, float]:
        return {self.name: self._frames * CENTISECONDS_PER_FRAME}

    @abstractmethod
    def _holds(self, state: RaceState) -> bool:
        """Return whether the condition holds in this frame."""


class AirTime(_Time):
    """Time in the air, without respawns."""

    name = "air_time"

    def _holds(self, state: RaceState) -> bool:
        return not (
            state.state_bits & DRIVER_STATE_ON_FLOOR or state.flags & DRIVER_FLAG_RESPAWNING
        )


class WrongWayTime(_Time):
    """Time under the game's wrong-way sign."""

    name = "wrong_way_time"

    def _holds(self, state: RaceState) -> bool:
        return bool(state.status_flags & STATUS_FLAG_WRONG_WAY)


def _speed_by_name() -> Speed:
    speed = Speed(Distance())
    speed.by_name = True
    return speed


METRICS.register("distance", Distance)
METRICS.register("speed", _speed_by_name)
METRICS.register("offroad_dist", OffroadDistance)
METRICS.register("offroad_path", OffroadPath)
METRICS.register("progress", Progress)
METRICS.register("lap_times", LapTimes)
METRICS.register("checkpoint_records", CheckpointRecords)
METRICS.register("wall_hits", WallHits)
METRICS.register("air_time", AirTime)
METRICS.register("respawns", Respawns)
METRICS.register("wrong_way_time", WrongWayTime)

DEFAULT_METRICS: Final = METRICS.names()
"""The metrics of an environment without the argument ``metrics``."""

METRICS.register("offroad_share", OffroadShare)
METRICS.register("mini_turbos", MiniTurbos)


def register_metric(name: str, factory: Callable[..., Metric]) -> None:
    """Register a custom metric: ``register_metric("drifts", Drifts)``.

    Raises:
        ValueError: the name is taken or malformed.
    """
    METRICS.register(name, factory)


def make_metrics(metrics: str | Metric | Iterable[str | Metric]) -> list[Metric]:
    """Return metric objects, given names and objects.

    A `Speed` uses the `Distance` among them. Without a `Distance`, one is added in front of the
    `Speed`, and is updated and collected too.

    Args:
        metrics: names of `METRICS` and metric objects, in the order in which they are updated.

    Raises:
        ValueError: unknown name, or the same name twice.
        TypeError: an item is not a name or a metric.
    """
    given = METRICS.make_all("metrics", metrics, unique=False)
    distance = next((metric for metric in given if isinstance(metric, Distance)), None)
    result: list[Metric] = []
    for metric in given:
        if isinstance(metric, Speed) and not any(other is metric.distance for other in given):
            if metric.by_name and distance is not None:
                metric.distance = distance
            else:
                distance = metric.distance
                result.append(distance)
        result.append(metric)
    METRICS.check_unique(result)
    return result


def reset_all(metrics: Iterable[Metric]) -> None:
    """Reset all metrics."""
    for metric in metrics:
        metric.reset()


def collect_all(metrics: Sequence[Metric]) -> dict[str, float]:
    """Return the measures of all metrics in one flat dict.

    Raises:
        ValueError: two metrics collect the same name.
    """
    collected: dict[str, float] = {}
    total = 0
    for metric in metrics:
        measures = metric.collect()
        collected.update(measures)
        total += len(measures)
    if len(collected) != total:
        raise _duplicate_name(metrics)
    return collected


def _duplicate_name(metrics: Sequence[Metric]) -> ValueError:
    """The error for the first two metrics that collect the same name."""
    owners: dict[str, Metric] = {}
    for metric in metrics:
        for name in sorted(metric.collect()):
            first = owners.setdefault(name, metric)
            if first is not metric:
                common = sorted(first.collect().keys() & metric.collect().keys())
                return ValueError(
                    f"metrics {shown(first.name)} and {shown(metric.name)} both collect "
                    f"{', '.join(map(repr, common))}: leave one out, or rename its measure"
                )
    return ValueError("a metric is given twice: pass each metric once")
