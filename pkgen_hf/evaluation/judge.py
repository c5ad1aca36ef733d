"""What judges generated architectures: the scores of a benchmark that select, and ranks among all there are."""

from __future__ import annotations

from functools import cached_property

import torch

from ..benchmarks.score_table import ScoreTable
from ..benchmarks.surrogate import POPULATION, Surrogate
from ..budgets.limits import Limits
from .specification import uniform_within


class Judge:
    """Scores and ranks of the architectures of one space for one task.

    Scores are those of the table where all of the space was measured, else those of a surrogate fitted to it. No
    method sees any of them, but for labels that are given or that a search reads.

    Parameters
    ----------
    table
        The benchmark.
    task
        One of its tasks.

    Attributes
    ----------
    scores_are : str
        ``"validation"``, ``"test"`` (the table has no validation scores: selection is by test), or ``"surrogate"``.
    error : dict or None
        Of the surrogate, see `Surrogate`.
    """

    def __init__(self, table: ScoreTable, task: str) -> None:
        self.table, self.task, self.space = table, task, table.space
        self.source: ScoreTable | Surrogate = table if table.is_complete(task) else Surrogate(table, task)
        self.error = self.source.error if isinstance(self.source, Surrogate) else None
        self.scores_are = "surrogate" if self.error else table.split(task)
        self.has_test = self.error is None and table.has(task, "test") and table.split(task) != "test"
        self._references: dict[str, torch.Tensor] = {}

    @cached_property
    def unmeasured(self) -> float:
        """Share of random architectures with a choice that no measured one has, of which a surrogate knows nothing."""
        if self.error is None:
            return 0.0
        known = self._choices(self.table.indices[~self.table.column(self.task).isnan()]).any(0)
        unknown = self._choices(_population(Limits(self.space, self.task))) & ~known
        return float(unknown.flatten(1).any(1).double().mean())

    def _choices(self, rows: torch.Tensor) -> torch.Tensor:
        """Which choices have an effect, ``BoolTensor (n, slots, choices)``."""
        rows = self.space.canonical(rows)
        chosen = rows[..., None] == torch.arange(self.space.num_choices)
        return chosen & self.space.active_slots(rows).bool()[..., None]

    def scores(self, indices: torch.Tensor) -> torch.Tensor:
        """Scores of ``(n, slots)``, ``FloatTensor (n,)``, higher is better; the chance score if not connected."""
        return self.source.values(indices, self.task)

    def test_scores(self, indices: torch.Tensor) -> torch.Tensor:
        """Test scores of the same, where `has_test`, ``FloatTensor (n,)``."""
        return self.table.scores(indices, self.task, "test")

    def ranks(self, scores: torch.Tensor, limits: Limits) -> torch.Tensor:
        """Share of the architectures within the limits that score higher, in percent, ``FloatTensor (n,)``.

        Among all measured ones of a complete table, or among `POPULATION` uniform random ones.
        """
        reference = self._reference(limits)
        return 100 * (1 - torch.searchsorted(reference, scores.contiguous(), right=True) / len(reference))

    def _reference(self, limits: Limits) -> torch.Tensor:
        """Scores of the architectures that ranks are among, sorted."""
        name = str(limits)
        if name not in self._references:
            if isinstance(self.source, ScoreTable):
                rows = self.table.indices[~self.table.column(self.task).isnan()]
                rows = rows[limits.within(rows)] if limits else rows
                scores = self.table.scores(rows, self.task)
            else:
                scores = self.scores(_population(limits))
            self._references[name] = scores.sort().values
        return self._references[name]

    def random_labels(self, num: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Measured labels of random architectures; with the same seed, fewer are the first of more.

        Returns
        -------
        LongTensor (n, slots), FloatTensor (n,)
            Distinct valid architectures, and the scores that select.
        """
        rows, scores = self.table.distinct_rows(self.table.column(self.task))
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:num]
        return self.table.indices[rows[order]], scores[order]


def _population(limits: Limits) -> torch.Tensor:
    """Uniform random architectures within limits, always the same, ``LongTensor (up to POPULATION, slots)``."""
    return uniform_within(limits, POPULATION, torch.Generator().manual_seed(0))
