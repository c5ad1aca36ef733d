"""The output of a call of the pipeline."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers.utils import BaseOutput

from ..architecture import Architecture
from ..priors.prior import Prior
from ..spaces import TaskLike


@dataclass
class PKGenPipelineOutput(BaseOutput):
    """Result of a call of `PKGenPipeline`.

    Attributes
    ----------
    architectures : list of Architecture
        Valid ones, the highest ranked first.
    scores : FloatTensor (num_architectures,)
        Expected normal scores, as `PKGenPipeline.rank` gives them with the same evaluations.
    validity : float
        Share of the raw samples that were valid; the others were replaced.
    prior : Prior
        The prior that the call was conditioned on.
    temperature : float
        Of the last samples: as in the call, or higher where that gave hardly anything new. With a generator for each
        architecture, the highest of theirs.
    task : str, Task or None
        What the call was for, so that ``out.architectures[0].build(task=out.task)`` is the network for it.
    """

    architectures: list[Architecture]
    scores: torch.Tensor
    validity: float
    prior: Prior
    temperature: float
    task: TaskLike | None = None
