"""Duplicates among the architectures of a batch."""

from __future__ import annotations

import torch

from ..spaces import SearchSpace


def distinct_rows(space: SearchSpace, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The distinct rows of a batch, and the position among them of each row of the batch."""
    codes, inverse = space.codes(indices).unique(return_inverse=True)
    rows = indices.new_empty(len(codes), indices.shape[1])
    rows[inverse] = indices
    return rows, inverse


def first_of_each(keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions of the first occurrence of each key, in order, and for each key the number of its first occurrence."""
    order = keys.argsort(stable=True)
    is_first = torch.ones_like(keys, dtype=torch.bool)
    is_first[1:] = keys[order][1:] != keys[order][:-1]
    first, place = order[is_first].sort()
    which = torch.empty_like(keys)
    which[order] = place.argsort()[is_first.cumsum(0) - 1]
    return first, which
