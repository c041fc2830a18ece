"""Kartlab's memory in three driven races, compared with the memory layout and the course files.

The races: a time trial with drifts, reversing and falls; eight karts with items on a mirrored
course that forks; eight karts on a course with jumps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mkds_gym.course import Course
from mkds_gym.drivers.pure_pursuit import PurePursuit
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.errors import NoRaceError
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.race import memory_layout
from mkds_gym.race.memory import WORD, read_struct, struct_view
from mkds_gym.race.memory_layout import STRUCTURES, MemoryLayout
from mkds_gym.race.reader import RaceReader
from mkds_gym.race.state import RaceState


@dataclass
class Race:
    """One recorded race.

    Attributes:
        records: (N,) records by structure, in time order; within a frame in driver order.
        states: states of driver 0, one per recorded frame.
        course: the course.
        drivers: number of drivers.
    """

    records: dict[str, NDArray[np.void]] = field(default_factory=dict)
    states: list[RaceState] = field(default_factory=list)
    course: Any = None
    drivers: int = 1


def record(console: Console, reader: RaceReader, race: Race, rows: dict[str, list[bytes]]) -> None:
    """Append a copy of every structure to the rows."""
    ram, layout = console.ram, reader.layout

    def put(name: str, address: int, count: int = 1) -> np.void:
        records = struct_view(ram, address, STRUCTURES[name].dtype, count)
        rows.setdefault(name, []).append(records.tobytes())
        first: np.void = records[0]
        return first

    def pointer(address: int) -> int:
        return int(read_struct(ram, address, WORD)["value"])

    status = put("race_status", pointer(layout.race_status_pointer))
    rows.setdefault("driver_status", []).append(status["drivers"][: race.drivers].tobytes())
    put("driver", pointer(layout.drivers_pointer), race.drivers)
    put("race_state", pointer(layout.race_state_pointer))
    put("scene_state", pointer(layout.scene_pointer))
    config = put("race_config", pointer(layout.race_config_pointer))
    rows.setdefault("config_driver", []).append(config["drivers"][: race.drivers].tobytes())
    put("camera", pointer(layout.camera_pointer))
    put("map_data", pointer(layout.map_data_pointer))
    put("collision_header", layout.collision_header)
    put("input_unit", layout.input_units)
    table = put("object_table", layout.object_table)
    put("object_entry", int(table["entries"]), int(table["count"]))
    race.states.append(reader.read())


def drive(parameters: BootParameters, frames: int, every: int, wild: bool) -> Race:
    """Drive a race and record it.

    Args:
        parameters: the race.
        frames: length of the drive.
        every: frames between two records.
        wild: whether to drift, use items, reverse and leave the course.
    """
    race = Race(drivers=parameters.drivers)
    rows: dict[str, list[bytes]] = {}
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
                if 420 < phase < 510:  # one side after the hop, then both in turns: a mini-turbo
                    left = phase < 440 or phase % 16 < 8
                    keys = int(Keys.A | Keys.R | (Keys.LEFT if left else Keys.RIGHT))
                elif 620 < phase < 860:
                    keys = int(Keys.A | Keys.LEFT)  # into a wall or off the course
                elif 860 < phase < 900:
                    keys = int(Keys.B)
                if phase in (20, 550, 1000):
                    keys |= Keys.L
            console.step(keys, 1, draw=False)
            if frame % every == 0:
                record(console, reader, race, rows)
    race.records = {
        name: np.frombuffer(b"".join(parts), STRUCTURES[name].dtype) for name, parts in rows.items()
    }
    return race


@pytest.fixture(scope="module")
def races() -> list[Race]:
    """Drive the three races."""
    eight = BootParameters(course=27, laps=1, mode="vs", drivers=8, items=True, seed=7)
    return [
        drive(BootParameters(laps=1, skip_countdown=False), 2700, 3, wild=True),
        drive(replace(eight, mirror=True, engine_class=150), 600, 4, wild=False),
        drive(
            replace(eight, course=19, laps=2, strength="hard", skip_countdown=False),
            900,
            4,
            wild=False,
        ),
    ]


def behaviour(races: list[Race], structure: str, field: str) -> str:
    """Return whether a field changed, kept one value, or stayed 0 in all races."""
    values = np.concatenate([race.records[structure][field] for race in races])
    rows = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)
    if not rows.any():
        return "zero"
    return "constant" if (rows == rows[0]).all() else "meaningful"


def test_fields_behave_in_kartlab_as_the_layout_says(races: list[Race]) -> None:
    allowed = {
        memory_layout.MEANINGFUL: {"meaningful"},
        memory_layout.CONSTANT: {"constant", "zero"},
        memory_layout.ZERO: {"zero"},
        memory_layout.GHOST: {"zero"},  # tests/test_kartlab_menu.py has a ghost
    }
    found = {
        (structure.name, entry.name): (behaviour(races, structure.name, entry.name), entry.kartlab)
        for structure in STRUCTURES.values()
        for entry in structure.fields
        if structure.name in races[0].records and entry.name != "drivers"
    }
    assert set(STRUCTURES) - {name for name, _ in found} == {"race_time", "map_list"}
    assert {key: pair for key, pair in found.items() if pair[0] not in allowed[pair[1]]} == {}


def test_bits_are_set_in_kartlab_as_the_layout_says(races: list[Race]) -> None:
    for prefix, (structure, field_name) in memory_layout.BIT_FIELDS.items():
        values = [race.records[structure][field_name] for race in races]
        for name, mask in memory_layout.bits(prefix).items():
            ever = any((value & mask).any() for value in values)
            unset = memory_layout.UNSET_IN_KARTLAB | memory_layout.SET_WITH_A_GHOST
            assert ever == (name not in unset), name


def drivers_of(race: Race) -> tuple[np.ndarray, np.ndarray]:
    """Return the drivers and their statuses, (frames, drivers) each."""
    shape = (-1, race.drivers)
    return (
        race.records["driver"].reshape(shape),
        race.records["driver_status"].reshape(shape),
    )


def bit(values: np.ndarray, mask: int) -> np.ndarray:
    return (values & mask) != 0


def test_driver_fields_agree_with_each_other(races: list[Race]) -> None:
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


def test_floor_types_are_those_of_the_collision_file(races: list[Race]) -> None:
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
            # A kart whose centre is beyond an edge stands on a floor that its sphere touches.
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


def test_checkpoints_and_progress_are_those_of_the_map_file(races: list[Race]) -> None:
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


def test_places_follow_progress(races: list[Race]) -> None:
    for race in races[1:]:
        track = race.course.track
        drivers, statuses = drivers_of(race)
        for row, status, race_status in zip(
            drivers, statuses, race.records["race_status"], strict=True
        ):
            order = [int(i) for i in race_status["driver_by_place"]]
            assert sorted(order) == list(range(8))
            for place, i in enumerate(order):
                assert row["place"][i] == place
                assert status["place_and_driver"][i] == place | i << 4
            progress = []
            for i in order:
                x, _, z = row["position"][i] / 4096
                s = track.progress(int(status["checkpoint"][i]), float(x), float(z))
                lap = int(status["lap"][i])
                progress.append(
                    lap
                    + (s / track.length if lap or s < track.length / 2 else s / track.length - 1)
                )
            # The order of two level karts is arbitrary.
            assert all(a > b - 0.03 for a, b in itertools.pairwise(progress)), progress


def test_item_boxes_are_where_the_map_file_says(races: list[Race]) -> None:
    race = races[1]
    boxes = race.course.nkm.objects
    boxes = boxes[boxes["id"] == 101]
    assert len(boxes) > 0
    entries = race.records["object_entry"]
    maps = entries[bit(entries["flags"], memory_layout.OBJECT_FLAG_MAP_OBJECT)]
    assert len(np.unique(maps["object"])) == len(boxes)
