"""How Kartlab's karts drive: each test drives one mechanic on a test course.

The course is a rectangle with level straights of 7,500 units. A test adds a pad, a slope or another
surface to its description.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from kartlab_race import KartlabRace

from mkds_gym.course.archive import write_narc
from mkds_gym.emulator.console import Keys
from mkds_gym.kartlab.compiler import compile_description, parse_description
from mkds_gym.kartlab.physics import CLASS_SPEEDS, KART_RADIUS
from mkds_gym.race import memory_layout
from mkds_gym.race.state import RaceState

TOP_SPEED = CLASS_SPEEDS[1]  # of 100 cc
EAST = math.pi / 2
SIDES = {1: Keys.LEFT, -1: Keys.RIGHT}

COURSE = """
title = "Proving Ground"
name = "test_circle"
id = 21
laps = 5

[road]
width = 600
surface = "{surface}"
left = "rail"
right = "rail"

[edges.rail]
surface = "road"
width = 25
end = "wall"

[edges.wide]
surface = "{surface}"
width = 500
end = "wall"

[edges.mud]
surface = "heavy off-road"
width = 300
end = "wall"

[scenery]
trees = 0

[[point]]
at = [-2750, 2000]
height = {low}
left = "wide"
right = "{right}"

[[point]]
at = [-750, 2000]
height = {low}

[[point]]
at = [750, 2000]
height = {high}

[[point]]
at = [1500, 2000]
height = {high}
left = "rail"
right = "rail"

[[point]]
at = [4000, 2000]
radius = 625
height = {high}

[[point]]
at = [4000, -2000]
radius = 625
height = {high}

[[point]]
at = [750, -2000]
height = {high}

[[point]]
at = [-750, -2000]
height = {low}

[[point]]
at = [-4000, -2000]
radius = 625
height = {low}

[[point]]
at = [-4000, 2000]
radius = 625
height = {low}
"""

BOOST_PAD = """
[[pad]]
kind = "boost"
point = 1
offset = 0
width = 250
length = 100
"""
ITEM_BOXES = """
[[items]]
point = 0
offset = 500
count = 8
"""
JUMP_PAD = BOOST_PAD.replace('"boost"', '"jump"')


@functools.cache
def course_data(
    surface: str = "road", right: str = "wide", low: int = 0, high: int = 0, extra: str = ""
) -> bytes:
    text = COURSE.format(surface=surface, right=right, low=low, high=high) + extra
    return write_narc(compile_description(parse_description(text)).files)


class ProvingGround(KartlabRace):
    """A race on the test course."""

    def put(
        self,
        x: float = -2500,
        z: float = 2000,
        heading: float = EAST,
        speed: float = TOP_SPEED,
        **where: Any,
    ) -> ProvingGround:
        """Move a kart, by default onto the low end of the first straight."""
        return super().put(x, z, heading, speed, **where)


Maker = Callable[..., ProvingGround]


@pytest.fixture(scope="module")
def make() -> Iterator[Maker]:
    """Return a function that gives races by their parameters, each booted once, at its start."""
    made: dict[str, ProvingGround] = {}

    def get(boot: dict[str, Any] | None = None, **course: Any) -> ProvingGround:
        key = repr((boot, course))
        if key not in made:
            made[key] = ProvingGround.boot(
                course=21, course_data=course_data(**course), **boot or {}
            )
        return made[key].restart()

    yield get
    for race in made.values():
        race.close()


def pace(state: RaceState) -> float:
    return math.hypot(*state.velocity)


def way(state: RaceState) -> float:
    return math.atan2(state.velocity[0], state.velocity[2])


def turned(a: float, b: float) -> float:
    return math.remainder(b - a, math.tau)


def drift(race: ProvingGround, side: int) -> RaceState:
    """Hop and begin a drift to a side (1 left, -1 right)."""
    for _ in range(25):
        state = race.step(Keys.A | Keys.R | SIDES[side])
        if state.drifting:
            return state
    pytest.fail("no drift within 25 frames of the hop")


def charge(race: ProvingGround, side: int, sides: int = 4) -> RaceState:
    """Begin a drift and press this number of sides in turn, the outer side first."""
    state = drift(race, side)
    for i in range(sides):
        state = race.step(Keys.A | Keys.R | SIDES[-side if i % 2 == 0 else side], 8)
        assert state.drifting
    return state


# ------------------------------------------------------------------------------- hop and drift


def test_hop_without_a_side_lands_without_a_drift(make: Maker) -> None:
    race = make().put()
    before = race.step(Keys.A, 5)
    states = [race.step(Keys.A | Keys.R) for _ in range(40)]
    flight = [state for state in states if not state.on_floor]
    assert 8 <= len(flight) <= 14
    assert max(s.position[1] for s in flight) > before.position[1] + 1
    assert [s.air_frames for s in flight] == list(range(1, len(flight) + 1))
    assert not any(s.drifting for s in states)
    assert states[-1].speed > before.speed - 0.1
    assert states[-1].on_floor, "one press of R is one hop"


@pytest.mark.parametrize("side", [1, -1])
def test_landing_with_r_and_a_side_begins_a_drift_to_that_side(make: Maker, side: int) -> None:
    race = make().put()
    drift(race, side)
    state = race.step(Keys.A | Keys.R, 30)
    raw = race.driver
    assert state.drifting
    assert raw["state_bits"] & memory_layout.DRIVER_STATE_DRIFTING
    assert raw["drift_direction"] == side * 4096
    assert math.radians(10) < side * state.drift_angle < math.radians(25)
    # The nose points further into the bend than the kart moves, by about that angle.
    assert turned(way(state), state.heading) == pytest.approx(state.drift_angle, abs=0.15)
    before = way(state)
    assert side * turned(before, way(race.step(Keys.A | Keys.R, 20))) > 0.2
    assert pace(race.state) > 0.85 * TOP_SPEED
    ended = race.step(Keys.A)
    assert not ended.drifting
    assert race.driver["drift_direction"] == 0
    assert not ended.boosting
    assert abs(race.step(Keys.A, 40).drift_angle) < 0.01, "the kart straightens up"


def test_sides_make_a_drift_tighter_or_wider(make: Maker) -> None:
    turns = {}
    for name, keys in (("in", Keys.LEFT), ("free", 0), ("out", Keys.RIGHT)):
        race = make().put()
        drift(race, 1)
        before = race.step(Keys.A | Keys.R, 12)
        after = race.step(Keys.A | Keys.R | keys, 40)
        turns[name] = turned(way(before), way(after)) / 40
    assert turns["out"] > 0.003, "the drift keeps its side"
    assert turns["free"] > turns["out"] + 0.004
    assert turns["in"] > turns["free"] + 0.004


def test_slow_kart_does_not_drift(make: Maker) -> None:
    race = make().put(speed=2.0)
    for _ in range(30):
        assert not race.step(Keys.R | Keys.LEFT).drifting


# ---------------------------------------------------------------------------------- mini-turbo


@pytest.mark.parametrize("side", [1, -1])
def test_each_side_pressed_twice_charges_a_mini_turbo(make: Maker, side: int) -> None:
    race = make().put()
    drift(race, side)
    counts = []
    for i in range(4):
        race.step(Keys.A | Keys.R | SIDES[-side if i % 2 == 0 else side], 8)
        raw = race.driver
        counts.append(
            tuple(int(raw[n]) for n in ("drift_count", "drift_left_count", "drift_right_count"))
        )
        assert 30 < raw["drift_time_left"] <= 45
    left, right = [0, 1, 1, 2], [1, 1, 2, 2]
    if side < 0:
        left, right = right, left
    assert counts == list(zip([1, 2, 3, 4], left, right, strict=True))
    assert race.state.mini_turbo_charge == 1.0
    assert not race.state.boosting

    state = race.step(Keys.A)  # R released
    raw = race.driver
    assert not state.drifting
    assert state.boosting
    assert raw["flags"] & memory_layout.DRIVER_FLAG_DRIFT_BOOST
    assert raw["drift_boost_counter"] == raw["boost_timer"] > 30
    assert raw["drift_count"] == raw["drift_left_count"] == raw["drift_right_count"] == 0
    frames = int(raw["boost_timer"])
    assert race.step(Keys.A, 25).speed > 1.12 * TOP_SPEED
    assert race.driver["boost_timer"] == frames - 25
    state = race.step(Keys.A, frames - 25)
    assert not state.boosting
    assert not race.driver["flags"] & memory_layout.DRIVER_FLAG_DRIFT_BOOST
    assert race.driver["drift_boost_counter"] == 0


def test_mini_turbo_gains_distance(make: Maker) -> None:
    gone = []
    for sides in (3, 4):
        race = make().put(z=2500)
        before = charge(race, 1, sides)
        after = race.step(Keys.A, 80)
        assert not after.boosting
        gone.append(math.dist(before.position, after.position))
    assert gone[1] > gone[0] + 40


def test_sides_pressed_too_briefly_or_too_late_charge_nothing(make: Maker) -> None:
    race = make().put()
    drift(race, 1)
    for i in range(20):
        race.step(Keys.A | Keys.R | SIDES[1 if i % 2 else -1], 2)
    assert race.driver["drift_count"] == 0
    race.step(Keys.A | Keys.R | Keys.RIGHT, 6)
    assert race.driver["drift_right_count"] == 1
    race.step(Keys.A | Keys.R, 60)
    assert race.driver["drift_right_count"] == race.driver["drift_time_left"] == 0
    assert race.state.mini_turbo_charge == 0.0


def test_wall_ends_a_drift_without_a_boost(make: Maker) -> None:
    race = make().put(z=1600)
    charge(race, 1)
    for _ in range(120):
        state = race.step(Keys.A | Keys.R | Keys.LEFT)
        if not state.drifting:
            break
    assert state.touching_wall
    assert not race.step(Keys.A, 3).boosting


def test_mud_ends_a_drift_without_a_boost(make: Maker) -> None:
    race = make(right="mud").put(z=2200)
    charge(race, -1)
    for _ in range(150):
        state = race.step(Keys.A | Keys.R | Keys.RIGHT)
        if not state.drifting:
            break
    assert state.surface == 5
    assert not race.step(Keys.A, 3).boosting


# -------------------------------------------------------------------------------------- boosts


@pytest.mark.parametrize(
    ("held", "expected"), [(0, "none"), (5, "none"), (30, "boost"), (90, "stall")]
)
def test_throttle_in_the_countdown_decides_the_start(make: Maker, held: int, expected: str) -> None:
    race = make({"skip_countdown": False})
    frames = int(race.status["not_controllable"])
    race.step(0, frames - held)
    place = race.state.position
    if held:
        race.step(Keys.A, held)
    assert race.state.position == place, "no kart moves before GO"
    state = race.step(Keys.A)
    raw = race.driver
    assert bool(raw["flags"] & memory_layout.DRIVER_FLAG_START_BOOST) == (expected == "boost")
    assert state.boosting == (expected == "boost")
    speed = race.step(Keys.A, 25).speed
    if expected == "boost":
        assert speed > 4.0
        assert race.step(Keys.A, 80).boosting is False
    elif expected == "stall":
        assert speed < 0.1
        assert race.step(Keys.A, 40).speed > 1.6
    else:
        assert 1.9 < speed < 3.0


def test_boost_pad_gives_a_boost(make: Maker) -> None:
    race = make(extra=BOOST_PAD).put(x=-900)
    seen = set()
    fastest, before = 0.0, 0
    for _ in range(160):
        state = race.step(Keys.A)
        seen.add(state.surface)
        fastest = max(fastest, state.speed)
        if before == 7:
            assert state.boosting
            kinds = (
                memory_layout.DRIVER_FLAG_START_BOOST
                | memory_layout.DRIVER_FLAG_DRIFT_BOOST
                | memory_layout.DRIVER_FLAG_MUSHROOM_BOOST
            )
            assert not state.flags & kinds
        before = state.surface
    assert seen == {0, 7}
    assert fastest > 1.25 * TOP_SPEED
    assert not state.boosting
    assert race.step(Keys.A, 60).speed == pytest.approx(TOP_SPEED, abs=0.15)


def test_boost_keeps_its_speed_off_the_road(make: Maker) -> None:
    speeds = []
    for keys in (0, Keys.L):  # a time trial gives three mushrooms
        race = make(right="mud").put(z=2475)
        race.step(Keys.A, 10)
        state = race.step(Keys.A | keys)
        assert state.surface == 5
        assert bool(race.driver["flags"] & memory_layout.DRIVER_FLAG_MUSHROOM_BOOST) == bool(keys)
        speeds.append(race.step(Keys.A, 30).speed)
        assert race.state.surface == 5
    assert speeds[0] < 0.65 * TOP_SPEED
    assert speeds[1] > 1.2 * TOP_SPEED


# ------------------------------------------------------------------------------------- the air


def fly(race: ProvingGround, keys: int) -> list[RaceState]:
    """Jump from the pad with these keys held in the air; return the states until the landing."""
    states: list[RaceState] = []
    for _ in range(200):
        in_air = bool(states) and not states[-1].on_floor
        states.append(race.step(Keys.A | (keys if in_air else 0)))
        if in_air and states[-1].on_floor:
            return states
    pytest.fail("no jump, or no landing")


def test_jump_pad_throws_karts_the_same_way_at_any_speed(make: Maker) -> None:
    race = make(extra=JUMP_PAD).put(x=-900)
    states = fly(race, 0)
    flight = [s for s in states if not s.on_floor]
    assert {s.surface for s in states} == {0, 12}
    assert all(s.on_jump_pad == (not s.on_floor) for s in states)
    assert 45 < len(flight) < 75
    assert 30 < max(s.position[1] for s in flight) - states[0].position[1] < 75
    assert 300 < math.dist(flight[0].position, flight[-1].position) < 500
    assert race.driver["vertical_velocity"][1] == 0
    # The pad speeds a slow kart up, but does not move a parked kart.
    slow = fly(make(extra=JUMP_PAD).put(x=-775, speed=1.6), 0)
    assert sum(not s.on_floor for s in slow) > 30
    assert slow[-1].speed > 0.8 * TOP_SPEED
    race = make(extra=JUMP_PAD).put(x=-700, speed=0.0)
    assert race.step(0, 30).on_floor


def test_keys_in_the_air_change_the_flight(make: Maker) -> None:
    ends = {}
    for keys in (0, Keys.LEFT, Keys.RIGHT, Keys.UP, Keys.DOWN):
        states = fly(make(extra=JUMP_PAD).put(x=-900), keys)
        ends[keys] = (len(states), states[-1].position)
        if keys in (Keys.UP, Keys.DOWN):
            pitch = max((s.forward[1] for s in states), key=abs)
            assert (pitch > 0.05) if keys == Keys.DOWN else (pitch < -0.05)
    assert ends[Keys.LEFT][1][2] < ends[0][1][2] - 4 < ends[Keys.RIGHT][1][2] - 8
    assert ends[Keys.UP][0] < ends[0][0] - 2
    assert ends[Keys.DOWN][1][0] < ends[0][1][0] - 8


# -------------------------------------------------------------------------- surfaces and slopes


def test_kart_slides_more_on_slippery_surfaces(make: Maker) -> None:
    slides, grips = {}, {}
    for surface, number in (("road", 0), ("packed snow", 6), ("slippery road", 1)):
        race = make(surface=surface).put(z=2150)
        race.step(Keys.A, 3)
        state = race.step(Keys.A | Keys.LEFT, 30)
        assert state.surface == number
        slides[surface] = turned(way(state), state.heading)
        grips[surface] = race.driver["grip"] / 4096
        assert state.surface_multiplier == 1
    assert 0.03 < slides["road"] < slides["packed snow"] - 0.1
    assert slides["packed snow"] < slides["slippery road"] - 0.05
    assert grips["road"] > 1.8 * grips["packed snow"] > 2.4 * grips["slippery road"]


def test_slopes_change_the_speed(make: Maker) -> None:
    """One straight climbs 150 units in 1,500, the other descends as much."""
    hill = {"x": 1250, "z": -2000, "heading": -EAST, "y": 155}
    speeds = {}
    for name, high, start in (
        ("level", 0, {"x": -1250}),
        ("up", 150, {"x": -1250}),
        ("down", 150, hill),
    ):
        race = make(high=high).put(**start)
        states = [race.step(Keys.A) for _ in range(240)]
        middle = [s.speed for s in states if -250 < s.position[0] < 250]
        speeds[name] = float(np.mean(middle))
    assert speeds["up"] < 0.97 * speeds["level"]
    assert speeds["up"] > 0.85 * speeds["level"]
    assert speeds["down"] > 1.025 * speeds["level"]


# ------------------------------------------------------------------------------- other karts


VS = {"mode": "vs", "drivers": 2, "grid": 0}


def test_karts_that_touch_exchange_speed_and_stay_apart(make: Maker) -> None:
    race = make(VS)
    race.put(x=-2500, speed=6.5).put(x=-2430, speed=1.6, index=1)
    contacts, before = 0, None
    for _ in range(90):
        race.step(Keys.A)
        a, b = race.drivers
        apart = np.linalg.norm((a["position"] - b["position"]) / 4096)
        assert apart > KART_RADIUS, "karts do not overlap"
        touching = [
            bool(d["state_bits"] & memory_layout.DRIVER_STATE_TOUCHING_DRIVER) for d in (a, b)
        ]
        assert touching[0] == touching[1] == race.state.touching_driver
        if touching[0] and before is not None and not contacts:
            # Both karts have the same mass: one gains what the other loses.
            gained = (b["velocity"] - before[1]) / 4096
            lost = (before[0] - a["velocity"]) / 4096
            assert gained[0] > 1
            assert gained[0] == pytest.approx(lost[0], abs=0.25)
        contacts += touching[0]
        before = (a["velocity"].copy(), b["velocity"].copy())
        across = abs(a["position"][2] - b["position"][2]) / 4096
        assert a["position"][0] < b["position"][0] or across > KART_RADIUS, (
            "no kart drives through another"
        )
    assert contacts


def test_karts_that_meet_head_on_do_not_pass_through_each_other(make: Maker) -> None:
    race = make(VS)
    race.put(x=-2000, speed=7.0).put(x=-1840, speed=7.0, heading=-EAST, index=1)
    touched = False
    for _ in range(40):
        touched |= race.step(Keys.A).touching_driver
        a, b = (place / 4096 for place in race.drivers["position"])
        assert a[0] < b[0] + 1 or abs(a[2] - b[2]) > KART_RADIUS
    assert touched


@pytest.mark.parametrize(("aside", "tow"), [(0, True), (90, False)])
def test_slipstream_boosts_a_kart_close_behind_another(
    make: Maker, aside: float, tow: bool
) -> None:
    race = make(VS).put(x=-2850, z=2000 + aside).put(x=-2790, z=2000, index=1)
    boosted = False
    for _ in range(130):
        lead = race.drivers[1]  # hold the other kart on its line
        lead["position"][2] = 2000 * 4096
        lead["velocity"] = (round(0.975 * TOP_SPEED * 4096), 0, 0)
        lead["heading"] = 0x4000
        boosted |= race.step(Keys.A).boosting
    assert boosted == tow


def test_banana_spins_a_kart_out(make: Maker) -> None:
    race = make({**VS, "items": True}, extra=ITEM_BOXES)
    race.put(x=-2300, z=2036).step(Keys.A, 80)
    before_draw = race.console.snapshot()
    for seed in range(60):  # until the box holds a banana
        race.console.restore(before_draw)
        race.config["rng_seed"] = seed * 0x10001
        race.step(Keys.A, 30)
        race.put(x=-1000)
        race.step(0, 1)
        place = race.step(Keys.L).position
        race.put(x=-1000, z=1750, speed=0.0).step(0, 60)
        things = race.objects("item")
        if things and math.dist(things[0].position, place) < 60:
            break
    else:
        pytest.fail("no banana from 60 boxes")
    x, _, z = things[0].position
    race.put(x=x - 100, z=z, speed=5.7)
    states = [race.step(Keys.A) for _ in range(160)]
    first = next(i for i, state in enumerate(states) if state.spinning_out)
    spin = [state for state in states if state.spinning_out]
    assert all(state.spinning_out for state in states[first : first + len(spin)])
    assert 50 < len(spin) < 90
    assert spin[0].speed < 0.6 * states[first - 1].speed
    assert spin[-1].speed < 0.5 * spin[0].speed, "the throttle has no effect"
    assert states[-1].speed > 0.5
    assert race.reader.read_objects()[-1].kind != "item"
