"""Infos that become one are what Gymnasium makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import VectorEnv

from mkds_gym.vector.lanes import InfoForm


def by_gymnasium(infos: list[dict[str, Any]]) -> dict[str, Any]:
    envs: VectorEnv[Any, Any, Any] = VectorEnv()
    envs.num_envs = len(infos)
    merged: dict[str, Any] = {}
    for index, info in enumerate(infos):
        merged = envs._add_info(merged, info, index)
    return merged


USUAL: list[list[dict[str, Any]]] = [
    [{"a": 1, "b": 2.5, "c": True}, {"a": 2, "b": -0.5, "c": False}],
    [{"only": 1.5}, {"only": 2.5}, {"only": 3.5}],
    [{}, {}],
    [{"a": 1}],
    [{"name": "x", "times": (1.0, 2.0)}, {"name": "y", "times": ()}],
    [{"none": None}, {"none": None}],
    [{"seed": None}, {"seed": 5}],
    [{"a": "x"}, {"a": ("y",)}],
    [{"m": {"x": 1.0, "n": {"y": 1}}, "k": 2}, {"m": {"x": 2.0, "n": {"y": 3}}, "k": 3}],
    [{"m": {}}, {"m": {}}],
    [{"list": [1, 2]}, {"list": [3]}],
    [{"big": 1 << 40}, {"big": -1}],
]


@pytest.mark.parametrize("infos", USUAL, ids=str)
def test_as_gymnasium_merges_them(infos: list[dict[str, Any]]) -> None:
    form = InfoForm(infos)
    assert form.usable
    assert form.fits(infos)
    assert data_equivalence(by_gymnasium(infos), form.merge(infos), exact=True)


@pytest.mark.parametrize(
    "infos",
    [
        [{"a": np.zeros(2)}, {"a": np.ones(2)}],
        [{"a": np.float32(1)}, {"a": np.float32(2)}],
        [{"a": 1}, {"a": np.int8(2)}],
        [{"m": {"a": np.zeros(2)}}, {"m": {"a": np.ones(2)}}],
        [{"m": {"a": 1}}, {"m": {"b": 1}}],
        [{"m": {"a": 1}}, {"m": 3}],
        [{"final_obs": 3}, {"final_obs": 4}],
        [{"a": 1}, {}],
        [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
    ],
    ids=str,
)
def test_what_is_left_to_gymnasium(infos: list[dict[str, Any]]) -> None:
    form = InfoForm(infos)
    assert not form.usable
    assert form.fits(infos)  # and so is not made again at every step


def test_a_number_here_and_none_there() -> None:
    # Gymnasium cannot put None among integers.
    infos: list[dict[str, Any]] = [{"seed": 5, "m": {"x": 1.0}}, {"seed": None, "m": {"x": None}}]
    merged = InfoForm(infos).merge(infos)
    assert merged["seed"].tolist() == [5, None]
    assert merged["_seed"].all()
    assert merged["m"]["x"].tolist() == [1.0, None]
    # The types of an array do not depend on what was merged before.
    later: list[dict[str, Any]] = [{"seed": 5, "m": {"x": 1.0}}] * 2
    assert not InfoForm(infos).fits(later)
    assert InfoForm(later).merge(later)["seed"].dtype == np.int64


@pytest.mark.parametrize("infos", USUAL, ids=str)
def test_arrays_are_new_ones(infos: list[dict[str, Any]]) -> None:
    form = InfoForm(infos)
    first, second = form.merge(infos), form.merge(infos)
    for key, array in first.items():
        if isinstance(array, np.ndarray):
            assert not np.shares_memory(array, second[key])
            assert array.flags.c_contiguous
            assert array.flags.writeable
