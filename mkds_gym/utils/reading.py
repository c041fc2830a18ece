"""Read what comes from outside this process: files, and the compressed data and text in them.

Nothing here waits, and nothing takes more memory than its limit allows. Every function raises the
error class that the caller passes. The message starts with the caller's name of the data, such as
``"recording 'a.mkr'"``, and ends with a remedy.
"""

from __future__ import annotations

import bz2
import codecs
import configparser
import contextlib
import json
import lzma
import math
import os
import re
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, Literal, TypeVar

import pydantic_core
from pydantic import AfterValidator, TypeAdapter, ValidationError

from mkds_gym.errors import MKDSError, reason
from mkds_gym.utils.arguments import escaped, shortened, shown

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - the standard library has tomllib from 3.11 on
    import tomli as tomllib

T = TypeVar("T")
Failure = Callable[[str], MKDSError]
"""An error class of this package, or a function that makes an error from a message."""

TEXT_LIMIT: Final = 1 << 20
"""Largest text file of settings, in bytes."""
MAX_VALUES: Final = 1_000_000
"""Most values in one JSON text."""
MAX_DEPTH: Final = 200
"""Deepest nesting of lists and tables in JSON and TOML."""
MAX_LINE: Final = 4_000
"""Longest line of an INI file. The parser's time grows with the square of this length."""
MAX_DIGITS: Final = 300
"""Most digits of an integer. Every such integer can be converted to a float."""
_LONGEST_PATH: Final = 4096
_MAX_LZMA_MEMORY: Final = 100 << 20
_OPEN: Final = os.O_RDONLY | sum(
    getattr(os, flag, 0) for flag in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY")
)
_KINDS: Final = (
    (stat.S_ISDIR, "directory"),
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)
_SUSPICIOUS: Final = re.compile(rb"\d{300}|[eE]\+?0*[1-9]\d\d")
"""A number that may be too large for a float."""
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
"""The escape of a byte that is not UTF-8, as file names may have; only `json` reads it."""
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""First bytes of text that only has to be saved in another encoding."""
_TOML_PARTS: Final = re.compile(r"[=,\[\]{}\n]")


def read_file(
    path: str | os.PathLike[str], name: str, error: Failure, *, limit: int, remedy: str
) -> bytes:
    """Return the contents of a regular file.

    A pipe, device, socket or directory is refused without waiting.

    Args:
        path: the file. Links are followed.
        name: name of the file for messages.
        error: makes the error from its message.
        limit: most bytes.
        remedy: what is expected, or what to do; the end of each message.

    Raises:
        MKDSError: the file is missing, not a regular file, larger than the limit, or unreadable.
    """
    with open_file(path, name, error, remedy=remedy) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > limit:
            raise error(f"{name} has {size:,} bytes, and the limit is {limit:,}: {remedy}")
        data = stream.read(size + 1)
        if len(data) > size:  # the file grew, or is one of /proc
            data += stream.read(max(limit + 1 - len(data), 0))
    if len(data) > limit:
        raise error(f"{name} has more bytes, and the limit is {limit:,}: {remedy}")
    return data


@contextlib.contextmanager
def open_file(
    path: str | os.PathLike[str], name: str, error: Failure, *, remedy: str
) -> Iterator[BinaryIO]:
    """Open a regular file for reading, and close it at the end.

    Args and errors are those of `read_file`, also for an `OSError` within the ``with`` block.
    """
    try:
        _check_kind(Path(path).stat(), name, error, remedy)  # opening some devices has effects
        stream = open(os.open(path, _OPEN), "rb")  # noqa: PTH123, SIM115
    except MKDSError:
        raise
    except FileNotFoundError:
        raise error(f"{name} does not exist: {remedy}") from None
    except (OSError, ValueError) as cause:
        raise error(f"cannot read {name} ({reason(cause)}): {remedy}") from cause
    with stream:
        try:
            _check_kind(os.fstat(stream.fileno()), name, error, remedy)
            yield stream
        except MKDSError:
            raise
        except OSError as cause:
            raise error(f"cannot read {name} ({reason(cause)}): {remedy}") from cause


def _check_kind(status: os.stat_result, name: str, error: Failure, remedy: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kinds = [kind for is_kind, kind in _KINDS if is_kind(status.st_mode)]
        raise error(f"{name} is a {' '.join(kinds) or 'special file'}: {remedy}")


def read_text(
    path: str | os.PathLike[str],
    name: str,
    error: Failure,
    *,
    limit: int = TEXT_LIMIT,
    remedy: str,
) -> str:
    """Return the text of a regular UTF-8 file, with line ends as of Unix.

    Args and errors are those of `read_file`; text that is not UTF-8 is an error, too.
    """
    data = read_file(path, name, error, limit=limit, remedy=remedy)
    if b"\0" in data and not data.startswith(_UTF16):
        raise error(f"{name} is not UTF-8 text but a binary file: {remedy}")
    text = decode(data, name, error)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def decode(data: bytes, name: str, error: Failure) -> str:
    """Return UTF-8 text.

    Raises:
        MKDSError: the bytes are not UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise error(
            f"{name} is not UTF-8 text ({cause.reason} at byte {cause.start:,}): save it as UTF-8"
        ) from None


def inflate(
    data: bytes,
    name: str,
    error: Failure,
    *,
    limit: int,
    method: Literal["zlib", "gzip", "bz2", "xz"] = "zlib",
) -> bytes:
    """Return decompressed data.

    Args:
        data: one complete compressed stream.
        name: name of the data for messages.
        error: makes the error from its message.
        limit: most bytes of the result.
        method: the compression.

    Raises:
        MKDSError: the data are damaged, truncated, followed by other data, or larger than the
            limit.
    """
    stream: Any
    if method == "bz2":
        stream = bz2.BZ2Decompressor()
    elif method == "xz":
        stream = lzma.LZMADecompressor(lzma.FORMAT_AUTO, memlimit=_MAX_LZMA_MEMORY)
    else:
        stream = zlib.decompressobj(zlib.MAX_WBITS + 16 * (method == "gzip"))
    try:
        plain: bytes = stream.decompress(data, limit + 1)
    except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as cause:
        raise error(f"{name} is damaged ({reason(cause)})") from None
    if len(plain) > limit:
        raise error(f"{name} has more than {limit:,} bytes when decompressed")
    if not stream.eof:
        raise error(f"{name} is damaged (its compressed data are truncated)")
    if stream.unused_data:
        raise error(f"{name} is damaged (its compressed data are followed by other bytes)")
    return plain


def parse_json(
    data: bytes | str,
    name: str,
    error: Failure,
    *,
    max_values: int = MAX_VALUES,
    file_names: bool = False,
) -> Any:
    """Return the values of a JSON text.

    Args:
        data: UTF-8 text. The caller limits its size.
        name: name of the text for messages.
        error: makes the error from its message.
        max_values: most values. A comma or bracket in a string counts as one.
        file_names: whether texts may have the bytes of file names that are not UTF-8, as of
            `os.fsdecode`. The caller's schema says which: `PathText`, or `Text` for others.

    Returns:
        dict, list, str, int, float, bool and None; numbers are finite and fit into a float.

    Raises:
        MKDSError: the text is not JSON, is nested too deeply, has too many values or too large
            numbers, or contains NaN or Infinity.
    """
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")  # refused by the parser
    if sum(map(data.count, (b",", b"[", b"{"))) > max_values:
        raise error(f"{name} has more than {max_values:,} values")
    data = data.removeprefix(codecs.BOM_UTF8)
    special = file_names and _SURROGATE.search(data) is not None
    try:
        # Both parsers refuse NaN and Infinity; the first one also deeper nesting than `MAX_DEPTH`.
        if special:
            value = json.loads(data.decode(), parse_constant=_refuse, parse_int=_integer)
        else:
            value = pydantic_core.from_json(data, allow_inf_nan=False)
    except (ValueError, RecursionError) as cause:
        raise error(f"{name} is not JSON: {shortened(str(cause))}") from None
    if special or _SUSPICIOUS.search(data):
        _check_values(value, name, error)
    return value


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is not a number of JSON")


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS + 1:
        raise ValueError(f"an integer of more than {MAX_DIGITS} digits")
    return int(text)


def parse_toml(text: str, name: str, error: Failure) -> dict[str, Any]:
    """Return the tables of a TOML text, nested at most `MAX_DEPTH` levels deep.

    Numbers of TOML may be NaN, infinite and of any size: the caller checks them.

    Raises:
        MKDSError: the text is not TOML, is nested too deeply, or contains a date.
    """
    too_deep = f"{name} is nested more than {MAX_DEPTH} levels deep"
    # The parser's time grows with the square of the parts of a dotted key.
    if max(part.count(".") for part in _TOML_PARTS.split(text)) > 5 * MAX_DEPTH:
        raise error(too_deep)
    try:
        values: dict[str, Any] = tomllib.loads(text)
    except RecursionError:
        raise error(too_deep) from None
    except ValueError as cause:
        raise error(f"{name} is not TOML: {shortened(str(cause))}") from None
    _check_values(values, name, error, numbers=False)
    return values


def parse_ini(text: str, name: str, error: Failure) -> configparser.ConfigParser:
    """Return the sections of an INI text, without interpolation.

    Raises:
        MKDSError: the text is not INI, or a line is longer than `MAX_LINE`.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > MAX_LINE:
            raise error(
                f"{name}, line {number}, has {len(line):,} characters, and the limit is "
                f"{MAX_LINE:,}: break the line"
            )
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text, source=name)
    except configparser.MissingSectionHeaderError as cause:
        raise error(
            f"{name} is not a config file: line {cause.lineno} comes before the first [section]"
        ) from None
    except (configparser.Error, ValueError, AttributeError) as cause:
        problem = shortened(" ".join(str(cause).split()))
        raise error(f"{name} is not a config file: {problem}") from None
    return parser


def _check_values(value: Any, name: str, error: Failure, *, numbers: bool = True) -> None:
    """Refuse deep nesting, and numbers that no float can hold."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.values()
            elif isinstance(each, list):
                inner += each
            elif isinstance(each, int | float) and not numbers:
                pass
            elif isinstance(each, float) and not math.isfinite(each):
                raise error(f"{name} contains the number {each}: expected finite numbers")
            elif isinstance(each, int) and abs(each) >= 10**MAX_DIGITS:
                raise error(f"{name} contains an integer of more than {MAX_DIGITS} digits")
            elif each is not None and not isinstance(each, int | float | str):
                raise error(
                    f"{name} contains {shown(each)}: expected texts, numbers, lists and tables"
                )
        if not inner:
            return
        level = inner
    raise error(f"{name} is nested more than {MAX_DEPTH} levels deep")


def _check_path(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_PATH or "\0" in value:
        raise ValueError("expected the path of a file")
    os.fsencode(value)
    return value


def _check_text(value: str) -> str:
    value.encode()
    return value


Text = Annotated[str, AfterValidator(_check_text)]
"""A text in a schema of JSON that may have file names. Only characters of Unicode are accepted."""
PathText = Annotated[Any, AfterValidator(_check_path)]
"""A path in a schema. Its name may have bytes that are not UTF-8, which ``str`` refuses."""


def validated(schema: TypeAdapter[T], value: object, name: str, error: Failure) -> T:
    """Return a value that a schema accepts.

    Raises:
        MKDSError: the schema refuses the value.
    """
    try:
        return schema.validate_python(value)
    except ValidationError as cause:
        raise error(f"{name} is damaged ({problems(cause)})") from None
    except (RecursionError, OverflowError) as cause:
        raise error(f"{name} is damaged ({cause})") from None


def problems(error: ValidationError, most: int = 3) -> str:
    """Return the places and reasons of what a schema refuses, in one line."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [
        f"{'.'.join(str(part)[:40] for part in each['loc']) or 'the value'}: {each['msg'][:200]}"
        for each in found[:most]
    ]
    more = len(found) - len(lines)
    return escaped("; ".join([*lines, *([f"and {more} more"] if more else [])]))
