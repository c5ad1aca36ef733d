"""Regressors on few labels, and paired comparisons, against their libraries and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, norm, ttest_rel
from sklearn.ensemble import RandomForestRegressor

from pkgen_hf.evaluation.judge import Judge
from pkgen_hf.evaluation.predictors import TREES, features, gaussian_process, random_forest
from pkgen_hf.evaluation.statistics import Comparison, compare
from pkgen_hf.priors.effects import normal_scores
from pkgen_hf.spaces import SearchSpace

TASK = "cifar100"


def test_features_are_choices_and_costs(cells_judge: Judge, tiny: SearchSpace) -> None:
    space, (rows, _) = cells_judge.space, cells_judge.random_labels(40, 0)
    found = features(space, TASK, rows)
    assert np.array_equal(found[:, :-2], space.features(rows).double().numpy())
    sizes = space.parameters(rows, TASK).double().log().numpy()
    assert found[:, -2:].mean(0) == pytest.approx([0, 0], abs=1e-6)
    assert found[:, -2:].std(0) == pytest.approx([0.5, 0.5])
    assert np.corrcoef(found[:, -1], sizes)[0, 1] == pytest.approx(1)
    tiny_rows = tiny.sample(5, torch.Generator().manual_seed(0))
    assert np.array_equal(features(tiny, "x", tiny_rows), tiny.features(tiny_rows).double().numpy())


def test_normal_scores_by_hand() -> None:
    found = normal_scores(torch.tensor([3.0, 100.0, -2.0, 3.5]))
    assert found == pytest.approx(norm.ppf([0.375, 0.875, 0.125, 0.625]))


@pytest.mark.parametrize("name", ["gaussian process", "random forest"])
def test_regressors_order_what_they_have_not_seen(name: str, cells_judge: Judge) -> None:
    space, labels = cells_judge.space, cells_judge.random_labels(50, 0)
    rows, scores = (part[50:] for part in cells_judge.random_labels(350, 0))
    if name == "gaussian process":
        predicted, deviation = gaussian_process(space, TASK, labels, rows)
        at_known = gaussian_process(space, TASK, labels, space.canonical(labels[0]))[1]
        assert (deviation > 0).all() and at_known.mean() < deviation.mean()
    else:
        predicted = random_forest(space, TASK, labels, rows, seed=3)
    assert predicted.shape == (300,)
    assert kendalltau(predicted, scores.numpy()).statistic > 0.4  # 0 is chance


def test_random_forest_is_that_of_sklearn(cells_judge: Judge) -> None:
    space, labels = cells_judge.space, cells_judge.random_labels(30, 0)
    rows = space.canonical(cells_judge.random_labels(60, 0)[0][30:])
    both = features(space, TASK, torch.cat([space.canonical(labels[0]), rows]))
    forest = RandomForestRegressor(TREES, random_state=5).fit(both[:30], normal_scores(labels[1]))
    assert random_forest(space, TASK, labels, rows, seed=5) == pytest.approx(forest.predict(both[30:]))


# ---------------------------------------------------------------------- comparisons


def test_a_comparison_is_that_of_paired_differences() -> None:
    generator = np.random.default_rng(0)
    own, other = generator.normal(1.0, 1.0, 6), generator.normal(2.0, 1.0, 6)
    found = compare(own, other)
    assert found.difference == pytest.approx((other - own).mean())
    assert found.difference / found.error == pytest.approx(ttest_rel(other, own).statistic)
    turned = compare(own, other, lower_is_better=False)
    assert (turned.difference, turned.error) == pytest.approx((-found.difference, found.error))


@pytest.mark.parametrize(
    ("difference", "error", "verdict"),
    [(1.0, 0.49, "ahead"), (1.0, 0.5, "equal"), (-1.0, 0.49, "behind"), (0.0, 0.0, "equal"), (0.1, 0.0, "ahead")],
)
def test_a_difference_counts_from_two_standard_errors_on(difference: float, error: float, verdict: str) -> None:
    assert Comparison(difference, error).verdict == verdict


def test_runs_must_be_the_same() -> None:
    for own, other in ((np.ones(3), np.ones(4)), (np.ones(1), np.ones(1)), (np.ones((2, 2)), np.ones((2, 2)))):
        with pytest.raises(ValueError, match="a comparison needs the same runs of both, two at least"):
            compare(own, other)
