"""How good generated architectures are, by a benchmark's table; every row says what it read and what it took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from .benchmarks import ScoreTable
from .pipeline_pkgen import PKGenPipeline
from .priors import Prior
from .spaces import SearchSpace
from .surrogate import Surrogate

Generate = Callable[[int, torch.Generator], tuple[torch.Tensor, float]]
"""From a number and a generator to architectures ``(n, slots)``, best first by its own ranking, and their validity."""


def from_pipeline(
    pipe: PKGenPipeline, space: SearchSpace, task: str, prior: Prior | None = None, **call: Any
) -> Generate:
    """Generation by the pipeline, samples as they come."""

    def generate(num: int, generator: torch.Generator) -> tuple[torch.Tensor, float]:
        out = pipe(
            space=space,
            task=task,
            prior=prior,
            num_architectures=num,
            distinct=False,
            generator=generator,
            **call,
        )
        return torch.tensor([architecture.indices for architecture in out.architectures]), out.validity

    return generate


def from_prior(prior: Prior, temperature: float = 1.0) -> Generate:
    """The prior alone: every slot drawn by itself, most frequent architectures first."""

    def generate(num: int, generator: torch.Generator) -> tuple[torch.Tensor, float]:
        return _by_frequency(prior, prior.sample(num, temperature, generator))

    return generate


def from_uniform(space: SearchSpace) -> Generate:
    """Uniform random architectures, in the order they were drawn."""

    def generate(num: int, generator: torch.Generator) -> tuple[torch.Tensor, float]:
        indices = space.sample(num, generator)
        return indices, float(space.is_valid(indices).float().mean())

    return generate


def _by_frequency(prior: Prior, indices: torch.Tensor) -> tuple[torch.Tensor, float]:
    space = prior.space
    _, inverse, counts = space.keys(indices).unique(return_inverse=True, return_counts=True)
    order = counts[inverse].argsort(descending=True, stable=True)
    return indices[order], float(space.is_valid(indices).float().mean())


def evaluate(
    name: str,
    generate: Generate,
    table: ScoreTable | Surrogate,
    task: str,
    labels_read: dict[str, int],
    num: int = 1000,
    seeds: int = 5,
) -> dict[str, Any]:
    """Generate `num` architectures with each of `seeds` seeds and look all of them up.

    Returns
    -------
    dict
        A row of a results table. ``validation`` is the mean of the scores that select (see `Task.split`; in percent if
        they are accuracies) over everything generated, invalid architectures being worth a guess, with
        ``validation_std`` over seeds; ``best_of_1``, ``best_of_5`` and ``best_of_n`` are the best of them among
        the first distinct ones by the generator's own order (1, 5, all); ``median_rank`` is in percent of the table.
        ``test`` and ``test_of_selected`` are there if the table has test scores beside: the mean over everything, and
        the score of the one that validation picks of the first five. ``unique`` is the share of distinct
        architectures. ``seconds`` is the time to generate one batch of `num`.
    """
    has_test = isinstance(table, ScoreTable) and table.has(task, "test") and table.space.task(task).split != "test"
    rows: list[dict[str, float]] = []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        started = time.perf_counter()
        indices, validity = generate(num, generator)
        seconds = time.perf_counter() - started
        scores = table.values(indices, task)
        keys = table.space.keys(indices)
        first = [int((keys == key).nonzero()[0]) for key in dict.fromkeys(keys.tolist())]
        row = {
            "validation": float(scores.mean()),
            "best_of_1": float(scores[first[0]]),
            "best_of_5": float(scores[first[:5]].max()),
            "best_of_n": float(scores.max()),
            "median_rank": 100 * float(table.ranks(scores, task).median()),
            "validity": validity,
            "unique": len(first) / num,
            "seconds": seconds,
        }
        if has_test:
            assert isinstance(table, ScoreTable)
            test = table.scores(indices, task, "test")
            row["test"] = float(test.nanmean())
            row["test_of_selected"] = float(test[first[:5]][scores[first[:5]].argmax()])
        rows.append(row)
    means = {key: float(torch.tensor([row[key] for row in rows]).mean()) for key in rows[0]}
    std = {f"{key}_std": float(torch.tensor([row[key] for row in rows]).std()) for key in rows[0] if key != "seconds"}
    return {"method": name, "task": task, "n": num, "seeds": seeds, "labels_read": labels_read, **means, **std}
