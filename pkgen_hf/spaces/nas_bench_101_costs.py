"""What networks of NAS-Bench-101 cells cost: widths of vertices, weights and normalisations of modules."""

from __future__ import annotations

from functools import cache

import torch

from .nas_bench_101_cells import INNER, OUTPUT
from .parts import constant
from .weight_matrices import MatrixTable, WeightMatrices, convolution, ravel

_AREAS = torch.tensor([0, 9, 1, 0], device="cpu")  # weights of each operation for each pair of channels
# Modules of the network: channels of their input and output, by how much images are smaller, and how many are alike.
STEM = 128
MODULES = ((128, 128, 1, 3), (128, 256, 2, 1), (256, 256, 2, 2), (256, 512, 4, 1), (512, 512, 4, 2))
# All widths that vertices may have: the channels of the output, divided among one to five of them.
WIDTHS = sorted({outputs // n + more for _, outputs, _, _ in MODULES for n in INNER for more in (0, outputs % n > 0)})
_KERNELS = (3, 1)  # of the operations 1 and 2


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


@cache
@constant
def _matrices(classes: int, in_channels: int) -> MatrixTable:
    """Of operations and projections, ``(modules, operations and projection, widths)``, stem and classifier."""
    parts = [
        [convolution(inputs if kernel == 0 else width, width, kernel or 1, number=alike)]
        for inputs, _, _, alike in MODULES
        for kernel in (*_KERNELS, 0)
        for width in WIDTHS
    ]
    return MatrixTable(parts, [convolution(in_channels, STEM, 3), (classes, MODULES[-1][1], 1)])


def cell_matrices(masks: torch.Tensor, operations: torch.Tensor, classes: int, in_channels: int) -> WeightMatrices:
    """Weight matrices of the networks of pruned cells."""
    device = masks.device
    projected, projection = masks[:, 1:] & 1, len(_KERNELS)  # of the inner vertices and the output, (batch, 6)
    exists = torch.cat([(operations > 0) & (operations <= len(_KERNELS)), projected > 0], dim=1)
    layers = torch.cat([operations - 1, torch.full_like(projected, projection)], dim=1)
    parts = []
    for module, (_, outputs, _, _) in enumerate(MODULES):
        inner = vertex_widths(masks, outputs)
        widths = torch.cat([inner, inner, torch.full_like(inner[:, :1], outputs)], dim=1)
        columns = torch.searchsorted(torch.tensor(WIDTHS, device=device), widths)
        numbers = ravel((len(MODULES), projection + 1, len(WIDTHS)), torch.full_like(layers, module), layers, columns)
        parts.append(torch.where(exists, numbers, -1))
    return _matrices(classes, in_channels).total(torch.cat(parts, dim=1))
