"""Changes to bytes, to text and to JSON-like values, drawn from a generator."""

from __future__ import annotations

import copy
import json
import random
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

Change = Callable[[random.Random, bytes], bytes]

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_DIGITS, _DEEP, _BYTES = "<digits>", "<deep>", "<bytes>"
"""Stand for text that `json.dumps` refuses to write."""
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**40, 2**63, 2**64, -(2**63), 1e308, -1e308, 1e-320),
    *(float("nan"), float("inf"), -float("inf"), 0.5, "", "x", "\0", "\ud800", "é" * 40, "../../x"),
    *("/dev/zero", "x" * 100_000, [], [[]], {}, {"x": 1}, [None], [1] * 10_000, ["x"], {"": {}}),
    *(_DIGITS, _DEEP, _BYTES),
)
ODD_WORDS = (
    *(
        "",
        "x",
        "-1",
        "0",
        "1",
        "1e400",
        "nan",
        "inf",
        "-inf",
        "None",
        "True",
        "[]",
        "{}",
        "()",
        "'",
    ),
    *("1_000", "0x10", "9" * 5000, "[" * 5000, "x" * 10_000, "\0", "é", "%s", "%(x)s", "os.abort"),
    *("os.system", "sys.exit", "sys:exit", "mkds_gym.env:MKDSEnv", "lambda m: 1", "1/0", "=", ";"),
    *(
        "-" * 3000 + "1",
        "2**9**9",
        "1e308 * 1e308",
        "distance * nan",
        "random",
        "none",
        "auto",
        "3",
    ),
)


def change_bytes(rng: random.Random, data: bytes) -> bytes:
    """Return bytes with one to four changes; half of them near the beginning."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        end = len(made)
        at = rng.randrange(min(end, rng.choice((64, 600, end or 1))) + 1) if end else 0
        kind = rng.randrange(9)
        if kind <= 1 and at < end:
            made[at] ^= 1 << rng.randrange(8)
        elif kind == 2 and at < end:
            made[at] = rng.choice((0, 0xFF, rng.randrange(256)))
        elif kind == 3 and at + 4 <= end:
            form = rng.choice(("<I", ">I", "<H"))
            limit = 0xFFFF if form == "<H" else 0xFFFFFFFF
            struct.pack_into(form, made, at, rng.choice(_NUMBERS) & limit)
        elif kind == 4:
            del made[at:]
        elif kind == 5:
            made[at:at] = rng.randbytes(rng.choice((1, 4, 100)))
        elif kind == 6:
            del made[at : at + rng.choice((1, 2, 16, 500))]
        elif kind == 7:
            size = rng.choice((4, 16, 100))
            made[at:at] = made[at : at + size] * rng.choice((1, 1, 50))
        else:
            size, other = rng.choice((1, 4, 32)), rng.randrange(end + 1)
            low, high = sorted((at, other))
            if low + size <= high and high + size <= end:
                one, two = made[low : low + size], made[high : high + size]
                made[low : low + size], made[high : high + size] = two, one
    return bytes(made)


def change_text(rng: random.Random, data: bytes) -> bytes:
    """Return text with changed lines, words and numbers; sometimes bytes that are not UTF-8."""
    if rng.random() < 0.1:
        return change_bytes(rng, data)
    lines = data.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    for _ in range(rng.choice((1, 1, 2, 5))):
        if not lines:
            break
        at, kind = rng.randrange(len(lines)), rng.randrange(6)
        words = list(re.finditer(r"-?[\w.]+|\"[^\"]*\"", lines[at]))
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(rng.randrange(len(lines) + 1), lines[at])
        elif kind == 2 and "=" in lines[at]:
            lines[at] = lines[at].split("=", 1)[0] + f"= {rng.choice(ODD_WORDS)}\n"
        elif words:
            word = rng.choice(words)
            new = rng.choice(ODD_WORDS)
            if kind == 3:
                new = json.dumps(rng.choice(ODD_VALUES[:-3]))
            lines[at] = lines[at][: word.start()] + new + lines[at][word.end() :]
    return "".join(lines).encode("utf-8", "surrogateescape" if rng.random() < 0.5 else "replace")


def _odd(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(ODD_VALUES))


def change_value(rng: random.Random, value: Any) -> Any:
    """Return a JSON value in which one to three places are replaced, removed or added."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 1, 3))):
        places = list(_places(value))
        if not places or rng.random() < 0.01:
            return _odd(rng)
        holder, key = rng.choice(places)
        kind = rng.randrange(8)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[rng.choice(("x", "version", "__class__", ""))] = _odd(rng)
        elif kind == 1:
            holder.append(rng.choice((holder[key], _odd(rng))))
        elif kind == 2 and isinstance(holder[key], int | float):
            holder[key] = rng.choice((-holder[key], holder[key] + 1, holder[key] * 2, 10**6))
        elif kind == 3:
            holder[key] = [holder[key]]
        else:
            holder[key] = _odd(rng)
    return value


def dump(value: Any) -> bytes:
    """Return JSON text, also of what `json.dumps` refuses to write."""
    text = json.dumps(value, separators=(",", ":")).encode()
    for name, odd in ((_DIGITS, b"9" * 5000), (_DEEP, b"[" * 50_000), (_BYTES, b'"\xff\xfe"')):
        text = text.replace(json.dumps(name).encode(), odd)
    return text


def change_json(rng: random.Random, data: bytes) -> bytes:
    """Return a JSON document with changed values, or with changed bytes."""
    if rng.random() < 0.25:
        return change_bytes(rng, data)
    return dump(change_value(rng, json.loads(data)))


def change_json_lines(rng: random.Random, data: bytes) -> bytes:
    """Return JSON lines with a changed line."""
    lines = data.splitlines(keepends=True)
    if not lines or rng.random() < 0.3:
        return change_bytes(rng, data)
    at = rng.randrange(len(lines))
    lines[at] = dump(change_value(rng, json.loads(lines[at]))) + b"\n"
    return b"".join(lines)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        pairs: Any = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    else:
        return
    for key, item in pairs:
        yield value, key
        yield from _places(item)
