"""One Nintendo DS: open a cartridge, step frames, read memory and picture, save and load states.

```python
with Console() as console:          # Kartlab, the bundled cartridge
    console.step(Keys.A, frames=60)
    speed = console.ram[0x1000:0x1004].view("<i4")
    picture = console.screen("top")
```
"""

from __future__ import annotations

import enum
import hashlib
import logging
import os
import struct
import tempfile
import weakref
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from mkds_gym import core as cores
from mkds_gym import turbo
from mkds_gym.cartridge import Cartridge
from mkds_gym.errors import ConsoleError, StateError
from mkds_gym.kartlab.boot import BootParameters

logger = logging.getLogger(__name__)

WIDTH: Final = 256
HEIGHT: Final = 192
"""Size of each of the two screens, in pixels."""


class Keys(enum.IntFlag):
    """The console's keys. Any combination may be held, opposing directions too."""

    A = 1
    B = 2
    SELECT = 4
    START = 8
    RIGHT = 16
    LEFT = 32
    UP = 64
    DOWN = 128
    R = 256
    L = 512
    X = 1024
    Y = 2048


ALL_KEYS: Final = 0xFFF


@dataclass(frozen=True)
class Capabilities:
    """Which parts of the fast path a console uses.

    Attributes:
        known_build: the emulator library is one that mkds-gym knows.
        jit: the recompiler runs the processors (2 to 4 times as fast).
        dummy_sound: no sound is mixed, and no audio device is opened.
        skip_frames: frames that nobody sees are not drawn.
        ram_view: `Console.ram` is the emulator's own memory.
        quiet: the emulator does not print.
        private_battery: the battery file is private, and gone with the console.
        memory_states: snapshots do not go through a file.
    """

    known_build: bool
    jit: bool
    dummy_sound: bool
    skip_frames: bool
    ram_view: bool
    quiet: bool
    private_battery: bool
    memory_states: bool


def _expansion_table() -> NDArray[np.uint8]:
    """RGB8 of each 15-bit colour of the console (bits 0-4 red, 5-9 green, 10-14 blue)."""
    colour = np.arange(0x10000, dtype=np.uint32)
    five = np.stack([colour & 31, colour >> 5 & 31, colour >> 10 & 31], axis=-1)
    # Bit replication: 0 stays 0 and 31 becomes 255, unlike a plain shift (248).
    return (five << 3 | five >> 2).astype(np.uint8)


_RGB: Final = _expansion_table()


class Snapshot:
    """A console's whole state in memory, for `Console.restore`. Opaque."""

    __slots__ = ("build_id", "data", "frame_count", "rom")

    def __init__(self, data: bytes, rom: str, build_id: str, frame_count: int) -> None:
        self.data = data
        self.rom = rom
        self.build_id = build_id
        self.frame_count = frame_count


class Console:
    """One Nintendo DS with a cartridge in it.

    Args:
        rom: path of a ``.nds`` file, or a `Cartridge`; None for what `Cartridge.open` finds.
        jit: use the recompiler where the emulator build is known.
        boot: boot parameters, for a cartridge that takes them (Kartlab): a `BootParameters` or
            a mapping of their names. They are written again at every `reset`.

    Raises:
        CartridgeError: the ROM cannot be used.
        ConsoleError: the emulator cannot be started.
        ValueError: bad boot parameters, or boot parameters for a cartridge that takes none.

    Several consoles may live at once, in one thread or in several; one console must not be used
    by two threads at the same time. A console does not survive a fork: in the child every call
    raises `ConsoleError`.
    """

    def __init__(
        self,
        rom: str | PathLike[str] | Cartridge | None = None,
        *,
        jit: bool = True,
        boot: Mapping[str, Any] | BootParameters | None = None,
    ) -> None:
        self.cartridge = rom if isinstance(rom, Cartridge) else Cartridge.open(rom)
        if boot is not None and not self.cartridge.boot_parameters:
            raise ValueError(
                f"cartridge '{self.cartridge.path}' ({self.cartridge.game_code}) takes no boot "
                "parameters; only Kartlab does"
            )
        self._boot = BootParameters.of(boot) if self.cartridge.boot_parameters else None
        core = cores.acquire()
        self._core: cores.Core | None = core
        self._finalizer = weakref.finalize(self, cores.release, core)
        self._finalizer.atexit = False
        jit_on = core.open(self.cartridge.path, jit)
        address = turbo.find_ram(core.library, core.build)
        if address is None:
            self.close()
            raise ConsoleError(f"cannot find the console's memory in '{core.path}'")
        import ctypes

        self._ram: NDArray[np.uint8] | None = np.frombuffer(
            (ctypes.c_uint8 * turbo.RAM_SIZE).from_address(address), np.uint8
        )
        library = core.library
        self._cycle = library.desmume_cycle
        self._skip = library.desmume_skip_next_frame
        self._press = library.desmume_input_keypad_update
        self._keys = 0
        self._press(0)
        self.frame_count = 0
        self.capabilities = Capabilities(
            known_build=core.build is not None,
            jit=jit_on,
            dummy_sound=core.muted,
            skip_frames=True,
            ram_view=True,
            quiet=True,
            private_battery=True,
            memory_states=False,
        )
        if self._boot is not None:
            self._boot.write(self._ram)

    def _live(self) -> cores.Core:
        if self._core is None:
            raise ConsoleError("this console is closed; make a new one")
        return self._core

    @property
    def closed(self) -> bool:
        """Whether the console was closed."""
        return self._core is None

    @property
    def ram(self) -> NDArray[np.uint8]:
        """Main memory: uint8 of shape (0x400000,), live and writable, index 0 is 0x02000000."""
        if self._ram is None:
            self._live()
            raise ConsoleError("this console is closed; make a new one")
        return self._ram

    def step(self, keys: int = 0, frames: int = 1, draw: bool = True) -> None:
        """Hold keys and run frames.

        Args:
            keys: combination of `Keys`, held during all the frames.
            frames: how many frames to run, 1/59.8261 s each.
            draw: draw the last frame, for `screen`; the frames before it are never drawn.
        """
        if keys != self._keys:
            self._press(keys)
            self._keys = keys
        cycle, skip = self._cycle, self._skip
        for _ in range(frames - 1):
            skip()
            cycle(0)
        if not draw:
            skip()
        cycle(0)
        self.frame_count += frames

    def screen(self, which: str = "top") -> NDArray[np.uint8]:
        """The picture of the last drawn frame, uint8 RGB, a copy."""
        library = self._live().library
        import ctypes

        raw = np.frombuffer(
            (ctypes.c_uint16 * (WIDTH * HEIGHT * 2)).from_address(library.desmume_draw_raw()),
            np.uint16,
        ).reshape(2 * HEIGHT, WIDTH)
        part = {"top": raw[:HEIGHT], "bottom": raw[HEIGHT:], "both": raw}[which]
        return _RGB[part]

    def snapshot(self) -> Snapshot:
        """The whole state, in memory."""
        core = self._live()
        return Snapshot(core.save(), self.cartridge.sha1, core.build_id, self.frame_count)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot."""
        core = self._live()
        if not core.load(snapshot.data):
            raise StateError("cannot load")
        self.frame_count = snapshot.frame_count
        self._keys = 0
        self._press(0)

    def save_state(self, path: str | PathLike[str] | None = None) -> bytes | None:
        """Save."""
        data = zlib.compress(self.snapshot().data, 1)
        if path is None:
            return data
        Path(path).write_bytes(data)
        return None

    def load_state(self, state: bytes | str | PathLike[str]) -> None:
        """Load."""
        data = state if isinstance(state, bytes) else Path(state).read_bytes()
        self.restore(Snapshot(zlib.decompress(data), self.cartridge.sha1, self._live().build_id, 0))

    def reset(self) -> None:
        """Power cycle."""
        core = self._live()
        core.library.desmume_reset()
        self.frame_count = 0
        self._keys = 0
        self._press(0)
        if self._boot is not None:
            self._boot.write(self.ram)

    def close(self) -> None:
        """Close the console; its emulator core is kept for the next one. May be called twice."""
        self._core = None
        self._ram = None
        self._cycle = self._skip = self._press = self._closed
        self._finalizer()

    def _closed(self, *_: object) -> NoReturn:
        raise ConsoleError("this console is closed; make a new one")

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
