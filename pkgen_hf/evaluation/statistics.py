"""Paired comparisons of methods over runs: a difference counts from two standard errors on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

CERTAIN = 2.0  # standard errors


@dataclass(frozen=True)
class Comparison:
    """A paired difference over runs.

    Attributes
    ----------
    difference
        Mean over runs, positive where the method is better than what it is compared with.
    error
        Its standard error.
    """

    difference: float
    error: float

    @property
    def verdict(self) -> str:
        """``"ahead"``, ``"behind"``, or ``"equal"`` within two standard errors."""
        if abs(self.difference) <= max(CERTAIN * self.error, 1e-9):
            return "equal"
        return "ahead" if self.difference > 0 else "behind"


def compare(own: np.ndarray, other: np.ndarray, lower_is_better: bool = True) -> Comparison:
    """Compare two methods by a measure.

    Parameters
    ----------
    own, other
        ``(runs,)`` each, of the same runs: the same labels and budgets, and where it matters the same training.
    lower_is_better
        Of the measure.

    Raises
    ------
    ValueError
        For fewer than two runs, or numbers of runs that differ.
    """
    if own.shape != other.shape or own.ndim != 1 or len(own) < 2:
        raise ValueError(f"a comparison needs the same runs of both, two at least; got {own.shape} and {other.shape}")
    differences = (other - own) if lower_is_better else (own - other)
    return Comparison(float(differences.mean()), float(differences.std(ddof=1) / math.sqrt(len(differences))))
