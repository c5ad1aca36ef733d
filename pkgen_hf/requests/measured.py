"""What a benchmark measured of architectures that were generated, and what to call it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..benchmarks.score_table import ScoreTable
from ..spaces import TaskLike


@dataclass(frozen=True)
class Measured:
    """Scores that were looked up after generation.

    Attributes
    ----------
    task
        The data set.
    split
        ``"validation"`` or ``"test"``, as the table's column is called.
    unit
        ``"%"``, or ``""`` of scores that are no accuracies.
    scores : list of float or None, None of an architecture that was not measured
    """

    task: str
    split: str
    unit: str
    scores: list[float | None]

    @property
    def field(self) -> str:
        """Name of a score in JSON, such as ``"measured_test_accuracy"``."""
        return f"measured_{self.split}_{self._measure}"

    @property
    def label(self) -> str:
        """In words, such as ``"test accuracy on cifar10"``."""
        return f"{self.split} {self._measure} on {self.task}"

    @property
    def _measure(self) -> str:
        return "accuracy" if self.unit else "score"

    def text(self, number: int) -> str:
        """One score with its unit, such as ``"91.61 %"``."""
        score = self.scores[number]
        return "not measured" if score is None else f"{score:.2f} {self.unit}".strip()


def look_up(table: ScoreTable, indices: torch.Tensor, task: TaskLike | None) -> Measured | None:
    """Scores of generated architectures on the data set they were generated for; None if it was not measured.

    Parameters
    ----------
    table
        Of their space.
    indices
        ``LongTensor (n, slots)``
    task
        A data set, a kind of task, a task of the user's own or None; only data sets of the space were measured.
    """
    task = table.space.resolved(task)
    if not isinstance(task, str) or task not in table.tasks:
        return None
    scores = [None if score != score else score for score in table.scores(indices, task).tolist()]
    if all(score is None for score in scores):
        return None
    return Measured(task, table.split(task), table.unit(task), scores)
