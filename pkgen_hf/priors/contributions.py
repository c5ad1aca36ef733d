"""Contributions and frequencies of the choices of good architectures: what a measured prior is made of."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..spaces import SearchSpace
from .data import PriorData, Subgraph, uniform_distribution
from .shapley import describe_games, operation_players, shapley_contributions, subgraph_players

SMALLEST_SCALE = 1e-3  # percent points, so that contributions can be divided by it where nothing contributed


def measure(
    space: SearchSpace, task: str | None, good: torch.Tensor, value: Callable[[torch.Tensor], torch.Tensor]
) -> PriorData:
    """Average contributions over good architectures.

    Parameters
    ----------
    space, task
        Of the prior.
    good
        ``LongTensor (n, slots)``
    value
        Scores of a batch of networks, ``(batch, slots) -> (batch,)``.
    """
    one_hot = torch.nn.functional.one_hot(good, space.num_choices).float()  # (n, slots, choices)
    if space.is_conditional:
        one_hot = one_hot * space.active_slots(good)[..., None]
    operations = torch.full((len(good), space.num_slots), torch.nan, dtype=torch.float32, device="cpu")
    players = operation_players(space)
    operations[:, [slots[0] for slots in players]] = shapley_contributions(space, good, value, players)
    gain = operations.nan_to_num().sum(1).mean()
    of_subgraphs, subgraphs = _subgraph_contributions(space, good, value)
    return PriorData(
        space,
        task,
        "measured",
        _mean_by_choice(operations, one_hot),
        _mean_by_choice(of_subgraphs, one_hot),
        _frequencies(space, one_hot),
        subgraphs,
        scale=max(float(gain) / len(players), SMALLEST_SCALE),
        num_good=len(good),
    )


def _frequencies(space: SearchSpace, one_hot: torch.Tensor) -> torch.Tensor:
    """How often each choice is there, among the architectures in which its slot has an effect, ``(slots, choices)``.

    Uniform in slots without effect in all of them. `one_hot`, ``(n, slots, choices)``, is 0 where a slot has none.
    """
    if not space.is_conditional:
        return one_hot.mean(0)
    count = one_hot.sum((0, 2))[:, None]
    return torch.where(count > 0, one_hot.sum(0) / count.clamp(min=1), uniform_distribution(space))


def _subgraph_contributions(
    space: SearchSpace, good: torch.Tensor, value: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[torch.Tensor, tuple[Subgraph, ...]]:
    """Contribution of each slot's subgraph, ``FloatTensor (n, slots)``, and the mean of each distinct subgraph."""
    per_slot = torch.full((len(good), space.num_slots), torch.nan, dtype=torch.float32, device="cpu")
    subgraphs = []
    nodes = subgraph_players(space)
    by_node = shapley_contributions(space, good, value, nodes)  # (n, nodes)
    active = space.active_slots(good)
    for player, slots in enumerate(nodes):
        per_slot[:, slots] = by_node[:, player, None]
        there = active[:, slots].any(1)
        patterns, inverse = good[there][:, slots].unique(dim=0, return_inverse=True)
        counts = torch.bincount(inverse)
        total = torch.zeros(len(patterns), dtype=torch.float32).index_add_(0, inverse, by_node[there, player])
        means = total / counts
        subgraphs += [
            Subgraph(tuple(slots), tuple(pattern), mean, number)
            for pattern, mean, number in zip(patterns.tolist(), means.tolist(), counts.tolist(), strict=True)
        ]
    return per_slot, tuple(subgraphs)


def _mean_by_choice(values: torch.Tensor, one_hot: torch.Tensor) -> torch.Tensor:
    """Mean of ``(n, slots)`` over the architectures with each choice, ``(slots, choices)``; NaN where none has it.

    `one_hot` is 0 where a slot has no effect.
    """
    count = torch.where(values.isnan().any(0)[:, None], 0, one_hot.sum(0))
    return (one_hot * values.nan_to_num()[..., None]).sum(0) / count  # 0 / 0 is NaN


def restricted_games(space: SearchSpace) -> str:
    """What `detail` adds where contributions are not the Shapley values of one game, with a leading semicolon."""
    played = describe_games(space)
    return f"; {played}" if "restricted" in played else ""
