"""Argument checks.

Each check takes the name and the value of an argument and returns the value as a plain Python
type. Errors have the form ``frame_skip=0 is out of range: expected an integer from 1 to 60``.
A value of the wrong type raises TypeError, any other bad value ValueError.
"""

from __future__ import annotations

import copy
import difflib
import itertools
import math
import os
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import numpy as np

T = TypeVar("T")
P = ParamSpec("P")

MAX_LIST: Final = 1000
"""Most elements of a list argument."""
MAX_PATH: Final = 4096
MAX_NAME: Final = 255
"""Most characters of a path, and of a name in it, on Linux."""


class _Repr(reprlib.Repr):
    """Short reprs of anything, also of integers that Python refuses to print."""

    def repr_int(self, x: int, level: int) -> str:
        try:
            return super().repr_int(x, level)
        except ValueError:
            return f"<an integer of {int(x.bit_length() * math.log10(2)) + 1} digits>"


_repr = _Repr()
_repr.maxstring = _repr.maxother = 80
_repr.maxlist = _repr.maxtuple = _repr.maxdict = 12
_LONGEST: Final = 200
_LONG_WORD: Final = re.compile(r"\S{120,}")


def shown(value: object) -> str:
    """Return the repr of a value for an error message, shortened to at most 200 characters."""
    try:
        text = _repr.repr(value)
    except Exception:  # the value is an object of the user's
        text = f"<{type(value).__name__} without a repr>"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def shortened(text: str, limit: int = 500) -> str:
    """Return a text for a message: long words are cut, and the end of a long text."""
    short = _LONG_WORD.sub(lambda word: f"{word[0][:80]}...", text)
    return short if len(short) <= limit else f"{short[:limit]}..."


def escaped(text: str, keep: str = "") -> str:
    r"""Return a text for a terminal, with what cannot be printed as in Python: ``\x1b``.

    Args:
        text: any text, perhaps of a stranger's file.
        keep: characters that stay, such as the end of a line.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )


def integer(name: str, value: Any, minimum: int, maximum: int | None = None) -> int:
    """Return a Python or NumPy integer as a Python int.

    Raises:
        TypeError: `value` is not an integer.
        ValueError: `value` is less than `minimum` or more than `maximum` (None for no limit).
    """
    expected = f"expected an integer {_range(minimum, maximum)}"
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}={shown(value)} is not an integer: {expected}")
    if value < minimum or (maximum is not None and value > maximum):
        raise ValueError(f"{name}={shown(value)} is out of range: {expected}")
    return int(value)


def number(name: str, value: Any, minimum: float, maximum: float | None = None) -> float:
    """Return a Python or NumPy number as a Python float; NaN and infinity are out of range.

    Raises:
        TypeError: `value` is not a number.
        ValueError: `value` is less than `minimum` or more than `maximum` (None for no limit).
    """
    expected = f"expected a number {_range(minimum, maximum)}"
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name}={shown(value)} is not a number: {expected}")
    try:
        converted = float(value)
    except OverflowError:
        converted = math.inf
    highest = math.inf if maximum is None else maximum
    if not math.isfinite(converted) or not minimum <= converted <= highest:
        raise ValueError(f"{name}={shown(value)} is out of range: {expected}")
    return converted


def boolean(name: str, value: Any) -> bool:
    """Return a Python or NumPy boolean as a Python bool.

    Raises:
        TypeError: `value` is not a boolean.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}={shown(value)} is not a boolean: expected True or False")
    return bool(value)


def choice(name: str, value: Any, choices: Iterable[T]) -> T:
    """Return the element of `choices` (strings, integers or None) that equals `value`.

    Raises:
        TypeError: `value` has a different type from all choices.
        ValueError: `value` is not one of the choices.
    """
    accepted = list(choices)
    if isinstance(value, np.integer):
        value = int(value)
    right_type = isinstance(value, tuple(map(type, accepted))) and not isinstance(value, bool)
    if right_type and value in accepted:
        return accepted[accepted.index(value)]
    texts = [each for each in accepted if isinstance(each, str)]
    hint = did_you_mean(value, texts) if isinstance(value, str) else ""
    message = (
        f"{name}={shown(value)} is unknown{hint}: expected one of {', '.join(map(repr, accepted))}"
    )
    raise (ValueError if right_type else TypeError)(message)


def similar(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like another one, or that contains it, or None.

    Capital and small letters count as the same.
    """
    lower = {each.lower(): each for each in known}
    short = word[:100].lower()
    near = difflib.get_close_matches(short, lower, n=1)
    if len(short) > 2:
        near += [each for each in lower if short in each]
    return lower[near[0]] if near else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'word'?)"`` with the most similar known word, or an empty string."""
    near = similar(word, known)
    return "" if near is None else f" (did you mean {shown(near)}?)"


def file_path(name: str, value: Any, expected: str) -> Path:
    """Return a string or os.PathLike as a Path.

    Args:
        name: of the argument.
        value: of the argument.
        expected: accepted values, for the error message: "the path of a .nds file".

    Raises:
        TypeError: `value` is not a path.
        ValueError: `value` is too long, or has a zero byte.
    """
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise TypeError(f"{name}={shown(value)} is not a path: expected {expected}")
    if problem := why_no_path(text):
        raise ValueError(f"{name}={shown(value)} {problem}: expected {expected}")
    return Path(value)


def why_no_path(text: str) -> str:
    """Return why a text cannot be a path, for messages; "" if it can."""
    if "\0" in text or len(text) > MAX_PATH or max(map(len, text.split("/"))) > MAX_NAME:
        return (
            f"cannot be a path, which has no zero byte, at most {MAX_PATH:,} characters, "
            f"and names of at most {MAX_NAME}"
        )
    return ""


def binary(name: str, value: Any) -> bytes:
    """Return the contents of a file as bytes.

    Raises:
        TypeError: `value` is not bytes, a bytearray or a memoryview.
    """
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"{name}={shown(value)} is not bytes: expected the contents of a file")
    return bytes(value)


def optional(
    check: Callable[Concatenate[str, Any, P], T],
    name: str,
    value: Any,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T | None:
    """Apply another check of this module, but accept None too.

    ```python
    laps = optional(integer, "laps", laps, 1, 9)
    ```

    Raises:
        TypeError, ValueError: raised by `check`; the message adds that None is accepted.
    """
    if value is None:
        return None
    try:
        return check(name, value, *args, **kwargs)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error}, or None") from None


def as_list(name: str, value: Any, single: Any) -> list[Any]:
    """Return a sequence as a list, and a single element as a list of one.

    Args:
        name: of the argument.
        value: of the argument.
        single: type, or union of types, of one element.

    Raises:
        TypeError: `value` is neither an element nor a sequence.
        ValueError: the sequence has more than 1,000 elements, or no end.
    """
    if isinstance(value, single):
        return [value]
    expected = "expected a name, an object, or a list of them"
    try:
        elements = list(itertools.islice(value, MAX_LIST + 1))
    except TypeError:
        raise TypeError(f"{name}={shown(value)} is not a list: {expected}") from None
    if len(elements) > MAX_LIST:
        raise ValueError(f"{name} has more than {MAX_LIST:,} elements: {expected}")
    return elements


def copied(name: str, value: Any) -> Any:
    """Return a deep copy of components; an iterator of them becomes a list.

    Raises:
        TypeError: an object cannot be copied.
        ValueError: the iterator has no end.
    """
    components: Any = as_list(name, value, ()) if isinstance(value, Iterator) else value
    try:
        return copy.deepcopy(components)
    except Exception as error:  # of the object's own code
        raise TypeError(
            f"{name}={shown(value)} cannot be copied ({type(error).__name__}): expected a name, "
            "or an object that copy.deepcopy accepts"
        ) from error


def _range(minimum: float, maximum: float | None) -> str:
    low, high = (
        f"{limit:g}" if isinstance(limit, float) else limit for limit in (minimum, maximum)
    )
    return f"of at least {low}" if maximum is None else f"from {low} to {high}"
