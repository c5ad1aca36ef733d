"""The picture of scores against a cost: generated architectures among others, and the front of the best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .page import FAINT, INK, PLAIN, new_page, picture_path, save

SIZE = np.array([6.4, 3.8])  # inches
GENERATED = "#0072b2"
LEFT_OUT = 0.1  # share of the others, with the lowest scores, which would leave the best no room


def pareto_front(costs: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Positions of those that no other one of at most their cost exceeds or equals in score, by cost, ``(n,)``."""
    order = np.lexsort((-scores, costs))  # of equal costs the best first
    best = np.maximum.accumulate(scores[order])
    return order[np.concatenate([[True], best[1:] > best[:-1]])] if len(order) else order


def draw_front(
    others: np.ndarray,
    generated: np.ndarray,
    path: str | Path,
    cost: str = "cost",
    score: str = "score",
    limits: Sequence[float] = (),
) -> Path:
    """Draw scores against costs.

    Parameters
    ----------
    others, generated
        Cost and score of each architecture, ``(n, 2)``; generated ones are numbered from 1. Rows with NaN are left
        out, and so is the lowest tenth of the others.
    path
        As for `pkgen_hf.drawing.pictures.draw`, and so is what is returned and raised.
    cost, score
        Labels of the axes.
    limits
        Costs at which a vertical line is drawn.
    """
    path = picture_path(path)
    figure = new_page(SIZE)
    axes = figure.add_axes((0.11, 0.15, 0.86, 0.82))
    others = others[np.isfinite(others).all(1)]
    if len(others):
        others = others[others[:, 1] >= np.quantile(others[:, 1], LEFT_OUT)]
    label = f"other architectures, but the lowest {LEFT_OUT:.0%}"
    axes.scatter(others[:, 0], others[:, 1], s=9, color=FAINT, linewidths=0, label=label)
    known = np.concatenate([others, generated[np.isfinite(generated).all(1)]])
    front = known[pareto_front(*known.T)]
    axes.step(*front.T, where="post", color=PLAIN, linewidth=1, label="best up to a cost")
    axes.scatter(generated[:, 0], generated[:, 1], s=70, color=GENERATED, zorder=4, label="generated, by rank")
    for number, (x, y) in enumerate(generated, 1):
        if np.isfinite([x, y]).all():
            axes.annotate(f"{number}", (x, y), ha="center", va="center", size=6, color="white", zorder=5)
    for limit in limits:
        axes.axvline(limit, color=INK, linewidth=1, linestyle=":", zorder=1)
    axes.set_xlabel(cost, color=INK)
    axes.set_ylabel(score, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return save(figure, path)
