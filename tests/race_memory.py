"""Races for tests: `RaceMemory` writes a race into RAM, `drive` drives a lap in the emulator."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import mkds_gym
from mkds_gym.course import Course, nkm
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.emulator.hardware import RAM_SIZE, RAM_START
from mkds_gym.errors import NoRaceError
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.kartlab.compiler import compile_course
from mkds_gym.race import memory_layout
from mkds_gym.race.memory import WORD, read_pointer, read_struct, struct_view
from mkds_gym.race.memory_layout import OBJECT_LIMIT, MemoryLayout
from mkds_gym.race.reader import CameraState, ObjectState, RaceReader
from mkds_gym.race.state import RaceState, Vector

STATUS, CONFIG, SCENE, DRIVERS, CAMERA = 0x02200000, 0x02210000, 0x02220000, 0x02230000, 0x02240000


class RaceMemory:
    """RAM with one race; `frame` advances and reads the race."""

    def __init__(self, shift: int = 0, drivers: int = 1) -> None:
        self.ram = np.zeros(RAM_SIZE, np.uint8)
        self.layout = MemoryLayout.shifted(shift)
        self.word(memory_layout.REGION_WORD_ADDRESS, memory_layout.REGION_WORD_USA + shift)
        self.word(self.layout.race_status_pointer, STATUS)
        self.word(self.layout.race_config_pointer, CONFIG)
        self.word(self.layout.scene_pointer, SCENE)
        self.word(self.layout.drivers_pointer, DRIVERS)
        self.word(self.layout.camera_pointer, CAMERA)
        self.word(self.layout.driver_count, drivers)
        self.drivers = struct_view(self.ram, DRIVERS, memory_layout.DRIVER, drivers)
        self.driver = self.drivers[0]
        self.race = struct_view(self.ram, STATUS, memory_layout.RACE_STATUS)[0]
        self.status = self.race["drivers"][0]
        self.config = struct_view(self.ram, CONFIG, memory_layout.RACE_CONFIG)[0]
        self.scene = struct_view(self.ram, SCENE, memory_layout.SCENE)[0]
        self.camera = struct_view(self.ram, CAMERA, memory_layout.CAMERA)[0]
        self.scene["state"] = 2
        self.config["course_id"] = 25
        self.race["clock_running"] = 1
        self.driver["up"] = [0, memory_layout.FX32_ONE, 0]
        self.driver["state_bits"] = memory_layout.DRIVER_STATE_ON_FLOOR
        self.face(0.0)
        self.reader = RaceReader(self.ram)

    def word(self, address: int, value: int) -> None:
        struct_view(self.ram, address, WORD)["value"] = value

    def face(self, heading: float) -> None:
        """Set the heading of the kart, radians."""
        self.driver["forward"] = fx((math.sin(heading), 0.0, math.cos(heading)))

    def bit(self, structure: Any, field: str, bit: int, on: bool) -> None:
        structure[field] = int(structure[field]) & ~bit | (bit if on else 0)

    def frame(self, frames: int = 1, **changes: Any) -> RaceState:
        """Advance the clock, change the race, and read it.

        Args:
            frames: frames to add to the race clock.
            changes: ``position`` (world units), ``surface``, ``on_floor``, ``touching_wall``,
                ``respawning``, ``drift_boost``, ``wrong_way``, ``finished``, ``heading``, or a
                field of the driver status.
        """
        self.race["frame"] += frames
        self.status["lap_frames"] += frames
        bits = {
            "on_floor": (self.driver, "state_bits", memory_layout.DRIVER_STATE_ON_FLOOR),
            "touching_wall": (self.driver, "state_bits", memory_layout.DRIVER_STATE_TOUCHING_WALL),
            "respawning": (self.driver, "flags", memory_layout.DRIVER_FLAG_RESPAWNING),
            "drift_boost": (self.driver, "flags", memory_layout.DRIVER_FLAG_DRIFT_BOOST),
            "wrong_way": (self.status, "flags", memory_layout.STATUS_FLAG_WRONG_WAY),
            "finished": (self.status, "flags", memory_layout.STATUS_FLAG_FINISHED),
        }
        for name, value in changes.items():
            if name == "position":
                self.driver["position"] = fx(value)
            elif name == "heading":
                self.face(value)
            elif name == "surface":
                self.driver["floor_type"] = value
            elif name in bits:
                self.bit(*bits[name], value)
            else:
                self.status[name] = value
        return self.reader.read()


def fx(values: Any) -> Any:
    """Convert world units to fx32."""
    return np.round(np.asarray(values, np.float64) * memory_layout.FX32_ONE).astype(np.int64)


@lru_cache(maxsize=1)
def meadow() -> Course:
    """Compile Kartlab's first course."""
    folder = Path(mkds_gym.__file__).parent / "kartlab" / "courses"
    files = compile_course(folder / "mario_course.toml").files
    return Course.from_files(files["course_collision.kcl"], files["course_map.nkm"])


def checkpoint_line(x: float, z: float, heading: float, key: int = -1) -> Any:
    """Return a checkpoint 80 wide with midpoint (x, z), crossed along ``heading``."""
    line = np.zeros(1, nkm.CHECKPOINT)
    forward = math.sin(heading), math.cos(heading)
    line["x1"], line["z1"] = fx((x + 40 * forward[1], z - 40 * forward[0]))
    line["x2"], line["z2"] = fx((x - 40 * forward[1], z + 40 * forward[0]))
    line["sin"], line["cos"] = fx(forward)
    line["distance"] = -1
    line["goto_section"] = line["start_section"] = -1
    line["key"] = key
    return line


# Two ways from checkpoint 1 to 5: through 2 and 3 on the left, through 4 on the right.
FORK_MIDDLES = ((0, 0), (0, 100), (60, 200), (60, 300), (-60, 250), (0, 400), (400, 200))
FORK_HEADINGS = (0, 0, 0, 0, 0, 0, math.pi)
FORK_SECTIONS = ((0, 2, (1, 2), (3,)), (2, 2, (3,), (0,)), (4, 1, (3,), (0,)), (5, 2, (0,), (1, 2)))


@lru_cache(maxsize=1)
def fork() -> Course:
    """Return a course that forks and joins, with the checkpoints `FORK_MIDDLES`."""
    sections = np.zeros(len(FORK_SECTIONS), nkm.SECTION)
    sections["next"] = sections["previous"] = 0xFF
    for section, (start, length, onward, back) in zip(sections, FORK_SECTIONS, strict=True):
        section["start"], section["length"] = start, length
        section["next"][: len(onward)] = onward
        section["previous"][: len(back)] = back
    course_map = nkm.NKM(
        checkpoints=np.concatenate(
            [
                checkpoint_line(x, z, heading, {0: 0, 5: 1}.get(index, -1))
                for index, ((x, z), heading) in enumerate(
                    zip(FORK_MIDDLES, FORK_HEADINGS, strict=True)
                )
            ]
        ),
        checkpoint_paths=sections,
    )
    return Course("fork", meadow().kcl, nkm.NKM.from_bytes(course_map.save()))


@dataclass
class Drive:
    """One lap of Kartlab, frame by frame.

    Attributes:
        course: read from the console's memory.
        states: of every frame, the race start first, the finish last.
        records: for some frames, the driver and race status read through the dtypes.
        cameras: for some frames, the camera read through the dtype and by the reader, and the
            driver's position.
        camera: in the last frame.
        objects: in the last frame.
        object_entries: raw entries of the object table in the last frame, free ones left out.
        before_stage: the four bytes before the data of STAG.
    """

    course: Course
    states: list[RaceState]
    records: dict[int, tuple[np.void, np.void]]
    cameras: list[tuple[np.void, CameraState, Vector]]
    camera: CameraState
    objects: list[ObjectState]
    object_entries: np.ndarray
    before_stage: bytes


LOOK_AHEAD = 140.0
EXCURSION = range(820, 960)  # frames without steering


def _steering(state: RaceState, course: Course) -> Keys:
    """Return the key that steers to a point `LOOK_AHEAD` units ahead on the centre line."""
    x, _, z = state.position
    s, _, _ = course.track.project(x, z, state.checkpoint)
    there_x, _, there_z = course.track.point_at(s + LOOK_AHEAD)
    forward_x, _, forward_z = state.forward
    to_x, to_z = there_x - x, there_z - z
    left = to_x * forward_z - to_z * forward_x
    sine = left / max(1.0, (to_x * to_x + to_z * to_z) ** 0.5)
    return Keys.LEFT if sine > 0.08 else Keys.RIGHT if sine < -0.08 else Keys(0)


@lru_cache(maxsize=1)
def drive() -> Drive:
    """Drive one lap along the centre line, with one excursion off the road."""
    with Console(on_power_on=BootParameters(laps=1).write) as console:
        for _ in range(600):
            console.step(0, 1, False)
            with contextlib.suppress(NoRaceError):
                reader = RaceReader(console.ram, MemoryLayout.detect(console.ram))
                state = reader.read()
                if state.race_on and state.controllable:
                    break
        course = Course.from_ram(console.ram, reader.layout)
        states = [reader.read()]
        records: dict[int, tuple[np.void, np.void]] = {}
        cameras: list[tuple[np.void, CameraState, Vector]] = []
        keys = Keys.A
        while not states[-1].finished and len(states) < 4000:
            if len(states) % 4 == 0 and len(states) not in EXCURSION:
                keys = Keys.A | _steering(states[-1], course)
            if len(states) % 100 == 1:
                records[len(states) - 1] = (reader.read_driver(), reader.read_status())
                camera = read_pointer(
                    console.ram,
                    reader.layout.camera_pointer,
                    memory_layout.CAMERA.itemsize,
                    "camera",
                )
                cameras.append(
                    (
                        read_struct(console.ram, camera, memory_layout.CAMERA),
                        reader.read_camera(),
                        states[-1].position,
                    )
                )
            console.step(keys, 1, False)
            states.append(reader.read())
        assert states[-1].finished, "the test driver did not get round the lap"
        course_map = read_pointer(
            console.ram, reader.layout.map_data_pointer, memory_layout.MAP_DATA.itemsize, "map data"
        )
        stage = int(read_struct(console.ram, course_map, memory_layout.MAP_DATA)["stage"])
        table = read_struct(console.ram, reader.layout.object_table, memory_layout.OBJECT_TABLE)
        entries = struct_view(
            console.ram, int(table["entries"]), memory_layout.OBJECT_ENTRY, OBJECT_LIMIT
        )
        return Drive(
            course,
            states,
            records,
            cameras,
            reader.read_camera(),
            reader.read_objects(),
            entries[entries["object"] != 0].copy(),
            console.ram[stage - 4 - RAM_START :][:4].tobytes(),
        )
