"""How environments become one batch: their observations, and their infos."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mkds_gym.env import MKDSEnv


class Lane(Protocol):
    """An environment that writes its observations into the batch."""

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Begin an episode; the info."""

    def step(self, action: Any) -> tuple[Any, bool, bool, dict[str, Any]]:
        """Step; reward, terminated, truncated, info."""

    def observation(self) -> Any:
        """The last observation, as a copy."""


class PlainLane:
    """An `MKDSEnv`, which writes where it is told to."""

    def __init__(self, env: MKDSEnv, space: gym.Space[Any], batch: Any, index: int) -> None:
        self._env = env
        self._row = (
            {name: batch[name][index] for name in space.spaces}
            if isinstance(space, gym.spaces.Dict)
            else batch[index]
        )

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """See `Lane`."""
        return self._env.reset_into(self._row, seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, bool, bool, dict[str, Any]]:
        """See `Lane`."""
        return self._env.step_into(action, self._row)

    def observation(self) -> Any:
        """See `Lane`."""
        return copy.deepcopy(self._row)


class WrappedLane:
    """Any environment, whose observations are copied."""

    def __init__(
        self, env: gym.Env[Any, Any], space: gym.Space[Any], batch: Any, index: int
    ) -> None:
        self._env = env
        self._write = _Row(space, batch, index)
        self._last: Any = None

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """See `Lane`."""
        self._last, info = self._env.reset(seed=seed, options=options)
        self._write(self._last)
        return info

    def step(self, action: Any) -> tuple[Any, bool, bool, dict[str, Any]]:
        """See `Lane`."""
        self._last, reward, terminated, truncated, info = self._env.step(action)
        self._write(self._last)
        return reward, terminated, truncated, info

    def observation(self) -> Any:
        """See `Lane`."""
        return self._last


class _Row:
    """Writes one environment's observation into the batch."""

    def __init__(self, space: gym.Space[Any], batch: Any, index: int) -> None:
        self._batch = batch
        self._index = index
        self._parts: list[tuple[Any, _Row]] = []
        if isinstance(space, gym.spaces.Dict):
            self._parts = [(k, _Row(part, batch[k], index)) for k, part in space.items()]
        elif isinstance(space, gym.spaces.Tuple):
            self._parts = [(k, _Row(p, batch[k], index)) for k, p in enumerate(space.spaces)]
        elif not isinstance(batch, np.ndarray):
            raise TypeError(
                f"observations of {space} cannot be put into arrays; use vectorization_mode='sync'"
            )

    def __call__(self, observation: Any) -> None:
        if not self._parts:
            self._batch[self._index] = observation
        for key, part in self._parts:
            part(observation[key])


class InfoForm:
    """Keys and types of an info, and how infos that have them become one.

    What comes out is what `VectorEnv._add_info` makes of them, in a third of the time, as numbers
    of one type are put into one table whose rows are the arrays.

    Args:
        info: an info of this form.
    """

    def __init__(self, info: Mapping[str, Any] | None) -> None:
        info = info or {}
        self._keys = tuple(info)
        self._types = tuple(map(type, info.values()))
        self._usable = True
        self._tables: list[tuple[type, list[str], Callable[[Any], Any]]] = []
        self._inner: list[tuple[str, InfoForm]] = []
        self._others: list[str] = []
        numbers: dict[type, list[str]] = {}
        for key, value in info.items():
            kind = type(value)
            if kind in (float, int, bool):
                numbers.setdefault(kind, []).append(key)
            elif kind is dict:
                self._inner.append((key, InfoForm(value)))
            elif isinstance(value, np.ndarray | np.number | dict) or key == "final_obs":
                self._usable = False  # these have rules of their own
            else:
                self._others.append(key)
        self._tables = [(kind, keys, itemgetter(*keys)) for kind, keys in numbers.items()]
        self._masks = tuple(f"_{key}" for key in self._keys)

    def fits(self, infos: Sequence[Any]) -> bool:
        """Whether all infos have this form."""
        if not self._usable:
            return False
        keys, types = self._keys, self._types
        for info in infos:
            if tuple(info) != keys or tuple(map(type, info.values())) != types:
                return False
        return all(form.fits([info[key] for info in infos]) for key, form in self._inner)

    def merge(self, infos: Sequence[Any]) -> dict[str, Any]:
        """One dict of arrays of infos that fit."""
        merged: dict[str, Any] = {}
        for kind, keys, pick in self._tables:
            table: NDArray[Any] = np.array([pick(info) for info in infos], kind)
            merged.update(zip(keys, table.reshape(len(infos), -1).T.copy(), strict=True))
        for key, form in self._inner:
            merged[key] = form.merge([info[key] for info in infos])
        for key in self._others:
            array = np.empty(len(infos), object)
            for index, info in enumerate(infos):
                array[index] = info[key]
            merged[key] = array
        masks = np.ones((len(self._masks), len(infos)), np.bool_)
        merged.update(zip(self._masks, masks, strict=True))
        return merged
