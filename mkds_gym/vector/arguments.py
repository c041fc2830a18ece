"""Check the arguments of a vector environment and split them per environment.

Every function raises before anything has been started, reset or stepped.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Mapping, Sequence, Sized
from typing import Any, Final, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray

from mkds_gym.episodes.cloned_state import ClonedState
from mkds_gym.utils.arguments import MAX_LIST, choice, shown

RESET_MASK: Final = "reset_mask"
PER_ENV: Final = "per_env"

Options: TypeAlias = Mapping[str, Any]
Mask: TypeAlias = NDArray[np.bool_] | Sequence[bool]


def check_length(name: str, values: Sized, num_envs: int) -> None:
    """Check that there is one value per environment.

    Raises:
        ValueError: too few or too many.
    """
    try:
        length = len(values)
    except TypeError:  # an array without dimensions
        raise TypeError(f"{name}={shown(values)} is not a list") from None
    if length != num_envs:
        raise ValueError(
            f"{name} has the length {length}: expected {num_envs}, one per environment"
        )


def check_autoreset_mode(mode: Any) -> AutoresetMode:
    """Return the `AutoresetMode` of a mode or its value.

    Raises:
        ValueError, TypeError: unknown mode.
    """
    if isinstance(mode, AutoresetMode):
        return mode
    return AutoresetMode(choice("autoreset_mode", mode, [each.value for each in AutoresetMode]))


def check_wrappers(wrappers: Any) -> tuple[Any, ...]:
    """Return the environment wrappers as a tuple.

    Raises:
        TypeError: not a list, or an item is not callable.
    """
    try:
        listed = tuple(itertools.islice(wrappers, MAX_LIST))
    except TypeError:
        raise TypeError(
            f"env_wrappers={shown(wrappers)} is not a list: pass a list, as in "
            "env_wrappers=[FlattenObservation]"
        ) from None
    for index, wrapper in enumerate(listed):
        if not callable(wrapper):
            raise TypeError(
                f"env_wrappers[{index}]={shown(wrapper)} is not callable: pass a wrapper class, "
                "or a function that takes an environment and returns the wrapped one"
            )
    return listed


def kwargs_per_env(
    num_envs: int,
    env_kwargs: Sequence[Mapping[str, Any] | None] | None,
    kwargs: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return the arguments of each environment: ``kwargs``, overridden by ``env_kwargs``.

    Raises:
        TypeError, ValueError: not a dict (or None) for each, or different render modes.
    """
    if env_kwargs is None:
        env_kwargs = [None] * num_envs
    if isinstance(env_kwargs, Mapping | str) or not isinstance(env_kwargs, Sequence):
        raise TypeError(
            f"env_kwargs={shown(env_kwargs)} is not a list: pass a dict of arguments (or None) "
            "for each environment; pass arguments for all of them directly, as in frame_skip=4"
        )
    check_length("env_kwargs", env_kwargs, num_envs)
    each = []
    for index, own in enumerate(env_kwargs):
        if own is not None and not isinstance(own, Mapping):
            raise TypeError(f"env_kwargs[{index}]={shown(own)} is not a dict or None")
        each.append({**kwargs, **(own or {})})
    modes = {repr(arguments.get("render_mode")) for arguments in each}
    if len(modes) > 1:
        raise ValueError(
            f"env_kwargs has the render modes {', '.join(sorted(modes))}: all environments need "
            "the same render_mode"
        )
    if num_envs > 1 and modes == {"'human'"}:
        raise ValueError(
            "render_mode='human' has one window and needs num_envs=1; "
            "mkds_gym.viewer.Viewer(envs) shows many environments in one window, or use "
            "'rgb_array' and render()"
        )
    return each


def masked_indices(num_envs: int, name: str, mask: Any) -> Sequence[int]:
    """Return the indices of the environments in a mask; None is all.

    Args:
        num_envs: number of environments.
        name: of the argument, for messages.
        mask: bool array of shape ``(num_envs,)``, a list of bools, or None.

    Raises:
        TypeError, ValueError: not a mask of this shape, or all False.
    """
    if mask is None:
        return range(num_envs)
    if isinstance(mask, list | tuple) and all(isinstance(one, bool | np.bool_) for one in mask):
        mask = np.array(mask, np.bool_)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(f"{name}={shown(mask)} is not a NumPy array or list of bool")
    if mask.shape != (num_envs,):
        raise ValueError(f"{name} has the shape {mask.shape}: expected ({num_envs},)")
    if not mask.any():
        raise ValueError(f"{name} selects no environment: expected at least one True")
    indices: list[int] = np.flatnonzero(mask).tolist()
    return indices


def seeds_per_env(num_envs: int, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
    """Return the seed of each environment from the argument of `MKDSVectorEnv.reset`.

    Raises:
        TypeError, ValueError: not seeds, or the wrong number of seeds.
    """
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool):
        return [_check_seed(index, int(seed) + index) for index in range(num_envs)]
    if isinstance(seed, bool | str) or not isinstance(seed, Sequence | np.ndarray):
        raise TypeError(f"seed={shown(seed)} is not an integer, a list of integers or None")
    check_length("seed", seed, num_envs)
    return [None if each is None else _check_seed(index, each) for index, each in enumerate(seed)]


def _check_seed(index: int, seed: Any) -> int:
    try:
        if isinstance(seed, bool | np.bool_):
            raise TypeError
        number = operator.index(seed)
    except TypeError:
        raise TypeError(
            f"seed {shown(seed)} of environment {index} is not an integer or None"
        ) from None
    if number < 0:
        raise ValueError(
            f"seed {shown(number)} of environment {index} is negative: expected 0 or more"
        )
    return number


def options_per_env(
    num_envs: int, options: Options | Sequence[Options | None] | None
) -> tuple[Sequence[int], list[dict[str, Any] | None]]:
    """Split the options of `MKDSVectorEnv.reset`.

    Returns:
        Indices of the environments to reset, and the options of every environment.

    Raises:
        TypeError, ValueError: not options, or the wrong number of options.
    """
    common: dict[str, Any] = {}
    per_env: Any = options
    mask = None
    if isinstance(options, Mapping):
        common = dict(options)
        per_env = common.pop(PER_ENV, None)
        mask = common.pop(RESET_MASK, None)
        if mask is None and RESET_MASK in options:
            raise TypeError(f"{RESET_MASK}=None is not a NumPy array or list of bool")
    indices = masked_indices(num_envs, RESET_MASK, mask)
    if per_env is None:
        return indices, [common or None] * num_envs
    if isinstance(per_env, str) or not isinstance(per_env, Sequence):
        raise TypeError(
            f"options={shown(per_env)} is not a dict, or a list with a dict or None for each "
            "environment"
        )
    check_length("options", per_env, num_envs)
    for index, item in enumerate(per_env):
        if item is not None and not isinstance(item, Mapping):
            raise TypeError(f"options {shown(item)} of environment {index} are not a dict or None")
    return indices, [{**common, **(item or {})} or None for item in per_env]


def states_per_env(num_envs: int, states: Any) -> list[ClonedState | None]:
    """Return the state of each environment from the argument of `MKDSVectorEnv.restore_states`.

    Raises:
        TypeError, ValueError: not cloned states, or the wrong number of states.
    """
    if isinstance(states, ClonedState):
        return [states] * num_envs
    if not isinstance(states, list | tuple):
        raise TypeError(
            f"states={shown(states)} is not a cloned state, or a list with a state or None for "
            "each environment: pass the result of clone_states()"
        )
    check_length("states", states, num_envs)
    for index, state in enumerate(states):
        if state is not None and not isinstance(state, ClonedState):
            raise TypeError(
                f"states[{index}] is a {type(state).__name__}, expected a cloned state; pass "
                "savestates to reset(options=[{'state': state}, ...])"
            )
    if all(state is None for state in states):
        raise ValueError("all states are None: pass at least one cloned state")
    return list(states)


class ActionBatch:
    """Checks batches of actions and splits them per environment.

    Args:
        single: action space of one environment.
        batch: action space of all environments.
        num_envs: number of environments.
    """

    _KINDS: Final = {
        gym.spaces.Discrete: "iu",
        gym.spaces.MultiBinary: "iub",
        gym.spaces.Box: "iuf",
    }
    """Accepted NumPy dtype kinds of the actions of a space."""

    def __init__(self, single: gym.Space[Any], batch: gym.Space[Any], num_envs: int) -> None:
        self._single = single
        self._batch = batch
        self._num_envs = num_envs
        self._kind = self._KINDS.get(type(single))

    def split(self, actions: Any, indices: Sequence[int]) -> Sequence[Any]:
        """Return the action of each environment.

        Args:
            actions: a batch of actions.
            indices: environments whose actions are used, and so must be valid.

        Raises:
            ValueError: not a batch, or an action is not in the space.
        """
        space = self._single
        if isinstance(actions, Sized) and not isinstance(actions, np.ndarray):
            check_length("actions", actions, self._num_envs)
        if self._kind is None:  # the action space of a wrapper
            listed = list(iterate(self._batch, actions))
            check_length("actions", listed, self._num_envs)
            return listed
        try:
            array = np.asarray(actions)
        except (ValueError, TypeError, OverflowError):
            array = np.empty(0)
        if array.shape != self._batch.shape or array.dtype.kind not in self._kind:
            raise ValueError(
                f"actions have the shape {array.shape} and the dtype {array.dtype}: expected the "
                f"shape {self._batch.shape}, a batch of {space} for {self._num_envs} environments"
            )
        valid: NDArray[np.bool_]
        if isinstance(space, gym.spaces.Discrete):
            valid = (array >= space.start) & (array < space.start + space.n)
        elif isinstance(space, gym.spaces.MultiBinary):
            valid = (array == 0) | (array == 1)
        else:
            valid = np.isfinite(array)
        if not valid.all():
            for index in indices:
                if not valid[index].all():
                    raise ValueError(
                        f"actions[{index}]={shown(array[index].tolist())} is out of range: "
                        f"expected an action of {space}"
                    )
        return array.tolist() if array.ndim == 1 else list(array)
