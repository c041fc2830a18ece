"""Small functions in machine code (x86-64, System V ABI) that take the place of the emulator's.

A Python function that C calls is no good there: a Ctrl-C that arrives while the main thread is in
C is raised as soon as Python code runs, which is inside that function, where there is nobody to
raise it to: ctypes prints it and goes on, and the Ctrl-C is lost. It would also wait for Python's
lock, in the middle of a frame. So what C calls is machine code, or (`python_free`) a callable
that is implemented in C itself.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import struct
import types
from collections.abc import Callable
from typing import Any, Final

_SPACE: Final = 64
"""Bytes of a page that each function has."""


class CodePage:
    """Functions in memory that may be executed. Keep it for as long as anybody may call them.

    Args:
        functions: the machine code of each, at most 64 bytes, at most 64 of them.

    Attributes:
        addresses: of each function.

    Raises:
        OSError: the system refuses memory, or that it be executed.
    """

    def __init__(self, *functions: bytes) -> None:
        assert len(functions) * _SPACE <= mmap.PAGESIZE
        # Filled first, then made executable: the memory is never both.
        self._code = mmap.mmap(-1, mmap.PAGESIZE)
        place = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        for number, function in enumerate(functions):
            assert len(function) <= _SPACE
            self._code[number * _SPACE : number * _SPACE + len(function)] = function
        protect(place, mmap.PROT_READ | mmap.PROT_EXEC)
        self.addresses = tuple(place + number * _SPACE for number in range(len(functions)))


def protect(page: int, rights: int) -> None:
    """Change what may be done with a page of memory (``mprotect``).

    Raises:
        OSError: the system refuses.
    """
    change = ctypes.CDLL(None, use_errno=True).mprotect
    change.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if change(page, mmap.PAGESIZE, rights):
        raise OSError(ctypes.get_errno(), "mprotect")


def unless_called_from(start: int, end: int, function: int) -> bytes:
    """Return 0 to a caller in a span of code, else be ``function``."""
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
    """Call the compiler; if no cycle has passed in it, go on with the runner.

    Cycles have passed where it has given up compiling an address and has interpreted instead.
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
    """Return the first argument at once if it is that one, else be ``function``."""
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
    """Be ``function``, with that for its second argument."""
    return b"".join(
        (
            b"\x48\xbe" + struct.pack("<Q", argument),  # mov rsi, argument
            b"\x48\xb8" + struct.pack("<Q", function),  # mov rax, function
            b"\xff\xe0",  # jmp rax
        )
    )


def clock(start: int, count: int, per_second: float) -> bytes:
    """The C library's ``time``, by a count instead of the host's clock.

    Args:
        start: seconds at a count of 0; fits 31 bits.
        count: address of a 32-bit integer.
        per_second: what to divide it by. The quotient is rounded towards 0.
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


def python_free(kind: Any, function: Callable[..., Any]) -> Any:
    """A ctypes callback that runs no Python code.

    Args:
        kind: made by `ctypes.CFUNCTYPE`.
        function: implemented in C, as methods of built-in types and functions of ctypes are.
    """
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    assert not isinstance(inner, types.FunctionType | types.MethodType)
    assert not isinstance(type(inner).__call__, types.FunctionType)
    return kind(function)
