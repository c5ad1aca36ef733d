"""How costly networks are as far as the descriptions of their choices say, where a space counts no costs."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from .parts import Choice
from .rows import Rows

CHANNELS = 32  # between which a depthwise convolution is compared with a full one: a middling width of benchmarks


def described_log_costs(space: Rows, rows: torch.Tensor) -> torch.Tensor:
    """A trend in the logarithm of what networks cost, up to a constant, ``DoubleTensor (batch,)``.

    Operations count their products for each pixel and pair of channels, which add up; ordered sizes, of which it is
    known only that they grow, multiply the sum by up to e each. Slots without effect do not count.

    Parameters
    ----------
    space
        With choices described.
    rows
        ``LongTensor (batch, slots)``
    """
    active = space.active_slots(rows)
    slots = torch.arange(space.num_slots, device=rows.device)
    products, sizes = _tables(space, products_of), _tables(space, size_of)
    total = (products.to(rows.device)[slots, rows] * active).sum(1)
    return (1 + total).log() + (sizes.to(rows.device)[slots, rows] * active).sum(1)


def _tables(space: Rows, number_of: Callable[[Choice], float]) -> torch.Tensor:
    """A number of each choice, ``DoubleTensor (slots, choices)``, 0 where there is none."""
    table = torch.zeros(space.num_slots, space.num_choices, dtype=torch.float64)
    for s, slot in enumerate(space.slots):
        table[s, : len(slot.choices)] = torch.tensor([number_of(choice) for choice in slot.choices])
    return table


def products_of(choice: Choice) -> float:
    """Products of an operation for each pixel and pair of channels; 0 of what has no weights, or unknown ones."""
    window = max(1, choice.kernel) ** 2
    depthwise = window / CHANNELS
    inner = choice.expansion or 1.0
    of_kind = {
        "convolution": depthwise + 1 if choice.separable else float(window),
        "linear": inner,
        "graph-convolution": 1.0 + choice.root_weight,
        "inverted-bottleneck": inner * (2 + depthwise),
        "residual-block": 2.0 * window,
    }
    return of_kind.get(choice.kind, 0.0)


def size_of(choice: Choice) -> float:
    """Where an ordered size stands on its slot's scale, 0 to about 1; 0 of what is none."""
    if choice.kind != "size":
        return 0.0
    return choice.level + choice.expansion / 6 + math.log2(1 + choice.kernel) / 3
