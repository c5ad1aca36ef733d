"""Kendall's tau over pairs of like size."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import kendalltau

import rank_correlations
from pkgen_hf import get_space
from pkgen_hf.evaluation.rank_correlation import rank_correlation


def numbers(num: int, levels: int, seed: int) -> torch.Tensor:
    return torch.randint(levels, (num,), generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("levels", [5, 10_000])  # with many ties, and with few
def test_rank_correlation_over_all_pairs_is_that_of_scipy(levels: int) -> None:
    measured = numbers(700, levels, 0)
    scores = measured + numbers(700, levels, 1)
    tau = kendalltau(scores.numpy(), measured.numpy()).statistic
    assert rank_correlation(scores, measured) == pytest.approx(tau)


def test_rank_correlation_over_pairs_of_like_size() -> None:
    scores, measured, sizes = (numbers(60, 8, seed) for seed in range(3))
    sizes += 10
    agreement, untied_scores, untied_measured = 0, 0, 0
    for a, b in itertools.combinations(range(60), 2):
        larger, smaller = max(sizes[a], sizes[b]), min(sizes[a], sizes[b])
        if 10 * larger <= 11 * smaller:
            by_score, by_measured = int((scores[a] - scores[b]).sign()), int((measured[a] - measured[b]).sign())
            agreement += by_score * by_measured
            untied_scores += abs(by_score)
            untied_measured += abs(by_measured)
    assert 0 < untied_scores < 60 * 59 / 2
    expected = agreement / (untied_scores * untied_measured) ** 0.5
    assert rank_correlation(scores, measured, sizes) == pytest.approx(expected)


def test_rank_correlation_where_nothing_can_be_compared() -> None:
    assert math.isnan(rank_correlation(torch.ones(3), torch.arange(3.0)))
    assert math.isnan(rank_correlation(torch.arange(3.0), torch.arange(3.0), torch.tensor([1.0, 2.0, 4.0])))


def test_command_prints_a_line_for_each_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores that are parameters: those have a tau of 1, the capacity nearly."""
    space = get_space("nas-bench-201")
    rows = space.sample(200, torch.Generator().manual_seed(0))
    rows = rows[space.is_valid(rows)]
    columns = {"architecture": space.to_strings(rows), "cifar10_validation_accuracy": space.parameters(rows).tolist()}
    pq.write_table(pa.table(columns), tmp_path / "nas-bench-201.parquet")
    monkeypatch.setattr(sys, "argv", ["rank_correlations.py", "--data", str(tmp_path), "--num", "100"])
    rank_correlations.main()
    _, line = capsys.readouterr().out.splitlines()
    name, task, number, capacity, parameters, _, parameters_like = line.split()
    assert (name, task, number, parameters, parameters_like) == ("nas-bench-201", "cifar10", "100", "1.00", "1.00")
    assert 0.8 < float(capacity) < 1
