"""Costs of a space's architectures, and what each choice does to them, which the denoiser is conditioned on.

The effects of the benchmarks' spaces are shipped with the package, so that nobody has to count the costs of thousands
of networks first. ``python -m pkgen_hf.spaces`` writes them; it must be run when slots, choices or costs of these
spaces change. Where a space is not as it was when the file was written, its effects are measured.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path

import torch
from safetensors import safe_open

from ..errors import shortened, unknown
from .described_costs import described_log_costs
from .parts import COST_FEATURES, constant
from .rows import Rows
from .tasks import TaskLike
from .weight_matrices import WeightMatrices

FILE = Path(__file__).with_suffix(".safetensors")
SAMPLES = 8192  # networks whose costs are counted: a mean over those of one choice in ten has an error of 0.035
PROBES = 16  # networks whose costs are part of the fingerprint; any change of formulas changes those of most of them
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}  # of weights, and of the cache of keys and values
MOST_TOKENS = 10**12  # of a KV cache: more than any device holds, and bytes that 64 bits can count


class Costs(Rows):
    """Counts of parameters, multiply-adds and memory, and the features of choices that follow from them.

    Attributes
    ----------
    context : int or None
        Tokens of context of language models as the benchmark evaluates them; None for networks without a KV cache.
    """

    context: int | None = None

    def parameters(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Trainable parameters of each network at the task's scale, ``LongTensor (batch,)``."""
        raise NotImplementedError(f"{self.name} has no count of parameters: give it build= or override parameters()")

    def flops(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Multiply-adds of one forward pass at the task's scale, ``LongTensor (batch,)``."""
        raise NotImplementedError(f"{self.name} has no count of multiply-adds: give it build= or override flops()")

    def log_costs(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Logarithms of multiply-adds and of parameters, ``DoubleTensor (batch, 2)``.

        Where a space does not count both, estimates from networks that it builds, or a trend that follows from the
        descriptions of choices. Limits never use them.
        """
        try:
            costs = torch.stack([self.flops(indices, task), self.parameters(indices, task)], dim=1)
        except NotImplementedError:
            return described_log_costs(self, indices)[:, None].expand(-1, 2)
        return costs.double().clamp(min=1).log()

    def weight_matrices(self, indices: torch.Tensor, task: TaskLike | None = None) -> WeightMatrices:
        """Weight matrices of each network at the task's scale: how many of each shape, rows being outputs.

        They are those of all linear maps whose weights `parameters` counts, from the first layer to the classifier or
        decoder, also where no path leads through them. A convolution is, once for each group, the matrix from the
        values of its window to the outputs, a transposed one the transpose of such a matrix; attention is divided
        into its heads, and a recurrent layer into its gates and what these read. Not among them are embeddings (of
        tokens, positions, segments and patches), their projection to the width of the layers, an output layer that
        shares those of tokens, and vectors: biases, normalisations, and what scores the neighbours in the attention
        of graph networks.
        """
        raise NotImplementedError(f"{self.name} lists no weight matrices")

    def non_embedding_parameters(self, indices: torch.Tensor) -> torch.Tensor:
        """Parameters of language models without the embeddings of tokens, ``LongTensor (batch,)``."""
        raise NotImplementedError(f"{self.name} has no count of parameters without embeddings")

    def flops_at_context(self, indices: torch.Tensor, context: int, task: TaskLike | None = None) -> torch.Tensor:
        """Multiply-adds of language models for a token that attends to `context` tokens, ``LongTensor (batch,)``."""
        raise NotImplementedError(f"{self.name} has no count of multiply-adds at a context")

    def kv_cache_elements(self, indices: torch.Tensor) -> torch.Tensor:
        """Keys and values that all layers keep of a token of context, in numbers, ``LongTensor (batch,)``.

        0 for networks without a KV cache.
        """
        return torch.zeros(len(indices), dtype=torch.long, device=indices.device)

    def memory(
        self,
        indices: torch.Tensor,
        task: TaskLike | None = None,
        *,
        context: int | None = None,
        batch_size: int | None = None,
        dtype: str = "float32",
    ) -> torch.Tensor:
        """Bytes of the weights and the KV cache of each network, ``LongTensor (batch,)``.

        ``(parameters + context * batch_size * kv_cache_elements) * bytes of the dtype``; activations do not count.

        Parameters
        ----------
        indices, task
            As of `parameters`.
        context, batch_size
            Tokens of a sequence in the cache (by default those of the benchmark, the attribute `context`) and number
            of sequences (by default 1); None for networks without a KV cache.
        dtype
            Of weights and cache, one of `DTYPE_BYTES`.

        Raises
        ------
        ValueError
            For numbers that are not whole and above 0, or together above `MOST_TOKENS`, an unknown dtype, or a context
            or batch size where there is no KV cache.
        """
        self.check_memory(context, batch_size, dtype)
        numbers = self.parameters(indices, task)
        if self.context is not None:
            tokens = (context or self.context) * (batch_size or 1)
            numbers = numbers + tokens * self.kv_cache_elements(indices)
        return numbers * DTYPE_BYTES[dtype]

    def check_memory(self, context: int | None, batch_size: int | None, dtype: str) -> None:
        """Raise ValueError for arguments that `memory` does not take."""
        if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
            raise unknown("dtype of weights", dtype, DTYPE_BYTES)
        for name, value in (("context", context), ("batch_size", batch_size)):
            if value is None:
                continue
            if self.context is None:
                raise ValueError(f"{name}={shortened(value)} has no effect: networks of {self.name} have no KV cache")
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a whole number from 1, got {shortened(value)}")
        if (tokens := (context or 1) * (batch_size or 1)) > MOST_TOKENS:
            raise ValueError(f"a KV cache has at most {MOST_TOKENS:,} tokens, got {shortened(tokens)}")

    @cached_property
    @constant
    def choice_features(self) -> torch.Tensor:
        """What each choice is, ``FloatTensor (slots, choices, CHOICE_FEATURES)``, zero where there is none."""
        return torch.cat([self.choice_descriptions, self.cost_effects], dim=-1)

    @cached_property
    @constant
    def cost_effects(self) -> torch.Tensor:
        """What each choice does to the cost of a network, ``FloatTensor (slots, choices, COST_FEATURES)``.

        Mean of `log_costs`, of multiply-adds and of parameters, of random valid networks with the choice, less that of
        all, in standard deviations; and whether anything is known of costs (all are 0 if not). Networks in which a
        slot has no effect do not count for it: the effects of a layer's choices say nothing of the number of layers.
        """
        shipped = shipped_effects(self)
        return measured_effects(self) if shipped is None else shipped


def measured_effects(space: Costs) -> torch.Tensor:
    """The effects, from the costs of random networks; see `Costs.cost_effects`."""
    effects = torch.zeros(space.num_slots, space.num_choices, COST_FEATURES, dtype=torch.float32)
    rows = space.sample(SAMPLES, torch.Generator().manual_seed(0))
    rows = rows[space.is_valid(rows)]
    logarithms = space.log_costs(rows)
    if not len(rows) or bool((logarithms == logarithms[0]).all()):
        return effects
    active = space.active_slots(rows)
    places = (rows + space.num_choices * torch.arange(space.num_slots))[active]  # (slot, choice) as one number
    count = places.bincount(minlength=space.choice_mask.numel()).clamp(min=1)
    for i, logs in enumerate(logarithms.T):
        score = ((logs - logs.mean()) / logs.std().clamp(min=1e-9)).float()[:, None].expand_as(rows)
        if space.is_conditional:
            score = score - (score * active).sum(0) / active.sum(0).clamp(min=1)
        # Added row by row, so that any number of threads rounds alike.
        total = torch.zeros(len(count), dtype=torch.float32).index_add_(0, places, score[active])
        effects[..., i] = (total / count).reshape(space.choice_mask.shape)
    effects[..., 2] = space.choice_mask
    return effects


def shipped_effects(space: Costs) -> torch.Tensor | None:
    """The effects in the file; None if it has none of a space with this name, slots, choices and costs."""
    with safe_open(FILE, "pt") as file:
        written = (file.metadata() or {}).get(space.name)
        if written is None or written != fingerprint(space):
            return None
        return file.get_tensor(space.name)


def fingerprint(space: Costs) -> str:
    """A digest of what effects follow from: names of slots and choices, and the costs of a few networks."""
    rows = torch.arange(1, PROBES + 1)[:, None] * torch.arange(1, space.num_slots + 1) % space.sizes
    rows = rows[space.is_valid(rows)]
    try:
        costs = [space.flops(rows).tolist(), space.parameters(rows).tolist()]
    except NotImplementedError:
        costs = []
    slots = [[slot.name, *(choice.name for choice in slot.choices)] for slot in space.slots]
    return hashlib.sha256(json.dumps([slots, costs]).encode()).hexdigest()
