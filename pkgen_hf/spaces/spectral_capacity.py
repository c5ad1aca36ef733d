r"""Spectral capacity of an architecture: a score of its specification that needs no data, weights or training.

It is the sum over weight matrices of :math:`\mathbb{E} \ln\det(I + W^\top W)` at Xavier initialisation, where the
spectrum of W follows the Marchenko-Pastur law. Attention is counted by head (Zhu et al., NSC, 2026). For convolutions,
which are counted as matrices, and for small matrices, whose spectra differ from the law, it is extended here.
"""

from __future__ import annotations

import torch

from .base import SearchSpace
from .tasks import TaskLike


def expected_log_det(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    r""":math:`\mathbb{E} \ln\det(I + W^\top W)` of random matrices of variance 2 / (rows + columns).

    For p and q the smaller and the larger dimension, it is p times the Shannon transform of the Marchenko-Pastur law
    of ratio p / q at 2 q / (p + q) (Tulino and Verdu, Random Matrix Theory and Wireless Communications, 2004,
    equation 1.14), the limit of large matrices, and the next term of its expansion, which does not grow with p (Bai
    and Silverstein, Annals of Probability, 2004, theorem 1.1, for real normal entries).

    From the means of simulated matrices it differs by less than 0.5 % for p from 4, and for p = 1 by 0.2 % where
    q = 9, as in a depthwise 3x3 convolution, by 0.05 % where q = 25, and by 6 % where q = 1. Without the second term
    these are 3 %, 2 %, 0.8 % and 9 %.

    Parameters
    ----------
    rows, columns
        Sizes of the matrices, from 1, tensors of one shape.

    Returns
    -------
    DoubleTensor, of that shape
    """
    small, large = torch.minimum(rows, columns).double(), torch.maximum(rows, columns).double()
    ratio, snr = small / large, 2 * large / (small + large)
    upper = (snr * (1 + ratio.sqrt()) ** 2 + 1).sqrt()
    lower = (snr * (1 - ratio.sqrt()) ** 2 + 1).sqrt()
    overlap = (upper - lower) ** 2
    per_dimension = (
        (1 + snr - overlap / 4).log() + (1 + snr * ratio - overlap / 4).log() / ratio - overlap / (4 * ratio * snr)
    )
    return small * per_dimension + (4 * upper * lower / (upper + lower) ** 2).log() / 2


def spectral_capacity(space: SearchSpace, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
    """Spectral capacity of architectures, ``DoubleTensor (batch,)``, higher is better.

    Parameters
    ----------
    space
        One that lists the weight matrices of its networks, see `SearchSpace.weight_matrices`.
    indices
        ``LongTensor (batch, slots)``
    task
        At whose scale networks are, by default the first of the space.

    Raises
    ------
    NotImplementedError
        For a space that does not.
    """
    shapes, counts = space.weight_matrices(indices, task)
    return counts.double() @ expected_log_det(*shapes.unbind(1))
