"""Networks in PyTorch files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Final

import torch

from mkds_neat.errors import ChampionFormatError
from mkds_neat.networks.module import GenomeNetwork
from mkds_neat.networks.spec import NetworkSpec

PT_FORMAT: Final = "mkds_neat network"
PT_VERSION: Final = 1


def pt_bytes(network: GenomeNetwork) -> bytes:
    """Return the bytes of a PyTorch file: ``format``, ``version``, ``spec`` and ``state_dict``.

    ``spec`` is `NetworkSpec.to_json` as a JSON string. The file holds only strings, numbers and
    tensors, and loads with ``torch.load(path, weights_only=True)``.
    """
    # Saved to memory: on a full disk, torch raises an error that does not name the cause.
    file = io.BytesIO()
    torch.save(
        {
            "format": PT_FORMAT,
            "version": PT_VERSION,
            "spec": json.dumps(network.spec.to_json()),
            "state_dict": network.state_dict(),
        },
        file,
    )
    return file.getvalue()


def save_pt(network: GenomeNetwork, path: Path | str) -> None:
    """Write a network to a PyTorch file, as `pt_bytes` describes."""
    Path(path).write_bytes(pt_bytes(network))


def load_pt(path: Path | str) -> GenomeNetwork:
    """Return the network that `save_pt` wrote, with the weights of its state dict.

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
