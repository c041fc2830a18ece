"""Leave out what nobody sees or hears: above all the geometry of frames that are not drawn.

The emulator transforms, clips and sorts the polygons of every frame. `UndrawnGeometry` lets it do
so only for frames that are drawn; everything that a program can observe stays as it is. The work is
done by machine code, whose source is ``native/undrawn.c``, and which replaces functions of the
emulator through their import slots. It also sends lists of commands to the geometry engine without
a detour per word, loads words for the ARM9 without searching for breakpoints, and mixes no sound
while no channel plays. See docs/explanation/speed.md.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import mmap
import struct
from pathlib import Path
from typing import Final

from mkds_gym.emulator.desmume import internals
from mkds_gym.emulator.desmume.builds import Build
from mkds_gym.emulator.desmume.trampolines import protect

IMAGE_FILE: Final = Path(__file__).parent / "native" / "undrawn.bin"
"""Machine code of ``undrawn.c``: `_Header`, then code; its variables are not in the file."""

_REPLACED: Final = (
    "execute3d",
    "pipe_receive",
    "vblank",
    "vblank_end",
    "render_lists",
    "fifo_clear",
    "do_copy",
    "sound",
    "trigger_dma",
    "send",
)
"""Functions of the emulator that the machine code takes the place of, and calls."""
_ENTRIES: Final = (*_REPLACED, "settle", "discard", "load_word")
"""Functions of the machine code, in the order of its header."""
_HEADER: Final = struct.Struct(f"<3I{len(_ENTRIES)}I")
"""Size of the code, size of the image with its variables, then offsets of ``host`` and of each of
`_ENTRIES`."""
_ORIGINALS: Final = (*_REPLACED, "try_trigger", "sound_core", "fetch_samples")
"""Functions of the emulator that the machine code calls, in the order of ``host``."""
_COUNTERS: Final = ("deferred", "replayed", "mismatches")
"""Counters at the end of ``host``."""


@functools.cache
def _code() -> bytes:
    return IMAGE_FILE.read_bytes()


class UndrawnGeometry:
    """Geometry of undrawn frames, left out.

    Args:
        image: a loaded library of a known build.
        imports: imports of that image.
        build: its build.

    Raises:
        ValueError: something is not where it should be; nothing has changed.
        OSError: the system refuses executable memory; nothing has changed.
    """

    def __init__(self, image: ctypes.CDLL, imports: internals.Imports, build: Build) -> None:
        geometry = build.geometry
        spans, digest = geometry.code
        found = hashlib.blake2b(digest_size=16)
        for offset, size in spans:
            found.update(internals.memory(imports.base + offset, size).data)
        if found.hexdigest() != digest:
            raise ValueError("the geometry engine is not as it should be")
        slots = [geometry.replaced[name] for name in geometry.replaced]
        if not all(map(imports.replaceable, slots)):
            raise ValueError("the geometry engine's functions cannot be replaced")
        table, targets = geometry.load_table
        loaders = internals.memory(imports.base + table, 8 * len(targets)).view("<u8")
        table_page = (imports.base + table) // mmap.PAGESIZE * mmap.PAGESIZE
        if loaders.tolist() != [imports.base + target for target in targets]:
            raise ValueError("the recompiler's functions are not where they should be")
        functions = {**geometry.replaced, **geometry.called}
        originals = [internals.require_symbol(image, functions[name]) for name in _ORIGINALS]
        variables = [imports.base + offset for offset in geometry.variables.values()]
        state = [
            number for offset, size in geometry.state for number in (imports.base + offset, size)
        ]
        code = _code()
        code_size, image_size, host, *entries = _HEADER.unpack_from(code)
        self._memory = mmap.mmap(-1, image_size)
        self._memory.write(code)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        words = [*originals, *variables, *state]
        internals.memory(start + host, 8 * len(words)).view("<u8")[:] = words
        counters = start + host + 8 * len(words)
        self._counters = internals.memory(counters, 8 * len(_COUNTERS)).view("<u8")
        self._off = ctypes.c_uint64.from_address(counters + 8 * len(_COUNTERS))
        for page in range(start, start + code_size, mmap.PAGESIZE):
            protect(page, mmap.PROT_READ | mmap.PROT_EXEC)
        places = {name: start + at for name, at in zip(_ENTRIES, entries, strict=True)}
        self._settle = ctypes.PYFUNCTYPE(None, ctypes.c_uint32)(places["settle"])
        self._discard = ctypes.PYFUNCTYPE(None, ctypes.c_uint32)(places["discard"])
        self._discard(True)
        protect(table_page, mmap.PROT_READ | mmap.PROT_WRITE)
        loaders[:] = places["load_word"]
        protect(table_page, mmap.PROT_READ)
        for name, slot in geometry.replaced.items():
            imports.redirect(slot, places[name])

    def settle(self, *, everything: bool = False) -> None:
        """Build the polygons that were left out of the picture that the program is making.

        Call before a state is saved.

        Args:
            everything: those of the finished picture that nobody has seen, too.
        """
        self._settle(everything)

    def discard(self, *, switched_on: bool = False) -> None:
        """Forget what was left out, as a state is loaded.

        Args:
            switched_on: the console is switched on instead.
        """
        self._discard(switched_on)

    @property
    def enabled(self) -> bool:
        """Whether our code is in use. For geometry, a change takes effect at the next VBlank."""
        return not self._off.value

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        self._off.value = not enabled

    @property
    def counts(self) -> dict[str, int]:
        """Counts since the image was loaded.

        Pictures whose geometry was left out, how often geometry was built after all, and how often
        the number of polygons or vertices was wrong then (never).
        """
        return dict(zip(_COUNTERS, self._counters.tolist(), strict=True))
