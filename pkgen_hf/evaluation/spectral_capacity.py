r"""Spectral capacity of an architecture: a score of its specification that needs no data, weights or training.

It is the sum over weight matrices of :math:`\mathbb{E} \ln\det(I + W^\top W)` at Xavier initialisation, where the
spectrum of W follows the Marchenko-Pastur law. Attention is counted by head (Zhu et al., NSC, 2026).
"""

from __future__ import annotations

import torch

from ..spaces import SearchSpace


def expected_log_det(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    r""":math:`\mathbb{E} \ln\det(I + W^\top W)` of random matrices of variance 2 / (rows + columns).

    For p and q the smaller and the larger dimension, it is p times the Shannon transform of the Marchenko-Pastur law
    of ratio p / q at 2 q / (p + q) (Tulino and Verdu, Random Matrix Theory and Wireless Communications, 2004,
    equation 1.14), the limit of large matrices.

    Parameters
    ----------
    rows, columns
        Sizes of the matrices, tensors of one shape; 0 for a matrix that does not exist.

    Returns
    -------
    DoubleTensor, of that shape
    """
    small, large = torch.minimum(rows, columns).double(), torch.maximum(rows, columns).double()
    ratio = small.clamp(min=1) / large.clamp(min=1)
    snr = 2 * large / (small + large).clamp(min=1)
    upper = (snr * (1 + ratio.sqrt()) ** 2 + 1).sqrt()
    lower = (snr * (1 - ratio.sqrt()) ** 2 + 1).sqrt()
    overlap = (upper - lower) ** 2
    per_dimension = (
        (1 + snr - overlap / 4).log()
        + (1 + snr * ratio - overlap / 4).log() / ratio
        - overlap / (4 * ratio * snr.clamp(min=1e-12))
    )
    return torch.where(small > 0, small * per_dimension, 0.0)


def spectral_capacity(space: SearchSpace, indices: torch.Tensor) -> torch.Tensor:
    """Spectral capacity of architectures, ``DoubleTensor (batch,)``, higher is better.

    Parameters
    ----------
    space
        One that lists the weight matrices of its networks, see `SearchSpace.weight_matrices`.
    indices
        ``LongTensor (batch, slots)``

    Raises
    ------
    NotImplementedError
        For a space that does not.
    """
    rows, columns, count = space.weight_matrices(indices).unbind(-1)
    return (count * expected_log_det(rows, columns)).sum(1)
