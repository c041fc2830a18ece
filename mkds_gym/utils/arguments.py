"""Argument checks.

Each check takes the name and the value of an argument and returns the value as a plain Python
type. Errors have the form ``frame_skip=0 is out of range: expected an integer from 1 to 60``.
A value of the wrong type raises TypeError, any other bad value ValueError.
"""

from __future__ import annotations

import math
import os
import reprlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

T = TypeVar("T")
P = ParamSpec("P")

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80


def shown(value: object) -> str:
    """Return the repr of a value for an error message; long ones are shortened."""
    try:
        return _repr.repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return "an integer of thousands of digits"


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
    """Return True or False.

    Raises:
        TypeError: `value` is not a boolean.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name}={shown(value)} is not a boolean: expected True or False")
    return value


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
    message = f"{name}={shown(value)} is unknown: expected one of {', '.join(map(repr, accepted))}"
    raise (ValueError if right_type else TypeError)(message)


def file_path(name: str, value: Any, expected: str) -> Path:
    """Return a string or os.PathLike as a Path.

    Args:
        name: of the argument.
        value: of the argument.
        expected: accepted values, for the error message: "the path of a .nds file".

    Raises:
        TypeError: `value` is not a path.
    """
    if isinstance(value, str | os.PathLike) and isinstance(os.fspath(value), str):
        return Path(value)
    raise TypeError(f"{name}={shown(value)} is not a path: expected {expected}")


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
    """
    if isinstance(value, single):
        return [value]
    try:
        return list(value)
    except TypeError:
        message = f"{name}={shown(value)} is not a list: expected a name, an object, or a list"
        raise TypeError(f"{message} of them") from None


def _range(minimum: float, maximum: float | None) -> str:
    low, high = (
        f"{limit:g}" if isinstance(limit, float) else limit for limit in (minimum, maximum)
    )
    return f"of at least {low}" if maximum is None else f"from {low} to {high}"
