"""One Nintendo DS: open a cartridge, run frames, read memory and picture, save and load states.

```python
with Console() as console:          # Kartlab, the bundled cartridge
    console.step(Keys.A, frames=60)
    speed = console.ram[0x1000:0x1004].view("<i4")
    picture = console.screen("top")
```
"""

from __future__ import annotations

import enum
import os
import weakref
from collections.abc import Callable
from os import PathLike
from types import TracebackType
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.capabilities import Capabilities
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.desmume.library import Library, acquire, release
from mkds_gym.emulator.frame_copies import FrameCopies
from mkds_gym.emulator.hardware import RGB_OF_COLOURS, SCREEN_HEIGHT
from mkds_gym.emulator.states.known_states import fingerprint
from mkds_gym.emulator.states.snapshot import Difference, Snapshot, copy_of
from mkds_gym.emulator.states.state_file import (
    ReadState,
    StateLike,
    check_origin,
    pack_state,
    read_state,
    state_target,
    write_state,
)
from mkds_gym.emulator.states.state_layout import Layout, check_structure
from mkds_gym.emulator.states.trial import ensure_loadable
from mkds_gym.errors import ConsoleError, StateError
from mkds_gym.utils.arguments import boolean, choice, integer, shown
from mkds_gym.utils.one_thread import OneThread, one_thread

T = TypeVar("T")


class Keys(enum.IntFlag):
    """The console's keys. Every combination is allowed, opposing directions included."""

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
MAX_FRAMES: Final = 60 * 60 * 60 * 24
"""Most frames of one call: about a day."""

SCREENS: Final = {
    "top": slice(0, SCREEN_HEIGHT),
    "bottom": slice(SCREEN_HEIGHT, 2 * SCREEN_HEIGHT),
    "both": slice(0, 2 * SCREEN_HEIGHT),
}
"""Rows of the picture of both screens, by the name of a screen."""

_consoles: weakref.WeakSet[Console] = weakref.WeakSet()


def _disown_consoles() -> None:
    """In a forked child: the parent's consoles raise instead of touching its emulator."""
    for console in list(_consoles):
        console._library = None
        console._why_closed = (
            "this console belongs to the process that this one was forked from: make a new console "
            "in the process that steps it"
        )


os.register_at_fork(after_in_child=_disown_consoles)


class Console(OneThread):
    """One Nintendo DS with a cartridge, powered on, before its first frame.

    Several consoles may exist at once, in one thread or in several: the emulator runs without
    Python's lock. One console serves one thread at a time: while a thread is in a method, calls
    from other threads raise `ConcurrentCallError` at once and change nothing. A console does not
    survive a fork: in the child, every call raises `ConsoleError`.

    The same cartridge, ``on_power_on`` and keys give the same memory in every process. There is no
    sound.

    Args:
        rom: path of a ``.nds`` file, or a `Cartridge`. None: see `Cartridge.open`.
        jit: use the recompiler if the emulator build is known.
        on_power_on: called with `ram` after every power-on (now, and at each `reset`), before the
            first frame. Write there what the program reads at its start, such as Kartlab's boot
            parameters (`mkds_gym.kartlab.boot.BootParameters.write`).

    Attributes:
        cartridge: the cartridge in the slot.
        capabilities: the fast paths in use.
        frame_count: frames since power-on. Restoring a state restores its count.
        is_shared: whether memory holds other races too. True for a driver of a shared console only.

    Raises:
        CartridgeError: the ROM cannot be used.
        ConsoleError: the emulator cannot be started.
        TypeError: ``rom`` is neither a path nor a `Cartridge`, or ``on_power_on`` is not callable.
        Exception: whatever ``on_power_on`` raises. The console is closed then.
    """

    is_shared: bool = False

    def __init__(
        self,
        rom: str | PathLike[str] | Cartridge | None = None,
        *,
        jit: bool = True,
        on_power_on: Callable[[NDArray[np.uint8]], object] | None = None,
    ) -> None:
        if on_power_on is not None and not callable(on_power_on):
            raise TypeError(
                f"on_power_on={shown(on_power_on)} is not callable: expected a function of the "
                "memory, or None"
            )
        super().__init__()
        self.cartridge = rom if isinstance(rom, Cartridge) else Cartridge.open(rom)
        self._jit = jit
        self._on_power_on = on_power_on
        self._why_closed = "this console is closed: make a new one"
        library = acquire()
        self._library: Library | None = library
        # Runs in `close`, or when the console is garbage-collected, but not at exit.
        self._finalizer = weakref.finalize(self, release, library)
        self._finalizer.atexit = False
        try:
            self.reset()
        except BaseException:
            self.close()
            raise
        self.capabilities = Capabilities.of(library)
        _consoles.add(self)

    @one_thread
    def reset(self) -> None:
        """Switch the console off and on, and call ``on_power_on``.

        Raises:
            ConsoleError: the console is closed.
        """
        library = self.library
        library.open(self.cartridge.path, self._jit)
        self.frame_count = 0
        self.hold(0)
        if self._on_power_on is not None:
            self._on_power_on(library.ram)

    @one_thread
    def close(self) -> None:
        """Close the console. A second call does nothing."""
        self._library = None
        self._finalizer()

    @property
    def closed(self) -> bool:
        """Whether the console is closed, or belongs to the parent process."""
        return self._library is None

    @property
    def library(self) -> Library:
        """The emulator library that runs this console. The next console uses it after `close`.

        Raises:
            ConsoleError: the console is closed.
        """
        if self._library is None:
            raise ConsoleError(self._why_closed)
        return self._library

    @property
    def ram(self) -> NDArray[np.uint8]:
        """Main memory: uint8 of shape (0x400000,), live and writable; index 0 is 0x02000000.

        This is the emulator's own memory. Do not use the array after `close`: it shows the memory
        of the next console then. Code that is written after the first frame may not run as written,
        as the emulator may have compiled the code before it.

        Raises:
            ConsoleError: the console is closed.
        """
        return self.library.ram

    @property
    def build_id(self) -> str:
        """SHA-256 of the emulator's library.

        Raises:
            ConsoleError: the console is closed.
        """
        return self.library.build_id

    # Frames ----------------------------------------------------------------------------------

    @one_thread
    def step(self, keys: int = 0, frames: int = 1, draw: bool = True) -> None:
        """Hold keys and run frames.

        The emulator decides two frames ahead whether to draw. A step of three frames or more draws
        only its last one. A step of one or two frames shows its last one if the steps before were
        short and drawn as well; otherwise the first two pictures may be up to two frames old.
        After `restore`, the first may be one frame old. Drawing never changes memory.

        Args:
            keys: combination of `Keys`, held during all the frames.
            frames: number of frames of 1/59.8261 s, at least 1.
            draw: draw the last frame, for `screen`. False is faster.

        Raises:
            TypeError: ``keys`` or ``frames`` is not an integer, or ``draw`` is not a boolean.
            ValueError: ``keys`` is outside 0 to 0xFFF, or ``frames`` is less than 1.
            ConsoleError: the console is closed.
        """
        library = self.library
        if keys is not self._keys:
            self.hold(keys)
        frames = integer("frames", frames, 1, MAX_FRAMES)
        if draw is not True and draw is not False:
            draw = boolean("draw", draw)
        # A request before one frame takes effect two frames later.
        drawn = range(0) if not draw else range(frames) if frames < 3 else (frames - 3,)
        for frame in range(frames):
            if frame not in drawn:
                library.skip_frame()
            # Counted first: Ctrl-C is raised after the frame, which it cannot stop.
            self.frame_count += 1
            library.image.desmume_cycle(0)

    @one_thread
    def run(self, keys: int, frames: int, look: Callable[[], T], drawn: int = -1) -> list[T]:
        """Hold keys and run frames, and call a function after each of them.

        The emulator has just filled the processor's caches, so let ``look`` only copy, and compute
        after the last frame.

        Args:
            keys: combination of `Keys`, held during all the frames.
            frames: number of frames, at least 1.
            look: called after each frame.
            drawn: index of the only frame that is not skipped; its effect is that the frame two
                later is drawn. -1: skip all.

        Returns:
            The results of ``look``, in order.

        Raises:
            ValueError: ``keys`` is outside 0 to 0xFFF.
            ConsoleError: the console is closed.
            Exception: whatever ``look`` raises. The frames after that do not run.
        """
        library = self.library
        if keys is not self._keys:
            self.hold(keys)
        skip, cycle = library.skip_frame, library.image.desmume_cycle
        results: list[T] = []
        for frame in range(frames):
            if frame != drawn:
                skip()
            self.frame_count += 1  # first, as in `step`
            cycle(0)
            results.append(look())
        return results

    @one_thread
    def run_and_copy(
        self, keys: int, frames: int, copies: FrameCopies, drawn: int = -1
    ) -> tuple[int, list[bytes]]:
        """Hold keys and run frames, and copy parts of memory after each of them.

        This is faster than `run`, because no Python code runs between the frames. A Ctrl-C is
        raised after the last frame.

        Args:
            keys: combination of `Keys`, held during all the frames.
            frames: number of frames, at least 1.
            copies: the parts of this console's memory; ``copies.supported`` is True.
            drawn: as in `run`.

        Returns:
            The number of frames that ran, and a copy for each. If a word of ``copies`` changes in
            a frame, this frame is the last one, and has no copy.

        Raises:
            ValueError: ``keys`` is outside 0 to 0xFFF, or ``frames`` is less than 1.
            ConsoleError: the console is closed.
        """
        library = self.library
        if frames < 1:
            raise ValueError(f"frames={frames} is out of range: expected at least 1")
        if keys is not self._keys:
            self.hold(keys)
        self.frame_count += frames  # first, as in `step`
        done, copied = copies.run(library, frames, drawn)
        self.frame_count -= frames - done
        return done, copied

    @one_thread
    def hold(self, keys: int) -> None:
        """Hold keys and run no frame. The next `step` or `run` replaces them.

        Args:
            keys: combination of `Keys`.

        Raises:
            TypeError: ``keys`` is not an integer.
            ValueError: ``keys`` is outside 0 to 0xFFF.
            ConsoleError: the console is closed.
        """
        self._keys = integer("keys", keys, 0, ALL_KEYS)
        self.library.press(self._keys)

    # Picture ---------------------------------------------------------------------------------

    @one_thread
    def screen(self, which: str = "top", out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Return the last drawn picture.

        Args:
            which: ``"top"``, ``"bottom"``, or ``"both"`` (top above bottom).
            out: array to write to and return. None: a new array.

        Returns:
            uint8 RGB of shape (192, 256, 3), or (384, 256, 3) for both; a copy. The console's five
            bits per colour are scaled to 0 (black) to 255 (white).

        Raises:
            ValueError: ``which`` is unknown, or ``out`` has another shape or dtype.
            ConsoleError: the console is closed.
        """
        colours = self.colours(which)
        shape = (*colours.shape, 3)
        if out is None:
            out = np.empty(shape, np.uint8)
        elif not isinstance(out, np.ndarray):
            raise TypeError(f"out={shown(out)} is not an array: expected {shape} and uint8")
        elif out.shape != shape or out.dtype != np.uint8:
            raise ValueError(
                f"out has shape {out.shape} and dtype {out.dtype}: expected {shape} and uint8"
            )
        convert = self.library.convert_to_rgb
        if convert is not None and out.flags.c_contiguous and out.flags.writeable:
            convert(colours.ctypes.data, out.ctypes.data, colours.size)
        else:
            # No index is outside the table, and mode="clip" saves NumPy a buffer.
            RGB_OF_COLOURS.take(colours, axis=0, out=out, mode="clip")
        return out

    @one_thread
    def colours(self, which: str = "top") -> NDArray[np.uint16]:
        """Return the last drawn picture in the console's format, without a copy.

        Args:
            which: ``"top"``, ``"bottom"``, or ``"both"``.

        Returns:
            uint16 of shape (192, 256), or (384, 256) for both: bits 0-4 red, 5-9 green, 10-14 blue.
            This is the emulator's own memory, valid until the next frame.

        Raises:
            ValueError: ``which`` is unknown.
            ConsoleError: the console is closed.
        """
        library = self.library
        rows = SCREENS[choice("which", which, SCREENS)]
        address: int = library.image.desmume_draw_raw()
        if library.drawing is not None:
            library.drawing.clear_dimming()
        return library.pictures.at(address)[rows]

    # States ----------------------------------------------------------------------------------

    @one_thread
    def snapshot(self) -> Snapshot:
        """Return the whole state, in memory, for `restore`. Takes a few milliseconds.

        Raises:
            ConsoleError: the console is closed.
            StateError: the emulator cannot save.
        """
        snapshot = self._temporary_snapshot()
        snapshot.data = copy_of(snapshot.data)
        return snapshot

    @one_thread
    def difference(self, start: Snapshot) -> Difference:
        """Return the whole state as its difference from another; `Difference.apply` reverses it.

        If little differs, this is faster than `snapshot`, and the result is 100 times smaller.

        Raises:
            ConsoleError: the console is closed.
            StateError: the emulator cannot save.
        """
        return Difference(start, self._temporary_snapshot())

    def _temporary_snapshot(self) -> Snapshot:
        """A snapshot whose data the next one in this thread overwrites."""
        library = self.library
        drawing = b"" if library.drawing is None else library.drawing.save()
        rom = self.cartridge.sha1
        origin = (rom, library.build_id, self.frame_count, drawing)
        return Snapshot(library.save(), *origin, checked=True)

    @one_thread
    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot, in a few milliseconds.

        Releases all keys. The frames that follow do not depend on what the console did before.
        `screen` shows the picture at the time of the snapshot.

        Args:
            snapshot: snapshot of the same ROM and emulator build.

        Raises:
            StateError: the snapshot is damaged, or of another ROM or emulator build. The console
                has not changed.
            TypeError: ``snapshot`` is not a `Snapshot`.
            ConsoleError: the console is closed.
        """
        library = self.library
        if not isinstance(snapshot, Snapshot):
            raise TypeError(
                f"snapshot is a {type(snapshot).__name__}: expected a Snapshot of snapshot(); use "
                "load_state() for bytes and files"
            )
        check_origin(snapshot, "the snapshot", self.cartridge, library.build_id)
        if snapshot.foreign or not snapshot.checked:
            self._check(snapshot)
        if not self._load(snapshot, of_save=True):
            # Parts of it may be loaded.
            self.reset()
            raise StateError(
                "the snapshot is damaged: the emulator refused it, and the console was reset"
            )

    @one_thread
    def save_state(self, path: str | PathLike[str] | None = None) -> bytes | None:
        """Save the whole state for `load_state`, as bytes or to a file.

        Args:
            path: file to write. It is replaced only when the new one is complete, and links are
                followed. None: return bytes.

        Returns:
            The state (100 KiB to 1 MiB) if ``path`` is None.

        Raises:
            StateError: the file cannot be written, or is a folder or a device, or the emulator
                cannot save.
            TypeError: ``path`` is not a path.
            ConsoleError: the console is closed.
        """
        target = None if path is None else state_target(path)
        data = pack_state(self.snapshot())
        if target is None:
            return data
        write_state(target, data)
        return None

    @one_thread
    def load_state(self, state: StateLike | ReadState) -> None:
        """Load a state.

        A state from outside this process is tried in a child process first, once, which takes a
        second: a damaged state can crash or hang the emulator.

        Args:
            state: bytes or the path of a file, of `save_state` or of DeSmuME (``.dst``); or the
                result of `read_state`.

        Raises:
            StateError: missing, truncated, damaged, of another ROM, or of another emulator build.
                The console has not changed.
            ConsoleError: the console is closed, or no child process can be started.
        """
        library = self.library
        if not isinstance(state, ReadState):
            state = read_state(state, self.cartridge, library.build_id)
        snapshot, name, _ = state
        check_origin(snapshot, name, self.cartridge, library.build_id)
        ensure_loadable([state], self.cartridge, library.path, jit=library.jit)
        before, keys = self.snapshot(), self._keys
        if not self._load(snapshot):
            self._load(before)
            self.hold(keys)
            raise StateError(f"{name} is damaged: the emulator refused it; save it again")

    def _check(self, snapshot: Snapshot) -> None:
        """Check a snapshot that this emulator has not saved, once; try a foreign one."""
        library, name, data = self.library, "the snapshot", bytes(snapshot.data)
        check_structure(data, name)
        if snapshot.foreign:
            digest = fingerprint(data, snapshot.rom, snapshot.build_id)
            state = ReadState(snapshot, name, digest)
            ensure_loadable([state], self.cartridge, library.path, jit=library.jit)
            snapshot.foreign = False
        elif fault := Layout(self.snapshot().data).fault(data):
            raise StateError(f"{name} is damaged: {fault}")
        snapshot.checked = True

    def _load(self, snapshot: Snapshot, *, of_save: bool = False) -> bool:
        """Load a snapshot, and return whether the emulator accepted it."""
        library = self.library
        if not library.load(snapshot.data, of_save=of_save):
            return False
        if library.drawing is not None:
            library.drawing.load(snapshot.drawing)
        self.frame_count = snapshot.frame_count
        self.hold(0)
        return True

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"frame {self.frame_count}"
        return f"<Console with {self.cartridge.title!r}, {state}>"
