"""How good generated architectures are, by a benchmark's table; every row says what it read and what it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch

from ..benchmarks.score_table import ScoreTable
from ..benchmarks.surrogate import Surrogate
from ..pipeline_pkgen import PKGenPipeline
from ..priors.prior import Prior
from ..spaces import SearchSpace
from .searches import Search

REDRAWS = 100
Generate = Callable[[int, torch.Generator], tuple[torch.Tensor, float]]
"""From a number and a generator to architectures ``(n, slots)``, best first by its own ranking, and their validity."""


def from_pipeline(
    pipe: PKGenPipeline,
    space: SearchSpace,
    task: str,
    prior: Prior | None = None,
    distinct: bool = False,
    **call: Any,
) -> Generate:
    """Generation by the pipeline, unless told otherwise samples as they come."""

    def generate(num: int, generator: torch.Generator) -> tuple[torch.Tensor, float]:
        out = pipe(
            space=space,
            task=task,
            prior=prior,
            num_architectures=num,
            distinct=distinct,
            generator=generator,
            **call,
        )
        return torch.tensor([architecture.indices for architecture in out.architectures]), out.validity

    return generate


def from_prior(prior: Prior, temperature: float = 1.0) -> Generate:
    """The prior alone: every slot drawn by itself, invalid ones redrawn, most frequent architectures first."""

    def generate(num: int, generator: torch.Generator) -> tuple[torch.Tensor, float]:
        def draw(missing: int) -> torch.Tensor:
            return prior.sample(missing, temperature, generator)

        indices, validity = _redrawn(draw, prior.space, num)
        _, inverse, counts = prior.space.keys(indices).unique(return_inverse=True, return_counts=True)
        return indices[counts[inverse].argsort(descending=True, stable=True)], validity

    return generate


def from_uniform(space: SearchSpace) -> Generate:
    """Uniform random architectures, invalid ones redrawn, in the order they were drawn."""

    def generate(num: int, generator: torch.Generator) -> tuple[torch.Tensor, float]:
        return _redrawn(lambda missing: space.sample(missing, generator), space, num)

    return generate


def _redrawn(draw: Callable[[int], torch.Tensor], space: SearchSpace, num: int) -> tuple[torch.Tensor, float]:
    """Rows ``(num, slots)``, invalid ones drawn again, `REDRAWS` times at most; the share valid at first."""
    rows = draw(num)
    validity = float(space.is_valid(rows).float().mean())
    for _ in range(REDRAWS):
        wrong = ~space.is_valid(rows)
        if not wrong.any():
            break
        rows[wrong] = draw(int(wrong.sum()))
    return rows, validity


def evaluate_search(
    name: str, searches: Sequence[Search], table: ScoreTable, task: str, budgets: list[int], runs: int = 10
) -> list[dict[str, Any]]:
    """Let a search read labels, and report the best it has read, by validation, at each of several budgets.

    With several searches, of different trainings say, runs take turns at them.

    Returns
    -------
    list of dict
        A row for each budget: ``validation`` and ``median_rank`` (in percent of the table) of the architecture that
        validation selects, and ``test`` of the same one if the table has test scores, each the mean over `runs` with
        its standard deviation; ``seconds`` of a whole run to the largest budget; ``labels_read`` of the task.
    """
    has_test = table.has(task, "test") and table.split(task) != "test"
    found: dict[int, list[dict[str, float]]] = {budget: [] for budget in budgets}
    for run in range(runs):
        seen: list[torch.Tensor] = []

        def read(indices: torch.Tensor, seen: list[torch.Tensor] = seen) -> list[float]:
            seen.append(indices)
            return table.values(indices, task).tolist()

        started = time.perf_counter()
        searches[run % len(searches)](read, max(budgets), run)
        seconds = time.perf_counter() - started
        rows = torch.cat(seen)
        if len(rows) > max(budgets):
            raise ValueError(f"the search has read {len(rows)} labels, more than its budget of {max(budgets)}")
        scores = table.values(rows, task)
        for budget in budgets:
            best = int(scores[:budget].argmax())
            row = {"validation": float(scores[best]), "seconds": seconds}
            row["median_rank"] = 100 * float(table.ranks(scores[best : best + 1], task))
            if has_test:
                row["test"] = float(table.scores(rows[best : best + 1], task, "test"))
            found[budget].append(row)
    results = []
    for budget, here in found.items():
        columns = {key: torch.tensor([row[key] for row in here]) for key in here[0]}
        means = {key: float(values.mean()) for key, values in columns.items()}
        std = {f"{key}_std": float(values.std()) for key, values in columns.items() if key != "seconds"}
        read_of = {f"{table.space.name}/{task}": budget}
        results.append(
            {"method": name, "task": task, "n": budget, "seeds": runs, "labels_read": read_of, **means, **std}
        )
    return results


def evaluate(
    name: str,
    generate: Generate,
    table: ScoreTable | Surrogate,
    task: str,
    labels_read: dict[str, int],
    num: int = 1000,
    seeds: int = 5,
    labelled: torch.Tensor | None = None,
) -> dict[str, Any]:
    """Generate `num` architectures with each of `seeds` seeds and look all of them up.

    Returns
    -------
    dict
        A row of a results table. ``validation`` is the mean of the scores that select (see `ScoreTable.split`; in
        percent if they are accuracies) over everything generated, invalid ones with the score of guessing, with
        ``validation_std`` over seeds; ``best_of_1``, ``best_of_5`` and ``best_of_n`` are the best of them among
        the first distinct ones by the generator's own order (1, 5, all); ``median_rank`` is in percent of the table.
        ``test`` and ``test_of_selected`` are there if the table has test scores beside: the mean over everything, and
        the score of the one that validation picks of the first five. ``unique`` is the share of distinct
        architectures, ``novelty`` the share of these that are not among `labelled`, ``LongTensor (n, slots)``, and
        ``coverage`` the share of the best hundredth of a table that is among them. ``quantiles`` are those of the
        scores, from the 0th to the 100th in steps of 5. ``seconds`` is the time to generate one batch of `num`.
    """
    space = table.space
    known = space.keys(space.canonical(labelled)) if labelled is not None else torch.empty(0, dtype=torch.long)
    top = torch.empty(0, dtype=torch.long)
    if isinstance(table, ScoreTable):
        column = table.column(task)
        top = space.keys(table.indices[(table.ranks(column, task) < 0.01) & space.is_valid(table.indices)]).unique()
    steps = torch.linspace(0, 1, 21)
    quantiles = torch.zeros(21)
    has_test = isinstance(table, ScoreTable) and table.has(task, "test") and table.split(task) != "test"
    rows: list[dict[str, float]] = []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        started = time.perf_counter()
        indices, validity = generate(num, generator)
        seconds = time.perf_counter() - started
        scores = table.values(indices, task)
        quantiles += scores.float().quantile(steps) / seeds
        keys = space.keys(indices)
        first = [int((keys == key).nonzero()[0]) for key in dict.fromkeys(keys.tolist())]
        row = {
            "validation": float(scores.mean()),
            "best_of_1": float(scores[first[0]]),
            "best_of_5": float(scores[first[:5]].max()),
            "best_of_n": float(scores.max()),
            "median_rank": 100 * float(table.ranks(scores, task).median()),
            "validity": validity,
            "unique": len(first) / num,
            "novelty": float((~torch.isin(keys[first], known)).float().mean()),
            "seconds": seconds,
        }
        if len(top):
            row["coverage"] = float(torch.isin(top, keys).float().mean())
        if has_test:
            test = cast(ScoreTable, table).scores(indices, task, "test")
            row["test"] = float(test.nanmean())
            row["test_of_selected"] = float(test[first[:5]][scores[first[:5]].argmax()])
        rows.append(row)
    means = {key: float(torch.tensor([row[key] for row in rows]).mean()) for key in rows[0]}
    std = {f"{key}_std": float(torch.tensor([row[key] for row in rows]).std()) for key in rows[0] if key != "seconds"}
    return {"method": name, "task": task, "n": num, "seeds": seeds, "labels_read": labels_read, **means, **std} | {
        "quantiles": [round(value, 4) for value in quantiles.tolist()]
    }
