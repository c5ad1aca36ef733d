"""A prior from a user's own evaluations; see `pkgen_hf.Prior.from_evaluations`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ..benchmarks.estimate import Estimate
from ..inputs import Architectures, on_cpu, to_indices, to_scores, whole_number
from ..spaces import SearchSpace, Task, TaskLike
from ..spaces.parts import group_means
from .contributions import measure, restricted_games
from .data import PriorData

MIN_EVALUATIONS = 5  # of fewer, an average over the best three would hold most of all that were evaluated
# The good ones are the best quarter. An average over less than 3 is that of single architectures.
GOOD_SHARE, LEAST_GOOD = 4, 3


@on_cpu
def from_evaluations(
    space: SearchSpace,
    architectures: Architectures,
    scores: Sequence[float] | torch.Tensor,
    task: TaskLike | None,
    top_k: int,
) -> PriorData:
    """Contributions over the best quarter of the evaluated architectures, at most `top_k`."""
    given = _finished(space, architectures, scores)
    top_k = whole_number("top_k", top_k)
    task = space.resolved(task)
    _check_scores(given)
    indices, values = mean_of_each(space, given.indices, given.scores)
    if len(values) < MIN_EVALUATIONS and len(values) < space.num_architectures:
        raise ValueError(
            f"a prior needs at least {MIN_EVALUATIONS} different architectures, got {len(values)} in "
            f"{len(given.scores)} evaluations"
        )
    chance = _chance_score(space, task, float(values.min()))
    estimate = Estimate(space, indices, values, chance)
    num_good = min(top_k, max(LEAST_GOOD, len(values) // GOOD_SHARE))
    good = indices[values.argsort(descending=True, stable=True)[:num_good]]
    prior = measure(space, space.task_label(task), good, estimate)
    evidence = "measured" if estimate.num_measured == estimate.num_asked else "partly measured"
    distinct = f"{len(values)} architectures in " if len(values) < len(given.scores) else ""
    detail = (
        f"{len(good)} best of {distinct}{len(given.scores)} evaluations; {estimate.num_measured:,} of "
        f"{estimate.num_asked:,} reduced networks evaluated"
        f"{'' if evidence == 'measured' else ', the others from an additive fit'}"
        f"{f'; {given.num_failed} failed left out' if given.num_failed else ''}{restricted_games(space)}"
    )
    return replace(prior, evidence=evidence, labels_read=len(given.scores), detail=detail)


def _chance_score(space: SearchSpace, task: TaskLike | None, lowest: float) -> float:
    """The score of a disconnected network: of a data set of the space as it says, else at most the lowest given."""
    if isinstance(task, Task):
        return min(task.chance_score, lowest)  # scores may be in other units than percent
    return space.tasks[task].chance_score if task in space.tasks else lowest


@dataclass(frozen=True)
class _Evaluations:
    """Evaluations that finished.

    Attributes
    ----------
    indices : LongTensor (n, slots)
    scores : FloatTensor (n,)
    places : LongTensor (n,), where each stood among those that were given
    num_failed : int, how many did not finish
    """

    indices: torch.Tensor
    scores: torch.Tensor
    places: torch.Tensor
    num_failed: int


def _finished(
    space: SearchSpace, architectures: Architectures, scores: Sequence[float] | torch.Tensor
) -> _Evaluations:
    """Evaluations in any of the forms users have, without failed ones; ValueError for fewer than 5."""
    indices, values = to_indices(space, architectures), to_scores(scores).float()
    if len(values) != len(indices):
        raise ValueError(f"{len(indices)} architectures but {len(values)} scores")
    places = (~values.isnan()).nonzero()[:, 0]
    num_failed = len(values) - len(places)
    if len(places) < MIN_EVALUATIONS:
        failed = f", and {num_failed} failed" if num_failed else ""
        raise ValueError(f"a prior needs at least {MIN_EVALUATIONS} evaluations, got {len(places)}{failed}")
    return _Evaluations(indices[places], values[places], places, num_failed)


def _check_scores(given: _Evaluations) -> None:
    """Raise ValueError for scores that are infinite or all equal."""
    values = given.scores
    if not values.isfinite().all():
        at = int((~values.isfinite()).nonzero()[0])
        raise ValueError(f"scores must be finite numbers; score {int(given.places[at])} is {float(values[at])}")
    if values.max() == values.min():
        raise ValueError(f"all {len(values)} scores are {float(values[0])}: they say nothing about what contributes")


def mean_of_each(space: SearchSpace, indices: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One row and the mean score of each distinct architecture; neither order nor repetition make a difference.

    Returns
    -------
    LongTensor (classes, slots), FloatTensor (classes,)
    """
    rows, which = space.classes(indices)
    return rows, group_means(scores, which, len(rows)).float()
