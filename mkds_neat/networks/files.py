"""Read and write networks of PyTorch in files."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Final

import torch

from mkds_gym.utils.arguments import file_path, shown
from mkds_gym.utils.reading import parse_json, read_file
from mkds_neat.errors import ChampionFormatError
from mkds_neat.networks.module import GenomeNetwork
from mkds_neat.networks.pt_format import NETWORK_FORMAT, NETWORK_VERSION, pt_bytes
from mkds_neat.networks.spec import NetworkSpec

MAX_SIZE: Final = 64 << 20
"""Largest file of a network, in bytes."""
_REMEDY: Final = "expected the champion.pt of a run folder"


def save_pt(network: GenomeNetwork, path: Path | str) -> None:
    """Write a network to a PyTorch file, as `pt_bytes` describes."""
    Path(path).write_bytes(pt_bytes(network.trained()))


def load_pt(path: Path | str) -> GenomeNetwork:
    """Return the network of a ``champion.pt``, or the one that `save_pt` wrote.

    Nothing but tensors, texts and numbers is read: PyTorch's ``weights_only=True``.

    Raises:
        ChampionFormatError: The file is missing, unreadable or damaged, or is something else.
    """
    file = file_path("path", path, "a champion.pt")
    name = f"network '{file}'"
    data = read_file(file, name, ChampionFormatError, limit=MAX_SIZE, remedy=_REMEDY)
    _check_archive(data, name)
    try:
        values = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises many kinds for a malformed file
        problem = (str(error).splitlines() or [repr(error)])[0][:200]
        raise ChampionFormatError(f"{name} cannot be loaded by PyTorch: {problem}") from error
    if not isinstance(values, dict) or values.get("format") != NETWORK_FORMAT:
        raise ChampionFormatError(f"{name} does not hold a network of mkds_neat: {_REMEDY}")
    version, spec, state = (values.get(key) for key in ("version", "spec", "state_dict"))
    if version not in range(1, NETWORK_VERSION + 1):
        raise ChampionFormatError(
            f"{name} has format version {shown(version)}: expected 1 to {NETWORK_VERSION}"
        )
    if not isinstance(spec, str) or not isinstance(state, dict):
        raise ChampionFormatError(f"{name} is damaged (its parts have other types): {_REMEDY}")
    text = parse_json(spec, f"the description in {name}", ChampionFormatError)
    try:
        network = GenomeNetwork(NetworkSpec.from_json(text))
        for key, value in network.state_dict().items():
            if state[key].dtype != value.dtype or not torch.isfinite(state[key]).all():
                raise ValueError(f"{key}: expected finite numbers of type {value.dtype}")
        network.load_state_dict(state)
    except ChampionFormatError as error:
        raise ChampionFormatError(f"{name}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        problem = " ".join(str(error).split())[:200]
        raise ChampionFormatError(f"{name} is damaged ({problem}): {_REMEDY}") from error
    return network


def _check_archive(data: bytes, name: str) -> None:
    """Refuse what PyTorch would read in another way, and compressed parts, which could fill memory.

    Versions of PyTorch before 2.6 may run code from files in its old format, also with
    ``weights_only=True``.
    """
    if not data.startswith(b"PK\x03\x04"):
        raise ChampionFormatError(f"{name} is not a PyTorch file: {_REMEDY}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise ChampionFormatError(f"{name} is not a PyTorch file ({error}): {_REMEDY}") from None
    if any(part.filename.endswith("constants.pkl") for part in parts):
        raise ChampionFormatError(f"{name} is a TorchScript program: {_REMEDY}")
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ChampionFormatError(f"{name} is compressed, and PyTorch does not do so: {_REMEDY}")
    if sum(part.file_size for part in parts) > len(data):
        raise ChampionFormatError(f"{name} is damaged (its parts overlap): {_REMEDY}")
