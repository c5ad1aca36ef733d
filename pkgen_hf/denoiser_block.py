"""The transformer block of the denoiser: as it is trained, and with folded constants for inference on a CPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

# Within these limits a sum of exponentials, their products with values, and its inverse are exact in float32.
SMALLEST_SUM, LARGEST_SUM = 1e-30, 1e30


class Block(nn.Module):
    """Pre-norm transformer block with an additive attention bias."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, hidden: torch.Tensor, bias: torch.Tensor, active: torch.Tensor | None) -> torch.Tensor:
        """Hidden states after the block, ``FloatTensor (batch, slots, width)``.

        Parameters
        ----------
        hidden
            ``FloatTensor (batch, slots, width)``
        bias
            Of the attention logits, ``FloatTensor (heads, slots, slots)``.
        active
            Slots that are attended to, ``BoolTensor (batch, slots)``; None for all.
        """
        batch, slots, width = hidden.shape
        mixed = self.query_key_value(self.norm_attention(hidden))
        query, key, value = mixed.view(batch, slots, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        # written out: with so few slots two to three times as fast on a CPU as the fused kernels with a bias
        weights = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        weights += bias
        if active is not None:
            mask = torch.zeros_like(active, dtype=hidden.dtype).masked_fill(~active, -torch.inf)
            weights += mask[:, None, None]
        attended = weights.softmax(-1) @ value
        hidden = hidden + self.project(attended.transpose(1, 2).reshape(batch, slots, width))
        return hidden + self.contract(F.relu(self.expand(self.norm_mlp(hidden))))


@dataclass(frozen=True)
class FoldedBlock:
    """A `Block` with folded constants, for inference in float32 on a CPU: equal up to rounding, about twice as fast.

    - Gains and biases of layer norms, and the scale of queries, are in the linear maps after them.
    - Biases of keys are left out, because they shift all logits of a query alike; those of values are in the bias of
      the projection, because attention weights sum to 1.
    - ``relu(x + b) = max(x, -b) + b``, whose last term is in the bias of the contraction.
    - The softmax subtracts no maximum where the exponentials stay within the range of float32.

    Attributes
    ----------
    num_heads
        Of the block.
    query_key_value, project, expand, contract : FloatTensor (inputs, outputs)
        Weights of the linear maps, transposed.
    query_bias, project_bias, contract_bias : FloatTensor (width,)
    threshold : FloatTensor (4 * width,)
        ``-b`` of the third rule.
    """

    num_heads: int
    query_key_value: torch.Tensor
    query_bias: torch.Tensor
    project: torch.Tensor
    project_bias: torch.Tensor
    expand: torch.Tensor
    threshold: torch.Tensor
    contract: torch.Tensor
    contract_bias: torch.Tensor

    @classmethod
    def of(cls, block: Block) -> FoldedBlock:
        """Fold the constants of a block."""
        width = block.project.in_features
        weight, bias = _after_norm(block.norm_attention, block.query_key_value)
        scale = (width // block.num_heads) ** -0.5
        query, key, value = weight.split(width)
        query_bias, _, value_bias = bias.split(width)
        expand, expand_bias = _after_norm(block.norm_mlp, block.expand)
        return cls(
            num_heads=block.num_heads,
            query_key_value=torch.cat([scale * query, key, value]).t().contiguous(),
            query_bias=scale * query_bias,
            project=block.project.weight.t().contiguous(),
            project_bias=block.project(value_bias),
            expand=expand.t().contiguous(),
            threshold=-expand_bias,
            contract=block.contract.weight.t().contiguous(),
            contract_bias=block.contract(expand_bias),
        )

    def __call__(self, hidden: torch.Tensor, bias: torch.Tensor, active: torch.Tensor | None) -> torch.Tensor:
        """As `Block.forward`; `hidden` is overwritten, if it is contiguous."""
        hidden = hidden.contiguous()
        batch, slots, width = hidden.shape
        states = hidden.view(-1, width)
        mixed = F.layer_norm(states, (width,)) @ self.query_key_value
        mixed[:, :width] += self.query_bias
        attended = self._attended(mixed.view(batch, slots, 3, self.num_heads, -1), bias, active)
        states += self.project_bias
        torch.addmm(states, attended.view(-1, width), self.project, out=states)
        inner = F.layer_norm(states, (width,)) @ self.expand
        torch.maximum(inner, self.threshold, out=inner)
        states += self.contract_bias
        torch.addmm(states, inner, self.contract, out=states)
        return hidden

    def _attended(self, mixed: torch.Tensor, bias: torch.Tensor, active: torch.Tensor | None) -> torch.Tensor:
        """Mean values by attention, ``FloatTensor (batch, slots, heads, width / heads)``.

        `mixed` holds queries, keys and values, ``FloatTensor (batch, slots, 3, heads, width / heads)``.
        """
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        weights = _logits(query, key, bias).exp_()
        if active is not None:
            weights *= active.to(weights.dtype)[:, None, None]
        total = weights.sum(-1, keepdim=True)
        low, high = total.aminmax()
        if not (low > SMALLEST_SUM and high < LARGEST_SUM):  # not a number is neither
            logits = _logits(query, key, bias)
            if active is not None:
                logits.masked_fill_(~active[:, None, None], -torch.inf)
            weights = logits.softmax(-1)
            total = torch.ones_like(total)
        attended = torch.empty(query.transpose(1, 2).shape, dtype=query.dtype, device=query.device)
        torch.div(weights @ value, total, out=attended.transpose(1, 2))
        return attended


def _logits(query: torch.Tensor, key: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Attention logits, ``FloatTensor (batch, heads, slots, slots)``."""
    logits = query @ key.transpose(-1, -2)
    logits += bias
    return logits


def _after_norm(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias that do after a layer norm without gain and bias what a linear map does after this one."""
    return linear.weight * norm.weight, linear(norm.bias)


def folded(blocks: Iterable[Block]) -> tuple[FoldedBlock, ...] | None:
    """The blocks with folded constants.

    None where they do not serve: if gradients are computed, for weights of another type than float32 or on another
    device than the CPU, and for linear maps that were replaced, as adapters and quantisation do.
    """
    blocks = list(blocks)
    if torch.is_grad_enabled() or not all(_is_foldable(block) for block in blocks):
        return None
    return tuple(FoldedBlock.of(block) for block in blocks)


def _is_foldable(block: Block) -> bool:
    parts = (block.query_key_value, block.project, block.expand, block.contract)
    return all(
        type(part) is nn.Linear and part.weight.dtype == torch.float32 and part.weight.device.type == "cpu"
        for part in parts
    )
