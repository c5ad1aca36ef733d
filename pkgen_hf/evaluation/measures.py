"""How good generated architectures are, looked up in a benchmark's table; every row says which labels it read."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..benchmarks.score_table import ScoreTable
from ..benchmarks.surrogate import Surrogate
from ..pipeline_pkgen import PKGenPipeline
from ..priors.prior import Prior
from ..spaces import SearchSpace
from .baselines import Search

REDRAWS = 100
QUANTILES = 21  # from the 0th to the 100th percentile
TOP = 0.01  # the share of a table whose coverage is measured
Generate = Callable[[int, torch.Generator], tuple[torch.Tensor, float]]
"""From a number and a generator to architectures ``(n, slots)``, best first by its own ranking, and their validity."""


# ---------------------------------------------------------------------- what generates


def from_pipeline(
    pipe: PKGenPipeline,
    space: SearchSpace,
    task: str,
    prior: Prior | None = None,
    distinct: bool = False,
    **call: Any,
) -> Generate:
    """Generation by the pipeline, by default samples as they come."""

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
    """Independent samples of every slot from the prior, invalid ones redrawn, most frequent architectures first."""

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
    """Rows ``(num, slots)``, invalid ones redrawn, `REDRAWS` times at most; the share that was valid at first."""
    rows = draw(num)
    validity = float(space.is_valid(rows).float().mean())
    for _ in range(REDRAWS):
        wrong = ~space.is_valid(rows)
        if not wrong.any():
            break
        rows[wrong] = draw(int(wrong.sum()))
    return rows, validity


# ---------------------------------------------------------------------- samples


def evaluate(
    method: str,
    generate: Generate,
    table: ScoreTable | Surrogate,
    task: str,
    labels_read: dict[str, int],
    num: int = 1000,
    seeds: int = 5,
    labelled: torch.Tensor | None = None,
) -> dict[str, Any]:
    """Generate `num` architectures with each of `seeds` seeds and look all of them up.

    Parameters
    ----------
    method
        The id of the method, see `METHODS`.
    generate
        What generates.
    table
        Measured scores of the whole space, or a surrogate.
    task
        The data set whose scores are looked up.
    labels_read
        How many labels the method has read, by space and data set.
    labelled
        Architectures whose labels were read, ``LongTensor (n, slots)``, for novelty.

    Returns
    -------
    dict
        A row of a results table. ``validation`` is the mean of the scores that select (see `ScoreTable.split`; in
        percent if they are accuracies) over all samples, invalid ones with the chance score, with ``validation_std``
        over seeds; ``best_of_1``, ``best_of_5`` and ``best_of_n`` are the best of them among the first distinct ones
        by the method's own order (1, 5, all); ``median_rank`` is in percent of the table. ``test`` and
        ``test_of_selected`` are there if the table has test scores beside: the mean over all samples, and the score of
        the one that validation selects of the first five. ``unique`` is the share of distinct architectures,
        ``novelty`` the share of these that are not among `labelled`, and ``coverage`` the share of the best hundredth
        of a table that is among them. ``quantiles`` are those of the scores, from the 0th to the 100th percentile in
        steps of 5. ``seconds`` is the time to generate one batch of `num`.
    """
    space = table.space
    known = space.keys(space.canonical(labelled)) if labelled is not None else torch.empty(0, dtype=torch.long)
    top = _keys_of_top(table, task)
    steps = torch.linspace(0, 1, QUANTILES)
    quantiles = torch.zeros(QUANTILES)
    rows: list[dict[str, float]] = []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        started = time.perf_counter()
        indices, validity = generate(num, generator)
        seconds = time.perf_counter() - started
        quantiles += table.values(indices, task).float().quantile(steps) / seeds
        rows.append({**_measures(indices, table, task, known, top), "validity": validity, "seconds": seconds})
    row = {"method": method, "task": task, "n": num, "seeds": seeds, "labels_read": labels_read}
    return row | mean_and_std(rows) | {"quantiles": [round(value, 4) for value in quantiles.tolist()]}


def _keys_of_top(table: ScoreTable | Surrogate, task: str) -> torch.Tensor:
    """Keys of the best hundredth of a table's valid architectures; none of a surrogate."""
    if not isinstance(table, ScoreTable):
        return torch.empty(0, dtype=torch.long)
    is_top = (table.ranks(table.column(task), task) < TOP) & table.space.is_valid(table.indices)
    return table.space.keys(table.indices[is_top]).unique()


def _measures(
    indices: torch.Tensor, table: ScoreTable | Surrogate, task: str, known: torch.Tensor, top: torch.Tensor
) -> dict[str, float]:
    """What `evaluate` measures of the samples ``(n, slots)`` of one seed."""
    scores = table.values(indices, task)
    keys = table.space.keys(indices)
    first = [int((keys == key).nonzero()[0]) for key in dict.fromkeys(keys.tolist())]
    row = {
        "validation": float(scores.mean()),
        "best_of_1": float(scores[first[0]]),
        "best_of_5": float(scores[first[:5]].max()),
        "best_of_n": float(scores.max()),
        "median_rank": 100 * float(table.ranks(scores, task).median()),
        "unique": len(first) / len(indices),
        "novelty": float((~torch.isin(keys[first], known)).float().mean()),
    }
    if len(top):
        row["coverage"] = float(torch.isin(top, keys).float().mean())
    if isinstance(table, ScoreTable) and has_test_beside(table, task):
        test = table.scores(indices, task, "test")
        row["test"] = float(test.nanmean())
        row["test_of_selected"] = float(test[first[:5]][scores[first[:5]].argmax()])
    return row


def has_test_beside(table: ScoreTable, task: str) -> bool:
    """Whether a table has test scores beside those that select."""
    return table.has(task, "test") and table.split(task) != "test"


def mean_and_std(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of every column, and but for ``seconds`` its standard deviation as ``..._std``."""
    columns = {key: torch.tensor([row[key] for row in rows]) for key in rows[0]}
    means = {key: float(values.mean()) for key, values in columns.items()}
    return means | {f"{key}_std": float(values.std()) for key, values in columns.items() if key != "seconds"}


# ---------------------------------------------------------------------- searches


def evaluate_search(
    method: str, searches: Sequence[Search], table: ScoreTable, task: str, budgets: list[int], runs: int = 10
) -> list[dict[str, Any]]:
    """Let a search read labels, and report the best that it has read, by validation, at each of several budgets.

    With several searches, of different trainings say, runs take turns at them.

    Returns
    -------
    list of dict
        A row for each budget: ``validation`` and ``median_rank`` (in percent of the table) of the architecture that
        validation selects, and ``test`` of the same one if the table has test scores, each the mean over `runs` with
        its standard deviation; ``seconds`` of a whole run to the largest budget; ``labels_read`` of the task.
    """
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
            raise RuntimeError(f"{method} read {len(rows)} labels, of {max(budgets)} that it may read")
        scores = table.values(rows, task)
        for budget in budgets:
            best = int(scores[:budget].argmax())
            row = {"validation": float(scores[best]), "seconds": seconds}
            row["median_rank"] = 100 * float(table.ranks(scores[best : best + 1], task))
            if has_test_beside(table, task):
                row["test"] = float(table.scores(rows[best : best + 1], task, "test"))
            found[budget].append(row)
    return [
        {"method": method, "task": task, "n": budget, "seeds": runs}
        | {"labels_read": {f"{table.space.name}/{task}": budget}, **mean_and_std(rows_of_budget)}
        for budget, rows_of_budget in found.items()
    ]
