"""HW-GPT-Bench (Sukthanker et al., NeurIPS 2024): decoder language models of three sizes.

A network has a width, a number of layers, biases or not, and in each layer a number of heads and the width of its MLP
relative to its own. The string is a JSON object whose lists have an entry for each layer:
``{"embed_dim":192,"num_layers":10,"heads":[4,8,...],"mlp_ratio":[2,4,...],"bias":false}``. The benchmark's records,
with keys such as ``sample_n_layer`` and lists as long as the deepest network, are read, too.

The evaluated network is that of `pkgen_hf.networks.hw_gpt_bench`; the one whose latency and energy were measured is
another, see `HWGPTBenchSpace.profiled_costs`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch

from ..errors import unknown
from .base import SearchSpace
from .benchmark import Origin, bibtex
from .parts import Choice, Slot, constant
from .registry import register_built_in
from .strings import join_columns
from .tasks import Task, TaskLike
from .weight_matrices import MatrixTable, WeightMatrices, attention, ravel

HEAD = 64  # width of a head
CONTEXT = 1_024  # tokens
VOCABULARY = 50_304  # GPT-2's and a padding token, rounded up to a multiple of 128
PROFILED_VOCABULARY = 50_254
RATIOS = (2, 3, 4)
TASKS = {"openwebtext": Task("language-modelling", chance_score=-math.log(VOCABULARY), num_classes=VOCABULARY)}
KEYS = ("embed_dim", "num_layers", "heads", "mlp_ratio", "bias")
_RECORD_KEYS = dict(
    zip(("sample_embed_dim", "sample_n_layer", "sample_n_head", "sample_mlp_ratio", "sample_bias"), KEYS, strict=True)
)
_GLOBAL = 3  # slots before those of layers
_TRUTH = {"False": "false", "True": "true", "'False'": "false", "'True'": "true"}  # some records have texts
_CITATION = bibtex(
    "inproceedings",
    "sukthanker2024hwgptbench",
    "{HW-GPT-Bench}: Hardware-Aware Architecture Benchmark for Language Models",
    "Sukthanker, Rhea Sanjay and Zela, Arber and Staffler, Benedikt and Klein, Aaron and Purucker, Lennart and "
    'Franke, J{\\"o}rg K. H. and Hutter, Frank',
    "Advances in Neural Information Processing Systems, Datasets and Benchmarks Track",
    2024,
)
_MEASURED = (
    "Less the logarithm of perplexity, in nats per token, and accuracy of the next token in percent, of networks with "
    "weights cut from one supernet, without training of their own, on documents of OpenWebText on which the supernet "
    "was trained."
)
_LATENCIES = (
    "Latencies in milliseconds of a forward pass of 1,024 tokens in batches of 8 (space S), 4 (M) or 1 (L) on 8 GPUs "
    "and 6 CPUs, medians of the stored repeats, and where measured energies in watt-hours. The networks that were "
    "measured are not quite those that were evaluated: they have gated MLPs of three matrices and an output layer of "
    "their own."
)


class Scale(NamedTuple):
    """What the networks of one of the three spaces choose from."""

    widths: tuple[int, ...]
    layers: tuple[int, ...]
    heads: tuple[int, ...]


SCALES = {
    "hw-gpt-bench-s": Scale((192, 384, 768), (10, 11, 12), (4, 8, 12)),
    "hw-gpt-bench-m": Scale((256, 512, 1024), (22, 23, 24), (8, 12, 16)),
    "hw-gpt-bench-l": Scale((320, 640, 1280), (34, 35, 36), (8, 16, 20)),
}


class Sizes(NamedTuple):
    """What costs follow from, ``LongTensor (batch,)`` each: heads and ratios are sums over the layers there are."""

    width: torch.Tensor
    layers: torch.Tensor
    has_bias: torch.Tensor
    heads: torch.Tensor
    ratios: torch.Tensor


class Decoder(NamedTuple):
    """One network in plain numbers; heads and MLP ratios of each layer from the input on."""

    width: int
    heads: list[int]
    ratios: list[int]
    bias: bool


def _sizes(values: Sequence[int]) -> tuple[Choice, ...]:
    return tuple(Choice(str(value), "size", level=k / (len(values) - 1)) for k, value in enumerate(values))


@cache
@constant
def _matrices(choices: Scale) -> MatrixTable:
    """Of layers, ``(widths, heads, ratios)``."""
    parts = [
        [*attention(width, HEAD, heads), (ratio * width, width, 1), (width, ratio * width, 1)]
        for width, heads, ratio in itertools.product(choices.widths, choices.heads, RATIOS)
    ]
    return MatrixTable(parts)


class HWGPTBenchSpace(SearchSpace):
    """Width, number of layers and bias of the network, then heads and MLP ratio of each layer.

    Slots of layers that are not there have no effect; nothing else makes two networks equal, and all are valid.
    Removing a decision leaves the smallest choice.

    Parameters
    ----------
    name
        One of `SCALES`.
    """

    context = CONTEXT

    def __init__(self, name: str) -> None:
        self.choices = SCALES[name]
        widths, layers, heads = self.choices
        self.deepest = layers[-1]
        self.summary = f"decoder language model, {layers[0]} to {self.deepest} layers"
        others = tuple(other for other in SCALES if other != name)
        url = "https://github.com/automl/HW-GPT-Bench"
        title = f"HW-GPT-Bench, space {name[-1].upper()}"
        self.origin = Origin(title, _MEASURED, url, "apache-2.0", _CITATION, measured_with=others)
        self.latencies = {f"{name}-hardware": Origin(f"{title}, hardware", _LATENCIES, url, "apache-2.0", _CITATION)}
        ratios = tuple(
            Choice(str(ratio), "size", expansion=ratio, level=k / (len(RATIOS) - 1)) for k, ratio in enumerate(RATIOS)
        )
        slots = [
            Slot("embed_dim", "width", _sizes(widths), (0,), 1),
            Slot("num_layers", "depth", _sizes(layers), (0,), 1),
            Slot("bias", "gate", (Choice("false", "zero"), Choice("true", "size", level=1.0)), (0,), 1),
        ]
        for layer in range(1, self.deepest + 1):
            deep_enough = tuple(str(number) for number in layers if number >= layer)
            condition = None if layer <= layers[0] else ("num_layers", deep_enough)
            slots += [
                Slot(f"layer {layer} heads", "width", _sizes(heads), (layer,), layer + 1, active_if=condition),
                Slot(f"layer {layer} mlp_ratio", "expansion", ratios, (layer,), layer + 1, active_if=condition),
            ]
        smallest = [str(values[0]) for values in (*self.choices, RATIOS)]
        super().__init__(name, slots, TASKS, null_choice=[*smallest, "false"])

    @property
    def num_architectures(self) -> int:
        """Those of each number of layers, of which each has heads and a ratio."""
        a_layer = len(self.choices.heads) * len(RATIOS)
        return len(self.choices.widths) * 2 * sum(a_layer**number for number in self.choices.layers)

    def input_shape(self, task: TaskLike, image_size: int | None = None, **scale: Any) -> tuple[int, ...]:
        """A text of as many tokens as the context has."""
        return (scale.get("context", CONTEXT),)

    # ------------------------------------------------------------------ strings

    def split_string(self, text: str) -> list[str]:
        values = self._decisions(text, KEYS, _RECORD_KEYS)
        # repr, so that neither "12" nor 12.0 is taken for 12, nor 1 for true
        width, depth, bias = (repr(values[name]) for name in ("embed_dim", "num_layers", "bias"))
        if depth not in self.choice_index[1]:
            raise unknown(f"choice in slot 'num_layers' of {self.name}", depth, self.choice_index[1], text)
        heads, ratios = (self._of_layers(values[name], name, int(depth), text) for name in ("heads", "mlp_ratio"))
        layers = [name for pair in zip(heads, ratios, strict=True) for name in pair]
        return [width, depth, _TRUTH.get(bias, bias), *layers]

    def _of_layers(self, values: Any, name: str, depth: int, text: str) -> list[str]:
        """Names of choices of every layer, the first choice's of those that are not there."""
        values = self._list(text, name, values, *sorted({depth, self.deepest}))
        first = str(RATIOS[0] if name == "mlp_ratio" else self.choices.heads[0])
        return [*map(repr, values[:depth]), *[first] * (self.deepest - depth)]

    def to_strings(self, indices: torch.Tensor) -> list[str]:
        active = self.active_slots(indices).cpu().numpy()
        names = self.choice_names[np.arange(self.num_slots)[None, :], indices.cpu().numpy()]
        names = np.where(active, names, "")
        names[:, _GLOBAL + 2 :] = np.where(active[:, _GLOBAL + 2 :], ",", "") + names[:, _GLOBAL + 2 :]
        heads, ratios = names[:, _GLOBAL::2], names[:, _GLOBAL + 1 :: 2]
        columns = np.concatenate([names[:, :2], heads, ratios, names[:, 2:3]], axis=1)
        inner = [""] * (self.deepest - 1)
        before = ['{"embed_dim":', ',"num_layers":', ',"heads":[', *inner, '],"mlp_ratio":[', *inner, '],"bias":']
        return join_columns(columns, before, "}").tolist()

    def decoder(self, indices: torch.Tensor) -> Decoder:
        """The network of one row, ``LongTensor (1, slots)``."""
        (row,) = indices.tolist()
        width, depth = self.choices.widths[row[0]], self.choices.layers[row[1]]
        layers = row[_GLOBAL : _GLOBAL + 2 * depth]
        heads = [self.choices.heads[k] for k in layers[::2]]
        return Decoder(width, heads, [RATIOS[k] for k in layers[1::2]], bool(row[2]))

    # ------------------------------------------------------------------ costs

    def sizes_of(self, indices: torch.Tensor) -> Sizes:
        """Width, number of layers, bias, and sums of heads and of MLP ratios of networks ``(batch, slots)``."""
        widths, depths, heads, ratios = (
            torch.tensor(values, device=indices.device) for values in (*self.choices, RATIOS)
        )
        layers = depths[indices[:, 1]]
        there = torch.arange(self.deepest, device=indices.device) < layers[:, None]  # (batch, layers)
        return Sizes(
            widths[indices[:, 0]],
            layers,
            indices[:, 2],
            (heads[indices[:, _GLOBAL::2]] * there).sum(1),
            (ratios[indices[:, _GLOBAL + 1 :: 2]] * there).sum(1),
        )

    def _products(self, indices: torch.Tensor, matrices: int) -> torch.Tensor:
        """Weights of all linear maps but the output layer, where an MLP has so many matrices."""
        width, _, _, heads, ratios = self.sizes_of(indices)
        return 4 * width * HEAD * heads + matrices * width**2 * ratios

    def non_embedding_parameters(self, indices: torch.Tensor) -> torch.Tensor:
        """Exact, without the embeddings of tokens, which the output layer shares, ``LongTensor (batch,)``."""
        width, layers, has_bias, heads, ratios = self.sizes_of(indices)
        biases = 3 * HEAD * heads + width * (2 * layers + ratios)
        return self._products(indices, 2) + (4 * layers + 2) * width + has_bias * biases

    def parameters(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Exact: the embeddings of tokens and all else."""
        embeddings = self.task(task or "openwebtext").num_classes * self.sizes_of(indices).width
        return embeddings + self.non_embedding_parameters(indices)

    def flops(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Multiply-adds per token of linear maps, the output layer included, as the benchmark counts them.

        Products within attention, which grow with the context, are not counted; see `flops_at_context`.
        """
        output = self.task(task or "openwebtext").num_classes * self.sizes_of(indices).width
        return output + self._products(indices, 2)

    def flops_at_context(
        self, indices: torch.Tensor, context: int = CONTEXT, task: TaskLike | None = None
    ) -> torch.Tensor:
        """Multiply-adds per token that attends to `context` tokens, itself included, ``LongTensor (batch,)``.

        `flops`, and of each head the products of its query with `context` keys and of weights with as many values.
        """
        return self.flops(indices, task) + context * self.kv_cache_elements(indices)

    def weight_matrices(self, indices: torch.Tensor, task: TaskLike | None = None) -> WeightMatrices:
        exists = torch.arange(self.deepest, device=indices.device) < self.sizes_of(indices).layers[:, None]
        shape = (len(self.choices.widths), len(self.choices.heads), len(RATIOS))
        numbers = ravel(shape, indices[:, :1], indices[:, _GLOBAL::2], indices[:, _GLOBAL + 1 :: 2])
        return _matrices(self.choices).total(torch.where(exists, numbers, -1))

    def kv_cache_elements(self, indices: torch.Tensor) -> torch.Tensor:
        """Numbers that generation keeps for each token of a text: keys and values, ``LongTensor (batch,)``."""
        return 2 * HEAD * self.sizes_of(indices).heads

    def profiled_costs(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Parameters, and multiply-adds per token, of the network whose latency and energy the benchmark measured.

        It has gated MLPs of three matrices, an output layer of its own and a vocabulary of `PROFILED_VOCABULARY`.

        Returns
        -------
        LongTensor (batch,), LongTensor (batch,)
        """
        width, layers, has_bias, heads, ratios = self.sizes_of(indices)
        products, output = self._products(indices, 3), PROFILED_VOCABULARY * width
        biases = 3 * HEAD * heads + 2 * width * (layers + ratios)
        return 2 * output + products + (4 * layers + 2) * width + has_bias * biases, output + products


for _name in SCALES:
    register_built_in(HWGPTBenchSpace(_name))
