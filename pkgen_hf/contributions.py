"""Exact Shapley contributions of the components of architectures.

The contribution of a component is its Shapley value in the game whose value ``V(S)`` is the score of the architecture
reduced to the components in S (Xie, Ji and Sun, ICML 2025). Two games are played on every architecture: its operations
(slots), and its one-hop subgraphs (a node with everything that comes into it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch

from .spaces import SearchSpace

MAX_PLAYERS = 8


@cache
def _shapley_matrix(num_players: int) -> torch.Tensor:
    r"""The linear map from the values of all coalitions to Shapley values, ``(2^players, players)``.

    Coalition c holds player i if bit i of c is set. Of n players, a member counts a coalition of s with
    :math:`1 / (n \binom{n - 1}{s - 1})`, another with :math:`-1 / (n \binom{n - 1}{s})` (Shapley, 1953).
    """
    members = _coalitions(num_players)  # (2^players, players)
    matrix = torch.zeros(members.shape, dtype=torch.float64)
    for size in range(num_players + 1):
        inside = 1 / (num_players * math.comb(num_players - 1, size - 1)) if size else 0.0
        outside = -1 / (num_players * math.comb(num_players - 1, size)) if size < num_players else 0.0
        rows = members.sum(1) == size
        matrix[rows] = torch.where(members[rows], inside, outside).double()
    return matrix


def _coalitions(num_players: int) -> torch.Tensor:
    """All coalitions, ``BoolTensor (2^players, players)``."""
    return (torch.arange(2**num_players)[:, None] >> torch.arange(num_players) & 1).bool()


def shapley_contributions(
    space: SearchSpace,
    indices: torch.Tensor,
    value: Callable[[torch.Tensor], torch.Tensor],
    players: Sequence[Sequence[int]],
) -> torch.Tensor:
    """Exact Shapley values of components of a batch of architectures.

    Parameters
    ----------
    space
        Their search space.
    indices
        ``LongTensor (batch, slots)``
    value
        Scores of a batch of architectures, ``(batch, slots) -> (batch,)``.
    players
        The slots of each component. More than `MAX_PLAYERS` play in several games, see `games`.

    Returns
    -------
    FloatTensor (batch, players)
        In the unit of the scores; each row sums to ``V(all) - V(none)`` if there is one game.
    """
    indices = indices.cpu()
    contributions = torch.zeros(len(indices), len(players), dtype=torch.float32, device="cpu")
    for game in games(space, players):
        members = _coalitions(len(game))
        owner = torch.zeros(len(game), space.num_slots, dtype=torch.bool)
        for player, number in enumerate(game):
            owner[player, list(players[number])] = True
        keep = (members.float() @ owner.float()) > 0  # (coalitions, slots)
        keep |= ~owner.any(0)
        reduced = space.remove(indices[:, None, :], keep[None])  # (batch, coalitions, slots)
        values = value(reduced.reshape(-1, space.num_slots)).reshape(len(indices), -1)
        contributions[:, game] = (values.double() @ _shapley_matrix(len(game))).float()
    return contributions


def games(space: SearchSpace, players: Sequence[Sequence[int]]) -> list[list[int]]:
    """Numbers of the players of each game.

    All of them play one game if they are at most `MAX_PLAYERS`. Otherwise those of one cell and kind of slot play
    together, in as many games of equal size as it takes, while all others stay in place.
    """
    if len(players) <= MAX_PLAYERS:
        return [list(range(len(players)))] if players else []
    groups: dict[tuple[int, str], list[int]] = {}
    for number, slots in enumerate(players):
        slot = space.slots[slots[0]]
        groups.setdefault((slot.cell, slot.kind), []).append(number)
    parts = []
    for group in groups.values():
        parts += [part.tolist() for part in np.array_split(group, -(-len(group) // MAX_PLAYERS))]
    return parts


def operation_players(space: SearchSpace) -> list[list[int]]:
    """One component for each slot whose operation can be removed."""
    return [[s] for s in range(space.num_slots) if space.null_indices[s] >= 0]


def subgraph_players(space: SearchSpace) -> list[list[int]]:
    """One component for each node with everything that comes into it, where that can be removed."""
    return [slots for slots in space.node_slots if any(space.null_indices[s] >= 0 for s in slots)]
