"""Actions: what a policy may output, and which keys of the console it presses.

Five kinds, chosen by ``action_type``:

==================  ====================  ======================================================
action_type         space                 meaning
==================  ====================  ======================================================
``discrete``        ``Discrete(11)``      one of `DISCRETE_ACTIONS`, the combinations that drive
``discrete_items``  ``Discrete(14)``      those, and `ITEM_ACTIONS`, which use the item too
``keys``            ``MultiBinary(11)``   each key of `KEY_ORDER` pressed (1) or not, literally
``threshold``       ``Box(-1, 1, (n,))``  activations; `keys_from_activations` decides.
                                          ``"threshold:2"`` has the first two outputs only
``keymask``         ``Discrete(4096)``    the console's own key mask, the bits of `Keys`
==================  ====================  ======================================================
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mkds_gym.components.registry import Registry
from mkds_gym.emulator.console import Keys

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
"""The order of outputs, the same in every action type that has one value a key."""

PRESS_THRESHOLD: Final = 0.5
"""An activation of at least this presses its key."""

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
"""Name and keys of each action of ``action_type="discrete"``, by action number."""

ITEM_ACTIONS: Final[tuple[tuple[str, Keys], ...]] = (
    ("use item", Keys.A | Keys.L),
    ("use item left", Keys.A | Keys.L | Keys.LEFT),
    ("use item right", Keys.A | Keys.L | Keys.RIGHT),
)
"""What ``action_type="discrete_items"`` has besides, numbered on from those."""


def keys_from_activations(activations: Sequence[float]) -> int:
    """The control rule of an evolved driver.

    An output of at least 0.5 presses its key; whenever any key is pressed the accelerator
    (A) is pressed too; when none is, everything is released. A network with two outputs
    therefore steers, and drives as soon as it steers.

    Args:
        activations: up to 11 numbers, in the order of `KEY_ORDER`.

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


class ActionMap(Protocol):
    """Turns an action into the keys that are held for a step."""

    @property
    def name(self) -> str:
        """The name it is chosen by."""

    @property
    def space(self) -> gym.Space[Any]:
        """The action space."""

    def keys(self, action: Any) -> int:
        """The key mask of an action.

        Raises:
            ValueError: the action is not one of the space.
        """


class DiscreteActions:
    """One of `DISCRETE_ACTIONS` a step."""

    name = "discrete"

    def __init__(self, actions: Sequence[tuple[str, Keys]] = DISCRETE_ACTIONS) -> None:
        self.space = gym.spaces.Discrete(len(actions))
        self._masks = tuple(int(keys) for _, keys in actions)

    def keys(self, action: Any) -> int:
        """See `ActionMap.keys`."""
        index = _whole(action)
        if not 0 <= index < len(self._masks):
            raise ValueError(f"action {action!r} is not one of 0..{len(self._masks) - 1}")
        return self._masks[index]


class DiscreteItemActions(DiscreteActions):
    """One of `DISCRETE_ACTIONS` or `ITEM_ACTIONS` a step."""

    name = "discrete_items"

    def __init__(self) -> None:
        super().__init__((*DISCRETE_ACTIONS, *ITEM_ACTIONS))


class KeyActions:
    """Every key on its own, pressed or not."""

    name = "keys"

    def __init__(self) -> None:
        self.space = gym.spaces.MultiBinary(len(KEY_ORDER))

    def keys(self, action: Any) -> int:
        """See `ActionMap.keys`."""
        pressed = _values(action, len(_KEY_BITS))
        mask = 0
        for bit, value in zip(_KEY_BITS, pressed, strict=True):
            if value == 1:
                mask |= bit
            elif value != 0:
                raise ValueError(f"action {action!r}: each key is 0 or 1, not {value!r}")
        return mask


class ThresholdActions:
    """Activations, pressed by `keys_from_activations`.

    The space is [-1, 1]; any other finite number is understood too, as a network gives them.

    Args:
        outputs: how many of `KEY_ORDER`, from the first, the policy has an output for: 1..11.
    """

    name = "threshold"

    def __init__(self, outputs: int = len(KEY_ORDER)) -> None:
        if not isinstance(outputs, int) or not 1 <= outputs <= len(KEY_ORDER):
            raise ValueError(f"threshold:{outputs}: the number of outputs is 1..{len(KEY_ORDER)}")
        self.space = gym.spaces.Box(-1.0, 1.0, (outputs,), np.float32)
        self._outputs = outputs

    def keys(self, action: Any) -> int:
        """See `ActionMap.keys`."""
        activations = _values(action, self._outputs)
        for value in activations:
            if not math.isfinite(value):
                raise ValueError(f"action {action!r}: {value!r} is no finite number")
        return keys_from_activations(activations)


class KeymaskActions:
    """The console's key mask itself, any of its 4,096 values."""

    name = "keymask"

    def __init__(self) -> None:
        self.space = gym.spaces.Discrete(_ALL_MASKS)

    def keys(self, action: Any) -> int:
        """See `ActionMap.keys`."""
        mask = _whole(action)
        if not 0 <= mask < _ALL_MASKS:
            raise ValueError(f"action {action!r} is not a key mask 0..{_ALL_MASKS - 1}")
        return mask


def _whole(action: Any) -> int:
    """A discrete action as an int: of Python, of NumPy, or an array of one."""
    if isinstance(action, np.ndarray) and action.size == 1:
        action = action.item()
    if isinstance(action, bool):
        raise ValueError(f"action {action!r} is a truth value; this action_type takes a number")
    try:
        return operator.index(action)
    except TypeError:
        raise ValueError(f"action {action!r} is not a whole number") from None


def _values(action: Any, count: int) -> list[Any]:
    try:
        values: list[Any] = action.tolist() if isinstance(action, np.ndarray) else list(action)
        len(values)
    except TypeError:
        raise ValueError(f"action {action!r}: this action_type takes {count} values") from None
    if len(values) != count:
        raise ValueError(f"an action of {len(values)} values; this action_type takes {count}")
    return values


ACTION_TYPES: Final[Registry[ActionMap]] = Registry("action_type")
"""What ``action_type`` may name."""

ACTION_TYPES.register("discrete", DiscreteActions)
ACTION_TYPES.register("discrete_items", DiscreteItemActions)
ACTION_TYPES.register("keys", KeyActions)
ACTION_TYPES.register("threshold", ThresholdActions)
ACTION_TYPES.register("keymask", KeymaskActions)


def actions_for(action_type: str, masks: NDArray[np.uint16]) -> NDArray[Any]:
    """The actions that press given keys: `ActionMap.keys`, backwards.

    Args:
        action_type: one whose actions can be counted: not ``threshold``.
        masks: (steps,), masks of `Keys`.

    Returns:
        An action for each, of the space's own dtype: (steps,), or (steps, 11) of ``keys``.

    Raises:
        ValueError: an unknown action type, one whose actions cannot be counted, or one without an
            action for a mask.
    """
    kind = ACTION_TYPES.make(action_type)
    space = kind.space
    every: Iterable[Any]
    if isinstance(space, gym.spaces.Discrete):
        every = range(int(space.n))
    elif isinstance(space, gym.spaces.MultiBinary):
        every = itertools.product((0, 1), repeat=int(np.prod(space.shape)))
    else:
        raise ValueError(
            f"action_type={action_type!r}: which activations pressed given keys cannot be told"
        )
    table: dict[int, Any] = {}
    for action in every:
        table.setdefault(kind.keys(action), action)
    wanted = np.unique(masks).tolist()
    for mask in wanted:
        if mask not in table:
            raise ValueError(
                f"action_type={action_type!r} has no action that presses {Keys(mask)!r}; "
                "'keymask' has one for everything"
            )
    return np.array([table[mask] for mask in masks.tolist()], space.dtype)
