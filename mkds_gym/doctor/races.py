"""A race in memory, read field by field: which values are plausible."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.course import Course
from mkds_gym.course.progress import race_reader
from mkds_gym.doctor.files import check_course
from mkds_gym.doctor.finding import BAD, Finding, judged
from mkds_gym.emulator.console import Console
from mkds_gym.errors import MKDSError
from mkds_gym.race.memory import read_pointer, read_struct
from mkds_gym.race.memory_layout import (
    CAMERA,
    DRIVER_LIMIT,
    FX32_ONE,
    KIND_GHOST,
    RACE_STATE,
    SCENE,
    MemoryLayout,
)
from mkds_gym.race.names import CHARACTERS, COURSES, SURFACES
from mkds_gym.race.reader import RaceReader
from mkds_gym.race.state import RACE_SCENES

_REPORT: Final = (
    "please report this line: the field may lie elsewhere in this release, or its range here is "
    "too narrow"
)
NO_RACE: Final = "save the state in a race: on the grid, or while driving"
_KARTS: Final = 37


class _Fields:
    """Values of one structure that are checked against their ranges."""

    def __init__(self, part: str) -> None:
        self.part = part
        self._said: list[str] = []
        self._problems: list[str] = []

    def within(self, name: str, value: float, least: float, most: float) -> None:
        """Note a number, which is odd outside the range."""
        shown = f"{name} {value:.6g}"
        self._said.append(shown)
        if not least <= value <= most:
            self._problems.append(f"{shown}, expected {least:g} to {most:g}")

    def one_of(self, name: str, value: int, known: dict[int, str]) -> None:
        """Note a number that has names."""
        self._said.append(f"{name} {known.get(value, value)}")
        if value not in known:
            self._problems.append(f"{name} {value} is unknown")

    def true(self, problem: str, good: bool) -> None:
        """Note a problem unless the condition holds."""
        if not good:
            self._problems.append(problem)

    def finding(self) -> Finding:
        """Return what was found."""
        return judged(self.part, self._problems, ", ".join(self._said), _REPORT)


def check_race(
    console: Console, part: str, courses: dict[int, str], advice: str = NO_RACE
) -> Iterator[Finding]:
    """Check the race in a console's memory.

    Args:
        console: the console, with a race.
        part: name of the race for the findings.
        courses: names of the cartridge's courses, by fingerprint.
        advice: what to do if there is no race.
    """
    try:
        layout = MemoryLayout.detect(console.ram, console.cartridge.region)
        reader = race_reader(console.ram, layout)
        reader.resolve()
        yield _check_state(reader, console.ram, part)
        yield _check_config(reader, part)
        course = Course.from_ram(console.ram, layout, reader.read().course_name or "")
    except MKDSError as error:
        yield Finding(part, BAD, str(error), advice)
        return
    try:
        yield check_course(f"{part}, course", course)
        found = courses.get(course.fingerprint)
        yield judged(
            f"{part}, course in memory",
            [] if found else ["equal to no course file of the cartridge"],
            f"equal to {found}" if found else "read from memory",
            "usual for mirrored races, random courses and hacks that change courses while loading; "
            "mkds-gym uses the course in memory",
        )
        for driver in range(int(reader.read().driver_count)):
            yield _check_driver(reader, course, driver, part)
        yield _check_camera(reader, console.ram, part)
        yield _check_objects(reader, part)
    except MKDSError as error:
        yield Finding(part, BAD, str(error), _REPORT)


def _check_state(reader: RaceReader, ram: NDArray[np.uint8], part: str) -> Finding:
    layout = reader.layout
    at = read_pointer(ram, layout.race_state_pointer, RACE_STATE.itemsize, "the race state")
    state = read_struct(ram, at, RACE_STATE)
    at = read_pointer(ram, layout.scene_pointer, SCENE.itemsize, "the scene state")
    scene = read_struct(ram, at, SCENE)
    status = reader.read_status()
    fields = _Fields(f"{part}, state")
    fields.within("scene", int(scene["state"]), min(RACE_SCENES), max(RACE_SCENES))
    fields.within("started", int(state["state"]), 0, 1)
    fields.within("race frame", int(status["frame"]), 0, 60 * 60 * 30)
    fields.within("scene frame", int(state["frame"]), 0, 60 * 60 * 40)
    fields.within(
        "frame counters apart by", int(state["frame"]) - int(state["second_counter"]), 1, 1
    )
    fields.within("clock running", int(status["clock_running"]), 0, 1)
    return fields.finding()


def _check_config(reader: RaceReader, part: str) -> Finding:
    config = reader.read_config()
    fields = _Fields(f"{part}, config")
    fields.one_of("course", int(config["course_id"]), COURSES)
    fields.one_of("mode", int(config["mode"]), {0: "grand prix", 1: "time trial", 3: "VS"})
    fields.one_of("class", int(config["engine_class"]), {0: "50 cc", 1: "100 cc", 2: "150 cc"})
    fields.within("mirror", int(config["mirror"]), 0, 1)
    fields.within("lap override", int(config["lap_override"]), -1, 99)
    fields.one_of("character", int(config["drivers"]["character"][0]), CHARACTERS)
    fields.within("kart", int(config["drivers"]["kart"][0]), 0, _KARTS - 1)
    return fields.finding()


def _check_driver(reader: RaceReader, course: Course, index: int, part: str) -> Finding:
    driver = reader.read_driver(index)
    status = reader.read_status()["drivers"][index]
    fields = _Fields(f"{part}, driver {index}")
    ghost = bool(int(driver["kind"]) & KIND_GHOST)
    x, y, z = (driver["position"] / FX32_ONE).tolist()
    area, size = course.kcl.area_minimum, course.kcl.area_size
    for name, value, axis in (("x", x, 0), ("z", z, 2)):
        fields.within(name, value, area[axis], area[axis] + size[axis])
    # The octree's area need not hold a kart in the air.
    fields.within("y", y, area[1] - 1000, area[1] + size[1] + 1000)
    gaps = np.abs(course.kcl.heights_at(x, z) - y)
    if len(gaps) and not ghost:
        fields.within("floor apart by", float(gaps.min()), 0, 500)
    else:
        fields.true("no floor above or below: has the kart left the course?", ghost)
    for name in ("forward", "up"):
        fields.within(f"|{name}|", float(np.linalg.norm(driver[name] / FX32_ONE)), 0.95, 1.05)
    forward, up = driver["forward"] / FX32_ONE, driver["up"] / FX32_ONE
    fields.within("forward . up", float(forward @ up), -0.1, 0.1)
    fields.within("speed", int(driver["speed"]) / FX32_ONE, -20, 20)
    fields.within("top speed", int(driver["target_max_speed"]) / FX32_ONE, 0, 20)
    fields.within("sphere radius", int(driver["sphere_radius"]) / FX32_ONE, 2, 32)
    fields.one_of("floor", int(driver["floor_type"]), dict(enumerate(SURFACES)))
    fields.within("lap", int(status["lap"]), 0, 99)
    if reader.layout.checkpoint_fields:
        checkpoints, sections = len(course.track), len(course.nkm.checkpoint_paths)
        fields.within("checkpoint", int(status["checkpoint"]), 0, checkpoints - 1)
        fields.within("section", int(status["section"]), 0, max(sections, 1) - 1)
        fields.within("key checkpoint", int(status["key_checkpoint"]), -1, checkpoints - 1)
        for name in ("checkpoint_progress", "lap_progress", "race_progress"):
            value = int(status[name]) / FX32_ONE
            fields.within(name.replace("_", " "), value, -1, 1.001)
    return fields.finding()


def _check_camera(reader: RaceReader, ram: NDArray[np.uint8], part: str) -> Finding:
    at = read_pointer(ram, reader.layout.camera_pointer, CAMERA.itemsize, "the camera")
    raw = read_struct(ram, at, CAMERA)
    camera = reader.read_camera()
    fields = _Fields(f"{part}, camera")
    fields.within("half field of view", math.degrees(camera.half_fov), 5, 80)
    fields.within("aspect", camera.aspect, 1.2, 1.5)
    fields.within("near", camera.near, 0.01, 100)
    fields.within("far", camera.far, 500, 100_000)
    length = math.hypot(int(raw["fov_sine"]) / FX32_ONE, int(raw["fov_cosine"]) / FX32_ONE)
    fields.within("sine and cosine", length, 0.99, 1.01)
    rows = np.linalg.norm(camera.matrix[:3], axis=0)
    for axis, value in zip(("right", "up", "back"), rows.tolist(), strict=True):
        fields.within(f"|{axis}|", value, 0.95, 1.05)
    return fields.finding()


def _check_objects(reader: RaceReader, part: str) -> Finding:
    things = reader.read_objects()
    drivers = sum(thing.kind == "driver" for thing in things)
    fields = _Fields(f"{part}, objects")
    fields.within("objects", len(things), 0, 255)
    fields.within("drivers among them", drivers, 0, DRIVER_LIMIT)
    return fields.finding()
