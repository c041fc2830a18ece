"""Metrics: what is measured over an episode, and the scores made of it.

A metric observes: it never touches the emulator or the keys. Three calls: `Metric.reset` once
per episode before the first update; `Metric.update` once per emulated frame, the first time with
the race start; `Metric.collect` whenever somebody wants the numbers.

Units: distances are world units (fx32 / 4096), times are true centiseconds (frames x 100 /
59.8261) of the race clock, which starts at GO. A distance between checkpoints is that of the
midpoints of their lines, seen from above.

======================  ==========================================================================
metric                  floats it collects
======================  ==========================================================================
``distance``            ``distance``: between the checkpoints passed, backward ones subtracted
``speed``               ``speed``: distance so far over the time since the first observed
                        checkpoint, world units per centisecond (x 100: per second); 0 before
``offroad_dist``        ``offroad_dist``: straight lines from where the road was left to where it
                        was reached again
``offroad_path``        ``offroad_path``: the way really driven off the road
``progress``            ``progress``: world units driven along the centre line, backward ones
                        subtracted, since the start; ``progress_laps``: the same in laps
``lap_times``           ``laps``: laps done; ``best_lap``, ``last_lap``, ``race_time``:
                        centiseconds, 0 until there is one
``checkpoint_records``  ``checkpoints``: how many were left; ``checkpoint_distance``: sum of the
                        distances to each at the moment the next one was reached
``wall_hits``           ``wall_hits``: how often the kart came into touch with a wall
``air_time``            ``air_time``: centiseconds in the air
``respawns``            ``respawns``: how often the kart was put back on the course
``wrong_way_time``      ``wrong_way_time``: centiseconds under the wrong-way sign
======================  ==========================================================================
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, runtime_checkable

from mkds_gym.components.registry import Registry
from mkds_gym.race.memory_layout import (
    CENTISECONDS_PER_FRAME,
    DRIVER_FLAG_RESPAWNING,
    DRIVER_STATE_ON_FLOOR,
    DRIVER_STATE_TOUCHING_WALL,
    STATUS_FLAG_FINISHED,
    STATUS_FLAG_WRONG_WAY,
)
from mkds_gym.race.names import OFFROAD_SURFACES
from mkds_gym.utils.arguments import as_list

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.course.track import Track
    from mkds_gym.race.state import RaceState, Vector


@runtime_checkable
class Metric(Protocol):
    """Measures an episode. A small class at the top level of a module, which pickles.

    Attributes:
        name: what it is called in `METRICS` and in messages.
    """

    name: str

    def reset(self) -> None:
        """Begin an episode. Called before the first update."""

    def update(self, state: RaceState, course: Course) -> None:
        """See one emulated frame; first the race start, before any frame was driven."""

    def collect(self) -> dict[str, float]:
        """The measures so far, by name. Legal at any time, and changes nothing."""


class FitnessScorer(Protocol):
    """Makes one number of an episode's metrics; more is better."""

    def __call__(self, metrics: Mapping[str, float], /) -> float:
        """The score.

        Raises:
            KeyError: a metric that the score needs is missing.
        """


METRICS: Final[Registry[Metric]] = Registry("metric", Metric)
"""What ``metrics`` may name. ``speed`` takes the distance metric: see `make_metrics`."""

SCORERS: Final[Registry[FitnessScorer]] = Registry("scorer")
"""Named scorers. A factory is called without arguments and returns the scorer."""

_NOWHERE: Final = -1
"""No checkpoint: none was seen yet."""


def signed_way(track: Track, start: int, end: int) -> float:
    """Length of the shortest way between two checkpoints, negative when it leads backward.

    The way goes from midpoint to midpoint of neighbours, and may take any branch. Where forward
    and backward are equally long, it is forward.

    Returns:
        World units; 0 when no way leads from one to the other.
    """
    forward = _shortest_way(track, start, end)
    backward = _shortest_way(track, end, start)
    if forward <= backward:
        return forward if math.isfinite(forward) else 0.0
    return -backward


def _shortest_way(track: Track, start: int, end: int) -> float:
    """Dijkstra's algorithm along `Track.next`; infinity when there is no way."""
    done: set[int] = set()
    queue = [(0.0, start)]
    while queue:
        length, here = heapq.heappop(queue)
        if here == end:
            return length
        if here in done:
            continue
        done.add(here)
        for there in track.next(here):
            heapq.heappush(queue, (length + _between(track, here, there), there))
    return math.inf


def _between(track: Track, a: int, b: int) -> float:
    """Distance between the midpoints of two checkpoints, world units."""
    return math.dist(track.middle(a), track.middle(b))


class Distance:
    """Distance between the checkpoints passed.

    Passing to a next checkpoint (on any branch) adds the distance between the midpoints of the
    one left and the one entered; passing to a previous one subtracts it. Any other change, by a
    short cut or a respawn, adds the signed shortest way, see `signed_way`.
    """

    name = "distance"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """See `Metric.reset`."""
        self.total = 0.0
        self._checkpoint = _NOWHERE
        self._next: tuple[int, ...] = ()
        self._previous: tuple[int, ...] = ()

    def update(self, state: RaceState, course: Course) -> None:
        """See `Metric.update`."""
        if state.checkpoint != self._checkpoint:
            self._enter(state.checkpoint, course.track)

    def _enter(self, checkpoint: int, track: Track) -> None:
        if not 0 <= checkpoint < len(track):
            return  # The game does not know yet where the kart is.
        left = self._checkpoint
        if left != _NOWHERE:
            if checkpoint in self._next:
                self.total += _between(track, left, checkpoint)
            elif checkpoint in self._previous:
                self.total -= _between(track, left, checkpoint)
            else:
                self.total += signed_way(track, left, checkpoint)
        self._checkpoint = checkpoint
        self._next = track.next(checkpoint)
        self._previous = track.previous(checkpoint)

    def collect(self) -> dict[str, float]:
        """See `Metric.collect`."""
        return {"distance": self.total}


class Speed:
    """Distance so far over the clock's time since the first observed checkpoint.

    World units per centisecond; times 100 is per second. 0 while no time has passed.

    Args:
        distance: the metric that measures the distance. It is updated on its own, next to this
            one: nothing is counted twice.
    """

    name = "speed"

    def __init__(self, distance: Distance) -> None:
        if not isinstance(distance, Distance):
            raise TypeError(
                f"Speed wants the Distance metric that it is to divide, not {distance!r}; "
                "or let make_metrics(['distance', 'speed']) wire them"
            )
        self.distance = distance
        self.reset()

    def reset(self) -> None:
        """See `Metric.reset`."""
        self._start: int | None = None
        self._frame = 0

    def update(self, state: RaceState, course: Course) -> None:
        """See `Metric.update`."""
        self._frame = state.frame
        if self._start is None and 0 <= state.checkpoint < len(course.track):
            self._start = state.frame

    def collect(self) -> dict[str, float]:
        """See `Metric.collect`."""
        frames = 0 if self._start is None else self._frame - self._start
        if frames <= 0:
            return {"speed": 0.0}
        return {"speed": self.distance.total / (frames * CENTISECONDS_PER_FRAME)}


class _OffRoad:
    """Follows the stretches driven off the road.

    A stretch begins at the first position off the road (surfaces 2, 3 and 5) and ends at the
    first on it. Being put back on the course ends it where the kart was last: nobody drove that
    way. `collect` counts a stretch that still lasts.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """See `Metric.reset`."""
        self._done = 0.0
        self._start: Vector | None = None
        self._last: Vector = (0.0, 0.0, 0.0)

    def update(self, state: RaceState, course: Course) -> None:  # noqa: ARG002
        """See `Metric.update`."""
        if state.surface in OFFROAD_SURFACES:
            self._off(state)
        elif self._start is not None:
            self._back(state)

    def _off(self, state: RaceState) -> None:
        if state.flags & DRIVER_FLAG_RESPAWNING:
            if self._start is not None:
                self._end()
            return
        position = state.position
        if self._start is None:
            self._start = self._last = position
        else:
            self._move(position)

    def _back(self, state: RaceState) -> None:
        if not state.flags & DRIVER_FLAG_RESPAWNING:
            self._move(state.position)
        self._end()

    def _move(self, position: Vector) -> None:
        self._last = position

    def _end(self) -> None:
        self._done += self._stretch()
        self._start = None

    def _stretch(self) -> float:
        """Length of the stretch that lasts, world units."""
        return 0.0 if self._start is None else math.dist(self._start, self._last)


class OffroadDistance(_OffRoad):
    """Straight-line distance off the road, from where it was left to where it was reached.

    In three dimensions. An episode that ends off the road counts up to where it ended.
    """

    name = "offroad_dist"

    def collect(self) -> dict[str, float]:
        """See `Metric.collect`."""
        return {"offroad_dist": self._done + self._stretch()}


class OffroadPath(_OffRoad):
    """Length of the way driven off the road, frame by frame, in three dimensions."""

    name = "offroad_path"

    def reset(self) -> None:
        """See `Metric.reset`."""
        super().reset()
        self._path = 0.0

    def _move(self, position: Vector) -> None:
        self._path += math.dist(self._last, position)
        self._last = position

    def _stretch(self) -> float:
        return 0.0

    def collect(self) -> dict[str, float]:
        """See `Metric.collect`."""
        return {"offroad_path": self._path}


class Progress:
    """Way along the centre line since the episode's start, backward ways subtracted.

    Dense: it grows with every frame, not just at checkpoints, and across the start line. The
    place on the centre line is worked out when the checkpoint changes or the measure is asked
    for, which telescopes to the same sum as every frame would.
    """

    name = "progress"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """See `Metric.reset`."""
        self._total = 0.0
        self._length = 0.0
        self._place: float | None = None
        self._checkpoint = _NOWHERE
        # The last frame, not worked out yet.
        self._state: RaceState | None = None
        self._course: Course | None = None

    def update(self, state: RaceState, course: Course) -> None:
        """See `Metric.update`."""
        self._state = state
        self._course = course
        if state.checkpoint != self._checkpoint:
            self._fold()
            self._checkpoint = state.checkpoint

    def _fold(self) -> None:
        """Add the way from the place that was worked out last to the kart's."""
        state, course = self._state, self._course
        if state is None or course is None:
            return
        self._state = None
        track = course.track
        if not 0 <= state.checkpoint < len(track):
            return
        x, _, z = state.position
        place = track.progress(state.checkpoint, x, z)
        if self._place is not None:
            # The nearer way round: between two calls nobody drives half a lap.
            self._total += track.gap(self._place, place)
        self._place = place
        self._length = track.length

    @property
    def total(self) -> float:
        """World units so far."""
        self._fold()
        return self._total

    def collect(self) -> dict[str, float]:
        """See `Metric.collect`."""
        total = self.total
        return {
            "progress": total,
            "progress_laps": total / self._length if self._length else 0.0,
        }

    def __getstate__(self) -> dict[str, Any]:
        """Leave the course and its meshes out of the pickle; the next update brings it again."""
        self._fold()
        return {**self.__dict__, "_state": None, "_course": None}


class LapTimes:
    """Laps done and their times, exact to the frame.

    As in the game, the first lap's time starts at GO. An episode that starts in the middle of a
    lap counts that lap from where the game's lap counter has it.
    """

    name = "lap_times"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """See `Metric.reset`."""
        self.times: list[float] = []
        """Centiseconds of each lap done, in order."""
        self._lap: int | None = None
        self._start = 0
        self._finish = 0
        self._finished = False

    def update(self, state: RaceState, course: Course) -> None:  # noqa: ARG002
        """See `Metric.update`."""
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
            # A lap that was taken back, by driving over the line backward, is not counted
            # again: the lap reached only ever grows.
            self._lap = max(lap, self._lap)
        if finished:
            self._finished = True
            self._finish = state.frame

    def collect(self) -> dict[str, float]:
        """See `Metric.collect`."""
        times = self.times
        return {
            "laps": float(len(times)),
            "best_lap": min(times) if times else 0.0,
            "last_lap": times[-1] if times else 0.0,
            "race_time": self._finish * CENTISECONDS_PER_FRAME,
        }


class CheckpointRecord(NamedTuple):
    """What is noted when a checkpoint is left.

    Attributes:
        checkpoint: index of the one left.
        lap: the lap in which it was left (before the frame that may begin the next).
        time: centiseconds since the last split (for the first, since the first update).
        distance: world units from the kart to the checkpoint's line, at that moment.
    """

    checkpoint: int
    lap: int
    time: float
    distance: float


class CheckpointRecords:
    """A record each time the current checkpoint changes. Records append, lap after lap.

    Attributes:
        records: of this episode, in order.
    """

    name = "checkpoint_records"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """See `Metric.reset`."""
        self.records: list[CheckpointRecord] = []
        self._checkpoint = _NOWHERE
        self._lap = 0
        self._split = 0
        self._distance = 0.0

    def update(self, state: RaceState, course: Course) -> None:
        """See `Metric.update`."""
        if state.checkpoint != self._checkpoint:
            self._change(state, course.track)
        self._lap = state.lap

    def _change(self, state: RaceState, track: Track) -> None:
        if not 0 <= state.checkpoint < len(track):
            return
        left = self._checkpoint
        self._checkpoint = state.checkpoint
        if left != _NOWHERE:
            x, _, z = state.position
            distance = track.distance_to(left, x, z)
            time = (state.frame - self._split) * CENTISECONDS_PER_FRAME
            self.records.append(CheckpointRecord(left, self._lap, time, distance))
            self._distance += distance
        self._split = state.frame

    def collect(self) -> dict[str, float]:
        """See `Metric.collect`."""
        return {
            "checkpoints": float(len(self.records)),
            "checkpoint_distance": self._distance,
        }


class WallHits:
    """How often the kart came into touch with a wall (rising edges of the game's bit)."""

    name = "wall_hits"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """See `Metric.reset`."""
        self._hits = 0
        # As if it had always touched one: a kart that starts at a wall did not hit it.
        self._touching = DRIVER_STATE_TOUCHING_WALL

    def update(self, state: RaceState, course: Course) -> None:  # noqa: ARG002
        """See `Metric.update`."""
        touching = state.state_bits & DRIVER_STATE_TOUCHING_WALL
        if touching != self._touching:
            self._touching = touching
            if touching:
                self._hits += 1

    def collect(self) -> dict[str, float]:
        """See `Metric.collect`."""
        return {"wall_hits": float(self._hits)}


class AirTime:
    """Time in the air, while the kart was not being put back on the course."""

    name = "air_time"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """See `Metric.reset`."""
        self._frames = 0
        # A frame counts for what the kart did at its beginning, so that the first update,
        # before any frame was driven, adds nothing.
        self._flying = False

    def update(self, state: RaceState, course: Course) -> None:  # noqa: ARG002
        """See `Metric.update`."""
        if self._flying:
            self._frames += 1
        self._flying = not (
            state.state_bits & DRIVER_STATE_ON_FLOOR or state.flags & DRIVER_FLAG_RESPAWNING
        )

    def collect(self) -> dict[str, float]:
        """See `Metric.collect`."""
        return {"air_time": self._frames * CENTISECONDS_PER_FRAME}


class Respawns:
    """How often the kart was put back on the course."""

    name = "respawns"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """See `Metric.reset`."""
        self._count = 0
        self._respawning = DRIVER_FLAG_RESPAWNING

    def update(self, state: RaceState, course: Course) -> None:  # noqa: ARG002
        """See `Metric.update`."""
        respawning = state.flags & DRIVER_FLAG_RESPAWNING
        if respawning != self._respawning:
            self._respawning = respawning
            if respawning:
                self._count += 1

    def collect(self) -> dict[str, float]:
        """See `Metric.collect`."""
        return {"respawns": float(self._count)}


class WrongWayTime:
    """Time under the game's wrong-way sign."""

    name = "wrong_way_time"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """See `Metric.reset`."""
        self._frames = 0
        self._wrong = 0

    def update(self, state: RaceState, course: Course) -> None:  # noqa: ARG002
        """See `Metric.update`."""
        if self._wrong:
            self._frames += 1
        self._wrong = state.status_flags & STATUS_FLAG_WRONG_WAY

    def collect(self) -> dict[str, float]:
        """See `Metric.collect`."""
        return {"wrong_way_time": self._frames * CENTISECONDS_PER_FRAME}


def _lone_speed() -> Speed:
    """``speed`` by itself: with a distance metric that `make_metrics` adds."""
    return Speed(Distance())


METRICS.register("distance", Distance)
METRICS.register("speed", _lone_speed)
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
"""Every metric of this module."""


def register_metric(name: str, factory: Callable[..., Metric]) -> None:
    """Let ``metrics`` name a metric of yours: ``register_metric("drifts", Drifts)``.

    Raises:
        ValueError: the name is taken or malformed.
    """
    METRICS.register(name, factory)


def make_metrics(metrics: str | Metric | Iterable[str | Metric]) -> list[Metric]:
    """Metrics from names and objects.

    A `Speed` divides the `Distance` among them; without one, that distance is added before it,
    so that it is updated, and its measure is collected too.

    Args:
        metrics: names of `METRICS` and metric objects, in the order in which they are updated.

    Raises:
        ValueError: an unknown name, or the same name twice.
        TypeError: an entry is neither a name nor a metric.
    """
    wanted = as_list("metrics", metrics, str | Metric)
    made: list[Metric | None] = []  # None: "speed", which waits for its distance metric.
    for spec in wanted:
        if isinstance(spec, str):
            made.append(None if spec == "speed" else METRICS.make(spec))
        elif isinstance(spec, Metric) and not isinstance(spec, type):
            made.append(spec)
        else:
            raise TypeError(
                f"{spec!r} is no metric: give a name ({', '.join(METRICS)}) or an object with "
                "name, reset(), update(state, course) and collect()"
            )
    distance = next((metric for metric in made if isinstance(metric, Distance)), None)
    wired: list[Metric] = []
    for metric in made:
        if metric is None:
            if distance is None:
                distance = Distance()
                wired.append(distance)
            wired.append(Speed(distance))
            continue
        if isinstance(metric, Speed) and not any(other is metric.distance for other in made):
            wired.append(metric.distance)
        wired.append(metric)
    names = [metric.name for metric in wired]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"metric {name!r} is given twice; give each metric once")
    return wired


def reset_all(metrics: Iterable[Metric]) -> None:
    """Begin an episode for all of them."""
    for metric in metrics:
        metric.reset()


def collect_all(metrics: Sequence[Metric]) -> dict[str, float]:
    """The measures of all of them in one flat dict.

    Raises:
        ValueError: two metrics collect under the same name.
    """
    collected: dict[str, float] = {}
    total = 0
    for metric in metrics:
        measures = metric.collect()
        collected.update(measures)
        total += len(measures)
    if len(collected) != total:
        raise _name_twice(metrics)
    return collected


def _name_twice(metrics: Sequence[Metric]) -> ValueError:
    """What to say of the first two metrics that collect under one name."""
    owners: dict[str, Metric] = {}
    for metric in metrics:
        for name in sorted(metric.collect()):
            first = owners.setdefault(name, metric)
            if first is not metric:
                common = sorted(first.collect().keys() & metric.collect().keys())
                return ValueError(
                    f"metrics {first.name!r} and {metric.name!r} both collect "
                    f"{', '.join(map(repr, common))}; leave one out, or rename its measure"
                )
    return ValueError("a metric is given twice; give each metric once")


def default_fitness_scorer(metrics: Mapping[str, float], /) -> float:
    """The distance metric, world units.

    Raises:
        KeyError: ``distance`` is not among the metrics.
    """
    return metrics["distance"]


OFFROAD_COST: Final = 0.25
"""World units of progress that one driven off the road costs, in `driving_scorer`."""
WALL_HIT_COST: Final = 10.0
"""World units of progress that a wall hit costs, in `driving_scorer`."""


def progress_scorer(metrics: Mapping[str, float], /) -> float:
    """The progress metric, world units.

    Raises:
        KeyError: ``progress`` is not among the metrics.
    """
    return metrics["progress"]


def driving_scorer(metrics: Mapping[str, float], /) -> float:
    """Progress less what off-road driving and wall hits cost, world units.

    Raises:
        KeyError: ``progress``, ``offroad_path`` or ``wall_hits`` is not among the metrics.
    """
    return (
        metrics["progress"]
        - OFFROAD_COST * metrics["offroad_path"]
        - WALL_HIT_COST * metrics["wall_hits"]
    )


def checkpoint_distance_scorer(metrics: Mapping[str, float], /) -> float:
    """Sum of the distances in the checkpoint records, world units.

    Raises:
        KeyError: ``checkpoint_distance`` is not among the metrics.
    """
    return metrics["checkpoint_distance"]


class _Given:
    """A factory that returns what it was given."""

    def __init__(self, scorer: FitnessScorer) -> None:
        self._scorer = scorer

    def __call__(self) -> FitnessScorer:
        return self._scorer


def register_scorer(name: str, scorer: FitnessScorer) -> None:
    """Let a reward or a run's config name a scorer of yours.

    Args:
        name: a new name.
        scorer: the scorer itself; a function at the top level of a module pickles.

    Raises:
        ValueError: the name is taken or malformed.
    """
    SCORERS.register(name, _Given(scorer))


register_scorer("distance", default_fitness_scorer)
register_scorer("progress", progress_scorer)
register_scorer("driving", driving_scorer)
register_scorer("checkpoint_distance", checkpoint_distance_scorer)
