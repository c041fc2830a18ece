"""Loading a state by writing the emulator's large arrays ourselves, with compiled code kept.

The emulator's own way to load a state switches the console off and on, copies 11 MiB three times,
and has all code compiled again afterwards, which makes the next frames slow. `InstantStates` hands
it only what is small, with the switching left out, and writes the large arrays itself. Of the
compiled code only that in changed pages is forgotten.

Compiled code may be kept because it makes no difference any more whether code is compiled already:
the emulator interprets a block while it compiles it, which takes other cycles than the compiled
block does, so that the two processors meet at other moments. `LevelCompiler` has it compile first
and then run what was compiled. Both need a known build of the emulator (`Build`),
and are checked when they are set up; without them the slow ways are taken.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator import builds, state_file, trampolines
from mkds_gym.emulator.hardware import RAM_SIZE, RAM_START

_PAGE: Final = 4096
_LARGE: Final = 0x8000
"""Bytes from which on an array is written by us."""
_TABLES: Final = {4: "SF_MEM", 60: "SF_MMU", state_file.CHUNK_3D: "SF_GFX3D"}
"""Chunks that are tables of named arrays, some of them large, and the emulator's table of each."""
_ENTRY: Final = struct.Struct("<QIIQ")
"""An entry of such a table: name, element size, count, address."""
_MAX_BLOCK: Final = 100
"""Halfwords that no compiled block is longer than."""
FORGET_AFTER: Final = 20_000
"""Compiled blocks that are forgotten one by one before all are: their memory is only freed then."""
_DONT_NEED: Final = 4  # MADV_DONTNEED


class LevelCompiler:
    """Has the emulator run a block's compiled code the first time too.

    In two places a few instructions of ours go before the emulator's: the functions by which the
    compiler interprets each instruction do nothing when it is the compiler that calls them; and
    the compiler's caller goes on with what was compiled.

    Args:
        library: a loaded image of a known build.
        imports: of that image.
        build: what is known about it.

    Raises:
        ValueError: something is not where it should be; nothing has changed.
        OSError: the system refuses; nothing has changed.
    """

    def __init__(self, library: ctypes.CDLL, imports: builds.Imports, build: builds.Build) -> None:
        table_address = imports.base + build.interpreters
        start, end = (imports.base + place for place in build.compiler)
        table = builds.memory(table_address, 32).view(np.uint64)
        interpreters = table.tolist()
        compilers, runners = [], []
        for processor in (0, 1):
            names = (
                f"_Z15arm_jit_compileILi{processor}EEjv",
                f"_Z11armcpu_execILi{processor}ELb1EEjv",
            )
            compiler, runner = (builds.symbol_address(library, name) for name in names)
            if compiler is None or runner is None or not start <= compiler < end + 0x200:
                raise ValueError("the recompiler is not where it should be")
            if not imports.replaceable(names[0]):
                raise ValueError("the recompiler's entry cannot be replaced")
            compilers.append(compiler)
            runners.append(runner)
        low, high = imports.base, imports.base + 0x1000000
        if not all(low < address < high for address in interpreters):
            raise ValueError("the interpreter's functions are not where they should be")
        page = table_address // mmap.PAGESIZE * mmap.PAGESIZE
        if table_address + 32 > page + mmap.PAGESIZE:
            raise ValueError("the table of the interpreter's functions lies across pages")
        self._code = trampolines.CodePage(
            *(trampolines.unless_called_from(start, end, function) for function in interpreters),
            *map(trampolines.compile_and_run, compilers, runners),
        )
        trampolines.protect(page, mmap.PROT_READ | mmap.PROT_WRITE)
        table[:] = self._code.addresses[:4]
        trampolines.protect(page, mmap.PROT_READ)
        for processor, address in enumerate(self._code.addresses[4:]):
            imports.redirect(f"_Z15arm_jit_compileILi{processor}EEjv", address)


class CompiledCode:
    """Which memory code was compiled of, so that it can be forgotten where the memory changes.

    Args:
        library: a loaded image of a known build.
        build: what is known about it.

    Raises:
        ValueError: something is not where it should be.
    """

    _VRAM_TABLES: Final = ((0x4040000, 0x290000), (0x4380000, 0x100000))

    def __init__(self, library: ctypes.CDLL, build: builds.Build) -> None:
        jit = builds.symbol_address(library, "JIT")
        if jit is None:
            raise ValueError("no table JIT")
        sizes = {b"WRAM": RAM_SIZE, b"MSWI": 0x8000, b"ITCM": 0x8000}
        self._tables = {
            # A pointer for each halfword.
            name: builds.memory(jit + offset, sizes.get(name, 0x10000) * 4).view(np.uint64)
            for name, offset in build.compiled.items()
        }
        self._vram_tables = [(jit + offset, size) for offset, size in self._VRAM_TABLES]
        start, size = build.jit_tables[1]
        self._counts = (jit + start, size)
        # Half a byte of counts for 16 bytes of code; main memory shows four times in its span.
        first = jit + start + RAM_START // 32
        counts = builds.memory(first, 4 * RAM_SIZE // 32)
        self._main_counts = counts.view(np.uint64).reshape(4, -1)
        self._advise = ctypes.CDLL(None, use_errno=True).madvise
        self._advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        self.forget_all()

    def forget_all(self) -> None:
        """To be called when all compiled code was forgotten in another way."""
        self._pages: NDArray[np.bool_] = np.zeros(RAM_SIZE // _PAGE, bool)
        self.forgotten = 0

    def level(self) -> None:
        """Let every address be compiled as often again as the first time.

        The emulator gives up compiling what it had to compile nine times, and interprets it. From
        here on it does as if nothing had been compiled yet.
        """
        seen = np.bitwise_or.reduce(self._main_counts, axis=0)
        self._pages |= seen.reshape(len(self._pages), -1).any(axis=1)
        self._drop(*self._counts)

    def _drop(self, start: int, size: int) -> None:
        """Make a span of a table zero, by giving its memory back to the system."""
        if self._advise(start, size, _DONT_NEED):
            raise OSError(ctypes.get_errno(), "madvise")

    def before_change(self, name: bytes, live: NDArray[np.uint8], new: NDArray[np.uint8]) -> None:
        """Forget the code in those pages of a memory that are to become something else."""
        table = self._tables.get(name)
        if table is None:
            if name == b"LCDM":
                for span in self._vram_tables:
                    self._drop(*span)
            return
        main = name == b"WRAM"
        pages = np.flatnonzero(self._pages) if main else np.arange(len(live) // _PAGE)
        old, to_be = (memory.reshape(-1, _PAGE)[pages].view(np.uint64) for memory in (live, new))
        for page in pages[(old != to_be).any(axis=1)].tolist():
            start = page * _PAGE
            # With the blocks that begin before the page and end in it.
            entries = table[max(start // 2 - _MAX_BLOCK, 0) : (start + _PAGE) // 2]
            self.forgotten += int(np.count_nonzero(entries))
            entries[:] = 0
            if main:
                self._pages[page] = False


@dataclass(frozen=True)
class _Array:
    """A large array of the emulator.

    Attributes:
        name: the four bytes that states know it by.
        live: the emulator's memory, uint8.
        zero: it is always zero (`Build.always_zero`): there is nothing to write.
    """

    name: bytes
    live: NDArray[np.uint8]
    zero: bool


class InstantStates:
    """Loads states of the ROM that is running.

    Args:
        library: a loaded image of a known build.
        imports: of that image.
        build: what is known about it.
        states: the emulator's own way.

    Raises:
        ValueError: something is not where it should be.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        imports: builds.Imports,
        build: builds.Build,
        states: builds.MemoryStates,
    ) -> None:
        memories = builds.symbol_address(library, "MMU") or 0
        zeros = [(memories + offset, size) for offset, size in build.always_zero]
        self._states = states
        self._imports = imports
        self._reset = builds.symbol_address(library, "_Z9NDS_Resetv") or 0
        nothing = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p).value
        if not self._reset or not nothing or not imports.replaceable("_Z9NDS_Resetv"):
            raise ValueError("no function NDS_Reset")
        self._nothing = nothing
        self._arrays: dict[int, dict[bytes, _Array]] = {}
        for chunk, symbol in _TABLES.items():
            table = builds.symbol_address(library, symbol)
            if table is None:
                raise ValueError(f"no table {symbol}")
            self._arrays[chunk] = _read_table(table, zeros)
        arrays = {array.name: array for table in self._arrays.values() for array in table.values()}
        if not {b"WRAM", b"GFPM"} <= arrays.keys():
            raise ValueError("the tables of arrays are not as they should be")

    def load(self, state: bytes | memoryview, code: CompiledCode | None) -> bool:
        """Load a state that `turbo.MemoryStates.save` has made of the ROM that is running.

        Args:
            state: not compressed, with its structure checked.
            code: what is compiled, to be forgotten where the state changes it.

        Returns:
            Whether the emulator took it.
        """
        small: list[bytes | memoryview] = [b""]
        whole = np.frombuffer(state, np.uint8)
        if code is not None:
            code.level()
        for start, end, arrays in self._chunks(state):
            if not arrays:
                small.append(state[start:end])
                continue
            kept: list[bytes | memoryview] = [b""]
            place = start + 8
            for at, array in arrays:
                kept.append(state[place : at - 12])
                place = at + len(array.live)
                if array.zero:
                    continue
                if code is not None:
                    code.before_change(array.name, array.live, whole[at:place])
                array.live[:] = whole[at:place]
            kept.append(state[place:end])
            kept[0] = bytes(state[start : start + 4]) + struct.pack("<I", sum(map(len, kept)))
            small.extend(kept)
        magic, version, emulator, _, packed = state_file.DESMUME_HEADER.unpack_from(state)
        size = state_file.DESMUME_HEADER.size + sum(map(len, small))
        small[0] = state_file.DESMUME_HEADER.pack(magic, version, emulator, size, packed)
        self._imports.redirect("_Z9NDS_Resetv", self._nothing)
        try:
            return self._states.load(b"".join(small))
        finally:
            self._imports.redirect("_Z9NDS_Resetv", self._reset)

    def _chunks(
        self, state: bytes | memoryview
    ) -> Iterator[tuple[int, int, list[tuple[int, _Array]]]]:
        """Start and end of each chunk, and the large arrays in it with where their bytes are."""
        for number, start, end in state_file.chunks(state):
            table = self._arrays.get(number)
            arrays: list[tuple[int, _Array]] = []
            if table is not None:
                for name, at, last in state_file.entries(state, start, end):
                    array = table.get(name)
                    if array is not None and len(array.live) == last - at:
                        arrays.append((at, array))
            yield start, end, arrays


def _read_table(address: int, zeros: list[tuple[int, int]]) -> dict[bytes, _Array]:
    """The large arrays of one of the emulator's tables, ended by an entry without a name.

    Args:
        address: of the table.
        zeros: address and size of what is always zero.
    """
    arrays: dict[bytes, _Array] = {}
    while True:
        entry = builds.memory(address, _ENTRY.size).tobytes()
        name_address, element, count, place = _ENTRY.unpack(entry)
        if not name_address or not place:
            return arrays
        size = element * count
        if size >= _LARGE:
            name = ctypes.string_at(name_address, 4)
            zero = any(low <= place and place + size <= low + length for low, length in zeros)
            arrays[name] = _Array(name, builds.memory(place, size), zero)
        address += _ENTRY.size
