"""Exceptions of custom code that are hard to send, and components that raise them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym

from mkds_gym.components.metrics import DEFAULT_METRICS


class TwoArgumentsError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


class BadTextError(Exception):
    def __str__(self) -> str:
        raise BadTextError


class BadReduceError(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        raise ZeroDivisionError


class NoException(BaseException):
    pass


def local() -> Exception:
    class LocalError(Exception):
        pass

    return LocalError("local")


KINDS: dict[str, Callable[[], BaseException]] = {
    "local": local,
    "two arguments": lambda: TwoArgumentsError(1, 2),
    "text": BadTextError,
    "reduce": BadReduceError,
    "memory": MemoryError,
    "base": lambda: NoException("base"),
    "exit": lambda: SystemExit(3),
    "ctrl-c": KeyboardInterrupt,
}


def fail(kind: str) -> None:
    """Raise an exception of a kind."""
    raise KINDS[kind]()


class FailingMetric:
    """A metric that fails in ``update``, or in ``reset`` or ``collect``."""

    name = "failing"

    def __init__(self, kind: str, where: str = "update") -> None:
        self.kind, self.where, self.frames = kind, where, 0

    def _fail(self, where: str) -> None:
        if where == self.where:
            fail(self.kind)

    def reset(self) -> None:
        self._fail("reset")

    def update(self, race: Any, course: Any) -> None:
        self.frames += 1
        if self.frames > 20:
            self._fail("update")

    def collect(self) -> dict[str, float]:
        return {"failing": 0.0}


class FailingReward:
    """A score that fails."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, metrics: Mapping[str, float]) -> float:
        fail(self.kind)
        return 0.0


class FailingWrapper(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper whose step fails."""

    def __init__(self, env: gym.Env[Any, Any], kind: str = "local") -> None:
        super().__init__(env)
        self.kind = kind

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        fail(self.kind)
        return super().step(action)


def arguments(place: str, kind: str) -> dict[str, Any]:
    """Return the arguments of an environment that fails in a place."""
    if place == "reward":
        return {"reward": FailingReward(kind)}
    return {"metrics": [*DEFAULT_METRICS, FailingMetric(kind, place)]}
