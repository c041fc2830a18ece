"""Write the network of a driver for other programs: ``python -m mkds_neat.export run d.onnx``."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.errors import MKDSError
from mkds_gym.utils.arguments import file_path, shown
from mkds_gym.utils.command_line import (
    ArgumentParser,
    path_or_name,
    print_error,
    print_line,
    run_command,
)
from mkds_gym.utils.files import is_folder, same_file, why_unwritable, write_bytes
from mkds_gym.utils.reading import parse_json, read_file
from mkds_neat.errors import ChampionFormatError, ExportError
from mkds_neat.networks import NetworkSpec, compile_network
from mkds_neat.networks.pt_format import NETWORK_FORMAT, NETWORK_VERSION
from mkds_neat.results import Champion
from mkds_neat.results.champion import MAX_SIZE
from mkds_neat.stored_driver import CHAMPION, load_driver

_Arrays = Sequence[NDArray[Any]]
_Run = Callable[[_Arrays], _Arrays]
"""Runs a network: observations, and for a recurrent network states, to actions and next states."""

_READABLE: Final = "expected a run folder, a champion.json, a champion.pt or a network's JSON file"
_TRIALS: Final = 64
"""Observations with which an exported network is compared."""
_TOLERANCE: Final = 1e-6
"""Largest difference of a network that is written. Measured: below 1e-10, also with cycles."""


def read_network(path: str | os.PathLike[str], individual: str = CHAMPION) -> NetworkSpec:
    """Read the network of a run's champion or of another individual, or of a file.

    Nothing in the file runs. Programs (``.pt2``, ``.onnx``) are not read.

    Args:
        path: A run folder, a ``champion.json``, a ``champion.pt`` (which needs PyTorch), or a JSON
            file that `export` wrote.
        individual: ``"champion"``, or the id of an individual of a run folder.

    Raises:
        ChampionFormatError: The file is missing, unreadable or damaged, or is something else.
        RunFolderError: The individual is missing or damaged.
        ValueError: The individual is not an id, or ``path`` is not a folder.
    """
    file = file_path("path", path, "a network's file")
    if is_folder(file) or individual != CHAMPION:
        return load_driver(file, individual).network
    if file.suffix == ".pt":
        with _packages("champion.pt"):
            load_pt = importlib.import_module("mkds_neat.networks").load_pt
        network: NetworkSpec = load_pt(file).spec
        return network
    if not os.path.lexists(file):
        raise ChampionFormatError(f"'{file}' does not exist: {_READABLE}")
    if file.suffix != ".json":
        raise ChampionFormatError(f"'{file}' is not read: {_READABLE}")
    name = f"network '{file}'"
    data = read_file(file, name, ChampionFormatError, limit=MAX_SIZE, remedy=_READABLE)
    values = parse_json(data, name, ChampionFormatError)
    try:
        if not isinstance(values, dict) or values.get("format") != NETWORK_FORMAT:
            return Champion.from_json(values).network
        if (version := values.get("version")) not in range(1, NETWORK_VERSION + 1):
            raise ChampionFormatError(
                f"format version {shown(version)}: expected 1 to {NETWORK_VERSION}"
            )
        return NetworkSpec.from_json(values)
    except ChampionFormatError as error:
        raise ChampionFormatError(f"{name}: {error}") from None


def export(
    network: NetworkSpec, path: str | os.PathLike[str], to: str | None = None, force: bool = False
) -> float:
    """Write a network to a file whose outputs are those of `compile_network`.

    Args:
        network: The network, for example of `read_network`.
        path: The file.
        to: ``json``, ``torch`` (a program of ``torch.export``) or ``onnx``; None for the format of
            the suffix: ``.json``, ``.pt2`` or ``.onnx``.
        force: Whether to replace an existing file.

    Returns:
        The largest difference of an output on random observations, as a part of its size if that is
        more than 1.

    Raises:
        ExportError: The format is unknown, a package is missing, the file exists or cannot be
            written, or the exported network differs by more than a millionth.
    """
    file = file_path("path", path, "a file to write")
    suffixes = {each.suffix: name for name, each in _FORMATS.items()}
    name = suffixes.get(file.suffix, "") if to is None else to
    if name not in _FORMATS:
        known = ", ".join(f"{each} ({suffix})" for suffix, each in suffixes.items())
        what = f"'{file}' has an unknown suffix" if to is None else f"format {shown(to)} is unknown"
        raise ExportError(f"{what}: expected one of {known}")
    if problem := why_unwritable(file):
        raise ExportError(f"cannot write '{file}': {problem}")
    if os.path.lexists(file) and not force:
        raise ExportError(f"'{file}' exists: choose another name, or replace it with --force")
    with _packages(f"--to {name}"):
        data = _FORMATS[name].write(network)
        worst = difference(network, _FORMATS[name].load(data))
    if worst > _TOLERANCE:
        raise ExportError(
            f"'{file}' is not written: its outputs would differ from the driver's by {worst:.0e} "
            "on random observations; write the network with --to json"
        )
    write_bytes(file, data, ExportError)
    return worst


@contextlib.contextmanager
def _packages(what: str) -> Iterator[None]:
    """Turn an ImportError into an `ExportError` that names the extra."""
    try:
        yield
    except ImportError as error:
        extra = "onnx" if (error.name or "").startswith("onnx") else "neat"
        raise ExportError(f"{what} needs {error.name}: pip install 'mkds-gym[{extra}]'") from error


def _write_json(network: NetworkSpec) -> bytes:
    head = {"format": NETWORK_FORMAT, "version": NETWORK_VERSION}
    return json.dumps({**head, **network.to_json()}, indent=1).encode()


def _load_json(data: bytes) -> _Run:
    policy = compile_network(NetworkSpec.from_json(json.loads(data)))
    return lambda arrays: [np.array([policy(row) for row in arrays[0].tolist()])]


def _write_torch(network: NetworkSpec) -> bytes:
    data: bytes = importlib.import_module("mkds_neat.networks.pt2_format").pt2_bytes(network)
    return data


def _load_torch(data: bytes) -> _Run:
    torch = importlib.import_module("torch")
    module = torch.export.load(io.BytesIO(data)).module()

    def run(arrays: _Arrays) -> _Arrays:
        outputs = module(*(torch.from_numpy(array) for array in arrays))
        return [each.numpy() for each in (outputs if isinstance(outputs, tuple) else (outputs,))]

    return run


def _write_onnx(network: NetworkSpec) -> bytes:
    data: bytes = importlib.import_module("mkds_neat.networks.onnx_format").onnx_bytes(network)
    return data


def _load_onnx(data: bytes) -> _Run:
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return lambda arrays: session.run(None, dict(zip(names, arrays, strict=True)))


@dataclass(frozen=True)
class _Format:
    suffix: str
    write: Callable[[NetworkSpec], bytes]
    load: Callable[[bytes], _Run]


_FORMATS: Final[Mapping[str, _Format]] = {
    "json": _Format(".json", _write_json, _load_json),
    "torch": _Format(".pt2", _write_torch, _load_torch),
    "onnx": _Format(".onnx", _write_onnx, _load_onnx),
}


def difference(network: NetworkSpec, run: _Run) -> float:
    """Return how far a network that was written is from the compiled one, see `export`.

    Infinity if it gives a NaN where the compiled one gives a number.
    """
    worst = 0.0
    for ours, theirs in _outputs(network, run):
        size = np.maximum(1.0, np.abs(ours))
        different = np.abs(ours - theirs) / size
        different[(ours == theirs) | (np.isnan(ours) & np.isnan(theirs))] = 0.0
        worst = max(worst, float(np.nan_to_num(different, nan=np.inf).max(initial=0.0)))
    return worst


def _outputs(
    network: NetworkSpec, run: _Run
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    rng = np.random.default_rng(0)
    policy = compile_network(network)
    observations = rng.normal(size=(_TRIALS, len(network.inputs))).astype(np.float32)
    if not network.recurrent:
        ours = np.array([policy(row) for row in observations.tolist()])
        yield ours, run([observations])[0]
        return
    state = np.zeros((1, len(network.nodes)))
    for row in observations[:4]:  # small differences grow from step to step
        outputs = run([row[None], state])
        yield np.array([policy(row.tolist())]), outputs[0]
        state = outputs[-1]


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="python -m mkds_neat.export",
        description="Write the network of a driver to a file for other programs.",
    )
    parser.add_argument(
        "network",
        type=path_or_name,
        help="a run folder, a champion.json, a champion.pt, or a network's .json",
    )
    parser.add_argument("output", type=path_or_name, help="the file to write")
    parser.add_argument(
        "--individual",
        metavar="ID",
        default=CHAMPION,
        help="an individual of the run folder, by its id in individuals.csv",
    )
    parser.add_argument(
        "--to",
        metavar="FORMAT",
        help="json, torch (a program of torch.export) or onnx; default: by the suffix of the "
        "output, .json, .pt2 or .onnx",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        source = Path(arguments.network)
        if same_file(source, arguments.output):
            raise ExportError(f"{arguments.output!r} is the network itself: choose another name")
        network = read_network(source, arguments.individual)
        worst = export(network, arguments.output, arguments.to, arguments.force)
    except (MKDSError, ValueError) as error:
        print_error(f"python -m mkds_neat.export: error: {error}")
        return 1
    kind = "recurrent" if network.recurrent else "feed-forward"
    print_line(
        f"{arguments.output}: a {kind} network (inputs: {len(network.inputs)}, outputs: "
        f"{len(network.outputs)}); differs from the driver's by at most {worst:.0e} on random "
        "observations"
    )
    return 0


if __name__ == "__main__":
    run_command(main)
