"""Random courses are reproducible, compile, and follow the difficulty."""

from __future__ import annotations

import math
import zlib
from typing import Any

import pytest

from mkds_gym.kartlab.boot import COURSE_DATA_SIZE
from mkds_gym.kartlab.compiler import compile_description
from mkds_gym.kartlab.generator import (
    LONGEST,
    SEEDS,
    SHORTEST,
    TEST_SEEDS,
    TRAIN_SEEDS,
    generate,
    random_course,
    random_course_data,
)


@pytest.fixture(scope="module")
def texts() -> dict[tuple[int, float], str]:
    """Descriptions by seed and difficulty."""
    return {(seed, d): random_course(seed, d) for seed in range(20) for d in (0.0, 0.5, 1.0)}


@pytest.mark.parametrize(("seed", "difficulty"), [(0, 0.0), (7, 0.5), (999, 1.0), (SEEDS[-1], 0.5)])
def test_course_compiles_fits_and_is_reproducible(seed: int, difficulty: float) -> None:
    compiled = compile_description(generate(seed, difficulty))
    assert SHORTEST <= compiled.length <= LONGEST
    data = compiled.narc()
    assert len(data) <= COURSE_DATA_SIZE
    assert random_course_data(seed, difficulty) == data


def test_course_depends_on_seed_and_difficulty(texts: dict[tuple[int, float], str]) -> None:
    assert len(set(texts.values())) == 60
    assert random_course(3) == texts[3, 0.5] == random_course(3, 0.5 + 1e-9)


def test_courses_of_a_seed_stay_the_same(texts: dict[tuple[int, float], str]) -> None:
    assert zlib.crc32("".join(texts.values()).encode()) == 0x328A58C8


def test_harder_course_is_narrower_with_more_drops(texts: dict[tuple[int, float], str]) -> None:
    easy, hard = ([text for (_, d), text in texts.items() if d == wanted] for wanted in (0.0, 1.0))

    def width(text: str) -> float:
        return float(text.split("[road]\nwidth = ")[1].split()[0])

    assert max(map(width, hard)) < min(map(width, easy))
    drops = [sum('end = "drop"' in text for text in texts) for texts in (easy, hard)]
    assert drops[1] > drops[0] + 5


def test_training_and_test_sets_are_disjoint() -> None:
    assert not set(TRAIN_SEEDS) & set(TEST_SEEDS)
    assert set(TRAIN_SEEDS) | set(TEST_SEEDS) == set(range(1000))


@pytest.mark.parametrize(
    ("seed", "difficulty", "error", "message"),
    [
        (-1, 0.5, ValueError, "seed=-1 is out of range: expected an integer from 0 to 2147483647"),
        (2**31, 0.5, ValueError, "seed=2147483648 is out of range"),
        (1.0, 0.5, TypeError, "seed=1.0 is not an integer"),
        (True, 0.5, TypeError, "seed=True is not"),
        (0, -0.01, ValueError, "difficulty=-0.01 is out of range: expected a number from 0 to 1"),
        (0, 1.01, ValueError, "difficulty=1.01 is out of range"),
        (0, math.nan, ValueError, "difficulty=nan is out of range"),
        (0, math.inf, ValueError, "difficulty=inf is out of range"),
        (0, "hard", TypeError, "difficulty='hard' is not a number"),
        (0, False, TypeError, "difficulty=False is not a number"),
    ],
)
def test_bad_argument_is_refused_by_name(
    seed: Any, difficulty: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        generate(seed, difficulty)
