"""What is known about each build of ``libdesmume.so``: offsets, sizes and symbol names.

Everything in a `Build` was read from the machine code of that build. `internals` uses these numbers
only when the hash of the library file is a key of `KNOWN_BUILDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mkds_gym.emulator.hardware import RAM_SIZE


@dataclass(frozen=True)
class Build:
    """Offsets and sizes, in bytes, of one build.

    Attributes:
        name: name for messages.
        use_jit: offset in ``CommonSettings`` of the C++ bool that enables the recompiler at the
            next reset. `NDS_Reset` reads it just before it calls `arm_jit_reset`.
        ram: offset of main memory in ``MMU``.
        jit_tables: (offset from ``JIT``, size) of the table of compiled code by address, and of the
            table that counts compilations per address. `arm_jit_reset` fills both with zeros.
        compiled: offset from ``JIT`` of the compiled code of each memory, by the name of that
            memory in a savestate. One pointer per halfword.
        compiled_vram: (offset from ``JIT``, size) of the compiled code of video memory.
        interpreters: offset in the library of the four functions that interpret one instruction,
            one for each processor (2) and instruction set (2).
        compiler: offsets in the library of the start and the end of the functions that compile a
            block.
        frame_skipper: (offset from ``MMU``, size) of the plan of which frames to draw next.
            Savestates leave it out.
        displays: offsets in the ``GPU`` object of the pointers to its two displays.
        brightness: offset in the ``GPU`` object of the brightness of each display, two floats.
        colour_tables: first symbol and total size of the colour tables that `desmume_init` computes
            (``PixelOperation``). They are equal in every image, and read-only afterwards.
        always_zero: (offset from ``MMU``, size) of memory that no DS program writes: main memory
            beyond 4 MiB (the emulator reserves 16 MiB for other consoles), and register addresses
            above the ARM9's last register, 0x04100013.
    """

    name: str
    use_jit: int
    ram: int
    jit_tables: tuple[tuple[int, int], tuple[int, int]]
    compiled: Mapping[bytes, int]
    compiled_vram: tuple[tuple[int, int], ...]
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
        compiled_vram=((0x4040000, 0x290000), (0x4380000, 0x100000)),
        interpreters=0x676760,
        compiler=(0x58E300, 0x58FB90),
        frame_skipper=(0x216B740, 16),
        displays=(0x20, 0x28),
        brightness=0x3C3C,
        colour_tables=("_ZN14PixelOperation22BrightnessDownTable888E", 0xAE8400),
        always_zero=((0xC000 + RAM_SIZE, 0xC00000), (0x100C000 + 0x200000, 0xE00000)),
    ),
}
"""Known builds, by the SHA-256 of the library file in hexadecimal digits."""


def build_name(build_id: str) -> str:
    """Return the name of a build for messages: its `Build.name`, or its SHA-256."""
    build = KNOWN_BUILDS.get(build_id)
    return build.name if build else f"SHA-256 {build_id}"
