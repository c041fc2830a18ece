"""Faster ways into ``libdesmume.so`` than its public C interface (``desmume_*``).

Names of symbols and slots of imported functions exist in every build. Offsets come from a known
`Build` only. Each constructor raises `ValueError`, and each function returns False or None, when
something is not where `Build` says; nothing has changed then, and
`mkds_gym.emulator.desmume.library` falls back to the public interface.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.desmume.builds import Build
from mkds_gym.emulator.desmume.elf import import_slots
from mkds_gym.emulator.desmume.trampolines import CodePage, address_of
from mkds_gym.emulator.hardware import RAM_SIZE, RAM_START

_libc: Final = ctypes.CDLL(None, use_errno=True)


def memory(address: int, size: int) -> NDArray[np.uint8]:
    """Return a live, writable uint8 view of ``size`` bytes of this process's memory."""
    buffer: Any = (ctypes.c_uint8 * size).from_address(address)
    return np.frombuffer(buffer, np.uint8)


def symbol_address(image: ctypes.CDLL, name: str) -> int | None:
    """Return the address of a variable or function of the loaded library, or None."""
    try:
        return ctypes.addressof(ctypes.c_uint8.in_dll(image, name))
    except ValueError:
        return None


def require_symbol(image: ctypes.CDLL, name: str) -> int:
    """Return the address of a variable or function of the loaded library.

    Raises:
        ValueError: the library has no such symbol.
    """
    address = symbol_address(image, name)
    if address is None:
        raise ValueError(f"no symbol {name}")
    return address


def function(image: ctypes.CDLL, name: str, arguments: tuple[Any, ...], result: Any) -> Any:
    """Return a C function of the loaded library with its ctypes signature set.

    Raises:
        ValueError: the library has no such symbol.
    """
    try:
        found = getattr(image, name)
    except AttributeError as error:
        raise ValueError(str(error)) from None
    found.argtypes, found.restype = arguments, result
    return found


def keeping_the_gil(function: Any) -> Callable[..., Any]:
    """Return a C function that is called without releasing Python's global lock.

    For functions that return at once: releasing and taking the lock costs more than the call, and
    lets another thread run in between.

    Args:
        function: function of a `ctypes.CDLL` with ``argtypes`` and ``restype`` set.
    """
    return ctypes.PYFUNCTYPE(function.restype, *function.argtypes)(address_of(function))


def release_pages(start: int, size: int) -> None:
    """Give pages of anonymous memory back to the system; they read as zeros afterwards.

    Raises:
        OSError: the system refuses.
    """
    dont_need = 4  # MADV_DONTNEED
    if _libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), dont_need):
        raise OSError(ctypes.get_errno(), "madvise")


def _mappings() -> Iterator[tuple[int, int, str, str]]:
    """Start, end, rights and inode of each mapping of this process, in order of address."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, _, _, inode, *_ = line.split()
        low, high = span.split("-")
        yield int(low, 16), int(high, 16), rights, inode


def is_anonymous(start: int, size: int) -> bool:
    """Return whether all of a span is private writable memory that no file backs."""
    for low, high, rights, inode in _mappings():
        if low <= start < high:
            if rights[1] != "w" or rights[3] != "p" or inode != "0":
                return False
            start, size = high, size - (high - start)
            if size <= 0:
                return True
    return False


def whole_pages(start: int, size: int) -> tuple[int, int]:
    """Start and size of the whole pages in a span."""
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    return first, (start + size - first) // mmap.PAGESIZE * mmap.PAGESIZE


def _map_file(start: int, size: int, flags: int, file: int) -> bool:
    """Replace mapped memory by the first ``size`` bytes of a file."""
    _libc.mmap.restype = ctypes.c_void_p
    _libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    fixed = 0x10  # MAP_FIXED
    rights = mmap.PROT_READ | mmap.PROT_WRITE
    return bool(_libc.mmap(start, size, rights, flags | fixed, file, 0) == start)


class _DynamicInfo(ctypes.Structure):
    """``Dl_info`` of the C library."""

    _fields_ = (
        ("file_name", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol_name", ctypes.c_char_p),
        ("symbol_address", ctypes.c_void_p),
    )


class Imports:
    """Replace functions that one library image imports.

    An ELF library calls imported functions through slots in ordinary writable memory, unless it was
    linked with ``-z now``. Writing a slot changes the calls of this image only.

    Args:
        image: the loaded library.
        data: contents of the library file.

    Attributes:
        base: load address of the image.

    Raises:
        ValueError: the slots cannot be found.
    """

    def __init__(self, image: ctypes.CDLL, data: bytes) -> None:
        anchor = ctypes.c_void_p(require_symbol(image, "desmume_cycle"))
        info = _DynamicInfo()
        if not _libc.dladdr(anchor, ctypes.byref(info)):
            raise ValueError("the load address of the library is unknown")
        self.base = int(info.base or 0)
        self._slots = import_slots(data)
        self._alive: list[Any] = []  # callbacks must live as long as the image

    def replaceable(self, name: str) -> bool:
        """Return whether the library calls ``name`` through a writable slot."""
        slot = self._slots.get(name)
        return slot is not None and any(
            low <= self.base + slot < high and rights[1] == "w"
            for low, high, rights, _ in _mappings()
        )

    def redirect(self, name: str, address: int) -> None:
        """Let calls of ``name``, which must be `replaceable`, go to an address."""
        ctypes.c_uint64.from_address(self.base + self._slots[name]).value = address

    def replace(self, name: str, function: Any) -> bool:
        """Replace an import by a ctypes function; return False if it is not `replaceable`."""
        if not self.replaceable(name):
            return False
        self._alive.append(function)
        self.redirect(name, address_of(function))
        return True

    def replace_by_code(self, functions: Mapping[str, bytes]) -> bool:
        """Replace imports by machine code: all of them, or none and return False."""
        if not all(map(self.replaceable, functions)):
            return False
        try:
            page = CodePage(*functions.values())
        except OSError:
            return False
        self._alive.append(page)
        for name, address in zip(functions, page.addresses, strict=True):
            self.redirect(name, address)
        return True


def set_jit(image: ctypes.CDLL, build: Build, on: bool) -> bool:
    """Switch the recompiler on or off from the next reset on (opening a ROM resets).

    Returns:
        False if the switch holds neither 0 nor 1: the build differs from ``build`` then.
    """
    settings = symbol_address(image, "CommonSettings")
    if settings is None:
        return False
    switch = ctypes.c_uint8.from_address(settings + build.use_jit)
    if switch.value not in (0, 1):
        return False
    switch.value = int(on)
    return True


def mute(image: ctypes.CDLL) -> bool:
    """Select the dummy sound core, and return whether it is selected.

    Loading a savestate closes and opens the audio device otherwise, which takes 130 ms.
    """
    try:
        change = function(image, "_Z19SPU_ChangeSoundCoreii", (ctypes.c_int,) * 2, ctypes.c_int)
    except ValueError:
        return False
    change(0, 735 * 4)  # the buffer size of desmume_init()
    current = symbol_address(image, "SPU_currentCoreNum")
    return current is not None and ctypes.c_int.from_address(current).value == 0


def find_ram(image: ctypes.CDLL, build: Build | None) -> int | None:
    """Return the address of the console's main memory in this process, or None.

    Call with a ROM open, before its first frame. Without a known build, write a pattern through the
    public interface and search the first MiB of ``MMU`` for it; that structure contains main memory
    and is larger than 16 MiB in every build.
    """
    mmu = symbol_address(image, "MMU")
    if mmu is None:
        return None
    if build is not None:
        offsets = [build.ram]
    else:
        read, write = image.desmume_memory_read_long, image.desmume_memory_write_long
        probe, pattern = 0x1234, 0x6B61_7274
        before = read(RAM_START + probe)
        write(RAM_START + probe, pattern)
        words = memory(mmu, 1 << 20).view(np.uint32)
        offsets = (np.flatnonzero(words == pattern) * 4 - probe).tolist()
        write(RAM_START + probe, before)
    return next((mmu + at for at in offsets if at >= 0 and _is_ram(image, mmu + at)), None)


def _is_ram(image: ctypes.CDLL, address: int) -> bool:
    """Whether writes at ``address`` are read by the console's processor, and the other way round.

    Restores the memory that it tries.
    """
    read, write = image.desmume_memory_read_long, image.desmume_memory_write_long
    for k, offset in enumerate((0, 0x1234, 0xFFFFC, 0x200000, RAM_SIZE - 0x4000)):
        cell = ctypes.c_uint32.from_address(address + offset)
        before = cell.value
        try:
            if read(RAM_START + offset) != before:
                return False
            cell.value = 0xA5C3_0F69 + k
            if read(RAM_START + offset) != 0xA5C3_0F69 + k:
                return False
            write(RAM_START + offset, 0x5A3C_F096 + k)
            if cell.value != 0x5A3C_F096 + k:
                return False
        finally:
            cell.value = before
    return True


def rgb_converter(
    image: ctypes.CDLL, table: NDArray[np.uint8]
) -> Callable[[int, int, int], None] | None:
    """Return the library's conversion of 15-bit colours to RGB.

    Two to three times as fast as a lookup in NumPy, and it releases Python's lock.

    Args:
        image: the loaded library.
        table: uint8 (65536, 3), the RGB that each colour must become.

    Returns:
        A function of the address of uint16 colours, the address of the RGB bytes, and the number of
        colours. None if the library has no such function, or it gives other colours.
    """
    address, size = ctypes.c_void_p, ctypes.c_size_t
    name = "_Z32ColorspaceConvertBuffer555XTo888ILb0ELb1EEvPKtPhm"
    try:
        convert: Callable[[int, int, int], None]
        convert = function(image, name, (address, address, size), None)
    except ValueError:
        return None
    colours = np.arange(len(table), dtype=np.uint16)
    found = np.empty_like(table)
    convert(colours.ctypes.data, found.ctypes.data, len(colours))
    return convert if np.array_equal(found, table) else None


_FULL_BACKLIGHT: Final = 71.0
"""The emulator's sum over the lines of a frame with the backlight always on."""
_FULL_BRIGHTNESS: Final = int.from_bytes(struct.pack("<2f", 1.0, 1.0), "little")
"""`Build.brightness` of undimmed displays, as one word."""


class DrawingState:
    """State of the picture that the emulator's savestates leave out.

    It is the plan of which frames to draw next, and the backlight of each display so far in this
    frame. Without it, a loaded state is dark for a frame, and an image that is used again starts
    with the values of the console before.

    Args:
        image: a loaded library of a known build.
        build: its build.

    Raises:
        ValueError: a symbol is missing.
    """

    def __init__(self, image: ctypes.CDLL, build: Build) -> None:
        pointer, real = ctypes.c_void_p, ctypes.c_float
        self._get_backlight = function(
            image, "_ZNK10NDSDisplay26GetBacklightIntensityTotalEv", (pointer,), real
        )
        self._set_backlight = function(
            image, "_ZN10NDSDisplay26SetBacklightIntensityTotalEf", (pointer, real), None
        )
        self._gpu = ctypes.c_uint64.from_address(require_symbol(image, "GPU"))
        self._build = build
        self.find()
        offset, size = build.frame_skipper
        self._skipper = memory(require_symbol(image, "MMU") + offset, size)
        self._initial_skipper = self._skipper.copy()
        self._format = struct.Struct(f"<2fQ{size}s")

    def find(self) -> None:
        """Find the displays; call when the emulator's graphics unit was made again."""
        gpu, build = self._gpu.value, self._build
        self._displays = [
            ctypes.c_uint64.from_address(gpu + offset).value for offset in build.displays
        ]
        self._brightness = ctypes.c_uint64.from_address(gpu + build.brightness)

    def set_backlights(self, total: float) -> None:
        """Set the backlight of both displays so far in this frame; 71 is full."""
        for display in self._displays:
            self._set_backlight(display, total)

    def reset(self) -> None:
        """Turn the backlights fully on, and draw the next frame."""
        self.set_backlights(_FULL_BACKLIGHT)
        self.clear_dimming()
        self._skipper[:] = self._initial_skipper

    def clear_dimming(self) -> None:
        """Prevent the emulator from dimming the picture again each time it is read."""
        self._brightness.value = _FULL_BRIGHTNESS

    def save(self) -> bytes:
        """Return the state for `load`."""
        backlights = map(self._get_backlight, self._displays)
        return self._format.pack(*backlights, self._brightness.value, self._skipper.tobytes())

    def load(self, saved: bytes) -> None:
        """Restore what `save` returned; anything of another length is a `reset`."""
        if len(saved) != self._format.size:
            self.reset()
            return
        *backlights, self._brightness.value, skipper = self._format.unpack(saved)
        for display, total in zip(self._displays, backlights, strict=True):
            self._set_backlight(display, total)
        self._skipper[:] = np.frombuffer(skipper, np.uint8)


class SharedTables:
    """Colour tables of which all images of a process share one copy, that of the first image.

    Private mappings of one file in memory replace the tables of the other images, so a write would
    still copy the page first.

    Raises:
        OSError: the system has no files in memory.
    """

    def __init__(self) -> None:
        self._file = os.memfd_create("mkds-gym-tables")
        self._size = 0
        self._digest = b""

    def share(self, image: ctypes.CDLL, build: Build) -> bool:
        """Replace the tables of an image, after `desmume_init`, by the shared ones.

        Returns:
            False if they are not where they should be, or differ; nothing has changed then.
        """
        symbol, size = build.colour_tables
        first = symbol_address(image, symbol)
        if first is None:
            return False
        start, size = whole_pages(first, size)
        if not is_anonymous(start, size):
            return False
        content = memory(start, size).tobytes()
        digest = hashlib.blake2b(content).digest()
        if not self._size:
            with open(self._file, "wb", closefd=False) as stream:
                stream.write(content)
            self._size, self._digest = size, digest
        if (size, digest) != (self._size, self._digest):
            return False
        return _map_file(start, size, mmap.MAP_PRIVATE, self._file)


FOLD_SIZE: Final = 1 << 20
"""Bytes of memory that stand for all of `Build.always_zero` of an image."""


def fold_zeros(image: ctypes.CDLL, build: Build) -> bool:
    """Map all of `Build.always_zero` to the same `FOLD_SIZE` bytes of memory.

    This saves 26 MB per image, and the zeros that the emulator writes stay in the processor's
    cache.

    Returns:
        False if the memory does not consist of anonymous zeros; nothing has changed then.

    Raises:
        OSError: the system has no files in memory.
    """
    mmu = symbol_address(image, "MMU")
    if mmu is None:
        return False
    spans = [whole_pages(mmu + offset, size) for offset, size in build.always_zero]
    if any(not is_anonymous(*span) or memory(*span).any() for span in spans):
        return False
    zeros = os.memfd_create("mkds-gym-zeros")
    try:
        os.ftruncate(zeros, FOLD_SIZE)
        return all(
            _map_file(place, min(FOLD_SIZE, start + size - place), mmap.MAP_SHARED, zeros)
            for start, size in spans
            for place in range(start, start + size, FOLD_SIZE)
        )
    finally:
        os.close(zeros)


class _Vector(ctypes.Structure):
    """``std::vector<u8>`` of libstdc++."""

    _fields_ = (
        ("begin", ctypes.c_void_p),
        ("end", ctypes.c_void_p),
        ("capacity", ctypes.c_void_p),
    )


_malloc: Final = ctypes.CDLL(None).malloc
_malloc.argtypes, _malloc.restype = (ctypes.c_size_t,), ctypes.c_void_p
_free: Final = ctypes.CDLL(None).free
_free.argtypes, _free.restype = (ctypes.c_void_p,), None
_VECTOR_SIZE: Final = 33 << 20
"""Bytes of address space for a state of 11 MB. glibc maps blocks above 32 MiB and unmaps them when
they are freed; a smaller block may stay in the heap of a thread that has ended."""


class _OwnVector(_Vector):
    """An empty vector that the emulator fills; its memory is freed with this object."""

    def __init__(self) -> None:
        # On failure (None) the emulator allocates, with the same C library.
        room = _malloc(_VECTOR_SIZE)
        super().__init__(room, room, room and room + _VECTOR_SIZE)

    def __del__(self, free: Callable[[int], None] = _free) -> None:
        if self.begin:
            free(self.begin)


class _MemoryFile(ctypes.Structure):
    """``EMUFILE_MEMORY``, as its member functions use it."""

    _fields_ = (
        ("virtual_table", ctypes.c_void_p),
        ("failed", ctypes.c_bool),
        ("vector", ctypes.c_void_p),
        ("owns_vector", ctypes.c_bool),
        ("position", ctypes.c_int32),
        ("length", ctypes.c_int32),
    )


_threads = threading.local()


class MemoryStates:
    """Save and load savestates in memory.

    Args:
        image: a loaded library of a known build.

    Raises:
        ValueError: a symbol is missing.
    """

    def __init__(self, image: ctypes.CDLL) -> None:
        pointer, truth = ctypes.c_void_p, ctypes.c_bool
        self._save = function(image, "_Z14savestate_saveR7EMUFILEi", (pointer, ctypes.c_int), truth)
        self._load = function(image, "_Z14savestate_loadR7EMUFILE", (pointer,), truth)
        # A C++ virtual table begins with the offset to top and the type.
        self._table = require_symbol(image, "_ZTV14EMUFILE_MEMORY") + 16

    def save(self) -> memoryview | None:
        """Return the state, not compressed, or None on failure.

        The state lies in memory of this thread that the next call overwrites, and that is freed
        when the thread ends. Letting the emulator allocate and grow it would take longer than the
        rest.
        """
        vector: _OwnVector | None = getattr(_threads, "vector", None)
        if vector is None:
            vector = _threads.vector = _OwnVector()
        file = _MemoryFile(self._table, False, ctypes.addressof(vector), False, 0, 0)
        saved = self._save(ctypes.addressof(file), -1)  # -1: no compression
        if not saved or file.failed or file.length <= 0:
            return None
        return memory(vector.begin, file.length).data

    def load(self, state: bytes | memoryview) -> bool:
        """Load a state, which is only read; return whether the emulator accepted it."""
        buffer = np.frombuffer(state, np.uint8)
        start = buffer.ctypes.data
        end = start + len(state)
        vector = _Vector(start, end, end)
        file = _MemoryFile(self._table, False, ctypes.addressof(vector), False, 0, len(state))
        return bool(self._load(ctypes.addressof(file)))
