"""Restore a snapshot by writing the emulator's large arrays directly, and keep compiled code.

The emulator's own load resets the console, copies 11 MiB three times, and forgets all compiled
code, which slows the next frames. `FastRestore` passes only the small parts of a state to the
emulator, without the reset, and writes the large arrays itself. `CompiledCode` forgets the code
compiled from pages that change, and keeps the rest.

Keeping compiled code is exact only if it does not matter whether code is compiled yet. The emulator
interprets a block while it compiles it, which takes other cycles than running the compiled block,
so the two processors would meet at other moments. `compile_before_running` removes that difference.

All of this needs a known build, and raises `ValueError` when something is not where it should be.
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

from mkds_gym.emulator.desmume import internals, trampolines
from mkds_gym.emulator.desmume.builds import Build
from mkds_gym.emulator.hardware import RAM_SIZE, RAM_START
from mkds_gym.emulator.states.snapshot import CHUNK_3D, DESMUME_HEADER, chunks, entries

_PAGE: Final = 4096
_LARGE: Final = 0x8000
"""Smallest array, in bytes, that we write ourselves."""
_TABLES: Final = {4: "SF_MEM", 60: "SF_MMU", CHUNK_3D: "SF_GFX3D"}
"""Chunks that are tables of arrays, and the symbol of the emulator's description of each."""
_ENTRY: Final = struct.Struct("<QIIQ")
"""An entry of such a description: address of the name, element size, count, address."""
_MAX_BLOCK: Final = 100
"""Longest compiled block, in halfwords."""
_FORGET_LIMIT: Final = 20_000
"""Compiled blocks forgotten one by one before all are forgotten, which frees their memory."""


def compile_before_running(
    image: ctypes.CDLL, imports: internals.Imports, build: Build
) -> trampolines.CodePage:
    """Make the emulator run a block's compiled code the first time too.

    The functions with which the compiler interprets each instruction do nothing when the compiler
    calls them, and the caller of the compiler then runs the compiled code.

    Args:
        image: a loaded library of a known build.
        imports: imports of that image.
        build: its build.

    Returns:
        The machine code; keep it as long as the image.

    Raises:
        ValueError: something is not where it should be; nothing has changed.
        OSError: the system refuses; nothing has changed.
    """
    table_address = imports.base + build.interpreters
    start, end = (imports.base + offset for offset in build.compiler)
    table = internals.memory(table_address, 32).view(np.uint64)
    interpreters = table.tolist()
    names = [f"_Z15arm_jit_compileILi{processor}EEjv" for processor in (0, 1)]
    compilers = [internals.require_symbol(image, name) for name in names]
    runners = [
        internals.require_symbol(image, f"_Z11armcpu_execILi{processor}ELb1EEjv")
        for processor in (0, 1)
    ]
    if not all(start <= compiler < end + 0x200 for compiler in compilers):
        raise ValueError("the recompiler is not where it should be")
    if not all(map(imports.replaceable, names)):
        raise ValueError("the recompiler's entry cannot be replaced")
    if not all(imports.base < address < imports.base + (1 << 24) for address in interpreters):
        raise ValueError("the interpreter's functions are not where they should be")
    page = table_address // mmap.PAGESIZE * mmap.PAGESIZE
    if table_address + 32 > page + mmap.PAGESIZE:
        raise ValueError("the table of the interpreter's functions crosses a page boundary")
    code = trampolines.CodePage(
        *(trampolines.unless_called_from(start, end, function) for function in interpreters),
        *map(trampolines.compile_and_run, compilers, runners),
    )
    trampolines.protect(page, mmap.PROT_READ | mmap.PROT_WRITE)
    table[:] = code.addresses[:4]
    trampolines.protect(page, mmap.PROT_READ)
    for name, address in zip(names, code.addresses[4:], strict=True):
        imports.redirect(name, address)
    return code


class CompiledCode:
    """The recompiler's tables: forget all compiled code, or that of memory which changes.

    Args:
        image: a loaded library of a known build.
        build: its build.

    Raises:
        ValueError: something is not where it should be.
    """

    def __init__(self, image: ctypes.CDLL, build: Build) -> None:
        jit = internals.require_symbol(image, "JIT")
        self._all = [(jit + offset, size) for offset, size in build.jit_tables]
        if jit % mmap.PAGESIZE or not all(internals.is_anonymous(*span) for span in self._all):
            raise ValueError("the table JIT is not plain memory")
        self._manager = internals.function(
            image, "_ZN6AsmJit13MemoryManager9getGlobalEv", (), ctypes.c_void_p
        )
        self._free_all = internals.function(
            image, "_ZN6AsmJit20VirtualMemoryManager7freeAllEv", (ctypes.c_void_p,), None
        )
        sizes = {b"WRAM": RAM_SIZE, b"MSWI": 0x8000, b"ITCM": 0x8000}
        self._tables = {
            # A pointer for each halfword.
            name: internals.memory(jit + offset, sizes.get(name, 0x10000) * 4).view(np.uint64)
            for name, offset in build.compiled.items()
        }
        self._vram = [(jit + offset, size) for offset, size in build.compiled_vram]
        # Four bits count for 16 bytes of code. Main memory appears four times in the address space.
        counts = internals.memory(self._all[1][0] + RAM_START // 32, 4 * RAM_SIZE // 32)
        self._main_counts = counts.view(np.uint64).reshape(4, -1)
        self._pages: NDArray[np.bool_] = np.zeros(RAM_SIZE // _PAGE, bool)
        self._forgotten = 0

    def forget_all(self) -> None:
        """Forget all compiled code, as `arm_jit_reset` does.

        `arm_jit_reset` clears 72 MiB of tables, which takes 7 ms and makes all of them resident.
        Released pages read as zeros as well.
        """
        for span in self._all:
            internals.release_pages(*span)
        self._free_all(self._manager())
        self._pages[:] = False
        self._forgotten = 0

    def limit(self) -> None:
        """Forget all compiled code if much of it was forgotten, but not freed."""
        if self._forgotten > _FORGET_LIMIT:
            self.forget_all()

    def reset_counts(self) -> None:
        """Reset the number of times that each address was compiled.

        The emulator stops compiling an address after nine times. After a reset it behaves as if
        nothing was compiled yet.
        """
        compiled = np.bitwise_or.reduce(self._main_counts, axis=0)
        self._pages |= compiled.reshape(len(self._pages), -1).any(axis=1)
        internals.release_pages(*self._all[1])

    def before_change(self, name: bytes, live: NDArray[np.uint8], new: NDArray[np.uint8]) -> None:
        """Forget the code of those pages of a memory that are about to change.

        Args:
            name: name of the memory in a state.
            live: its present contents.
            new: its contents after the change.
        """
        table = self._tables.get(name)
        if table is None:
            if name == b"LCDM":
                for span in self._vram:
                    internals.release_pages(*span)
            return
        main = name == b"WRAM"
        pages = np.flatnonzero(self._pages) if main else np.arange(len(live) // _PAGE)
        old, to_be = (memory.reshape(-1, _PAGE)[pages].view(np.uint64) for memory in (live, new))
        for page in pages[(old != to_be).any(axis=1)].tolist():
            start = page * _PAGE
            # Includes the blocks that begin before the page and end in it.
            compiled = table[max(start // 2 - _MAX_BLOCK, 0) : (start + _PAGE) // 2]
            self._forgotten += int(np.count_nonzero(compiled))
            compiled[:] = 0
            if main:
                self._pages[page] = False


@dataclass(frozen=True)
class _Array:
    """A large array of the emulator.

    Attributes:
        name: its four-byte name in states.
        live: the emulator's memory, uint8.
        zero: it lies in `Build.always_zero`, so there is nothing to write.
    """

    name: bytes
    live: NDArray[np.uint8]
    zero: bool


class FastRestore:
    """Load states of the running ROM.

    Args:
        image: a loaded library of a known build.
        imports: imports of that image.
        build: its build.
        states: the emulator's own load.

    Raises:
        ValueError: something is not where it should be.
    """

    def __init__(
        self,
        image: ctypes.CDLL,
        imports: internals.Imports,
        build: Build,
        states: internals.MemoryStates,
    ) -> None:
        mmu = internals.require_symbol(image, "MMU")
        zeros = [(mmu + offset, size) for offset, size in build.always_zero]
        self._states = states
        self._imports = imports
        self._reset = internals.require_symbol(image, "_Z9NDS_Resetv")
        if not imports.replaceable("_Z9NDS_Resetv"):
            raise ValueError("calls of NDS_Reset cannot be replaced")
        self._nothing = trampolines.address_of(trampolines.DO_NOTHING)
        self._arrays = {
            chunk: _read_table(internals.require_symbol(image, symbol), zeros)
            for chunk, symbol in _TABLES.items()
        }
        if not {b"WRAM", b"GFPM"} <= {name for table in self._arrays.values() for name in table}:
            raise ValueError("the tables of arrays are not as they should be")

    @property
    def arrays(self) -> Iterator[NDArray[np.uint8]]:
        """The large arrays that are not always zero, live."""
        for table in self._arrays.values():
            yield from (array.live for array in table.values() if not array.zero)

    def load(self, state: bytes | memoryview, code: CompiledCode | None) -> bool:
        """Load a state that `MemoryStates.save` made of the running ROM.

        Args:
            state: uncompressed, and its structure checked.
            code: the compiled code; None if the recompiler is off.

        Returns:
            Whether the emulator accepted it.
        """
        # The small parts, with the sizes in their headers adjusted. The file header comes last.
        small: list[bytes | memoryview] = [b""]
        whole = np.frombuffer(state, np.uint8)
        if code is not None:
            code.limit()
            code.reset_counts()
        for start, end, arrays in self._chunks(state):
            if not arrays:
                small.append(state[start:end])
                continue
            rest: list[bytes | memoryview] = []
            place = start + 8
            for at, array in arrays:
                rest.append(state[place : at - 12])
                place = at + len(array.live)
                if array.zero:
                    continue
                if code is not None:
                    code.before_change(array.name, array.live, whole[at:place])
                array.live[:] = whole[at:place]
            rest.append(state[place:end])
            number = bytes(state[start : start + 4])
            small += [number + struct.pack("<I", sum(map(len, rest))), *rest]
        magic, version, emulator, _, packed = DESMUME_HEADER.unpack_from(state)
        size = DESMUME_HEADER.size + sum(map(len, small))
        small[0] = DESMUME_HEADER.pack(magic, version, emulator, size, packed)
        self._imports.redirect("_Z9NDS_Resetv", self._nothing)
        try:
            return self._states.load(b"".join(small))
        finally:
            self._imports.redirect("_Z9NDS_Resetv", self._reset)

    def _chunks(
        self, state: bytes | memoryview
    ) -> Iterator[tuple[int, int, list[tuple[int, _Array]]]]:
        """Start and end of each chunk, and where the large arrays are in it."""
        for number, start, end in chunks(state):
            arrays: list[tuple[int, _Array]] = []
            if table := self._arrays.get(number):
                for name, at, last in entries(state, start, end):
                    array = table.get(name)
                    if array is not None and len(array.live) == last - at:
                        arrays.append((at, array))
            yield start, end, arrays


def _read_table(address: int, zeros: list[tuple[int, int]]) -> dict[bytes, _Array]:
    """The large arrays in one of the emulator's descriptions, which an empty entry ends.

    Args:
        address: address of the description.
        zeros: address and size of memory that is always zero.
    """
    arrays: dict[bytes, _Array] = {}
    while True:
        entry = internals.memory(address, _ENTRY.size).tobytes()
        name_address, element, count, place = _ENTRY.unpack(entry)
        if not name_address or not place:
            return arrays
        size = element * count
        if size >= _LARGE:
            name = ctypes.string_at(name_address, 4)
            zero = any(low <= place and place + size <= low + length for low, length in zeros)
            arrays[name] = _Array(name, internals.memory(place, size), zero)
        address += _ENTRY.size
