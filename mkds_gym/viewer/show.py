"""The argument ``show``: which environments are shown."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from mkds_gym.utils.arguments import shown

SHOW_WORDS: Final = ("none", "first", "all")


def parse_show(
    show: str | int | bool | Sequence[int] | Sequence[bool], count: int
) -> tuple[int, ...]:
    """Return the numbers of the environments to show, in ascending order.

    Args:
        show: ``"none"``, ``"first"``, ``"all"``; a number or several, counted from 0 (``"0,3,5"``,
            ``[0, 3, 5]``); a bool for all, or one for each environment.
        count: number of environments.

    Raises:
        ValueError: another value, a number out of range, or the same number twice.
    """
    if isinstance(show, bool | np.bool_):
        return tuple(range(count if show else 0))
    if isinstance(show, str):
        word = show.strip().lower()
        if word in SHOW_WORDS:
            return tuple(range({"none": 0, "first": min(1, count), "all": count}[word]))
        parts: Sequence[Any] = word.split(",")
    else:
        try:
            parts = list(show)  # type: ignore[arg-type]
        except TypeError:
            parts = [show]
        if parts and all(isinstance(part, bool | np.bool_) for part in parts):
            if len(parts) != count:
                raise ValueError(f"show={shown(show)} has {len(parts)} bools: expected {count}")
            return tuple(number for number, part in enumerate(parts) if part)
    numbers = set()
    for part in parts:
        try:
            number = _integer(part)
        except (TypeError, ValueError):
            raise ValueError(
                f"show={shown(show)}: {shown(str(part))} is not an integer: expected none, "
                "first, all, or numbers such as 0,3,5"
            ) from None
        if not 0 <= number < count:
            raise ValueError(
                f"show={shown(show)}: {part} is out of range: expected integers from 0 to "
                f"{count - 1}"
            )
        if number in numbers:
            raise ValueError(f"show={shown(show)}: {number} is given twice")
        numbers.add(number)
    return tuple(sorted(numbers))


def _integer(part: Any) -> int:
    if isinstance(part, bool):
        raise TypeError
    return int(part) if isinstance(part, str) else operator.index(part)
