"""Machine-code functions behave like the C functions that they replace."""

from __future__ import annotations

import ctypes
import functools
import os
import time
from pathlib import Path
from typing import Any

import pytest

from mkds_gym.emulator.desmume import trampolines
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND

_libc: Any = ctypes.CDLL(None)


def address(name: str) -> int:
    return trampolines.address_of(_libc[name])


@pytest.mark.parametrize("frames", [0, 1, 59, 60, 119, 120, 3590, 1_000_000, 2**31 - 1])
def test_clock_returns_seconds_of_the_count(frames: int) -> None:
    count = ctypes.c_int32(frames)
    page = trampolines.CodePage(
        trampolines.clock(1_230_768_000, ctypes.addressof(count), FRAMES_PER_SECOND)
    )
    read = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.POINTER(ctypes.c_long))(page.addresses[0])
    result = ctypes.c_long(-1)
    expected = 1_230_768_000 + int(frames / FRAMES_PER_SECOND)
    assert read(None) == expected
    assert read(ctypes.byref(result)) == expected
    assert result.value == expected


def test_with_second_passes_a_second_argument() -> None:
    broken_down = (ctypes.c_int32 * 32)()
    page = trampolines.CodePage(
        trampolines.with_second(ctypes.addressof(broken_down), address("gmtime_r"))
    )
    call = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(ctypes.c_long))(page.addresses[0])
    for moment in (0, 1_230_768_000, 1_800_000_000):
        assert call(ctypes.byref(ctypes.c_long(moment))) == ctypes.addressof(broken_down)
        expected = time.gmtime(moment)
        assert broken_down[:6] == [
            expected.tm_sec,
            expected.tm_min,
            expected.tm_hour,
            expected.tm_mday,
            expected.tm_mon - 1,
            expected.tm_year - 1900,
        ]


def test_unless_first_returns_that_argument() -> None:
    page = trampolines.CodePage(
        trampolines.unless_first(-7 % 2**64, address("labs")),
        trampolines.unless_first(2**40, address("labs")),
    )
    kind = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long)
    minus_seven, other = (kind(place) for place in page.addresses)
    assert [minus_seven(value) for value in (-7, -8, 7)] == [-7, 8, 7]
    assert [other(value) for value in (-7, 2**40, -(2**40))] == [7, 2**40, 2**40]


def test_unless_called_from_depends_on_the_caller() -> None:
    # ctypes calls through libffi, which is one of the loaded libraries, or a part of Python.
    kind = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long)
    results = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, *_, file = line.split()
        if "x" in rights and file.startswith("/"):
            low, high = (int(part, 16) for part in span.split("-"))
            code = trampolines.unless_called_from(low, high, address("labs"))
            page = trampolines.CodePage(code)
            results.append(kind(page.addresses[0])(-7))
    assert len(results) > 1
    assert sorted(results) == [0, *[7] * (len(results) - 1)]


def test_compile_and_run_runs_after_no_cycle() -> None:
    page = trampolines.CodePage(trampolines.compile_and_run(address("toupper"), address("getpid")))
    call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(page.addresses[0])
    assert call(ord("a")) == ord("A")  # the result of the first function
    assert call(0) == os.getpid()


def print_nothing(*_: object) -> None: ...


class Callable:
    def __call__(self, *_: object) -> None: ...


def test_python_free_refuses_python_code() -> None:
    kind = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p)
    said: dict[bytes, int | None] = {}
    callback = trampolines.python_free(kind, said.__setitem__)
    callback(b"text", 5)
    assert said == {b"text": 5}
    for python in (lambda text, argument: None, functools.partial(print_nothing, 1), Callable()):
        with pytest.raises(AssertionError):
            trampolines.python_free(kind, python)


@pytest.mark.parametrize(("frames", "drawn"), [(1, -1), (1, 0), (4, -1), (4, 2), (5, 4)])
@pytest.mark.parametrize("changes_at", [None, 1, 3])
def test_frame_loop_copies_after_each_frame(
    frames: int, drawn: int, changes_at: int | None
) -> None:
    memory = ctypes.create_string_buffer(64)  # a counter of frames, of skips, and a pointer
    counters = (ctypes.c_uint32 * 16).from_buffer(memory)
    counters[8] = 77
    arguments = []

    def skip() -> None:
        counters[1] += 1

    def cycle(argument: int) -> None:
        arguments.append(argument)
        counters[0] += 1
        if counters[0] == changes_at:
            counters[8] = 78

    functions = ctypes.CFUNCTYPE(None)(skip), ctypes.CFUNCTYPE(None, ctypes.c_int)(cycle)
    copies = ctypes.create_string_buffer(8 * frames)
    start = ctypes.addressof(memory)
    table = (ctypes.c_int64 * 15)(
        *(frames, drawn, *map(trampolines.address_of, functions), ctypes.addressof(copies)),
        *(start + 32, 77, 0, 0),  # words
        *(start, 4, start + 4, 4, 0, 0),  # spans
    )
    page = trampolines.CodePage(trampolines.frame_loop())
    loop = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(page.addresses[0])
    ran = min(frames, changes_at or frames)
    assert loop(ctypes.addressof(table)) == ran
    assert arguments == [0] * ran
    copied = ran - (ran == changes_at)
    assert table[4] == ctypes.addressof(copies) + 8 * copied
    skips = [frame + 1 - (0 <= drawn <= frame) for frame in range(copied)]
    words = (ctypes.c_uint32 * (2 * frames)).from_buffer(copies)
    assert words[: 2 * copied : 2] == list(range(1, copied + 1))
    assert words[1 : 2 * copied : 2] == skips
