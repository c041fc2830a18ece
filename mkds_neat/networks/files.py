"""Read and write networks of PyTorch in files."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from mkds_neat.errors import ChampionFormatError
from mkds_neat.networks.module import GenomeNetwork
from mkds_neat.networks.pt_format import PT_FORMAT, PT_VERSION, pt_bytes
from mkds_neat.networks.spec import NetworkSpec


def save_pt(network: GenomeNetwork, path: Path | str) -> None:
    """Write a network to a PyTorch file, as `pt_bytes` describes."""
    Path(path).write_bytes(pt_bytes(network.trained()))


def load_pt(path: Path | str) -> GenomeNetwork:
    """Return the network of a ``champion.pt``, or the one that `save_pt` wrote.

    Raises:
        ChampionFormatError: The file holds something else.
        OSError: The file cannot be read.
    """
    try:
        data = torch.load(path, weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch raises many kinds for a malformed file
        raise ChampionFormatError(f"{path} cannot be loaded by PyTorch: {error}") from error
    if not isinstance(data, dict) or data.get("format") != PT_FORMAT:
        raise ChampionFormatError(
            f"{path} does not hold a network of mkds_neat: expected the champion.pt of a run"
        )
    if data.get("version") != PT_VERSION:
        raise ChampionFormatError(
            f"{path} has format version {data.get('version')!r}: expected {PT_VERSION}"
        )
    network = GenomeNetwork(NetworkSpec.from_json(json.loads(data["spec"])))
    network.load_state_dict(data["state_dict"])
    return network
