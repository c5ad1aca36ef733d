"""Rank correlation of a score of the specification with what was measured, also among architectures of like size."""

from __future__ import annotations

import math

import torch

CHUNK = 512  # architectures that are compared with all at a time


def rank_correlation(
    scores: torch.Tensor, measured: torch.Tensor, sizes: torch.Tensor | None = None, tolerance: float = 0.1
) -> float:
    """Kendall's tau-b over all pairs, or over those whose sizes differ by a factor of at most ``1 + tolerance``.

    The number of concordant less that of discordant pairs, over the geometric mean of the numbers of pairs without
    ties in the one and in the other. The time grows with the square of the number of architectures.

    Parameters
    ----------
    scores, measured
        Of architectures, ``(n,)`` each.
    sizes
        Such as parameters, above 0, ``(n,)``; None for all pairs.
    tolerance
        Of sizes.

    Returns
    -------
    From -1 to 1; NaN where the scores, or what was measured, are equal in all pairs.
    """
    logs = torch.zeros(len(scores)) if sizes is None else sizes.double().log()
    limit = math.log(1 + tolerance) + 1e-12  # so that rounding does not part sizes at just this distance
    agreement = untied_scores = untied_measured = 0.0
    for rows in torch.arange(len(scores)).split(CHUNK):
        alike = (logs[rows, None] - logs).abs() <= limit
        by_score = (scores[rows, None] - scores).sign() * alike
        by_measured = (measured[rows, None] - measured).sign() * alike
        agreement += float((by_score * by_measured).sum())
        untied_scores += float(by_score.abs().sum())
        untied_measured += float(by_measured.abs().sum())
    pairs = math.sqrt(untied_scores * untied_measured)
    return agreement / pairs if pairs else math.nan
