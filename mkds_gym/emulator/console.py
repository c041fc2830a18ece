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
import logging
import operator
import os
import stat
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator import builds, state_file
from mkds_gym.emulator import library as cores
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.hardware import RAM_SIZE, RGB_OF_COLOURS, SCREEN_HEIGHT, SCREEN_WIDTH
from mkds_gym.emulator.state_file import Difference, ReadState, Snapshot, StateLike
from mkds_gym.errors import ConsoleError, StateError, reason
from mkds_gym.utils.arguments import file_path
from mkds_gym.utils.files import beside

logger = logging.getLogger(__name__)

T = TypeVar("T")


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
        known_build: the emulator library is one that mkds-gym knows; all of the following that
            depends on its insides is off otherwise.
        jit: the recompiler runs the processors (2 to 4 times as fast as the interpreter).
        dummy_sound: no sound is mixed, and no audio device is opened.
        skip_frames: frames that nobody sees are not drawn. Tried out on the picture itself when
            an emulator core is first used; where it does not work, every frame is drawn.
        ram_view: `Console.ram` is the emulator's own memory, not a copy. Tried out in both
            directions at every power-on; there is no slow way, so that a console for which it
            does not hold cannot be made, and this is always True.
        quiet: what the emulator prints is caught before it reaches the process's output; else
            standard output is closed for a moment around the calls that print.
        private_battery: the battery file is in memory, empty at first, and gone with the console;
            else it lies in the user's configuration folder.
        fixed_clock: the console's clock starts at the same time always and counts frames; else it
            is the host's, and a game that looks at it may differ from run to run.
        memory_states: snapshots do not go through files.
    """

    known_build: bool
    jit: bool
    dummy_sound: bool
    skip_frames: bool
    ram_view: bool
    quiet: bool
    private_battery: bool
    fixed_clock: bool
    memory_states: bool


SCREENS: Final = {
    "top": slice(0, SCREEN_HEIGHT),
    "bottom": slice(SCREEN_HEIGHT, None),
    "both": slice(None),
}
"""Rows of the picture of both screens, for each value of the argument of `Console.screen`."""


def _state_target(path: str | PathLike[str]) -> Path:
    """The file that a state is to replace, with links resolved: never a link, folder or device.

    Raises:
        StateError: there is no such file and cannot be.
        TypeError: no path.
    """
    target = file_path("path", path, "the path of a file to write, or None for bytes")
    try:
        target = target.resolve()
        mode = target.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise StateError(f"cannot write state '{path!s}': {reason(error)}") from error
    if stat.S_ISREG(mode) and target.name:
        return target
    what = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
    raise StateError(f"cannot write state '{path!s}': it is {what}; name a file")


_CLOSED: Final = "this console is closed; make a new one"
_INHERITED: Final = (
    "this console belongs to the process that this one was forked from; "
    "make a new console in the process that steps it"
)


def _draw_anyway() -> None:
    """In the place of `desmume_skip_next_frame` where that does not work."""


_consoles: weakref.WeakSet[Console] = weakref.WeakSet()


def _abandon_inherited() -> None:
    """In a forked child: the consoles of the parent raise instead of touching its emulator."""
    for console in list(_consoles):
        console._abandon(_INHERITED)


os.register_at_fork(after_in_child=_abandon_inherited)


class Console:
    """One Nintendo DS with a cartridge in it, powered on, before its first frame.

    Args:
        rom: path of a ``.nds`` file, or a `Cartridge`; None for what `Cartridge.open` finds.
        jit: use the recompiler where the emulator build is known.
        on_power_on: called with `ram` after every power-on (now, and at each `reset`), before the
            first frame: the place to write what the program reads when it starts, such as
            Kartlab's boot parameters (`mkds_gym.kartlab.boot.BootParameters.write`).

    Attributes:
        cartridge: what is in the slot.
        capabilities: which parts of the fast path are in use.
        frame_count: frames since power-on (going back to a state brings its count back).

    Raises:
        CartridgeError: the ROM cannot be used.
        ConsoleError: the emulator cannot be started.
        TypeError: ``rom`` is neither a path nor a `Cartridge`, or ``on_power_on`` cannot be called.
        Exception: whatever ``on_power_on`` raises; the console is closed then.

    Several consoles may live at once, in one thread or in several (the emulator runs without
    Python's lock); one console must not be used by two threads at the same time. A console does
    not survive a fork: in the child, every call raises `ConsoleError`.

    The same cartridge, ``on_power_on`` and keys give the same memory in every process: the clock
    and the battery memory of the console start afresh (see `Capabilities`). There is no sound.
    """

    def __init__(
        self,
        rom: str | PathLike[str] | Cartridge | None = None,
        *,
        jit: bool = True,
        on_power_on: Callable[[NDArray[np.uint8]], object] | None = None,
    ) -> None:
        self._core: cores.Core | None = None
        self._ram: NDArray[np.uint8] | None = None
        self._picture: tuple[int, NDArray[np.uint16]] | None = None
        self._why_closed = _CLOSED
        if on_power_on is not None and not callable(on_power_on):
            raise TypeError(
                f"on_power_on={on_power_on!r}; accepted: a function of the memory, or None"
            )
        self.cartridge = rom if isinstance(rom, Cartridge) else Cartridge.open(rom)
        self._on_power_on = on_power_on
        self.frame_count = 0
        self._keys = 0
        core = cores.acquire()
        self._core = core
        # Runs at `close`, or when a console that nobody closed is collected; not at exit, where
        # the emulator goes with the process.
        self._finalizer = weakref.finalize(self, cores.release, core)
        self._finalizer.atexit = False
        try:
            self._power_on(core, jit)
        except BaseException:
            self.close()
            raise
        _consoles.add(self)

    def _power_on(self, core: cores.Core, jit: bool) -> None:
        jit_on = core.open(self.cartridge.path, jit)
        address = builds.find_ram(core.library, core.build)
        if address is None:
            raise ConsoleError(
                f"cannot find the console's main memory in '{core.path}'; "
                "install py-desmume 0.0.9, or unset " + cores.LIBRARY_VARIABLE
            )
        self._ram = builds.memory(address, RAM_SIZE)
        if core.drawing is not None:
            core.drawing.begin()
        library = core.library
        # Bound once: looking functions up would cost as much as calling them.
        self._cycle: Callable[..., Any] = library.desmume_cycle
        self._skip: Callable[..., Any] = (
            builds.held(library.desmume_skip_next_frame) if core.skips else _draw_anyway
        )
        self._press: Callable[..., Any] = builds.held(library.desmume_input_keypad_update)
        self._convert = builds.rgb_converter(library, RGB_OF_COLOURS)
        self._press(0)
        self.capabilities = Capabilities(
            known_build=core.build is not None,
            jit=jit_on,
            dummy_sound=core.muted,
            skip_frames=bool(core.skips),
            ram_view=True,  # `find_ram` has tried it
            quiet=core.quieted,
            private_battery=core.private_battery,
            fixed_clock=core.fixed_clock,
            memory_states=core.states is not None,
        )
        if self._on_power_on is not None:
            self._on_power_on(self._ram)

    def _live(self) -> cores.Core:
        if self._core is None:
            raise ConsoleError(self._why_closed)
        return self._core

    @property
    def closed(self) -> bool:
        """Whether the console was closed (or belongs to the parent process)."""
        return self._core is None

    @property
    def ram(self) -> NDArray[np.uint8]:
        """Main memory: uint8 of shape (0x400000,), live and writable; index 0 is 0x02000000.

        No copy: the array is the emulator's own memory. Ask for it anew instead of keeping it
        beyond `close`: the emulator core goes to the next console, whose memory a kept array then
        shows. What the host writes is seen by the program; code written this way is only sure to
        be run as written before the first frame.

        Raises:
            ConsoleError: the console is closed.
        """
        if self._ram is None:
            raise ConsoleError(self._why_closed)
        return self._ram

    @property
    def build_id(self) -> str:
        """SHA-256 of the emulator's library.

        Raises:
            ConsoleError: the console is closed.
        """
        return self._live().build_id

    def step(self, keys: int = 0, frames: int = 1, draw: bool = True) -> None:
        """Hold keys and run frames.

        The emulator decides two frames ahead what it draws. With three frames or more, only the
        last one is drawn. With one or two, the picture is that of the last frame if the steps
        before were drawn short steps as well; the first picture or two after undrawn (or longer)
        steps may be up to two frames old, and that of the first frame after `restore` one. What
        is drawn never changes what is in memory.

        Args:
            keys: combination of `Keys`, held during all the frames; opposing directions go to the
                program as they are.
            frames: how many frames to run, 1/59.8261 s each; at least 1.
            draw: draw the last frame, for `screen`. False: draw nothing, which is faster.

        Raises:
            TypeError: keys or frames are no whole number.
            ValueError: keys outside 0 to 0xFFF, or less than one frame.
            ConsoleError: the console is closed.
        """
        if keys != self._keys:
            self._hold(keys)
        cycle = self._cycle
        if frames == 1 and type(frames) is int:  # not True, and not 1.0
            if not draw:
                self._skip()
            # Counted first: Ctrl-C is raised right after the frame, which it cannot stop.
            self.frame_count += 1
            cycle(0)
        else:
            if isinstance(frames, bool) or not hasattr(frames, "__index__"):
                raise TypeError(f"frames={frames!r}; allowed: a whole number, at least 1")
            frames = operator.index(frames)
            if frames < 1:
                raise ValueError(f"frames={frames}; at least 1")
            skip = self._skip
            # What is asked before a frame is done to the picture two frames later.
            drawn = frames - 3 if draw else -1
            unskipped = draw and frames < 3
            for i in range(frames):
                if i != drawn and not unskipped:
                    skip()
                self.frame_count += 1
                cycle(0)

    def run(self, keys: int, frames: int, look: Callable[[], T], drawn: int = -1) -> list[T]:
        """Hold keys and run frames, with a look at the memory after each of them.

        What `look` does costs more here than elsewhere, as the emulator has just filled the
        processor's caches: let it copy, and work on the copies when all frames have been run.

        Args:
            keys: as `step`'s, already checked to be one of its combinations.
            frames: how many frames to run, at least 1.
            look: called after each frame.
            drawn: number, from 0, of the one frame before which the emulator is told to draw, which
                it does two frames later; -1 is none.

        Returns:
            What `look` returned, in order.

        Raises:
            ValueError: keys outside 0 to 0xFFF.
            ConsoleError: the console is closed.
            Exception: whatever `look` raises; the frames after that were not run.
        """
        if keys != self._keys:
            self._hold(keys)
        cycle, skip = self._cycle, self._skip
        seen: list[T] = []
        for frame in range(frames):
            if frame != drawn:
                skip()
            self.frame_count += 1  # first, as in `step`
            cycle(0)
            seen.append(look())
        return seen

    def _hold(self, keys: int) -> None:
        mask = operator.index(keys)
        if not 0 <= mask <= ALL_KEYS:
            self._live()
            raise ValueError(f"keys={mask:#x}; allowed: a combination of Keys, 0 to {ALL_KEYS:#x}")
        self._press(mask)
        self._keys = mask

    def screen(self, which: str = "top", out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """The picture of the last drawn frame.

        Args:
            which: ``"top"``, ``"bottom"``, or ``"both"`` (top above bottom).
            out: what to write it into, uint8 of the shape below; None is a new array.

        Returns:
            uint8 RGB of shape (192, 256, 3), or (384, 256, 3) for both; a copy. The console's
            colours have five bits; their high bits are repeated in the low ones, so that black is
            0 and white is 255.

        Raises:
            ValueError: no such screen, or ``out`` has another shape.
            ConsoleError: the console is closed.
        """
        rows = self._rows(which)
        address = self._drawn()
        height = len(range(2 * SCREEN_HEIGHT)[rows])
        shape = (height, SCREEN_WIDTH, 3)
        if out is None:
            out = np.empty(shape, np.uint8)
        elif out.shape != shape or out.dtype != np.uint8:
            raise ValueError(f"out is {out.dtype} of shape {out.shape}; wanted is uint8 of {shape}")
        if self._convert is not None and out.flags.c_contiguous and out.flags.writeable:
            start = address + 2 * SCREEN_WIDTH * (rows.start or 0)
            self._convert(start, out.ctypes.data, height * SCREEN_WIDTH)
        else:
            # "clip" (nothing is outside the table) spares NumPy a buffer of its own.
            RGB_OF_COLOURS.take(self._colours(address)[rows], axis=0, out=out, mode="clip")
        return out

    def colours(self, which: str = "top") -> NDArray[np.uint16]:
        """The picture of the last drawn frame as the console has it: no copy.

        Args:
            which: as `screen`'s.

        Returns:
            uint16 of shape (192, 256), or (384, 256) for both: bits 0-4 red, 5-9 green, 10-14
            blue. The emulator's own memory, to be looked at before the next frame is run.

        Raises:
            ValueError: no such screen.
            ConsoleError: the console is closed.
        """
        rows = self._rows(which)
        return self._colours(self._drawn())[rows]

    @staticmethod
    def _rows(which: str) -> slice:
        if not isinstance(which, str) or which not in SCREENS:
            raise ValueError(f"which={which!r}; allowed: {', '.join(SCREENS)}")
        return SCREENS[which]

    def _drawn(self) -> int:
        """Address of the picture of both screens."""
        core = self._live()
        address: int = core.library.desmume_draw_raw()
        if core.drawing is not None:
            core.drawing.picture_lit()
        return address

    def _colours(self, address: int) -> NDArray[np.uint16]:
        """The picture of both screens at an address."""
        if self._picture is None or self._picture[0] != address:
            pixels = builds.memory(address, 4 * SCREEN_HEIGHT * SCREEN_WIDTH).view(np.uint16)
            self._picture = address, pixels.reshape(-1, SCREEN_WIDTH)
        return self._picture[1]

    def snapshot(self) -> Snapshot:
        """The whole state, in memory, for `restore`: a few milliseconds.

        Raises:
            ConsoleError: the console is closed.
            StateError: the emulator cannot save.
        """
        snapshot = self._passing_snapshot()
        snapshot.data = state_file.keep(snapshot.data)
        return snapshot

    def difference(self, start: Snapshot) -> Difference:
        """The whole state as what differs from another one: ``apply`` makes it a snapshot again.

        Faster than `snapshot`, and a hundredth of its size, where little differs.

        Raises:
            ConsoleError: the console is closed.
            StateError: the emulator cannot save.
        """
        return Difference(start, self._passing_snapshot())

    def _passing_snapshot(self) -> Snapshot:
        """A snapshot whose data is good until the next one of this thread."""
        core = self._live()
        drawing = b"" if core.drawing is None else core.drawing.save()
        return Snapshot(core.save(), self.cartridge.sha1, core.build_id, self.frame_count, drawing)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot: exact, and some milliseconds.

        All keys are released. Code that is compiled stays where that is exact, but for that of
        memory which becomes something else (see `fast_restore`), and is forgotten elsewhere:
        what follows does not depend on what was before. `screen` shows the picture at the time
        of the snapshot.

        Raises:
            StateError: the snapshot is of another ROM or emulator build; nothing has changed. Or
                the emulator does not take it, as it is damaged; then the console has been
                switched off and on, see `reset`.
            TypeError: not a snapshot.
            ConsoleError: the console is closed.
        """
        core = self._live()
        if not isinstance(snapshot, Snapshot):
            raise TypeError(
                f"{type(snapshot).__name__} is no Snapshot: restore() takes what snapshot() gave, "
                "load_state() bytes and files"
            )
        state_file.check_origin(snapshot, "the snapshot", self.cartridge, core.build_id)
        try:
            self._load(core, snapshot, ours=True)
        except StateError as error:
            # Some of it may have been loaded.
            self.reset()
            raise StateError(
                "the emulator does not take the snapshot, which is damaged; the console has been "
                "switched off and on"
            ) from error

    def save_state(self, path: str | PathLike[str] | None = None) -> bytes | None:
        """Save the whole state, with what is needed to check it when it is loaded.

        Args:
            path: file to write (replaced only once the new one is complete, links followed);
                None: return bytes.

        Returns:
            The state (some 100 KiB to 1 MiB) if no path was given.

        Raises:
            StateError: the file cannot be written, or is a folder, a device or the like, or the
                emulator cannot save.
            TypeError: ``path`` is no path.
            ConsoleError: the console is closed.
        """
        self._live()
        target = None if path is None else _state_target(path)
        data = state_file.pack_state(self.snapshot())
        if target is None:
            return data
        try:
            with beside(target) as partial:
                partial.write_bytes(data)
        except OSError as error:
            raise StateError(f"cannot write state '{path}': {reason(error)}") from error
        return None

    def load_state(self, state: StateLike | ReadState) -> None:
        """Load a state: bytes or file of `save_state`, or a DeSmuME savestate (``.dst``).

        Args:
            state: bytes, the path of a file, or what was read of either.

        Raises:
            StateError: missing, truncated or damaged, of another ROM, or of another emulator
                build. The console is as it was before.
            ConsoleError: the console is closed.
        """
        core = self._live()
        if not isinstance(state, ReadState):
            state = state_file.read_state(state, self.cartridge, core.build_id)
        snapshot, name = state
        state_file.check_origin(snapshot, name, self.cartridge, core.build_id)
        before = self.snapshot()
        try:
            self._load(core, snapshot)
        except StateError as error:
            self._load(core, before)
            raise StateError(f"the emulator does not take {name}; save it again") from error

    def _load(self, core: cores.Core, snapshot: Snapshot, *, ours: bool = False) -> None:
        if not core.load(snapshot.data, ours=ours):
            raise StateError("the emulator does not take the state")
        if core.drawing is not None:
            core.drawing.load(snapshot.drawing)
        self.frame_count = snapshot.frame_count
        self._keys = 0
        self._press(0)

    def reset(self) -> None:
        """Switch the console off and on again, as if it were new, and call ``on_power_on`` again.

        Raises:
            ConsoleError: the console is closed.
        """
        core = self._live()
        self._power_on(core, self.capabilities.jit)
        self.frame_count = 0
        self._keys = 0

    def close(self) -> None:
        """Close the console; its emulator core is kept for the next one. May be called twice."""
        self._abandon(_CLOSED)
        self._finalizer()

    def _abandon(self, why: str) -> None:
        """Let every later call raise."""
        if self._core is None:
            return
        self._core = None
        self._ram = self._picture = None
        self._why_closed = why
        self._cycle = self._skip = self._press = self._refuse
        self._keys = -1  # so that `step` tells of bad keys and of being closed alike

    def _refuse(self, *_: object) -> NoReturn:
        raise ConsoleError(self._why_closed)

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
