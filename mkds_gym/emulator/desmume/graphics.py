"""Give most memory and all threads of an idle library image back to the system.

The emulator's graphics unit owns five threads and 14 MB. `desmume_free()` deletes it with objects
that cannot be made again. `Graphics` deletes and makes the graphics unit alone, as ``NDS_Init()``
does. Memory of the console that was zero when the image was initialised becomes zero again, which
needs no memory.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.desmume import internals
from mkds_gym.emulator.desmume.builds import Build
from mkds_gym.emulator.hardware import SCREEN_HEIGHT, SCREEN_WIDTH

_PICTURE_SIZE: Final = 2 * 2 * SCREEN_HEIGHT * SCREEN_WIDTH
"""Bytes of the picture of both screens."""
_SOFTWARE_RENDERER: Final = 1


class Pictures:
    """Live views of the emulator's pictures, which must not be freed while a view exists."""

    def __init__(self) -> None:
        self._buffers: dict[int, Any] = {}

    def at(self, address: int) -> NDArray[np.uint16]:
        """Return a view of the picture of both screens, uint16 of shape (384, 256)."""
        buffer: Any = self._buffers.get(address)
        if buffer is None:
            buffer = (ctypes.c_uint8 * _PICTURE_SIZE).from_address(address)
            self._buffers[address] = buffer
        return np.frombuffer(buffer, np.uint16).reshape(-1, SCREEN_WIDTH)

    def forget(self) -> bool:
        """Forget all pictures, unless a view exists; return whether none exists.

        A view refers to its buffer. A weak reference would do as well, but its callback loses a
        Ctrl-C that arrives within.
        """
        # Referred to by the dict, and by the argument of getrefcount().
        if any(sys.getrefcount(self._buffers[address]) > 2 for address in self._buffers):
            return False
        self._buffers.clear()
        return True


class Graphics:
    """The graphics unit of an image, which can be deleted and made again.

    Args:
        image: a loaded and initialised library of a known build, without a ROM.
        build: its build.
        arrays: large arrays of the console.

    Attributes:
        exists: whether the graphics unit exists.

    Raises:
        ValueError: a symbol is missing.
    """

    def __init__(
        self, image: ctypes.CDLL, build: Build, arrays: Iterable[NDArray[np.uint8]]
    ) -> None:
        pointer = ctypes.c_void_p
        self._size = build.graphics_size
        self._unit = ctypes.c_uint64.from_address(internals.require_symbol(image, "GPU"))
        self._renderers = [
            ctypes.c_uint64.from_address(internals.require_symbol(image, name))
            for name in ("CurrentRenderer", "BaseRenderer")
        ]
        self._allocate = internals.function(image, "_Znwm", (ctypes.c_size_t,), pointer)
        self._free = internals.function(image, "_ZdlPv", (pointer,), None)
        self._construct = internals.function(image, "_ZN12GPUSubsystemC1Ev", (pointer,), None)
        self._destroy = internals.function(image, "_ZN12GPUSubsystemD1Ev", (pointer,), None)
        self._select = internals.function(
            image,
            "_ZN12GPUSubsystem20Change3DRendererByIDEi",
            (pointer, ctypes.c_int),
            ctypes.c_bool,
        )
        mmu = internals.require_symbol(image, "MMU")
        spans = [(mmu + offset, size) for offset, size in build.always_zero]
        spans += [(array.ctypes.data, array.size) for array in arrays if not array.any()]
        self._zeros = [
            span for start, size in spans if (span := internals.whole_pages(start, size))[1]
        ]
        self.exists = True

    def delete(self) -> None:
        """Delete the graphics unit, end its threads, and release memory. The ROM is closed."""
        self.exists = False
        unit = self._unit.value
        self._destroy(unit)
        self._free(unit)
        for variable in (self._unit, *self._renderers):
            variable.value = 0
        for start, size in self._zeros:
            if size:
                internals.release_pages(start, size)

    def make(self) -> None:
        """Make the graphics unit again, as `desmume_init` does."""
        unit = self._allocate(self._size)
        self._construct(unit)
        self._unit.value = unit
        self._select(unit, _SOFTWARE_RENDERER)
        self.exists = True
