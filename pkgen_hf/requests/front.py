"""Scores against a cost: what was generated among other architectures of its space."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..benchmarks.score_table import ScoreTable
from ..budgets import Budget
from ..evidence.kernel import reference
from ..pipeline_pkgen import PKGenPipeline
from .answer import GenerationAnswer

OTHERS = 1000  # architectures that are shown beside those that were generated


@dataclass(frozen=True)
class Front:
    """Architectures by cost and score.

    Attributes
    ----------
    budget : Budget
        The cost: the first that was limited or else that is known.
    score : str
        What the scores are: measured ones, or those by which the pipeline ranks.
    others, generated : ndarray (n, 2)
        Cost in units that people see and score, NaN where unknown; the generated ones by rank.
    limits : list of float
        On the cost.
    """

    budget: Budget
    score: str
    others: np.ndarray
    generated: np.ndarray
    limits: list[float]

    @property
    def cost(self) -> str:
        """The cost and its unit."""
        return f"{self.budget.label}, {self.budget.scale_in_words}"

    def picture(self) -> str:
        """As SVG."""
        from ..drawing.front import draw_front  # matplotlib takes a while to import

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "front.svg"
            draw_front(self.others, self.generated, path, self.cost, self.score, self.limits)
            return path.read_text(encoding="utf-8")


def front_of(answer: GenerationAnswer, pipeline: PKGenPipeline, table: ScoreTable | None = None) -> Front | None:
    """Random architectures of a space by cost and score, and those of an answer; None if no cost is known.

    Scores are those of `table` where the answer has measured ones, else the expected normal scores by which the
    pipeline ranks.
    """
    if not answer.costs:
        return None
    request, space = answer.request, answer.request.space
    budget, costs = next((known for known in answer.costs if _limits(answer, known[0])), answer.costs[0])
    if answer.measured is not None and table is not None:
        label = f"{answer.measured.label}{', %' if answer.measured.unit else ''}"
        rows, scores = table.distinct_rows(table.column(answer.measured.task))
        chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:OTHERS]
        others, other_scores, own = table.indices[rows[chosen]], scores[chosen], answer.measured.scores
    else:
        label, others = "score of the ranking", reference(space)[:OTHERS]
        other_scores = pipeline.rank(space, others, request.task, request.prior, request.evaluations)
        own = list(answer.scores)
    other_costs = budget.costs(space, others, request.task, **request.options)
    return Front(
        budget,
        label,
        np.stack([other_costs.numpy() / budget.display_scale, other_scores.double().numpy()], 1),
        np.stack([_numbers(costs) / budget.display_scale, _numbers(own)], 1),
        [limit / budget.display_scale for limit in _limits(answer, budget)],
    )


def _limits(answer: GenerationAnswer, budget: Budget) -> list[float]:
    """Limits on a cost in its own unit."""
    given = answer.request.limits
    return [float(given[bound.argument] or 0) for bound in budget.bounds if bound.argument in given]


def _numbers(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=float)
