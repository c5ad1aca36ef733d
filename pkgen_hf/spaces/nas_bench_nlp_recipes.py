"""Recipes of recurrent cells as tensors: how rows of indices are read, pruned and put in order.

A recipe is at most `NODES` nodes, each an operation on what comes before it, of which up to `STATES` are the new
hidden states. The rules are those of `pkgen_hf.spaces.nas_bench_nlp.NASBenchNLPSpace`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .parts import mix

NODES = 24
STATES = 3
INPUTS = 3
# Operations: no node, a linear map, a blend of two inputs by a third, product, sum, three activations.
NONE, LINEAR, BLEND = range(3)
ARITY = torch.tensor([0, 3, 3, 2, 2, 1, 1, 1], device="cpu")  # at most; a linear map may do with two
# What a node may read: x, the previous hidden states, the nodes. UNUSED is where there is no input.
X, FIRST_STATE, FIRST_NODE, UNUSED = 0, 1, 1 + STATES, 1 + STATES + NODES


@dataclass
class Recipes:
    """A batch of recipes as tensors; inputs of a node are numbers of `SOURCES`, all of what comes before.

    Parameters
    ----------
    operations
        ``LongTensor (batch, NODES)``, `NONE` where there is no node.
    inputs
        ``LongTensor (batch, NODES, INPUTS)``, `UNUSED` behind the last.
    states
        The node that is each new hidden state, ``LongTensor (batch, STATES)``, -1 where there is none.
    """

    operations: torch.Tensor
    inputs: torch.Tensor
    states: torch.Tensor

    def reached(self, states: torch.Tensor) -> torch.Tensor:
        """What the new hidden states in `states` (``BoolTensor (batch, STATES)``) are computed from within a step.

        Returns
        -------
        BoolTensor (batch, UNUSED + 1), over `SOURCES`
        """
        # Sets as bits. A state that is not there marks the last column, which means nothing.
        places = torch.where(states & (self.states >= 0), self.states + FIRST_NODE, UNUSED)
        found = _union(places)
        read = _union(self.inputs)
        for node in reversed(range(NODES)):
            found |= read[:, node] * (found >> FIRST_NODE + node & 1)
        return (found[:, None] >> torch.arange(UNUSED + 1, device=found.device) & 1) > 0

    def reached_over_time(self) -> torch.Tensor:
        """What the output is computed from in this step or an earlier one, as `reached`."""
        states = torch.zeros_like(self.states, dtype=torch.bool)
        states[:, 0] = True
        for _ in range(STATES - 1):
            states |= self.reached(states)[:, FIRST_STATE:FIRST_NODE]
        return self.reached(states)


def _union(members: torch.Tensor) -> torch.Tensor:
    """Sets of numbers of `SOURCES` in the last axis, as bits: ``LongTensor (..., members)`` to ``(...)``."""
    bits = 1 << members
    union = bits[..., 0]
    for i in range(1, members.shape[-1]):
        union = union | bits[..., i]
    return union


def resolve(indices: torch.Tensor) -> Recipes:
    """The recipe of each row by the space's rules, but for the last three, ``LongTensor (batch, slots)``."""
    operations, inputs, states = split(indices)
    values = torch.arange(UNUSED + 1, device=indices.device).repeat(len(indices), 1)
    last = torch.full_like(operations[:, 0], FIRST_STATE)  # the last node so far, or h_prev_0
    lasts = torch.empty_like(operations)
    arity = ARITY.to(indices.device)[operations]
    for node in range(NODES):
        read = values.gather(1, inputs[:, node])
        operation, present = operations[:, node], operations[:, node] != NONE
        values[:, FIRST_NODE + node] = torch.where(present, FIRST_NODE + node, read[:, 0])
        is_other = (operation > LINEAR)[:, None]
        read = torch.where(is_other & ((read == X) | (read == UNUSED)), last[:, None], read)
        inputs[:, node] = torch.where(torch.arange(INPUTS, device=read.device) < arity[:, node, None], read, UNUSED)
        last = torch.where(present, FIRST_NODE + node, last)
        lasts[:, node] = last
    first = (operations != NONE).long().argmax(1)[:, None]
    target = values.gather(1, torch.where(states < 0, UNUSED, states + FIRST_NODE))
    before = lasts.gather(1, states.clamp(min=0))
    target = torch.where(target < FIRST_NODE, before, target)
    target = torch.where(target < FIRST_NODE, first + FIRST_NODE, target)
    states = torch.where(states < 0, -1, target - FIRST_NODE)
    # Which state each is: itself, an earlier one that is the same node, or the first where there is none.
    same = (states[:, :, None] == states[:, None, :]).int().argmax(2)
    same = torch.where(states < 0, 0, same)
    own = torch.arange(STATES, device=same.device)
    rename = torch.arange(UNUSED + 1, device=same.device).repeat(len(same), 1)
    rename[:, FIRST_STATE:FIRST_NODE] = FIRST_STATE + same
    inputs = rename.gather(1, inputs.flatten(1)).reshape(inputs.shape)
    return Recipes(operations, inputs, torch.where(same == own, states, -1))


def complete(indices: torch.Tensor) -> tuple[Recipes, torch.Tensor]:
    """The recipe of each row with a node that reads ``x`` and without hidden states that nobody reads.

    Returns
    -------
    recipes
        Nodes in their places of the row, also those that no hidden state is computed from.
    lacked : BoolTensor (batch,)
        Which rows had no such node, so that their first one was taken as a linear map of ``x``.
    """
    recipes = resolve(indices)
    output = torch.arange(STATES, device=indices.device) == 0
    recipes.states = _read_states(recipes)
    lacked = ~recipes.reached(recipes.states >= 0)[:, X] & (recipes.operations != NONE).any(1)
    at = lacked.nonzero()[:, 0]
    part = Recipes(recipes.operations[at], recipes.inputs[at], recipes.states[at])
    first = part.reached(output.expand(len(at), -1))[:, FIRST_NODE:UNUSED].int().argmax(1)
    row = torch.arange(len(at), device=at.device)
    part.operations[row, first] = LINEAR
    part.inputs[row, first, 1] = part.inputs[row, first, 0]
    part.inputs[row, first, 0] = X
    part.inputs[row, first, 2] = UNUSED
    recipes.operations[at], recipes.inputs[at], recipes.states[at] = part.operations, part.inputs, _read_states(part)
    return recipes, lacked


def _read_states(recipes: Recipes) -> torch.Tensor:
    """States as of `Recipes`, but -1 for those whose previous value no other is computed from; the output stays."""
    output = torch.arange(STATES, device=recipes.states.device) == 0
    kept = Recipes(recipes.operations, recipes.inputs, recipes.states)
    for _ in range(STATES - 1):
        read = kept.reached(kept.states >= 0)[:, FIRST_STATE:FIRST_NODE]
        kept.states = torch.where(read | output, kept.states, -1)
    return kept.states


def decode(indices: torch.Tensor) -> Recipes:
    """The recipe of each row by the space's rules, in the first places, ``LongTensor (batch, slots)``."""
    recipes, _ = complete(indices)
    used = recipes.reached(recipes.states >= 0)[:, FIRST_NODE:UNUSED] & (recipes.operations != NONE)
    return arrange(recipes, (~used).long().argsort(dim=1, stable=True), used.sum(1))


def split(indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Operations, inputs as numbers of `SOURCES` or `UNUSED`, and states (-1: none) as they stand in the rows."""
    nodes = indices[:, :-STATES].reshape(-1, NODES, 1 + INPUTS)
    inputs = nodes[:, :, 1:].clone()
    inputs[:, :, 2] = torch.where(inputs[:, :, 2] == 0, UNUSED, inputs[:, :, 2] - 1)
    states = indices[:, -STATES:].clone()
    states[:, 1:] -= 1
    return nodes[:, :, 0].clone(), inputs, states


def arrange(recipes: Recipes, order: torch.Tensor, number: torch.Tensor) -> Recipes:
    """The first `number` nodes of `order`, old places ``(batch, NODES)``, and hidden states without gaps."""
    place = order.argsort(1)
    rename = torch.arange(UNUSED + 1, device=order.device).repeat(len(order), 1)
    rename[:, FIRST_NODE:UNUSED] = FIRST_NODE + place
    present = recipes.states >= 0
    rename[:, FIRST_STATE:FIRST_NODE] = FIRST_STATE + (present.cumsum(1) - 1).clamp(min=0)
    kept = torch.arange(NODES, device=order.device) < number[:, None]
    operations = recipes.operations.gather(1, order)
    inputs = recipes.inputs.gather(1, order[:, :, None].expand(-1, -1, INPUTS))
    inputs = rename.gather(1, inputs.flatten(1)).reshape(inputs.shape)
    states = torch.where(present, place.gather(1, recipes.states.clamp(min=0)), -1)
    states = states.gather(1, (~present).long().argsort(dim=1, stable=True))
    operations, inputs = torch.where(kept, operations, NONE), torch.where(kept[:, :, None], inputs, UNUSED)
    return Recipes(operations, inputs, states)


def order(recipes: Recipes) -> torch.Tensor:
    """Places of nodes by depth, then by colours that do not depend on their order, ``LongTensor (batch, NODES)``.

    Where nodes have the same colour, the first is given another and all are coloured again, until none have.
    """
    operations, inputs, device = recipes.operations, recipes.inputs, recipes.operations.device
    depth = torch.zeros(len(operations), UNUSED + 1, dtype=torch.long, device=device)
    for node in range(NODES):
        depth[:, FIRST_NODE + node] = 1 + depth.gather(1, inputs[:, node]).amax(1)
    level = torch.where(operations != NONE, depth[:, FIRST_NODE:UNUSED], UNUSED)
    places = torch.empty_like(operations)
    at, colours = torch.arange(len(operations), device=device), operations
    while len(at):
        part = Recipes(operations[at], inputs[at], recipes.states[at])
        colours = _refine(part, colours)
        by_colour = colours.argsort(dim=1, stable=True)
        places[at] = by_colour.gather(1, level[at].gather(1, by_colour).argsort(dim=1, stable=True))
        ordered = colours.gather(1, places[at])
        tied = (ordered[:, 1:] == ordered[:, :-1]) & (part.operations.gather(1, places[at])[:, 1:] != NONE)
        left = tied.any(1)
        at, colours, first = at[left], colours[left], tied[left].int().argmax(1)
        colours[torch.arange(len(at), device=device), places[at, first]] += 1
    return places


def _refine(recipes: Recipes, colours: torch.Tensor) -> torch.Tensor:
    """Colours ``(batch, NODES)`` hashed from those given, what each node reads, and who reads it, twice over."""
    operations, inputs, states = recipes.operations, recipes.inputs, recipes.states
    device = operations.device
    present = operations != NONE
    # Only a blend tells its inputs apart.
    role = mix(torch.arange(1, INPUTS + 1, device=device)) * (operations == BLEND)[:, :, None]
    marks = torch.zeros(len(operations), UNUSED + 1, dtype=torch.long, device=device)
    target = torch.where(states < 0, UNUSED, states + FIRST_NODE)
    marks.scatter_add_(1, target, mix(torch.arange(100, 100 + STATES, device=device)).expand(len(states), -1))
    for _ in range(2):
        below = mix(torch.arange(UNUSED + 1, device=device)).repeat(len(operations), 1)
        for node in range(NODES):
            read = mix(below.gather(1, inputs[:, node]) + role[:, node])
            below[:, FIRST_NODE + node] = mix(mix(colours[:, node] + 1000) + read.sum(1))
        above = marks.clone()
        colours = torch.empty_like(colours)
        for node in reversed(range(NODES)):
            own = mix(above[:, FIRST_NODE + node] + below[:, FIRST_NODE + node])
            message = mix(own[:, None] + role[:, node]) * present[:, node, None]
            above.scatter_add_(1, inputs[:, node], message)
            colours[:, node] = own
    return colours
