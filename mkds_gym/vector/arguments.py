"""What a vector environment is given, checked and laid out: one for each of its environments.

Of all that is wrong here, nothing has been started, reset or stepped.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray

from mkds_gym.episodes.cloned_state import ClonedState

RESET_MASK: Final = "reset_mask"
PER_ENV: Final = "per_env"

Options: TypeAlias = Mapping[str, Any]
Mask: TypeAlias = NDArray[np.bool_] | Sequence[bool]


def autoreset_mode_of(mode: Any) -> AutoresetMode:
    """A mode, or its value.

    Raises:
        ValueError: it is none.
    """
    try:
        return AutoresetMode(mode)
    except ValueError:
        allowed = ", ".join(repr(each.value) for each in AutoresetMode)
        raise ValueError(f"autoreset_mode={mode!r} is not one of {allowed}") from None


def checked_wrappers(wrappers: Any) -> tuple[Any, ...]:
    """What environments are wrapped in, all of which can be called.

    Raises:
        TypeError: they are no list, or one cannot be called.
    """
    try:
        listed = tuple(wrappers)
    except TypeError:
        raise TypeError(
            f"env_wrappers={wrappers!r} is no list: give one even of a single wrapper, "
            "env_wrappers=[FlattenObservation]"
        ) from None
    for index, wrapper in enumerate(listed):
        if not callable(wrapper):
            raise TypeError(
                f"env_wrappers[{index}]={wrapper!r} cannot be called: give a wrapper's class, or "
                "a function that is given an environment and returns it wrapped"
            )
    return listed


def each_kwargs(
    num_envs: int,
    env_kwargs: Sequence[Mapping[str, Any] | None] | None,
    kwargs: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The arguments of each environment, from its own and those for all.

    Raises:
        TypeError, ValueError: they are not one dict (or None) for each, or do not go together.
    """
    if env_kwargs is None:
        env_kwargs = [None] * num_envs
    if isinstance(env_kwargs, Mapping | str) or not isinstance(env_kwargs, Sequence):
        raise TypeError(
            f"env_kwargs={env_kwargs!r} is no list: give a dict of arguments (or None) for "
            "each environment; arguments for all go in directly, as in frame_skip=4"
        )
    if len(env_kwargs) != num_envs:
        raise ValueError(f"env_kwargs has {len(env_kwargs)} items for {num_envs} envs")
    each = []
    for index, own in enumerate(env_kwargs):
        if own is not None and not isinstance(own, Mapping):
            raise TypeError(f"env_kwargs[{index}]={own!r} is neither a dict nor None")
        each.append({**kwargs, **(own or {})})
    modes = {repr(arguments.get("render_mode")) for arguments in each}
    if len(modes) > 1:
        raise ValueError(f"one render_mode for all environments, not {', '.join(sorted(modes))}")
    if num_envs > 1 and modes == {"'human'"}:
        raise ValueError(
            "render_mode='human' is one window, for num_envs=1; mkds_gym.viewer.Viewer(envs) shows "
            "them all in one, or use 'rgb_array' and render()"
        )
    return each


def chosen_by(num_envs: int, name: str, mask: Any) -> Sequence[int]:
    """The numbers of the environments in a mask; None is all of them.

    Args:
        num_envs: how many there are.
        name: of the argument.
        mask: bool array of shape ``(num_envs,)``, or a list of bools, or None.

    Raises:
        TypeError, ValueError: it is none, or empty.
    """
    if mask is None:
        return range(num_envs)
    if isinstance(mask, list | tuple) and all(isinstance(one, bool | np.bool_) for one in mask):
        mask = np.array(mask, np.bool_)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(f"{name}={mask!r} is no NumPy array, or list, of bool")
    if mask.shape != (num_envs,):
        raise ValueError(f"{name} has the shape {mask.shape}, not ({num_envs},)")
    if not mask.any():
        raise ValueError(f"{name} has no True: it names no environment")
    chosen: list[int] = np.flatnonzero(mask).tolist()
    return chosen


def each_seed(num_envs: int, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
    """The seed of each environment, see `MKDSVectorEnv.reset`.

    Raises:
        TypeError, ValueError: they are no seeds, or another number of them.
    """
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool):
        return [_seed(index, int(seed) + index) for index in range(num_envs)]
    if isinstance(seed, bool | str) or not isinstance(seed, Sequence | np.ndarray):
        raise TypeError(f"seed={seed!r} is neither a whole number, nor a list of them, nor None")
    if len(seed) != num_envs:
        raise ValueError(f"{len(seed)} seeds for {num_envs} environments")
    return [None if each is None else _seed(index, each) for index, each in enumerate(seed)]


def _seed(index: int, seed: Any) -> int:
    try:
        if isinstance(seed, bool | np.bool_):
            raise TypeError
        number = operator.index(seed)
    except TypeError:
        raise TypeError(
            f"the seed of environment {index}, {seed!r}, is neither a whole number nor None"
        ) from None
    if number < 0:
        raise ValueError(f"the seed of environment {index}, {number}, is less than 0")
    return number


def each_options(
    num_envs: int, options: Options | Sequence[Options | None] | None
) -> tuple[Sequence[int], list[dict[str, Any] | None]]:
    """What is to be reset and how, see `MKDSVectorEnv.reset`.

    Returns:
        The numbers of the environments in the mask, and the options of each environment.

    Raises:
        TypeError, ValueError: they are no options, or for another number of environments.
    """
    common: dict[str, Any] = {}
    own: Any = options
    mask = None
    if isinstance(options, Mapping):
        common = dict(options)
        own = common.pop(PER_ENV, None)
        if RESET_MASK in common:
            mask = common.pop(RESET_MASK)
    chosen = chosen_by(num_envs, RESET_MASK, mask)
    if own is None:
        return chosen, [common or None] * num_envs
    if isinstance(own, str) or not isinstance(own, Sequence):
        raise TypeError(
            f"options={own!r} is neither a dict for all environments, nor a list with a dict "
            "or None for each"
        )
    if len(own) != num_envs:
        raise ValueError(f"options for {len(own)} of {num_envs} environments")
    each: list[dict[str, Any] | None] = []
    for index, item in enumerate(own):
        if item is not None and not isinstance(item, Mapping):
            raise TypeError(f"the options of environment {index}, {item!r}, are no dict or None")
        each.append({**common, **(item or {})} or None)
    return chosen, each


def each_state(num_envs: int, states: Any) -> list[ClonedState | None]:
    """The cloned state of each environment, see `MKDSVectorEnv.restore_states`.

    Raises:
        TypeError, ValueError: they are none, or another number of them.
    """
    if isinstance(states, ClonedState):
        return [states] * num_envs
    if not isinstance(states, list | tuple):
        raise TypeError(
            f"states={states!r} is neither what clone_states() gave, nor a list with a cloned "
            "state or None for each environment, nor one for all"
        )
    if len(states) != num_envs:
        raise ValueError(f"{len(states)} states for {num_envs} environments")
    for index, state in enumerate(states):
        if state is not None and not isinstance(state, ClonedState):
            raise TypeError(
                f"states[{index}] is no cloned state, but a {type(state).__name__}; for "
                "savestates there is reset(options=[{'state': state}, ...])"
            )
    if all(state is None for state in states):
        raise ValueError("all states are None")
    return list(states)


class Actions:
    """Tells the action of each environment from a batch of them.

    Args:
        single: the action space of one environment.
        batch: of all of them.
        num_envs: how many there are.
    """

    _KINDS: Final = {
        gym.spaces.Discrete: "iu",
        gym.spaces.MultiBinary: "iub",
        gym.spaces.Box: "iuf",
    }
    """What kinds of NumPy numbers the actions of a space may be given as."""

    def __init__(self, single: gym.Space[Any], batch: gym.Space[Any], num_envs: int) -> None:
        self._single = single
        self._batch = batch
        self._num_envs = num_envs
        self._kind = self._KINDS.get(type(single))

    def each(self, actions: Any, chosen: Sequence[int]) -> Sequence[Any]:
        """The action of each environment.

        Args:
            actions: a batch.
            chosen: the numbers of those that take theirs.

        Raises:
            ValueError: it is no batch, or one of those is no action of the space.
        """
        space = self._single
        if self._kind is None:  # a wrapper's own kind of actions
            listed = list(iterate(self._batch, actions))
            if len(listed) != self._num_envs:
                raise ValueError(f"{len(listed)} actions for {self._num_envs} environments")
            return listed
        try:
            array = np.asarray(actions)
        except ValueError:
            array = np.empty(0)
        if array.shape != self._batch.shape or array.dtype.kind not in self._kind:
            raise ValueError(
                f"actions of shape {array.shape} and type {array.dtype}; a batch of {space} for "
                f"{self._num_envs} environments has the shape {self._batch.shape}"
            )
        good: NDArray[np.bool_]
        if isinstance(space, gym.spaces.Discrete):
            good = (array >= space.start) & (array < space.start + space.n)
        elif isinstance(space, gym.spaces.MultiBinary):
            good = (array == 0) | (array == 1)
        else:
            good = np.isfinite(array)
        if not good.all():
            for index in chosen:
                if not good[index].all():
                    raise ValueError(
                        f"actions[{index}] = {array[index].tolist()!r} is no action of {space}"
                    )
        return array.tolist() if array.ndim == 1 else list(array)
