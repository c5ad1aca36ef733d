"""How good a set is: its first, the best of its first eight, its median, its share among the best hundredth."""

from __future__ import annotations

from typing import Any

import torch

from ..budgets.limits import Limits
from .judge import Judge

SET, FEW = 100, 8  # architectures of a set, of which the first few could be trained
TOP = 1.0  # percent of all architectures (within the budget), the share of a set among which is measured

MEASURES = {
    "first_rank": "rank of the first, %",
    "few_rank": f"rank of the best of the first {FEW}, %",
    "median_rank": f"median rank of {SET}, %",
    "top_share": "share in the best 1 %, %",
}
"""Measures that methods are compared by, and what tables print; of ranks, lower is better."""
OF_SETS = ("median_rank", "top_share", "mean_score", "mean_test")  # of what a search has read, they say nothing


def measures(judge: Judge, limits: Limits, rows: torch.Tensor) -> dict[str, Any]:
    """Measures of a set, best first by the method's own order.

    Parameters
    ----------
    judge
        Of the space and task.
    limits
        That the set obeys; ranks are among all that obey them.
    rows
        ``LongTensor (n, slots)``, at least one.

    Returns
    -------
    dict
        Ranks are in percent of all architectures within the limits, 0 is the best: ``first_rank``, ``few_rank`` (of
        the best of the first 8, by the score that selects), ``median_rank`` of all. ``top_share``: share of them among
        the best hundredth, in percent. ``first_score``, ``few_score``, ``mean_score``: scores that select;
        ``few_test``: the test score of the same as ``few_score``, and ``mean_test``, where there are test scores
        beside. ``distinct``: how many are not isomorphic, of ``n``.

    Raises
    ------
    ValueError
        If one is invalid or beyond the limits.
    """
    wrong = int((~judge.space.is_valid(rows)).sum()), int((~limits.within(rows)).sum()) if limits else 0
    if any(wrong):
        raise ValueError(f"of {len(rows)} architectures {wrong[0]} are invalid and {wrong[1]} beyond {limits}")
    scores = judge.scores(rows)
    ranks = judge.ranks(scores, limits)
    best = int(scores[:FEW].argmax())
    found = {
        "n": len(rows),
        "distinct": len(judge.space.keys(rows).unique()),
        "first_rank": float(ranks[0]),
        "few_rank": float(ranks[best]),
        "median_rank": float(ranks.quantile(0.5)),
        "top_share": 100 * float((ranks < TOP).float().mean()),
        "first_score": float(scores[0]),
        "few_score": float(scores[best]),
        "mean_score": float(scores.mean()),
    }
    if judge.has_test:
        test = judge.test_scores(rows)
        found |= {"few_test": float(test[best]), "mean_test": float(test.nanmean())}
    return found


def search_measures(judge: Judge, limits: Limits, rows: torch.Tensor) -> dict[str, Any]:
    """Measures of what a search has read, ``(n, slots)``: of the best of them, as of a set whose first it is.

    That one is ``first``, and the best 8 are ``few``, so that both ranks are the same; there is no set of 100.
    """
    scores = judge.scores(rows)
    best = rows[scores.argsort(descending=True, stable=True)[:1]]
    found = measures(judge, limits, best) | {"n": len(rows), "distinct": len(judge.space.keys(rows).unique())}
    return {name: value for name, value in found.items() if name not in OF_SETS}
