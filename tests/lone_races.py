"""Races that drivers drive alone, each on its own console, and together on one console."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from kartlab_race import LAYOUT, KartlabRace
from numpy.typing import NDArray

from mkds_gym.course import Course
from mkds_gym.drivers.pure_pursuit import PurePursuit
from mkds_gym.emulator.console import Keys
from mkds_gym.kartlab.host_drivers import NOBODY, HostDrivers
from mkds_gym.race.memory import struct_view
from mkds_gym.race.memory_layout import CAMERA, RACE_STATE
from mkds_gym.race.race_copy import RaceCopy
from mkds_gym.race.state import RaceState

PICTURE_FRAMES = 3
"""Frames that are drawn for a picture: the picture shows an earlier frame of the race."""
DRIVERS = 8
STEERING = (
    0,
    0,
    int(Keys.LEFT),
    int(Keys.RIGHT),
    int(Keys.LEFT | Keys.R),
    int(Keys.RIGHT | Keys.R),
)
BUTTONS = (int(Keys.A), int(Keys.A), int(Keys.A), int(Keys.B), int(Keys.A | Keys.L), 0)

Policy = Callable[[RaceState, Course, int], int]


def policies(seed: int) -> list[Policy]:
    """Return eight drivers that meet all parts of a course."""
    fast, slow, late = PurePursuit(pace=1.3), PurePursuit(pace=0.6, drifts=False), PurePursuit()
    random, wild = np.random.default_rng((seed, 0)), np.random.default_rng((seed, 1))
    held = [0, 0]

    def sticky(_state: RaceState, _course: Course, frame: int) -> int:
        if frame % 12 == 0:
            held[0] = int(random.choice(STEERING)) | int(random.choice(BUTTONS))
        return held[0]

    def any_keys(_state: RaceState, _course: Course, frame: int) -> int:
        if frame % 3 == 0:
            held[1] = int(wild.integers(0x1000)) & ~int(Keys.START)
        return held[1] | int(Keys.A)

    def into_the_wall(_state: RaceState, _course: Course, frame: int) -> int:
        return int(Keys.A | (Keys.LEFT if frame < 60 or frame % 200 > 150 else 0))

    def off_the_road(_state: RaceState, _course: Course, frame: int) -> int:
        return int(Keys.A | (Keys.RIGHT if 30 < frame < 45 else 0))

    def straight_on(_state: RaceState, _course: Course, frame: int) -> int:
        return int(Keys.A | (Keys.L if frame % 60 == 50 else 0))

    return [
        lambda state, course, _: fast.keys(state, course),
        lambda state, course, _: slow.keys(state, course),
        lambda state, course, frame: late.keys(state, course) if frame > 50 else int(Keys.B),
        sticky,
        any_keys,
        into_the_wall,
        off_the_road,
        straight_on,
    ]


@dataclass
class LoneRace:
    """What a driver did, and what its console showed.

    Attributes:
        keys: of each frame of the race, counted from 1; entry 0 is unused.
        copies: the race after each frame; None before the host can read the race.
        pictures: both screens after some frames.
        cameras: camera and timers of the scene after these frames.
    """

    keys: list[int] = field(default_factory=list)
    copies: list[RaceCopy | None] = field(default_factory=list)
    pictures: dict[int, NDArray[np.uint16]] = field(default_factory=dict)
    cameras: dict[int, bytes] = field(default_factory=dict)


def camera_bytes(race: KartlabRace) -> bytes:
    """Return the camera and the timers of the scene."""
    camera = struct_view(race.ram, race.word(LAYOUT.camera_pointer), CAMERA)
    timers = struct_view(race.ram, race.word(LAYOUT.race_state_pointer), RACE_STATE)
    return bytes(camera.tobytes() + timers.tobytes())


def drive_alone(
    policy: Policy, race: KartlabRace, frames: int, pictures: Sequence[int] = ()
) -> LoneRace:
    """Drive a race from its start, on a console of its own."""
    race.restart()
    state_of_race = struct_view(race.ram, race.word(LAYOUT.race_state_pointer), RACE_STATE)[0]
    first = int(state_of_race["frame"]) - 1
    out = LoneRace([0] * (first + 1), [None] * first + [race.reader.copy()])
    for frame in range(first + 1, frames + 1):
        keys = policy(race.state, race.course, frame)
        race.console.step(keys, 1, draw=any(0 <= at - frame < PICTURE_FRAMES for at in pictures))
        out.keys.append(keys)
        out.copies.append(race.reader.copy())
        if frame in pictures:
            out.pictures[frame] = race.console.colours("both").copy()
            out.cameras[frame] = camera_bytes(race)
    return out


def drive_all_alone(
    frames: int, seed: int = 0, pictures: Sequence[int] = (), **parameters: Any
) -> list[LoneRace]:
    """Drive a race of each of the `policies`."""
    race = KartlabRace.boot(**parameters)
    try:
        return [drive_alone(policy, race, frames, pictures) for policy in policies(seed)]
    finally:
        race.close()


class Together:
    """Drivers of lone races, together on one console.

    Attributes:
        races: the lone races.
        at: for each driver, the index of its lone race and the frame in it.
        blocks: state blocks that the drivers have had, by lone race and frame.
    """

    def __init__(
        self, races: Sequence[LoneRace], drivers: int = DRIVERS, **parameters: Any
    ) -> None:
        self.field = KartlabRace.boot(hosted=drivers, alone=True, **parameters)
        self.host = HostDrivers(self.field.ram)
        self.host.shown = NOBODY
        self.races = races
        first = sum(copy is None for copy in races[0].copies)
        self.at = [(index, first) for index in range(drivers)]
        self.start = self.host.state(0)
        self.blocks: dict[tuple[int, int], bytes] = {}
        self.pieces = [self.host.race_pieces(driver) for driver in range(drivers)]

    def close(self) -> None:
        self.field.close()

    def step(
        self,
        held: int = 0,
        save: int = 0,
        loads: Mapping[int, tuple[int, int]] | None = None,
        draw: bool = False,
    ) -> None:
        """Run a frame and compare every driver with its lone race.

        Args:
            held: bits of drivers that stand still.
            save: bits of drivers whose state blocks are kept.
            loads: for drivers, the lone race and the frame to go on at: an entry of `blocks`, or
                frame 0 of any race.
            draw: let the emulator draw the picture.
        """
        host = self.host
        for driver, (race, frame) in (loads or {}).items():
            host.write_state(driver, self.blocks[race, frame] if frame else self.start)
            host.load(1 << driver)
            self.at[driver] = race, frame
        host.held = held
        for driver, (race, frame) in enumerate(self.at):
            if not held >> driver & 1:
                self.at[driver] = race, frame + 1
                host.keys[driver] = self.races[race].keys[frame + 1]
            else:
                host.keys[driver] = Keys.A | Keys.LEFT
        if save:
            host.save(save)
        done = host.frames
        self.field.console.step(0, 1, draw=draw)
        assert host.frames == done + 1
        for driver, (race, frame) in enumerate(self.at):
            expected = self.races[race].copies[frame]
            got = b"".join(self.pieces[driver])
            if expected is not None and got != expected:
                raise AssertionError(
                    f"driver {driver}, race {race}, frame {frame}: {differing(expected, got)}"
                )
            if save >> driver & 1:
                block = host.state(driver)
                kept = self.blocks.setdefault((race, frame), block)
                assert block == kept, (
                    f"driver {driver}, race {race}, frame {frame}: state block, "
                    f"{differing(kept, block)}"
                )

    def left(self, driver: int) -> int:
        """Return the frames that are left in a driver's lone race."""
        race, frame = self.at[driver]
        return len(self.races[race].copies) - 1 - frame


def differing(one: bytes, other: bytes) -> str:
    """Return where two copies of a race differ."""
    if len(one) != len(other):
        return f"{len(one)} bytes, {len(other)} bytes"
    places = np.flatnonzero(np.frombuffer(one, np.uint8) != np.frombuffer(other, np.uint8))
    return f"{len(places)} bytes differ, from {places[0]:#x} on"


def drive_together(together: Together, frames: int, seed: int) -> None:
    """Drive frames with holds, saves, loads and changes of the shown driver at random moments."""
    random = np.random.default_rng(seed)

    def mask(chance: float) -> int:
        return sum(1 << driver for driver in range(DRIVERS) if random.random() < chance)

    for _ in range(frames):
        loads = {
            driver: (int(random.integers(DRIVERS)), 0)
            for driver in range(DRIVERS)
            if together.left(driver) == 0
        }
        if random.random() < 0.02:
            loads[int(random.integers(DRIVERS))] = (int(random.integers(DRIVERS)), 0)
        if together.blocks and random.random() < 0.05:
            known = [at for at in together.blocks if at[1] < len(together.races[0].copies) - 1]
            if known:
                loads[int(random.integers(DRIVERS))] = known[int(random.integers(len(known)))]
        if random.random() < 0.05:
            together.host.shown = int(random.choice([NOBODY, NOBODY, *range(DRIVERS)]))
        held = mask(0.5) if random.random() < 0.3 else 0
        together.step(held, mask(0.2) if random.random() < 0.2 else 0, loads)
