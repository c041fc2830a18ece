"""Networks in PyTorch files: written without PyTorch, so that evolution does not need it."""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_neat.networks.spec import NetworkSpec

NETWORK_FORMAT: Final = "mkds_neat network"
NETWORK_VERSION: Final = 2
"""Version 1 has no recurrent networks; it is still read."""

_STORAGES: Final = {"float64": "DoubleStorage", "bool": "BoolStorage"}
_EMPTY_DICT: Final = b"ccollections\nOrderedDict\n)R"
"""Pickle code of an empty ``OrderedDict``."""


def pt_bytes(spec: NetworkSpec) -> bytes:
    """Return the bytes of a PyTorch file: ``format``, ``version``, ``spec`` and ``state_dict``.

    ``spec`` is `NetworkSpec.to_json` as a JSON string, and ``state_dict`` that of a
    `GenomeNetwork`. The file holds only strings, numbers and tensors, and loads with
    ``torch.load(path, weights_only=True)``. Its layout is that of ``torch.save``: a ZIP archive of
    a pickle, and of the numbers of each tensor.
    """
    tensors = _state(spec)
    state = b"".join(
        _pickled(name) + _tensor(str(number), array)
        for number, (name, array) in enumerate(tensors.items())
    )
    head = {
        "format": NETWORK_FORMAT,
        "version": NETWORK_VERSION,
        "spec": json.dumps(spec.to_json()),
    }
    items = b"".join(_pickled(key) + _pickled(value) for key, value in head.items())
    items += _pickled("state_dict") + _EMPTY_DICT + b"(" + state + b"u"
    members = {
        "data.pkl": b"\x80\x02}(" + items + b"u.",
        "byteorder": sys.byteorder.encode(),
        **{f"data/{number}": array.tobytes() for number, array in enumerate(tensors.values())},
        "version": b"3\n",
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            # A `ZipInfo` of its own has no time: the same network gives the same bytes.
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)
    return file.getvalue()


def _state(spec: NetworkSpec) -> dict[str, NDArray[Any]]:
    """Return the arrays of ``GenomeNetwork(spec).state_dict()``."""
    inputs = len(spec.inputs)
    column = {key: i for i, key in enumerate([*spec.inputs, *(node.id for node in spec.nodes)])}
    weight = np.zeros((len(spec.nodes), len(column)))
    mask = np.zeros(weight.shape, np.bool_)
    for source, target, value in spec.connections:
        place = column[target] - inputs, column[source]
        weight[place], mask[place] = value, True
    return {
        "weight": weight,
        "bias": np.array([node.bias for node in spec.nodes], np.float64),
        "response": np.array([node.response for node in spec.nodes], np.float64),
        "mask": mask,
    }


def _pickled(value: Any) -> bytes:
    """Return the pickle code that pushes a string, an integer, or a tuple of these."""
    return pickle.dumps(value, 2)[2:-1]  # without the protocol and the end


def _tensor(key: str, array: NDArray[Any]) -> bytes:
    """Return the pickle code that pushes a tensor whose numbers are in ``data/<key>``."""
    storage = (
        b"("
        + _pickled("storage")
        + f"ctorch\n{_STORAGES[array.dtype.name]}\n".encode()
        + b"".join(map(_pickled, (key, "cpu", array.size)))
        + b"tQ"  # the tuple is a persistent id
    )
    strides = tuple(stride // array.itemsize for stride in array.strides)
    offset, gradients = _pickled(0), _pickled(False)
    arguments = storage + offset + _pickled(array.shape) + _pickled(strides) + gradients
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + _EMPTY_DICT + b"tR"
