"""Networks of HW-GPT-Bench: decoder language models whose layers differ in heads and MLP width.

The network that the benchmark evaluates, of the kind of GPT-NeoX (Black et al., 2022): attention and MLP in parallel
branches, rotary positions (Su et al., 2021) on half of each head, an output layer that is the embedding of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, cast

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..spaces.hw_gpt_bench import CONTEXT, HEAD, HWGPTBenchSpace
from ..spaces.protocols import ArchitectureLike
from .counting import Extra, aten

ROTARY = HEAD // 2  # numbers of a head that are turned by their position
ROTARY_BASE = 10_000.0
INITIAL_DEVIATION = 0.02  # of weights, as of GPT-2 (Radford et al., 2019)


class KeyValueCache(Protocol):
    """What earlier tokens left for attention, such as a ``DynamicCache`` of transformers."""

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer: int, /) -> tuple[torch.Tensor, torch.Tensor]:
        """Append those of new tokens, ``(batch, heads, time, head)``; returns those of all tokens."""

    def get_seq_length(self) -> int:
        """How many tokens there are."""


class GrowingCache:
    """Keys and values of all tokens so far, for generation with torch alone."""

    def __init__(self) -> None:
        self.layers: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Append those of new tokens, ``(batch, heads, time, head)``; returns those of all tokens."""
        if layer == len(self.layers):
            self.layers.append((keys, values))
        else:
            before = self.layers[layer]
            self.layers[layer] = torch.cat([before[0], keys], dim=2), torch.cat([before[1], values], dim=2)
        return self.layers[layer]

    def get_seq_length(self) -> int:
        """How many tokens there are."""
        return self.layers[0][0].shape[2] if self.layers else 0


def rotation(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of the angles by which positions ``(batch, time)`` turn, each ``(batch, 1, time, ROTARY)``."""
    exponents = torch.arange(0, ROTARY, 2, dtype=torch.float32, device=positions.device) / ROTARY
    angles = positions[:, None, :, None].float() * ROTARY_BASE**-exponents
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(heads: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """Queries or keys ``(batch, heads, time, HEAD)`` with their first `ROTARY` numbers turned, computed in float32."""
    turned, rest = heads.float().split([ROTARY, HEAD - ROTARY], dim=-1)
    first, second = turned.chunk(2, dim=-1)
    turned = turned * cosines + torch.cat([-second, first], dim=-1) * sines
    return torch.cat([turned, rest], dim=-1).to(heads.dtype)


class CausalSelfAttention(nn.Module):
    """Attention of tokens to themselves and those before.

    Parameters
    ----------
    width
        Of the network; that of attention is `HEAD` times `heads`.
    heads
        Number of them.
    bias
        Whether its two linear maps have biases.
    layer
        Number of the layer, from 0, for the cache.
    """

    def __init__(self, width: int, heads: int, bias: bool, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.query_key_value = nn.Linear(width, 3 * HEAD * heads, bias)
        self.projection = nn.Linear(HEAD * heads, width, bias)

    def forward(
        self,
        hidden: torch.Tensor,
        cosines: torch.Tensor,
        sines: torch.Tensor,
        mask: torch.Tensor | None,
        is_causal: bool,
        cache: KeyValueCache | None,
    ) -> torch.Tensor:
        """Hidden states ``(batch, time, width)`` of the same shape; arguments are those of `Block`."""
        projected = self.query_key_value(hidden).unflatten(2, (3, -1, HEAD))
        queries, keys, values = projected.permute(2, 0, 3, 1, 4).unbind(0)  # (batch, heads, time, HEAD) each
        queries, keys = rotate(queries, cosines, sines), rotate(keys, cosines, sines)
        if cache is not None:
            keys, values = cache.update(keys, values, self.layer)
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=is_causal)
        return self.projection(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A layer: attention and an MLP of two matrices, which read the same states and are both added to them.

    Parameters
    ----------
    width, heads, bias, layer
        As of `CausalSelfAttention`; all four linear maps have biases or not.
    ratio
        Inner width of the MLP over `width`.
    """

    def __init__(self, width: int, heads: int, ratio: int, bias: bool, layer: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = CausalSelfAttention(width, heads, bias, layer)
        self.mlp_norm = nn.LayerNorm(width)
        self.expansion = nn.Linear(width, ratio * width, bias)
        self.contraction = nn.Linear(ratio * width, width, bias)

    def forward(
        self,
        hidden: torch.Tensor,
        cosines: torch.Tensor,
        sines: torch.Tensor,
        mask: torch.Tensor | None,
        is_causal: bool,
        cache: KeyValueCache | None,
    ) -> torch.Tensor:
        """Hidden states after the layer.

        Parameters
        ----------
        hidden
            ``(batch, time, width)``
        cosines, sines
            As of `rotation`.
        mask
            Which tokens attend to which, ``BoolTensor (batch or 1, 1, time, all tokens)``; None for all.
        is_causal
            Whether tokens attend to themselves and those before only, without a mask.
        cache
            Of the keys and values of earlier tokens.
        """
        attended = self.attention(self.attention_norm(hidden), cosines, sines, mask, is_causal, cache)
        return hidden + attended + self.contraction(F.gelu(self.expansion(self.mlp_norm(hidden))))


class DecoderLanguageModel(nn.Module):
    """Embedding of tokens, layers, and the embedding again as output layer.

    Parameters
    ----------
    width
        Of embeddings and hidden states.
    heads, ratios
        Of each layer: number of heads, and inner width of the MLP over `width`.
    bias
        Whether linear maps within layers have biases.
    vocabulary
        Number of tokens.
    context
        Tokens of the longest text that the network is meant for. Positions are relative, so that it is no limit.
    """

    def __init__(
        self, width: int, heads: Sequence[int], ratios: Sequence[int], bias: bool, vocabulary: int, context: int
    ) -> None:
        super().__init__()
        self.context = context
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(
            Block(width, number, ratio, bias, layer)
            for layer, (number, ratio) in enumerate(zip(heads, ratios, strict=True))
        )
        self.norm = nn.LayerNorm(width)
        self.gradient_checkpointing = False  # these two names are those by which transformers sets it
        self._gradient_checkpointing_func: Callable[..., Any] = partial(checkpoint, use_reentrant=False)
        self.initialise()

    def initialise(self) -> None:
        """Normal weights as of GPT-2: smaller in the maps whose results layers add, the more layers there are."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                adds = name.endswith(("projection.weight", "contraction.weight"))
                scale = (2 * len(self.layers)) ** -0.5 if adds else 1.0
                nn.init.normal_(parameter, std=INITIAL_DEVIATION * scale)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def hidden_states(
        self,
        embedded: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
        cache: KeyValueCache | None = None,
        states: list[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """What the output layer reads, ``(batch, time, width)``.

        Parameters
        ----------
        embedded
            Embeddings of tokens, ``(batch, time, width)``.
        attention_mask, positions, cache
            As of `forward`.
        states
            Where given, the embeddings and the states after each layer, normalised after the last, are appended.
        """
        time, past = embedded.shape[1], 0 if cache is None else cache.get_seq_length()
        if positions is None:
            positions = token_positions(attention_mask, time, past, embedded.device)
        mask = allowed_attention(attention_mask, time, past, embedded.device)
        shared = (*rotation(positions), mask, mask is None and past == 0, cache)
        hidden, after = embedded, [embedded]
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                hidden = self._gradient_checkpointing_func(layer, hidden, *shared)
            else:
                hidden = layer(hidden, *shared)
            if states is not None:
                after.append(hidden)
        hidden = self.norm(hidden)
        if states is not None:
            states += [*after[:-1], hidden]
        return hidden

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Of the next token, ``(batch, time, vocabulary)``."""
        return F.linear(hidden, self.embedding.weight)

    def forward(
        self,
        tokens: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> torch.Tensor:
        """Logits of the next token at every place, ``(batch, time, vocabulary)``.

        Parameters
        ----------
        tokens
            ``LongTensor (batch, time)``
        attention_mask
            Which tokens, those in the cache first, are none of padding: ``(batch, earlier + time)`` of 0 and 1.
        positions
            Of the tokens in their texts, ``LongTensor (batch or 1, time)``; by default padding is not counted.
        cache
            With the keys and values of the tokens before, such as a `GrowingCache`; those of these are added. Not
            together with gradient checkpointing.
        """
        return self.logits(self.hidden_states(self.embedding(tokens), attention_mask, positions, cache))


def token_positions(attention_mask: torch.Tensor | None, time: int, past: int, device: torch.device) -> torch.Tensor:
    """Positions of `time` tokens after `past` others, ``LongTensor (batch or 1, time)``, without counting padding."""
    if attention_mask is None:
        return torch.arange(past, past + time, device=device)[None]
    return (attention_mask.long().cumsum(1) - 1).clamp(min=0)[:, past:]


def allowed_attention(
    attention_mask: torch.Tensor | None, time: int, past: int, device: torch.device
) -> torch.Tensor | None:
    """Which of all tokens each of the last `time` attends to, ``BoolTensor (batch or 1, 1, time, past + time)``.

    None where that follows from the order alone. Padding attends to itself, since it must attend to something.
    """
    if attention_mask is None and (past == 0 or time == 1):
        return None
    keys, queries = torch.arange(past + time, device=device), torch.arange(past, past + time, device=device)
    allowed = (keys <= queries[:, None])[None, None]
    if attention_mask is None:
        return allowed
    return (allowed & attention_mask[:, None, None, :].bool()) | (keys == queries[:, None])


def plan(
    architecture: ArchitectureLike, num_classes: int | None = None, context: int = CONTEXT
) -> partial[DecoderLanguageModel]:
    """The language model of an architecture of HW-GPT-Bench; by default as in the benchmark.

    Parameters
    ----------
    architecture
        Of one of the three spaces.
    num_classes
        Tokens of the vocabulary.
    context
        Tokens of the longest text that it is meant for, and for which costs are measured.
    """
    space = cast(HWGPTBenchSpace, architecture.space)
    width, heads, ratios, bias = space.decoder(architecture.rows)
    vocabulary = num_classes or space.task("openwebtext").num_classes
    return partial(
        DecoderLanguageModel,
        width=width,
        heads=heads,
        ratios=ratios,
        bias=bias,
        vocabulary=vocabulary,
        context=context,
    )


def config_fields(architecture: ArchitectureLike) -> dict[str, Any]:
    """What a transformers configuration says of the network: its sizes, those of layers as lists."""
    width, heads, ratios, bias = cast(HWGPTBenchSpace, architecture.space).decoder(architecture.rows)
    return {
        "hidden_size": width,
        "num_hidden_layers": len(heads),
        "num_attention_heads_per_layer": heads,
        "intermediate_size_per_layer": [ratio * width for ratio in ratios],
        "head_dim": HEAD,
        "bias": bias,
    }


def _attention_products(args: tuple[Any, ...], result: torch.Tensor) -> int:
    """Products of queries with keys, and of weights with values, which the benchmark does not count."""
    return -result.numel() * args[0].shape[-1]


def extra_operations(task: str) -> Mapping[Any, Extra]:
    """What the benchmark counts beside multiply-adds: it leaves out those of attention."""
    return {aten.bmm: _attention_products}
