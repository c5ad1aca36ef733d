"""The architecture denoiser: a small transformer over the slots of an architecture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import nn
from torch.nn import functional as F

from .denoiser_block import Block, FoldedBlock, folded
from .priors.data import LOG_FREQUENCY, PRIOR_FEATURES
from .priors.frequencies import decode_logits
from .priors.prior import Prior
from .priors.transfer import task_kind
from .spaces import RELATIONS, SLOT_KINDS, TASK_KINDS, TASK_TRAITS, SearchSpace, TaskLike
from .spaces.parts import CHOICE_FEATURES, SLOT_FEATURES
from .spaces.rows import active_slots

# Tokens (slots of samples) that go through the blocks at once when sampling; fewer through folded blocks on a CPU, so
# that its cache holds their widest states, 1.6 MB at width 64.
TOKENS_AT_ONCE = 6144
TOKENS_IN_CACHE = 1536
MAX_PERIOD = 1000.0  # of the sinusoidal time embedding: the scheduler's number of timesteps


def task_traits(kind: str) -> list[float]:
    """Indicators of `TASK_TRAITS` for a kind of task, 0 or 1."""
    return [float(trait in TASK_KINDS[kind]) for trait in TASK_TRAITS]


@dataclass(frozen=True)
class Condition:
    """What the denoiser is conditioned on: features of the space, the prior of every choice, and the kind of task.

    Attributes
    ----------
    choice_features : FloatTensor (slots, choices, CHOICE_FEATURES)
    choice_ids : LongTensor (slots, choices)
        Index of each choice's identity in the denoiser's vocabulary, 0 if it is not in it.
    choice_mask : BoolTensor (slots, choices)
    slot_features : FloatTensor (slots, SLOT_FEATURES)
    relations : LongTensor (slots, slots)
    controlling_slots : LongTensor (slots,)
    activating_choices : BoolTensor (slots, choices)
        Which slots have an effect on an architecture; see `pkgen_hf.spaces.parts.Slot`, ``active_if``.
    prior_features : FloatTensor (batch, slots, choices, PRIOR_FEATURES)
        One prior for each group of consecutive samples: the batch of samples is a multiple of this one.
    task_traits : FloatTensor (batch, TASK_TRAITS)
        Indicators of `TASK_TRAITS` for the kind of each task, 0 or 1.
    similarity : FloatTensor ()
        Similarity of the space to the training spaces, 0 to 1. The network's logit corrections are multiplied by its
        square before they are added to the prior's logits, since its output far out of distribution is arbitrary.
    """

    choice_features: torch.Tensor
    choice_ids: torch.Tensor
    choice_mask: torch.Tensor
    slot_features: torch.Tensor
    relations: torch.Tensor
    controlling_slots: torch.Tensor
    activating_choices: torch.Tensor
    prior_features: torch.Tensor
    task_traits: torch.Tensor
    similarity: torch.Tensor

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Condition:
        """A copy with tensors on `device`, and floating-point ones in `dtype` if it is given."""
        moved = {}
        for field in fields(self):
            tensor = getattr(self, field.name)
            moved[field.name] = tensor.to(device, dtype) if tensor.is_floating_point() else tensor.to(device)
        return Condition(**moved)

    @cached_property
    def is_conditional(self) -> bool:
        """Whether some slots have an effect only with certain choices of others."""
        return bool((self.controlling_slots >= 0).any())

    def unconditional(self) -> Condition:
        """A copy with the prior dropped."""
        return replace(self, prior_features=torch.zeros_like(self.prior_features))


@dataclass(frozen=True)
class EncodedCondition:
    """A condition encoded for the transformer, once for all steps.

    Attributes
    ----------
    tokens : FloatTensor (priors, slots, choices, width)
        Embedding of each choice in each slot: the transformer's input.
    choices : FloatTensor (priors, slots, choices, width)
        Output embedding of each choice; its dot product with a slot's output is the logit correction.
    bias : FloatTensor (priors, slots, choices)
        Part of the logit correction that does not depend on the sample.
    prior : FloatTensor (priors, slots, choices)
        Logits of the prior; minus infinity where a slot has no such choice.
    similarity : FloatTensor ()
        See `Condition`.
    attention : FloatTensor (layers, heads, slots, slots)
        Attention bias by the relation of two slots.
    task : FloatTensor (priors, width)
        Embedding of the kind of task.
    controlling_slots, activating_choices : Tensor or None
        As of `Condition`; None in a space whose slots always have an effect.
    folded_blocks : tuple of FoldedBlock or None
        The denoiser's blocks for inference on a CPU.
    """

    tokens: torch.Tensor
    choices: torch.Tensor
    bias: torch.Tensor
    prior: torch.Tensor
    similarity: torch.Tensor
    attention: torch.Tensor
    task: torch.Tensor
    controlling_slots: torch.Tensor | None
    activating_choices: torch.Tensor | None
    folded_blocks: tuple[FoldedBlock, ...] | None

    @property
    def is_folded(self) -> bool:
        """Whether the folded blocks serve for what is computed now."""
        is_precise = not torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
        return is_precise and self.folded_blocks is not None

    def part(self, slots: int) -> int:
        """How many samples of so many slots go through the blocks at once when sampling."""
        return max(1, (TOKENS_IN_CACHE if self.is_folded else TOKENS_AT_ONCE) // slots)

    def active_slots(self, sample: torch.Tensor) -> torch.Tensor | None:
        """Which slots have an effect, ``BoolTensor (batch, slots)``; None if all of them always have."""
        if self.controlling_slots is None or self.activating_choices is None:
            return None
        return active_slots(sample, self.controlling_slots, self.activating_choices)


class ArchitectureDenoiser(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Transformer over slots: logits of the clean choices of a noised architecture.

    It is independent of any one space: a choice is embedded by its features and by an identity that equal choices of
    all spaces share, a slot by its position features, and attention between slots is biased by their relation.

    Parameters
    ----------
    width, num_layers, num_heads
        Size of the transformer.
    vocabulary
        Identities of choices that have an embedding of their own; all others are embedded by their features alone.
    """

    @register_to_config
    def __init__(
        self,
        width: int = 96,
        num_layers: int = 3,
        num_heads: int = 4,
        vocabulary: list[str] | None = None,
    ) -> None:
        super().__init__()
        self.width, self.num_heads = width, num_heads
        self.vocabulary = list(vocabulary or [])
        self.identity = nn.Embedding(1 + len(self.vocabulary), width)
        self.choice = nn.Linear(CHOICE_FEATURES, width)
        place = nn.Linear(SLOT_FEATURES, width)
        self.slot = nn.Sequential(place, nn.ReLU(), nn.Linear(width, width))
        self.prior = nn.Sequential(nn.Linear(PRIOR_FEATURES, width), nn.ReLU(), nn.Linear(width, width))
        self.mix = nn.Sequential(nn.ReLU(), nn.Linear(width, 2 * width))
        self.bias = nn.Linear(width, 1)
        self.task = nn.Linear(len(TASK_TRAITS), width, bias=False)
        self.time = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.relation = nn.Embedding(len(RELATIONS), num_layers * num_heads)
        self.blocks = nn.ModuleList(Block(width, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, width)
        nn.init.zeros_(self.relation.weight)
        nn.init.zeros_(self.task.weight)  # here and below: a feature absent from training has no effect
        nn.init.zeros_(place.weight[:, : len(SLOT_KINDS)])
        # unit variance, as large as the embeddings of slots: with less, interactions of choices are not learned
        nn.init.normal_(self.choice.weight)
        nn.init.normal_(self.identity.weight)

    @property
    def execution_device(self) -> torch.device:
        """Device of the computation: that of the weights or, with CPU offloading, the one they are moved to."""
        for module in self.modules():
            device = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
            if device is not None:
                return torch.device(device)
        return self.device

    def make_condition(
        self, space: SearchSpace, priors: Prior | list[Prior], task: TaskLike | None = None, similarity: float = 1.0
    ) -> Condition:
        """Make the condition of a space, priors and a task.

        Parameters
        ----------
        space
            Of the architectures.
        priors
            One for all samples, or a list with one for each.
        task
            A task of the space, a kind of task, or a `Task`; by default that of each prior.
        similarity
            Of the space to the training spaces, see `Condition`.
        """
        priors = priors if isinstance(priors, list) else [priors]
        known = {name: i for i, name in enumerate(self.vocabulary, 1)}
        ids = torch.zeros_like(space.choice_mask, dtype=torch.long)
        for s, slot in enumerate(space.slots):
            for k, choice in enumerate(slot.choices):
                ids[s, k] = known.get(choice.identity, 0)
        kinds = [task_kind(space, prior.task if task is None else task) for prior in priors]
        condition = Condition(
            choice_features=space.choice_features,
            choice_ids=ids,
            choice_mask=space.choice_mask,
            slot_features=space.slot_features,
            relations=space.relations,
            controlling_slots=space.controlling_slots,
            activating_choices=space.activating_choices,
            prior_features=torch.stack([prior.features() for prior in priors]),
            task_traits=torch.tensor([task_traits(kind) for kind in kinds], dtype=torch.float32, device="cpu"),
            similarity=torch.tensor(similarity, dtype=torch.float32, device="cpu"),
        )
        return condition.to(self.execution_device, self.dtype)

    @apply_forward_hook
    def encode(self, condition: Condition) -> EncodedCondition:
        """Compute all that depends neither on the sample nor on the time."""
        choice = self.choice(condition.choice_features) + self.identity(condition.choice_ids)
        slot = self.slot(condition.slot_features)[:, None]
        tokens, choices = self.mix(choice + slot + self.prior(condition.prior_features)).chunk(2, dim=-1)
        heads = self.num_heads
        attention = self.relation(condition.relations)  # (slots, slots, layers * heads)
        attention = attention.permute(2, 0, 1).unflatten(0, (-1, heads))
        prior = decode_logits(condition.prior_features[..., LOG_FREQUENCY])
        is_conditional = condition.is_conditional
        return EncodedCondition(
            tokens=tokens + slot,
            choices=choices / math.sqrt(self.width),
            bias=self.bias(F.relu(choices)).squeeze(-1),
            prior=prior.masked_fill(~condition.choice_mask, -torch.inf),
            similarity=condition.similarity,
            attention=attention,
            task=self.task(condition.task_traits),
            controlling_slots=condition.controlling_slots if is_conditional else None,
            activating_choices=condition.activating_choices if is_conditional else None,
            folded_blocks=self._folded(tokens.device),
        )

    def _folded(self, device: torch.device) -> tuple[FoldedBlock, ...] | None:
        """The folded blocks, where states are on the CPU; offloaded weights are there, but compute elsewhere."""
        return folded(block for block in self.blocks if isinstance(block, Block)) if device.type == "cpu" else None

    def _hidden(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoded: EncodedCondition,
        active: torch.Tensor | None,
    ) -> torch.Tensor:
        """Hidden states after the last block, ``FloatTensor (batch, slots, width)``.

        No slot attends to slots without effect.
        """
        batch, slots = sample.shape
        group = torch.arange(batch, device=sample.device) // (batch // len(encoded.tokens))
        hidden = encoded.tokens[group[:, None], torch.arange(slots, device=sample.device), sample]
        half = self.width // 2
        number = torch.arange(half, dtype=torch.float32, device=sample.device)
        frequencies = torch.exp(-math.log(MAX_PERIOD) * number / half)
        angles = timestep.reshape(-1, 1) * frequencies
        time = self.time(torch.cat([angles.sin(), angles.cos()], dim=-1).to(hidden.dtype))
        hidden = hidden + (time + encoded.task[group])[:, None]
        blocks: Iterable[Callable[..., torch.Tensor]] = self.blocks
        if encoded.is_folded and encoded.folded_blocks is not None:
            blocks = encoded.folded_blocks
        for block, bias in zip(blocks, encoded.attention, strict=True):
            hidden = block(hidden, bias, active)
        return self.norm(hidden)

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | float,
        condition: Condition | EncodedCondition,
    ) -> torch.Tensor:
        """Predict the clean choices of noised architectures.

        Parameters
        ----------
        sample
            ``x_t``, ``LongTensor (batch, slots)``
        timestep
            ``FloatTensor (batch,)`` or a number: the time on the scheduler's scale of 0 to 1000.
        condition
            From `make_condition`, or encoded by `encode`.

        Returns
        -------
        FloatTensor (batch, slots, choices)
            Logits of the clean choices; minus infinity where a slot has no such choice.
        """
        encoded = self.encode(condition) if isinstance(condition, Condition) else condition
        timestep = torch.as_tensor(timestep, dtype=torch.float32, device=sample.device)
        part = encoded.part(sample.shape[1])
        if not torch.is_grad_enabled() and len(encoded.tokens) == 1 and len(sample) > part and timestep.dim() == 0:
            return torch.cat([self(rows, timestep, encoded) for rows in sample.split(part)])
        active = encoded.active_slots(sample)
        hidden = self._hidden(sample, timestep, encoded, active)
        readout = self.readout(hidden).unflatten(0, (len(encoded.choices), -1))  # (priors, group, slots, width)
        correction = torch.einsum("pgsd,pskd->pgsk", readout, encoded.choices) + encoded.bias[:, None]
        logits = encoded.similarity.square() * correction + encoded.prior[:, None]
        return logits.flatten(0, 1)
