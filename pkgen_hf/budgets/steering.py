r"""Steering of samples towards the limits of a call.

Of all distributions whose mean cost obeys a limit, the nearest to the denoiser's in Kullback-Leibler divergence is its
exponential tilt, :math:`p_\lambda(k) \propto p(k) e^{-\lambda c(k)}`, with the least :math:`\lambda \ge 0` that
suffices: the probability of a choice falls with its cost, and a limit that the mean already obeys changes nothing. The
costs of choices, c, come from a linear regression of networks' costs on their choices. A lower limit is an upper one
on the negative cost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from ..spaces.parts import group_means
from .limit import Limit
from .limits import Limits
from .search import random_rows

SAMPLES = 2048  # architectures in a regression: about ten for each choice of DARTS
RIDGE = 1e-3  # makes the regression unique (one-hot choices of a slot sum to 1); too small to shrink the effects
LARGEST = 60.0  # lambda, for effects scaled to at most 1: e^-60 leaves nothing of a choice
HALVINGS = 30  # of the interval from 0 to `LARGEST`: the last is 6e-8, the resolution of float32
# Set by hand on NAS-Bench-201; no ablation compares other values.
MARGIN_STEP = 0.5  # standard deviations by which a margin changes after each round
SHARE_WITHIN = 0.5  # share of samples within the limits below which margins widen


@dataclass(frozen=True)
class LinearCost:
    """A limit, and the linear model of `Limit.signed`: an offset plus the effect of each choice.

    Attributes
    ----------
    limit : Limit
    effects : DoubleTensor (slots, choices)
    offset : float
    room : float
        The most by which the mean cost may be steered below the limit, in the unit of the cost.
    """

    limit: Limit
    effects: torch.Tensor
    offset: float
    room: float = math.inf

    @property
    def largest(self) -> float:
        """The largest absolute effect."""
        return float(self.effects.abs().max().clamp(min=1e-12))

    def scaled(self, like: torch.Tensor) -> torch.Tensor:
        """Effects divided by the largest, ``FloatTensor (slots, choices)``, on the device of `like`."""
        return (self.effects / self.largest).to(like.device, torch.float32)

    def predict(self, indices: torch.Tensor) -> torch.Tensor:
        """Sum of the effects of an architecture's choices, without the offset, ``DoubleTensor (batch,)``."""
        return F.one_hot(indices, self.effects.shape[1]).double().mul(self.effects).sum((1, 2))


def regression(limit: Limit, listed: torch.Tensor | None) -> tuple[torch.Tensor, float]:
    """Ridge regression of costs on one-hot choices, solved here since importing scikit-learn takes longer than a call.

    Parameters
    ----------
    limit
        On the cost; neither its value nor its side matters.
    listed
        Architectures to choose from, ``LongTensor (n, slots)``; None for random valid ones.

    Returns
    -------
    effects : DoubleTensor (slots, choices)
        0 for choices that all or none of the architectures have.
    offset : float
    """
    space = limit.space
    if listed is None:
        samples = random_rows(space, SAMPLES)
    else:
        samples = listed[torch.randperm(len(listed), generator=torch.Generator().manual_seed(0))[:SAMPLES]]
    target = limit.costs(samples)
    samples, target = samples[~target.isnan()], target[~target.isnan()]
    if not len(samples):
        raise limit.unknown_cost()
    one_hot = F.one_hot(samples, space.num_choices).flatten(1).double()
    varies = (one_hot != one_hot[0]).any(0)  # the other columns, half of them or more, have no effect
    features = one_hot[:, varies]
    centre, mean = features.mean(0), target.mean()
    features = features - centre
    gram = features.T @ features + RIDGE * torch.eye(features.shape[1], dtype=torch.double)
    solution = torch.linalg.solve(gram, features.T @ (target - mean))
    effects = one_hot.new_zeros(one_hot.shape[1])
    effects[varies] = solution
    return effects.reshape(space.num_slots, -1), float(mean - centre @ solution)


def linear_costs(limits: Limits) -> list[LinearCost]:
    """The linear model of each limit; limits on the same cost share one regression."""
    of_budget: dict[str, tuple[torch.Tensor, float]] = {}
    for limit in limits.limits:
        if limit.budget.name not in of_budget:
            of_budget[limit.budget.name] = regression(limit, limits.listed)
    models = []
    for limit in limits.limits:
        (effects, offset), sign = of_budget[limit.budget.name], limit.bound.sign
        models.append(LinearCost(limit, sign * effects, sign * offset, _room(limit, limits.limits)))
    return models


def _room(limit: Limit, limits: Sequence[Limit]) -> float:
    """The most by which a margin may keep the mean cost from a limit, given all limits of the call.

    Half the way to an opposite limit on the same cost, so that the two do not undo each other; nothing where another
    cost has an opposite limit, since how far apart they are is not known.
    """
    opposite = [other for other in limits if other.bound.is_lower != limit.bound.is_lower]
    same = [abs(limit.value - other.value) / 2 for other in opposite if other.budget.name == limit.budget.name]
    return min(same, default=0.0 if opposite else math.inf)


class Steering:
    """Tilts the logits of one call towards its limits; after each round, the costs of the samples correct the tilt.

    Parameters
    ----------
    limits
        Not changed.
    num_streams
        Streams of samples that are steered separately: one for each random generator, so that no sample depends on
        the generators of others; else 1.
    device
        Device of the samples.

    Attributes
    ----------
    margins : FloatTensor (num_streams,)
        Standard deviations by which the mean cost stays below the limits (above lower ones), as far as there is room.
    offsets : DoubleTensor (limits, num_streams)
        Of the linear costs, corrected by what samples really cost.
    """

    def __init__(self, limits: Limits, num_streams: int = 1, device: torch.device | str = "cpu") -> None:
        self.limits = limits
        self.costs = linear_costs(limits)
        self.margins = torch.zeros(num_streams, dtype=torch.float32, device=device)
        offsets = [[cost.offset] * num_streams for cost in self.costs]
        self.offsets = torch.tensor(offsets, dtype=torch.double, device=device)

    def tilt(
        self, logits: torch.Tensor, log_likelihood: torch.Tensor | None = None, streams: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits whose mean cost, plus the margin, obeys the limits.

        Parameters
        ----------
        logits
            ``FloatTensor (batch, slots, choices)``, minus infinity where there is no choice.
        log_likelihood
            Of the noisy sample for each clean choice, of the same shape; added to the logits for the mean cost only.
        streams
            Stream of each sample, ``LongTensor (batch,)``; by default the first.
        """
        streams = logits.new_zeros(1, dtype=torch.long) if streams is None else streams
        for _ in self.costs:  # a tilt towards one limit moves the costs of the others
            for cost, offsets in zip(self.costs, self.offsets, strict=True):
                full = logits.float() if log_likelihood is None else logits.float() + log_likelihood
                strength = _strength(cost, offsets[streams], self.margins[streams], full)
                logits = logits - strength[:, None, None] * cost.scaled(logits)
        return logits

    def learn(self, indices: torch.Tensor, streams: torch.Tensor | None = None) -> None:
        """Correct offsets and margins by the costs of samples.

        Parameters
        ----------
        indices
            Valid samples, ``LongTensor (batch, slots)``.
        streams
            Stream of each sample, ``LongTensor (batch,)``; by default the first.
        """
        samples, num_streams = indices.cpu(), len(self.margins)
        streams = torch.zeros(len(samples), dtype=torch.long) if streams is None else streams.cpu()
        for number, cost in enumerate(self.costs):
            costs = cost.limit.signed(samples)
            residuals = costs - cost.predict(samples)
            known = ~costs.isnan()
            mean = group_means(residuals[known], streams[known], num_streams)  # NaN without samples
            self.offsets[number] = torch.where(mean.isnan(), self.offsets[number].cpu(), mean).to(self.offsets.device)
        share = group_means(self.limits.within(samples).double(), streams, num_streams)
        steps = torch.where(share < SHARE_WITHIN, MARGIN_STEP, -MARGIN_STEP).masked_fill(share.isnan(), 0.0)
        self.margins += steps.to(self.margins)


def _strength(cost: LinearCost, offset: torch.Tensor, margin: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The least lambda of each sample, by bisection, ``FloatTensor (batch,)``; at most `LARGEST`."""
    effects = cost.scaled(logits)
    most = ((cost.limit.bound.sign * cost.limit.value - offset) / cost.largest).float()
    room = cost.room / cost.largest

    def exceeds(strength: torch.Tensor) -> torch.Tensor:
        probabilities = (logits - strength[:, None, None] * effects).softmax(-1)
        mean = (probabilities * effects).sum(-1)
        variance = (probabilities * effects.square()).sum(-1) - mean.square()
        return mean.sum(-1) + (margin * variance.sum(-1).clamp(min=0).sqrt()).clamp(max=room) > most

    low = logits.new_zeros(len(logits))
    high = torch.full_like(low, LARGEST)
    over = exceeds(low)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = exceeds(middle)
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return torch.where(over, high, 0.0)
