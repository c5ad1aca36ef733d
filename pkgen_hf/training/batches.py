"""Batches of episodes: priors, and noised targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import Dataset

from ..priors.data import FREQUENCY, LOG_FREQUENCY
from ..priors.frequencies import encode_frequencies
from ..scheduling_prior_discrete import PriorDiscreteScheduler
from ..spaces import SearchSpace
from .episodes import TARGETS, SpaceEpisodes, relative_share

GROUP = 4  # samples that share a prior, which is then encoded once for all of them
BATCH_SLOTS = 1536  # slots of a batch at most, so that a step costs about as much in every space: 12 x 128

# No ablation compared other values of the following.
TARGET_DECAY = 12.0  # the target of rank r has the weight exp(-r / TARGET_DECAY): half of them are among the best 8
IDENTITY_DROPOUT = 0.3  # share of batches without identities of choices, as in a space that training has not seen
CHOICE_DROPOUT = 0.4  # share of batches in which one operation is unknown, but for its cost
UNIFORM_SHARE = 0.5  # of the examples without a prior, whose stationary distribution is uniform as well


@dataclass(frozen=True)
class _Priors:
    """Priors of a batch, one for each group of samples.

    Attributes
    ----------
    number : LongTensor (groups,), of the prior among those of the space
    dropped : BoolTensor (groups,)
    features : FloatTensor (groups, slots, choices, PRIOR_FEATURES)
    stationary : FloatTensor (groups, slots, choices)
    masked : BoolTensor (slots, choices)
    """

    number: torch.Tensor
    dropped: torch.Tensor
    features: torch.Tensor
    stationary: torch.Tensor
    masked: torch.Tensor


class EpisodeDataset(Dataset[dict[str, torch.Tensor]]):
    """Batches of episodes, each of one space; batch i depends on the seed and i alone.

    Parameters
    ----------
    episodes
        As from `make_episodes`.
    scheduler
        Adds the noise.
    batch_size
        Architectures in a batch, a multiple of `GROUP`.
    prior_dropout
        Share of examples in which the prior is dropped.
    seed
        Of the whole data set.
    length
        Number of batches.
    """

    def __init__(
        self,
        episodes: Sequence[SpaceEpisodes],
        scheduler: PriorDiscreteScheduler,
        batch_size: int,
        prior_dropout: float,
        seed: int,
        length: int,
    ) -> None:
        if batch_size < GROUP or batch_size % GROUP:
            raise ValueError(f"train_batch_size must be a multiple of {GROUP}, got {batch_size}")
        self.episodes, self.scheduler = episodes, scheduler
        self.batch_size, self.prior_dropout = batch_size, prior_dropout
        self.seed, self.length = seed, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """One batch.

        Returns
        -------
        dict
            ``space`` (): number of the space; ``mask_identities`` (): whether identities of choices are masked;
            ``masked`` (slots, choices): choices whose features and prior are masked too; ``prior_features``
            (batch / GROUP, slots, choices, PRIOR_FEATURES) and ``task_traits`` (batch / GROUP, TASK_TRAITS), one for
            each GROUP consecutive samples; ``clean`` and ``noisy`` (batch, slots); ``timesteps`` (batch,) and
            ``log_likelihood_ratio`` (batch, slots) of the noise.
        """
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        shares = torch.tensor([relative_share(part.table) for part in self.episodes])
        which = int(torch.multinomial(shares, 1, generator=generator))
        episodes = self.episodes[which]
        space, rows = episodes.table.space, episodes.table.indices
        mask_identities = torch.rand((), generator=generator) < IDENTITY_DROPOUT
        groups = max(1, min(self.batch_size, BATCH_SLOTS // space.num_slots) // GROUP)
        batch = groups * GROUP
        priors = self._priors(episodes, groups, generator)
        number, dropped = priors.number.repeat_interleave(GROUP), priors.dropped.repeat_interleave(GROUP)

        weights = torch.exp(-torch.arange(TARGETS) / TARGET_DECAY)
        good = episodes.targets[number, torch.multinomial(weights, batch, replacement=True, generator=generator)]
        uniform = torch.randint(len(rows), (batch,), generator=generator)
        # without a prior every architecture of the space is an equally likely target
        clean = rows[torch.where(dropped, uniform, good)]
        timesteps = torch.randint(1, self.scheduler.num_train_timesteps + 1, (batch,), generator=generator)
        stationary = self.scheduler.stationary(priors.stationary).repeat_interleave(GROUP, 0)
        noisy = self.scheduler.add_noise(clean, timesteps, stationary, generator)

        return {
            "space": torch.tensor(which),
            "prior_features": priors.features,
            "mask_identities": mask_identities,
            "masked": priors.masked,
            "task_traits": episodes.traits[priors.number],
            "clean": clean,
            "noisy": noisy,
            "timesteps": timesteps,
            "log_likelihood_ratio": self.scheduler.log_likelihood_ratio(timesteps, noisy, stationary),
        }

    def _priors(self, episodes: SpaceEpisodes, groups: int, generator: torch.Generator) -> _Priors:
        """Draw priors, some of them dropped, in some batches without one of the operations."""
        space = episodes.table.space
        number = torch.multinomial(episodes.weights, groups, replacement=True, generator=generator)
        dropped = torch.rand(groups, generator=generator) < self.prior_dropout
        flat = dropped & (torch.rand(groups, generator=generator) < UNIFORM_SHARE)
        uniform = space.drawn_mask / space.drawn_sizes[:, None]
        features = torch.where(dropped[:, None, None, None], 0.0, episodes.features[number])
        stationary = torch.where(flat[:, None, None], uniform, episodes.stationary[number])
        masked = _draw_masked(space, generator)
        return _Priors(number, dropped, *_mask(features, stationary, masked, space), masked)


def _draw_masked(space: SearchSpace, generator: torch.Generator) -> torch.Tensor:
    """Where the masked operation is a choice, ``BoolTensor (slots, choices)``; in most batches nowhere."""
    names = sorted(
        {c.identity for slot in space.slots if slot.kind == "operation" for c in slot.choices if c.is_drawn}
    )
    drawn = torch.rand((), generator=generator)
    if not names or drawn >= CHOICE_DROPOUT:
        return torch.zeros_like(space.choice_mask)
    return torch.from_numpy(space.identities == names[int(drawn / CHOICE_DROPOUT * len(names))])


def _mask(
    features: torch.Tensor, stationary: torch.Tensor, masked: torch.Tensor, space: SearchSpace
) -> tuple[torch.Tensor, torch.Tensor]:
    """Priors ``(priors, slots, choices, ...)`` that do not know some choices, as if carried over from elsewhere."""
    if not masked.any():
        return features, stationary
    present = (features.abs().sum((1, 2, 3)) > 0).float()
    unknown_choice = torch.zeros_like(features)
    chance = (1 / space.drawn_sizes.float())[None, :, None] * present[:, None, None]
    unknown_choice[..., FREQUENCY] = chance
    unknown_choice[..., LOG_FREQUENCY] = encode_frequencies(chance) * present[:, None, None]
    unknown_choice[..., LOG_FREQUENCY + 1 :] = features[..., LOG_FREQUENCY + 1 :]
    features = torch.where(masked[None, ..., None], unknown_choice, features)
    stationary = torch.where(masked, (1 / space.drawn_sizes.float())[:, None], stationary)
    return features, stationary / stationary.sum(-1, keepdim=True)
