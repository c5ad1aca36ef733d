"""How much two architectures of a space have in common: the covariance of their scores before any is known."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass

import torch

from ..spaces import SearchSpace, TaskLike
from ..spaces.components import Components
from ..spaces.spectral_capacity import spectral_capacity

REFERENCE = 2000  # random architectures, by which features are standardised
ROUNDS = 20  # of draws until there are so many valid ones
KEPT = 4  # kernels of a space
# Variance of each part, in units of that of normal scores, and its length scale: the share of slots that differ at
# which a covariance falls to 1 / e, and standard deviations of sizes and of counts of pairs (root mean square), as of
# squared-exponential kernels. Chosen with random labels on the spaces that docs/limitations.md names; other values
# from half to twice as large changed median ranks by about a tenth.
VARIANCE = 0.3
DIFFERENCE, SIZE, PAIRS = 0.5, 1.65, 0.82


def reference(space: SearchSpace) -> torch.Tensor:
    """Random valid architectures, always the same, ``LongTensor (up to REFERENCE, slots)``, canonical."""
    generator = torch.Generator().manual_seed(0)
    listed = space.valid_rows
    if listed is not None:
        return space.canonical(listed[torch.randperm(len(listed), generator=generator)[:REFERENCE]])
    found = torch.empty(0, space.num_slots, dtype=torch.long)
    for _ in range(ROUNDS):
        rows = space.sample(2 * REFERENCE, generator)
        found = torch.cat([found, rows[space.is_valid(rows)]])
        if len(found) >= REFERENCE:
            break
    return space.canonical(found[:REFERENCE])


def sizes(space: SearchSpace, rows: torch.Tensor, task: TaskLike | None) -> torch.Tensor:
    """Logarithms of multiply-adds and parameters, and spectral capacity, ``DoubleTensor (n, 0 to 3)``.

    Of a space of the user's own that counts none, the trend that descriptions of choices show (`log_costs`), if any.
    """
    columns: list[torch.Tensor] = []
    if bool(space.cost_effects[..., 2].any()):
        columns += space.log_costs(rows, task).double().unbind(1)
    with contextlib.suppress(NotImplementedError):
        columns.append(spectral_capacity(space, rows, task))
    return torch.stack(columns, dim=1) if columns else torch.empty(len(rows), 0, dtype=torch.float64)


@dataclass(frozen=True)
class Standardisation:
    """Shifts and scales columns by their mean and standard deviation over reference architectures."""

    mean: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def of(cls, columns: torch.Tensor) -> Standardisation:
        """By these columns ``(n, columns)``; constant ones become 0."""
        spread = columns.std(0, correction=0) if columns.numel() else columns.new_ones(columns.shape[1])
        return cls(columns.mean(0).nan_to_num(), torch.where(spread > 1e-9, spread, torch.inf))

    def __call__(self, columns: torch.Tensor) -> torch.Tensor:
        return (columns - self.mean) / self.scale


@dataclass(frozen=True)
class Features:
    """What the kernel compares.

    Attributes
    ----------
    rows : LongTensor (n, slots)
        The architectures, canonical.
    sizes : DoubleTensor (n, 0 to 3)
        As of `sizes`, standardised.
    counts : DoubleTensor (n, identities)
        How often each choice has an effect, whatever the slot, standardised; those that vary.
    pairs : DoubleTensor (n, pairs)
        How often two choices stand in each relation; those that vary.
    parts : tuple of DoubleTensor (n, columns)
        Scaled so that covariances follow from squared distances alone.
    """

    rows: torch.Tensor
    sizes: torch.Tensor
    counts: torch.Tensor
    pairs: torch.Tensor
    parts: tuple[torch.Tensor, ...]


class Kernel:
    """Covariance of the scores of two architectures of one space: a sum of three squared-exponential kernels.

    One compares choices (the share of slots that differ), one sizes (multiply-adds, parameters and spectral capacity)
    and one how often pairs of choices stand in each relation to each other, the one-hop subgraphs of
    Weisfeiler-Lehman kernels (Ru et al., ICLR 2021). A space without relations or costs lacks those parts.

    Parameters
    ----------
    space
        Of the architectures.
    task
        At whose scale costs are; a kind of task stands for its first data set.

    Attributes
    ----------
    components
        Of the space.
    varying_pairs : BoolTensor (pairs,)
        Which of all pairs of choices and relations are not the same in all architectures.
    """

    def __init__(self, space: SearchSpace, task: TaskLike | None) -> None:
        self.space, self.task = space, space.data_set(task)
        self.reference = reference(space)
        self.components = Components(space)
        self._size = Standardisation.of(sizes(space, self.reference, self.task))
        counts = self.components.counts(self.reference)
        pairs = self.components.pairs(self.reference).flatten(1)
        self._counted, self.varying_pairs = _varying(counts), _varying(pairs)
        self._count = Standardisation.of(counts[:, self._counted])
        self._pair = Standardisation.of(pairs[:, self.varying_pairs])

    @classmethod
    def of(cls, space: SearchSpace, task: TaskLike | None) -> Kernel:
        """The kernel of a space and task, made once and kept with the space, which can so be freed."""
        key = space.data_set(task)
        kept: dict[TaskLike | None, Kernel] = space.__dict__.setdefault("_kernels", {})
        found = kept.get(key)
        if found is None:
            found = kept[key] = cls(space, key)
            for oldest in list(kept)[:-KEPT]:
                kept.pop(oldest, None)
        return found

    def features(self, rows: torch.Tensor) -> Features:
        """Of architectures ``LongTensor (n, slots)``, equal for isomorphic ones."""
        rows = self.space.canonical(rows)
        parts = [self.space.features(rows).double() / (DIFFERENCE * self.space.num_slots) ** 0.5]
        size = self._size(sizes(self.space, rows, self.task))
        if size.shape[1]:
            parts.append(size / SIZE)
        pairs = self.components.pairs(rows).flatten(1)[:, self.varying_pairs]
        if pairs.shape[1]:
            parts.append(self._pair(pairs) / (PAIRS * pairs.shape[1] ** 0.5))
        counts = self._count(self.components.counts(rows)[:, self._counted])
        return Features(rows, size, counts, pairs, tuple(parts))

    @functools.cached_property
    def reference_features(self) -> Features:
        """Of the reference architectures."""
        return self.features(self.reference)

    def __call__(self, one: Features, other: Features) -> torch.Tensor:
        """Covariances, ``DoubleTensor (n, m)``."""
        total = one.parts[0].new_zeros(len(one.parts[0]), len(other.parts[0]))
        for these, those in zip(one.parts, other.parts, strict=True):
            squared = these.square().sum(1)[:, None] + those.square().sum(1) - 2 * these @ those.T
            total += VARIANCE * torch.exp(-squared.clamp(min=0) / 2)
        return total

    def variance(self) -> float:
        """Of every architecture."""
        return VARIANCE * (1 + bool(self._size.mean.numel()) + bool(self.varying_pairs.any()))


def _varying(columns: torch.Tensor) -> torch.Tensor:
    """Which columns are not constant, ``BoolTensor (columns,)``."""
    if not len(columns):
        return columns.new_zeros(columns.shape[1]).bool()
    return columns.std(0, correction=0) > 1e-6
