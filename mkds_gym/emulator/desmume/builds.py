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
class Geometry:
    """Where the geometry engine is in one build, for `mkds_gym.emulator.desmume.undrawn`.

    Attributes:
        replaced: names of functions whose calls go to our code: of the entry in
            ``native/undrawn.c``, and of the import slot.
        called: names of functions that our code calls besides those, as above.
        variables: offsets in the library of the variables that our code uses, by their names there.
        state: (offset in the library, size) of all variables that commands change, the lists of
            polygons and vertices and the results of tests excepted.
        code: (offset in the library, size) of the functions that our code stands for or relies on,
            and their BLAKE2b digest of 16 bytes in hexadecimal digits.
        load_table: offset in the library of the recompiler's table of functions with which compiled
            code of the ARM9 loads a word, and the offsets of these functions, which are all alike.
    """

    replaced: Mapping[str, str]
    called: Mapping[str, str]
    variables: Mapping[str, int]
    state: tuple[tuple[int, int], ...]
    code: tuple[tuple[tuple[int, int], ...], str]
    load_table: tuple[int, tuple[int, ...]]


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
        graphics_size: size of the ``GPU`` object, which ``NDS_Init()`` allocates.
        brightness: offset in the ``GPU`` object of the brightness of each display, two floats.
        colour_tables: first symbol and total size of the colour tables that `desmume_init` computes
            (``PixelOperation``). They are equal in every image, and read-only afterwards.
        always_zero: (offset from ``MMU``, size) of memory that no DS program writes: main memory
            beyond 4 MiB (the emulator reserves 16 MiB for other consoles), and register addresses
            above the ARM9's last register, 0x04100013.
        geometry: where the geometry engine is.
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
    graphics_size: int
    brightness: int
    colour_tables: tuple[str, int]
    always_zero: tuple[tuple[int, int], ...]
    geometry: Geometry


_GEOMETRY_0_0_9: Final = Geometry(
    replaced={
        "execute3d": "_Z15gfx3d_execute3Dv",
        "pipe_receive": "_Z12GFX_PIPErecvPhPj",
        "vblank": "_Z18gfx3d_VBlankSignalv",
        "vblank_end": "_Z21gfx3d_VBlankEndSignalb",
        "render_lists": "_Z25gfx3d_GenerateRenderLists11ClipperMode",
        "fifo_clear": "_Z13GFX_FIFOclearv",
        "trigger_dma": "_Z10triggerDma8EDMAMode",
        "send": "_Z23gfx3d_sendCommandToFIFOj",
        "do_copy": "_ZN13DmaController6doCopyILi0EEEvv",
        "sound": "_Z16SPU_Emulate_corev",
    },
    called={
        "try_trigger": "_ZN13DmaController10tryTriggerE8EDMAMode",
        "sound_core": "_Z13SPU_SoundCorev",
        "fetch_samples": "_Z23SPU_DefaultFetchSamplesPsm10ESynchModeP25ISynchronizingAudioBuffer",
    },
    variables={
        "fifo": 0x6C8AC0,
        "gxstat": 0x12B0B00 + 0x5C8,
        "dma": 0x12B0B00 + 0x80,
        "sequencer": 0x3406500,
        "timer": 0x3406768,
        "cycles": 0x12B1180 + 0x2115250,
        "skipper": 0x341C8C0,
        "tests": 0x12B1180 + 0x100C630,
        "hardware": 0x66B2740,
        "types": 0x5E8540,
        "swap": 0x663B004,
        "flush": 0x6664200 + 0x38,
        "polylist": 0x663AF98,
        "polylists": 0x663AFA0,
        "vertlist": 0x663AF88,
        "vertlists": 0x663AF90,
        "vertices": 0x342E760,
        "list": 0x697500,
        "info": 0x342E740,
        "completed": 0x342E758,
        "color": 0x697504,
        "matrices": 0x66B3C40,
        "coord": 0x66B3BC0,
        "coord_index": 0x66B3B98,
        "format": 0x66B3B94,
        "begun": 0x66B3B90,
        "attribute": 0x66B3AC8,
        "attribute_begun": 0x66B3ACC,
        "light_mask": 0x66B3A84,
        "texture": 0x66B3AC4,
        "texture_mode": 0x66B3A80,
        "palette": 0x66B3AC0,
        "viewport": 0x66B3B30,
        "light_color": 0x66B3AB0,
        "diffuse": 0x66B3A90,
        "ambient": 0x66B3A8E,
        "specular": 0x66B3A8C,
        "emission": 0x66B3A8A,
        "strip_toggle": 0x66B39E4,
        "s": 0x66B3B28,
        "t": 0x66B3B2C,
        "last_s": 0x66B3B20,
        "last_t": 0x66B3B24,
        "mmu": 0x12B1180,
        "nds": 0x3406880,
        "ram_mask": 0x694B40,
        "read_cycles": 0x5E76E0,
        "write_cycles": 0x5E75E0,
        "hooks": 0x69C0C0,
        "read_stops": 0x3406850,
        "write_stops": 0x3406830,
        "spu": 0x341CDB0,
        "spu_advanced": 0x340B660 + 0x411D,
        "samples": 0x341CDE0,
        "samples_per_line": 0x5E3860,
        "line_samples": 0x341CDA0,
        "sync_mode": 0x342E72C,
        "synchronizer": 0x342E738,
        "advanced_timing": 0x340B660 + 0x40E4,
        "timing": 0x12B0360,
        "load_word": 0x5436C0,
    },
    state=(
        (0x66B39E0, 0x360),
        (0x663B040, 0x1180),
        (0x342E740, 0x30),
        (0x697500, 0x50),
        (0x6664200, 0x150),
    ),
    code=(
        (
            (0x23F810, 0x35D),  # GFX_PIPEclear to GFX_FIFOcnt
            (0x2FEA30, 0x380),  # validateIORegsWrite<0>
            (0x302040, 0xB6),  # DmaController::tryTrigger, triggerDma
            (0x308920, 0xC60),  # _MMU_ARM9_write32
            (0x30B560, 0x18F0),  # DmaController::exec, DmaController::doCopy<0>
            (0x310A00, 0x57),  # NDS_Reschedule, NDS_RescheduleGXFIFO
            (0x328A00, 0x3390),  # SPU_MixAudio to SPU_Emulate_core
            (0x32D940, 0x53C0),  # GEM_TransformVertex to gfx3d_execute3D
            (0x5436C0, 0x3F0),  # OP_LDR<0, 0> to OP_LDR<0, 2>
        ),
        "fba8b978a5fdc1f304dab11bced40e32",
    ),
    load_table=(0x680C20, (0x5436C0, 0x543A90, 0x543AA0)),
)

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
        graphics_size=0x3C48,
        brightness=0x3C3C,
        colour_tables=("_ZN14PixelOperation22BrightnessDownTable888E", 0xAE8400),
        always_zero=((0xC000 + RAM_SIZE, 0xC00000), (0x100C000 + 0x200000, 0xE00000)),
        geometry=_GEOMETRY_0_0_9,
    ),
}
"""Known builds, by the SHA-256 of the library file in hexadecimal digits."""


def build_name(build_id: str) -> str:
    """Return the name of a build for messages: its `Build.name`, or its SHA-256."""
    build = KNOWN_BUILDS.get(build_id)
    return build.name if build else f"SHA-256 {build_id}"
