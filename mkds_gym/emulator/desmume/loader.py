"""Find and load ``libdesmume.so``."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import itertools
import logging
import os
from pathlib import Path
from typing import Final

from mkds_gym.errors import ConsoleError
from mkds_gym.utils.files import is_file
from mkds_gym.utils.leftovers import temporary_folder

logger = logging.getLogger(__name__)

_copies: Final = itertools.count(1)

LIBRARY_VARIABLE: Final = "MKDS_DESMUME_LIBRARY"
"""Environment variable with the path of a ``libdesmume.so`` to use instead of py-desmume's."""

_PACKAGES: Final = {
    "libGL.so": "libgl1",
    "libglib-2.0.so": "libglib2.0-0",
    "libz.so": "zlib1g",
    "libX11.so": "libx11-6",
}
"""Debian package of each system library that the emulator needs."""


def library_path() -> Path:
    """Return the path of the library: ``MKDS_DESMUME_LIBRARY``, or that of py-desmume.

    Raises:
        ConsoleError: the file does not exist.
    """
    if named := os.environ.get(LIBRARY_VARIABLE):
        path = Path(named)
        if not is_file(path):
            raise ConsoleError(
                f"{LIBRARY_VARIABLE}='{path}' does not exist: set it to the path of libdesmume.so, "
                "or unset it"
            )
        return path
    spec = importlib.util.find_spec("desmume")
    if spec is None or not spec.submodule_search_locations:
        raise ConsoleError("py-desmume is not installed: run `pip install py-desmume`")
    path = Path(next(iter(spec.submodule_search_locations))) / "libdesmume.so"
    if not path.is_file():
        raise ConsoleError(f"'{path}' does not exist: install py-desmume for Linux")
    return path


@functools.lru_cache(maxsize=8)
def _read_library(path: Path, size: int, changed: int) -> tuple[bytes, str]:  # noqa: ARG001
    data = path.read_bytes()
    return data, hashlib.sha256(data).hexdigest()


def read_library(path: Path) -> tuple[bytes, str]:
    """Return the contents and the build id (SHA-256) of a library file. Cached until it changes."""
    status = path.stat()
    return _read_library(path, status.st_size, status.st_mtime_ns)


def installed_build_id() -> str:
    """Return the build id of the emulator that a new console uses, without starting it.

    Raises:
        ConsoleError: no emulator is installed.
    """
    return read_library(library_path())[1]


def loader_error(error: OSError) -> ConsoleError:
    """Return the error to raise for a library that the system cannot load, with the remedy."""
    text = str(error)
    for name, package in _PACKAGES.items():
        if name in text:
            return ConsoleError(
                f"the emulator needs the system library {name} ({text}): on Debian or Ubuntu, run "
                f"`apt-get install {package}`"
            )
    return ConsoleError(
        f"cannot load the emulator: {text}; on Debian or Ubuntu, run "
        f"`apt-get install {' '.join(_PACKAGES.values())}`"
    )


def load_image(path: Path, data: bytes) -> ctypes.CDLL:
    """Load another image: from the file, or from a copy if the file is loaded already."""
    try:
        with contextlib.suppress(OSError):
            # Loaded by us, by our parent before a fork, or by another user of py-desmume.
            ctypes.CDLL(str(path), mode=os.RTLD_NOW | os.RTLD_NOLOAD)
            return _load_copy(data)
        return ctypes.CDLL(str(path), mode=os.RTLD_NOW)
    except OSError as error:
        raise loader_error(error) from error


def _load_copy(data: bytes) -> ctypes.CDLL:
    """Load the library from a copy in memory, or from a temporary file."""
    try:
        with open(os.memfd_create("libdesmume"), "wb") as stream:  # noqa: PTH123
            stream.write(data)
            stream.flush()
            # The loader takes a known name for the same library, and numbers of files come again,
            # so each copy needs a new spelling: a binary number of "./" and ".//".
            detour = "".join(".//" if bit == "1" else "./" for bit in f"{next(_copies):b}")
            return ctypes.CDLL(f"/proc/self/fd/{detour}{stream.fileno()}", mode=os.RTLD_NOW)
    except OSError as error:
        logger.debug("cannot load an image from memory (%s); loading it from a file", error)
    with temporary_folder("library") as folder:
        copy = folder / "libdesmume.so"
        copy.write_bytes(data)
        return ctypes.CDLL(str(copy), mode=os.RTLD_NOW)


def trim_memory() -> None:
    """Return freed memory to the system.

    Booting a console allocates and frees some 10 MB, which glibc keeps otherwise.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
