"""A prior from a score that needs no training, such as spectral capacity; see `pkgen_hf.Prior.from_function`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from ..errors import shortened, unknown
from ..inputs import on_cpu, to_scores, whole_number
from ..spaces import SearchSpace, TaskLike
from ..spaces.spectral_capacity import spectral_capacity
from .contributions import measure, restricted_games
from .data import PriorData

Function = Callable[[torch.Tensor], Any]
"""Scores of architectures, ``LongTensor (n, slots) -> FloatTensor (n,)``, higher is better."""
FUNCTIONS: dict[str, Callable[[SearchSpace, torch.Tensor, TaskLike | None], torch.Tensor]] = {
    "spectral-capacity": spectral_capacity
}
"""Scores that come with the package, by the name that `from_function` takes."""
NUM_RANDOM = 2_000  # of which the 20 best are the best 1 %
ROUNDS = 20  # of draws until there are so many distinct valid ones


@on_cpu
def from_function(
    space: SearchSpace,
    function: Function | str,
    task: TaskLike | None,
    top_k: int,
    num_random: int,
    generator: torch.Generator | None,
) -> PriorData:
    """Contributions to a score over the `top_k` best by it of `num_random` random architectures."""
    top_k, num_random = whole_number("top_k", top_k), whole_number("num_random", num_random)
    task = space.resolved(task)
    score = _Score(space, function, task)
    rows = random_architectures(space, num_random, generator)
    if top_k > len(rows):
        raise ValueError(f"top_k must be 1 to {len(rows)}, the number of random architectures, got {top_k}")
    values = score(rows)
    if values.max() == values.min():
        raise ValueError(
            f"{score.name} is {float(values[0]):g} for all {len(rows):,} random architectures of {space.name}: it "
            "says nothing about what contributes"
        )
    lowest = float(values.min())
    good = rows[values.argsort(descending=True, stable=True)[:top_k]]
    prior = measure(space, space.task_label(task), good, lambda reduced: score.of_connected(reduced, lowest))
    detail = f"{top_k} best of {len(rows):,} random architectures by {score.name}, computed without any label"
    return replace(prior, evidence="computed", detail=detail + restricted_games(space))


def random_architectures(space: SearchSpace, num: int, generator: torch.Generator | None) -> torch.Tensor:
    """Up to `num` distinct valid architectures, canonical, ``LongTensor (n, slots)``; by default always the same."""
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    found = torch.empty(0, space.num_slots, dtype=torch.long)
    for _ in range(ROUNDS):
        rows = space.sample(2 * num, generator).cpu()
        found = torch.cat([found, space.canonical(rows[space.is_valid(rows)])])
        found = found[_first_of_each(space.keys(found))]
        if len(found) >= num:
            break
    return found[:num]


def _first_of_each(keys: torch.Tensor) -> torch.Tensor:
    """Places at which each key stands first, in their order."""
    order = keys.argsort(stable=True)
    is_first = torch.ones(len(keys), dtype=torch.bool)
    is_first[1:] = keys[order][1:] != keys[order][:-1]
    return order[is_first].sort().values


class _Score:
    """A function that was given, or a built-in one by its name, whose results are checked.

    Attributes
    ----------
    name
        Of the function, for messages and the prior's `detail`.
    """

    def __init__(self, space: SearchSpace, function: Function | str, task: TaskLike | None) -> None:
        self.space = space
        if isinstance(function, str):
            if function not in FUNCTIONS:
                raise unknown("function of architectures", function, FUNCTIONS)
            known, data = FUNCTIONS[function], space.data_set(task)
            self.function: Function = lambda rows: known(space, rows, data)
            self.name = function.replace("-", " ")
        elif callable(function):
            self.function = function
            self.name = getattr(function, "__name__", type(function).__name__)
        else:
            raise ValueError(f"function must be a function of architectures or its name, got {shortened(function)}")

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Scores of distinct architectures ``(n, slots)``, ``FloatTensor (n,)``; ValueError for what are none."""
        given = self.function(rows)
        shape = tuple(given.shape) if isinstance(given, torch.Tensor) else (len(given),) if _has_length(given) else ()
        if shape != (len(rows),):
            raise ValueError(
                f"{self.name} must return a score for each of {len(rows)} architectures, a tensor of shape "
                f"({len(rows)},), got {f'one of shape {shape}' if shape else shortened(given)}"
            )
        values = to_scores(given)
        if not values.isfinite().all():
            at = int((~values.isfinite()).nonzero()[0])
            text = self.space.to_strings(rows[at : at + 1])[0]
            raise ValueError(
                f"scores must be finite numbers; {self.name} is {float(values[at])} for {shortened(text)}"
            )
        return values.float()

    def of_connected(self, rows: torch.Tensor, otherwise: float) -> torch.Tensor:
        """Scores of any architectures, asked for once a distinct one; `otherwise` of disconnected ones."""
        rows = rows.cpu()
        values = torch.full((len(rows),), otherwise, dtype=torch.float32)
        connected = self.space.is_connected(rows)
        if connected.any():
            distinct, which = self.space.classes(self.space.canonical(rows[connected]))
            values[connected] = self(distinct)[which]
        return values


def _has_length(given: Any) -> bool:
    return hasattr(given, "__len__") and not isinstance(given, str | bytes)
