"""Argument checks accept what they document and name the argument in their errors."""

import itertools
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mkds_gym.utils.arguments import (
    as_list,
    boolean,
    choice,
    did_you_mean,
    file_path,
    integer,
    number,
    optional,
    shown,
)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (integer("n", np.int64(3), 1), 3),
        (integer("n", 8, 1, 8), 8),
        (number("x", 1, 0), 1.0),
        (number("x", np.float32(0.5), 0, 1), 0.5),
        (boolean("flag", False), False),
        (choice("mode", "vs", ("time_trial", "vs")), "vs"),
        (choice("mode", None, (None, "human")), None),
        (choice("class", np.int64(50), {50: 0, 100: 1}), 50),
        (file_path("rom", "a.nds", "a file"), Path("a.nds")),
        (optional(integer, "n", None, 1), None),
        (optional(integer, "n", 2, 1), 2),
        (as_list("parts", "seed6", str), ["seed6"]),
        (as_list("parts", ("seed6", "rays"), str), ["seed6", "rays"]),
    ],
)
def test_good_value_is_returned_as_the_plain_type(result: object, expected: object) -> None:
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("Mario", "mario_course"),  # too short for a similar word, but a part of one
        ("mraio_course", "mario_course"),
        ("snow_curse", "Snow_course"),
        ("ma", None),
        ("volcano", None),
        ("", None),
        ("x" * 1_000_000, None),
    ],
)
def test_similar_word_is_suggested(word: str, near: str | None) -> None:
    hint = did_you_mean(word, ["mario_course", "Snow_course"])
    assert hint == ("" if near is None else f" (did you mean '{near}'?)")


@pytest.mark.parametrize(
    ("check", "error", "message"),
    [
        (lambda: integer("n", True, 1), TypeError, "n=True is not an integer: expected an integer"),
        (lambda: integer("n", 2.0, 1), TypeError, "n=2.0 is not an integer"),
        (lambda: integer("n", "2", 1), TypeError, "n='2' is not an integer"),
        (lambda: integer("n", None, 1), TypeError, "n=None is not an integer"),
        (
            lambda: integer("n", 0, 1),
            ValueError,
            "n=0 is out of range: expected an integer of at least 1",
        ),
        (lambda: integer("n", 0, 1, 8), ValueError, "n=0 is out of range"),
        (lambda: integer("n", 9, 1, 8), ValueError, "expected an integer from 1 to 8"),
        (lambda: number("x", False, 0), TypeError, "x=False is not a number"),
        (lambda: number("x", "1", 0), TypeError, "x='1' is not a number: expected a number of"),
        (lambda: number("x", math.nan, 0, 1), ValueError, "x=nan is out of range: expected a"),
        (lambda: number("x", math.inf, 0), ValueError, "x=inf is out of range"),
        (lambda: number("x", 10**400, 0), ValueError, "is out of range"),
        (lambda: number("x", 10**5000, 0), ValueError, "x=<an integer of 5001 digits> is"),
        (lambda: number("x", 2, 0.5, 1.0), ValueError, "expected a number from 0.5 to 1"),
        (lambda: boolean("b", 1), TypeError, "b=1 is not a boolean: expected True or False"),
        (lambda: choice("m", "x", ("a", "b")), ValueError, "m='x' is unknown: expected one of 'a'"),
        (lambda: choice("m", True, (1, 2)), TypeError, "m=True is unknown: expected one of 1, 2"),
        (lambda: choice("m", 1.0, (1, 2)), TypeError, "m=1.0 is unknown"),
        (lambda: choice("m", [], ("a", "b")), TypeError, "m=[] is unknown"),
        (lambda: file_path("rom", 5, "a file"), TypeError, "rom=5 is not a path: expected a file"),
        (lambda: file_path("rom", b"a", "a file"), TypeError, "rom=b'a' is not a path"),
        (
            lambda: optional(integer, "n", 0, 1, 9),
            ValueError,
            "n=0 is out of range: expected an integer from 1 to 9, or None",
        ),
        (lambda: as_list("parts", 5, str), TypeError, "parts=5 is not a list"),
    ],
)
def test_bad_value_raises_an_error_that_names_the_argument(
    check: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        check()


def test_shown_shortens_long_values() -> None:
    assert len(shown("x" * 1000)) == 80
    assert shown([10**5000]) == "[<an integer of 5001 digits>]"
    endless: list[object] = []
    endless.append(endless)
    for value in (endless, [["x" * 100] * 100] * 100, np.zeros(10**6), b"x" * 10**6, Unshowable()):
        assert len(shown(value)) <= 200


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError


def test_list_argument_has_an_end() -> None:
    with pytest.raises(ValueError, match="parts has more than 1,000 elements"):
        as_list("parts", itertools.count(), str)
