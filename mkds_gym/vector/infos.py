"""Merge the infos of environments into those of a vector environment, in Gymnasium's form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def merge_infos(num_envs: int, infos: Sequence[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
    """Return one dict of arrays, as repeated calls of `VectorEnv._add_info` do.

    Other than there, None may follow a number, and arrays may have different shapes; the result is
    an array of objects then. One pass per key takes half of the time.

    Args:
        num_envs: length of the arrays.
        infos: index and info of each environment, in order.
    """
    columns: dict[str, tuple[list[int], list[Any]]] = {}
    for index, info in infos:
        for key, value in info.items():
            column = columns.get(key)
            if column is None:
                column = columns[key] = ([], [])
            column[0].append(index)
            column[1].append(value)
    merged: dict[str, Any] = {}
    masks: dict[int, Any] = {}
    for key, (indices, values) in columns.items():
        if isinstance(values[0], dict):
            merged[key] = merge_infos(num_envs, list(zip(indices, values, strict=True)))
        else:
            merged[key] = _array(num_envs, key, indices, values)
        mask = masks.get(len(indices))  # columns of one length are nearly always the same
        if mask is None or mask[1] != indices:
            mask = masks[len(indices)] = (np.zeros(num_envs, np.bool_), indices)
            mask[0][indices] = True
        merged[f"_{key}"] = mask[0].copy()
    return merged


def _array(num_envs: int, key: str, indices: list[int], values: list[Any]) -> Any:
    first = values[0]
    kind = type(first)
    if kind in (int, float, bool) or issubclass(kind, np.number):
        if None not in values:
            if len(values) == num_envs:
                return np.array(values, kind)
            array = np.zeros(num_envs, kind)
            array[indices] = values
            return array
    elif (
        key != "final_obs"
        and isinstance(first, np.ndarray)
        and all(np.shape(value) == first.shape for value in values)
    ):
        array = np.zeros((num_envs, *first.shape), first.dtype)
        array[indices] = values
        return array
    array = np.full(num_envs, None, dtype=object)
    for index, value in zip(indices, values, strict=True):
        array[index] = value
    return array
