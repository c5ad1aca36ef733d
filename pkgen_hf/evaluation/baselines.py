"""Baselines that search, reading labels one after another, and PKGen's ask and tell in the same form.

A search takes a function that reads labels, how many it may read, and a seed. It reads no architecture twice: labels
are remembered. Nor does it read an invalid one: it has the chance score.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import torch

from ..pipeline_pkgen import PKGenPipeline
from ..proposals.acquisition import FIRST
from ..proposals.proposer import Proposer
from ..spaces import SearchSpace

Read = Callable[[torch.Tensor], list[float]]
"""From architectures ``(n, slots)`` to their scores."""
Search = Callable[[Read, int, int], None]
"""Takes a function that reads labels, how many labels it may read, and a seed."""

FEW, MANY = 50, 10  # after the first ones, architectures are asked for 2 by 2, and from FEW labels on MANY by MANY
POPULATION, TOURNAMENT = 10, 3  # of regularized evolution, as the authors of NAS-Bench-201 set them
TRIES = 1000  # redraws before a search gives up, where nearly the whole space was read


class _Reader:
    """Reads single rows within a budget, each architecture once."""

    def __init__(self, space: SearchSpace, read: Read, budget: int, chance_score: float) -> None:
        self.space, self.budget, self.chance_score = space, budget, chance_score
        self._read = read
        self._known: dict[int, float] = {}

    @property
    def is_spent(self) -> bool:
        return len(self._known) >= self.budget

    def is_new(self, row: tuple[int, ...]) -> bool:
        indices = torch.tensor([row])
        return bool(self.space.is_valid(indices)) and int(self.space.keys(indices)) not in self._known

    def __call__(self, row: tuple[int, ...]) -> float:
        indices = torch.tensor([row])
        if not self.space.is_valid(indices):
            return self.chance_score
        key = int(self.space.keys(indices))
        if key not in self._known:
            if self.is_spent:
                raise RuntimeError(f"the budget of {self.budget} labels is spent")
            self._known[key] = self._read(indices)[0]
        return self._known[key]


def _random_rows(space: SearchSpace, seed: int) -> Iterator[tuple[int, ...]]:
    """Uniform random valid rows without end; it stops once `TRIES` batches of 256 hold none that is valid."""
    generator = torch.Generator().manual_seed(seed)
    empty = 0
    while empty < TRIES:
        rows = space.sample(256, generator)
        rows = rows[space.is_valid(rows)]
        empty = 0 if len(rows) else empty + 1
        yield from map(tuple, rows.tolist())


def _new(rows: Iterator[tuple[int, ...]], reader: _Reader) -> tuple[int, ...] | None:
    """The first row that was not read yet; None if none of `TRIES` is new."""
    for _, row in zip(range(TRIES), rows, strict=False):
        if reader.is_new(row):
            return row
    return None


def ask_tell_search(pipe: PKGenPipeline, space: SearchSpace, task: str) -> Search:
    """`Proposer`, asked for 10 architectures at first, then for 2 at a time, and for 10 once 50 labels were read."""

    def search(read: Read, budget: int, seed: int) -> None:
        proposer = Proposer(pipe, space, task, seed=seed)
        while (done := len(proposer.scores)) < budget:
            asked = proposer.ask(min(MANY if done < FIRST or done >= FEW else 2, budget - done))
            proposer.tell(asked, read(torch.tensor([architecture.indices for architecture in asked])))

    return search


def first_ranked(pipe: PKGenPipeline, space: SearchSpace, task: str) -> Search:
    """The architectures that the pipeline itself ranks first, all at once, without feedback."""

    def search(read: Read, budget: int, seed: int) -> None:
        out = pipe(space, task, num_architectures=budget, generator=torch.Generator().manual_seed(seed))
        read(torch.tensor([architecture.indices for architecture in out.architectures]))

    return search


def random_search(space: SearchSpace) -> Search:
    """Uniform random architectures."""

    def search(read: Read, budget: int, seed: int) -> None:
        reader, rows = _Reader(space, read, budget, 0.0), _random_rows(space, seed)
        while not reader.is_spent and (row := _new(rows, reader)):
            reader(row)

    return search


def regularized_evolution(space: SearchSpace) -> Search:
    """Regularized evolution (Real et al., AAAI 2019): the best of a few is mutated in one slot, the oldest dies.

    A child that is invalid or was read before is drawn again, which spends no label.
    """

    def children(parent: tuple[int, ...], draw: random.Random) -> Iterator[tuple[int, ...]]:
        while True:
            slot = draw.randrange(space.num_slots)
            choices = [k for k in range(int(space.drawn_sizes[slot])) if k != parent[slot]]
            if choices:
                yield (*parent[:slot], draw.choice(choices), *parent[slot + 1 :])

    def search(read: Read, budget: int, seed: int) -> None:
        reader, draw, rows = _Reader(space, read, budget, 0.0), random.Random(seed), _random_rows(space, seed)
        population: list[tuple[float, tuple[int, ...]]] = []
        while not reader.is_spent:
            if len(population) < POPULATION:
                child = _new(rows, reader)
            else:
                parent = max(draw.sample(population, TOURNAMENT))[1]
                child = _new(children(parent, draw), reader) or _new(rows, reader)
            if child is None:
                return
            population.append((reader(child), child))
            population = population[-POPULATION:]

    return search


def local_search(space: SearchSpace) -> Search:
    """Local search (White et al., UAI 2021): move to the first neighbour that is better, start again where none is.

    Neighbours differ in the choice of one slot.
    """

    def neighbours(row: tuple[int, ...], draw: random.Random) -> list[tuple[int, ...]]:
        found = [
            (*row[:s], k, *row[s + 1 :])
            for s, size in enumerate(space.drawn_sizes.tolist())
            for k in range(size)
            if k != row[s]
        ]
        draw.shuffle(found)
        return found

    def search(read: Read, budget: int, seed: int) -> None:
        reader, draw, rows = _Reader(space, read, budget, 0.0), random.Random(seed), _random_rows(space, seed)
        while not reader.is_spent:
            here = _new(rows, reader)
            if here is None:
                return
            score, stuck = reader(here), False
            while not stuck and not reader.is_spent:
                stuck = True
                for neighbour in neighbours(here, draw):
                    if reader.is_spent:
                        return
                    if reader.is_new(neighbour) and (found := reader(neighbour)) > score:
                        here, score, stuck = neighbour, found, False
                        break

    return search


def tree_parzen(space: SearchSpace, task: str) -> Search:
    """Optuna's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011) over the slots, as Optuna sets it.

    It gets the same score again where it proposes an architecture again, and the chance score for an invalid one;
    neither spends a label.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        raise ModuleNotFoundError("this baseline is Optuna's: pip install 'pkgen-hf[recipes]'") from None

    def search(read: Read, budget: int, seed: int) -> None:
        reader, rows = _Reader(space, read, budget, space.task(task).chance_score), _random_rows(space, seed)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        choices = [list(range(len(slot.choices))) for slot in space.slots]
        for _ in range(4 * budget):
            if reader.is_spent:
                return
            trial = study.ask()
            row = tuple(trial.suggest_categorical(str(s), options) for s, options in enumerate(choices))
            study.tell(trial, reader(row))
        while not reader.is_spent and (new := _new(rows, reader)):  # it proposes nothing new any more
            reader(new)

    return search
