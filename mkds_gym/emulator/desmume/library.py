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
import mmap
import os
import re
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.desmume import internals, trampolines
from mkds_gym.emulator.desmume.builds import KNOWN_BUILDS, Build
from mkds_gym.emulator.desmume.fast_restore import CompiledCode, FastRestore, compile_before_running
from mkds_gym.emulator.desmume.graphics import Graphics, Pictures
from mkds_gym.emulator.desmume.loader import (
    LIBRARY_VARIABLE,
    library_path,
    load_image,
    read_library,
)
from mkds_gym.emulator.desmume.undrawn import UndrawnGeometry
from mkds_gym.emulator.hardware import (
    FRAMES_PER_SECOND,
    RAM_SIZE,
    RGB_OF_COLOURS,
    SCREEN_HEIGHT,
    SCREEN_WIDTH,
)
from mkds_gym.emulator.states.state_file import plain_desmume_state
from mkds_gym.errors import ConsoleError, StateError, reason
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

_CONFIG_FOLDER: Final = b"/dev/null/mkds-gym"
"""The user's configuration folder, as the emulator sees it. No file can be created there."""
_BATTERY_FILE: Final = re.compile(rb"\A" + re.escape(_CONFIG_FOLDER) + rb".*\.dsv\Z", re.DOTALL)
"""Path of the console's battery memory in that folder."""

_CLOCK_START: Final = 1_230_768_000
"""The console's clock at power-on, in seconds since 1970: 1 January 2009, 0:00."""

_LOADING_SPACE: Final = 400 << 20
"""Bytes of address space for an image, its heap, and the stacks and heaps of its threads."""
_FIRST_SPACE: Final = 1000 << 20
"""The same for the first console of a process, with system libraries and the first environment."""
_WAKING_SPACE: Final = 150 << 20
"""Bytes of address space for an image that is loaded already."""
_THREADS: Final = 6
"""Threads of a console."""

_Printf = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p)
_Folder = ctypes.CFUNCTYPE(ctypes.c_void_p)
_Open = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p)

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
        quieted: the library's output is caught before it reaches the process's.
        private_battery: the battery file is in memory, and new for each ROM.
        fixed_clock: the console's clock counts frames instead of the host's seconds.
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
        self._battery = -1
        self.jit = self._jit_was_on = False
        self.quieted = self.private_battery = self.fixed_clock = False
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
        imports = self._replace_imports(data)
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
            self._find_internals(self.build, imports)
            self.undrawn = self._undrawn_geometry(self.build, imports)
            self.graphics = self._graphics(self.build)
            self._save_memory(self.build)

    def _find_internals(self, build: Build, imports: internals.Imports | None) -> None:
        """Set up the fast ways to save and restore states, as far as they exist."""
        try:
            drawing = internals.DrawingState(self.image, build)
            code = CompiledCode(self.image, build)
            states = internals.MemoryStates(self.image)
        except (ValueError, OSError) as error:
            logger.warning("savestates are slow: %s", error)
            return
        self.drawing, self.code, self.memory_states = drawing, code, states
        if imports is None:
            return
        try:
            restore = FastRestore(self.image, imports, build, states)
            self._compile_code = compile_before_running(self.image, imports, build)
        except (ValueError, OSError) as error:
            logger.warning("restoring snapshots is slow: %s", error)
        else:
            self.fast_restore = restore

    def _undrawn_geometry(
        self, build: Build, imports: internals.Imports | None
    ) -> UndrawnGeometry | None:
        """Leave out the geometry of undrawn frames, if possible."""
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
        """Share memory with other images; see docs/development.md."""
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

    # Imports ---------------------------------------------------------------------------------

    def _replace_imports(self, data: bytes) -> internals.Imports | None:
        """Keep this image from printing, from the user's files, and from the host's clock.

        Only this image's calls change. Redirecting file descriptors would change those of the
        process, in all threads.
        """
        self._printed: dict[bytes, int | None] = {}  # argument of printf, by format
        try:
            imports = internals.Imports(self.image, data)
        except (ValueError, OSError) as error:
            logger.warning(
                "cannot replace the imports of '%s' (%s): the battery file is in the user's "
                "configuration folder, and the console's clock is the host's",
                self.path,
                error,
            )
            return None
        self._imports = imports  # keeps the functions below alive
        libc = ctypes.CDLL(None)
        printf = trampolines.python_free(_Printf, self._printed.__setitem__)
        quieted = [imports.replace("printf", printf)]
        quieted += [imports.replace(name, trampolines.DO_NOTHING) for name in ("puts", "putchar")]
        self.quieted = all(quieted) and self._quiet_cout(imports)
        folder = ctypes.create_string_buffer(_CONFIG_FOLDER)
        get_folder = functools.partial(ctypes.addressof, folder)
        self._fopen = libc.fopen
        self._fopen.restype = ctypes.c_void_p
        self._redirect_battery()
        self.private_battery = imports.replace(
            "fopen64", trampolines.python_free(_Open, self._fopen)
        ) and imports.replace("g_get_user_config_dir", trampolines.python_free(_Folder, get_folder))
        self.fixed_clock = self._fix_clock(imports, trampolines.address_of(libc.gmtime_r))
        return imports

    def _quiet_cout(self, imports: internals.Imports) -> bool:
        """Keep this image from printing through the C++ stream ``cout``."""
        names = (  # both return their first argument, the stream
            "_ZSt16__ostream_insertIcSt11char_traitsIcEERSt13basic_ostreamIT_T0_ES6_PKS3_l",
            "_ZNSo3putEc",
        )
        try:
            cout = internals.require_symbol(self.image, "_ZSt4cout")
            functions = [internals.require_symbol(self.image, name) for name in names]
        except ValueError:
            return False
        code = (trampolines.unless_first(cout, function) for function in functions)
        return imports.replace_by_code(dict(zip(names, code, strict=True)))

    def _fix_clock(self, imports: internals.Imports, gmtime_r: int) -> bool:
        """Start the console's clock at a fixed time, and let it count frames."""
        frames = internals.symbol_address(self.image, "currFrameCounter")
        if frames is None:
            return False
        self._broken_down_time = ctypes.create_string_buffer(128)  # a struct tm, 56 bytes
        result = ctypes.addressof(self._broken_down_time)
        return imports.replace_by_code(
            {
                "time": trampolines.clock(_CLOCK_START, frames, FRAMES_PER_SECOND),
                "localtime": trampolines.with_second(result, gmtime_r),
            }
        )

    def _set_battery(self, file: int) -> None:
        """Keep the battery memory in another open file; -1 is no file."""
        old, self._battery = self._battery, file
        if self.private_battery:
            self._redirect_battery()
        if old >= 0:
            os.close(old)

    def _redirect_battery(self) -> None:
        """Let the emulator open our file instead of the battery file."""
        name: Any = ctypes.c_char_p
        if self._battery >= 0:
            # ctypes converts an argument with `from_param`; this one runs no Python code.
            path = b"/proc/self/fd/%d" % self._battery
            name = types.SimpleNamespace(from_param=functools.partial(_BATTERY_FILE.sub, path))
        self._fopen.argtypes = (name, ctypes.c_char_p)

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Around calls that print: close standard output, unless the image is ``quieted``."""
        if self.quieted:
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
        if self.private_battery:
            try:
                self._set_battery(os.memfd_create("mkds-gym-battery"))
            except OSError as error:
                raise _no_resources(error) from error
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
        self._printed.clear()
        with self.quiet():
            if self.image.desmume_open(os.fsencode(rom)) <= 0:
                raise ConsoleError(
                    f"cannot open ROM '{rom}' in the emulator: check that the file can be read, "
                    "and the limits on memory and open files (ulimit -v, ulimit -n)"
                )
            self.image.desmume_resume()
        if jit and switched and build is not None:
            mode = self._printed.get(b"CPU mode: %s\n")
            started = not self.quieted or (mode and ctypes.string_at(mode) == b"JIT")
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
        self._set_battery(-1)
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
                    _check_resources(_WAKING_SPACE)
                    idle.remove(library)
                    library.wake()
                    return library
            _check_resources(_LOADING_SPACE if _loaded else _FIRST_SPACE)
            library = Library(path)
            _loaded = True
            return library
        except OSError as error:
            raise _no_resources(error) from error


def _check_resources(space: int) -> None:
    """Check that the emulator can allocate memory and start its threads.

    The emulator itself crashes or waits without end if it cannot.

    Raises:
        ConsoleError: there is not enough memory, or there are too many threads.
    """
    go_on = threading.Event()
    threads = [threading.Thread(target=go_on.wait, daemon=True) for _ in range(_THREADS)]
    started = []
    try:
        with mmap.mmap(-1, space, prot=mmap.PROT_READ):
            for thread in threads:
                thread.start()
                started.append(thread)
    except (OSError, RuntimeError, MemoryError) as error:
        raise _no_resources(error) from error
    finally:
        go_on.set()
        for thread in started:
            thread.join()


def _no_resources(error: BaseException) -> ConsoleError:
    return ConsoleError(
        f"cannot start the emulator, which needs {_FIRST_SPACE >> 20} MB of address space, "
        f"{_LOADING_SPACE >> 20} MB for each further console, {_THREADS} threads and some open "
        f"files: {reason(error)}; raise the limits (ulimit -v, ulimit -u, ulimit -n), or make "
        "fewer consoles"
    )


def release(library: Library) -> None:
    """Close the ROM and return the library to the pool."""
    if library.inherited or sys.is_finalizing():
        return
    with _lock:
        library.close()
        idle.append(library)
