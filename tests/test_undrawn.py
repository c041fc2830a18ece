"""Leaving out the geometry of undrawn frames changes nothing that anybody can see.

Each test runs the same thing twice on one console, with and without. A strange program is imitated
by writing commands of the geometry engine from outside, between frames.
"""

from __future__ import annotations

import ctypes
import dataclasses
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from consoles import race_console, write_code

from mkds_gym.emulator import Console, Keys
from mkds_gym.emulator.cartridge import BUNDLED_ROM
from mkds_gym.emulator.desmume.internals import Imports
from mkds_gym.emulator.desmume.undrawn import IMAGE_FILE, UndrawnGeometry
from mkds_gym.emulator.hardware import RAM_SIZE
from mkds_gym.emulator.states.snapshot import chunks
from mkds_gym.kartlab import COURSE_DIRECTORY
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.race.names import course_id

_SOUND = 8
"""Chunk of a state with bytes of the sound unit that the emulator never initialises."""
_PORTS, _SWAP, _COUNT = 0x04000400, 0x50, 0x04000604
_REGISTERS = [0x04000600, _COUNT, *range(0x04000620, 0x04000638, 4)]
_REGISTERS += range(0x04000640, 0x040006A4, 4)
"""State of the geometry engine, polygons and vertices, results of tests, two matrices."""
_PARAMETERS = {
    **dict.fromkeys([0x11, 0x15], 0),
    **dict.fromkeys([0x10, *range(0x12, 0x15), *range(0x20, 0x23), *range(0x24, 0x2C)], 1),
    **dict.fromkeys([*range(0x30, 0x34), 0x40, 0x60, 0x72], 1),
    **dict.fromkeys([0x23, 0x71], 2),
    **dict.fromkeys([0x1B, 0x1C, 0x70], 3),
    0x16: 16,
    0x17: 12,
    0x18: 16,
    0x19: 12,
    0x1A: 9,
    0x34: 32,
}
"""Number of parameters of each command but END_VTXS and SWAP_BUFFERS. Source: GBATEK."""
_IN_PRIMITIVES = [0x14, *range(0x20, 0x29)]
_BETWEEN = [command for command in _PARAMETERS if not 0x23 <= command <= 0x28]
_BATCH = 64
"""The emulator still runs the rest of a batch of so many commands after SWAP_BUFFERS."""


_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


@pytest.fixture(scope="module")
def console() -> Iterator[Console]:
    with race_console() as console:
        console.step(0, 4)
        yield console


def undrawn(console: Console) -> UndrawnGeometry:
    found = console.library.undrawn
    assert found is not None
    return found


def with_and_without(console: Console, run: Callable[[], list[Any]]) -> None:
    """Compare the results of a function, called after power-on."""
    geometry = undrawn(console)
    results = []
    # A power-on keeps remainders of the polygons before; the first run leaves the same for both.
    for enabled in (False, False, True):
        geometry.enabled = enabled
        console.reset()
        results.append(run())
    _, without, with_ = results
    differing = [i for i, pair in enumerate(zip(without, with_, strict=True)) if len(set(pair)) > 1]
    assert not differing
    assert not geometry.counts["mismatches"]


def digest(*parts: Any) -> str:
    found = hashlib.blake2b(digest_size=8)
    for part in parts:
        found.update(part)
    return found.hexdigest()


def seen(console: Console) -> str:
    read = console.library.image.desmume_memory_read_long
    registers = np.array([read(address) for address in _REGISTERS])
    return digest(console.ram, registers, console.screen("both"))


def state_digest(console: Console) -> str:
    data = console.snapshot().data
    return digest(*(data[low:high] for number, low, high in chunks(data) if number != _SOUND))


def commands(rng: np.random.Generator) -> Iterator[tuple[int, list[int]]]:
    """Yield random commands with their parameters; every primitive is complete."""

    def command(number: int) -> tuple[int, list[int]]:
        size = _PARAMETERS[number]
        if 0x16 <= number <= 0x1C:  # matrices: 20.12 fixed point
            values = rng.integers(-4000, 4000, size)
        elif number == 0x10:
            values = rng.integers(4, size=1)
        elif number in (0x13, 0x14):
            values = rng.integers(31, size=1)
        elif number == 0x12:
            values = rng.choice([0, 1, 1, 1, 2, 63], 1)
        elif number == 0x29:  # opaque, both sides
            values = rng.integers(2**16, size=1) | 0x1F00C0
        elif number == 0x60:
            values = np.array([0xBFFF0000])
        else:
            values = rng.integers(2**32, size=size)
        return number, [int(value) & 0xFFFFFFFF for value in values]

    yield from [command(0x60)] * _BATCH
    for _ in range(rng.integers(1, 40)):
        if rng.random() < 0.3:
            yield 0x40, [int(rng.integers(4))]
            for number in rng.choice(_IN_PRIMITIVES, rng.integers(1, 25)).tolist():
                yield command(number)
            yield 0x41, []
            yield 0x40, [0]
        else:
            yield command(int(rng.choice(_BETWEEN)))


def send(console: Console, rng: np.random.Generator) -> None:
    """Send random commands, through the ports or packed."""
    write = console.library.image.desmume_memory_write_long
    packed = rng.random() < 0.5
    for number, values in commands(rng):
        if packed:
            for value in [number, *values]:
                write(_PORTS, value)
        else:
            for value in values or [0]:
                write(_PORTS + 4 * number, value)


class AnyCommands:
    """A program that sends any commands in any order, in words of up to four.

    Matrices are affine, and a primitive begins before its first vertex. It may end late: in another
    frame, after tests and matrices, or never.
    """

    _COMMANDS = (*_PARAMETERS, 0x41)
    _WEIGHTS = np.array(
        [12 if 0x23 <= number <= 0x28 else 4 if number == 0x40 else 1 for number in _COMMANDS]
    )

    def __init__(self, console: Console, seed: int) -> None:
        self.console = console
        self.rng = np.random.default_rng(seed)
        self.begun = False

    def command(self, number: int) -> tuple[int, list[int]]:
        rng, size = self.rng, _PARAMETERS.get(number, 0)
        values = rng.integers(-(2**31), 2**31, size)
        if 0x16 <= number <= 0x1C:
            values = rng.integers(-4000, 4000, size)
        if number in (0x16, 0x18):
            values[3::4] = 0, 0, 0, 4096
        if number in (0x10, 0x13, 0x14):
            values %= {0x10: 4}.get(number, 31)
        elif number == 0x12:
            values = rng.choice([0, 1, 1, 1, 2, 63], 1)
        elif number == 0x29:  # opaque, both sides
            values = values & 0xFFFF | 0x1F00C0
        elif number == 0x60:
            values[:] = 0xBFFF0000
        return number, [int(value) & 0xFFFFFFFF for value in values]

    def commands(self) -> Iterator[tuple[int, list[int]]]:
        weights = self._WEIGHTS / self._WEIGHTS.sum()
        for number in self.rng.choice(
            self._COMMANDS, self.rng.integers(1, 150), p=weights
        ).tolist():
            if 0x23 <= number <= 0x28 and not self.begun:
                yield self.command(0x40)
            self.begun |= number == 0x40 or 0x23 <= number <= 0x28
            self.begun &= number != 0x41
            yield self.command(number)
        if self.rng.random() < 0.5:
            self.begun = False
            yield from ((0x41, []), (_SWAP, [int(self.rng.integers(4))]))

    def send(self) -> None:
        write = self.console.library.image.desmume_memory_write_long
        commands = list(self.commands())
        if self.rng.random() < 0.5:
            for number, values in commands:
                for value in values or [0]:
                    write(_PORTS + 4 * number, value)
            return
        while commands:
            size = int(self.rng.integers(1, 5))
            packed, commands = commands[:size], commands[size:]
            write(_PORTS, int.from_bytes(bytes(number for number, _ in packed), "little"))
            for value in (value for _, values in packed for value in values):
                write(_PORTS, value)

    def run(self, frames: int) -> list[str]:
        """Send commands before each frame, and return digests of what can be seen."""
        console, rng = self.console, self.rng
        console.step(0, 8, draw=False)
        console.library.image.desmume_memory_write_long(0x04000000, 0x00010108)  # shows 3D
        found = []
        for _ in range(frames):
            self.send()
            console.step(0, int(rng.integers(1, 3)), draw=bool(rng.random() < 0.3))
            found.append(seen(console))
            if rng.random() < 0.4:
                found.append(state_digest(console))
        return found


@pytest.fixture(scope="module")
def idle_console() -> Iterator[Console]:
    """A console whose program does nothing."""
    with Console(BUNDLED_ROM, on_power_on=lambda ram: write_code(ram, 0xEAFFFFFE)) as console:
        yield console


def test_strip_that_continues_after_a_swap_looks_the_same(idle_console: Console) -> None:
    """The last list refers to two vertices that the first one left. All is built from then on."""
    console = idle_console
    write = console.library.image.desmume_memory_write_long
    undrawn_lists = []

    def run() -> list[str]:
        rng = np.random.default_rng(5)
        console.step(0, 8, draw=False)
        write(0x04000010, 0)  # the emulator leaves the place of the 3D picture uninitialised
        write(0x04000000, 0x00010108)  # shows 3D
        before = undrawn(console).counts["deferred"]
        for vertices, begins in ((12, True), (9, True), (6, False)):
            for number, value in ((0x60, 0xBFFF0000), (0x29, 0x1F00C0), (0x40, 2)):
                if begins:
                    write(_PORTS + 4 * number, value)
            for _ in range(vertices):
                x, y = rng.integers(-60, 60, 2).tolist()
                write(_PORTS + 4 * 0x20, int(rng.integers(1, 2**15)))
                write(_PORTS + 4 * 0x24, (x & 1023) | (y & 1023) << 10)
            console.step(0, 1, draw=False)
            write(_PORTS + 4 * _SWAP, 0)
            console.step(0, 1, draw=False)
        found = [seen(console)]
        for draw in (True, True, False, True):
            console.step(0, 3, draw=draw)
            found.append(seen(console))
        undrawn_lists.append(undrawn(console).counts["deferred"] - before)
        write(_PORTS + 4 * _SWAP, 0)
        console.step(0, 5, draw=False)
        undrawn_lists.append(undrawn(console).counts["deferred"] - before)
        assert len(np.unique(console.screen("both").reshape(-1, 3), axis=0)) > 2
        return found

    with_and_without(console, run)
    assert undrawn_lists[:4] == [0] * 4
    assert undrawn_lists[4] == undrawn_lists[5] > 0


# The emulator aborts on quads that are not convex and outside of the picture, with this package or
# without: an assertion of GFX3D_Clipper::ClipPoly fails. Other seeds have such quads.
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2, 6, 9])
def test_any_commands_leave_the_same_state_and_picture(idle_console: Console, seed: int) -> None:
    with_and_without(idle_console, lambda: AnyCommands(idle_console, seed).run(40))


def strange_program(console: Console, seed: int, frames: int) -> list[str]:
    """Drive a race with random commands in between, and return digests of what can be seen."""
    rng = np.random.default_rng(seed)
    write = console.library.image.desmume_memory_write_long
    console.step(0, 30, draw=False)
    found, snapshots = [], [console.snapshot()]
    for _ in range(frames):
        if rng.random() < 0.8:
            send(console, rng)
        if rng.random() < 0.4:
            write(_PORTS + 4 * _SWAP, int(rng.integers(4)))
            for _ in range(_BATCH):  # keeps the race's strips in one piece
                write(_PORTS + 4 * 0x60, 0xBFFF0000)
        keys = [0, Keys.A, Keys.A | Keys.LEFT][rng.integers(3)]
        console.step(keys, int(rng.integers(1, 5)), draw=bool(rng.random() < 0.35))
        found.append(seen(console))
        choice = rng.random()
        if choice < 0.06:
            found.append(state_digest(console))
            snapshots.append(console.snapshot())
        elif choice < 0.10:
            console.restore(snapshots[rng.integers(len(snapshots))])
        elif choice < 0.12:
            state = console.save_state()
            assert state is not None
            console.load_state(state)
        elif choice < 0.13:
            write(0x04000600, 1 << 29)  # empties the queue
    return found


def test_strange_program_sees_and_shows_the_same(console: Console) -> None:
    with_and_without(console, lambda: strange_program(console, 1, 30))
    counts = undrawn(console).counts
    assert counts["deferred"] > 50
    assert counts["replayed"] > 5


# Some seeds, such as 0, 6 and 10, make the emulator itself abort when it draws: an assertion of its
# clipper fails (GFX3D_Clipper::ClipPoly), also in a library that this package has not changed.
@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4, 5, 7, 9])
def test_strange_programs_see_and_show_the_same(console: Console, seed: int) -> None:
    with_and_without(console, lambda: strange_program(console, seed, 300))


@pytest.mark.parametrize(
    "skip", [2, *(pytest.param(skip, marks=pytest.mark.slow) for skip in (1, 3))]
)
def test_pictures_and_states_of_a_race_are_the_same(console: Console, skip: int) -> None:
    def run() -> list[str]:
        console.step(0, 90, draw=False)
        found, rng = [], np.random.default_rng(skip)
        start = console.snapshot()
        for step in range(25):
            keys = [Keys.A, Keys.A | Keys.RIGHT, Keys.B][rng.integers(3)]
            console.step(keys, skip, draw=bool(step % 10 > rng.integers(10)))
            found.append(digest(console.ram, console.screen("both")))
            if step % 9 == 5:
                found.append(state_digest(console))
            if step == 16:
                console.restore(start)
        return found

    with_and_without(console, run)


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[dict[str, BootParameters], Console, Console]]:
    """A console without and a console with, and what both boot: change the dictionary's value."""
    boot: dict[str, BootParameters] = {}

    def write(ram: Any) -> None:
        for parameters in boot.values():
            parameters.write(ram)

    with (
        Console(BUNDLED_ROM, on_power_on=write) as without,
        Console(BUNDLED_ROM, on_power_on=write) as with_,
    ):
        undrawn(without).enabled = False
        undrawn(with_).enabled = True
        yield boot, without, with_
        undrawn(without).enabled = True


def check_memory(
    pair: tuple[dict[str, BootParameters], Console, Console],
    parameters: BootParameters | None,
    frames: int,
    every: int = 1,
) -> None:
    """Drive both consoles alike; compare the memory after ``every`` frames, and some pictures."""
    boot, *consoles = pair
    boot.clear()
    if parameters is not None:
        boot["race"] = parameters
    rng = np.random.default_rng(frames)
    for console in consoles:
        console.reset()
    rams = [console.ram.ctypes.data for console in consoles]
    keys = 0
    for frame in range(frames):
        if frame % 10 == 0:
            if parameters is None:
                keys = 1 << int(rng.integers(12))
            else:
                keys = Keys.A | [0, Keys.LEFT, Keys.RIGHT, Keys.R, Keys.L][rng.integers(5)]
        for console in consoles:
            console.step(keys, 1, draw=frame % 50 == 9)
        assert frame % every or _memcmp(*rams, RAM_SIZE) == 0, frame
        if frame % 50 == 11:
            assert np.array_equal(*(console.colours("both") for console in consoles)), frame
    assert not undrawn(consoles[1]).counts["mismatches"]


def test_memory_of_races_and_menu_is_the_same_after_every_frame(pair: Any) -> None:
    race = BootParameters(mode="vs", drivers=8, items=True, sound=True)
    for parameters in (BootParameters(laps=1), race, None):
        check_memory(pair, parameters, 150)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", ["time_trial", "vs", "menu"])
@pytest.mark.parametrize("course", sorted(COURSE_DIRECTORY.glob("*.toml")), ids=lambda p: p.stem)
def test_memory_on_all_courses_is_the_same(pair: Any, course: Path, mode: str) -> None:
    frames = int(os.environ.get("MKDS_UNDRAWN_FRAMES", "27000")) // 27
    number = course_id(course.stem)
    races = {
        "time_trial": BootParameters(course=number, laps=9),
        "vs": BootParameters(course=number, laps=9, mode="vs", drivers=8, items=True, seed=number),
        "menu": None,
    }
    check_memory(pair, races[mode], frames + number, every=10)  # comparing costs as much as driving


def test_changed_code_is_refused(console: Console) -> None:
    library = console.library
    build = library.build
    assert build is not None
    spans, _ = build.geometry.code
    other = dataclasses.replace(build.geometry, code=(spans, "0" * 32))
    imports = Imports(library.image, library.path.read_bytes())
    with pytest.raises(ValueError, match="the geometry engine is not as it should be"):
        UndrawnGeometry(library.image, imports, dataclasses.replace(build, geometry=other))


def test_machine_code_is_that_of_its_source(tmp_path: Path) -> None:
    if not all(map(shutil.which, ("make", "gcc", "ld", "objcopy"))):
        pytest.skip("no compiler")
    version = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True)
    if version.stdout.strip() != "12.2.0":
        pytest.skip("another compiler than the one that built the file")
    folder = tmp_path / "native"
    shutil.copytree(IMAGE_FILE.parent, folder)
    (folder / IMAGE_FILE.name).unlink()
    subprocess.run(["make"], cwd=folder, check=True, capture_output=True)
    assert (folder / IMAGE_FILE.name).read_bytes() == IMAGE_FILE.read_bytes()
