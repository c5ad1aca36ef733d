"""AutoFormer (Chen et al., ICCV 2021): vision transformers whose layers have heads and MLPs of their own sizes.

One width holds for all layers, and layers beyond the depth do not exist. A string is a JSON object, its lists as long
as the network is deep: ``{"embed_dim":192,"depth":12,"mlp_ratio":[3.5,4.0,...],"num_heads":[3,4,...]}``. Of longer
lists, as records of the supernet have them, the first `depth` entries are read.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch

from .base import SearchSpace
from .benchmark import Origin, bibtex
from .parts import Choice, Slot, constant
from .registry import register_built_in
from .tasks import Task, TaskLike
from .training import IMAGENET
from .weight_matrices import Matrix, MatrixTable, WeightMatrices, attention, ravel

PATCH = 16  # pixels
HEAD_SIZE = 64
REACH = 14  # patches: relative positions farther apart in a row or a column share an embedding
RELATIVE_POSITIONS = 2 * REACH + 2  # of each direction: -REACH to REACH, and one for pairs with the class token
KEYS = ("embed_dim", "depth", "mlp_ratio", "num_heads")
TASKS = {"imagenet1k": Task("image-classification", chance_score=0.1, num_classes=1000, image_size=224)}


@dataclass(frozen=True)
class Sizes:
    """What the layers of a space may be.

    Attributes
    ----------
    widths
        Of the embedding of a patch.
    depths
        Numbers of layers.
    ratios
        Hidden width of an MLP over the embedding's.
    heads
        Of attention, 64 wide each whatever the width.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    ratios: tuple[float, ...]
    heads: tuple[int, ...]


SIZES = {
    "autoformer-tiny": Sizes((192, 216, 240), (12, 13, 14), (3.5, 4.0), (3, 4)),
    "autoformer-small": Sizes((320, 384, 448), (12, 13, 14), (3.0, 3.5, 4.0), (5, 6, 7)),
    "autoformer-base": Sizes((528, 576, 624), (14, 15, 16), (3.0, 3.5, 4.0), (9, 10)),
}


def _origin(name: str) -> Origin:
    return Origin(
        f"{name.title().replace('former', 'Former')}, accuracies of OoD-ViT-NAS",
        "Accuracies on the validation images of ImageNet-1k with weights that are inherited from the supernet: no "
        "network was trained by itself. The table has no licence and serves for evaluation only.",
        "https://github.com/vovantuan1999a/OoD-ViT-NAS",
        "unknown",
        bibtex(
            "inproceedings",
            "ho2024vision",
            "Vision Transformer Neural Architecture Search for Out-of-Distribution Generalization: "
            "Benchmark and Insights",
            "Ho, Sy-Tuyen and Vo, Tuan Van and Ebrahimkhani, Somayeh and Cheung, Ngai-Man",
            "Advances in Neural Information Processing Systems",
            2024,
        ),
        measured_with=tuple(other for other in SIZES if other != name),
        evaluation_only=True,
    )


def _levels(values: tuple[float, ...]) -> list[tuple[float, float]]:
    """Each value with its position on the slot's scale."""
    return [(value, k / (len(values) - 1)) for k, value in enumerate(values)]


@cache
@constant
def _matrices(sizes: Sizes, classes: int) -> MatrixTable:
    """Of the classifier by the width; after them of layers, ``(widths, ratios, heads)``."""
    parts: list[list[Matrix]] = [[(classes, width, 1)] for width in sizes.widths]
    for width, ratio, heads in itertools.product(sizes.widths, sizes.ratios, sizes.heads):
        hidden = int(width * ratio)
        parts.append([*attention(width, HEAD_SIZE, heads), (hidden, width, 1), (width, hidden, 1)])
    return MatrixTable(parts)


class AutoFormerSpace(SearchSpace):
    """Width, depth, and the MLP ratio and heads of every layer; no two networks are alike.

    Removing an operation leaves the smallest there is.

    Parameters
    ----------
    name
        One of `SIZES`.
    """

    def __init__(self, name: str) -> None:
        self.layers = SIZES[name]
        self.summary = f"vision transformer, {self.layers.depths[0]} to {self.layers.depths[-1]} layers"
        self.origin = _origin(name)
        # As Chen et al. train the supernet, section 4.1 (the recipe of Touvron et al., ICML 2021), without its
        # RandAugment, mixup, CutMix and random erasing.
        self.presets = {
            f"{name}-imagenet": IMAGENET
            | {
                "num_train_epochs": 500,
                "lr_warmup_epochs": 20,
                "optimizer": "adamw",
                "learning_rate": 1e-3,
                "lr_scheduler": "cosine",
                "weight_decay": 0.05,
            }
        }
        sizes = self.layers
        widths, depths, heads = (
            tuple(Choice(str(value), "size", level=level) for value, level in _levels(values))
            for values in (sizes.widths, sizes.depths, sizes.heads)
        )
        ratios = tuple(Choice(f"{r:g}", "size", expansion=r, level=level) for r, level in _levels(sizes.ratios))
        slots = [Slot("embed_dim", "width", widths, (0,), 1), Slot("depth", "depth", depths, (0,), 1)]
        for layer in range(1, max(sizes.depths) + 1):
            deep = tuple(str(depth) for depth in sizes.depths if depth >= layer)
            condition = ("depth", deep) if len(deep) < len(depths) else None
            reads, writes = (layer,), layer + 1
            slots += [
                Slot(f"layer {layer} mlp_ratio", "expansion", ratios, reads, writes, active_if=condition),
                Slot(f"layer {layer} num_heads", "width", heads, reads, writes, active_if=condition),
            ]
        smallest = (widths[0].name, depths[0].name, ratios[0].name, heads[0].name)
        super().__init__(name, slots, TASKS, null_choice=smallest)

    @cached_property
    def num_architectures(self) -> int:
        """One for each width, depth and choice of the layers that this depth has."""
        in_layer = len(self.layers.ratios) * len(self.layers.heads)
        return len(self.layers.widths) * sum(in_layer**depth for depth in self.layers.depths)

    def image_sizes(self, task: Task) -> tuple[int, int]:
        return PATCH, 1

    # ------------------------------------------------------------------ strings

    def split_string(self, text: str) -> list[str]:
        values = self._decisions(text, KEYS)
        names = [repr(values["embed_dim"]), repr(values["depth"])]
        if names[1] not in self.choice_index[1]:
            return [*names, *[""] * (self.num_slots - 2)]  # the caller says which depths are allowed
        depth = values["depth"]
        ratios, numbers = (self._list(text, key, values[key], depth, longer=True)[:depth] for key in KEYS[2:])
        for ratio, heads in zip(ratios, numbers, strict=True):
            names += [repr(ratio).removesuffix(".0"), repr(heads)]  # 4 and 4.0 are one ratio
        return names + [slot.choices[0].name for slot in self.slots[len(names) :]]

    def to_strings(self, indices: torch.Tensor) -> list[str]:
        indices = indices.cpu()
        texts = self._texts[np.arange(self.num_slots)[None, :], indices.numpy()]
        texts[~self.active_slots(indices).numpy()] = ""
        return (
            f'{{"{KEYS[0]}":' + texts[:, 0] + f',"{KEYS[1]}":' + texts[:, 1]
            + f',"{KEYS[2]}":[' + texts[:, 2::2].sum(1) + f'],"{KEYS[3]}":[' + texts[:, 3::2].sum(1) + "]}"
        ).tolist()  # fmt: skip

    @cached_property
    def _texts(self) -> np.ndarray:
        """What a string says of each choice, object array (slots, choices), with a comma between layers."""
        texts = self.choice_names.copy()
        for s, slot in enumerate(self.slots):
            comma = "," if s > 3 else ""
            for k, choice in enumerate(slot.choices):
                value = float(choice.name) if slot.kind == "expansion" else choice.name
                texts[s, k] = f"{comma}{value}"
        return texts

    # ------------------------------------------------------------------ costs

    @cached_property
    @constant
    def _values(self) -> torch.Tensor:
        """Widths, depths, heads of every choice, and 0 for MLP ratios, ``LongTensor (slots, choices)``."""
        values = torch.zeros(self.num_slots, self.num_choices, dtype=torch.long)
        for s, slot in enumerate(self.slots):
            if slot.kind != "expansion":
                values[s, : len(slot.choices)] = torch.tensor([int(choice.name) for choice in slot.choices])
        return values

    @cached_property
    @constant
    def _hidden(self) -> torch.Tensor:
        """Hidden widths of MLPs, ``LongTensor (widths, ratios)``."""
        return torch.tensor([[int(width * ratio) for ratio in self.layers.ratios] for width in self.layers.widths])

    def _dimensions(self, indices: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Width and depth, and widths of attention and MLP summed over layers, ``LongTensor (batch,)`` each."""
        values = self._values.to(indices.device)[torch.arange(self.num_slots, device=indices.device), indices]
        exists = self.active_slots(indices)
        attention = HEAD_SIZE * (values * exists)[:, 3::2].sum(1)
        hidden = self._hidden.to(indices.device)[indices[:, :1], indices[:, 2::2]]
        return values[:, 0], values[:, 1], attention, (hidden * exists[:, 2::2]).sum(1)

    def weight_matrices(self, indices: torch.Tensor, task: TaskLike | None = None) -> WeightMatrices:
        classes, sizes = self.task(task or "imagenet1k").num_classes, self.layers
        width, ratios, heads = indices[:, :1], indices[:, 2::2], indices[:, 3::2]
        numbers = ravel((len(sizes.widths), len(sizes.ratios), len(sizes.heads)), width, ratios, heads)
        layers = torch.where(self.active_slots(indices)[:, 3::2], len(sizes.widths) + numbers, -1)
        return _matrices(sizes, classes).total(torch.cat([width, layers], dim=1))

    def parameters(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Exact: patches, class token, absolute positions, layers with relative positions, and the classifier."""
        scale = self.task(task or "imagenet1k")
        width, depth, attention, hidden = self._dimensions(indices)
        patches = (scale.image_size // PATCH) ** 2
        embedding = PATCH**2 * scale.in_channels * width + width + (patches + 2) * width
        norms = (4 * depth + 2) * width
        projections = 4 * width * attention + 3 * attention + depth * width
        mlps = 2 * width * hidden + hidden + depth * width
        relative = depth * 4 * RELATIVE_POSITIONS * HEAD_SIZE  # of keys and values, in rows and columns
        classifier = (width + 1) * scale.num_classes
        return embedding + norms + projections + mlps + relative + classifier

    def flops(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Multiply-adds equal to the published ones, which follow the authors' own count.

        It has the layers read one token more than there are, and the classifier read every token.
        Besides products it counts a bias and half of the absolute positions for the embedding, the values that the
        layers' normalisations return, and for relative positions ``T^2 / 2 + T a / 2 + 28 T^2`` a layer, of T tokens
        and an attention a wide.
        """
        scale = self.task(task or "imagenet1k")
        width, depth, attention, hidden = self._dimensions(indices)
        patches = (scale.image_size // PATCH) ** 2
        tokens = patches + 2
        embedding = patches * PATCH**2 * scale.in_channels * width + width + (patches + 1) * width // 2
        linear = tokens * (4 * width * attention + 2 * width * hidden)
        products = 2 * tokens**2 * attention
        norms = 2 * depth * tokens * width
        relative = depth * (2 * REACH * tokens**2 + tokens**2 // 2) + tokens * attention // 2
        classifier = (patches + 1) * width * scale.num_classes
        return embedding + linear + products + norms + relative + classifier


for _name in SIZES:
    register_built_in(AutoFormerSpace(_name))
