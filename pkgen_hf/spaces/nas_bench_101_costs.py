"""What networks of NAS-Bench-101 cells cost: widths of vertices, weights and normalisations of modules."""

from __future__ import annotations

import torch

from .nas_bench_101_cells import INNER, OUTPUT

_AREAS = torch.tensor([0, 9, 1, 0], device="cpu")  # weights of each operation for each pair of channels
# Modules of the network: channels of their input and output, by how much images are smaller, and how many are alike.
STEM = 128
MODULES = ((128, 128, 1, 3), (128, 256, 2, 1), (256, 256, 2, 2), (256, 512, 4, 1), (512, 512, 4, 2))


def vertex_widths(masks: torch.Tensor, outputs: int) -> torch.Tensor:
    """Channels of the inner vertices of pruned cells in a module of `outputs` channels, ``LongTensor (batch, 5)``.

    The channels of the output are divided among the vertices that feed it; where that leaves a remainder, the first
    of them get one more each. Any other vertex is as wide as the widest that reads it.
    """
    feeds = masks[:, OUTPUT:] >> torch.arange(1, OUTPUT, device=masks.device) & 1  # (batch, 5)
    feeding = feeds.sum(1, keepdim=True).clamp(min=1)
    widths = feeds * (outputs // feeding + (feeds.cumsum(1) <= outputs % feeding))
    for v in reversed(INNER[:-1]):
        is_read = masks[:, v + 1 : OUTPUT] >> v & 1
        widest = (widths[:, v:] * is_read).amax(1)
        widths[:, v - 1] = torch.where(feeds[:, v - 1] > 0, widths[:, v - 1], widest)
    return widths


def module_costs(
    masks: torch.Tensor, operations: torch.Tensor, inputs: int, outputs: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights of a module's convolutions, and parameters of its batch normalisations, each ``LongTensor (batch,)``.

    Vertices and the output read the module's input, of `inputs` channels, through a projection of their own.
    """
    widths = vertex_widths(masks, outputs)
    areas = _AREAS.to(masks.device)[operations]
    projected, added = masks[:, 1:OUTPUT] & 1, masks[:, OUTPUT] & 1
    weights = (areas * widths**2 + projected * inputs * widths).sum(1) + added * inputs * outputs
    norms = 2 * (((areas > 0) + projected) * widths).sum(1) + 2 * added * outputs
    return weights, norms
