"""Actions become exactly the keys that the documentation says."""

import numpy as np
import pytest

from mkds_gym.components.actions import (
    ACTION_TYPES,
    DISCRETE_ACTIONS,
    ITEM_ACTIONS,
    KEY_ORDER,
    actions_for,
    keys_from_activations,
)
from mkds_gym.emulator.console import Keys


def test_output_order_is_the_documented_one() -> None:
    names = [key.name for key in KEY_ORDER]
    assert names == ["RIGHT", "LEFT", "DOWN", "UP", "B", "A", "X", "Y", "L", "R", "START"]


def test_any_pressed_key_presses_the_accelerator() -> None:
    assert keys_from_activations([0.5, 0.0]) == Keys.RIGHT | Keys.A
    assert keys_from_activations([0.0, 0.9]) == Keys.LEFT | Keys.A
    assert keys_from_activations([0.0, 0.0, 0.0, 0.0, 1.0]) == Keys.B | Keys.A


def test_below_the_threshold_everything_is_released() -> None:
    assert keys_from_activations([0.4999] * 11) == 0
    assert keys_from_activations([-1.0] * 11) == 0
    assert keys_from_activations([]) == 0


def test_two_outputs_steer_and_drive() -> None:
    two = ACTION_TYPES.make("threshold:2")
    assert two.space.shape == (2,)
    assert two.keys(np.array([0.7, -0.2], np.float32)) == Keys.RIGHT | Keys.A


def test_every_discrete_action_differs_and_presses_what_it_says() -> None:
    discrete = ACTION_TYPES.make("discrete")
    masks = [discrete.keys(index) for index in range(len(DISCRETE_ACTIONS))]
    assert len(set(masks)) == len(masks)
    for (name, keys), mask in zip(DISCRETE_ACTIONS, masks, strict=True):
        assert mask == keys
        assert ("left" in name) == bool(mask & Keys.LEFT)
        assert ("right" in name) == bool(mask & Keys.RIGHT)
        assert ("brake" in name) == bool(mask & Keys.B)


def test_keys_are_literal() -> None:
    keys = ACTION_TYPES.make("keys")
    for index, key in enumerate(KEY_ORDER):
        action = np.zeros(11, np.int8)
        action[index] = 1
        assert keys.keys(action) == key


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("discrete", 11),
        ("discrete", -1),
        ("keymask", 4096),
        ("keymask", -1),
        ("keys", [0, 1]),
        ("keys", [2] + [0] * 10),
        ("threshold", [0.0] * 10),
        ("threshold:2", [float("nan"), 0.0]),
        ("threshold:2", [float("inf"), 0.0]),
        ("threshold:2", None),
        ("wheel:2", [float("nan"), 0.0]),
        ("wheel:2", [0.0]),
        ("threshold:2", 0.5),
        ("keys", np.array(1)),
        ("discrete", 1.7),
        ("discrete", True),
        ("discrete", None),
        ("keymask", 1.5),
    ],
)
def test_value_that_is_not_an_action_is_refused(name: str, action: object) -> None:
    with pytest.raises(ValueError, match="action"):
        ACTION_TYPES.make(name).keys(action)


@pytest.mark.parametrize(
    ("action", "keys"),
    [
        ([0.3, 0.4, 0.4, 0.4], Keys.A),
        ([0.4, -1, -1, -1], Keys.A | Keys.LEFT),
        ([-1, 0.5, 0, 0], Keys.A | Keys.RIGHT | Keys.R),
        ([0, 0, 1, 0], Keys.B),
        ([1, 0, 0, 1], Keys.A | Keys.LEFT | Keys.L),
    ],
)
def test_the_wheel_steers_and_accelerates_by_itself(action: list[float], keys: Keys) -> None:
    assert ACTION_TYPES.make("wheel").keys(np.array(action, np.float32)) == keys


@pytest.mark.parametrize("name", ["wheel:0", "wheel:5"])
def test_wheel_with_other_numbers_of_outputs_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 4"):
        ACTION_TYPES.make(name)


@pytest.mark.parametrize("name", ["threshold:0", "threshold:12", "threshold:1.5", "trhreshold"])
def test_unknown_action_type_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="threshold"):
        ACTION_TYPES.make(name)


def test_item_actions_come_after_the_others() -> None:
    plain, items = ACTION_TYPES.make("discrete"), ACTION_TYPES.make("discrete_items")
    assert items.space.n == len(DISCRETE_ACTIONS) + len(ITEM_ACTIONS) == 14  # type: ignore[attr-defined]
    for index in range(len(DISCRETE_ACTIONS)):
        assert items.keys(index) == plain.keys(index)
    assert [items.keys(index) for index in (11, 12, 13)] == [
        Keys.A | Keys.L,
        Keys.A | Keys.L | Keys.LEFT,
        Keys.A | Keys.L | Keys.RIGHT,
    ]
    with pytest.raises(ValueError, match=r"0 to 10"):
        plain.keys(11)
    with pytest.raises(ValueError, match=r"0 to 13"):
        items.keys(14)


@pytest.mark.parametrize("action_type", ["discrete", "discrete_items", "keys", "keymask"])
def test_actions_are_derived_from_keys(action_type: str) -> None:
    actions = ACTION_TYPES.make(action_type)
    actions.space.seed(0)
    masks = np.array([actions.keys(actions.space.sample()) for _ in range(50)], np.uint16)
    told = actions_for(action_type, masks)
    assert told.dtype == actions.space.dtype
    assert told.shape == (50, *(actions.space.shape or ()))
    assert all(actions.space.contains(each) for each in told)
    assert [actions.keys(each) for each in told] == masks.tolist()


def test_keys_without_an_action_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'discrete' has no action that presses .*START"):
        actions_for("discrete", np.array([0, int(Keys.START)], np.uint16))
    with pytest.raises(ValueError, match=r"threshold.*activations"):
        actions_for("threshold", np.array([0], np.uint16))
