"""One console: frames, memory, picture, states. Also run on an unknown emulator build.

Nothing here may rely on the fast path (`test_console_lifecycle.py` runs this file again with a
library that mkds-gym does not know), except where `capabilities` is asked first.
"""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from waiting import interrupted_when

from mkds_gym.emulator import internals, library
from mkds_gym.emulator.cartridge import BUNDLED_ROM, Cartridge
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.emulator.hardware import RGB_OF_COLOURS
from mkds_gym.emulator.snapshot import Difference, Snapshot
from mkds_gym.emulator.state_file import ReadState
from mkds_gym.errors import ConsoleError, StateError
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import RaceReader

DRIVE = [Keys.A, Keys.A | Keys.RIGHT, Keys.A | Keys.LEFT, Keys.A, Keys.B, Keys.A | Keys.R]


def kartlab() -> Console:
    """A console in a race, where keys make a difference, after a few frames."""
    return Console(BUNDLED_ROM, on_power_on=BootParameters().write)


@pytest.fixture
def console() -> Iterator[Console]:
    with kartlab() as console:
        yield console


def drive(console: Console, frames: int, draw: bool = False) -> bytes:
    """Some varied driving, and the memory after it."""
    for i in range(frames):
        console.step(DRIVE[i // 7 % len(DRIVE)], 1, draw)
    return console.ram.tobytes()


def test_capabilities(console: Console) -> None:
    capabilities = console.capabilities
    unknown = "MKDS_DESMUME_LIBRARY" in os.environ
    assert capabilities.known_build != unknown
    assert capabilities.jit != unknown
    assert capabilities.dummy_sound != unknown
    assert capabilities.memory_states != unknown
    assert capabilities.skip_frames
    assert capabilities.quiet
    with pytest.raises(AttributeError):
        capabilities.jit = True  # type: ignore[misc]


def test_the_interpreter_can_be_asked_for() -> None:
    with Console(BUNDLED_ROM, jit=False) as console:
        assert not console.capabilities.jit
        drive(console, 20)
        assert console.frame_count == 20


def test_ram_is_live_and_writable(console: Console) -> None:
    ram = console.ram
    assert ram.dtype == np.uint8
    assert ram.shape == (0x400000,)
    header = BUNDLED_ROM.read_bytes()[:0x160]
    # The firmware leaves a copy of the ROM's header at 0x027FFE00.
    assert ram[0x3FFE00 : 0x3FFE00 + 0x20].tobytes() == header[:0x20]
    before = ram.copy()
    console.step(Keys.A, 30)
    assert (ram != before).any()
    assert np.shares_memory(ram, console.ram)
    ram[0x3D0000] = 77
    assert console.ram[0x3D0000] == 77


def test_keys_arrive(console: Console) -> None:
    console.step(0, 120)
    snapshot = console.snapshot()
    memories = set()
    for keys in (0, Keys.A, Keys.A | Keys.LEFT, Keys.A | Keys.RIGHT, Keys.LEFT | Keys.RIGHT):
        console.restore(snapshot)
        console.step(keys, 60, draw=False)
        memories.add(console.ram.tobytes())
    assert len(memories) >= 4


@pytest.mark.parametrize("keys", [-1, 0x1000, 1 << 40])
def test_bad_keys(console: Console, keys: int) -> None:
    with pytest.raises(ValueError, match="expected an integer from 0 to 4095"):
        console.step(keys)
    with pytest.raises(TypeError):
        console.step("A")  # type: ignore[arg-type]
    console.step(np.int64(5))  # type: ignore[arg-type]
    assert console.frame_count == 1


@pytest.mark.parametrize("frames", [0, -3, np.int64(0)])
def test_bad_frames(console: Console, frames: int) -> None:
    with pytest.raises(ValueError, match="expected an integer of at least 1"):
        console.step(0, frames)
    assert console.frame_count == 0


@pytest.mark.parametrize("frames", [True, False, 1.0, 2.5, "3", None])
def test_frames_of_the_wrong_type(console: Console, frames: int) -> None:
    with pytest.raises(TypeError, match=rf"frames={frames!r} is not an integer"):
        console.step(0, frames)
    assert console.frame_count == 0
    console.step(0, np.int64(1))  # type: ignore[arg-type]
    console.step(0, np.int64(4))  # type: ignore[arg-type]
    assert console.frame_count == 5
    assert type(console.frame_count) is int


@pytest.mark.parametrize("which", ["top", "bottom", "both"])
def test_screen_in_the_callers_array(
    console: Console, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    console.step(Keys.A, 200)
    wanted = console.screen(which)
    assert wanted.std() > 10  # a picture
    height = len(wanted)
    pictures = np.zeros((3, *wanted.shape), np.uint8)
    assert console.screen(which, pictures[1]).base is pictures
    apart = np.zeros((height, 256, 4), np.uint8)  # RGBA: its RGB has gaps
    console.screen(which, apart[:, :, :3])
    # Without the library's own conversion, as with a build that has none.
    monkeypatch.setattr(console.library, "convert_to_rgb", None)
    looked_up = console.screen(which)
    for picture in (pictures[1], apart[:, :, :3], looked_up):
        assert np.array_equal(picture, wanted)
    assert not pictures[0].any()
    assert not pictures[2].any()
    assert not apart[:, :, 3].any()
    colours = console.colours(which)
    assert colours.shape == wanted.shape[:2]
    assert np.array_equal(RGB_OF_COLOURS[colours], wanted)
    assert np.shares_memory(console.colours(which), colours)
    for bad in (pictures, np.zeros((height, 256, 3), np.uint16)):
        with pytest.raises(ValueError, match=r"out has shape .* expected \("):
            console.screen(which, bad)


def test_a_conversion_to_other_colours_is_not_used(console: Console) -> None:
    table = RGB_OF_COLOURS.copy()
    library = console.library.image
    assert console.library.convert_to_rgb is not None
    assert internals.rgb_converter(library, table) is not None
    table[12345, 1] ^= 1
    assert internals.rgb_converter(library, table) is None


def test_run_looks_after_each_frame(console: Console) -> None:
    keys = Keys.A | Keys.LEFT
    console.step(Keys.A, 300)
    with kartlab() as other:
        other.step(Keys.A, 300)
        wanted = []
        for _ in range(6):
            other.step(keys, 1, draw=False)
            wanted.append((other.frame_count, zlib.crc32(other.ram)))
    seen = console.run(keys, 6, lambda: (console.frame_count, zlib.crc32(console.ram)))
    assert seen == wanted
    assert len(set(wanted)) == 6
    with pytest.raises(ValueError, match="keys="):
        console.run(0x1000, 1, list)
    with pytest.raises(ZeroDivisionError):
        console.run(0, 5, lambda: 1 // 0)
    assert console.frame_count == wanted[-1][0] + 1
    console.close()
    with pytest.raises(ConsoleError, match="closed"):
        console.run(0, 1, list)


@pytest.mark.parametrize("how", ["step", "run"])
def test_frames_are_counted_also_when_ctrl_c_ends_the_call(console: Console, how: str) -> None:
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


def test_screen(console: Console) -> None:
    console.step(0, 150)
    both = console.screen("both")
    assert both.shape == (384, 256, 3)
    assert both.dtype == np.uint8
    assert (console.screen() == both[:192]).all()
    assert (console.screen("bottom") == both[192:]).all()
    assert len(np.unique(both[:192].reshape(-1, 3), axis=0)) > 3  # there is something to see
    # Five bits per colour, high bits repeated.
    assert ((both >> 3 << 3 | both >> 5) == both).all()
    kept = both.copy()
    console.step(Keys.A, 60)
    assert (both == kept).all()  # a copy
    for which in ("left", [], None, 0):
        with pytest.raises(
            (TypeError, ValueError), match="expected one of 'top', 'bottom', 'both'"
        ):
            console.screen(which)  # type: ignore[arg-type]


def test_pictures_do_not_depend_on_what_was_before(console: Console) -> None:
    """Not on looks, nor on what the emulator's image was used for: its lights are on at once."""

    def looks(looked_at: Console) -> None:
        looked_at.step(0, 1)
        for _ in range(3):
            seen.append(looked_at.screen("both"))

    if not console.capabilities.known_build:
        return
    seen: list[NDArray[np.uint8]] = []
    looks(console)
    with kartlab() as beside:
        looks(beside)
        beside.step(0, 9, draw=False)
    with kartlab() as after:
        looks(after)
        after.step(0, 9, draw=False)
        after.reset()
        looks(after)
    assert len(seen) == 12
    assert seen[0].max() == 255
    for picture in seen:
        np.testing.assert_array_equal(picture, seen[0])
    # A state as DeSmuME itself writes it says nothing of the lights.
    console.step(0, 100)
    picture, raw = console.screen("both"), bytes(console.snapshot().data)
    seen.clear()
    for frames in (1, 9):
        console.step(Keys.A, frames, draw=False)
        console.load_state(raw)
        np.testing.assert_array_equal(console.screen("both"), picture)
        looks(console)
    for picture in seen:
        np.testing.assert_array_equal(picture, seen[0])
    assert seen[0].max() == 255


def test_a_dim_picture_is_no_dimmer_at_the_next_look(console: Console) -> None:
    drawing = console.library.drawing
    if drawing is None:  # not a known build
        return
    for _ in range(100):
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


def test_drawing_changes_nothing_in_memory(console: Console) -> None:
    console.step(0, 60)
    snapshot = console.snapshot()
    drawn = drive(console, 90, draw=True)
    console.restore(snapshot)
    assert drive(console, 90, draw=False) == drawn


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 7])
def test_the_last_frame_of_a_step_is_what_is_seen(console: Console, frames: int) -> None:
    console.step(0, 60)
    for _ in range(30):
        console.step(Keys.A)
    snapshot = console.snapshot()
    pictures = []
    for _ in range(28):
        console.step(Keys.A, 1)
        pictures.append(console.screen("both"))
    assert any((pictures[k] != pictures[k - 1]).any() for k in range(8, 28))
    console.restore(snapshot)
    for k in range(frames, 29, frames):
        console.step(Keys.A, frames)
        if k > 3:
            assert (console.screen("both") == pictures[k - 1]).all(), k


def test_snapshots_are_exact(console: Console) -> None:
    console.step(Keys.A, 100)
    console.step(Keys.A, 3)
    start, picture = console.ram.tobytes(), console.screen("both")
    snapshot = console.snapshot()
    after = drive(console, 200)
    for _ in range(3):
        console.restore(snapshot)
        assert console.ram.tobytes() == start
        assert (console.screen("both") == picture).all()
        assert console.frame_count == 103
        assert drive(console, 200) == after
    assert console.frame_count == 303


def test_snapshots_pickle_and_go_to_other_consoles(console: Console) -> None:
    console.step(Keys.A, 100)
    snapshot = console.snapshot()
    after = drive(console, 50)
    with kartlab() as other:
        other.restore(pickle.loads(pickle.dumps(snapshot)))
        assert drive(other, 50) == after


def test_differences_in_any_order(console: Console) -> None:
    """What is worked on is kept from one to the next, so that most of it need not be copied."""
    snapshots = []
    for frames in (5, 30, 40, 60):
        console.step(1, frames)
        snapshots.append(console.snapshot())
    one, two, three, _ = snapshots
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


def test_restoring_releases_keys(console: Console) -> None:
    console.step(0, 60)
    snapshot = console.snapshot()
    console.step(0, 30, draw=False)
    idle = console.ram.tobytes()
    console.restore(snapshot)
    console.step(Keys.A, 30, draw=False)
    console.restore(snapshot)
    console.step(0, 30, draw=False)
    assert console.ram.tobytes() == idle


def test_states_by_bytes_and_by_file(console: Console, tmp_path: Path) -> None:
    console.step(Keys.A, 100)
    start = console.ram.tobytes()
    state = console.save_state()
    assert state is not None
    assert len(state) < 2_000_000
    path = tmp_path / "start.state"
    assert console.save_state(path) is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["start.state"]
    after = drive(console, 60)
    for saved in (state, bytearray(state), path, str(path)):
        console.load_state(saved)
        assert console.ram.tobytes() == start
        assert console.frame_count == 100
        assert drive(console, 60) == after


@pytest.fixture
def desmume_state(console: Console) -> bytes:
    """A state as DeSmuME itself writes it."""
    console.step(Keys.A, 100)
    return bytes(console.snapshot().data)


def test_states_of_desmume(console: Console, desmume_state: bytes, tmp_path: Path) -> None:
    start = console.ram.tobytes()
    console.step(0, 30)
    path = tmp_path / "raw.dst"
    path.write_bytes(desmume_state)
    console.load_state(path)
    assert console.ram.tobytes() == start
    console.step(0, 30)
    # DeSmuME's own windows write them compressed.
    magic, version, emulator, size, _ = struct.unpack_from("<16s4I", desmume_state)
    body = zlib.compress(desmume_state[32:])
    console.load_state(struct.pack("<16s4I", magic, version, emulator, size, len(body)) + body)
    assert console.ram.tobytes() == start


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
    }


@pytest.mark.parametrize("case", list(bad_states(bytes(100), b"GINF" + bytes(100))))
def test_bad_states_change_nothing(console: Console, desmume_state: bytes, case: str) -> None:
    ours = console.save_state()
    assert ours is not None
    data, message = bad_states(ours, desmume_state)[case]
    before, frames = console.ram.tobytes(), console.frame_count
    with pytest.raises(StateError, match=message):
        console.load_state(data)
    assert console.ram.tobytes() == before
    assert console.frame_count == frames
    console.step(Keys.A, 5)


def test_missing_state_and_unwritable_folder(console: Console, tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"state '.*none\.state' does not exist: save one with"):
        console.load_state(tmp_path / "none.state")
    with pytest.raises(StateError, match="cannot read"):
        console.load_state(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StateError, match=r"cannot read .*it is a device, pipe or socket"):
        console.load_state(tmp_path / "pipe")
    with pytest.raises(StateError, match="cannot write"):
        console.save_state(tmp_path / "no folder" / "x.state")


def test_a_state_goes_through_links_and_into_nothing_but_a_file(
    console: Console, tmp_path: Path
) -> None:
    console.step(0, 20)
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
    fifo, loop = tmp_path / "pipe", tmp_path / "loop"
    os.mkfifo(fifo)
    loop.symlink_to(loop)
    (tmp_path / "to-pipe").symlink_to(fifo)
    for path, why in (
        (fifo, "it is a device, pipe or socket; expected a file"),
        (tmp_path / "to-pipe", "it is a device, pipe or socket"),
        (tmp_path, "it is a folder"),
        ("/", "it is a folder"),
        ("", "it is a folder"),
        (loop, "cannot write"),
        ("a\0b", "cannot write"),
        (real / "x", "cannot write"),
    ):
        with pytest.raises(StateError, match=why):
            console.save_state(path)
    assert fifo.is_fifo()
    assert {entry.name for entry in real.parent.iterdir()} == {"race.state", "new.state"}
    for wrong in (5, b"x"):
        with pytest.raises(TypeError, match="expected the path of a file to write, or None"):
            console.save_state(wrong)  # type: ignore[arg-type]


def test_states_of_the_wrong_type(console: Console) -> None:
    for wrong in (5, None, [b"x"]):
        with pytest.raises(TypeError, match="expected the path of a file"):
            console.load_state(wrong)  # type: ignore[arg-type]
    for wrong in (b"x", None, "race.state"):
        with pytest.raises(TypeError, match="expected a Snapshot"):
            console.restore(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("rom", [5, b"x", ["a"], True])
def test_roms_of_the_wrong_type(rom: object) -> None:
    with pytest.raises(TypeError, match=r"rom=.*expected the path of a \.nds file"):
        Console(rom)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", [0x1E, 0x6C, 0xA0, 0x15E], ids=hex)
def test_a_snapshot_of_another_rom(console: Console, tmp_path: Path, place: int) -> None:
    """Another revision; another secure area; another build of Kartlab; another checksum."""
    other = bytearray(BUNDLED_ROM.read_bytes())
    other[place] ^= 7
    path = tmp_path / "other.nds"
    path.write_bytes(other)
    with Console(path) as second:
        second.step(0, 10)
        snapshot, state, raw = second.snapshot(), second.save_state(), bytes(second.snapshot().data)
    assert state is not None
    console.step(0, 10)
    before = console.ram.tobytes()
    for load in (
        lambda: console.restore(snapshot),
        lambda: console.load_state(state),
        lambda: console.load_state(raw),
        lambda: console.load_state(ReadState(snapshot, "what was read elsewhere")),
    ):
        with pytest.raises(StateError, match="another ROM"):
            load()
        assert console.ram.tobytes() == before


def test_reset_is_like_new(console: Console) -> None:
    first = drive(console, 120)
    console.step(Keys.A, 33)
    console.reset()
    assert console.frame_count == 0
    assert drive(console, 120) == first


def test_the_same_in_another_process(console: Console) -> None:
    code = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1]);"
        "from test_console import *;"
        "console = kartlab();"
        "print(hashlib.sha256(drive(console, 200)).hexdigest())"
    )
    environment = dict(os.environ, TZ="Asia/Tokyo", HOME="/nonexistent", LANG="C")
    run = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    import hashlib

    assert run.stdout.split() == [hashlib.sha256(drive(console, 200)).hexdigest()]


def test_on_power_on_comes_before_the_first_frame_and_again_at_each_reset() -> None:
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


def test_an_on_power_on_that_raises_leaves_no_console() -> None:
    def refuse(_: NDArray[np.uint8]) -> None:
        raise LookupError("not this one")

    before = len(library.idle)
    with pytest.raises(LookupError, match="not this one"):
        Console(BUNDLED_ROM, on_power_on=refuse)
    assert len(library.idle) == max(before, 1)  # closed, and its core is back
    with pytest.raises(TypeError, match="expected a function of the memory, or None"):
        Console(BUNDLED_ROM, on_power_on={"laps": 3})  # type: ignore[arg-type]


def test_kartlab_boots_to_its_title_without_being_told_anything() -> None:
    with Console(BUNDLED_ROM) as console:
        console.step(0, 300, draw=False)
        reader = RaceReader(console.ram, MemoryLayout.detect(console.ram))
        assert not reader.read().race_on
        for keys, frames in ((Keys.START, 3), (0, 30), (Keys.START, 3), (0, 300)):
            console.step(keys, frames, draw=False)
        state = reader.read()
        assert state.race_on
        assert state.controllable


def test_closed(console: Console) -> None:
    snapshot = console.snapshot()
    console.close()
    console.close()
    assert console.closed
    for call in (
        lambda: console.ram,
        lambda: console.step(),
        lambda: console.step(Keys.A, 4),
        lambda: console.step(-5),
        lambda: console.screen(),
        lambda: console.snapshot(),
        lambda: console.restore(snapshot),
        lambda: console.save_state(),
        lambda: console.load_state(b""),
        lambda: console.reset(),
    ):
        with pytest.raises(ConsoleError, match="this console is closed"):
            call()


def test_a_cartridge_can_be_given() -> None:
    cartridge = Cartridge.open(BUNDLED_ROM)
    with Console(cartridge) as console:
        assert console.cartridge is cartridge


def test_a_rom_that_vanished(tmp_path: Path) -> None:
    path = tmp_path / "game.nds"
    path.write_bytes(BUNDLED_ROM.read_bytes())
    cartridge = Cartridge.open(path)
    path.unlink()
    with pytest.raises(ConsoleError, match="cannot open ROM"):
        Console(cartridge)
    with Console(BUNDLED_ROM) as console:  # the core is still good
        console.step()
