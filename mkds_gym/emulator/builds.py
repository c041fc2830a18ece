"""The fast path: everything that is reached by symbol in ``libdesmume.so``.

The public C interface of the library (``desmume_*``) can do all that `console` needs,
slowly. What is here goes behind it. Two kinds of knowledge are used:

- what any ELF library tells about itself (names of symbols, slots of imported functions): used
  with every build;
- offsets and class layouts found in the machine code of one build: used only when the hash of the
  library file is in `KNOWN_BUILDS`.

Every function either does its job and has checked that it is done, or returns False (None) and
leaves all as it was; `mkds_gym.emulator.library` then takes the documented slow way and logs it.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import mmap
import os
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.hardware import RAM_SIZE, RAM_START
from mkds_gym.emulator.trampolines import CodePage

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Build:
    """What is known about one build of the library.

    Attributes:
        name: for messages.
        use_jit: offset in ``CommonSettings`` of the byte that switches the recompiler on at the
            next reset. `NDS_Reset` loads it right before it calls `arm_jit_reset`.
        ram: offset of main memory in ``MMU``.
        jit_tables: offset from ``JIT`` and size of each table of the recompiler: compiled code by
            address, and how often each address was compiled. All zero after `arm_jit_reset`.
        compiled: offset from ``JIT`` of the compiled code of each memory that states name: a
            pointer for each halfword.
        interpreters: offset in the library of the table of the functions that interpret an
            instruction of each processor, in each of two instruction sets.
        compiler: offsets of the start and the end of the functions that compile a block.
        frame_skipper: offset from ``MMU`` and size of what the emulator has in mind to draw in the
            next frames, which its savestates leave out. Plain numbers.
        displays: offsets in the object ``GPU`` of the pointers to its two displays.
        brightness: offset there of how bright each display was lately, two floats.
        colour_tables: the first symbol, and the size together, of the tables of colours that
            `desmume_init` computes (``PixelOperation``, one after the other): the same in every
            image, and only read from then on.
        always_zero: offset from ``MMU`` and size of what no program of a DS writes to: main memory
            beyond its 4 MiB (the emulator has room for other consoles' 16), and the addresses of
            registers beyond the last one of the ARM9 (0x04100013). It is overwritten with zeros
            at each reset and load.
    """

    name: str
    use_jit: int
    ram: int
    jit_tables: tuple[tuple[int, int], ...]
    compiled: Mapping[bytes, int]
    interpreters: int
    compiler: tuple[int, int]
    frame_skipper: tuple[int, int]
    displays: tuple[int, int]
    brightness: int
    colour_tables: tuple[str, int]
    always_zero: tuple[tuple[int, int], ...]


KNOWN_BUILDS: Final = {
    "ff3373f06116d7865856e6d3fd1be4d1036f43f9bf8fee300e7ef11f0b95d2ac": Build(
        name="py-desmume 0.0.9, Linux x86-64",
        use_jit=0x40E5,
        ram=0xC000,
        jit_tables=((0, 0x4480000), (0x6481000, 0x400000)),
        compiled={
            b"WRAM": 0,
            b"MSWI": 0x4000000,
            b"ITCM": 0x4020000,
            b"M7ER": 0x4300000,
            b"M7WI": 0x4340000,
        },
        interpreters=0x676760,
        compiler=(0x58E300, 0x58FB90),
        frame_skipper=(0x216B740, 16),
        displays=(0x20, 0x28),
        brightness=0x3C3C,
        colour_tables=("_ZN14PixelOperation22BrightnessDownTable888E", 0xAE8400),
        always_zero=((0xC000 + RAM_SIZE, 0xC00000), (0x100C000 + 0x200000, 0xE00000)),
    ),
}
"""Known builds by the SHA-256 of the library file."""


def build_id(library: Path) -> str:
    """SHA-256 of the library file, in hexadecimal digits."""
    return hashlib.sha256(library.read_bytes()).hexdigest()


def import_slots(data: bytes) -> dict[str, int]:
    """Where a library keeps the addresses of the functions it imports.

    Args:
        data: contents of a 64-bit little-endian ELF library (System V gABI, x86-64 psABI).

    Returns:
        Address of the slot of each imported function, relative to where the library is loaded.

    Raises:
        ValueError: not such a file.
    """
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    (program_headers,) = struct.unpack_from("<Q", data, 0x20)
    entry_size, count = struct.unpack_from("<2H", data, 0x36)
    segments: list[tuple[int, int, int]] = []
    dynamic = b""
    for i in range(count):
        kind, _, offset, address, _, size, _, _ = struct.unpack_from(
            "<2I6Q", data, program_headers + i * entry_size
        )
        if kind == 1:  # PT_LOAD
            segments.append((address, offset, size))
        elif kind == 2:  # PT_DYNAMIC
            dynamic = data[offset : offset + size]

    def place(address: int) -> int:
        for start, offset, size in segments:
            if start <= address < start + size:
                return address - start + offset
        raise ValueError(f"address {address:#x} is in no segment")

    tags = dict(struct.iter_unpack("<2Q", dynamic[: len(dynamic) // 16 * 16]))
    try:
        strings, symbols = place(tags[5]), place(tags[6])  # DT_STRTAB, DT_SYMTAB
        relocations, size = place(tags[23]), tags[2]  # DT_JMPREL, DT_PLTRELSZ
    except KeyError as error:
        raise ValueError(f"no dynamic table entry {error}") from None
    slots: dict[str, int] = {}
    for slot, info, _ in struct.iter_unpack("<3Q", data[relocations : relocations + size]):
        if info & 0xFFFFFFFF == 7:  # R_X86_64_JUMP_SLOT
            (name,) = struct.unpack_from("<I", data, symbols + 24 * (info >> 32))
            end = data.index(b"\0", strings + name)
            slots[data[strings + name : end].decode("ascii")] = slot
    return slots


class _DynamicInfo(ctypes.Structure):
    """``Dl_info`` of the C library."""

    _fields_ = (
        ("file_name", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol_name", ctypes.c_char_p),
        ("symbol_address", ctypes.c_void_p),
    )


def memory(address: int, size: int) -> NDArray[np.uint8]:
    """The ``size`` bytes of this process's memory at ``address``: live and writable."""
    buffer: Any = (ctypes.c_uint8 * size).from_address(address)
    return np.frombuffer(buffer, np.uint8)


def symbol_address(library: ctypes.CDLL, name: str) -> int | None:
    """Address of a variable or function of the loaded library, or None."""
    try:
        return ctypes.addressof(ctypes.c_uint8.in_dll(library, name))
    except ValueError:
        return None


def held(function: Any) -> Callable[..., Any]:
    """The same function of a library, called without letting go of Python's lock.

    For what returns at once: letting go and taking it back takes longer than the call, and another
    thread that waits for the lock gets it in between.

    Args:
        function: of a `ctypes.CDLL`, its ``argtypes`` and ``restype`` set.
    """
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return ctypes.PYFUNCTYPE(function.restype, *function.argtypes)(address)


class Imports:
    """Functions of ours in the place of functions that one library image imports.

    The slots through which an ELF library calls imported functions are ordinary writable memory
    (unless the library was linked with ``-z now``). Changing one changes the calls of this image
    alone: nothing else in the process notices.

    Args:
        library: the loaded image.
        data: contents of the library file.

    Attributes:
        base: where the image is loaded.

    Raises:
        ValueError: the slots cannot be found, or are not where they should be.
    """

    def __init__(self, library: ctypes.CDLL, data: bytes) -> None:
        anchor = symbol_address(library, "desmume_cycle")
        info = _DynamicInfo()
        if anchor is None or not ctypes.CDLL(None).dladdr(
            ctypes.c_void_p(anchor), ctypes.byref(info)
        ):
            raise ValueError("cannot tell where the library is loaded")
        self.base = int(info.base or 0)
        self._slots = import_slots(data)
        self._kept: list[Any] = []  # callbacks must live as long as the image

    def replace(self, name: str, function: Any) -> bool:
        """Put ``function`` (a ctypes function) in the place of the import ``name``.

        Returns:
            False if the library does not import it, or its slot cannot be written.
        """
        slot = self._slots.get(name)
        if slot is None or not _writable(self.base + slot):
            return False
        self._kept.append(function)
        self.redirect(name, ctypes.cast(function, ctypes.c_void_p).value or 0)
        return True

    def replace_by_code(self, functions: Mapping[str, bytes]) -> bool:
        """Put machine code in the place of imports: of all that are given, or of none.

        Returns:
            False if one is not imported, or cannot be replaced, or the system refuses.
        """
        if not all(map(self.replaceable, functions)):
            return False
        try:
            page = CodePage(*functions.values())
        except OSError:
            return False
        self._kept.append(page)
        for name, address in zip(functions, page.addresses, strict=True):
            self.redirect(name, address)
        return True

    def redirect(self, name: str, address: int) -> None:
        """Have calls of ``name`` go to an address; `replaceable` says whether that is possible."""
        ctypes.c_uint64.from_address(self.base + self._slots[name]).value = address

    def replaceable(self, name: str) -> bool:
        """Whether the library calls ``name`` through a slot that can be written."""
        slot = self._slots.get(name)
        return slot is not None and _writable(self.base + slot)


def _writable(address: int) -> bool:
    """Whether the process may write at an address."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, *_ = line.split()
        low, high = (int(part, 16) for part in span.split("-"))
        if low <= address < high:
            return rights[1] == "w"
    return False


def set_jit(library: ctypes.CDLL, build: Build, on: bool) -> bool:
    """Switch the recompiler on or off from the next reset on (opening a ROM resets).

    Returns:
        Whether the switch was found where it should be: it is a C++ bool, so any value but 0 or 1
        means that this is another build after all.
    """
    settings = symbol_address(library, "CommonSettings")
    if settings is None:
        return False
    switch = ctypes.c_uint8.from_address(settings + build.use_jit)
    if switch.value not in (0, 1):
        return False
    switch.value = int(on)
    return True


_FULL_LIGHT: Final = 71.0
"""What the emulator adds up to in a frame whose lights are full all the time."""
_UNCHANGED: Final = int.from_bytes(struct.pack("<2f", 1.0, 1.0), "little")
"""`Build.brightness` that makes nothing darker."""


class Drawing:
    """What the emulator has in mind of pictures, and its savestates leave out.

    Which of the next frames are to be drawn, and how bright the lights behind the screens have
    been so far in this frame, which a loaded state has dark for a frame otherwise. An image that
    was used before has that of the console before, too.

    Args:
        library: a loaded image of a known build.
        build: what is known about it.

    Raises:
        ValueError: something is not where it should be.
    """

    def __init__(self, library: ctypes.CDLL, build: Build) -> None:
        mmu, gpu = symbol_address(library, "MMU"), symbol_address(library, "GPU")
        try:
            self._get = library["_ZNK10NDSDisplay26GetBacklightIntensityTotalEv"]
            self._set = library["_ZN10NDSDisplay26SetBacklightIntensityTotalEf"]
        except AttributeError as error:
            raise ValueError(str(error)) from None
        if mmu is None or gpu is None:
            raise ValueError("no structure MMU or GPU")
        self._get.argtypes, self._get.restype = (ctypes.c_void_p,), ctypes.c_float
        self._set.argtypes, self._set.restype = (ctypes.c_void_p, ctypes.c_float), None
        graphics = ctypes.c_uint64.from_address(gpu).value
        self._displays = [
            ctypes.c_uint64.from_address(graphics + offset).value for offset in build.displays
        ]
        self._skipper = memory(mmu + build.frame_skipper[0], build.frame_skipper[1])
        self._brightness = memory(graphics + build.brightness, 8)
        self._brightness_word = ctypes.c_uint64.from_address(graphics + build.brightness)
        self._skipper_at_first = self._skipper.copy()
        self._size = len(self._skipper) + 16

    def begin(self) -> None:
        """Nothing of frames before is in mind: the lights are full, and the next is drawn."""
        for display in self._displays:
            self._set(display, _FULL_LIGHT)
        self.picture_lit()
        self._skipper[:] = self._skipper_at_first

    def picture_lit(self) -> None:
        """The picture was given out as bright as its lights were; the next call leaves it so.

        The emulator darkens its own copy, each time anew.
        """
        self._brightness_word.value = _UNCHANGED

    def save(self) -> bytes:
        """All of it."""
        lights = struct.pack("<2f", *(self._get(display) for display in self._displays))
        return lights + self._brightness.tobytes() + self._skipper.tobytes()

    def load(self, saved: bytes) -> None:
        """Go back to it; what is not of `save` is as `begin` has it."""
        if len(saved) != self._size:
            self.begin()
            return
        for display, light in zip(self._displays, struct.unpack_from("<2f", saved), strict=True):
            self._set(display, light)
        self._brightness[:] = np.frombuffer(saved, np.uint8, 8, 8)
        self._skipper[:] = np.frombuffer(saved, np.uint8, -1, 16)


def mute(library: ctypes.CDLL) -> bool:
    """Select the dummy sound core.

    Besides the time for mixing, this saves 130 ms per loaded savestate, which the closing and
    opening of an audio device take otherwise.

    Returns:
        Whether the dummy core (number 0) is selected now.
    """
    if symbol_address(library, "_Z19SPU_ChangeSoundCoreii") is None:
        return False
    change = library["_Z19SPU_ChangeSoundCoreii"]
    change.argtypes, change.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    change(0, 735 * 4)  # the buffer size that desmume_init() uses
    current = symbol_address(library, "SPU_currentCoreNum")
    return current is not None and ctypes.c_int.from_address(current).value == 0


def find_ram(library: ctypes.CDLL, build: Build | None) -> int | None:
    """Address of the console's main memory (RAM_SIZE bytes) in this process.

    To be called with a ROM open and before its first frame. With an unknown build the memory is
    looked for: a pattern is written through the public interface and searched in the first MiB of
    the ``MMU`` structure, which is larger than 16 MiB in every build, as it holds main memory.

    Returns:
        None if it is not found or does not behave as main memory.
    """
    mmu = symbol_address(library, "MMU")
    if mmu is None:
        return None
    if build is not None:
        address = mmu + build.ram
        return address if _is_ram(library, address) else None
    read, write = library.desmume_memory_read_long, library.desmume_memory_write_long
    probe = RAM_START + 0x1234
    pattern = 0x6B61_7274
    before = read(probe)
    write(probe, pattern)
    window = memory(mmu, 0x100000).view(np.uint32)
    found = (np.flatnonzero(window == pattern) * 4 - 0x1234).tolist()
    write(probe, before)
    for offset in found:
        if offset >= 0 and _is_ram(library, mmu + offset):
            return int(mmu + offset)
    return None


def _is_ram(library: ctypes.CDLL, address: int) -> bool:
    """Whether what is written at ``address`` is read by the console's processor, and back.

    Tried at several places; what was there is put back.
    """
    read, write = library.desmume_memory_read_long, library.desmume_memory_write_long
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


class Recompiler:
    """The recompiler's tables, emptied without looking at all of their 72 MiB.

    `arm_jit_reset` scans and clears the tables, which takes 7 ms and makes all of their memory
    resident. Giving their pages back to the system does the same: they read as zero again.

    Args:
        library: a loaded image of a known build.
        build: what is known about it.

    Raises:
        ValueError: something is not where it should be.
    """

    _DONT_NEED: Final = 4  # MADV_DONTNEED

    def __init__(self, library: ctypes.CDLL, build: Build) -> None:
        jit = symbol_address(library, "JIT")
        try:
            manager = library["_ZN6AsmJit13MemoryManager9getGlobalEv"]
            free_all = library["_ZN6AsmJit20VirtualMemoryManager7freeAllEv"]
        except AttributeError as error:
            raise ValueError(str(error)) from None
        if jit is None or jit % mmap.PAGESIZE:
            raise ValueError("no table JIT")
        manager.restype = ctypes.c_void_p
        free_all.argtypes = (ctypes.c_void_p,)
        free_all.restype = None
        advise = ctypes.CDLL(None, use_errno=True).madvise
        advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        self._manager, self._free_all, self._advise = manager, free_all, advise
        self._tables = [(jit + offset, size) for offset, size in build.jit_tables]
        for start, size in self._tables:
            if not _anonymous(start, size):
                raise ValueError("the table JIT is not plain memory")

    def forget(self) -> None:
        """Forget all compiled code, as `arm_jit_reset` does.

        Raises:
            OSError: the system refuses; the tables are as they were.
        """
        for start, size in self._tables:
            if self._advise(start, size, self._DONT_NEED):
                raise OSError(ctypes.get_errno(), "madvise")
        self._free_all(self._manager())


def _anonymous(start: int, size: int) -> bool:
    """Whether a span of memory is private, writable, and backed by no file."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, _, _, inode, *_ = line.split()
        low, high = (int(part, 16) for part in span.split("-"))
        if low <= start < high:
            if rights[1] != "w" or rights[3] != "p" or inode != "0":
                return False
            start, size = high, size - (high - start)
            if size <= 0:
                return True
    return False


def rgb_converter(
    library: ctypes.CDLL, table: NDArray[np.uint8]
) -> Callable[[int, int, int], None] | None:
    """The library's own way from 15-bit colours to RGB.

    Two to three times as fast as a lookup in NumPy, and without Python's lock.

    Args:
        library: a loaded image.
        table: (65536, 3) uint8, what each colour must become.

    Returns:
        A function of the address of uint16 colours, that of three times as many bytes for the RGB,
        and the number of colours; None if the library has none, or it gives other colours.
    """
    name = "_Z32ColorspaceConvertBuffer555XTo888ILb0ELb1EEvPKtPhm"
    if symbol_address(library, name) is None:
        return None
    convert: Callable[[int, int, int], None] = library[name]
    convert.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)  # type: ignore[attr-defined]
    convert.restype = None  # type: ignore[attr-defined]
    colours = np.arange(len(table), dtype=np.uint16)
    found = np.empty_like(table)
    convert(colours.ctypes.data, found.ctypes.data, len(colours))
    return convert if np.array_equal(found, table) else None


class SharedTables:
    """Tables of which all images of a process have one copy: the first one's.

    The pages of the other images are replaced by private ones of a file in memory. Private means
    that whoever wrote into them would get pages of its own, as before.

    Raises:
        OSError: there are no files in memory here.
    """

    def __init__(self) -> None:
        self._file = os.memfd_create("mkds-gym-tables")
        self._size = 0
        self._digest = b""

    def share(self, library: ctypes.CDLL, build: Build) -> bool:
        """Give the tables of an image up for the common ones; they must be computed already.

        Returns:
            False if they are not where they should be, or differ: all is as it was.
        """
        symbol, size = build.colour_tables
        first = symbol_address(library, symbol)
        if first is None:
            return False
        start = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
        size = (first + size - start) // mmap.PAGESIZE * mmap.PAGESIZE
        if not _anonymous(start, size):
            return False
        content = memory(start, size).tobytes()
        digest = hashlib.blake2b(content).digest()
        if not self._size:
            with open(self._file, "wb", closefd=False) as stream:
                stream.write(content)
            self._size, self._digest = size, digest
        if (size, digest) != (self._size, self._digest):
            return False
        return _map(start, size, mmap.MAP_PRIVATE, self._file)


_FOLD: Final = 1 << 20
"""Bytes of memory that stand for all of `Build.always_zero` of an image."""


def fold_zeros(library: ctypes.CDLL, build: Build) -> bool:
    """Let all of `Build.always_zero` be the same `_FOLD` bytes of memory, again and again.

    That takes 26 MB less for each image, and the emulator's zeros go into the processor's cache.

    Returns:
        False if it is not plain memory with zeros in it: all is as it was.

    Raises:
        OSError: there are no files in memory here.
    """
    mmu = symbol_address(library, "MMU")
    if mmu is None:
        return False
    ranges = []
    for offset, size in build.always_zero:
        start = -(-(mmu + offset) // mmap.PAGESIZE) * mmap.PAGESIZE
        size = (mmu + offset + size - start) // mmap.PAGESIZE * mmap.PAGESIZE
        if not _anonymous(start, size) or memory(start, size).any():
            return False
        ranges.append((start, size))
    zeros = os.memfd_create("mkds-gym-zeros")
    try:
        os.ftruncate(zeros, _FOLD)
        for start, size in ranges:
            for place in range(start, start + size, _FOLD):
                if not _map(place, min(_FOLD, start + size - place), mmap.MAP_SHARED, zeros):
                    return False  # the rest is as it was, and no worse
    finally:
        os.close(zeros)
    return True


def _map(start: int, size: int, how: int, file: int) -> bool:
    """Put the beginning of a file in the place of memory that is mapped already."""
    place = ctypes.CDLL(None).mmap
    place.restype = ctypes.c_void_p
    place.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    fixed = 0x10  # MAP_FIXED
    rights = mmap.PROT_READ | mmap.PROT_WRITE
    return bool(place(start, size, rights, how | fixed, file, 0) == start)


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
_ROOM: Final = 33 << 20
"""Bytes for a state of 11 MB. It is address space only, until it is written to. glibc maps what is
larger than 32 MiB, and unmaps it when it is freed; what is smaller may stay in the heap of a thread
that has ended, where nothing gives it back to the system."""


class _OwnVector(_Vector):
    """An empty vector that the emulator fills, freed with this object."""

    def __init__(self) -> None:
        room = _malloc(_ROOM)
        # Without room (None) or with too little, the emulator allocates, by means that all
        # images share.
        super().__init__(room, room, room and room + _ROOM)

    def __del__(self, free: Callable[[int], None] = _free) -> None:
        # The C library's: what all images allocate comes from there.
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
    """Savestates to and from memory.

    Args:
        library: a loaded image of a known build.

    Raises:
        ValueError: a symbol is missing.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        table = symbol_address(library, "_ZTV14EMUFILE_MEMORY")
        try:
            self._save = library["_Z14savestate_saveR7EMUFILEi"]
            self._load = library["_Z14savestate_loadR7EMUFILE"]
        except AttributeError as error:
            raise ValueError(str(error)) from None
        if table is None:
            raise ValueError("no class EMUFILE_MEMORY")
        self._table = table + 16  # past the offset to top and the type
        self._save.argtypes, self._save.restype = (ctypes.c_void_p, ctypes.c_int), ctypes.c_bool
        self._load.argtypes, self._load.restype = (ctypes.c_void_p,), ctypes.c_bool

    def save(self) -> memoryview | None:
        """The state, not compressed, or None on failure.

        It lies in memory of this thread that the next call writes over, and that is freed when the
        thread ends: to have the emulator allocate and grow it each time would take longer than all
        the rest.
        """
        vector: _OwnVector | None = getattr(_threads, "vector", None)
        if vector is None:
            vector = _threads.vector = _OwnVector()
        file = _MemoryFile(self._table, False, ctypes.addressof(vector), False, 0, 0)
        saved = self._save(ctypes.addressof(file), -1)  # -1: the emulator's "no compression"
        if not saved or file.failed or file.length <= 0:
            return None
        return memory(vector.begin, file.length).data

    def load(self, state: bytes | memoryview) -> bool:
        """Load a state; whether the emulator took it. The bytes are only read."""
        buffer = np.frombuffer(state, np.uint8)
        start = buffer.ctypes.data
        end = start + len(state)
        vector = _Vector(start, end, end)
        file = _MemoryFile(self._table, False, ctypes.addressof(vector), False, 0, len(state))
        return bool(self._load(ctypes.addressof(file)))
