"""Spectral capacity against numerical log-determinants, and on measured transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scipy.stats import kendalltau

from pkgen_hf import ScoreTable, get_space
from pkgen_hf.evaluation.spectral_capacity import expected_log_det, spectral_capacity


@pytest.mark.parametrize(("rows", "columns"), [(64, 192), (192, 64), (192, 768), (256, 256), (400, 1000)])
def test_expected_log_det_is_that_of_random_matrices(rows: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(0)
    scale = (2 / (rows + columns)) ** 0.5
    found = []
    for _ in range(5):
        matrix = scale * torch.randn(rows, columns, generator=generator, dtype=torch.double)
        found.append(torch.linalg.slogdet(torch.eye(columns) + matrix.T @ matrix).logabsdet)
    expected = expected_log_det(torch.tensor(rows), torch.tensor(columns))
    assert float(torch.stack(found).mean()) == pytest.approx(float(expected), rel=1e-2)


def test_matrices_that_do_not_exist_have_no_capacity() -> None:
    assert expected_log_det(torch.tensor([0, 8]), torch.tensor([8, 0])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("space", "file", "task", "expected"),
    [
        ("nas-bench-bert", "nas-bench-bert", "glue", 0.70),
        ("hw-gpt-bench-s", "hw-gpt-bench-s", "openwebtext", 0.82),
        ("autoformer-small", "autoformer-small", "imagenet1k", 0.61),
    ],
)
def test_rank_correlation_on_measured_transformers(
    space: str, file: str, task: str, expected: float, shared_benchmarks: Path
) -> None:
    """Kendall's tau as it was measured on these tables with an implementation of its own."""
    table = ScoreTable.load(space, shared_benchmarks / f"{file}.parquet")
    known = ~table.column(task).isnan()
    capacity = spectral_capacity(get_space(space), table.indices[known])
    tau = kendalltau(capacity.numpy(), table.column(task)[known].numpy()).statistic
    assert tau == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("space", ["hw-gpt-bench-s", "autoformer-tiny", "nas-bench-bert", "ofa-mobilenetv3"])
def test_weight_matrices_are_those_of_layers_that_exist(space: str) -> None:
    """Their entries are all weights of layers but biases, normalisations and embeddings, which are few."""
    here = get_space(space)
    rows = here.sample(64, torch.Generator().manual_seed(0))
    matrices = here.weight_matrices(rows)
    torch.testing.assert_close(spectral_capacity(here, rows), spectral_capacity(here, here.canonical(rows)))
    entries = matrices.prod(-1).sum(1)
    others = here.parameters(rows) - entries
    assert bool((others > 0).all())
    correlation = torch.corrcoef(torch.stack([entries.double(), here.parameters(rows).double()]))[0, 1]
    assert correlation > 0.9
