"""One emulator core per library image, and the pool of images of this process.

DeSmuME keeps one console in the global variables of its library, can be initialised once per
loaded library image, and crashes when it is freed and initialised again. So an image is loaded
once, initialised once and never freed: when its console is closed, the core goes back to the pool
and the next console takes it. When several consoles live at once, each has an image of its own,
loaded from a copy of the library that has no name in the file system any more.

After a fork the child forgets all cores of its parent (their threads do not exist there) and
loads images of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import logging
import os
import re
import shutil
import sys
import tempfile
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator import builds, fast_restore, state_file, trampolines
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND, SCREEN_HEIGHT, SCREEN_WIDTH
from mkds_gym.errors import ConsoleError, StateError

logger = logging.getLogger(__name__)

LIBRARY_VARIABLE: Final = "MKDS_DESMUME_LIBRARY"
"""Environment variable naming another ``libdesmume.so`` than that of py-desmume."""

_PACKAGES: Final = {
    "libGL.so": "libgl1",
    "libglib-2.0.so": "libglib2.0-0",
    "libz.so": "zlib1g",
    "libX11.so": "libx11-6",
}
"""Debian package of each system library that the emulator needs."""

_CONFIG_FOLDER: Final = b"/dev/null/mkds-gym"
"""What the emulator takes for the user's configuration folder: nothing can be made in it."""
_BATTERY_FILE: Final = re.compile(rb"\A" + re.escape(_CONFIG_FOLDER) + rb".*\.dsv\Z", re.DOTALL)
"""The file of the console's battery memory in that folder."""

_CLOCK_START: Final = 1_230_768_000
"""What the console's clock shows at power-on, in seconds since 1970: 1 January 2009, 0:00."""

_Printf = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p)
_Folder = ctypes.CFUNCTYPE(ctypes.c_void_p)
_Open = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p)

# Guards the pool, and everything that changes the state of the process while a core starts.
_lock = threading.RLock()
_idle: list[Core] = []
# Images cannot be unloaded; the inherited ones of a forked child stay in memory as well.
_generation = 0


def _forget_inherited() -> None:
    """In a forked child: no core of the parent may be touched."""
    global _lock, _generation
    _lock = threading.RLock()
    _idle.clear()
    _generation += 1


os.register_at_fork(after_in_child=_forget_inherited)


def library_path() -> Path:
    """The library file: that of py-desmume, or what ``MKDS_DESMUME_LIBRARY`` names.

    Raises:
        ConsoleError: there is none.
    """
    if named := os.environ.get(LIBRARY_VARIABLE):
        path = Path(named)
        if not path.is_file():
            raise ConsoleError(
                f"no file '{path}' (from the environment variable {LIBRARY_VARIABLE})"
            )
        return path
    spec = importlib.util.find_spec("desmume")
    if spec is None or not spec.submodule_search_locations:
        raise ConsoleError("py-desmume is not installed; `pip install py-desmume`")
    path = Path(next(iter(spec.submodule_search_locations))) / "libdesmume.so"
    if not path.is_file():
        raise ConsoleError(f"py-desmume has no '{path}'; only its Linux build is supported")
    return path


@functools.cache
def _common_tables() -> builds.SharedTables:
    """Of all images of this process."""
    return builds.SharedTables()


def trim_memory() -> None:
    """Give memory that this process has freed back to the system, as far as it will go.

    Booting allocates and frees some ten MB for each console, which the C library keeps otherwise.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)


@functools.lru_cache(maxsize=8)
def _library(path: Path, size: int, changed: int) -> tuple[bytes, str]:  # noqa: ARG001
    return path.read_bytes(), builds.build_id(path)


def read_library(path: Path) -> tuple[bytes, str]:
    """Contents and build id of the library file, read once as long as the file is the same."""
    status = path.stat()
    return _library(path, status.st_size, status.st_mtime_ns)


def installed_build_id() -> str:
    """Build id of the emulator that a console would use; starts nothing.

    Raises:
        ConsoleError: there is no emulator.
    """
    return read_library(library_path())[1]


def _explain(error: OSError) -> ConsoleError:
    """What to do about a library that the loader refused."""
    text = str(error)
    for name, package in _PACKAGES.items():
        if name in text:
            return ConsoleError(
                f"the emulator needs the system library {name}, which is missing ({text}); "
                f"on Debian or Ubuntu: apt-get install {package}"
            )
    packages = " ".join(_PACKAGES.values())
    return ConsoleError(
        f"cannot load the emulator: {text}; it needs, on Debian or Ubuntu: "
        f"apt-get install {packages}"
    )


def _load_image(path: Path, data: bytes) -> ctypes.CDLL:
    """Load one more image of the library, from the file itself if that is not loaded yet."""
    try:
        with contextlib.suppress(OSError):
            loaded = ctypes.CDLL(str(path), mode=os.RTLD_NOW | os.RTLD_NOLOAD)
            # Somebody has this image: we, our parent process before a fork, or other users of
            # py-desmume in this process. The copies find its dependencies by name.
            del loaded
            return _load_copy(data)
        return ctypes.CDLL(str(path), mode=os.RTLD_NOW)
    except OSError as error:
        raise _explain(error) from error


def _load_copy(data: bytes) -> ctypes.CDLL:
    """Load the library from a copy that leaves nothing behind, however the process ends."""
    # The loader takes a file name that it knows for the same library, so that every copy needs a
    # name of its own: a private folder gives it, with a link to a file that exists in memory only.
    folder = Path(tempfile.mkdtemp(prefix="mkds-gym-"))
    try:
        copy = folder / "libdesmume.so"
        try:
            memory = os.memfd_create("libdesmume")
            with open(memory, "wb", closefd=True) as stream:  # noqa: PTH123
                stream.write(data)
                stream.flush()
                copy.symlink_to(f"/proc/self/fd/{memory}")
                return ctypes.CDLL(str(copy), mode=os.RTLD_NOW)
        except OSError as error:
            logger.debug("no image from memory (%s); from a file", error)
            copy.unlink(missing_ok=True)
            copy.write_bytes(data)
            return ctypes.CDLL(str(copy), mode=os.RTLD_NOW)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Environment variables, as long as the body runs."""
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


class Core:
    """One initialised library image. Get one with `acquire`, give it back with `release`.

    Attributes:
        library: the loaded image, with the signatures of the public functions set.
        build: what is known about it, or None.
        build_id: SHA-256 of the library file.
        path: the library file.
        muted: the dummy sound core is in use.
        quieted: the library's output is caught before it gets to the process's.
        private_battery: the battery file is in memory, and new for each opened ROM.
        fixed_clock: the console's clock counts frames instead of the host's seconds.
        recompiler: the fast way to forget compiled code, or None.
        states: the fast way to save and load states, or None.
        instant: the fastest way to load them, which keeps compiled code, or None.
        code: what is compiled, or None where ``instant`` is.
        drawing: what states leave out of the pictures to come, or None.
        skips: frames can be left undrawn; None until the first ROM is open.
        cpu_mode: what the library said about its processor at the last reset, or "".
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        data, self.build_id = read_library(path)
        self.build = builds.KNOWN_BUILDS.get(self.build_id)
        if self.build is None:
            logger.warning(
                "'%s' is not a build that mkds-gym knows (SHA-256 %s): no recompiler, no dummy "
                "sound, slow savestates. Known: %s",
                path,
                self.build_id,
                "; ".join(build.name for build in builds.KNOWN_BUILDS.values()),
            )
        self.library = _load_image(path, data)
        self._generation = _generation
        self._battery = -1
        self._jit = self._jit_started = False
        self.cpu_mode = ""
        self._said: dict[bytes, int | None] = {}  # formats that the library printed with
        self._broken_down = ctypes.create_string_buffer(128)  # a struct tm, which has 56 bytes
        self.quieted = self.private_battery = self.fixed_clock = False
        self._imports: builds.Imports | None = None
        self._declare()
        self._replace_imports(data)
        with (
            self.quiet(),
            _environment(
                SDL_VIDEODRIVER="dummy",
                SDL_AUDIODRIVER="dummy",
                # Else SDL takes SIGTERM for itself, and `Process.terminate()` does nothing.
                SDL_NO_SIGNAL_HANDLERS="1",
            ),
        ):
            self.library.desmume_set_savetype(0)
            if self.library.desmume_init() < 0:
                raise ConsoleError("the emulator cannot be initialised (SDL refuses to start)")
            self.muted = self.build is not None and builds.mute(self.library)
        if self.build is not None and not self.muted:
            logger.warning("the dummy sound core cannot be selected; savestates will be slow")
        self.skips: bool | None = None
        self.recompiler: builds.Recompiler | None = None
        self.states: builds.MemoryStates | None = None
        self.drawing: builds.Drawing | None = None
        self.instant: fast_restore.InstantStates | None = None
        self.code: fast_restore.CompiledCode | None = None
        if self.build is not None:
            try:
                self.drawing = builds.Drawing(self.library, self.build)
                self.recompiler = builds.Recompiler(self.library, self.build)
                self.states = builds.MemoryStates(self.library)
            except (ValueError, OSError) as error:
                logger.warning("no fast savestates: %s", error)
            else:
                self._level(self.build, self.states)
            self._save_memory(self.build)

    def _level(self, build: builds.Build, states: builds.MemoryStates) -> None:
        """Set up the fastest way to load states."""
        if self._imports is None:
            return
        try:
            made = fast_restore.InstantStates(self.library, self._imports, build, states)
            code = fast_restore.CompiledCode(self.library, build)
            self._compiler = fast_restore.LevelCompiler(self.library, self._imports, build)
        except (ValueError, OSError) as error:
            logger.warning("states are loaded in the emulator's own way, which is slow: %s", error)
            return
        self.instant, self.code = made, code

    def _save_memory(self, build: builds.Build) -> None:
        """Take as little memory as can be had without anybody noticing; see docs/development.md."""
        try:
            shared = _common_tables().share(self.library, build)
            folded = builds.fold_zeros(self.library, build)
        except OSError as error:
            logger.debug("this console takes more memory than it might: %s", error)
        else:
            logger.debug("colour tables shared: %s, zeros folded: %s", shared, folded)

    @property
    def inherited(self) -> bool:
        """The core belongs to the process that this one was forked from."""
        return self._generation != _generation

    def _declare(self) -> None:
        """Signatures of the public functions."""
        integer, word = ctypes.c_int, ctypes.c_uint32
        for name, arguments, result in (
            ("desmume_init", (), integer),
            ("desmume_open", (ctypes.c_char_p,), integer),
            ("desmume_close", (), None),
            ("desmume_resume", (), None),
            ("desmume_reset", (), None),
            ("desmume_set_savetype", (integer,), None),
            ("desmume_cycle", (integer,), None),
            ("desmume_skip_next_frame", (), None),
            ("desmume_input_keypad_update", (ctypes.c_uint16,), None),
            ("desmume_draw_raw", (), ctypes.c_void_p),
            ("desmume_savestate_load", (ctypes.c_char_p,), ctypes.c_bool),
            ("desmume_savestate_save", (ctypes.c_char_p,), ctypes.c_bool),
            ("desmume_memory_read_long", (word,), word),
            ("desmume_memory_write_long", (word, word), None),
        ):
            try:
                function = getattr(self.library, name)
            except AttributeError:
                raise ConsoleError(
                    f"'{self.path}' has no function {name}; it is no library of py-desmume 0.0.9"
                ) from None
            function.argtypes, function.restype = arguments, result

    def _replace_imports(self, data: bytes) -> None:
        """Keep this image from printing, from the user's files, and from the host's clock.

        The changed calls are those of this image only, so that, unlike with redirected file
        descriptors, nothing else in the process notices, in any thread.
        """
        try:
            imports = builds.Imports(self.library, data)
        except (ValueError, OSError) as error:
            logger.warning(
                "no access to the imports of '%s' (%s): the battery file goes to the user's "
                "configuration folder, and the console's clock is the host's",
                self.path,
                error,
            )
            return
        self._imports = imports  # it keeps the functions below alive
        libc = ctypes.CDLL(None)
        nothing = libc.getpid  # does nothing, whatever its arguments
        said = trampolines.python_free(_Printf, self._said.__setitem__)
        quieted = [imports.replace("printf", said)]
        quieted += [imports.replace(name, nothing) for name in ("puts", "putchar")]
        folder = ctypes.create_string_buffer(_CONFIG_FOLDER)
        self._fopen = libc.fopen
        self._fopen.restype = ctypes.c_void_p
        self._redirect_battery()
        self.private_battery = (
            hasattr(os, "memfd_create")
            and imports.replace("fopen64", trampolines.python_free(_Open, self._fopen))
            and imports.replace(
                "g_get_user_config_dir",
                trampolines.python_free(_Folder, functools.partial(ctypes.addressof, folder)),
            )
        )
        self.quieted = all(quieted) and self._quiet_stream(imports)
        self.fixed_clock = self._fix_clock(imports, libc)

    def _change_battery(self, file: int) -> None:
        """Keep the battery memory in another open file, or -1: in none."""
        old, self._battery = self._battery, file
        if self.private_battery:
            self._redirect_battery()
        if old >= 0:
            os.close(old)

    def _redirect_battery(self) -> None:
        """Have the emulator open our file where it wants that of the battery."""
        name: Any = ctypes.c_char_p
        if self._battery >= 0:
            # Anything with `from_param` converts an argument; this one does it without Python code.
            ours = b"/proc/self/fd/%d" % self._battery
            name = types.SimpleNamespace(from_param=functools.partial(_BATTERY_FILE.sub, ours))
        self._fopen.argtypes = (name, ctypes.c_char_p)

    def _quiet_stream(self, imports: builds.Imports) -> bool:
        """Keep this image from printing through C++ streams."""
        names = (  # both return the stream, which is their first argument
            "_ZSt16__ostream_insertIcSt11char_traitsIcEERSt13basic_ostreamIT_T0_ES6_PKS3_l",
            "_ZNSo3putEc",
        )
        output = builds.symbol_address(self.library, "_ZSt4cout")
        code = {}
        for name in names:
            function = builds.symbol_address(self.library, name)
            if output is None or function is None:
                return False
            code[name] = trampolines.unless_first(output, function)
        return imports.replace_by_code(code)

    def _fix_clock(self, imports: builds.Imports, libc: ctypes.CDLL) -> bool:
        """Let the console's clock start at the same time always and count frames."""
        frames = builds.symbol_address(self.library, "currFrameCounter")
        if frames is None:
            return False
        local_time = ctypes.cast(libc.gmtime_r, ctypes.c_void_p).value or 0
        return imports.replace_by_code(
            {
                "time": trampolines.clock(_CLOCK_START, frames, FRAMES_PER_SECOND),
                "localtime": trampolines.with_second(
                    ctypes.addressof(self._broken_down), local_time
                ),
            }
        )

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Around calls that print, for an image whose output cannot be caught: close stdout.

        The process's standard output goes nowhere for as long as the body runs.
        """
        if self.quieted:
            yield
            return
        libc = ctypes.CDLL(None)
        with _lock:
            libc.fflush(None)
            try:
                kept = os.dup(1)
            except OSError:  # the process has no standard output
                yield
                return
            try:
                with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
                    os.dup2(nowhere.fileno(), 1)
                yield
            finally:
                libc.fflush(None)
                os.dup2(kept, 1)
                os.close(kept)

    def open(self, rom: Path, jit: bool) -> bool:
        """Open a ROM and reset. The first time, also find out whether frames can be skipped.

        Returns:
            Whether the recompiler is in use.

        Raises:
            ConsoleError: the emulator does not take the ROM.
        """
        jit = self._open(rom, jit)
        if self.skips is None:
            self.skips = self._try_skipping()
            jit = self._open(rom, jit)
        return jit

    def _try_skipping(self) -> bool:
        """Whether asking for a frame to be skipped leaves the picture as it is, and only that.

        Runs some frames (20 ms in all, once a core); the ROM is to be opened again after that.
        """
        library = self.library
        marked = 0x5A5A

        def picture() -> NDArray[np.uint16]:
            size = 2 * 2 * SCREEN_HEIGHT * SCREEN_WIDTH
            return builds.memory(library.desmume_draw_raw(), size).view(np.uint16)

        def untouched(skip: bool) -> bool:
            for _ in range(3):  # what is asked is done two frames later
                if skip:
                    library.desmume_skip_next_frame()
                library.desmume_cycle(0)
            return bool((picture() == marked).all())

        untouched(skip=True)
        picture()[:] = marked
        skips = untouched(skip=True) and not untouched(skip=False)
        if not skips:
            logger.warning("'%s' does not skip frames: every frame is drawn", self.path)
        return skips

    def _open(self, rom: Path, jit: bool) -> bool:
        if self.private_battery:
            self._change_battery(os.memfd_create("mkds-gym-battery"))
        # The first time, the library starts the recompiler and says so. Later it is switched on
        # behind the library's back, as its own way would fill 72 MiB of tables with zeros.
        later = self._jit_started and self.recompiler is not None
        self._jit = False
        if self.build is not None:
            switched = builds.set_jit(self.library, self.build, jit and not later)
            if jit and not switched:
                logger.warning("the recompiler's switch is not where it should be; interpreting")
            self._jit = jit and switched
        self._said.clear()
        with self.quiet():
            if self.library.desmume_open(os.fsencode(rom)) <= 0:
                raise ConsoleError(f"the emulator cannot open ROM '{rom}'")
            self.library.desmume_resume()
        mode = self._said.get(b"CPU mode: %s\n")
        self.cpu_mode = ctypes.string_at(mode).decode("ascii", "replace") if mode else ""
        if self._jit and later and self.build is not None:
            builds.set_jit(self.library, self.build, True)
        elif self._jit and self.build is not None and self.quieted and self.cpu_mode != "JIT":
            logger.warning("the recompiler does not start (%s); interpreting", self.cpu_mode)
            builds.set_jit(self.library, self.build, False)
            self._jit = False
        self._jit_started = self._jit_started or self._jit
        self._forget_code()
        return self._jit

    def _forget_code(self) -> None:
        if self.recompiler is not None:
            self.recompiler.forget()
        if self.code is not None:
            self.code.forget_all()

    def close(self) -> None:
        """Close the ROM."""
        with self.quiet():
            self.library.desmume_close()
        self._change_battery(-1)

    def save(self) -> bytes | memoryview:
        """The whole state of the console, as DeSmuME saves it; good until the next one is saved.

        Raises:
            StateError: the emulator cannot.
        """
        data: bytes | memoryview | None
        data = self.states.save() if self.states is not None else self._save_to_file()
        if data is None:
            raise StateError("the emulator cannot save its state")
        # What comes now, and what comes after the state is loaded, begin alike.
        if self._jit and self.code is not None:
            self.code.level()
        elif self._jit:
            self._forget_code()
        return data

    def load(self, state: bytes | memoryview, *, ours: bool = False) -> bool:
        """Load a whole state of the console; whether the emulator took it.

        Args:
            state: not compressed.
            ours: it is of `save`, with this ROM, and can be loaded the fastest way.
        """
        if self.states is None or self.recompiler is None:
            return self._load_from_file(state)
        with self.quiet():
            if ours and self.instant is not None:
                if self.code is not None and self.code.forgotten > fast_restore.FORGET_AFTER:
                    self._forget_code()
                return self.instant.load(state, self.code if self._jit else None)
            if not self._jit or self.build is None:
                return self.states.load(state)
            # Loading resets, and resetting the recompiler would look at all of its tables.
            builds.set_jit(self.library, self.build, False)
            try:
                return self.states.load(state)
            finally:
                builds.set_jit(self.library, self.build, True)
                self._forget_code()

    def _save_to_file(self) -> bytes | None:
        with _memory_file() as (stream, name), self.quiet():
            if not self.library.desmume_savestate_save(name):
                return None
            stream.seek(0)
            return state_file.plain_desmume_state(stream.read(), "the state")

    def _load_from_file(self, state: bytes | memoryview) -> bool:
        with _memory_file() as (stream, name), self.quiet():
            stream.write(state)
            stream.flush()
            return bool(self.library.desmume_savestate_load(name))


@contextlib.contextmanager
def _memory_file() -> Iterator[tuple[IO[bytes], bytes]]:
    """A file without a name in the file system, and a path by which this process finds it."""
    with open(os.memfd_create("mkds-gym-state"), "w+b") as stream:  # noqa: PTH123
        yield stream, b"/proc/self/fd/%d" % stream.fileno()


def acquire() -> Core:
    """An idle core, or a new one.

    Raises:
        ConsoleError: the emulator cannot be loaded or started.
    """
    path = library_path()
    with _lock:
        for core in _idle:
            if core.path == path:
                _idle.remove(core)
                return core
        return Core(path)


def release(core: Core) -> None:
    """Close the ROM and put the core back into the pool."""
    if core.inherited or sys.is_finalizing():
        return
    with _lock:
        core.close()
        _idle.append(core)
