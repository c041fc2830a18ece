"""A race is read the same way whichever of its drivers is asked for."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import pytest
from race_memory import RaceMemory, drive, fx, meadow

from mkds_gym.components.episode_stats import EpisodeStats
from mkds_gym.components.events import EVENTS, make_events
from mkds_gym.components.metrics import METRICS, make_metrics
from mkds_gym.components.scorers import SCORERS
from mkds_gym.components.sensors import SENSORS
from mkds_gym.race.lengths import OPPONENT_DISTANCE, PLACE_COST, SPEED_DIFFERENCE
from mkds_gym.race.memory_layout import DRIVER, DRIVER_LIMIT, RACE_STATUS
from mkds_gym.race.reader import RaceReader
from mkds_gym.race.state import RaceState

DRIVERS_AT = -DRIVER.itemsize
"""Where the only driver begins in a copy of a race with one driver."""
WITHOUT_OTHERS = [name for name in SENSORS.names() if name != "opponents"]


def moved(state: RaceState, index: int) -> RaceState:
    """Return a race of eight in which driver `index` is the only driver of another race.

    The other drivers have random bytes.
    """
    copied = state.__reduce__()[1][0]
    generator = np.random.default_rng(index)
    status = np.frombuffer(copied[: RACE_STATUS.itemsize], RACE_STATUS).copy()
    own = status["drivers"][0, 0].copy()
    noise = generator.integers(256, size=status["drivers"].nbytes, dtype=np.uint8)
    status["drivers"] = noise.view(status["drivers"].dtype).reshape(status["drivers"].shape)
    status["drivers"][0, index] = own
    drivers = generator.integers(256, size=DRIVER_LIMIT * DRIVER.itemsize, dtype=np.uint8)
    drivers = drivers.reshape(DRIVER_LIMIT, -1)
    drivers[index] = np.frombuffer(copied[DRIVERS_AT:], np.uint8)
    between = copied[RACE_STATUS.itemsize : DRIVERS_AT]
    return RaceState(status.tobytes() + between + drivers.tobytes(), index)


@pytest.fixture(scope="module", params=[1, 4, 7])
def views(request: pytest.FixtureRequest) -> list[tuple[RaceState, RaceState]]:
    """The states of a lap alone, and the same with the driver at another index."""
    return [(state, moved(state, request.param)) for state in drive().states]


def test_every_property_is_that_of_the_driver(views: list[tuple[RaceState, RaceState]]) -> None:
    names = {
        name
        for name, _ in inspect.getmembers(RaceState, lambda m: isinstance(m, property))
        if not name.startswith("_")
    } | {"frame", "lap", "checkpoint", "surface", "state_bits", "flags", "status_flags"}
    assert len(names) > 40
    for (alone, among), name in itertools.product(views[::97], names - {"opponents"}):
        if name not in ("driver", "driver_count"):
            assert getattr(among, name) == getattr(alone, name), name
    assert views[0][1].driver_count == 8
    assert views[0][0].driver == 0 < views[0][1].driver


@pytest.mark.parametrize("name", WITHOUT_OTHERS)
def test_every_sensor_is_that_of_the_driver(
    name: str, views: list[tuple[RaceState, RaceState]]
) -> None:
    sensor, course = SENSORS.make(name), drive().course
    for alone, among in views[::41]:
        assert sensor.read(among, course).tobytes() == sensor.read(alone, course).tobytes()


def test_every_metric_and_event_is_that_of_the_driver(
    views: list[tuple[RaceState, RaceState]],
) -> None:
    course = drive().course
    names = ["stuck:60" if name == "stuck" else name for name in EVENTS.names()]
    results = []
    for side in range(2):
        stats = EpisodeStats(make_metrics(METRICS.names()), make_events("terminate_on", names))
        stats.reset(views[0][side], course)
        events = [
            [event.name for event in stats.update([pair[side]], course)] for pair in views[1:]
        ]
        metrics = stats.collect()
        scores = {name: SCORERS.make(name)(metrics) for name in SCORERS.names()}
        results.append((events, metrics, scores, course.track.laps(views[-1][side])))
    assert results[0] == results[1]
    assert ["finish"] in results[0][0]


def test_every_driver_sees_the_others_from_its_own_kart() -> None:
    race = RaceMemory(drivers=4)
    places = [(0.0, 0.0), (40.0, 10.0), (-30.0, 60.0), (5.0, -80.0)]
    for index, (x, z) in enumerate(places):
        race.drivers[index]["position"] = fx((x, 0.0, z))
        race.drivers[index]["forward"] = fx((0.0, 0.0, 1.0))
        race.drivers[index]["velocity"] = fx((0.25 * index, 0.0, 0.0))
    sensor = SENSORS.make("opponents:7")
    for index, (x, z) in enumerate(places):
        state = RaceReader(race.ram, driver=index).read()
        others = sorted(
            (np.hypot(a - x, b - z), a - x, b - z, 0.25 * (other - index))
            for other, (a, b) in enumerate(places)
            if other != index
        )
        values = sensor.read(state, meadow()).reshape(7, 5)
        for row, (distance, left, ahead, faster) in zip(values, others, strict=False):
            near, relative = 1 / (1 + distance / OPPONENT_DISTANCE), faster / SPEED_DIFFERENCE
            expected = (near, ahead / distance, left / distance, 0, relative)
            assert row == pytest.approx(expected, abs=1e-3)
        assert not values[3:].any()


def test_place_is_counted_from_one_and_racing_pays_for_overtaking() -> None:
    race = RaceMemory(drivers=3)
    race.race["drivers"][1]["place_and_driver"] = 2 | 1 << 4
    reader = RaceReader(race.ram, driver=1)
    stats = EpisodeStats(make_metrics(["progress", "offroad_path", "wall_hits", "place"]))
    before = stats.reset(reader.read(), meadow())
    assert before["place"] == 3.0
    race.race["drivers"][1]["place_and_driver"] = 1 | 1 << 4
    stats.update([reader.read()], meadow())
    score = SCORERS.make("racing")
    assert score(stats.collect()) - score(before) == PLACE_COST
