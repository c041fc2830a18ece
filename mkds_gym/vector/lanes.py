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
    """An environment that writes its observations into the batch.

    The batch is one array for each leaf of the observation space, of the shape
    ``(num_envs, *leaf.shape)`` and the leaf's dtype; the environment has the row of its index.
    """

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Begin an episode; arguments and errors as `MKDSEnv.reset`.

        Returns:
            The info.
        """

    def step(self, action: Any) -> tuple[Any, bool, bool, dict[str, Any]]:
        """Take a step; errors as `MKDSEnv.step`. One that fails leaves the row as it was.

        Args:
            action: one of the environment's action space.

        Returns:
            Reward, terminated, truncated, info.
        """

    def observation(self) -> Any:
        """The last observation, which no later step writes into; of the observation space."""


class PlainLane:
    """An `MKDSEnv`, which writes where it is told to: nothing is allocated, nothing copied.

    Args:
        env: the environment.
        space: its observation space, a Box or a Dict of them.
        batch: arrays of all environments, see `Lane`.
        index: of this one.
    """

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
    """Any environment: it makes an observation of its own in each step, which is copied.

    Args:
        env: the environment.
        space: its observation space: Box, Discrete, MultiDiscrete, MultiBinary, or Dict or Tuple
            of them.
        batch: arrays of all environments, see `Lane`.
        index: of this one.

    Raises:
        TypeError: observations of another space, which do not go into arrays.
    """

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
    """Writes one environment's observation into the batch; arguments as `WrappedLane`."""

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
    """Keys and types of one info for each environment, and how such infos become one.

    What comes out is what `VectorEnv._add_info` makes of them, but sooner, as numbers of one
    type are put into one table whose rows are the arrays.

    Args:
        infos: one for each environment.

    Attributes:
        usable: False if there is no quicker way: infos with other keys than the first, or with
            arrays, whose rules are left to `VectorEnv._add_info`.
    """

    def __init__(self, infos: Sequence[Mapping[str, Any]]) -> None:
        self._signatures = [_signature(info) for info in infos]
        self._keys: tuple[str, ...] = self._signatures[0][0]
        self._tables: list[tuple[type, Callable[[Any], Any], list[str]]] = []
        self._inner: list[tuple[str, InfoForm]] = []
        self._others: list[str] = []
        self.usable = all(keys == self._keys for keys, _ in self._signatures)
        if not self.usable:
            return
        numbers: dict[type, list[str]] = {}
        for place, key in enumerate(self._keys):
            kinds = {types[place] for _, types in self._signatures}
            kind = next(iter(kinds)) if len(kinds) == 1 else object
            if key == "final_obs":
                self.usable = False
            elif kind in (float, int, bool):
                numbers.setdefault(kind, []).append(key)
            elif kind is dict:
                self._inner.append((key, InfoForm([info[key] for info in infos])))
            elif any(issubclass(one, np.ndarray | np.number | dict) for one in kinds):
                self.usable = False
            else:
                # Numbers of different types among them: None for some and a number for others.
                self._others.append(key)
        self._tables = [(kind, itemgetter(*keys), keys) for kind, keys in numbers.items()]
        self._masks = tuple(f"_{key}" for key in self._keys)
        self.usable = self.usable and all(form.usable for _, form in self._inner)

    def fits(self, infos: Sequence[Mapping[str, Any]]) -> bool:
        """Whether these infos have the keys and types that those it was made of had."""
        for info, (keys, types) in zip(infos, self._signatures, strict=True):
            if tuple(info) != keys or tuple(map(type, info.values())) != types:
                return False
        return all(form.fits([info[key] for info in infos]) for key, form in self._inner)

    def merge(self, infos: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """One dict of infos that fit, if it is usable.

        Returns:
            For each key an array of shape ``(n,)`` (int64, float64, bool or object) or, of dicts,
            such a dict; and with ``_`` before it an array of bool, all True.
        """
        merged: dict[str, Any] = {}
        for kind, pick, keys in self._tables:
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


def _signature(info: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[type, ...]]:
    """Keys, and the types of the values."""
    return tuple(info), tuple(map(type, info.values()))
