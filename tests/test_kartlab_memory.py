"""What docs/reference/memory.md says of each tabled field, held against races that are driven.

Three races are recorded, all structures of all drivers: a time trial by a driver who drifts,
reverses and falls off, and races of eight karts with items on a forked course, mirrored, and on
one with jumps. A field that never changes
in them is constant, one that is never anything but zero is not kept, and the page must say so.
Then fields are compared with what the course files say of the places driven at.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mkds_gym.course import Course
from mkds_gym.drivers.pure_pursuit import PurePursuit
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.errors import NoRaceError
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.race import memory_layout
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import RaceReader
from mkds_gym.race.state import RaceState

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "memory.md"

STRUCTURES: dict[str, np.dtype[np.void]] = {
    "Driver": memory_layout.DRIVER,
    "Driver status": memory_layout.DRIVER_STATUS,
    "Race status": memory_layout.RACE_STATUS,
    "Race state": memory_layout.RACE_STATE,
    "Scene": memory_layout.SCENE,
    "Race config": memory_layout.RACE_CONFIG,
    "Config driver": memory_layout.CONFIG_DRIVER,
    "Camera": memory_layout.CAMERA,
    "Map data": memory_layout.MAP_DATA,
    "Collision header": memory_layout.COLLISION_HEADER,
    "Object table": memory_layout.OBJECT_TABLE,
    "Object entry": memory_layout.OBJECT_ENTRY,
    "Input unit": memory_layout.INPUT_UNIT,
}
"""Heading on the page -> structure."""

NESTED = {"drivers"}
"""Fields that are structures with a table of their own."""


@dataclass
class Race:
    """One recorded race.

    Attributes:
        records: by heading, (N,) records in time order; driver after driver within a frame.
        states: driver 0's, a frame each.
        course: what was driven on.
    """

    records: dict[str, list[np.void]] = field(default_factory=dict)
    states: list[RaceState] = field(default_factory=list)
    course: Any = None
    drivers: int = 1


def record(console: Console, reader: RaceReader, race: Race) -> None:
    """Write down every structure as it is now."""
    ram, layout = console.ram, reader.layout

    def put(heading: str, address: int) -> np.void:
        row: np.void = memory_layout.read_struct(ram, address, STRUCTURES[heading]).copy()
        race.records.setdefault(heading, []).append(row)
        return row

    def pointer(address: int) -> int:
        return int(ram[address & 0x3FFFFF :][:4].view("<u4")[0])

    status = put("Race status", pointer(layout.race_status_pointer))
    for i in range(race.drivers):
        put("Driver", pointer(layout.drivers_pointer) + i * memory_layout.DRIVER.itemsize)
        race.records.setdefault("Driver status", []).append(status["drivers"][i].copy())
    put("Race state", pointer(layout.race_state_pointer))
    put("Scene", pointer(layout.scene_pointer))
    config = put("Race config", pointer(layout.race_config_pointer))
    race.records.setdefault("Config driver", []).extend(config["drivers"][: race.drivers].copy())
    put("Camera", pointer(layout.camera_pointer))
    put("Map data", pointer(layout.map_data_pointer))
    put("Collision header", layout.collision_header)
    put("Input unit", layout.input_units)
    table = put("Object table", layout.object_table)
    for i in range(int(table["count"])):
        put("Object entry", int(table["entries"]) + i * memory_layout.OBJECT_ENTRY.itemsize)
    race.states.append(reader.read())


def drive(parameters: BootParameters, frames: int, every: int, wild: bool) -> Race:
    """Drive a race, and record every so many frames.

    Args:
        parameters: the race.
        frames: how long.
        every: frames from record to record.
        wild: drift, use items, reverse, and drive off the course now and then.
    """
    race = Race(drivers=parameters.drivers)
    driver = PurePursuit()
    with Console(on_power_on=parameters.write) as console:
        for _ in range(200):
            console.step(0, 1, draw=False)
            try:
                reader = RaceReader(
                    console.ram, MemoryLayout.detect(console.ram, console.cartridge.region)
                )
                reader.resolve()
                break
            except NoRaceError:
                continue
        race.course = Course.from_ram(console.ram, reader.layout)
        for frame in range(frames):
            state = reader.read()
            keys = driver.keys(state, race.course)
            if wild:
                phase = frame % 1200
                if 420 < phase < 510:  # a side after the hop, then both in turn: a mini-turbo
                    left = phase < 440 or phase % 16 < 8
                    keys = int(Keys.A | Keys.R | (Keys.LEFT if left else Keys.RIGHT))
                elif 620 < phase < 860:
                    keys = int(Keys.A | Keys.LEFT)  # until something stops it
                elif 860 < phase < 900:
                    keys = int(Keys.B)
                if phase in (20, 550, 1000):
                    keys |= Keys.L
            console.step(keys, 1, draw=False)
            if frame % every == 0:
                record(console, reader, race)
    return race


@pytest.fixture(scope="module")
def races() -> list[Race]:
    """A time trial from the countdown on, and a race of eight."""
    eight = BootParameters(course=27, laps=1, mode="vs", drivers=8, items=True, seed=7)
    return [
        drive(BootParameters(laps=1, skip_countdown=False), 3600, 3, wild=True),
        drive(replace(eight, mirror=True, engine_class=150), 900, 5, wild=False),
        drive(
            replace(eight, course=19, laps=2, strength="hard", skip_countdown=False),
            1400,
            5,
            wild=False,
        ),
    ]


def flat(values: np.ndarray) -> np.ndarray:
    """(N, bytes) of a field's values, whatever their form."""
    rows = np.ascontiguousarray(values)
    return rows.view(np.uint8).reshape(len(rows), -1)


def seen(races: list[Race], heading: str, name: str) -> str:
    """How a field behaved: meaningful (it changed), constant, or zero throughout."""
    values = flat(np.concatenate([np.array(race.records[heading])[name] for race in races]))
    if not values.any():
        return "zero"
    return "constant" if (values == values[0]).all() else "meaningful"


def said() -> dict[tuple[str, str], str]:
    """What the page says: (heading, field) -> meaningful, constant or not kept."""
    out: dict[tuple[str, str], str] = {}
    heading = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = line[3:].strip()
        if heading == "Bits":
            break
        row = re.match(r"\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|", line)
        if row:
            out[heading, row[1]] = row[3].strip()
    return out


def test_the_page_lists_every_field() -> None:
    fields = {
        (heading, name)
        for heading, dtype in STRUCTURES.items()
        for name in dtype.names or ()
        if name not in NESTED
    }
    assert set(said()) == fields


def test_every_field_is_kept_as_the_page_says(races: list[Race]) -> None:
    allowed = {
        "meaningful": {"meaningful"},
        "constant": {"constant", "zero"},
        "not kept": {"zero"},
        "with a ghost": {"zero"},  # tests/test_kartlab_menu.py has one
    }
    wrong = {
        key: (statement, found)
        for key, statement in said().items()
        if (found := seen(races, *key)) not in allowed[statement]
    }
    assert not wrong


BITS = {
    "DRIVER_STATE": ("Driver", "state_bits"),
    "DRIVER_FLAG": ("Driver", "flags"),
    "DRIVER_FLAG2": ("Driver", "flags2"),
    "STATUS_FLAG": ("Driver status", "flags"),
    "OBJECT_FLAG": ("Object entry", "flags"),
}
"""Prefix of a bit's constant -> where it is."""


def test_every_bit_is_set_as_the_page_says(races: list[Race]) -> None:
    rows = re.findall(
        r"^\| `((\w+?(?:FLAG2?|STATE))_\w+)` \| (\d+) \| (yes|never) \|$",
        PAGE.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    known = {name for name in dir(memory_layout) if re.match(rf"({'|'.join(BITS)})_", name)}
    assert {row[0] for row in rows} == known
    for name, prefix, number, statement in rows:
        mask = getattr(memory_layout, name)
        assert mask == 1 << int(number)
        heading, where = BITS[prefix]
        ever = any((np.array(race.records[heading])[where] & mask).any() for race in races)
        assert ever == (statement == "yes"), name


def drivers_of(race: Race) -> tuple[np.ndarray, np.ndarray]:
    """(frames, drivers) of `memory.DRIVER` and of `memory.DRIVER_STATUS`."""
    shape = (-1, race.drivers)
    return (
        np.array(race.records["Driver"]).reshape(shape),
        np.array(race.records["Driver status"]).reshape(shape),
    )


def bit(values: np.ndarray, mask: int) -> np.ndarray:
    return (values & mask) != 0


def test_driver_fields_mean_what_their_names_say(races: list[Race]) -> None:
    for race in races:
        drivers, _ = drivers_of(race)
        state, flags = drivers["state_bits"], drivers["flags"]
        boosting = bit(flags, memory_layout.DRIVER_FLAG_BOOSTING)
        assert (boosting == (drivers["boost_timer"] > 0)).all()
        for kind in (
            memory_layout.DRIVER_FLAG_START_BOOST,
            memory_layout.DRIVER_FLAG_DRIFT_BOOST,
            memory_layout.DRIVER_FLAG_MUSHROOM_BOOST,
        ):
            assert not (bit(flags, kind) & ~boosting).any()
        drifting = bit(state, memory_layout.DRIVER_STATE_DRIFTING)
        assert (drifting == (drivers["drift_direction"] != 0)).all()
        respawning = bit(flags, memory_layout.DRIVER_FLAG_RESPAWNING)
        assert (respawning == (drivers["respawn_counter"] > 0)).all()
        on_floor = bit(state, memory_layout.DRIVER_STATE_ON_FLOOR)
        assert not drivers["air_frames"][on_floor].any()
        assert (drivers["air_frames"][~on_floor & ~respawning] > 0).all()
        backwards = bit(state, memory_layout.DRIVER_STATE_GOING_BACKWARDS)
        assert (drivers["speed"][backwards] < 0).all()
        delta = drivers["position"] - drivers["previous_position"]
        assert (delta == drivers["delta"]).all()
        assert (
            np.abs(
                np.hypot(np.hypot(*delta[..., :2].T), delta[..., 2].T).T - drivers["delta_length"]
            ).max()
            <= 2
        )
        assert (drivers["matrix"][..., 3, :] == drivers["position"]).all()
        assert (drivers["matrix"][..., 2, :] == drivers["forward"]).all()
        assert (drivers["matrix"][..., 1, :] == drivers["up"]).all()


def triangles_below(race: Race, x: float, z: float) -> Iterator[tuple[int, float]]:
    """(index, height) of the floor triangles that are above or below a place."""
    kcl = race.course.kcl
    a, b, c = (kcl.triangles[:, i] for i in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 2] - a[:, 2]) - (c[:, 0] - a[:, 0]) * (b[:, 2] - a[:, 2])
    with np.errstate(divide="ignore", invalid="ignore"):  # walls have no area from above
        v = ((x - a[:, 0]) * (c[:, 2] - a[:, 2]) - (c[:, 0] - a[:, 0]) * (z - a[:, 2])) / area
        w = ((b[:, 0] - a[:, 0]) * (z - a[:, 2]) - (x - a[:, 0]) * (b[:, 2] - a[:, 2])) / area
        inside = kcl.is_floor & (v >= -0.02) & (w >= -0.02) & (v + w <= 1.02)
    for i in np.flatnonzero(inside):
        yield int(i), float(a[i, 1] + v[i] * (b[i, 1] - a[i, 1]) + w[i] * (c[i, 1] - a[i, 1]))


def test_karts_stand_on_the_floor_of_the_collision_file(races: list[Race]) -> None:
    checked = 0
    surfaces = set()
    for race in races:
        drivers, _ = drivers_of(race)
        for row in drivers[::7].reshape(-1):
            if not row["state_bits"] & memory_layout.DRIVER_STATE_ON_FLOOR:
                continue
            if row["flags"] & memory_layout.DRIVER_FLAG_RESPAWNING:
                continue
            x, y, z = row["position"] / 4096
            below = list(triangles_below(race, x, z))
            near = {int(race.course.kcl.types[i]) for i, height in below if abs(height - y) < 2.5}
            if int(row["floor_type"]) in near:
                checked += 1
                surfaces.add(int(row["floor_type"]))
                continue
            # A kart whose middle is beyond an edge stands on what its sphere still touches.
            around = {
                int(race.course.kcl.types[i])
                for dx in (-6, 0, 6)
                for dz in (-6, 0, 6)
                for i, height in triangles_below(race, x + dx, z + dz)
                if abs(height - y) < 6
            }
            assert int(row["floor_type"]) in around, (row["position"] / 4096, row["floor_type"])
    assert checked > 300
    assert len(surfaces) >= 3


def test_laps_and_checkpoints_are_those_of_the_map_file(races: list[Race]) -> None:
    for race in races:
        track = race.course.track
        drivers, statuses = drivers_of(race)
        for row, status in zip(drivers.reshape(-1), statuses.reshape(-1), strict=True):
            here = int(status["checkpoint"])
            assert status["section"] == track.section(here)
            if status["flags"] & memory_layout.STATUS_FLAG_FINISHED:
                continue
            x, _, z = row["position"] / 4096
            s = track.progress(here, float(x), float(z))
            share = float(status["lap_progress"]) / 4096
            apart = math.remainder(s / track.length - share, 1.0)
            assert abs(apart) < 0.05, (here, s / track.length, share)


def test_places_are_those_of_the_way_driven(races: list[Race]) -> None:
    for race in races[1:]:
        track = race.course.track
        drivers, statuses = drivers_of(race)
        for row, status, whole in zip(drivers, statuses, race.records["Race status"], strict=True):
            order = [int(i) for i in whole["driver_by_place"]]
            assert sorted(order) == list(range(8))
            for place, i in enumerate(order):
                assert row["place"][i] == place
                assert status["place_and_driver"][i] == place | i << 4
            ways = []
            for i in order:
                x, _, z = row["position"][i] / 4096
                s = track.progress(int(status["checkpoint"][i]), float(x), float(z))
                lap = int(status["lap"][i])
                ways.append(
                    lap
                    + (s / track.length if lap or s < track.length / 2 else s / track.length - 1)
                )
            # Two that are level may stand either way round.
            assert all(a > b - 0.03 for a, b in itertools.pairwise(ways)), ways


def test_item_boxes_stand_where_the_map_file_puts_them(races: list[Race]) -> None:
    race = races[1]
    boxes = race.course.nkm.objects
    boxes = boxes[boxes["id"] == 101]
    assert len(boxes) > 0
    entries = np.array(race.records["Object entry"])
    maps = entries[bit(entries["flags"], memory_layout.OBJECT_FLAG_MAP_OBJECT)]
    assert len(np.unique(maps["object"])) == len(boxes)
