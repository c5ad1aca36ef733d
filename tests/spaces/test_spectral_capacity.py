"""Spectral capacity against numerical log-determinants, and on measured networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chi2, kendalltau

from pkgen_hf import ScoreTable, SearchSpace, Slot, get_space
from pkgen_hf.spaces import Choice
from pkgen_hf.spaces.spectral_capacity import expected_log_det, spectral_capacity

CELL = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_3x3~1|+|none~0|nor_conv_1x1~1|avg_pool_3x3~2|"


SQUARE, WIDE, THIN, ONE_ROW = [(4, 4), (64, 64), (256, 256)], [(6, 30), (64, 192)], [(192, 64), (1000, 400)], [(1, 9)]


@pytest.mark.parametrize(("rows", "columns"), [*SQUARE, *WIDE, *THIN, *ONE_ROW, (9, 1), (8, 72), (16, 27)])
def test_expected_log_det_is_that_of_random_matrices(rows: int, columns: int) -> None:
    """Within half a percent, or what chance explains."""
    generator = torch.Generator().manual_seed(0)
    number = max(5, min(100_000, 10_000_000 // max(rows, columns) ** 2))
    scale = (2 / (rows + columns)) ** 0.5
    matrices = scale * torch.randn(number, rows, columns, generator=generator, dtype=torch.double)
    short = matrices if rows <= columns else matrices.mT  # I + WW' has the determinant of I + W'W
    found = torch.linalg.slogdet(torch.eye(min(rows, columns)) + short @ short.mT).logabsdet
    expected = float(expected_log_det(torch.tensor(rows), torch.tensor(columns)))
    error = 4 * float(found.std()) / number**0.5
    assert float(found.mean()) == pytest.approx(expected, abs=error + 5e-3 * expected)
    assert error < 2e-2 * expected


@pytest.mark.parametrize(("columns", "tolerance"), [(9, 2e-3), (25, 5e-4), (49, 2e-4)])
def test_expected_log_det_of_depthwise_convolutions_is_nearly_exact(columns: int, tolerance: float) -> None:
    """A sum of squares of normal numbers has a chi-squared distribution, over which the logarithm is integrated."""
    exact = chi2(columns).expect(lambda square: np.log1p(2 / (1 + columns) * square))
    expected = float(expected_log_det(torch.tensor(1), torch.tensor(columns)))
    assert expected == pytest.approx(exact, rel=tolerance)


def test_spectral_capacity_is_the_sum_over_matrices() -> None:
    space = get_space("nas-bench-201")
    rows = space.from_strings([CELL])
    sizes = [(16, 27, 1), (10, 64, 1)]
    for width in (16, 32, 64):
        sizes += [(width, 9 * width, 10), (width, width, 5)]
    for width in (32, 64):
        sizes += [(width, 9 * width // 2, 1), (width, 9 * width, 1), (width, width // 2, 1)]
    expected = sum(n * expected_log_det(torch.tensor(r), torch.tensor(c)) for r, c, n in sizes)
    assert spectral_capacity(space, rows).item() == pytest.approx(float(expected))
    more = spectral_capacity(space, rows, "cifar100") - spectral_capacity(space, rows)
    ends = expected_log_det(torch.tensor([100, 10]), torch.tensor([64, 64]))
    assert more.item() == pytest.approx(float(ends[0] - ends[1]))


def test_spectral_capacity_of_a_space_without_weight_matrices() -> None:
    space = SearchSpace("toy", [Slot("a", "operation", (Choice("x", "zero"),), (0,), 1)], {}, null_choice="x")
    with pytest.raises(NotImplementedError, match="toy lists no weight matrices"):
        spectral_capacity(space, torch.zeros(1, 1, dtype=torch.long))


@pytest.mark.parametrize(
    ("space", "file", "task", "expected"),
    [
        ("nas-bench-bert", "nas-bench-bert", "glue", 0.70),
        ("hw-gpt-bench-s", "hw-gpt-bench-s", "openwebtext", 0.82),
        ("autoformer-small", "autoformer-small", "imagenet1k", 0.62),
        ("ofa-mobilenetv3", "ofa-mobilenetv3", "imagenet1k", 0.88),
        ("mnasnet", "accel-nasbench-imagenet", "imagenet1k", 0.69),
        ("nas-bench-201", "nas-bench-201", "cifar100", 0.60),
        ("nas-bench-macro", "nas-bench-macro", "cifar10", 0.34),
        ("transnas-bench-101-micro", "transnas-bench-101-micro", "class_scene", 0.49),
        ("darts", "nas-bench-301", "cifar10", 0.37),
    ],
)
def test_rank_correlation_on_measured_networks(
    space: str, file: str, task: str, expected: float, shared_benchmarks: Path
) -> None:
    """Kendall's tau: of language models and text encoders as an implementation of its own gave it on these tables."""
    table = ScoreTable.load(space, shared_benchmarks / f"{file}.parquet")
    known = ~table.column(task).isnan()
    capacity = spectral_capacity(get_space(space), table.indices[known])
    tau = kendalltau(capacity.numpy(), table.column(task)[known].numpy()).statistic
    assert tau == pytest.approx(expected, abs=0.006)
