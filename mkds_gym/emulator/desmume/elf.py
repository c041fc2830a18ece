"""Read the import slots of an ELF library.

Source: System V gABI, and the x86-64 psABI for relocation types.
"""

from __future__ import annotations

import struct


def import_slots(data: bytes) -> dict[str, int]:
    """Return where a library keeps the addresses of the functions it imports.

    Args:
        data: contents of a 64-bit little-endian ELF library.

    Returns:
        Address of each imported function's slot, relative to the load address of the library.

    Raises:
        ValueError: ``data`` is not such a library.
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

    def file_offset(address: int) -> int:
        for start, offset, size in segments:
            if start <= address < start + size:
                return address - start + offset
        raise ValueError(f"address {address:#x} is in no segment")

    tags = dict(struct.iter_unpack("<2Q", dynamic[: len(dynamic) // 16 * 16]))
    try:
        strings, symbols = file_offset(tags[5]), file_offset(tags[6])  # DT_STRTAB, DT_SYMTAB
        relocations, size = file_offset(tags[23]), tags[2]  # DT_JMPREL, DT_PLTRELSZ
    except KeyError as error:
        raise ValueError(f"no dynamic table entry {error}") from None
    slots: dict[str, int] = {}
    for slot, info, _ in struct.iter_unpack("<3Q", data[relocations : relocations + size]):
        if info & 0xFFFFFFFF == 7:  # R_X86_64_JUMP_SLOT
            (name,) = struct.unpack_from("<I", data, symbols + 24 * (info >> 32))
            end = data.index(b"\0", strings + name)
            slots[data[strings + name : end].decode("ascii")] = slot
    return slots
