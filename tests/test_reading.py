"""Read files, compressed data and text from outside, within limits and without waiting."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import random
import socket
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from mkds_gym.errors import RecordingError
from mkds_gym.utils import reading
from mkds_gym.utils.reading import (
    decode,
    inflate,
    parse_ini,
    parse_json,
    parse_toml,
    read_file,
    read_text,
    validated,
)

MIB = 1 << 20


@contextmanager
def quick_and_small(mib: int = 60) -> Iterator[None]:
    """Allow a second of processor time, a short wait, and so much memory."""
    tracemalloc.start()
    begin, busy = time.monotonic(), time.process_time()
    try:
        yield
        assert time.process_time() - busy < 1
        assert time.monotonic() - begin < 20
        assert tracemalloc.get_traced_memory()[1] < mib * MIB
    finally:
        tracemalloc.stop()


def refused(function: Any, *args: Any, **kwargs: Any) -> str:
    """The message with which a call is refused."""
    with quick_and_small(), pytest.raises(RecordingError) as caught:
        function(*args, error=RecordingError, **kwargs)
    return str(caught.value)


def make_special_file(kind: str, folder: Path) -> Path:
    """A path that is not a regular file, or cannot be opened."""
    path = folder / "special"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(str(path))
    elif kind == "directory":
        path.mkdir()
    elif kind == "link to a pipe":
        os.mkfifo(folder / "pipe")
        path.symlink_to(folder / "pipe")
    elif kind == "loop of links":
        path.symlink_to(path)
    return Path("/dev/zero") if kind == "device" else path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("pipe", "is a pipe"),
        ("link to a pipe", "is a pipe"),
        ("socket", "is a socket"),
        ("directory", "is a directory"),
        ("device", "is a device"),
        ("missing", "does not exist"),
        ("loop of links", "Too many levels of symbolic links"),
    ],
)
def test_only_regular_files_are_read(kind: str, reason: str, tmp_path: Path) -> None:
    path = make_special_file(kind, tmp_path)
    message = refused(read_file, path, "the file", limit=10, remedy="expected a text")
    assert message.startswith(("the file ", "cannot read the file "))
    assert reason in message
    assert message.endswith(": expected a text")


@pytest.mark.parametrize("path", ["a\0b", "\udcff\ud800", "x" * 300, "x/" * 3000])
def test_impossible_paths_are_refused(path: str) -> None:
    assert "the file" in refused(read_file, path, "the file", limit=10, remedy="name a file")


def test_a_file_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a sparse file
    message = refused(read_file, path, "the file", limit=10, remedy="expected a text")
    assert message == "the file has 1,099,511,627,776 bytes, and the limit is 10: expected a text"
    path.write_bytes(bytes(10))
    assert read_file(path, "", RecordingError, limit=10, remedy="") == bytes(10)
    # A file of /proc has size 0.
    assert read_file("/proc/self/status", "", RecordingError, limit=MIB, remedy="")
    refused(read_file, "/proc/self/maps", "the file", limit=10, remedy="")


def test_text_has_line_ends_of_unix_and_must_be_utf8(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes("ä\r\nb\rc\n".encode())
    assert read_text(path, "", RecordingError, remedy="") == "ä\nb\nc\n"
    assert refused(decode, b"ab\xff", "the file") == (
        "the file is not UTF-8 text (invalid start byte at byte 2): save it as UTF-8"
    )
    path.write_bytes(b"\x89PNG\r\n\0")
    assert refused(read_text, path, "the file", remedy="expected a config") == (
        "the file is not UTF-8 text but a binary file: expected a config"
    )
    path.write_text("a = 1", encoding="utf-16")  # text after all
    message = refused(read_text, path, "the file", remedy="expected a config")
    assert message.endswith("save it as UTF-8")


COMPRESS = {
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("method", COMPRESS)
def test_inflating_stops_at_the_limit(method: Any) -> None:
    compress: Any = COMPRESS[method]
    plain = random.Random(1).randbytes(5000) + bytes(5000)
    packed = compress(plain)
    assert inflate(packed, "", RecordingError, limit=len(plain), method=method) == plain
    assert inflate(compress(b""), "", RecordingError, limit=0, method=method) == b""
    for damaged, reason in (
        (packed[:-1], "truncated"),
        (packed + b"x", "other bytes"),
        (b"\xff" * 50, "damaged"),
        (b"", "truncated"),
    ):
        message = refused(inflate, damaged, "the state", limit=MIB, method=method)
        assert message.startswith("the state is damaged (")
        assert reason in message
    assert "9,999" in refused(inflate, packed, "the state", limit=9_999, method=method)
    bomb = compress(bytes(8 * MIB))
    message = refused(inflate, bomb, "the state", limit=MIB, method=method)
    assert message == "the state has more than 1,048,576 bytes when decompressed"


def test_an_xz_dictionary_larger_than_memory_is_refused() -> None:
    packed = b"\x5d" + (1 << 30).to_bytes(4, "little") + b"\xff" * 8 + bytes(20)
    assert "limit" in refused(inflate, packed, "the state", limit=MIB, method="xz")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON: EOF"),
        ("{'a': 1}", "is not JSON"),
        ("[NaN]", "is not JSON"),
        ("[-Infinity]", "is not JSON"),
        ("[1e400]", "contains the number inf"),
        ("[1" + "0" * 400 + ".0]", "contains the number inf"),
        ("9" * 5000, "is not JSON: number out of range"),
        ("[9" + "0" * 300 + "]", "integer of more than 300 digits"),
        ("[" * 100_000, "is not JSON: recursion limit"),
        ('{"a":' * 100_000, "is not JSON: recursion limit"),
        ("[" + "[]," * 2_000_000 + "[]]", "more than 1,000,000 values"),
        ('"\ud800"', "is not JSON"),
        ('["\\ud800", NaN]', "NaN is not a number"),
        ('["\\ud800", 1e999]', "contains the number inf"),
        ('["\\ud800", ' + "9" * 5000 + "]", "more than 300 digits"),
        ('["\\ud800", ' + "[" * 50_000, "is not JSON"),
        ('["\\ud800", ' + "[" * 300 + "]" * 301, "nested more than 200"),
        (b'"\xff"', "is not JSON"),
        ("1 2", "is not JSON"),
    ],
    ids=range(19),
)
def test_json_outside_the_limits_is_refused(text: str | bytes, reason: str) -> None:
    message = refused(parse_json, text, "the header", file_names="ud800" in str(text))
    assert message.startswith("the header ")
    assert reason in message
    assert len(message) < 200


def test_json_within_the_limits_is_read_exactly() -> None:
    values = {"a": [1, -2.5e-300, 1.7e308, None, True, "e999", "ä\n"], "b": {"c": 10**299}}
    assert parse_json(json.dumps(values), "", RecordingError) == values
    assert parse_json(b"\xef\xbb\xbf[0.1]", "", RecordingError) == [0.1]
    name = os.fsdecode(b"a\xff")  # a file name with a byte that is not UTF-8
    text = json.dumps([name, "\U0001f600"])
    assert parse_json(text, "", RecordingError, file_names=True) == [name, "\U0001f600"]
    assert "is not JSON" in refused(parse_json, text, "the header")
    assert parse_json("[" * 150 + "]" * 150, "", RecordingError)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = ", "is not TOML"),
        ("a = " + "9" * 5000, "is not TOML"),
        ("a = " + "[" * 50_000, "nested more than 200"),
        ("[" + "a." * 50_000 + "a]", "nested more than 200"),
        ("a = 2020-01-01", "expected texts, numbers"),
    ],
    ids=range(5),
)
def test_toml_outside_the_limits_is_refused(text: str, reason: str) -> None:
    assert reason in refused(parse_toml, text, "the course")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\na = 1", "the config is not a config file: line 2 comes before the first [section]"),
        ("[a]\nb = 1\nb = 2", "already exists"),
        ("[a]\nb" + " " * 5000 + "c", "line 2, has 5,002 characters"),
        ("[a]\n  b", "is not a config file"),
    ],
    ids=range(4),
)
def test_ini_outside_the_limits_is_refused(text: str, reason: str) -> None:
    assert reason in refused(parse_ini, text, "the config")


def test_ini_parsing_time_is_bounded_by_the_longest_line() -> None:
    text = "[a]\n" + ("b" + " " * (reading.MAX_LINE - 2) + "c\n")
    refused(parse_ini, text, "the config")
    assert parse_ini("[a]\nb = %(c)s", "", RecordingError)["a"]["b"] == "%(c)s"


def test_a_path_of_a_schema_may_have_bytes_that_are_not_utf8() -> None:
    schema = TypeAdapter(reading.PathText)
    name = os.fsdecode(b"a\xff")
    assert validated(schema, name, "", RecordingError) == name
    assert "surrogates" in refused(validated, TypeAdapter(reading.Text), name, "the entry")
    for wrong in ("", "a\0b", "\ud800", "x" * 5000, None, 1, ["a"]):
        assert "the entry is damaged (" in refused(validated, schema, wrong, "the entry")


def test_a_schema_names_place_and_reason_of_the_first_problems() -> None:
    schema = TypeAdapter(dict[str, list[int]])
    assert validated(schema, {"a": [1]}, "", RecordingError) == {"a": [1]}
    message = refused(validated, schema, {"a": ["x"] * 10, "b" * 99: 1}, "the header")
    assert message.startswith("the header is damaged (a.0: Input should be a valid integer")
    assert message.endswith("and 8 more)")
