"""TransNAS-Bench-101 (Duan et al., CVPR 2021): a cell space and a macro space, measured on seven vision tasks.

A micro string is ``64-41414-a_bc_def``: stem width, the fixed macro skeleton, and the operations of the six edges,
node by node. A macro string is ``64-<4 to 6 digits>-basic``: what each module of two residual blocks does.

A network is a stem of two convolutions that divides the resolution by 4, the modules, and what the task needs: a
linear layer for the two classifications and the room layout; the same for the puzzle, of the features of its 9 tiles;
14 convolutions that lead back to the full resolution for images, 8 for segmentation.
"""

from __future__ import annotations

import re
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch

from .base import SearchSpace
from .benchmark import Origin, bibtex
from .nas_bench_201 import FourNodeCellSpace, reduction
from .parts import Choice, Slot, constant
from .registry import register_built_in
from .tasks import Task, TaskLike
from .weight_matrices import Matrix, MatrixTable, WeightMatrices, convolution, ravel

OPERATIONS = (
    Choice("none", "zero"),
    Choice("skip_connect", "identity"),
    Choice("nor_conv_1x1", "convolution", kernel=1),
    Choice("nor_conv_3x3", "convolution", kernel=3),
)
# What guessing scores follows from the tasks, as the benchmark's code (github.com/yawen-d/TransNASBench) defines them,
# and not from what was measured:
# - one of n classes is right once in n times, of images and of pixels; the puzzle's are drawn uniformly;
# - the nine numbers of a room layout are standardised, so that their means have a mean squared error of 1;
# - the structural similarity (SSIM) of an image with one that does not vary with it is 0.
TASKS = {
    "class_scene": Task("image-classification", chance_score=100 / 47, num_classes=47, image_size=256),
    "class_object": Task("image-classification", chance_score=100 / 75, num_classes=75, image_size=256),
    "room_layout": Task("image-regression", chance_score=-1.0, num_classes=9, image_size=256),
    "jigsaw": Task("image-classification", chance_score=0.1, num_classes=1000, image_size=255),
    "segmentsemantic": Task("image-segmentation", chance_score=100 / 17, num_classes=17, image_size=256),
    "normal": Task("dense-regression", chance_score=0.0, num_classes=3, image_size=256),
    "autoencoder": Task("dense-regression", chance_score=0.0, num_classes=3, image_size=256),
}
STEM_WIDTH = 64
TILES, TILE_SIZE = 9, 64  # of the puzzle: the encoder sees each tile by itself
_MICRO = re.compile(r"64-41414-([0-3])_([0-3])([0-3])_([0-3])([0-3])([0-3])")
_MACRO = re.compile(r"64-([1-4]{4,6})-basic")
_CITATION = bibtex(
    "inproceedings",
    "duan2021transnas",
    "{TransNAS-Bench-101}: Improving Transferability and Generalizability of Cross-Task Neural Architecture Search",
    "Duan, Yawen and Chen, Xin and Xu, Hang and Chen, Zewei and Liang, Xiaodan and Zhang, Tong and Li, Zhenguo",
    "IEEE/CVF Conference on Computer Vision and Pattern Recognition",
    2021,
)
_MEASURED = (
    "Scores on seven vision tasks of Taskonomy, all the better the higher: accuracies in percent (classifications and "
    "segmentation), structural similarity (normal, autoencoder), and less the loss (room layout). Validation scores "
    "are those of the last epoch; in the table that has scores of training and test images too, each column has the "
    "best epoch of its own."
)
MICRO_ORIGIN = Origin(
    "TransNAS-Bench-101, cells",
    _MEASURED,
    "https://github.com/yawen-d/TransNASBench",
    "mit",
    _CITATION,
    whole=4_096,
    measured_with=("transnas-bench-101-macro",),
)
MACRO_ORIGIN = Origin(
    "TransNAS-Bench-101, macro space",
    _MEASURED,
    "https://github.com/yawen-d/TransNASBench",
    "mit",
    _CITATION,
    whole=3_256,
    measured_with=("transnas-bench-101-micro",),
)


def cell_shapes(channels: int = STEM_WIDTH) -> list[tuple[int, int, int]]:
    """Input channels, output channels and stride of the ten cells of the skeleton 41414, after a stem of `channels`.

    Modules 1, 3 and 5 halve the resolution and double the channels, in the first of their two cells.
    """
    shapes = []
    for factor in (2, 1, 2, 1, 2):
        shapes += [(channels, factor * channels, factor), (factor * channels, factor * channels, 1)]
        channels *= factor
    return shapes


def decoder_layers(kind: str, inputs: int, doublings: int, outputs: int) -> list[tuple[int, int, bool]]:
    """Input channels, output channels and whether the resolution doubles, of each 3x3 convolution of a decoder.

    Parameters
    ----------
    kind
        Of the task: ``"image-segmentation"`` or ``"dense-regression"``.
    inputs, outputs
        Channels of the encoder's features and of the output.
    doublings
        How often the resolution must double: 2 to 6.
    """
    if kind == "image-segmentation":
        widths = [inputs, 1024, 512, 256, 128, 64, 32, 32, outputs]
        doubles = [1 + 6 - doublings <= i <= 6 for i in range(8)]
    else:
        widths = [inputs, 1024, 1024, 512, 512, 256, 128, 64, 64, 32, 32, 16, 32, 16, outputs]
        needed = {2: 6, 4: 5, 6: 4, 8: 3, 10: 2, 12: 2}  # layer: the fewest doublings with which it doubles
        doubles = [i in needed and doublings >= needed[i] for i in range(14)]
    return list(zip(widths, widths[1:], doubles, strict=False))


def _decoder_costs(kind: str, inputs: int, doublings: int, outputs: int, size: int) -> list[int]:
    """Parameters and multiply-adds of a decoder to images of `size` x `size`; every layer but the last has a norm."""
    parameters, flops, size = 0, 0, -(-size >> doublings)
    layers = decoder_layers(kind, inputs, doublings, outputs)
    for i, (before, after, doubles) in enumerate(layers):
        parameters += 9 * before * after + (3 if i < len(layers) - 1 else 1) * after
        flops += 9 * before * after * size**2  # a transposed convolution works on its input's resolution
        size <<= doubles
    return [parameters, flops]


def _stem_costs(size: int, in_channels: int, device: torch.device) -> torch.Tensor:
    """Parameters and multiply-adds on images of `size` x `size`."""
    half = STEM_WIDTH // 2
    first, second = 9 * in_channels * half, 9 * half * STEM_WIDTH
    return torch.tensor(
        [first + second + 2 * (half + STEM_WIDTH), (-(-size // 2)) ** 2 * first + (-(-size // 4)) ** 2 * second],
        device=device,
    )


MAX_MODULES = 6
_HEADS = (1 + MAX_MODULES, 1 + 4)  # how often the encoder doubles the width, and how often it halves the resolution
Parts = tuple[tuple[Matrix, ...], ...]


@cache
@constant
def _matrices(modules: Parts, task: Task, tiles: int) -> MatrixTable:
    """Of all modules, and after them of heads or decoders in a table of the shape `_HEADS`; of the stem."""
    heads: list[list[Matrix]] = []
    for doublings, halvings in np.ndindex(*_HEADS):
        width = STEM_WIDTH << doublings
        if not task.kind.startswith(("image-segmentation", "dense")):
            heads.append([(task.num_classes, tiles * width, 1)])
            continue
        layers = decoder_layers(task.kind, width, 2 + halvings, task.num_classes)
        heads.append([(9 * b, a, 1) if doubles else convolution(a, b, 3) for a, b, doubles in layers])
    half = STEM_WIDTH // 2
    return MatrixTable([*modules, *heads], [convolution(task.in_channels, half, 3), convolution(half, STEM_WIDTH, 3)])


class TransNASSpace(SearchSpace):
    """What the two spaces have in common: how a network's costs and matrices follow from its encoder's.

    Attributes
    ----------
    modules
        Weight matrices of everything that an encoder may consist of.
    """

    modules: Parts

    def _encoder(self, indices: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Costs of the modules on images of `size` x `size`.

        Returns
        -------
        Parameters and multiply-adds ``LongTensor (batch, 2)``, output channels ``(batch,)``, and how often the
        modules halve the resolution ``(batch,)``.
        """
        raise NotImplementedError

    def _costs(self, indices: torch.Tensor, which: TaskLike) -> torch.Tensor:
        """Parameters and multiply-adds of whole networks, ``LongTensor (batch, 2)``."""
        task = self.task(which)
        images, size = (TILES, TILE_SIZE) if self.like(which) == "jigsaw" else (1, task.image_size)
        encoder, width, halvings = self._encoder(indices, size)
        total = (encoder + _stem_costs(size, task.in_channels, indices.device)) * torch.tensor(
            [1, images], device=indices.device
        )
        if not task.kind.startswith(("image-segmentation", "dense")):
            return total + torch.stack([images * width + 1, images * width], dim=1) * task.num_classes
        # A decoder's costs are linear in the width of what it reads; a table has them for widths 0 and 1.
        table = torch.tensor(
            [[_decoder_costs(task.kind, w, 2 + h, task.num_classes, size) for w in (0, 1)] for h in range(5)],
            device=indices.device,
        )
        without, with_one = table[halvings.clamp(max=4)].unbind(1)
        return total + without + width[:, None] * (with_one - without)

    def scale(self, task: TaskLike) -> dict[str, Any]:
        return {"task": self.like(task)}

    def input_shape(self, task: TaskLike, image_size: int | None = None, **scale: Any) -> tuple[int, ...]:
        """An image, or the tiles of a puzzle, each an image of its own."""
        if self.like(task) == "jigsaw":
            return (TILES, *super().input_shape(task, image_size or TILE_SIZE, **scale))
        return super().input_shape(task, image_size, **scale)

    def parameters(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Encoder and the task's head or decoder, as the published code builds them; without a discriminator.

        Equal to those of the networks that `pkgen_hf.networks.transnas_bench_101` builds. Not confirmed against the
        benchmark's own numbers, which its tables of scores do not hold.
        """
        return self._costs(indices, task or "class_scene")[:, 0]

    def flops(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Multiply-adds of convolutions and linear layers, without biases, for one image of the task's size.

        One puzzle is 9 tiles of 64 x 64 pixels. Not confirmed against the benchmark's own numbers, which are for
        images of 224 x 224.
        """
        return self._costs(indices, task or "class_scene")[:, 1]

    def _modules(self, indices: torch.Tensor) -> torch.Tensor:
        """Which of `modules` encoders consist of, ``LongTensor (batch, n)``, -1 for none."""
        raise NotImplementedError

    def weight_matrices(self, indices: torch.Tensor, task: TaskLike | None = None) -> WeightMatrices:
        which = task or "class_scene"
        tiles = TILES if self.like(which) == "jigsaw" else 1
        _, width, halvings = self._encoder(indices, TILE_SIZE)
        doublings = (width // STEM_WIDTH).double().log2().long()
        heads = len(self.modules) + ravel(_HEADS, doublings, halvings.clamp(max=_HEADS[1] - 1))
        parts = torch.cat([self._modules(indices), heads[:, None]], dim=1)
        return _matrices(self.modules, self.task(which), tiles).total(parts)


def _edge_costs(edge: int, number: int, size: int) -> list[int]:
    """Parameters and multiply-adds of an operation on one edge, in all ten cells; `size` is the stem's output's."""
    parameters = flops = 0
    for inputs, outputs, stride in cell_shapes():
        size = -(-size // stride)
        reads_input = edge in (0, 1, 3)  # such edges change the shape where the cell does
        is_plain = stride == 1 or not reads_input
        if number == 0 or (number == 1 and is_plain):
            continue
        weights = (9 if number == 3 else 1) * (inputs if reads_input else outputs) * outputs
        parameters += weights + 2 * outputs
        flops += weights * size**2
    return [parameters, flops]


def _edge_matrices(edge: int, number: int) -> tuple[Matrix, ...]:
    """Weight matrices of an operation on one edge, in all ten cells."""
    matrices = []
    for inputs, outputs, stride in cell_shapes():
        reads_input = edge in (0, 1, 3)
        if number > 1:
            matrices.append(convolution(inputs if reads_input else outputs, outputs, OPERATIONS[number].kernel))
        elif number == 1 and reads_input and stride > 1:
            matrices.append(convolution(inputs, outputs // 2, number=2))
    return tuple(matrices)


class TransNASMicroSpace(TransNASSpace, FourNodeCellSpace):
    """Four operations on six edges: 4,096 strings.

    Where a cell changes the shape, the three edges that read its input do so, a skip connection by two 1x1
    convolutions, each of half of the channels.
    """

    summary = "image cell of 6 edges"
    origin = MICRO_ORIGIN
    modules = tuple(_edge_matrices(edge, number) for edge in range(6) for number in range(len(OPERATIONS)))

    def __init__(self) -> None:
        FourNodeCellSpace.__init__(self, "transnas-bench-101-micro", OPERATIONS, TASKS)

    def split_string(self, text: str) -> list[str]:
        match = _MICRO.fullmatch(text)
        if match is None:
            raise self.malformed(text, "six digits from 0 to 3 are written 64-41414-a_bc_def")
        return [OPERATIONS[int(digit)].name for digit in match.groups()]

    def to_strings(self, indices: torch.Tensor) -> list[str]:
        return ["64-41414-{}_{}{}_{}{}{}".format(*row) for row in indices.tolist()]

    def _encoder(self, indices: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        table = torch.tensor(
            [[_edge_costs(edge, number, -(-size // 4)) for number in range(4)] for edge in range(6)],
            device=indices.device,
        )
        costs = table[torch.arange(6, device=indices.device), indices].sum(1)
        width, halvings = cell_shapes()[-1][1], 3
        return costs, torch.full_like(indices[:, 0], width), torch.full_like(indices[:, 0], halvings)

    def _modules(self, indices: torch.Tensor) -> torch.Tensor:
        return ravel((self.num_slots, len(OPERATIONS)), torch.arange(self.num_slots, device=indices.device), indices)


MODULES = (
    Choice("1", "residual-block", kernel=3),
    Choice("2", "residual-block", kernel=3, widening=2),
    Choice("3", "residual-block", kernel=3, stride=2),
    Choice("4", "residual-block", kernel=3, widening=2, stride=2),
)
ABSENT = Choice("-", "identity")


def _module_matrices(inputs: int, widening: int, stride: int) -> tuple[Matrix, ...]:
    """Weight matrices of two blocks of two 3x3 convolutions, the first with a 1x1 where it changes the shape."""
    outputs = inputs * widening
    first = reduction(inputs, outputs)[: 3 if widening * stride > 1 else 2]
    return (*first, convolution(outputs, outputs, 3, number=2))


class TransNASMacroSpace(TransNASSpace):
    """Four to six modules, of which one to four halve the resolution and one to three double the channels: 3,256.

    The fifth and sixth module may be absent, the sixth alone or both; a fifth that is absent before a sixth that is
    there is no string of this space, so such rows are not valid. Removing a module leaves the plain one.
    """

    summary = "strides, widths of 4-6 modules"
    origin = MACRO_ORIGIN
    modules = tuple(
        _module_matrices(STEM_WIDTH << doublings, int(module.widening), module.stride)
        for doublings in range(MAX_MODULES)
        for module in MODULES
    )

    def __init__(self) -> None:
        slots = [
            Slot(f"module {i + 1}", "operation", MODULES if i < 4 else (*MODULES, ABSENT), reads=(i,), writes=i + 1)
            for i in range(MAX_MODULES)
        ]
        super().__init__("transnas-bench-101-macro", slots, TASKS, null_choice="1")

    @cached_property
    def num_architectures(self) -> int:
        return self.count_by_enumeration()

    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        widening = ((indices == 1) | (indices == 3)).sum(1)
        halving = ((indices == 2) | (indices == 3)).sum(1)
        gap = (indices[:, 4] == 4) & (indices[:, 5] < 4)
        return ~gap & (widening >= 1) & (widening <= 3) & (halving >= 1) & (halving <= 4)

    def is_connected(self, indices: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(indices), dtype=torch.bool, device=indices.device)

    def split_string(self, text: str) -> list[str]:
        match = _MACRO.fullmatch(text)
        if match is None:
            raise self.malformed(text, "four to six digits from 1 to 4 are written 64-abcd-basic")
        return list(match[1].ljust(6, "-"))

    def join_names(self, names: np.ndarray) -> np.ndarray:
        digits = names.sum(axis=1)
        return np.array([f"64-{text.replace('-', '')}-basic" for text in digits], dtype=object)

    def _encoder(self, indices: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        widens = ((indices == 1) | (indices == 3)).long()
        halves = ((indices == 2) | (indices == 3)).long()
        outputs = STEM_WIDTH << widens.cumsum(1)
        inputs = outputs >> widens
        sizes = -(-size // (4 << halves.cumsum(1)))
        # Two blocks of two 3x3 convolutions; the first has a 1x1 convolution beside it where it changes the shape.
        changes = ((widens + halves) > 0).long()
        weights = 9 * outputs * (inputs + 3 * outputs) + changes * inputs * outputs
        costs = torch.stack([weights + 2 * outputs * (4 + changes), weights * sizes**2], dim=-1)
        present = (indices < len(MODULES))[..., None]
        return (costs * present).sum(1), outputs[:, -1], halves.sum(1)

    def _modules(self, indices: torch.Tensor) -> torch.Tensor:
        widens = ((indices == 1) | (indices == 3)).long()
        numbers = ravel((MAX_MODULES, len(MODULES)), widens.cumsum(1) - widens, indices)
        return torch.where(indices < len(MODULES), numbers, -1)


register_built_in(TransNASMicroSpace())
register_built_in(TransNASMacroSpace())
