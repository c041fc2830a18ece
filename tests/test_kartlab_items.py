"""Item boxes and items on Kartlab: boxes, the roulette, each item, and the object table."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from kartlab_race import LAYOUT, KartlabRace

from mkds_gym.course import Course, read_course_archive
from mkds_gym.course.archive import write_narc
from mkds_gym.course.nkm import NKM, OBJECT
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Keys
from mkds_gym.race import memory_layout
from mkds_gym.race.memory import read_struct, struct_view
from mkds_gym.race.reader import ObjectState

# (distance along the centre line, distances to its left), in world units
ROWS = [(s, (-60.0, -20.0, 20.0, 60.0)) for s in (150.0, 2250.0, 4250.0, 6500.0)]
BOXES = 16
ROULETTE = 90
"""Frames from the item box to the item."""
HIDDEN = 75
"""Frames that a box stays hidden."""


@functools.cache
def course_with_boxes() -> bytes:
    """Return Meadow Circuit with the item boxes at `ROWS`, for `BootParameters.course_data`."""
    files = dict(read_course_archive(Cartridge.open(), "mario_course"))
    nkm = NKM.from_bytes(files["course_map.nkm"])
    track = Course.from_files(files["course_collision.kcl"], files["course_map.nkm"]).track
    boxes = []
    for s, sides in ROWS:
        (x, y, z), (dx, dz) = track.point_at(s), track.direction_at(s)
        for left in sides:
            box = np.zeros((), OBJECT)
            place = (x + dz * left, y + 12.0, z - dx * left)
            box["position"] = [round(value * 4096) for value in place]
            box["scale"], box["id"], box["path"] = 4096, 101, -1
            boxes.append(box)
    changed = dataclasses.replace(nkm, objects=np.array(boxes, OBJECT))
    return write_narc({**files, "course_map.nkm": changed.save()})


def race(**parameters: object) -> KartlabRace:
    values = {"course": 25, "course_data": course_with_boxes(), "items": True, **parameters}
    return KartlabRace.boot_vs(**values)


@pytest.fixture(scope="module")
def about_to_draw() -> Iterator[KartlabRace]:
    """Yield a race in which the player leads and the roulette stops in two frames."""
    field = race(strength="easy", grid=0)
    for _ in range(300):
        field.step(Keys.A)
        if field.state.touching_object:
            break
    field.step(Keys.A, ROULETTE - 2)
    assert field.state.place == 0
    field.start = field.console.snapshot()
    yield field
    field.close()


def used(field: KartlabRace) -> tuple[str, ObjectState | None]:
    """Press L and return the item that memory shows, and its entry on the road."""
    before = {thing.address for thing in field.objects("item")}
    field.step(Keys.A)
    field.step(Keys.A | Keys.L, 2)
    state = field.state
    mine = [thing for thing in field.objects("item") if thing.address not in before]
    assert len(mine) <= 1
    if not mine:
        return ("mushroom" if state.boosting else "nothing"), None
    x, _, z = state.position
    fx, _, fz = state.forward
    ahead = (mine[0].position[0] - x) * fx + (mine[0].position[2] - z) * fz
    return ("shell" if ahead > 0 else "banana"), mine[0]


def holding(field: KartlabRace, item: str) -> KartlabRace:
    """Return the race of the first seed that gives this item, with the item in hand."""
    for seed in range(60):
        field.restart()
        field.config["rng_seed"] = seed
        field.step(Keys.A, 4)
        held = field.console.snapshot()
        if used(field)[0] == item:
            field.console.restore(held)
            return field
    raise AssertionError(f"no {item} in sixty draws")


def entry_flags(field: KartlabRace, thing: ObjectState) -> int:
    table = read_struct(field.ram, LAYOUT.object_table, memory_layout.OBJECT_TABLE)
    address = int(table["entries"]) + thing.index * memory_layout.OBJECT_ENTRY.itemsize
    return int(read_struct(field.ram, address, memory_layout.OBJECT_ENTRY)["flags"])


def test_object_table_has_the_boxes_of_the_map() -> None:
    field = race()
    boxes = field.objects("map_object")
    assert len(boxes) == BOXES == len(field.course.nkm.objects)
    for box, entry in zip(boxes, field.course.nkm.objects, strict=True):
        assert box.type_id == entry["id"] == 101
        assert box.position == tuple(float(value) / 4096 for value in entry["position"])
        assert box.active
        assert entry_flags(field, box) == 0x2400
    field.close()


@pytest.mark.parametrize("parameters", [{"items": False}, {"mode": "time_trial", "drivers": 1}])
def test_race_without_items_has_no_boxes(parameters: dict[str, object]) -> None:
    field = race(**parameters)
    assert not field.objects("map_object")
    field.close()


def test_taken_box_is_inactive_until_its_time_is_over() -> None:
    field = race(drivers=2, grid=0, strength="easy")
    for _ in range(300):
        field.step(Keys.A)
        if field.state.touching_object:
            break
    taken = [box for box in field.objects("map_object") if not box.active]
    assert taken
    nearest = min(math.dist(box.position, field.state.position) for box in taken)
    assert nearest < 36
    assert all(entry_flags(field, box) == 0x2600 for box in taken)
    first = taken[0].index
    for age in range(1, HIDDEN + 3):
        field.step(Keys.A)
        box = next(box for box in field.objects("map_object") if box.index == first)
        assert box.active == (age >= HIDDEN), age
    field.close()


def test_item_can_be_used_once_after_the_roulette_stops(
    about_to_draw: KartlabRace,
) -> None:
    field = about_to_draw.restart()
    field.step(Keys.A | Keys.L)
    assert not field.objects("item")
    assert not field.state.boosting
    field.step(Keys.A, 4)
    assert used(field)[0] != "nothing"
    field.step(Keys.A, 100)
    assert used(field)[0] == "nothing", "a box gives one item"


def test_leader_draws_traps_and_the_last_driver_draws_speed(
    about_to_draw: KartlabRace,
) -> None:
    field = about_to_draw
    drawn: dict[int, Counter[str]] = {}
    for place in (0, 7):
        drawn[place] = Counter()
        for seed in range(40):
            field.restart()
            field.config["rng_seed"] = seed
            if place == 7:  # the draw in two frames uses the place of the frame before
                field.drivers["place"][0] = 7
                field.step(Keys.A)
                field.drivers["place"][0] = 7
            field.step(Keys.A, 4 if place == 0 else 3)
            drawn[place][used(field)[0]] += 1
    assert drawn[0].keys() == {"mushroom", "shell", "banana"}
    assert drawn[7].keys() <= drawn[0].keys()
    assert drawn[0]["banana"] > drawn[7]["banana"] + 15
    assert drawn[7]["mushroom"] > drawn[0]["mushroom"] + 8
    assert drawn[7]["shell"] > drawn[0]["shell"]


def test_mushroom_gives_a_boost(about_to_draw: KartlabRace) -> None:
    field = holding(about_to_draw, "mushroom")
    before = field.state
    field.step(Keys.A | Keys.L)
    field.step(Keys.A, 25)
    state = field.state
    assert state.boosting
    assert int(field.drivers["flags"][0]) & memory_layout.DRIVER_FLAG_MUSHROOM_BOOST
    assert 0 < state.boost_frames < 120
    assert state.speed > before.speed * 1.15
    field.step(Keys.A, 120)
    assert not field.state.boosting


def test_banana_behind_the_kart_spins_a_kart_out(
    about_to_draw: KartlabRace,
) -> None:
    field = holding(about_to_draw, "banana")
    kind, banana = used(field)
    assert kind == "banana"
    assert banana is not None
    assert entry_flags(field, banana) == 0x4000
    field.step(Keys.A, 30)
    assert not field.state.spinning_out, "a fresh banana does not hit its owner"
    (banana,) = [thing for thing in field.objects("item") if thing.index == banana.index]
    x, y, z = banana.position
    assert abs(y - field.state.position[1]) < 4, "on the road"
    dx, _, dz = field.state.forward
    field.put(x - 65 * dx, z - 65 * dz, math.atan2(dx, dz), 5.7, y=y + 1)
    count = len(field.reader.read_objects())
    for _ in range(20):
        speed = field.state.speed
        field.step(Keys.A)
        if field.state.spinning_out:
            break
    assert field.state.spinning_out
    assert field.state.touching_object
    assert len(field.reader.read_objects()) == count - 1
    assert not [thing for thing in field.objects("item") if thing.index == banana.index]
    states = [field.step(Keys.A) for _ in range(121)]
    spin = [state for state in states if state.spinning_out]
    assert spin == states[: len(spin)]
    assert 50 < len(spin) < 90
    assert spin[0].speed < 0.6 * speed


def test_shell_follows_the_road_and_hits_the_kart_ahead(
    about_to_draw: KartlabRace,
) -> None:
    field = holding(about_to_draw, "shell")
    # Driver 3 takes the lead by a bend and crosses the checkpoints on its way.
    for index in range(1, 8):
        if index != 3:
            field.put_on_road(index, -150.0 - 50 * index)
    for s in np.arange(500, 1900, 100.0):
        field.put_on_road(3, float(s), speed=6.5)
        field.step(0, 10)
    assert field.order()[0] == 3
    gap = math.dist(field.states()[0].position, field.states()[3].position)
    assert gap > 400
    kind, shell = used(field)
    assert kind == "shell"
    assert shell is not None
    assert entry_flags(field, shell) == 0x5000
    way = [shell.position]
    for _ in range(240):
        field.step(Keys.A)
        alive = [thing for thing in field.objects("item") if thing.index == shell.index]
        if not alive:
            break
        way.append(alive[0].position)
    assert field.states()[3].spinning_out
    assert not field.state.spinning_out
    assert len(way) * 11.5 > gap
    steps = [math.dist(a, b) for a, b in itertools.pairwise(way)]
    assert np.median(steps) == pytest.approx(11.8, abs=0.5), "a shell is faster than karts"


def test_time_trial_gives_three_mushrooms() -> None:
    field = KartlabRace.boot(mode="time_trial", drivers=1, skip_countdown=False)
    field.step(Keys.L, 5)
    field.step(0, 5)
    field.step(Keys.A, 232)
    assert not field.state.boosting, "mushrooms have no effect before GO"
    boosts = 0
    field.step(Keys.A, 100)
    for _ in range(5):
        field.step(Keys.A | Keys.L, 3)
        boosts += field.state.boosting
        field.step(Keys.A, 130)
        assert not field.state.boosting
    assert boosts == 3
    field.close()


@pytest.mark.slow
def test_object_table_stays_consistent_while_opponents_use_items() -> None:
    field = race(strength="hard")
    seen: set[int] = set()
    thrown = boosts = inactive = 0
    spinning = np.zeros(8, bool)
    boosting = np.zeros(8, bool)
    for _ in range(350):
        field.step(0, 4)
        table = read_struct(field.ram, LAYOUT.object_table, memory_layout.OBJECT_TABLE)
        entries = struct_view(
            field.ram, int(table["entries"]), memory_layout.OBJECT_ENTRY, memory_layout.OBJECT_LIMIT
        )
        live = (entries["position"] != 0) & (entries["object"] != 0)
        # Each driver has a second entry.
        assert int(live.sum()) == int(table["count"]) == len(field.reader.read_objects()) + 8
        assert not entries["flags"][~live].any()
        seen |= {int(flags) for flags in entries["flags"][live]}
        inactive += any(not box.active for box in field.objects("map_object"))
        mushroom = field.drivers["flags"] & memory_layout.DRIVER_FLAG_MUSHROOM_BOOST != 0
        spins = field.drivers["flags2"] & memory_layout.DRIVER_FLAG2_SPIN_OUT != 0
        boosts += int((mushroom & ~boosting).sum())
        thrown += int((spins & ~spinning).sum())
        boosting, spinning = mushroom, spins
        for thing in field.objects("item"):
            assert min(math.dist(thing.position, p) for p in field.course.track.centre_line) < 400
    usual = {0x8000, 0x0800, 0x2400, 0x2600, 0x4000}
    assert usual <= seen <= usual | {0x5000}
    assert inactive > 0
    assert boosts >= 1
    assert thrown >= 1
    field.close()
