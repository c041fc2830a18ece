"""Actions: which keys of the console a policy's output presses.

Six kinds, chosen by ``action_type``:

==================  ====================  ======================================================
action_type         space                 meaning
==================  ====================  ======================================================
``discrete``        ``Discrete(11)``      one of `DISCRETE_ACTIONS`, the combinations for driving
``discrete_items``  ``Discrete(14)``      these, and `ITEM_ACTIONS`, which also use the item
``keys``            ``MultiBinary(11)``   each key of `KEY_ORDER` pressed (1) or not (0)
``threshold``       ``Box(-1, 1, (n,))``  activations, see `keys_from_activations`;
                                          ``"threshold:2"`` has only the first two outputs
``wheel``           ``Box(-1, 1, (n,))``  steering, drift, brake, item, see `WheelActions`;
                                          ``"wheel:2"`` has only the first two outputs
``keymask``         ``Discrete(4096)``    the console's key mask, bits of `Keys`
==================  ====================  ======================================================
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mkds_gym.components.registry import Registry
from mkds_gym.emulator.console import Keys
from mkds_gym.utils.arguments import shown

KEY_ORDER: Final[tuple[Keys, ...]] = (
    Keys.RIGHT,
    Keys.LEFT,
    Keys.DOWN,
    Keys.UP,
    Keys.B,
    Keys.A,
    Keys.X,
    Keys.Y,
    Keys.L,
    Keys.R,
    Keys.START,
)
"""Order of the keys in all action types with one value per key."""

PRESS_THRESHOLD: Final = 0.5
"""Smallest activation that presses its key."""

STEERING_THRESHOLD: Final = 1 / 3
"""Smallest size of `WheelActions`' steering that holds a side."""

DISCRETE_ACTIONS: Final[tuple[tuple[str, Keys], ...]] = (
    ("accelerate", Keys.A),
    ("accelerate left", Keys.A | Keys.LEFT),
    ("accelerate right", Keys.A | Keys.RIGHT),
    ("drift left", Keys.A | Keys.R | Keys.LEFT),
    ("drift right", Keys.A | Keys.R | Keys.RIGHT),
    ("coast", Keys(0)),
    ("coast left", Keys.LEFT),
    ("coast right", Keys.RIGHT),
    ("brake", Keys.B),
    ("brake left", Keys.B | Keys.LEFT),
    ("brake right", Keys.B | Keys.RIGHT),
)
"""Name and keys of each action of ``action_type="discrete"``, in the order of the actions."""

ITEM_ACTIONS: Final[tuple[tuple[str, Keys], ...]] = (
    ("use item", Keys.A | Keys.L),
    ("use item left", Keys.A | Keys.L | Keys.LEFT),
    ("use item right", Keys.A | Keys.L | Keys.RIGHT),
)
"""Further actions of ``action_type="discrete_items"``, numbered after `DISCRETE_ACTIONS`."""


KEYBOARD: Final[dict[Keys, int]] = {
    Keys.RIGHT: 0x4000004F,
    Keys.LEFT: 0x40000050,
    Keys.DOWN: 0x40000051,
    Keys.UP: 0x40000052,
    Keys.A: ord("x"),
    Keys.B: ord("z"),
    Keys.X: ord("s"),
    Keys.Y: ord("a"),
    Keys.L: ord("q"),
    Keys.R: ord("w"),
    Keys.START: 0x0D,
    Keys.SELECT: 0x400000E5,
}
"""Code (SDL, pygame) of the key of the keyboard for each key of the console: the arrow keys,
letters, return, and the right shift key."""


def keys_from_activations(activations: Sequence[float]) -> int:
    """Return the keys for the outputs of an evolved driver's network.

    An output of at least 0.5 presses its key. If any key is pressed, the accelerator (A) is
    pressed too. So a network with two outputs steers, and accelerates whenever it steers.

    Args:
        activations: up to 11 floats, in the order of `KEY_ORDER`.

    Returns:
        A key mask, bits of `Keys`.
    """
    mask = 0
    for bit, activation in zip(_KEY_BITS, activations, strict=False):
        if activation >= PRESS_THRESHOLD:
            mask |= bit
    return mask | _ACCELERATOR if mask else 0


_KEY_BITS: Final = tuple(int(key) for key in KEY_ORDER)
_ACCELERATOR: Final = int(Keys.A)
_ALL_MASKS: Final = 1 << 12


@runtime_checkable
class ActionMap(Protocol):
    """Maps actions to the keys that are held during a step."""

    @property
    def name(self) -> str:
        """Name of the action type."""

    @property
    def space(self) -> gym.Space[Any]:
        """The action space."""

    def keys(self, action: Any) -> int:
        """Return the key mask of an action.

        Raises:
            ValueError: the action is not in the space.
        """


class DiscreteActions:
    """One of `DISCRETE_ACTIONS` per step."""

    name = "discrete"

    def __init__(self, actions: Sequence[tuple[str, Keys]] = DISCRETE_ACTIONS) -> None:
        self.space = gym.spaces.Discrete(len(actions))
        self._masks = tuple(int(keys) for _, keys in actions)

    def keys(self, action: Any) -> int:
        index = _integer(action, len(self._masks))
        if not 0 <= index < len(self._masks):
            raise ValueError(
                f"action={shown(action)} is out of range: expected 0 to {len(self._masks) - 1}"
            )
        return self._masks[index]


class DiscreteItemActions(DiscreteActions):
    """One of `DISCRETE_ACTIONS` or `ITEM_ACTIONS` per step."""

    name = "discrete_items"

    def __init__(self) -> None:
        super().__init__((*DISCRETE_ACTIONS, *ITEM_ACTIONS))


class KeyActions:
    """Each key pressed or not."""

    name = "keys"

    def __init__(self) -> None:
        self.space = gym.spaces.MultiBinary(len(KEY_ORDER))

    def keys(self, action: Any) -> int:
        pressed = _values(action, len(_KEY_BITS))
        mask = 0
        for bit, value in zip(_KEY_BITS, pressed, strict=True):
            if value == 1:
                mask |= bit
            elif value != 0:
                raise ValueError(f"action={shown(action)}: {shown(value)} is not 0 or 1")
        return mask


class ThresholdActions:
    """Activations, mapped by `keys_from_activations`.

    The space is [-1, 1]; other finite values are accepted too.

    Args:
        outputs: number of outputs, 1 to 11: the first keys of `KEY_ORDER`.

    Raises:
        ValueError: ``outputs`` is out of range.
    """

    name = "threshold"

    def __init__(self, outputs: int = len(KEY_ORDER)) -> None:
        if not isinstance(outputs, int) or not 1 <= outputs <= len(KEY_ORDER):
            raise ValueError(
                f"threshold:{outputs} is out of range: expected 1 to {len(KEY_ORDER)} outputs"
            )
        self.space = gym.spaces.Box(-1.0, 1.0, (outputs,), np.float32)
        self._outputs = outputs

    def keys(self, action: Any) -> int:
        return keys_from_activations(_finite_values(action, self._outputs))


class WheelActions:
    """Steering, drift, brake and item, each as one number in [-1, 1].

    * steering: left from 1/3 on, right up to -1/3, else straight.
    * drift: R from 1/2 on.
    * brake: B instead of A from 1/2 on. Otherwise A is held, so a driver accelerates by itself.
    * item: L from 1/2 on.

    Other finite values are accepted too.

    Args:
        outputs: number of outputs, 1 to 4: the first of the list.

    Raises:
        ValueError: ``outputs`` is out of range.
    """

    name = "wheel"

    def __init__(self, outputs: int = 4) -> None:
        if not isinstance(outputs, int) or not 1 <= outputs <= 4:
            raise ValueError(f"wheel:{outputs} is out of range: expected 1 to 4 outputs")
        self.space = gym.spaces.Box(-1.0, 1.0, (outputs,), np.float32)
        self._outputs = outputs

    def keys(self, action: Any) -> int:
        steering, *pressed = _finite_values(action, self._outputs)
        drift, brake, item = (value >= PRESS_THRESHOLD for value in (*pressed, -1, -1, -1)[:3])
        mask = int(Keys.B if brake else Keys.A)
        if steering >= STEERING_THRESHOLD:
            mask |= int(Keys.LEFT)
        elif steering <= -STEERING_THRESHOLD:
            mask |= int(Keys.RIGHT)
        return mask | (int(Keys.R) if drift else 0) | (int(Keys.L) if item else 0)


class KeymaskActions:
    """The console's key mask, any of its 4,096 values."""

    name = "keymask"

    def __init__(self) -> None:
        self.space = gym.spaces.Discrete(_ALL_MASKS)

    def keys(self, action: Any) -> int:
        mask = _integer(action, _ALL_MASKS)
        if not 0 <= mask < _ALL_MASKS:
            raise ValueError(
                f"action={shown(action)} is not a key mask: expected 0 to {_ALL_MASKS - 1}"
            )
        return mask


def _integer(action: Any, count: int) -> int:
    """Return a discrete action: an int, a NumPy integer, or an array of one element."""
    if isinstance(action, np.ndarray) and action.size == 1:
        action = action.item()
    try:
        if isinstance(action, bool):
            raise TypeError
        return operator.index(action)
    except TypeError:
        raise ValueError(
            f"action={shown(action)} is not an integer: expected 0 to {count - 1}"
        ) from None


def _values(action: Any, count: int) -> list[Any]:
    try:
        if isinstance(action, np.ndarray):
            values: list[Any] = action[: count + 1].tolist()
        else:
            values = list(itertools.islice(action, count + 1))
    except (TypeError, IndexError):
        raise ValueError(f"action={shown(action)} is not a list: expected {count} values") from None
    if len(values) != count:
        number = len(values) if len(values) < count else f"more than {count}"
        raise ValueError(f"the action has {number} values: expected {count}")
    return values


def _finite_values(action: Any, count: int) -> list[Any]:
    values = _values(action, count)
    for value in values:
        try:
            finite = math.isfinite(value)
        except (TypeError, OverflowError):
            finite = False
        if not finite:
            raise ValueError(f"action={shown(action)}: {shown(value)} is not a finite number")
    return values


ACTION_TYPES: Final[Registry[ActionMap]] = Registry(
    "action_type", ActionMap, "name, space and keys(action)"
)
"""Action types by name."""

ACTION_TYPES.register("discrete", DiscreteActions)
ACTION_TYPES.register("discrete_items", DiscreteItemActions)
ACTION_TYPES.register("keys", KeyActions)
ACTION_TYPES.register("threshold", ThresholdActions)
ACTION_TYPES.register("wheel", WheelActions)
ACTION_TYPES.register("keymask", KeymaskActions)


def actions_for(action_type: str, masks: NDArray[np.uint16]) -> NDArray[Any]:
    """Return actions that press given keys, the inverse of `ActionMap.keys`.

    Args:
        action_type: any type with a finite number of actions, so not ``threshold`` or ``wheel``.
        masks: masks of `Keys`, uint16 (steps,).

    Returns:
        One action per step, of the space's dtype: (steps,), or (steps, 11) for ``keys``.

    Raises:
        ValueError: unknown action type, ``threshold``, ``wheel``, or a mask without an action.
    """
    kind = ACTION_TYPES.make(action_type)
    space = kind.space
    if not isinstance(space, gym.spaces.Discrete | gym.spaces.MultiBinary):
        raise ValueError(
            f"action_type={shown(action_type)} has no inverse: activations cannot be derived "
            "from keys"
        )
    table = _action_by_mask(kind)
    wanted = np.unique(masks).tolist()
    for mask in wanted:
        if mask not in table:
            raise ValueError(
                f"action_type={shown(action_type)} has no action that presses {Keys(mask)!r}; use "
                "'keymask', which has one for all keys"
            )
    return np.array([table[mask] for mask in masks.tolist()], space.dtype)


def _action_by_mask(kind: ActionMap) -> dict[int, Any]:
    """Return the first action that presses each key mask."""
    space = kind.space
    every: Iterable[Any]
    if isinstance(space, gym.spaces.Discrete):
        every = range(int(space.n))
    else:
        off = 0 if isinstance(space, gym.spaces.MultiBinary) else -1
        every = itertools.product((off, 1), repeat=math.prod(space.shape or ()))
    table: dict[int, Any] = {}
    for action in every:
        table.setdefault(kind.keys(action), action)
    return table


def keys_to_action(kind: ActionMap) -> dict[tuple[int, ...], Any]:
    """Return the action for the keys of the keyboard that are held.

    Returns:
        Actions of the space's dtype by sorted codes of `KEYBOARD`. No key held has no entry.
    """
    space = kind.space
    found: dict[tuple[int, ...], Any] = {}
    for mask, action in _action_by_mask(kind).items():
        codes = tuple(sorted(code for key, code in KEYBOARD.items() if mask & key))
        if codes:
            found[codes] = np.array(action, space.dtype) if space.shape else action
    return found
