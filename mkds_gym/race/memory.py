"""Structures in main RAM: views, copies and pointers, with bounds checks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.hardware import RAM_END, RAM_SIZE, RAM_START
from mkds_gym.errors import NoRaceError

WORD = np.dtype([("value", "<u4")])
"""One 32-bit word."""


def check_ram(ram: NDArray[np.uint8]) -> None:
    """Check that an array is main RAM.

    Raises:
        ValueError: the shape or the dtype is wrong.
    """
    if ram.shape != (RAM_SIZE,) or ram.dtype != np.uint8:
        raise ValueError(
            f"ram has shape {ram.shape} and dtype {ram.dtype}: expected ({RAM_SIZE:#x},) uint8"
        )


def check_pointer(pointer: int, size: int, name: str) -> int:
    """Check that ``size`` bytes at ``pointer`` are in main RAM.

    Args:
        pointer: ARM address.
        size: bytes.
        name: name of the target for the error message, such as "the camera".

    Returns:
        Index of the first byte in ``ram``.

    Raises:
        NoRaceError: the bytes are outside main RAM.
    """
    if not RAM_START <= pointer <= RAM_END - size:
        reason = "null" if pointer == 0 else "outside main RAM"
        raise NoRaceError(
            f"no race: the pointer to {name} is {pointer:#010x} ({reason}); "
            "start a race, or load a savestate of a race"
        )
    return pointer - RAM_START


def struct_view(
    ram: NDArray[np.uint8], address: int, dtype: np.dtype[np.void], count: int = 1
) -> NDArray[np.void]:
    """Return ``count`` consecutive structures in RAM as a live array, writable if RAM is.

    Args:
        ram: main RAM, (0x400000,) uint8.
        address: ARM address of the first structure.
        dtype: a dtype of this module.
        count: number of structures.

    Returns:
        (count,) array of ``dtype``.

    Raises:
        NoRaceError: the structures are outside main RAM.
        ValueError: ``ram`` is not main RAM.
    """
    check_ram(ram)
    size = dtype.itemsize * count
    start = check_pointer(address, size, f"a structure of {size:#x} bytes")
    return ram[start : start + size].view(dtype)


def read_struct(ram: NDArray[np.uint8], address: int, dtype: np.dtype[np.void]) -> np.void:
    """Copy one structure out of RAM.

    Returns:
        A record: ``record["position"]``.

    Raises:
        NoRaceError: the structure is outside main RAM.
        ValueError: ``ram`` is not main RAM.
    """
    record: np.void = struct_view(ram, address, dtype).copy()[0]
    return record


def read_pointer(ram: NDArray[np.uint8], address: int, size: int, name: str) -> int:
    """Follow the pointer at ``address`` to a structure of ``size`` bytes.

    Returns:
        Address of the structure, inside main RAM.

    Raises:
        NoRaceError: the pointer or the structure is outside main RAM.
    """
    pointer = int(read_struct(ram, address, WORD)["value"])
    check_pointer(pointer, size, name)
    return pointer
