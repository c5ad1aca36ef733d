"""Searches that choose which labels they read, in turns: PKGen's ask and tell, and baselines.

Each takes a problem and how many labels it may read, and returns the architectures in the order in which it read
them, ``LongTensor (up to num, slots)``. No search reads an architecture twice, nor an invalid one, which has the
chance score.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import torch
from scipy.stats import norm

from ..budgets.search import neighbours
from ..priors.effects import normal_scores
from ..proposals.proposer import Proposer
from ..spaces import SearchSpace
from .generators import generate
from .predictors import gaussian_process
from .problem import Problem
from .specification import distinct, uniform_within

BATCH = 10  # labels that model-based searches read at a time, and that the Gaussian process starts from
POPULATION, TOURNAMENT = 10, 3  # of regularized evolution, as the authors of NAS-Bench-201 set them
POOL, ELITE = 1000, 4  # random candidates of the Gaussian process, and best architectures whose neighbours are added
TRIES = 1000  # redraws before a search gives up, where nearly the whole space was read

Row = tuple[int, ...]


class _Reader:
    """Reads single rows within a number of labels, each architecture once."""

    def __init__(self, problem: Problem, num: int) -> None:
        self.problem, self.space, self.num = problem, problem.space, num
        self.chance_score = problem.space.task(problem.task).chance_score
        self.rows: list[Row] = []
        self._known: dict[int, float] = {}

    @property
    def is_spent(self) -> bool:
        return len(self._known) >= self.num

    @property
    def read(self) -> torch.Tensor:
        """Rows in the order in which they were read."""
        return torch.tensor(self.rows, dtype=torch.long).reshape(-1, self.space.num_slots)

    def is_new(self, row: Row) -> bool:
        indices = torch.tensor([row])
        return bool(self.space.is_valid(indices)) and int(self.space.keys(indices)) not in self._known

    def __call__(self, row: Row) -> float:
        indices = torch.tensor([row])
        if not self.space.is_valid(indices):
            return self.chance_score
        key = int(self.space.keys(indices))
        if key not in self._known:
            if self.is_spent:
                raise RuntimeError(f"all of the {self.num} labels were read")
            self._known[key] = self.problem.read(indices)[0]
            self.rows.append(row)
        return self._known[key]


def _random_rows(space: SearchSpace, seed: int) -> Iterator[Row]:
    """Uniform random valid rows without end; it stops once `TRIES` batches of 256 hold none that is valid."""
    generator = torch.Generator().manual_seed(seed)
    empty = 0
    while empty < TRIES:
        rows = space.sample(256, generator)
        rows = rows[space.is_valid(rows)]
        empty = 0 if len(rows) else empty + 1
        yield from map(tuple, rows.tolist())


def _new(rows: Iterator[Row], reader: _Reader) -> Row | None:
    """The first row that was not read yet; None if none of `TRIES` is new."""
    for _, row in zip(range(TRIES), rows, strict=False):
        if reader.is_new(row):
            return row
    return None


def ask_tell(problem: Problem, num: int) -> torch.Tensor:
    """`Proposer`, asked for 10 architectures at a time."""
    proposer = Proposer(problem.pipe, problem.space, problem.task, seed=problem.run)
    num = min(num, problem.space.num_architectures)
    read = []
    while (done := len(proposer.scores)) < num:
        asked = proposer.ask(min(BATCH, num - done))
        rows = torch.tensor([architecture.indices for architecture in asked])
        proposer.tell(asked, problem.read(rows))
        read.append(rows)
    return torch.cat(read)


def first_ranked(problem: Problem, num: int) -> torch.Tensor:
    """The architectures that the pipeline ranks first, all at once, without feedback."""
    rows = generate(problem, num)
    problem.read(rows)
    return rows


def random_search(problem: Problem, num: int) -> torch.Tensor:
    """Uniform random architectures."""
    rows = uniform_within(problem.limits, num, problem.generator())
    problem.read(rows)
    return rows


def gaussian_process_search(problem: Problem, num: int) -> torch.Tensor:
    """Bayesian optimisation: expected improvement by a Gaussian process on choices and costs, 10 at a time.

    Candidates are random architectures, and the neighbours of the best that were read.
    """
    space, generator = problem.space, problem.generator()
    rows = uniform_within(problem.limits, min(BATCH, num), generator)
    scores = torch.tensor(problem.read(rows))
    while len(rows) < num:
        elite = rows[scores.argsort(descending=True, stable=True)[:ELITE]]
        near = neighbours(space, elite).flatten(0, 1)
        pool = torch.cat([near[space.is_valid(near)], uniform_within(problem.limits, POOL, generator)])
        pool = distinct(space, torch.cat([rows, space.canonical(pool)]))[len(rows) :]
        if not len(pool):
            break
        mean, deviation = gaussian_process(space, problem.task, (rows, scores), pool)
        chosen = pool[_best_expected_improvement(mean, deviation, scores, min(BATCH, num - len(rows)))]
        rows, scores = torch.cat([rows, chosen]), torch.cat([scores, torch.tensor(problem.read(chosen))])
    return rows


def _best_expected_improvement(
    mean: np.ndarray, deviation: np.ndarray, scores: torch.Tensor, num: int
) -> torch.Tensor:
    """Positions of the candidates of the highest expected improvement on the best normal score."""
    margin, spread = mean - normal_scores(scores).max(), np.maximum(deviation, 1e-9)
    improvement = margin * norm.cdf(margin / spread) + spread * norm.pdf(margin / spread)
    return torch.from_numpy(np.argsort(-improvement, kind="stable")[:num].copy())


def regularized_evolution(problem: Problem, num: int) -> torch.Tensor:
    """Regularized evolution (Real et al., AAAI 2019): the best of a few is mutated in one slot, the oldest dies.

    A child that is invalid or was read before is drawn again, which spends no label.
    """
    space, reader, draw = problem.space, _Reader(problem, num), random.Random(problem.run)
    rows = _random_rows(space, problem.run)

    def children(parent: Row) -> Iterator[Row]:
        while True:
            slot = draw.randrange(space.num_slots)
            choices = [k for k in range(int(space.drawn_sizes[slot])) if k != parent[slot]]
            if choices:
                yield (*parent[:slot], draw.choice(choices), *parent[slot + 1 :])

    population: list[tuple[float, Row]] = []
    while not reader.is_spent:
        if len(population) < POPULATION:
            child = _new(rows, reader)
        else:
            parent = max(draw.sample(population, TOURNAMENT))[1]
            child = _new(children(parent), reader) or _new(rows, reader)
        if child is None:
            break
        population.append((reader(child), child))
        population = population[-POPULATION:]
    return reader.read


def local_search(problem: Problem, num: int) -> torch.Tensor:
    """Local search (White et al., UAI 2021): move to the first neighbour that is better, start again where none is.

    Neighbours differ in the choice of one slot.
    """
    space, reader, draw = problem.space, _Reader(problem, num), random.Random(problem.run)
    rows = _random_rows(space, problem.run)

    def shuffled_neighbours(row: Row) -> list[Row]:
        found = [(*row[:s], k, *row[s + 1 :]) for s, size in enumerate(sizes) for k in range(size) if k != row[s]]
        draw.shuffle(found)
        return found

    sizes = space.drawn_sizes.tolist()
    while not reader.is_spent:
        here = _new(rows, reader)
        if here is None:
            break
        score, stuck = reader(here), False
        while not stuck and not reader.is_spent:
            stuck = True
            for neighbour in shuffled_neighbours(here):
                if reader.is_spent:
                    break
                if reader.is_new(neighbour) and (found := reader(neighbour)) > score:
                    here, score, stuck = neighbour, found, False
                    break
    return reader.read


def tree_parzen(problem: Problem, num: int) -> torch.Tensor:
    """Optuna's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011) over the slots, as Optuna sets it.

    It gets the same score again where it proposes an architecture again, and the chance score for an invalid one;
    neither spends a label.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        raise ModuleNotFoundError("this baseline is Optuna's: pip install 'pkgen-hf[optuna]'") from None

    space, reader = problem.space, _Reader(problem, num)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=problem.run))
    choices = [list(range(size)) for size in space.drawn_sizes.tolist()]
    for _ in range(4 * num):
        if reader.is_spent:
            break
        trial = study.ask()
        study.tell(
            trial, reader(tuple(trial.suggest_categorical(str(s), options) for s, options in enumerate(choices)))
        )
    rows = _random_rows(space, problem.run)
    while not reader.is_spent and (new := _new(rows, reader)):  # it proposes nothing new any more
        reader(new)
    return reader.read
