"""Networks as programs of ``torch.export``, which run without mkds_neat."""

from __future__ import annotations

import io

import torch

from mkds_neat.errors import ExportError
from mkds_neat.networks.module import GenomeNetwork
from mkds_neat.networks.spec import NetworkSpec


def pt2_bytes(spec: NetworkSpec) -> bytes:
    """Return the bytes of a file for ``torch.export.load``, usually named ``.pt2``.

    It needs PyTorch 2.5, and loads with the version that wrote it or a newer one. The module of the
    loaded program takes ``observation``, float32 (batch, inputs), and returns the action, float64
    (batch, outputs). The outputs are those of `GenomeNetwork`. The module of a recurrent network
    also takes a state, float64 (batch, nodes), and returns a pair: the action, and the next state.
    The first state of an episode is zeros.
    """
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 5):
        raise ExportError(f"PyTorch {torch.__version__} is installed: torch.export needs 2.5")
    network = GenomeNetwork(spec).requires_grad_(False).eval()
    arguments = [torch.zeros(2, len(spec.inputs))]
    if spec.recurrent:
        arguments.append(network.initial_state(2))
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        network, tuple(arguments), dynamic_shapes=tuple({0: batch} for _ in arguments), strict=False
    )
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()
