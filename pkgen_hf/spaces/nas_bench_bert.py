"""NAS-Bench-BERT (Serianni and Kalita, ACL 2023): small text encoders, measured on the tasks of GLUE.

A network has a hidden size and two or four layers, each with an operation that mixes tokens, attention heads, and a
feed-forward part of one or three inner layers. A string is the benchmark's JSON: ``{"hidden_size":128,"layers":[["SA",
"SDP",2,512,1],["DSC",5,4,1024,3]]}``, in a layer the type and parameter of the operation, heads, width and number of
the inner layers.

The networks that were trained differ from their strings: see `NASBenchBERTSpace`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch

from .base import SearchSpace
from .benchmark import Origin, bibtex
from .parts import Choice, Slot, constant
from .registry import register_built_in
from .tasks import Task, TaskLike
from .weight_matrices import Matrix, MatrixTable, WeightMatrices, attention, ravel

OPERATIONS = (
    Choice("SA-SDP", "combination", aggregation="attention"),  # scores of attention are scaled dot products
    Choice("SA-WMA", "linear", aggregation="attention"),  # scores have a weight matrix of their own
    Choice("LT-DFT", "combination", aggregation="spectral"),
    Choice("LT-DCT", "linear", aggregation="spectral"),
    Choice("DSC-5", "convolution", kernel=5, separable=True),
    Choice("DSC-9", "convolution", kernel=9, separable=True),
)
_OPERATION_FIELDS = ('"SA","SDP"', '"SA","WMA"', '"LT","DFT"', '"LT","DCT"', '"DSC",5', '"DSC",9')
HIDDEN_SIZES = (128, 256)
DEPTHS = (2, 4)
HEADS = (2, 4)
FF_WIDTHS = (512, 1024)
FF_LAYERS = (1, 3)
FIELDS = ("operation", "ff_layers", "ff_dim", "heads")  # of a layer, as slots; a string has them in another order
VOCABULARY, POSITIONS, SEGMENTS, EMBEDDING_SIZE = 30_522, 512, 2, 128
SEQUENCE_LENGTH = 128  # tokens of an example for which multiply-adds are counted: that of the pre-training
GLUE = {
    "cola": Task("text-classification", chance_score=0.0, num_classes=2),  # Matthews correlation
    "mnli": Task("text-classification", chance_score=100 / 3, num_classes=3),
    "mrpc": Task("text-classification", chance_score=50.0, num_classes=2),
    "qnli": Task("text-classification", chance_score=50.0, num_classes=2),
    "qqp": Task("text-classification", chance_score=50.0, num_classes=2),
    "rte": Task("text-classification", chance_score=50.0, num_classes=2),
    "sst": Task("text-classification", chance_score=50.0, num_classes=2),
    "sts": Task("text-regression", chance_score=0.0, num_classes=1),  # correlation
}
# The average has no classifier of its own, so its costs are those of the encoder, as in the benchmark.
AVERAGE = Task("text-classification", sum(task.chance_score for task in GLUE.values()) / len(GLUE), num_classes=0)
ORIGIN = Origin(
    "NAS-Bench-BERT",
    "Scores on the development sets of GLUE, x 100, of encoders that were each pre-trained for 100,000 steps and then "
    "fine-tuned once for each task; accuracies but for cola (Matthews correlation), sts (correlation) and glue, the "
    "plain mean of the eight. The operation that a string names had no effect on what was trained.",
    "https://github.com/aaronserianni/training-free-nas",
    "cc-by-4.0",
    bibtex(
        "inproceedings",
        "serianni2023training",
        "Training-free Neural Architecture Search for {RNN}s and Transformers",
        "Serianni, Aaron and Kalita, Jugal",
        "Annual Meeting of the Association for Computational Linguistics",
        2023,
    ),
)


def inner_widths(hidden: int, ff_dim: int, ff_layers: int) -> tuple[int, ...]:
    """Widths of the inner layers of a feed-forward part as it was trained: the first is 4 x hidden, not ff_dim."""
    return (4 * hidden, *[ff_dim] * (ff_layers - 1))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class NASBenchBERTSpace(SearchSpace):
    """Hidden size, number of layers, and for each layer operation, heads, number and width of inner layers.

    In the benchmark's training every layer is scaled dot-product attention, whatever operation its string names; and
    of the feed-forward part the first inner layer has the width 4 x hidden_size, so that ff_dim has an effect only on
    the second and third of three. Networks, costs and the canonical form are those of what
    was trained: operations, and ff_dim where there is one inner layer, have no effect, and have their first choice in
    canonical rows. Of the networks of 10,621,440 strings 2,664 are distinct.

    Removing an operation leaves the smallest there is: two layers of two heads and one inner layer, hidden size 128.
    """

    summary = "text encoder of 2 or 4 layers"
    origin = ORIGIN

    def __init__(self) -> None:
        slots = [
            Slot("hidden_size", "width", _sizes(HIDDEN_SIZES), (0,), 1),
            Slot("num_layers", "depth", _sizes(DEPTHS), (0,), 1),
        ]
        for layer in range(1, max(DEPTHS) + 1):
            exists = None if layer <= min(DEPTHS) else ("num_layers", tuple(str(d) for d in DEPTHS if d >= layer))
            name, reads, writes = f"layer {layer}", (layer,), layer + 1
            deep = (f"{name} ff_layers", tuple(str(n) for n in FF_LAYERS if n > 1))
            slots += [
                Slot(f"{name} operation", "operation", OPERATIONS, reads, writes, active_if=("hidden_size", ())),
                Slot(f"{name} ff_layers", "depth", _sizes(FF_LAYERS), reads, writes, active_if=exists),
                Slot(f"{name} ff_dim", "expansion", _sizes(FF_WIDTHS), reads, writes, active_if=deep),
                Slot(f"{name} heads", "width", _sizes(HEADS), reads, writes, active_if=exists),
            ]
        smallest = (HIDDEN_SIZES, DEPTHS, HEADS, FF_WIDTHS, FF_LAYERS)
        nulls = dict.fromkeys(str(min(sizes)) for sizes in smallest)
        super().__init__("nas-bench-bert", slots, {"glue": AVERAGE, **GLUE}, null_choice=tuple(nulls))

    @cached_property
    def num_architectures(self) -> int:
        """Number of networks that differ as they were trained: six layers of each hidden size, two or four of them."""
        kinds = len(HEADS) * (1 + len(FF_WIDTHS))
        return len(HIDDEN_SIZES) * sum(kinds**depth for depth in DEPTHS)

    def input_shape(self, task: TaskLike, image_size: int | None = None, **scale: Any) -> tuple[int, ...]:
        """The tokens of one text: 128, or as many as there are ``positions``."""
        return (min(SEQUENCE_LENGTH, scale.get("positions", POSITIONS)),)

    # ------------------------------------------------------------------ strings

    def split_string(self, text: str) -> list[str]:
        values = self._decisions(text, ("hidden_size", "layers"))
        layers = self._list(text, "layers", values["layers"], *DEPTHS)
        names = [repr(values["hidden_size"]), str(len(layers))]
        for number, layer in enumerate(layers, 1):
            match layer:
                case [str() as kind, str() | int() as parameter, heads, ff_dim, ff_layers]:
                    operation = f"{kind}-{parameter}" if isinstance(parameter, str) or _is_whole(parameter) else kind
                    names += [operation, repr(ff_layers), repr(ff_dim), repr(heads)]
                case _:
                    fields = "operation_type, operation_parameter, heads, ff_dim, ff_layers"
                    raise self.malformed(text, f"layer {number} is no list of {fields}")
        # Layers that do not exist have the first choices.
        return names + [slot.choices[0].name for slot in self.slots[len(names) :]]

    def to_strings(self, indices: torch.Tensor) -> list[str]:
        rows = indices.cpu().numpy()
        layers = rows[:, 2:].reshape(len(rows), max(DEPTHS), len(FIELDS))
        texts = _LAYER_TEXTS[tuple(np.moveaxis(layers, 2, 0))]
        few = texts[:, 0]
        for layer in range(1, min(DEPTHS)):
            few = few + "," + texts[:, layer]
        many = few
        for layer in range(min(DEPTHS), max(DEPTHS)):
            many = many + "," + texts[:, layer]
        start = np.array([f'{{"hidden_size":{size},"layers":[' for size in HIDDEN_SIZES], dtype=object)[rows[:, 0]]
        return (start + np.where(rows[:, 1] == 0, few, many) + "]}").tolist()

    @property
    def example(self) -> str:
        return '{"hidden_size":128,"layers":[["SA","SDP",2,512,1],["DSC",5,4,1024,3]]}'

    # ------------------------------------------------------------------ networks and their costs

    def trained_layers(self, row: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
        """Of each layer of one network as it was trained: heads, and widths of the inner layers."""
        hidden, depth = HIDDEN_SIZES[row[0]], DEPTHS[row[1]]
        layers = [row[start : start + len(FIELDS)] for start in range(2, 2 + depth * len(FIELDS), len(FIELDS))]
        return [(HEADS[h], inner_widths(hidden, FF_WIDTHS[width], FF_LAYERS[n])) for _, n, width, h in layers]

    def _look_up(self, indices: torch.Tensor, table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What a table says of each layer, ``(batch, layers, ...)``, and which exist, ``BoolTensor (batch, layers)``.

        A table is over hidden sizes, numbers and widths of inner layers, and heads.
        """
        _, number, width, heads = indices[:, 2:].unflatten(1, (-1, len(FIELDS))).unbind(2)
        depths = torch.tensor(DEPTHS, device=indices.device)[indices[:, 1:2]]
        exists = torch.arange(max(DEPTHS), device=indices.device) < depths
        return table.to(indices.device)[indices[:, :1], number, width, heads], exists

    def _sum_layers(self, indices: torch.Tensor, which: int) -> torch.Tensor:
        """A cost of all layers that exist, ``LongTensor (batch,)``."""
        costs, exists = self._look_up(indices, self._layer_costs)
        return (costs[..., which] * exists).sum(1)

    def weight_matrices(self, indices: torch.Tensor, task: TaskLike | None = None) -> WeightMatrices:
        _, number, width, heads = indices[:, 2:].unflatten(1, (-1, len(FIELDS))).unbind(2)
        hidden, depths = indices[:, :1], torch.tensor(DEPTHS, device=indices.device)[indices[:, 1:2]]
        exists = torch.arange(max(DEPTHS), device=indices.device) < depths
        layers = torch.where(exists, len(HIDDEN_SIZES) + ravel(_LAYER_SHAPE, hidden, number, width, heads), -1)
        return _matrices(self.task(task or "glue").num_classes).total(torch.cat([hidden, layers], dim=1))

    @cached_property
    @constant
    def _layer_costs(self) -> torch.Tensor:
        """Parameters and multiply-adds, ``LongTensor (hidden sizes, numbers, widths of inner layers, heads, 2)``."""
        table = torch.zeros(*_LAYER_SHAPE, 2, dtype=torch.long)
        for place in itertools.product(*map(range, _LAYER_SHAPE)):
            hidden, _, widths = _layer(*place)
            maps = [(hidden, hidden)] * 4 + list(itertools.pairwise(widths))
            weights = sum(inputs * outputs for inputs, outputs in maps)
            biases = sum(outputs for _, outputs in maps)
            table[place][0] = weights + biases + 4 * hidden  # two normalisations of two vectors each
            table[place][1] = SEQUENCE_LENGTH * weights + 2 * SEQUENCE_LENGTH**2 * hidden
        return table

    def _head(self, indices: torch.Tensor, task: TaskLike | None) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Hidden sizes, weights of the two linear maps of the classifier, ``(batch,)`` each, and number of classes."""
        classes = self.task(task or "glue").num_classes
        hidden = torch.tensor(HIDDEN_SIZES, device=indices.device)[indices[:, 0]]
        return hidden, (hidden * hidden + classes * hidden) * (classes > 0), classes

    def parameters(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Exact: embeddings of tokens, positions and segments, layers, and the classifier of a task but ``glue``.

        For ``glue``, and without a task, they are those of the encoder alone, which the benchmark counts.
        """
        hidden, head, classes = self._head(indices, task)
        embeddings = (VOCABULARY + POSITIONS + SEGMENTS + 2) * EMBEDDING_SIZE
        projection = (EMBEDDING_SIZE + 1) * hidden * (hidden != EMBEDDING_SIZE)
        biases = (hidden + classes) * (classes > 0)
        return embeddings + projection + self._sum_layers(indices, 0) + head + biases

    def flops(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Multiply-adds of one text of 128 tokens: linear maps, attention, and the classifier of a task."""
        hidden, head, _ = self._head(indices, task)
        projection = SEQUENCE_LENGTH * EMBEDDING_SIZE * hidden * (hidden != EMBEDDING_SIZE)
        return projection + self._sum_layers(indices, 1) + head


_LAYER_SHAPE = (len(HIDDEN_SIZES), len(FF_LAYERS), len(FF_WIDTHS), len(HEADS))


def _sizes(values: Sequence[int]) -> tuple[Choice, ...]:
    """Choices of two sizes."""
    return tuple(Choice(str(value), "size", level=float(k)) for k, value in enumerate(values))


def _layer(h: int, n: int, d: int, a: int) -> tuple[int, int, tuple[int, ...]]:
    """Hidden size, heads, and widths from the input to the output of the feed-forward part, of choices of a layer."""
    hidden = HIDDEN_SIZES[h]
    return hidden, HEADS[a], (hidden, *inner_widths(hidden, FF_WIDTHS[d], FF_LAYERS[n]), hidden)


@cache
@constant
def _matrices(classes: int) -> MatrixTable:
    """Of classifiers by the hidden size, and of layers in a table of the shape `_LAYER_SHAPE`."""
    parts: list[list[Matrix]] = [
        [(hidden, hidden, 1), (classes, hidden, 1)] if classes else [] for hidden in HIDDEN_SIZES
    ]
    for place in itertools.product(*map(range, _LAYER_SHAPE)):
        hidden, heads, widths = _layer(*place)
        inner = [(outputs, inputs, 1) for inputs, outputs in itertools.pairwise(widths)]
        parts.append(attention(hidden, hidden // heads, heads) + inner)
    return MatrixTable(parts)


def _layer_texts() -> np.ndarray:
    """What a string says of each layer, object array over the choices of `FIELDS`."""
    texts = np.empty((len(OPERATIONS), len(FF_LAYERS), len(FF_WIDTHS), len(HEADS)), dtype=object)
    for o, n, d, h in np.ndindex(texts.shape):
        texts[o, n, d, h] = f"[{_OPERATION_FIELDS[o]},{HEADS[h]},{FF_WIDTHS[d]},{FF_LAYERS[n]}]"
    return texts


_LAYER_TEXTS = _layer_texts()
register_built_in(NASBenchBERTSpace())
