"""Fitness scorers: from the metrics of an episode to one number, higher is better."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from mkds_gym.components.scorers import SCORERS
from mkds_gym.utils.arguments import shown
from mkds_gym.utils.imports import imported, takes
from mkds_neat.errors import ConfigError

Scorer = Callable[[Mapping[str, float]], float]

REWARDS: Final = "rewards"
"""The fitness in an environment without metrics: the sum of the rewards. No scorer computes it."""


class WeightedSum:
    """A weighted sum of metrics, such as ``progress - 0.5 * offroad_path + 10``.

    Args:
        expression: Terms joined by ``+`` and ``-``. A term is the name of a metric, a number, or
            a number times a name.

    Raises:
        ConfigError: The expression is not such a sum.
    """

    def __init__(self, expression: str) -> None:
        self.constant = 0.0
        self.terms: list[tuple[float, str]] = []
        try:
            terms = list(_terms(ast.parse(expression, mode="eval").body))
        except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError) as error:
            raise ConfigError(
                f"[evaluation] scorer = {shown(expression)} cannot be read: expected a weighted "
                "sum of metrics such as 'progress - 0.5 * offroad_path'"
            ) from error
        for factor, name in terms:
            if name is None:
                self.constant += factor
            else:
                self.terms.append((factor, name))

    def __call__(self, metrics: Mapping[str, float]) -> float:
        """Return the score. Raises KeyError if a metric is missing."""
        return sum((factor * metrics[name] for factor, name in self.terms), self.constant)


def _terms(node: ast.expr, sign: float = 1.0) -> Iterator[tuple[float, str | None]]:
    """Yield (factor, metric) of each term; the metric of a constant is None."""
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            yield sign * number, None
        case ast.Name(id=name):
            yield sign, name
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as operator, operand=operand):
            yield from _terms(operand, -sign if isinstance(operator, ast.USub) else sign)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as operator, right=right):
            yield from _terms(left, sign)
            yield from _terms(right, -sign if isinstance(operator, ast.Sub) else sign)
        case ast.BinOp(
            left=ast.Constant(value=int() | float() as number), op=ast.Mult(), right=right
        ) if not isinstance(number, bool):
            yield from _terms(right, sign * number)
        case _:
            raise ValueError(ast.unparse(node))


def make_scorer(expression: str) -> Scorer:
    """Return the scorer that ``[evaluation] scorer`` names.

    Args:
        expression: The name of a scorer of mkds_gym, ``module:object``, or a `WeightedSum`.

    Raises:
        ConfigError: The scorer does not exist, or the expression is malformed.
    """
    expression = expression.strip()
    if not expression:
        raise ConfigError("[evaluation] scorer is empty: expected the metric that is the fitness")
    if expression in SCORERS:
        return SCORERS.make(expression)
    if ":" not in expression:
        return WeightedSum(expression)
    setting = f"[evaluation] scorer = {shown(expression)}"
    try:
        found = imported("scorer", expression)
        if isinstance(found, type) and takes(found.__call__, 2):
            found = found()
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{setting} cannot be used: {error}") from error
    if not takes(found, 1):
        raise ConfigError(
            f"{setting} is not a Python function of one argument, the metrics: expected "
            "module:function, or a class whose objects are called with the metrics"
        )
    scorer: Scorer = found
    return scorer
