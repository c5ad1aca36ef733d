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
    denoiser: torch.nn.Module, condition: Condition, batch: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Cross-entropy of the clean choices, plus a penalty on mean logit corrections.

    Slots without effect on the clean architecture do not count in the cross-entropy. It only depends on differences of
    logits. The penalty fixes their level: for a choice that training has not seen, the correction is then 0 on
    average, that is the prior's logit.

    Parameters
    ----------
    denoiser
        An `ArchitectureDenoiser`, possibly wrapped.
    condition
        Of the batch.
    batch
        As from `EpisodeDataset`: group by group of samples that share a prior.

    Returns
    -------
    loss : FloatTensor ()
    parts : dict
        ``cross_entropy``, and ``level``, the penalty before its weight.
    """
    logits = denoiser(batch["noisy"], batch["timesteps"], condition).float()
    ratio = batch["log_likelihood_ratio"][..., None]
    clean = logits.scatter_add(-1, batch["noisy"][..., None], ratio)
    cross_entropy = _cross_entropy(clean, batch["clean"], condition)

    mask = condition.choice_mask
    groups = logits.unflatten(0, (len(condition.task_traits), -1))
    corrections = groups - decode_logits(condition.prior_features[..., LOG_FREQUENCY])[:, None]
    level = (corrections.masked_fill(~mask, 0).sum(-1) / mask.sum(-1)).square().mean()

    return cross_entropy + LEVEL_WEIGHT * level, {"cross_entropy": cross_entropy, "level": level}


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
