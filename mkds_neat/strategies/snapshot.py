"""Arrays, random generators and the objects that hold them, as plain data and back.

An array is the base64 text of its bytes, which is exact and short. A snapshot of an object lists
its attributes. `load` sets the attributes of another object, which must have the same ones: nothing
that a snapshot names is imported, called or created.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_KINDS: Final = ("float64", "float32", "int64", "int32", "bool")


def array_to_plain(array: Any) -> dict[str, Any]:
    """Return an array, or a number of numpy, as plain data.

    Raises:
        ValueError: Its type is not one of numbers.
    """
    values = np.asarray(array)
    if values.dtype.name not in _KINDS:
        raise ValueError(f"an array of {values.dtype.name}")
    fortran = values.ndim > 1 and values.flags.f_contiguous and not values.flags.c_contiguous
    order: Literal["F", "C"] = "F" if fortran else "C"
    data = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes(order)
    return {
        "type": values.dtype.name,
        "shape": list(values.shape),
        "order": order,  # a product of matrices rounds by the order of its terms
        "data": base64.b64encode(data).decode(),
    }


def array_from_plain(data: Any, kind: str, shape: Collection[int | None]) -> NDArray[Any]:
    """Return the array that `array_to_plain` wrote.

    Args:
        data: The plain data.
        kind: Type that its numbers must have.
        shape: Lengths that its axes must have; None for any.

    Raises:
        ValueError: The data are malformed, or of another type or shape.
    """
    try:
        if set(data) != {"type", "shape", "order", "data"} or data["type"] != kind:
            raise ValueError(f"expected an array of {kind}")
        sizes = [int(n) for n in data["shape"]]
        if len(sizes) != len(shape) or any(
            n < 0 or (m is not None and n != m) for n, m in zip(sizes, shape, strict=True)
        ):
            raise ValueError(f"an array of shape {sizes}: expected {list(shape)}")
        if data["order"] not in ("C", "F"):
            raise ValueError(f"an array of order {data['order']!r}")
        dtype = np.dtype(kind)
        raw = base64.b64decode(data["data"], validate=True)
        if len(raw) != math.prod(sizes) * dtype.itemsize:
            raise ValueError(f"an array of {len(raw)} bytes for the shape {sizes}")
    except (TypeError, AttributeError, binascii.Error) as error:
        raise ValueError(f"expected an array: {error}") from error
    values = np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype)
    return values.reshape(sizes, order=data["order"])


def generator_to_plain(rng: np.random.Generator) -> dict[str, str]:
    """Return the state of a PCG64 generator as plain data, in hexadecimal."""
    state: Any = rng.bit_generator.state
    numbers = {**state, **state["state"]}
    return {key: hex(numbers[key]) for key in _GENERATOR}


def load_generator(rng: np.random.Generator, numbers: Any) -> None:
    """Set the state of a PCG64 generator; ValueError if the numbers are not possible."""
    try:
        values = {key: int(numbers[key], 16) for key in _GENERATOR}
        if len(numbers) != len(values) or not all(
            0 <= values[key] < limit for key, limit in _GENERATOR.items()
        ):
            raise ValueError(f"{dict(numbers)!r}")
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"expected the state of a PCG64 generator: {error}") from error
    rng.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {key: values[key] for key in ("state", "inc")},
        **{key: values[key] for key in ("has_uint32", "uinteger")},
    }


_GENERATOR: Final = {"state": 1 << 128, "inc": 1 << 128, "has_uint32": 2, "uinteger": 1 << 32}
"""The numbers of a PCG64 generator, and the limit of each."""


def dump(thing: Any, without: Collection[str] = ()) -> dict[str, Any]:
    """Return the attributes of an object that are numbers, arrays, generators or such objects.

    Args:
        thing: An object with attributes.
        without: Attributes that the object computes before it reads them.
    """
    found: dict[str, Any] = {}
    for name, value in sorted(vars(thing).items()):
        if name in without:
            continue
        match value:
            case bool() | int():
                found[name] = {"number": value}
            case np.ndarray():
                found[name] = {"array": array_to_plain(value)}
            case np.generic():
                found[name] = {"scalar": array_to_plain(value)}
            case float():
                found[name] = {"float": value.hex()}
            case np.random.Generator():
                found[name] = {"generator": generator_to_plain(value)}
            case _ if not isinstance(value, type | np.dtype) and hasattr(value, "__dict__"):
                found[name] = {"attributes": dump(value, without)}
    return found


def load(thing: Any, data: Any, without: Collection[str] = ()) -> None:
    """Set the attributes of an object to those that `dump` returned for another one.

    Args:
        thing: An object of the same class, after the same calls of its constructor.
        data: What `dump` returned, also after a journey through JSON.
        without: As for `dump`.

    Raises:
        ValueError: The data are malformed, or of an object with other attributes.
    """
    present = dump(thing, without)
    if not isinstance(data, Mapping) or set(data) != set(present):
        raise ValueError(f"expected an object with the attributes {', '.join(present)}")
    for name, item in data.items():
        old = getattr(thing, name)
        try:
            ((kind, value),) = item.items()
            _set(thing, name, old, kind, value, without)
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{name}: {error}") from error


def _set(thing: Any, name: str, old: Any, kind: str, value: Any, without: Collection[str]) -> None:
    number = isinstance(old, int | float | np.generic)
    match kind:
        case "number" if number and isinstance(value, int) and abs(value) < 1 << 53:
            setattr(thing, name, value)
        case "float" if number:
            setattr(thing, name, float.fromhex(value))
        case "scalar" if number:
            setattr(thing, name, array_from_plain(value, value["type"], ())[()])
        case "array" if isinstance(old, np.ndarray):
            new = array_from_plain(value, old.dtype.name, old.shape)
            if not np.isfinite(new[np.isfinite(old)]).all():
                raise ValueError("an array with a number that is not finite")
            setattr(thing, name, new)
        case "generator" if isinstance(old, np.random.Generator):
            load_generator(old, value)
        case "attributes" if hasattr(old, "__dict__") and not number:
            load(old, value, without)
        case _:
            raise ValueError(f"expected {type(old).__name__}, got {kind}")
