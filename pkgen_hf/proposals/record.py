"""The record of a run: which architectures were asked for, and every score that was reported."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ..architecture import Architecture
from ..errors import shortened
from ..evidence.evaluations import LARGEST_SCORE
from ..inputs import to_architecture, to_scores
from ..spaces import SearchSpace

Evaluation = tuple[Architecture, float]  # the score is NaN if the training failed


@dataclass(frozen=True)
class Record:
    """Evaluations in the order in which they were reported, and the architectures asked for but not evaluated yet."""

    evaluations: tuple[Evaluation, ...] = ()
    pending: tuple[Architecture, ...] = ()

    def asked(self, architectures: Sequence[Architecture]) -> Record:
        """The record with more architectures asked for."""
        return Record(self.evaluations, (*self.pending, *architectures))

    def told(self, evaluations: Sequence[Evaluation]) -> Record:
        """The record with more evaluations, whose architectures are pending no more."""
        done = {architecture for architecture, _ in evaluations}
        return Record((*self.evaluations, *evaluations), tuple(a for a in self.pending if a not in done))

    @cached_property
    def means(self) -> dict[Architecture, float]:
        """Mean score of each evaluated architecture; minus infinity of those whose trainings all failed."""
        scores: dict[Architecture, list[float]] = {}
        for architecture, score in self.evaluations:
            scores.setdefault(architecture, []).append(score)
        finished = {a: [score for score in found if not math.isnan(score)] for a, found in scores.items()}
        return {a: math.fsum(found) / len(found) if found else -math.inf for a, found in finished.items()}

    @cached_property
    def scores(self) -> dict[Architecture, float]:
        """Mean score of each architecture of which a training finished."""
        return {a: mean for a, mean in self.means.items() if mean > -math.inf}

    @property
    def failures(self) -> list[Architecture]:
        """Architectures whose trainings all failed."""
        return [a for a in self.means if a not in self.scores]

    @property
    def taken(self) -> set[Architecture]:
        """Architectures that were evaluated or are pending."""
        return {*self.means, *self.pending}

    @property
    def values(self) -> np.ndarray:
        """`means` as an array, ``(evaluated,)``."""
        return np.array(list(self.means.values()), dtype=np.float64)

    @property
    def values_or_nan(self) -> np.ndarray:
        """The same with NaN in place of minus infinity."""
        return np.where(np.isneginf(self.values), np.nan, self.values)

    def rows(self, space: SearchSpace) -> torch.Tensor:
        """Evaluated architectures, as they were reported, ``LongTensor (evaluated, slots)``."""
        return stacked(space, self.means)


def stacked(space: SearchSpace, architectures: Collection[Architecture]) -> torch.Tensor:
    """Indices of architectures, ``LongTensor (n, slots)``, also of none."""
    rows = [architecture.indices for architecture in architectures]
    return torch.tensor(rows, dtype=torch.long, device="cpu").reshape(-1, space.num_slots)


def to_evaluations(space: SearchSpace, architectures: Sequence[Any], scores: Sequence[Any]) -> list[Evaluation]:
    """Architectures and scores in any of the forms users have; ValueError where they do not fit."""
    if isinstance(architectures, (str, Architecture)):
        raise ValueError(f"tell takes a list of architectures and one of scores, got {shortened(architectures)} alone")
    given, values = list(architectures), to_scores(scores).tolist()
    if len(given) != len(values):
        raise ValueError(f"{len(given)} architectures but {len(values)} scores")
    evaluations = []
    for number, (one, score) in enumerate(zip(given, values, strict=True)):
        architecture = to_architecture(space, one, number)
        if abs(score) > LARGEST_SCORE:
            raise ValueError(
                f"scores must be finite numbers, or NaN of a training that failed; that of "
                f"{shortened(str(architecture))} is {score}"
            )
        evaluations.append((architecture, score))
    return evaluations
