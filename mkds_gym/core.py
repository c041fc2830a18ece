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
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mkds_gym import turbo
from mkds_gym.errors import ConsoleError

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

_QUIETED: Final = ("puts", "putchar", "vprintf", "fflush")

_PrintfType = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_StringType = ctypes.CFUNCTYPE(ctypes.c_void_p)

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
            raise ConsoleError(f"no file '{path}' (from the environment variable {LIBRARY_VARIABLE})")
        return path
    spec = importlib.util.find_spec("desmume")
    if spec is None or not spec.submodule_search_locations:
        raise ConsoleError("py-desmume is not installed; `pip install py-desmume`")
    path = Path(next(iter(spec.submodule_search_locations))) / "libdesmume.so"
    if not path.is_file():
        raise ConsoleError(f"py-desmume has no '{path}'; only its Linux build is supported")
    return path


@functools.lru_cache(maxsize=8)
def _library(path: Path, size: int, changed: int) -> tuple[bytes, str]:  # noqa: ARG001
    return path.read_bytes(), turbo.build_id(path)


def read_library(path: Path) -> tuple[bytes, str]:
    """Contents and build id of the library file, read once as long as the file is the same."""
    status = path.stat()
    return _library(path, status.st_size, status.st_mtime_ns)


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
        cpu_mode: what the library said about its processor at the last reset, or "".
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        data, self.build_id = read_library(path)
        self.build = turbo.KNOWN_BUILDS.get(self.build_id)
        self.library = _load_image(path, data)
        self._generation = _generation
        self._folder = b""
        self.cpu_mode = ""
        self._imports = self._redirect_imports(data)
        self._declare()
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
            self.muted = self.build is not None and turbo.mute(self.library)
        if self.build is None:
            logger.warning(
                "'%s' is not a build that mkds-gym knows (SHA-256 %s): no recompiler, no dummy "
                "sound, slow savestates. Known: %s",
                path,
                self.build_id,
                ", ".join(build.name for build in turbo.KNOWN_BUILDS.values()),
            )

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
            ("desmume_savestate_load", (ctypes.c_char_p,), integer),
            ("desmume_savestate_save", (ctypes.c_char_p,), integer),
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

    def _redirect_imports(self, data: bytes) -> turbo.Imports | None:
        """Keep the image from printing, and from the user's configuration folder."""
        try:
            imports = turbo.Imports(self.library, data)
        except (ValueError, OSError) as error:
            logger.debug("no access to the imports of '%s': %s", self.path, error)
            return None

        def on_printf(text: bytes, argument: int) -> int:
            if text.startswith(b"CPU mode: %s") and argument:
                self.cpu_mode = ctypes.string_at(argument).decode("ascii", "replace")
            return 0

        silent = ctypes.CDLL(None).getpid  # takes any arguments, and does nothing
        self.quieted = imports.replace("printf", _PrintfType(on_printf))
        for name in _QUIETED:
            imports.replace(name, silent)

        def on_config_folder() -> int:
            return ctypes.cast(self._folder_buffer, ctypes.c_void_p).value or 0

        self._folder_buffer = ctypes.create_string_buffer(4096)
        self.private_folder = imports.replace(
            "g_get_user_config_dir", _StringType(on_config_folder)
        )
        return imports

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Nothing that the library prints appears."""
        yield

    def open(self, rom: Path, jit: bool) -> bool:
        """Open a ROM and reset.

        Returns:
            Whether the recompiler is in use.
        """
        wanted = jit and self.build is not None
        if self.build is not None:
            wanted = turbo.set_jit(self.library, self.build, wanted) and wanted
        self.cpu_mode = ""
        # The battery file is made, and stays open without a name.
        folder = tempfile.mkdtemp(prefix="mkds-gym-")
        try:
            self._folder_buffer.value = os.fsencode(folder)
            with self.quiet():
                if self.library.desmume_open(os.fsencode(rom)) <= 0:
                    raise ConsoleError(f"the emulator cannot open ROM '{rom}'")
                self.library.desmume_resume()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return wanted and self.cpu_mode == "JIT"


def acquire() -> Core:
    """An idle core, or a new one."""
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
        with core.quiet():
            core.library.desmume_close()
        _idle.append(core)
