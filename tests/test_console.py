"""One console: frames, memory, picture, states.

`test_console_lifecycle.py` runs this file again with an unknown emulator build, so tests of a fast
path ask `capabilities` first.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import pickle
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from consoles import LEFT, RIGHT, drive, race_console, write_code
from numpy.typing import NDArray
from programs import run_file
from waiting import interrupted_when

from mkds_gym.emulator import Cartridge, Console, Difference, Keys, Snapshot
from mkds_gym.emulator.cartridge import BUNDLED_ROM
from mkds_gym.emulator.desmume import internals, library, loader
from mkds_gym.emulator.desmume.elf import import_slots
from mkds_gym.emulator.hardware import RGB_OF_COLOURS
from mkds_gym.emulator.states.snapshot import END_MARK, chunks
from mkds_gym.emulator.states.state_file import ReadState
from mkds_gym.errors import ConsoleError, StateError
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import RaceReader


@pytest.fixture
def new_console() -> Iterator[Console]:
    with race_console() as console:
        yield console


@pytest.fixture
def console(new_console: Console, race_start: Snapshot) -> Console:
    """A console in a race."""
    new_console.restore(race_start)
    return new_console


def battery_command(*sent: int) -> list[int]:
    """ARM code that sends bytes to the battery memory; r0 is the last byte that comes back.

    Registers: r1 0x040001A0 (AUXSPICNT, AUXSPIDATA), r2 AUXSPICNT within a command, r3 at its end.
    """
    code = [0xE1C120B0]  # strh r2, [r1]
    for index, byte in enumerate(sent):
        if index == len(sent) - 1:
            code.append(0xE1C130B0)  # strh r3, [r1]
        code += [0xE3A00000 | byte, 0xE1C100B2]  # mov r0, #byte; strh r0, [r1, #2]
    return [*code, 0xE1D100B2]  # ldrh r0, [r1, #2]


# Power ---------------------------------------------------------------------------------------


def test_capabilities_depend_on_the_build(console: Console) -> None:
    capabilities = console.capabilities
    known = "MKDS_DESMUME_LIBRARY" not in os.environ
    assert capabilities.known_build == known
    assert capabilities.jit == known
    assert capabilities.dummy_sound == known
    assert capabilities.memory_states == known
    assert capabilities.undrawn_geometry == known
    assert (console.library.fast_restore is not None) == known
    assert capabilities.skip_frames
    assert capabilities.quiet
    assert capabilities.private_battery
    assert capabilities.fixed_clock
    with pytest.raises(AttributeError):
        capabilities.jit = True  # type: ignore[misc]


def test_console_without_jit_interprets() -> None:
    with Console(BUNDLED_ROM, jit=False) as console:
        assert not console.capabilities.jit
        drive(console, 20)
        assert console.frame_count == 20
        console.reset()
        assert not console.library.jit


def test_console_accepts_a_cartridge() -> None:
    cartridge = Cartridge.open(BUNDLED_ROM)
    with Console(cartridge) as console:
        assert console.cartridge is cartridge


def test_kartlab_boots_to_its_title_without_boot_parameters() -> None:
    with Console(BUNDLED_ROM) as console:
        console.step(0, 300, draw=False)
        reader = RaceReader(console.ram, MemoryLayout.detect(console.ram))
        assert not reader.read().race_on
        for keys, frames in ((Keys.START, 3), (0, 30), (Keys.START, 3), (0, 300)):
            console.step(keys, frames, draw=False)
        state = reader.read()
        assert state.race_on
        assert state.controllable


def test_on_power_on_runs_before_the_first_frame_and_at_each_reset() -> None:
    calls = []

    def mark(ram: NDArray[np.uint8]) -> None:
        calls.append(ram[0x3F0000:0x3F0004].tobytes())
        ram[0x3F0000:0x3F0004] = 7

    with Console(BUNDLED_ROM, on_power_on=mark) as console:
        assert console.ram[0x3F0000:0x3F0004].tolist() == [7] * 4
        assert console.frame_count == 0
        console.step(0, 5)
        console.restore(console.snapshot())
        assert calls == [bytes(4)]
        console.reset()
        assert calls == [bytes(4)] * 2
        assert console.ram[0x3F0000:0x3F0004].tolist() == [7] * 4


def test_on_power_on_that_raises_returns_the_library_to_the_pool() -> None:
    def refuse(_: NDArray[np.uint8]) -> None:
        raise LookupError("refused")

    before = len(library.idle)
    with pytest.raises(LookupError, match="refused"):
        Console(BUNDLED_ROM, on_power_on=refuse)
    assert len(library.idle) == max(before, 1)


def test_reset_gives_the_state_of_a_new_console(new_console: Console) -> None:
    first = drive(new_console, 100)
    new_console.step(Keys.A, 33)
    new_console.reset()
    assert new_console.frame_count == 0
    assert drive(new_console, 100) == first


def test_reset_empties_the_battery_memory() -> None:
    """The program stores the byte at address 0 of the battery memory, and then 0x5A over it."""
    read, write, allow_write = (3, 0, 0, 0), (2, 0, 0, 0x5A), (6,)

    def write_program(ram: NDArray[np.uint8]) -> None:
        write_code(
            ram,
            0xE3A01301,  # mov r1, #0x04000000
            0xE2811E1A,  # add r1, r1, #0x1A0
            0xE3A02CA0,  # mov r2, #0xA000
            0xE1A03002,  # mov r3, r2
            0xE2822040,  # add r2, r2, #0x40
            0xE3A04402,  # mov r4, #0x02000000
            0xE284483F,  # add r4, r4, #0x003F0000
            *battery_command(*read),  # from its length the emulator finds the memory's kind
            *battery_command(*read),
            0xE5840000,  # str r0, [r4]
            *battery_command(*allow_write),
            *battery_command(*write),
            *battery_command(*read),
            0xE5840004,  # str r0, [r4, #4]
            0xEAFFFFFE,  # the end: b the end
        )

    with Console(BUNDLED_ROM, on_power_on=write_program) as console:
        if not console.capabilities.private_battery:
            pytest.skip("the battery memory is a file of the user")
        for _ in range(2):
            console.step(0, 3)
            assert console.ram[0x3F0000:0x3F0008].view("<u4").tolist() == [0xFF, 0x5A]
            console.reset()


def test_another_process_gives_the_same_memory(new_console: Console) -> None:
    run = run_file("drive_and_hash.py", TZ="Asia/Tokyo", HOME="/nonexistent", LANG="C")
    assert run.stdout.split() == [hashlib.sha256(drive(new_console, 120)).hexdigest()], run.stderr


def test_closed_console_raises(console: Console, race_start: Snapshot) -> None:
    console.close()
    console.close()
    assert console.closed
    calls: tuple[Callable[[], object], ...] = (
        lambda: console.ram,
        console.step,
        lambda: console.step(Keys.A, 4),
        lambda: console.step(-5),
        lambda: console.run(0, 1, list),
        console.screen,
        console.colours,
        console.snapshot,
        lambda: console.difference(race_start),
        lambda: console.restore(race_start),
        console.save_state,
        lambda: console.load_state(b""),
        console.reset,
    )
    for call in calls:
        with pytest.raises(ConsoleError, match="this console is closed"):
            call()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(({"rom": rom}, r"rom=.*expected the path of a \.nds file") for rom in (5, b"x", ["a"])),
        ({"on_power_on": {"laps": 3}}, "expected a function of the memory, or None"),
    ],
)
def test_argument_of_wrong_type_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Console(**arguments)  # type: ignore[arg-type]


def test_rom_that_vanished_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "game.nds"
    path.write_bytes(BUNDLED_ROM.read_bytes())
    cartridge = Cartridge.open(path)
    path.unlink()
    with pytest.raises(ConsoleError, match="cannot open ROM"):
        Console(cartridge)
    with Console(BUNDLED_ROM) as console:  # the library still works
        console.step()


# Memory and frames ---------------------------------------------------------------------------


def test_ram_is_live_and_writable(new_console: Console) -> None:
    ram = new_console.ram
    assert ram.dtype == np.uint8
    assert ram.shape == (0x400000,)
    # The firmware leaves a copy of the ROM's header at 0x027FFE00.
    assert ram[0x3FFE00:0x3FFE20].tobytes() == BUNDLED_ROM.read_bytes()[:0x20]
    before = ram.copy()
    new_console.step(Keys.A, 30)
    assert (ram != before).any()
    assert np.shares_memory(ram, new_console.ram)
    ram[0x3D0000] = 77
    assert new_console.ram[0x3D0000] == 77


def test_keys_change_memory_and_restore_releases_them(
    console: Console, race_start: Snapshot
) -> None:
    memories = []
    for keys in (0, Keys.A, LEFT, RIGHT, Keys.LEFT | Keys.RIGHT, 0):
        console.restore(race_start)
        console.step(keys, 60, draw=False)
        memories.append(console.ram.tobytes())
    assert len(set(memories)) >= 4
    assert memories[0] == memories[-1]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        *(((k,), ValueError, "expected an integer from 0 to 4095") for k in (-1, 0x1000, 1 << 40)),
        (("A",), TypeError, "keys='A' is not an integer"),
        *(
            ((0, frames), ValueError, "expected an integer from 1 to 5184000")
            for frames in (0, -3, np.int64(0))
        ),
        *(
            ((0, frames), TypeError, f"frames={frames!r} is not an integer")
            for frames in (True, False, 1.0, 2.5, "3", None)
        ),
    ],
)
def test_step_refuses_bad_arguments(
    new_console: Console, arguments: tuple[int, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        new_console.step(*arguments)
    assert new_console.frame_count == 0


def test_step_accepts_numpy_integers(new_console: Console) -> None:
    new_console.step(np.int64(5), np.int64(1))  # type: ignore[arg-type]
    new_console.step(0, np.int64(4))  # type: ignore[arg-type]
    assert new_console.frame_count == 5
    assert type(new_console.frame_count) is int


def test_run_calls_look_after_each_frame(console: Console, race_start: Snapshot) -> None:
    keys = Keys.A | Keys.LEFT
    wanted = []
    for _ in range(6):
        console.step(keys, 1, draw=False)
        wanted.append((console.frame_count, zlib.crc32(console.ram)))
    assert len(set(wanted)) == 6
    console.restore(race_start)
    seen = console.run(keys, 6, lambda: (console.frame_count, zlib.crc32(console.ram)))
    assert seen == wanted
    with pytest.raises(ValueError, match="keys="):
        console.run(0x1000, 1, list)
    with pytest.raises(ZeroDivisionError):
        console.run(0, 5, lambda: 1 // 0)
    assert console.frame_count == wanted[-1][0] + 1


def test_clock_counts_frames(new_console: Console) -> None:
    image = new_console.library.image
    data, _ = loader.read_library(new_console.library.path)
    slot = internals.Imports(image, data).base + import_slots(data)["time"]
    time = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p)(
        ctypes.c_uint64.from_address(slot).value
    )
    assert time(None) == 1_230_768_000  # 1 January 2009
    new_console.step(0, 150, draw=False)
    assert time(None) == 1_230_768_000 + 2


@pytest.mark.parametrize("how", ["step", "run"])
def test_ctrl_c_leaves_the_right_frame_count(new_console: Console, how: str) -> None:
    console = new_console
    with interrupted_when(lambda: console.frame_count >= 20):
        while True:
            if how == "step":
                console.step(Keys.A, 60, draw=False)
            else:
                console.run(Keys.A, 60, lambda: None)
    frames = console.frame_count
    assert frames >= 20
    memory = console.ram.copy()
    console.reset()
    console.step(Keys.A, frames, draw=False)
    np.testing.assert_array_equal(console.ram, memory)


# Picture -------------------------------------------------------------------------------------


def test_screen_is_a_copy_in_24_bits(console: Console) -> None:
    console.step(0, 50)
    both = console.screen("both")
    assert both.shape == (384, 256, 3)
    assert both.dtype == np.uint8
    assert (console.screen() == both[:192]).all()
    assert (console.screen("bottom") == both[192:]).all()
    assert len(np.unique(both[:192].reshape(-1, 3), axis=0)) > 3
    # Five bits per colour, high bits repeated.
    assert ((both >> 3 << 3 | both >> 5) == both).all()
    before = both.copy()
    console.step(Keys.A, 60)
    assert (both == before).all()
    for which in ("left", [], None, 0):
        with pytest.raises(
            (TypeError, ValueError), match="expected one of 'top', 'bottom', 'both'"
        ):
            console.screen(which)  # type: ignore[arg-type]


@pytest.mark.parametrize("which", ["top", "bottom", "both"])
def test_screen_writes_to_a_given_array(
    console: Console, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    console.step(Keys.A, 50)
    wanted = console.screen(which)
    assert wanted.std() > 10
    height = len(wanted)
    pictures = np.zeros((3, *wanted.shape), np.uint8)
    assert console.screen(which, pictures[1]).base is pictures
    rgba = np.zeros((height, 256, 4), np.uint8)  # its RGB is not contiguous
    console.screen(which, rgba[:, :, :3])
    monkeypatch.setattr(console.library, "convert_to_rgb", None)
    without_conversion = console.screen(which)
    for picture in (pictures[1], rgba[:, :, :3], without_conversion):
        assert np.array_equal(picture, wanted)
    assert not pictures[0].any()
    assert not pictures[2].any()
    assert not rgba[:, :, 3].any()
    colours = console.colours(which)
    assert colours.shape == wanted.shape[:2]
    assert np.array_equal(RGB_OF_COLOURS[colours], wanted)
    assert np.shares_memory(console.colours(which), colours)
    for bad in (pictures, np.zeros((height, 256, 3), np.uint16)):
        with pytest.raises(ValueError, match=r"out has shape .* expected \("):
            console.screen(which, bad)


def test_conversion_to_other_colours_is_not_used(console: Console) -> None:
    table = RGB_OF_COLOURS.copy()
    image = console.library.image
    assert console.library.convert_to_rgb is not None
    assert internals.rgb_converter(image, table) is not None
    table[12345, 1] ^= 1
    assert internals.rgb_converter(image, table) is None


def test_first_pictures_do_not_depend_on_the_past(new_console: Console) -> None:
    """Neither on reading the picture, nor on the library's previous consoles."""
    if not new_console.capabilities.known_build:
        pytest.skip("needs a known build")

    def first_pictures(console: Console) -> Iterator[NDArray[np.uint8]]:
        console.colours("both")[:] = 0  # a frame that is not drawn stays black
        console.step(0, 1)
        for _ in range(3):
            yield console.screen("both")

    pictures = list(first_pictures(new_console))
    for _ in range(2):  # another library, and the same one again
        with race_console() as other:
            pictures += first_pictures(other)
            other.step(0, 9, draw=False)
    new_console.step(0, 9, draw=False)
    new_console.reset()
    pictures += first_pictures(new_console)
    assert len(pictures) == 12
    assert pictures[0].max() == 255
    for picture in pictures:
        np.testing.assert_array_equal(picture, pictures[0])


def test_first_pictures_after_a_desmume_state_are_lit(console: Console) -> None:
    """A state that DeSmuME itself writes says nothing about the backlights."""
    if not console.capabilities.known_build:
        pytest.skip("needs a known build")
    picture, raw = console.screen("both"), bytes(console.snapshot().data)
    pictures = []
    for frames in (1, 9):
        console.step(Keys.A, frames, draw=False)
        console.load_state(raw)
        np.testing.assert_array_equal(console.screen("both"), picture)
        console.step(0, 1)
        pictures += [console.screen("both") for _ in range(3)]
    for later in pictures:
        np.testing.assert_array_equal(later, pictures[0])
    assert pictures[0].max() == 255


def test_dim_picture_is_not_dimmed_again(console: Console) -> None:
    drawing = console.library.drawing
    if drawing is None:
        pytest.skip("needs a known build")
    for _ in range(5):
        console.step(0, 1)
    lit = console.screen("both")
    drawing.set_backlights(0.0)  # as if they had been off for a part of the frame
    console.step(0, 1)
    dim = console.screen("both")
    assert dim.mean() < 0.8 * lit.mean()
    for _ in range(2):
        np.testing.assert_array_equal(console.screen("both"), dim)
    np.testing.assert_array_equal(RGB_OF_COLOURS[console.colours("both")], dim)
    console.step(0, 1)
    assert console.screen("both").mean() > 0.9 * lit.mean()


def test_drawing_does_not_change_memory(console: Console, race_start: Snapshot) -> None:
    drawn = drive(console, 60, draw=True)
    console.restore(race_start)
    assert drive(console, 60, draw=False) == drawn


def test_screen_shows_the_last_frame_of_a_step(console: Console) -> None:
    for _ in range(5):
        console.step(Keys.A)
    snapshot = console.snapshot()
    pictures = []
    for _ in range(21):
        console.step(Keys.A, 1)
        pictures.append(console.screen("both"))
    assert any((pictures[k] != pictures[k - 1]).any() for k in range(8, 21))
    for frames in (1, 2, 3, 4, 7):
        console.restore(snapshot)
        for k in range(frames, 22, frames):
            console.step(Keys.A, frames)
            if k > 3:
                assert (console.screen("both") == pictures[k - 1]).all(), (frames, k)


# Snapshots and states ------------------------------------------------------------------------


def test_restore_is_exact(console: Console) -> None:
    console.step(Keys.A, 3)
    start, picture = console.ram.tobytes(), console.screen("both")
    snapshot = console.snapshot()
    after = drive(console, 60)
    for _ in range(2):
        console.restore(snapshot)
        assert console.ram.tobytes() == start
        assert (console.screen("both") == picture).all()
        assert console.frame_count == 103
        assert drive(console, 60) == after
    assert console.frame_count == 163
    with race_console() as other:
        other.restore(pickle.loads(pickle.dumps(snapshot)))
        assert drive(other, 60) == after


def test_compiled_code_does_not_change_results() -> None:
    """Two programs at the same address take turns more often than an address is compiled."""
    step = 0

    def write_program(ram: NDArray[np.uint8]) -> None:
        write_code(
            ram,
            0xE3A01402,  # mov r1, #0x02000000
            0xE281183F,  # add r1, r1, #0x003F0000
            0xE2800000 | step,  # loop: add r0, r0, #step
            0xE5810000,  # str r0, [r1]
            0xEAFFFFFC,  # b loop
        )

    with Console(BUNDLED_ROM, on_power_on=write_program) as console:
        starts, ends = [], []
        for step in (1, 16):  # noqa: B007 - write_program reads it
            console.reset()
            console.step(0, 3)
            starts.append(console.snapshot())
            console.step(0, 3)
            ends.append(console.ram.tobytes())
        for _ in range(6):
            for start, end in zip(starts, ends, strict=True):
                console.restore(start)
                console.step(0, 3)
                assert console.ram.tobytes() == end
        assert int(console.ram[0x3F0000:0x3F0004].view("<u4")[0]) > 1000


def test_difference_applies_in_any_order(console: Console) -> None:
    """The scratch memory keeps the last start, so every order of starts and sizes matters."""
    snapshots = []
    for frames in (5, 30, 40):
        console.step(1, frames)
        snapshots.append(console.snapshot())
    one, two, three = snapshots
    short = Snapshot(one.data[: len(one.data) // 2], one.rom, one.build_id, one.frame_count)
    longer = Snapshot(bytes(one.data) + b"x" * 3000, one.rom, one.build_id, one.frame_count)
    pairs = [
        *((one, end) for end in (two, three, two, one, three)),
        *((two, end) for end in (one, three)),
        *((short, end) for end in (one, two, short, two)),
        *((one, end) for end in (longer, two, short)),
        *((longer, end) for end in (one, longer)),
    ]
    differences = [Difference(start, end, exact=True) for start, end in pairs]
    for lasting in (False, True):
        for (start, end), difference in zip(pairs, differences, strict=True):
            assert bytes(difference.apply(start, lasting=lasting).data) == bytes(end.data)
    damaged = Difference(one, two, exact=True)
    damaged.content = damaged.content[:-4] + b"oops"
    with pytest.raises(StateError):
        damaged.apply(one)
    assert differences[1].apply(one).data == three.data
    again = pickle.loads(pickle.dumps(differences[0]))
    assert bytes(again.apply(one).data) == bytes(two.data)


def test_load_state_accepts_bytes_and_files(console: Console, tmp_path: Path) -> None:
    start = console.ram.tobytes()
    state = console.save_state()
    assert state is not None
    assert len(state) < 2_000_000
    path = tmp_path / "start.state"
    assert console.save_state(path) is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["start.state"]
    after = drive(console, 30)
    for saved in (state, bytearray(state), path, str(path)):
        console.load_state(saved)
        assert console.ram.tobytes() == start
        assert console.frame_count == 100
        assert drive(console, 30) == after


def test_load_state_accepts_desmume_states(console: Console, tmp_path: Path) -> None:
    raw = bytes(console.snapshot().data)
    start = console.ram.tobytes()
    console.step(0, 30)
    path = tmp_path / "raw.dst"
    path.write_bytes(raw)
    console.load_state(path)
    assert console.ram.tobytes() == start
    console.step(0, 30)
    console.load_state(deflated(raw))
    assert console.ram.tobytes() == start
    console.step(0, 30)
    path.write_bytes(deflated(raw))
    console.load_state(path)
    assert console.ram.tobytes() == start


def deflated(raw: bytes, size: int | None = None, packed: int | None = None) -> bytes:
    """Return a state as the desktop emulator writes states: the size leaves out the header."""
    magic, version, emulator, whole, _ = struct.unpack_from("<16s4I", raw)
    body = zlib.compress(raw[32:], 1)
    size = whole - 32 if size is None else size
    packed = len(body) if packed is None else packed
    return struct.pack("<16s4I", magic, version, emulator, size, packed) + body


def of_version(raw: bytes, version: int, changes: dict[int, tuple[int, bytes] | None]) -> bytes:
    """Return a state as another version of DeSmuME lays states out.

    Args:
        raw: a state.
        version: version of the emulator for the header, such as 91100.
        changes: by chunk: the new number and the new data; None leaves the chunk out.
    """
    parts = []
    for number, begin, end in chunks(raw):
        new = changes.get(number, (number, raw[begin + 8 : end]))
        if number == END_MARK:
            parts.append(raw[begin:end])
        elif new is not None:
            parts.append(struct.pack("<II", new[0], len(new[1])) + new[1])
    body = b"".join(parts)
    return struct.pack("<16s4I", raw[:16], 12, version, 32 + len(body), 0xFFFFFFFF) + body


def test_state_of_an_older_desmume_is_read_by_name(
    console: Console, caplog: pytest.LogCaptureFixture
) -> None:
    raw = bytes(console.snapshot().data)
    start = console.ram.tobytes()
    power = raw.index(b"PMCR") + 12
    raw = raw[:power] + bytes([0x0B, 0, 1, 0, 0]) + raw[power + 5 :]  # no backlights
    # 0.9.11 has other chunks for wireless (110) and for polygons (91), and other entries.
    old = of_version(
        raw,
        91100,
        {
            111: (110, b"W000" + struct.pack("<II", 1, 4) + bytes(4)),
            91: (91, struct.pack("<II", 4, 0x7FFFFFFF)),
            100: (100, b"OLD0" + struct.pack("<II", 2, 3) + bytes(6)),
        },
    )
    for state in (old, deflated(old)):
        console.step(Keys.A, 30)
        with caplog.at_level("INFO", "mkds_gym"):
            console.load_state(state)
        assert "saved by DeSmuME 0.9.11" in caplog.text
        assert console.ram.tobytes() == start
        console.step(Keys.A, 5)
        assert console.screen("both").max() == 255  # lit


def test_state_of_a_newer_desmume_is_refused_by_name(console: Console) -> None:
    raw = bytes(console.snapshot().data)
    before = console.ram.tobytes()
    new = of_version(raw, 91300, {101: (101, b"NEW0" + bytes(8))})
    with pytest.raises(StateError, match=r"is of DeSmuME 0\.9\.13, and this emulator is"):
        console.load_state(new)
    assert console.ram.tobytes() == before
    console.step(0, 2)


def flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


def bad_states(ours: bytes, raw: bytes) -> dict[str, tuple[bytes, str]]:
    game = raw.index(b"GINF")
    return {
        "empty": (b"", "is not a savestate"),
        "text": (b"no state", "is not a savestate"),
        "magic": (flip(ours, 0), "is not a savestate"),
        "version": (flip(ours, 8), "format version"),
        "rom": (flip(ours, 12), "of another ROM"),
        "build": (flip(ours, 32), "another build of the emulator"),
        "size": (flip(ours, 72), "damaged"),
        "crc": (flip(ours, 76), "checksum"),
        "header only": (ours[:40], "truncated"),
        "truncated": (ours[:-100], "truncated|damaged"),
        "flipped": (flip(ours, len(ours) // 2), "damaged"),
        "raw magic": (raw[:20], "truncated"),
        "raw truncated": (raw[:-1000], "truncated"),
        "raw version": (flip(raw, 16), "state format"),
        "raw chunk": (raw[:36] + b"\xff\xff\xff\x7f" + raw[40:], "longer than the file"),
        "raw other game": (flip(raw, game + 12 + 0x0C), "of another ROM"),
        "raw no game": (flip(raw, game), "of another ROM"),
        "raw entry": (flip(raw, raw.index(b"GINF") + 5), "do not fill the chunk"),
        "deflated header": (deflated(raw)[:32], "truncated"),
        "deflated truncated": (deflated(raw)[:-100], "truncated"),
        "deflated flipped": (flip(deflated(raw), 50), "damaged"),
        "deflated to more": (deflated(raw, size=1000), "damaged"),
        "deflated to less": (deflated(raw, size=len(raw) + 1), "damaged"),
        "deflated to nothing": (deflated(raw, size=0), "size of 0 bytes"),
        "deflated to gigabytes": (deflated(raw, size=0xFFFFFFF0), "size of 4294967280 bytes"),
        "deflated part": (deflated(raw, packed=100), "truncated"),
        "deflated bomb": (deflated(raw[:32] + bytes(32 << 20), size=len(raw)), "damaged"),
        "deflated without chunks": (deflated(raw[:32]), "damaged"),
    }


def test_bad_state_is_refused_and_changes_nothing(console: Console) -> None:
    ours, raw = console.save_state(), bytes(console.snapshot().data)
    assert ours is not None
    before = console.ram.tobytes()
    for case, (data, message) in bad_states(ours, raw).items():
        with pytest.raises(StateError, match=message):
            console.load_state(data)
        assert console.ram.tobytes() == before, case
        assert console.frame_count == 100, case
    console.step(Keys.A, 5)


def test_state_path_without_regular_file_is_refused(console: Console, tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"state '.*none\.state' does not exist: save one with"):
        console.load_state(tmp_path / "none.state")
    with pytest.raises(StateError, match="is a directory"):
        console.load_state(tmp_path)
    fifo, loop = tmp_path / "pipe", tmp_path / "loop"
    os.mkfifo(fifo)
    loop.symlink_to(loop)
    (tmp_path / "to-pipe").symlink_to(fifo)
    with pytest.raises(StateError, match=r"pipe.* is a pipe: save one with"):
        console.load_state(fifo)
    for path, message in (
        (fifo, "it is a device, pipe or socket; expected a file"),
        (tmp_path / "to-pipe", "it is a device, pipe or socket"),
        (tmp_path, "it is a folder"),
        ("/", "it is a folder"),
        ("", "it is a folder"),
        (loop, "cannot write"),
        (fifo / "x", "cannot write"),
        (tmp_path / "no folder" / "x.state", "cannot write"),
    ):
        with pytest.raises(StateError, match=message):
            console.save_state(path)
    with pytest.raises(ValueError, match="zero byte"):
        console.save_state("a\0b")
    assert fifo.is_fifo()


def test_save_state_follows_links(console: Console, tmp_path: Path) -> None:
    real = tmp_path / "real" / "race.state"
    real.parent.mkdir()
    real.write_bytes(b"older")
    link, dangling = tmp_path / "link.state", tmp_path / "dangling.state"
    link.symlink_to(real)
    dangling.symlink_to(tmp_path / "real" / "new.state")
    for path in (link, dangling):
        console.save_state(path)
        assert path.is_symlink()
        assert path.resolve().parent == real.parent
        console.load_state(path)
    assert {entry.name for entry in real.parent.iterdir()} == {"race.state", "new.state"}


def test_state_of_wrong_type_is_refused(console: Console) -> None:
    for wrong in (5, None, [b"x"]):
        with pytest.raises(TypeError, match="expected the path of a file"):
            console.load_state(wrong)  # type: ignore[arg-type]
    for wrong in (b"x", None, "race.state"):
        with pytest.raises(TypeError, match="expected a Snapshot"):
            console.restore(wrong)  # type: ignore[arg-type]
    for wrong in (5, b"x"):
        with pytest.raises(TypeError, match="expected the path of a file to write, or None"):
            console.save_state(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", [0x1E, 0x6C, 0xA0, 0x15E], ids=hex)
def test_snapshot_of_another_rom_is_refused(console: Console, tmp_path: Path, place: int) -> None:
    """Another revision; another secure area; another build of Kartlab; another checksum."""
    changed = bytearray(BUNDLED_ROM.read_bytes())
    changed[place] ^= 7
    path = tmp_path / "other.nds"
    path.write_bytes(changed)
    with Console(path) as other:
        other.step(0, 3)
        snapshot, state = other.snapshot(), other.save_state()
    assert state is not None
    before = console.ram.tobytes()
    for load in (
        lambda: console.restore(snapshot),
        lambda: console.load_state(state),
        lambda: console.load_state(bytes(snapshot.data)),
        lambda: console.load_state(ReadState(snapshot, "the state")),
    ):
        with pytest.raises(StateError, match="another ROM"):
            load()
        assert console.ram.tobytes() == before
