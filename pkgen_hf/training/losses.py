"""The loss of the denoiser."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from ..modeling_denoiser import Condition
from ..priors.data import LOG_FREQUENCY
from ..priors.frequencies import decode_logits
from ..spaces.rows import active_slots

# Weight of the penalty on mean logit corrections, small beside the cross-entropy; no ablation compared other values.
LEVEL_WEIGHT = 0.02


def training_loss(
    denoiser: torch.nn.Module, condition: Condition, batch: dict[str, torch.Tensor], score_weight: float
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Cross-entropy of the clean choices, plus squared error of the score, plus a penalty on mean logit corrections.

    Slots without effect on the clean architecture do not count in the cross-entropy.

    Noised architectures and those to be scored pass the denoiser in one call, group by group of samples that share a
    prior. The cross-entropy only depends on differences of logits. The penalty fixes their level: for a choice that
    training has not seen, the correction is then 0 on average, that is the prior's logit.

    Parameters
    ----------
    denoiser
        An `ArchitectureDenoiser`, possibly wrapped.
    condition
        Of the batch.
    batch
        As from `EpisodeDataset`.
    score_weight
        Weight of the score's error.

    Returns
    -------
    loss : FloatTensor ()
    parts : dict
        ``cross_entropy``, and ``ranking``, the error of the score.
    """
    groups = len(condition.task_traits)

    def in_groups(values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(0, (groups, -1))

    def both(noisy: torch.Tensor, scored: torch.Tensor) -> torch.Tensor:
        return torch.cat([in_groups(noisy), in_groups(scored)], dim=1).flatten(0, 1)

    times = both(batch["timesteps"], torch.zeros_like(batch["timesteps"]))
    logits, scores = denoiser(both(batch["noisy"], batch["scored"]), times, condition)
    logits = logits.unflatten(0, (groups, 2, -1))[:, 0].float()
    scores = scores.unflatten(0, (groups, 2, -1))[:, 1].flatten().float()

    noisy, ratio = in_groups(batch["noisy"])[..., None], in_groups(batch["log_likelihood_ratio"])[..., None]
    clean = logits.scatter_add(-1, noisy, ratio)
    cross_entropy = _cross_entropy(clean.flatten(0, 1), batch["clean"], condition)

    mask = condition.choice_mask
    corrections = logits - decode_logits(condition.prior_features[..., LOG_FREQUENCY])[:, None]
    level = (corrections.masked_fill(~mask, 0).sum(-1) / mask.sum(-1)).square().mean()

    known = ~batch["quality"].isnan()
    error = (scores - batch["quality"].nan_to_num()).square() * known
    ranking = error.sum() / known.sum().clamp(min=1)
    loss = cross_entropy + score_weight * ranking + LEVEL_WEIGHT * level
    return loss, {"cross_entropy": cross_entropy, "ranking": ranking}


def _cross_entropy(logits: torch.Tensor, clean: torch.Tensor, condition: Condition) -> torch.Tensor:
    """Mean over all slots that have an effect on the clean architecture, ``FloatTensor ()``.

    Parameters
    ----------
    logits
        ``FloatTensor (batch, slots, choices)``
    clean
        ``LongTensor (batch, slots)``
    condition
        Of the batch.
    """
    if not condition.is_conditional:
        return F.cross_entropy(logits.flatten(0, 1), clean.flatten())
    active = active_slots(clean, condition.controlling_slots, condition.activating_choices)
    losses = F.cross_entropy(logits.transpose(1, 2), clean, reduction="none")
    return losses[active].mean()
