"""Small machine-code functions (x86-64, System V ABI) that replace functions of the emulator.

The emulator must not call back into Python code. A Ctrl-C that arrives while the main thread is in
C is raised as soon as Python code runs: inside the callback, where ctypes prints and drops it. A
callback would also wait for Python's lock in the middle of a frame. Replacements are therefore
machine code, or a callable implemented in C (`python_free`).
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import struct
import types
from collections.abc import Callable
from typing import Any, Final

_FUNCTION_SIZE: Final = 128
"""Bytes reserved for each function of a page."""

DO_NOTHING: Final = ctypes.CDLL(None).getpid
"""A C function without effect, whatever its arguments."""


def address_of(function: Any) -> int:
    """Return the address of a ctypes function."""
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


class CodePage:
    """Executable functions. Keep the object as long as anything may call them.

    Args:
        functions: machine code of up to 32 functions of up to 128 bytes.

    Attributes:
        addresses: address of each function.

    Raises:
        OSError: the system refuses executable memory.
    """

    def __init__(self, *functions: bytes) -> None:
        assert len(functions) * _FUNCTION_SIZE <= mmap.PAGESIZE
        assert all(len(function) <= _FUNCTION_SIZE for function in functions)
        # Written first and then made executable: the memory is never both.
        self._code = mmap.mmap(-1, mmap.PAGESIZE)
        self._code.write(b"".join(code.ljust(_FUNCTION_SIZE, b"\0") for code in functions))
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        protect(start, mmap.PROT_READ | mmap.PROT_EXEC)
        self.addresses = tuple(start + k * _FUNCTION_SIZE for k in range(len(functions)))


def protect(page: int, rights: int) -> None:
    """Change the access rights of a page of memory (``mprotect``).

    Raises:
        OSError: the system refuses.
    """
    change = ctypes.CDLL(None, use_errno=True).mprotect
    change.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if change(page, mmap.PAGESIZE, rights):
        raise OSError(ctypes.get_errno(), "mprotect")


def unless_called_from(start: int, end: int, function: int) -> bytes:
    """Return 0 to callers in a span of code, and jump to ``function`` for others."""
    return b"".join(
        (
            b"\x48\x8b\x04\x24",  # mov rax, [rsp]
            b"\x48\xb9" + struct.pack("<Q", start),  # mov rcx, start
            b"\x48\x29\xc8",  # sub rax, rcx
            b"\x48\x3d" + struct.pack("<I", end - start),  # cmp rax, end - start
            b"\x73\x03",  # jae +3
            b"\x31\xc0\xc3",  # xor eax, eax; ret
            b"\x48\xb8" + struct.pack("<Q", function),  # mov rax, function
            b"\xff\xe0",  # jmp rax
        )
    )


def compile_and_run(compiler: int, runner: int) -> bytes:
    """Call the compiler and, if it returns 0 cycles, jump to the runner.

    The compiler returns cycles if it no longer compiles an address, and interpreted it instead.
    """
    return b"".join(
        (
            b"\x48\x83\xec\x08",  # sub rsp, 8
            b"\x48\xb8" + struct.pack("<Q", compiler),  # mov rax, compiler
            b"\xff\xd0",  # call rax
            b"\x48\x83\xc4\x08",  # add rsp, 8
            b"\x85\xc0\x74\x01\xc3",  # test eax, eax; jz +1; ret
            b"\x48\xb8" + struct.pack("<Q", runner),  # mov rax, runner
            b"\xff\xe0",  # jmp rax
        )
    )


def unless_first(argument: int, function: int) -> bytes:
    """Return the first argument if it equals ``argument``, else jump to ``function``."""
    return b"".join(
        (
            b"\x48\x89\xf8",  # mov rax, rdi
            b"\x48\xb9" + struct.pack("<Q", argument),  # mov rcx, argument
            b"\x48\x39\xc8",  # cmp rax, rcx
            b"\x75\x01\xc3",  # jne +1; ret
            b"\x48\xb8" + struct.pack("<Q", function),  # mov rax, function
            b"\xff\xe0",  # jmp rax
        )
    )


def with_second(argument: int, function: int) -> bytes:
    """Jump to ``function`` with ``argument`` as the second argument."""
    return b"".join(
        (
            b"\x48\xbe" + struct.pack("<Q", argument),  # mov rsi, argument
            b"\x48\xb8" + struct.pack("<Q", function),  # mov rax, function
            b"\xff\xe0",  # jmp rax
        )
    )


def clock(start: int, count: int, per_second: float) -> bytes:
    """Replace the C library's ``time``: return ``start`` plus the count over ``per_second``.

    Args:
        start: seconds since 1970 at a count of 0; fits 31 bits.
        count: address of a 32-bit count.
        per_second: counts per second. The quotient is rounded towards 0.
    """
    return b"".join(
        (
            b"\x48\xb8" + struct.pack("<Q", count),  # mov rax, count
            b"\xf2\x0f\x2a\x00",  # cvtsi2sd xmm0, dword [rax]
            b"\x48\xb8" + struct.pack("<d", per_second),  # mov rax, per_second
            b"\x66\x48\x0f\x6e\xc8",  # movq xmm1, rax
            b"\xf2\x0f\x5e\xc1",  # divsd xmm0, xmm1
            b"\xf2\x48\x0f\x2c\xc0",  # cvttsd2si rax, xmm0
            b"\x48\x05" + struct.pack("<i", start),  # add rax, start
            b"\x48\x85\xff",  # test rdi, rdi
            b"\x74\x03",  # jz +3
            b"\x48\x89\x07",  # mov [rdi], rax
            b"\xc3",  # ret
        )
    )


def frame_loop() -> bytes:
    """Run frames, and copy memory after each. Returns the number of frames that ran.

    Takes the address of a table of u64: the number of frames, at least 1; the index of the frame
    that is not skipped; a function to call before frames that are skipped; a function that runs a
    frame, called with the argument 0; the destination of the copies, replaced by their
    end; then pairs of the address of an u32 and its value, up to an address of 0; then pairs of the
    address and the size of a span, up to a size of 0. The loop ends early, before the copy of a
    frame, if one of the u32 has another value.
    """
    return b"".join(
        (
            b"\x53\x41\x54\x41\x55",  # push rbx; push r12; push r13
            b"\x48\x89\xfb",  # mov rbx, rdi
            b"\x45\x31\xe4",  # xor r12d, r12d
            b"\x4c\x8b\x6b\x20",  # mov r13, [rbx + 0x20]
            b"\x4c\x3b\x63\x08",  # frame: cmp r12, [rbx + 8]
            b"\x74\x03",  # je +3
            b"\xff\x53\x10",  # call [rbx + 0x10]
            b"\x31\xff",  # xor edi, edi
            b"\xff\x53\x18",  # call [rbx + 0x18]
            b"\x49\xff\xc4",  # inc r12
            b"\x48\x8d\x53\x18",  # lea rdx, [rbx + 0x18]
            b"\x48\x83\xc2\x10",  # word: add rdx, 16
            b"\x48\x8b\x32",  # mov rsi, [rdx]
            b"\x48\x85\xf6",  # test rsi, rsi
            b"\x74\x09",  # jz span
            b"\x8b\x06",  # mov eax, [rsi]
            b"\x3b\x42\x08",  # cmp eax, [rdx + 8]
            b"\x74\xed",  # je word
            b"\xeb\x1c",  # jmp end
            b"\x48\x83\xc2\x10",  # span: add rdx, 16
            b"\x48\x8b\x4a\x08",  # mov rcx, [rdx + 8]
            b"\xe3\x0d",  # jrcxz next
            b"\x48\x8b\x32",  # mov rsi, [rdx]
            b"\x4c\x89\xef",  # mov rdi, r13
            b"\xf3\xa4",  # rep movsb
            b"\x49\x89\xfd",  # mov r13, rdi
            b"\xeb\xe9",  # jmp span
            b"\x4c\x3b\x23",  # next: cmp r12, [rbx]
            b"\x72\xba",  # jb frame
            b"\x4c\x89\x6b\x20",  # end: mov [rbx + 0x20], r13
            b"\x4c\x89\xe0",  # mov rax, r12
            b"\x41\x5d\x41\x5c\x5b\xc3",  # pop r13; pop r12; pop rbx; ret
        )
    )


def python_free(kind: Any, function: Callable[..., Any]) -> Any:
    """Return a ctypes callback that runs no Python code.

    Args:
        kind: a type made by `ctypes.CFUNCTYPE`.
        function: callable implemented in C: a method of a built-in type, or a ctypes function.
    """
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    assert not isinstance(inner, types.FunctionType | types.MethodType)
    assert not isinstance(type(inner).__call__, types.FunctionType)
    return kind(function)
