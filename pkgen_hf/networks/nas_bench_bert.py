"""NAS-Bench-BERT networks (Serianni and Kalita, ACL 2023): text encoders as they were trained.

Every layer is scaled dot-product attention, whatever operation the architecture's string names: the benchmark's
training made no other. Around the layers the encoder is a small ELECTRA (Clark et al., ICLR 2020): vectors of tokens,
positions and segments of 128 numbers, which a linear map widens where the hidden size is another, and normalisation
after each residual sum, as in BERT (Devlin et al., NAACL 2019).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..spaces.nas_bench_bert import EMBEDDING_SIZE, HIDDEN_SIZES, POSITIONS, SEGMENTS, VOCABULARY, NASBenchBERTSpace
from ..spaces.protocols import ArchitectureLike

Layer = tuple[int, tuple[int, ...]]  # heads, widths of the inner layers of the feed-forward part
EPSILON = 1e-12  # of normalisations
INITIAL_DEVIATION = 0.02  # of weights


def initialise(module: nn.Module) -> None:
    """Weights of a module as BERT begins: normal, with biases of 0 and normalisations that change nothing."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INITIAL_DEVIATION)
    if isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
    if isinstance(module, nn.Linear | nn.LayerNorm) and module.bias is not None:
        nn.init.zeros_(module.bias)


class Embeddings(nn.Module):
    """Vectors of tokens, positions and segments, added and normalised, at the width of the layers.

    Parameters
    ----------
    vocabulary, positions, width
        Number of tokens, largest length of a text, size of vectors.
    hidden
        Width of the layers.
    dropout
        Probability.
    """

    def __init__(self, vocabulary: int, positions: int, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(positions, width)
        self.segments = nn.Embedding(SEGMENTS, width)
        self.norm = nn.LayerNorm(width, EPSILON)
        self.projection = nn.Identity() if width == hidden else nn.Linear(width, hidden)
        self.dropout = dropout

    def forward(self, embedded: torch.Tensor, segments: torch.Tensor | None) -> torch.Tensor:
        """What the first layer reads, ``(batch, length, hidden)``, of tokens' vectors ``(batch, length, width)``."""
        length = embedded.shape[1]
        if length > self.positions.num_embeddings:
            raise ValueError(f"a text has at most {self.positions.num_embeddings} tokens, got {length}")
        vectors = embedded + self.positions.weight[:length]
        vectors = vectors + (self.segments.weight[0] if segments is None else self.segments(segments))
        return self.projection(F.dropout(self.norm(vectors), self.dropout, self.training))


class EncoderLayer(nn.Module):
    """Attention of every token to all, then a feed-forward part, each added to its input and normalised.

    Parameters
    ----------
    hidden, heads
        Width, and number of attention heads, which divide it.
    inner
        Widths of the inner layers of the feed-forward part; an activation follows each.
    dropout
        Probability, of weights of attention, too.
    """

    def __init__(self, hidden: int, heads: int, inner: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value = (nn.Linear(hidden, hidden) for _ in range(3))
        self.output = nn.Linear(hidden, hidden)
        self.attention_norm = nn.LayerNorm(hidden, EPSILON)
        widths = [hidden, *inner, hidden]
        self.feed_forward = nn.ModuleList(nn.Linear(i, o) for i, o in itertools.pairwise(widths))
        self.norm = nn.LayerNorm(hidden, EPSILON)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """The same shape.

        Parameters
        ----------
        hidden
            ``(batch, length, hidden)``
        mask
            Which tokens may be attended to, ``BoolTensor (batch, 1, 1, length)``; None for all.
        """
        parts = (linear(hidden).unflatten(-1, (self.heads, -1)) for linear in (self.query, self.key, self.value))
        query, key, value = (part.transpose(1, 2) for part in parts)  # (batch, heads, length, size)
        dropped = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropped)
        attended = self.output(attended.transpose(1, 2).flatten(2))
        hidden = self.attention_norm(hidden + F.dropout(attended, self.dropout, self.training))
        *inner, last = self.feed_forward
        inside = hidden
        for linear in inner:
            inside = F.gelu(linear(inside))
        return self.norm(hidden + F.dropout(last(inside), self.dropout, self.training))


class TextEncoder(nn.Module):
    """Embeddings and layers: a vector of every token that depends on the whole text.

    Parameters
    ----------
    layers
        Heads, and widths of the inner layers, of each layer.
    hidden
        Width of the layers.
    vocabulary, positions, embedding
        Number of tokens, largest length of a text, size of their vectors.
    dropout
        Probability.
    """

    def __init__(
        self, layers: Sequence[Layer], hidden: int, vocabulary: int, positions: int, embedding: int, dropout: float
    ) -> None:
        super().__init__()
        self.embeddings = Embeddings(vocabulary, positions, embedding, hidden, dropout)
        self.layers = nn.ModuleList(EncoderLayer(hidden, heads, inner, dropout) for heads, inner in layers)
        self.gradient_checkpointing = False  # these two names are those by which transformers sets it
        self._gradient_checkpointing_func: Callable[..., Any] = partial(checkpoint, use_reentrant=False)
        self.apply(initialise)

    def hidden_states(
        self, embedded: torch.Tensor, mask: torch.Tensor | None = None, segments: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The same as `forward` of tokens' vectors, ``(batch, length, embedding)``."""
        hidden = self.embeddings(embedded, segments)
        attended = None
        if mask is not None:
            is_token = mask.bool()
            is_token = is_token | ~is_token.any(1, keepdim=True)  # a text of padding alone attends to something, too
            attended = is_token[:, None, None, :]
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                hidden = self._gradient_checkpointing_func(layer, hidden, attended)
            else:
                hidden = layer(hidden, attended)
        return hidden

    def forward(
        self, tokens: torch.Tensor, mask: torch.Tensor | None = None, segments: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Vectors of tokens that depend on the whole text, ``(batch, length, hidden)``.

        Parameters
        ----------
        tokens
            ``LongTensor (batch, length)``
        mask
            1 or true for tokens, 0 or false for padding, ``(batch, length)``; without it all are tokens.
        segments
            0 or 1 for tokens of a first and a second text, ``LongTensor (batch, length)``; without it all are 0.
        """
        return self.hidden_states(self.embeddings.tokens(tokens), mask, segments)


class TextClassifier(nn.Module):
    """A text encoder and two linear maps of the vector of its first token.

    Parameters
    ----------
    num_classes
        Logits of a text.
    layers, hidden, dropout
        As of `TextEncoder`.
    **sizes
        The other sizes of `TextEncoder`.
    """

    def __init__(self, num_classes: int, layers: Sequence[Layer], hidden: int, dropout: float, **sizes: Any) -> None:
        super().__init__()
        self.encoder = TextEncoder(layers, hidden, dropout=dropout, **sizes)
        self.dense = nn.Linear(hidden, hidden)
        self.classifier = nn.Linear(hidden, num_classes)
        self.dropout = dropout
        for linear in (self.dense, self.classifier):
            initialise(linear)

    def forward(
        self, tokens: torch.Tensor, mask: torch.Tensor | None = None, segments: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits ``(batch, num_classes)``; arguments are those of `TextEncoder.forward`."""
        return self.logits(self.encoder(tokens, mask, segments))

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Of vectors that the encoder returns."""
        first = F.dropout(hidden[:, 0], self.dropout, self.training)
        return self.classifier(F.dropout(F.gelu(self.dense(first)), self.dropout, self.training))


class MaskedLanguageModel(nn.Module):
    """A text encoder that says of every place which token it holds; the decoder's weights are the tokens' vectors.

    Parameters
    ----------
    layers, hidden, vocabulary, embedding
        As of `TextEncoder`.
    **sizes
        The other sizes of `TextEncoder`, and its dropout.
    """

    def __init__(self, layers: Sequence[Layer], hidden: int, vocabulary: int, embedding: int, **sizes: Any) -> None:
        super().__init__()
        self.encoder = TextEncoder(layers, hidden, vocabulary, embedding=embedding, **sizes)
        self.transform = nn.Linear(hidden, embedding)
        self.transform_norm = nn.LayerNorm(embedding, EPSILON)
        self.decoder_bias = nn.Parameter(torch.zeros(vocabulary))
        initialise(self.transform)

    def forward(
        self, tokens: torch.Tensor, mask: torch.Tensor | None = None, segments: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits ``(batch, length, vocabulary)``; arguments are those of `TextEncoder.forward`."""
        return self.logits(self.encoder(tokens, mask, segments))

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Of vectors that the encoder returns."""
        vectors = self.transform_norm(F.gelu(self.transform(hidden)))
        return F.linear(vectors, self.encoder.embeddings.tokens.weight, self.decoder_bias)


def plan(
    architecture: ArchitectureLike,
    num_classes: int | None = None,
    masked_language_model: bool = False,
    vocabulary: int = VOCABULARY,
    positions: int = POSITIONS,
    embedding: int = EMBEDDING_SIZE,
    dropout: float = 0.1,
) -> partial[Any]:
    """The encoder of a NAS-Bench-BERT architecture as it was trained, or a model with a head on it.

    What was trained ignores the operations, and the width of inner layers where a feed-forward part has just one.

    Parameters
    ----------
    architecture
        Of the space ``nas-bench-bert``.
    num_classes
        Logits of a text: a `TextClassifier`. Without it, a `TextEncoder`.
    masked_language_model
        A `MaskedLanguageModel` instead; its ``num_classes`` are the vocabulary's.
    vocabulary, positions, embedding
        Number of tokens, largest length of a text, size of their vectors.
    dropout
        Probability.
    """
    space = cast(NASBenchBERTSpace, architecture.space)
    row = [int(index) for index in architecture.indices]
    sizes: dict[str, Any] = {
        "layers": space.trained_layers(row),
        "hidden": HIDDEN_SIZES[row[0]],
        "vocabulary": vocabulary,
        "positions": positions,
        "embedding": embedding,
        "dropout": dropout,
    }
    if masked_language_model:
        return partial(MaskedLanguageModel, **sizes | {"vocabulary": num_classes or vocabulary})
    if num_classes is not None:
        return partial(TextClassifier, num_classes=num_classes, **sizes)
    return partial(TextEncoder, **sizes)


def config_fields(architecture: ArchitectureLike) -> dict[str, Any]:
    """What a transformers configuration says of the network: its sizes, those of layers as lists."""
    row = [int(index) for index in architecture.indices]
    layers = cast(NASBenchBERTSpace, architecture.space).trained_layers(row)
    return {
        "hidden_size": HIDDEN_SIZES[row[0]],
        "num_hidden_layers": len(layers),
        "num_attention_heads_per_layer": [heads for heads, _ in layers],
        "intermediate_sizes_per_layer": [list(inner) for _, inner in layers],
    }
