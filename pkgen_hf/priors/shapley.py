"""Shapley contributions of the components of architectures.

The contribution of a component is its Shapley value in the game whose value ``V(S)`` is the score of the architecture
reduced to the components in S (Xie, Ji and Sun, ICML 2025). Components are of two kinds, which are measured apart: the
operations (slots), and the one-hop subgraphs (a node with everything that comes into it).

Values are those of all coalitions, without sampling. Up to `MAX_PLAYERS` components are the players of one game, whose
Shapley values are exact. More are divided among several restricted games, in each of which all other components stay
in place; a value is then exact for its own game, and an approximation of the one in the game of all (see `games`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch

from ..spaces import SearchSpace

MAX_PLAYERS = 8


@cache
def shapley_matrix(num_players: int) -> torch.Tensor:
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
    """Shapley values of components of a batch of architectures, each exact for the game that it is a player of.

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
        In the unit of the scores. The values of a game sum to ``V(all) - V(without its players)``, which is
        ``V(all) - V(none)`` if there is one game.
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
        contributions[:, game] = (values.double() @ shapley_matrix(len(game))).float()
    return contributions


def games(space: SearchSpace, players: Sequence[Sequence[int]]) -> list[list[int]]:
    """Numbers of the players of each game.

    All of them play one game if they are at most `MAX_PLAYERS`. Otherwise there are restricted games, outside of which
    all players stay in place: those of one cell and kind of slot (of a component's first slot) are divided, in their
    order, among as few games of at most `MAX_PLAYERS` as hold them, of sizes that differ by one at most.
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


def describe_games(space: SearchSpace) -> str:
    """How contributions are measured in a space, e.g. ``"one game of 6 operations, one game of 3 subgraphs"``.

    Where there are more players than one game has: ``"2 restricted games of 8 and 8 operations"``.
    """
    return ", ".join(
        _describe([len(game) for game in games(space, players)], kind)
        for kind, players in [("operations", operation_players(space)), ("subgraphs", subgraph_players(space))]
    )


def _describe(sizes: list[int], kind: str) -> str:
    if len(sizes) == 1:
        return f"one game of {sizes[0]} {kind if sizes[0] != 1 else kind.removesuffix('s')}"
    *first, last = map(str, sizes)
    return f"{len(sizes)} restricted games of {', '.join(first)} and {last} {kind}"


def operation_players(space: SearchSpace) -> list[list[int]]:
    """One component for each slot whose operation can be removed."""
    return [[s] for s in range(space.num_slots) if space.null_indices[s] >= 0]


def subgraph_players(space: SearchSpace) -> list[list[int]]:
    """One component for each node with everything that comes into it, where that can be removed."""
    return [slots for slots in space.node_slots if any(space.null_indices[s] >= 0 for s in slots)]
