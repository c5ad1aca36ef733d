"""The vision transformers of AutoFormer (Chen et al., ICCV 2021), whose layers have heads and MLPs of their own sizes.

Beside absolute positions, queries and attention have relative ones, an embedding for each distance in rows and one for
each in columns (Wu et al., ICCV 2021). Since tokens of a row share theirs, attention is computed without a matrix of
tokens by tokens of embeddings: the row and column of a token, one-hot, are appended to its key and value, and what a
query makes of each row and column to the query. Scores are then those of plain scaled dot-product attention, and its
outputs hold the attention that each row and column gets.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..spaces.autoformer import HEAD_SIZE, PATCH, REACH, RELATIVE_POSITIONS
from ..spaces.protocols import ArchitectureLike
from .counting import Extra, aten
from .mobile_blocks import drop_path

Places = list[tuple[torch.Tensor, torch.Tensor]]


def token_places(rows: int, columns: int, device: torch.device) -> Places:
    """Where tokens are, for the direction of rows and that of columns: the class token, then a grid row by row.

    Returns
    -------
    list of (LongTensor, LongTensor), each (tokens, 1 + lines)
        For a token and a line, that is a row or a column, the number of the embedding of the distance between them;
        and whether the token is in the line, 1 or 0. The class token is in line 0 alone, and embedding 0 is for every
        pair with it.
    """
    places = []
    for lines, line in (
        (rows, torch.arange(rows, device=device).repeat_interleave(columns)),
        (columns, torch.arange(columns, device=device).repeat(rows)),
    ):
        distance = (torch.arange(lines, device=device) - line[:, None]).clamp(-REACH, REACH)
        numbers = F.pad(distance + REACH + 1, (1, 0, 1, 0))
        places.append((numbers, F.one_hot(F.pad(line + 1, (1, 0)), lines + 1)))
    return places


class RelativeAttention(nn.Module):
    """Attention with relative positions in keys and values.

    Parameters
    ----------
    width
        Of input and output.
    heads
        Each of `HEAD_SIZE`, whatever the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * heads * HEAD_SIZE)
        self.projection = nn.Linear(heads * HEAD_SIZE, width)
        self.key_positions = nn.Parameter(torch.empty(2, RELATIVE_POSITIONS, HEAD_SIZE))  # of rows and columns
        self.value_positions = nn.Parameter(torch.empty(2, RELATIVE_POSITIONS, HEAD_SIZE))

    def forward(self, tokens: torch.Tensor, places: Places) -> torch.Tensor:
        """``(batch, tokens, width)`` to the same shape; `places` are as of `token_places`."""
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, HEAD_SIZE)).permute(2, 0, 3, 1, 4)
        queries, keys, values = [query], [key], [value]  # (batch, heads, tokens, HEAD_SIZE)
        for (numbers, lines), positions in zip(places, self.key_positions, strict=True):
            queries.append(torch.einsum("bhtd,tnd->bhtn", query, positions[numbers]))
            is_in = lines.to(query.dtype).expand(*query.shape[:2], -1, -1)
            keys.append(is_in)
            values.append(is_in)
        mixed = F.scaled_dot_product_attention(
            torch.cat(queries, 3), torch.cat(keys, 3), torch.cat(values, 3), scale=HEAD_SIZE**-0.5
        )
        result, *received = mixed.split([part.shape[3] for part in values], 3)
        for attention, (numbers, _), positions in zip(received, places, self.value_positions, strict=True):
            result = result + torch.einsum("bhtn,tnd->bhtd", attention, positions[numbers])
        return self.projection(result.transpose(1, 2).flatten(2))


class TransformerLayer(nn.Module):
    """Attention, then an MLP, each after a normalisation and added to its input; in training dropped at times.

    Parameters
    ----------
    width, heads, hidden
        Of the tokens, of attention, and between the two layers of the MLP.
    dropout
        Probability after attention and in the MLP.
    drop_path_prob
        Probability of dropping each of the two for an image.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, drop_path_prob: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = RelativeAttention(width, heads)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width), nn.Dropout(dropout)
        )
        self.dropout = nn.Dropout(dropout)
        self.drop_path_prob = drop_path_prob

    def forward(self, tokens: torch.Tensor, places: Places) -> torch.Tensor:
        """``(batch, tokens, width)`` to the same shape; `places` are as of `token_places`."""
        tokens = tokens + self._kept(self.dropout(self.attention(self.attention_norm(tokens), places)))
        return tokens + self._kept(self.mlp(self.mlp_norm(tokens)))

    def _kept(self, change: torch.Tensor) -> torch.Tensor:
        return drop_path(change, self.drop_path_prob) if self.training else change


class VisionTransformer(nn.Module):
    """Patches and a class token with absolute positions, the layers, and a classifier of the mean over patches.

    Parameters
    ----------
    width
        Of the embedding.
    layers
        Heads and hidden width of the MLP of each.
    num_classes
        Width of the output.
    image_size
        Height and width in pixels for which absolute positions are learned; for another they are interpolated.
    in_channels
        Of the images.
    dropout
        Probability in layers and after positions are added.
    drop_path_prob
        Of dropping what a layer adds; it grows linearly from 0 in the first layer to this in the last.

    Attributes
    ----------
    gradient_checkpointing : bool
        Whether layers are computed again in the backward pass rather than kept, which transformers sets.
    """

    def __init__(
        self,
        width: int,
        layers: list[tuple[int, int]],
        num_classes: int,
        image_size: int,
        in_channels: int,
        dropout: float,
        drop_path_prob: float,
    ) -> None:
        super().__init__()
        self.side = image_size // PATCH
        self.gradient_checkpointing = False
        self.patches = nn.Conv2d(in_channels, width, PATCH, stride=PATCH)
        self.class_token = nn.Parameter(torch.empty(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, 1 + self.side**2, width))
        self.dropout = nn.Dropout(dropout)
        last = max(1, len(layers) - 1)
        self.layers = nn.ModuleList(
            TransformerLayer(width, heads, hidden, dropout, drop_path_prob * i / last)
            for i, (heads, hidden) in enumerate(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, num_classes)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "norm" not in name and not name.startswith("patches"):
                nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, num_classes)`` of images ``(batch, in_channels, height, width)``."""
        grid = self.patches(images)
        rows, columns = grid.shape[2:]
        tokens = torch.cat([self.class_token.expand(grid.shape[0], -1, -1), grid.flatten(2).transpose(1, 2)], 1)
        tokens = self.dropout(tokens + self._positions_of(rows, columns))
        places = token_places(rows, columns, images.device)
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                tokens = checkpoint(layer, tokens, places, use_reentrant=False)
            else:
                tokens = layer(tokens, places)
        return self.classifier(self.norm(tokens)[:, 1:].mean(1))

    def _positions_of(self, rows: int, columns: int) -> torch.Tensor:
        """Absolute positions of the class token and a grid, ``(1, 1 + rows * columns, width)``."""
        if (rows, columns) == (self.side, self.side):
            return self.positions
        grid = self.positions[:, 1:].unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)
        resized = F.interpolate(grid, (rows, columns), mode="bicubic", align_corners=False)
        return torch.cat([self.positions[:, :1], resized.flatten(2).transpose(1, 2)], 1)


def plan(
    architecture: ArchitectureLike,
    num_classes: int | None = None,
    image_size: int = 224,
    in_channels: int = 3,
    dropout: float = 0.0,
    drop_path_prob: float = 0.1,
) -> partial[VisionTransformer]:
    """The transformer with its own absolute positions for an image size; by default for ImageNet-1k.

    ValueError for images smaller than a patch.
    """
    if image_size < PATCH:
        raise ValueError(f"networks of {architecture.space.name} read images from {PATCH} pixels, got {image_size=}")
    slots = architecture.space.slots
    names = [slot.choices[index].name for slot, index in zip(slots, architecture.indices, strict=True)]
    width, depth = int(names[0]), int(names[1])
    ratios, heads = ([float(name) for name in names[start::2][:depth]] for start in (2, 3))
    return partial(
        VisionTransformer,
        width=width,
        layers=[(int(h), int(width * ratio)) for h, ratio in zip(heads, ratios, strict=True)],
        num_classes=num_classes or architecture.space.task("imagenet1k").num_classes,
        image_size=image_size,
        in_channels=in_channels,
        dropout=dropout,
        drop_path_prob=drop_path_prob,
    )


class _PublishedCount:
    """What the authors count beside, or in the place of, products; see the space's ``flops``.

    Linear layers and normalisations read one token more than there are, the classifier reads all of them, and the
    final normalisation is not counted. Products of attention are replaced by their formula, in which those of
    relative positions are ``28 T^2`` a layer whatever the number of heads.
    """

    def __init__(self) -> None:
        self.tokens = 0

    def patches(self, args: tuple[Any, ...], result: torch.Tensor) -> int:
        self.tokens, width = 1 + result[0, 0].numel(), result.shape[1]
        return width + self.tokens * width // 2

    def linear(self, args: tuple[Any, ...], result: torch.Tensor) -> int:
        products = args[2].numel()  # for one token
        if len(result) > 1:
            return products
        return (self.tokens - 1) * products - (self.tokens + 1) * args[2].shape[0]

    def norm(self, args: tuple[Any, ...], result: torch.Tensor) -> int:
        return (self.tokens + 1) * result.shape[-1]

    def product(self, args: tuple[Any, ...], result: torch.Tensor) -> int:
        return -result.numel() * args[0].shape[-1]

    def attention(self, args: tuple[Any, ...], result: torch.Tensor) -> int:
        tokens, width = self.tokens + 1, HEAD_SIZE * result.shape[-3]
        return 2 * tokens**2 * width + 2 * REACH * tokens**2 + tokens**2 // 2 + tokens * width // 2


def extra_operations(task: str) -> dict[Any, Extra]:
    """What the authors count beside products, and the products of attention that they count otherwise."""
    published = _PublishedCount()
    return {
        aten.convolution: published.patches,
        aten.addmm: published.linear,
        aten.native_layer_norm: published.norm,
        aten.bmm: published.product,
        aten._safe_softmax: published.attention,  # of scaled dot-product attention, which is made of parts here
    }
