"""One loaded ``libdesmume.so``, and the pool of those that no console uses.

DeSmuME keeps a console in the global variables of its library. An image of the library can be
initialised once, and crashes if it is freed and initialised again. So an image is loaded once and
never freed. When its console is closed, the image goes to the pool, and the next console takes it.
Consoles that exist at the same time use images loaded from copies of the library file. An image of
a known build that is in the pool has no threads and takes 7 MB.

A forked child uses none of its parent's images, whose threads do not exist there, and loads its
own.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.desmume import internals, trampolines
from mkds_gym.emulator.desmume.builds import KNOWN_BUILDS, Build
from mkds_gym.emulator.desmume.fast_restore import CompiledCode, FastRestore, compile_before_running
from mkds_gym.emulator.desmume.graphics import Graphics, Pictures
from mkds_gym.emulator.desmume.isolation import Isolation
from mkds_gym.emulator.desmume.loader import (
    LIBRARY_VARIABLE,
    library_path,
    load_image,
    read_library,
)
from mkds_gym.emulator.desmume.resources import (
    FIRST_SPACE,
    LOADING_SPACE,
    WAKING_SPACE,
    check_resources,
    no_resources,
)
from mkds_gym.emulator.desmume.undrawn import UndrawnGeometry
from mkds_gym.emulator.hardware import RAM_SIZE, RGB_OF_COLOURS, SCREEN_HEIGHT, SCREEN_WIDTH
from mkds_gym.emulator.states.state_file import plain_desmume_state
from mkds_gym.errors import ConsoleError, StateError
from mkds_gym.utils.leftovers import remove_leftover_folders
from mkds_gym.utils.processes import end_with_parent

logger = logging.getLogger(__name__)

_int, _u32 = ctypes.c_int, ctypes.c_uint32
_FUNCTIONS: Final = (
    ("desmume_init", (), _int),
    ("desmume_open", (ctypes.c_char_p,), _int),
    ("desmume_close", (), None),
    ("desmume_resume", (), None),
    ("desmume_reset", (), None),
    ("desmume_set_savetype", (_int,), None),
    ("desmume_cycle", (_int,), None),
    ("desmume_skip_next_frame", (), None),
    ("desmume_input_keypad_update", (ctypes.c_uint16,), None),
    ("desmume_draw_raw", (), ctypes.c_void_p),
    ("desmume_savestate_load", (ctypes.c_char_p,), ctypes.c_bool),
    ("desmume_savestate_save", (ctypes.c_char_p,), ctypes.c_bool),
    ("desmume_memory_read_long", (_u32,), _u32),
    ("desmume_memory_write_long", (_u32, _u32), None),
)
"""Name, argument types and result type of each public function that we call."""

# Guards the pool, and changes of the process's state while an image starts.
_lock = threading.RLock()
idle: list[Library] = []
"""The pool: libraries that no console uses."""
_fork_count = 0
_loaded = False
"""Whether this process has loaded an image."""


def _forget_inherited() -> None:
    """In a forked child: drop the parent's images."""
    global _lock, _fork_count
    _lock = threading.RLock()
    idle.clear()
    _fork_count += 1


os.register_at_fork(after_in_child=_forget_inherited)


@functools.cache
def shared_tables() -> internals.SharedTables:
    """Return the colour tables that all images of this process share."""
    return internals.SharedTables()


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set environment variables while the body runs."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _memory_file() -> Iterator[tuple[IO[bytes], bytes]]:
    """A file in memory, and a path by which this process finds it."""
    with open(os.memfd_create("mkds-gym-state"), "w+b") as stream:  # noqa: PTH123
        yield stream, b"/proc/self/fd/%d" % stream.fileno()


class Library:
    """One initialised image of ``libdesmume.so``. Get one with `acquire`.

    Attributes:
        path: path of the library file.
        build_id: SHA-256 of that file.
        build: what is known about it, or None.
        image: the loaded library, with the signatures of its public functions set.
        jit: the recompiler is on.
        muted: the dummy sound core is on.
        isolation: keeps the image from the process's output, the user's files and the host's clock.
        skips_frames: frames can be left undrawn. None until a ROM was open.
        skip_frame: leaves undrawn the frame after the next two, or does nothing.
        frame_functions: addresses of the C functions that skip a frame and run a frame.
        press: holds a combination of keys.
        convert_to_rgb: `internals.rgb_converter`, or None.
        ram: main memory, uint8 of shape (0x400000,), once a ROM was open.
        drawing: state of the picture that savestates leave out, or None.
        code: the compiled code, or None.
        memory_states: saves and loads in memory, or None.
        fast_restore: restores snapshots and keeps compiled code, or None.
        undrawn: leaves out the geometry of undrawn frames, or None.
        graphics: the graphics unit, which does not exist while the image is idle, or None.
        pictures: live views of the pictures.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        data, self.build_id = read_library(path)
        self.build = KNOWN_BUILDS.get(self.build_id)
        if self.build is None:
            logger.warning(
                "'%s' is an unknown build (SHA-256 %s): no recompiler, no dummy sound, slow "
                "savestates. Known builds: %s",
                path,
                self.build_id,
                "; ".join(build.name for build in KNOWN_BUILDS.values()),
            )
        self.image = load_image(path, data)
        self._fork_count = _fork_count
        self.jit = self._jit_was_on = False
        self.skips_frames: bool | None = None
        self.drawing: internals.DrawingState | None = None
        self.code: CompiledCode | None = None
        self.memory_states: internals.MemoryStates | None = None
        self.fast_restore: FastRestore | None = None
        self.undrawn: UndrawnGeometry | None = None
        self.graphics: Graphics | None = None
        self.pictures = Pictures()
        for name, arguments, result in _FUNCTIONS:
            try:
                internals.function(self.image, name, arguments, result)
            except ValueError:
                raise ConsoleError(
                    f"'{path}' has no function {name}: install py-desmume 0.0.9"
                ) from None
        self.skip_frame: Callable[[], object]
        self.skip_frame = internals.keeping_the_gil(self.image.desmume_skip_next_frame)
        self.press = internals.keeping_the_gil(self.image.desmume_input_keypad_update)
        self.isolation = Isolation(self.image, data, path)
        with (
            self.quiet(),
            _environment(
                SDL_VIDEODRIVER="dummy",
                SDL_AUDIODRIVER="dummy",
                # SDL would handle SIGTERM, and `Process.terminate()` would do nothing.
                SDL_NO_SIGNAL_HANDLERS="1",
            ),
        ):
            self.image.desmume_set_savetype(0)
            if self.image.desmume_init() < 0:
                raise ConsoleError(
                    "cannot initialise the emulator: SDL does not start; check the limits on "
                    "memory and threads (ulimit -v, ulimit -u)"
                )
            self.muted = self.build is not None and internals.mute(self.image)
        # It uses tables that desmume_init() computes.
        self.convert_to_rgb = internals.rgb_converter(self.image, RGB_OF_COLOURS)
        if self.build is not None:
            if not self.muted:
                logger.warning("cannot select the dummy sound core: savestates are slow")
            self._find_internals(self.build)
            self.undrawn = self._undrawn_geometry(self.build)
            self.graphics = self._graphics(self.build)
            self._save_memory(self.build)

    def _find_internals(self, build: Build) -> None:
        """Set up the fast ways to save and restore states, as far as they exist."""
        try:
            drawing = internals.DrawingState(self.image, build)
            code = CompiledCode(self.image, build)
            states = internals.MemoryStates(self.image)
        except (ValueError, OSError) as error:
            logger.warning("savestates are slow: %s", error)
            return
        self.drawing, self.code, self.memory_states = drawing, code, states
        imports = self.isolation.imports
        if imports is None:
            return
        try:
            restore = FastRestore(self.image, imports, build, states)
            self._compile_code = compile_before_running(self.image, imports, build)
        except (ValueError, OSError) as error:
            logger.warning("restoring snapshots is slow: %s", error)
        else:
            self.fast_restore = restore

    def _undrawn_geometry(self, build: Build) -> UndrawnGeometry | None:
        """Leave out the geometry of undrawn frames, if possible."""
        imports = self.isolation.imports
        if imports is None:
            return None
        try:
            return UndrawnGeometry(self.image, imports, build)
        except (ValueError, OSError) as error:
            logger.warning("undrawn frames are slow: %s", error)
            return None

    def _graphics(self, build: Build) -> Graphics | None:
        """The graphics unit, if it can be deleted and made again."""
        if self.fast_restore is None:
            return None
        try:
            return Graphics(self.image, build, self.fast_restore.arrays)
        except ValueError as error:
            logger.warning("closed consoles keep their memory: %s", error)
            return None

    def _save_memory(self, build: Build) -> None:
        """Share memory with the other images of this process."""
        try:
            shared = shared_tables().share(self.image, build)
            folded = internals.fold_zeros(self.image, build)
        except OSError as error:
            logger.debug("cannot share memory between images: %s", error)
        else:
            logger.debug("colour tables shared: %s, zeros folded: %s", shared, folded)

    @property
    def inherited(self) -> bool:
        """Whether the image belongs to the process that this one was forked from."""
        return self._fork_count != _fork_count

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Around calls that print: close standard output, unless the output is caught."""
        if self.isolation.quieted:
            yield
            return
        libc = ctypes.CDLL(None)
        with _lock:
            libc.fflush(None)
            try:
                saved = os.dup(1)
            except OSError:  # the process has no standard output
                yield
                return
            try:
                with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
                    os.dup2(nowhere.fileno(), 1)
                yield
            finally:
                libc.fflush(None)
                os.dup2(saved, 1)
                os.close(saved)

    # ROM -------------------------------------------------------------------------------------

    def open(self, rom: Path, jit: bool) -> None:
        """Open a ROM and power on. The first call also tests whether frames can be skipped.

        Args:
            rom: path of the file.
            jit: switch the recompiler on, if the build is known.

        Raises:
            ConsoleError: the emulator cannot open the ROM, or its main memory is not found.
        """
        self._open(rom, jit)
        if self.skips_frames is None:
            self.skips_frames = self._can_skip_frames()
            if not self.skips_frames:
                logger.warning("'%s' does not skip frames: every frame is drawn", self.path)
                self.skip_frame = lambda: None
            self._open(rom, jit)
        skip = self.image.desmume_skip_next_frame if self.skips_frames else trampolines.DO_NOTHING
        functions = (skip, self.image.desmume_cycle)
        self.frame_functions = tuple(map(trampolines.address_of, functions))
        address = internals.find_ram(self.image, self.build)
        if address is None:
            raise ConsoleError(
                f"cannot find the console's main memory in '{self.path}': install py-desmume "
                f"0.0.9, or unset {LIBRARY_VARIABLE}"
            )
        self.ram: NDArray[np.uint8] = internals.memory(address, RAM_SIZE)
        if self.drawing is not None:
            self.drawing.reset()

    def _can_skip_frames(self) -> bool:
        """Whether a skipped frame leaves the picture as it is, and a drawn frame does not.

        Runs some frames (20 ms), after which the ROM must be opened again.
        """
        marked = 0x5A5A

        def picture() -> NDArray[np.uint16]:
            size = 2 * 2 * SCREEN_HEIGHT * SCREEN_WIDTH
            return internals.memory(self.image.desmume_draw_raw(), size).view(np.uint16)

        def untouched(skip: bool) -> bool:
            for _ in range(3):  # a request takes effect two frames later
                if skip:
                    self.image.desmume_skip_next_frame()
                self.image.desmume_cycle(0)
            return bool((picture() == marked).all())

        untouched(skip=True)
        picture()[:] = marked
        return untouched(skip=True) and not untouched(skip=False)

    def _open(self, rom: Path, jit: bool) -> None:
        if self.isolation.private_battery:
            try:
                self.isolation.set_battery(os.memfd_create("mkds-gym-battery"))
            except OSError as error:
                raise no_resources(error) from error
        self.jit = False
        # The first time, the library starts the recompiler. Later we switch it on after the reset,
        # as the library would fill 72 MiB of tables with zeros.
        later = self._jit_was_on and self.code is not None
        if self.undrawn is not None:
            self.undrawn.discard(switched_on=True)
        build = self.build
        switched = build is not None and internals.set_jit(self.image, build, jit and not later)
        if jit and build is not None and not switched:
            logger.warning("the recompiler's switch is not where it should be: interpreting")
        self.isolation.printed.clear()
        with self.quiet():
            if self.image.desmume_open(os.fsencode(rom)) <= 0:
                raise ConsoleError(
                    f"cannot open ROM '{rom}' in the emulator: check that the file can be read, "
                    "and the limits on memory and open files (ulimit -v, ulimit -n)"
                )
            self.image.desmume_resume()
        if jit and switched and build is not None:
            mode = self.isolation.printed.get(b"CPU mode: %s\n")
            started = not self.isolation.quieted or (mode and ctypes.string_at(mode) == b"JIT")
            self.jit = bool(later or started)
            if not self.jit:
                logger.warning("the recompiler does not start: interpreting")
            internals.set_jit(self.image, build, self.jit)
        self._jit_was_on |= self.jit
        if self.code is not None:
            self.code.forget_all()

    def close(self) -> None:
        """Close the ROM, and give memory and threads back."""
        with self.quiet():
            self.image.desmume_close()
        self.isolation.set_battery(-1)
        if self.graphics is not None and self.pictures.forget():
            assert self.code is not None
            self.code.forget_all()
            with self.quiet():
                self.graphics.delete()

    def wake(self) -> None:
        """Make what `close` has deleted; call before `open`."""
        if self.graphics is not None and not self.graphics.exists:
            with self.quiet():
                self.graphics.make()
            assert self.drawing is not None
            self.drawing.find()

    # States ----------------------------------------------------------------------------------

    def save(self) -> bytes | memoryview:
        """Return the uncompressed state of the console, which the next save may overwrite.

        Raises:
            StateError: the emulator cannot save.
        """
        if self.undrawn is not None:
            self.undrawn.settle()
        data: bytes | memoryview | None
        data = self._save_to_file() if self.memory_states is None else self.memory_states.save()
        if data is None:
            raise StateError("the emulator cannot save its state")
        # The next frames must run alike now and after the state is loaded.
        if self.jit and self.code is not None:
            if self.fast_restore is None:
                self.code.forget_all()
            else:
                self.code.reset_counts()
        return data

    def load(self, state: bytes | memoryview, *, of_save: bool = False) -> bool:
        """Load a state, and return whether the emulator accepted it.

        Args:
            state: the state, uncompressed.
            of_save: `save` returned it, with the ROM that is open. Loading is faster then.
        """
        if self.undrawn is not None:
            # A picture may still be made of the polygons before the load.
            self.undrawn.settle(everything=True)
            self.undrawn.discard()
        if self.memory_states is None:
            return self._load_from_file(state)
        with self.quiet():
            if of_save and self.fast_restore is not None:
                return self.fast_restore.load(state, self.code if self.jit else None)
            if not self.jit or self.build is None or self.code is None:
                return self.memory_states.load(state)
            # Loading resets, and a reset with the recompiler on would clear its tables slowly.
            internals.set_jit(self.image, self.build, False)
            try:
                return self.memory_states.load(state)
            finally:
                internals.set_jit(self.image, self.build, True)
                self.code.forget_all()

    def _save_to_file(self) -> bytes | None:
        with _memory_file() as (stream, name), self.quiet():
            if not self.image.desmume_savestate_save(name):
                return None
            stream.seek(0)
            return plain_desmume_state(stream.read(), "the state")

    def _load_from_file(self, state: bytes | memoryview) -> bool:
        with _memory_file() as (stream, name), self.quiet():
            stream.write(state)
            stream.flush()
            return bool(self.image.desmume_savestate_load(name))


def acquire() -> Library:
    """Return an idle library, or load another image.

    Raises:
        ConsoleError: the emulator cannot be loaded or started.
    """
    end_with_parent()
    remove_leftover_folders()
    global _loaded
    path = library_path()
    with _lock:
        try:
            for library in idle:
                if library.path == path:
                    check_resources(WAKING_SPACE)
                    idle.remove(library)
                    library.wake()
                    return library
            check_resources(LOADING_SPACE if _loaded else FIRST_SPACE)
            library = Library(path)
            _loaded = True
            return library
        except OSError as error:
            raise no_resources(error) from error


def release(library: Library) -> None:
    """Close the ROM and return the library to the pool."""
    if library.inherited or sys.is_finalizing():
        return
    with _lock:
        library.close()
        idle.append(library)
