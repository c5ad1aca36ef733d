"""Effects of components, measured over all of a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from pkgen_hf import Prior, ScoreTable, get_space
from pkgen_hf.priors.effects import NOISE, Effects, measure_effects, normal_scores
from pkgen_hf.priors.prior import select_prior
from pkgen_hf.spaces.components import Components

SPACE, TASK = "nas-bench-201", "cifar10"


def predicted(effects: Effects, rows: torch.Tensor) -> torch.Tensor:
    """Of NAS-Bench-201 cells, ``DoubleTensor (n,)``."""
    of_choices = effects.choices.double()[torch.arange(6), rows].sum(1)
    return of_choices + (Components(get_space(SPACE)).pairs(rows) * effects.pairs).sum((1, 2, 3))


def test_effects_are_the_posterior_mean_of_a_gaussian_process(cell_table: ScoreTable) -> None:
    """By its dual form: covariances between cells, in place of products of columns."""
    rows, scores = cell_table.distinct_rows(cell_table.column(TASK))
    rows = cell_table.space.canonical(cell_table.indices[rows[::50]])
    scores = scores[::50]
    components, covariance = Components(cell_table.space), torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for columns in (components.choices(rows).flatten(1), components.pairs(rows).flatten(1)):
        columns = columns[:, columns.std(0, correction=0) > 1e-6]
        columns = (columns - columns.mean(0)) / columns.std(0, correction=0)
        covariance += columns @ columns.T / columns.shape[1]
    known = torch.from_numpy(normal_scores(scores))
    expected = covariance @ torch.linalg.solve(covariance + NOISE * torch.eye(len(rows)), known - known.mean())
    found = predicted(measure_effects(cell_table.space, rows, scores), rows)
    torch.testing.assert_close(found - found.mean(), expected, rtol=1e-4, atol=1e-4)


def test_effects_find_the_functions_of_choices_and_of_pairs_that_scores_are(cell_table: ScoreTable) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = cell_table.space.canonical(cell_table.space.valid_rows)
    rows, _ = cell_table.space.classes(rows)
    components = Components(cell_table.space)
    truth = Effects(torch.randn(6, 5, generator=generator), torch.randn(4, 5, 5, generator=generator) / 4)
    assert len(components.relations) == 4 and len(components.identities) == 5
    known, asked = rows[::4], rows[1::4]
    found = measure_effects(cell_table.space, known, predicted(truth, known).float())
    together = torch.stack([predicted(found, asked), predicted(truth, asked)])
    assert torch.corrcoef(together.argsort(1).argsort(1).double())[0, 1] > 0.99


def test_effects_of_a_benchmark(cell_table: ScoreTable, tmp_path: Path) -> None:
    """Of the best selection alone, saved and loaded, averaged over tasks, and not carried to another space."""
    prior = Prior.from_benchmark(SPACE, TASK, table=cell_table)
    rows, scores = cell_table.distinct_rows(cell_table.column(TASK))
    assert prior.effects is not None
    both = torch.stack([predicted(prior.effects, cell_table.space.canonical(cell_table.indices[rows])), scores])
    assert torch.corrcoef(both.argsort(1).argsort(1).double())[0, 1] > 0.9
    assert Prior.from_benchmark(SPACE, TASK, table=cell_table, selection="worst").effects is None
    loaded = Prior.load(prior.save(tmp_path / "prior.parquet"))
    assert loaded.effects is not None
    assert torch.equal(loaded.effects.choices, prior.effects.choices)
    assert torch.equal(loaded.effects.pairs, prior.effects.pairs)
    other = Prior.from_benchmark(SPACE, "cifar100", table=cell_table)
    assert other.effects is not None
    mean = Prior.carried_over(SPACE, [prior, other, replace(other, effects=None)])
    assert mean.effects is not None
    torch.testing.assert_close(mean.effects.pairs, (prior.effects.pairs + other.effects.pairs) / 2)
    assert Prior.carried_over("nas-bench-101", [prior]).effects is None


def test_files_of_earlier_versions_have_no_effects(cell_table: ScoreTable, tmp_path: Path) -> None:
    path = Prior.from_benchmark(SPACE, TASK, table=cell_table).save(tmp_path / "prior.parquet")
    table = pq.read_table(path)
    before = table.filter([component != "pair" for component in table["component"].to_pylist()])
    pq.write_table(before.drop_columns("effect"), path)
    assert Prior.load(path).effects is None


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("slots", ["beside"], "unknown relation of a pair in nas-bench-201: 'beside'. Allowed: feeds"),
        ("choices", ["none", "pool"], "unknown choice of a pair in nas-bench-201: '(none|pool)'"),
        ("choices", ["none"], "a pair has one relation and two choices"),
        ("effect", float("inf"), "an effect is a finite number or none"),
    ],
)
def test_damaged_pairs(cell_table: ScoreTable, tmp_path: Path, column: str, value: object, message: str) -> None:
    path = Prior.from_benchmark(SPACE, TASK, table=cell_table).save(tmp_path / "prior.parquet")
    table = pq.read_table(path)
    rows = table.to_pylist()
    next(row for row in rows if row["component"] == "pair")[column] = value
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), path)
    with pytest.raises(ValueError, match=message):
        Prior.load(path)


def test_effects_on_all_data_sets_carry_over_to_another_one() -> None:
    """Those of its kind alone would leave out the second and the third."""
    space = get_space("transnas-bench-101-micro")
    components = Components(space)
    shape = (len(components.relations), len(components.identities), len(components.identities))
    tasks = ("class_object", "normal", "room_layout")
    known = [
        replace(
            Prior.absent(space, task),
            evidence="measured",
            effects=Effects(torch.full((space.num_slots, space.num_choices), float(k)), torch.full(shape, float(k))),
        )
        for k, task in enumerate(tasks)
    ]
    assert space.tasks["class_scene"].kind == space.tasks["class_object"].kind != space.tasks["normal"].kind
    carried = select_prior(known, space, "class_scene")
    assert carried.evidence == "carried over" and carried.effects is not None
    assert (carried.effects.choices == 1).all() and (carried.effects.pairs == 1).all()
    assert select_prior(known, space, "normal") is known[1]
    assert select_prior(known, get_space(SPACE), "cifar10").effects is None


def test_scores_are_brought_to_the_scale_in_which_effects_add_up(cell_table: ScoreTable) -> None:
    """Of three clusters with a wide gap between them, a sum of effects is not linear in normal scores."""
    generator = torch.Generator().manual_seed(0)
    rows = cell_table.space.canonical(cell_table.space.valid_rows)
    rows, _ = cell_table.space.classes(rows)
    number = 0.05 * torch.randn(6, 5, generator=generator)
    number[0] += torch.tensor([0.0, 3.0, 6.0, 3.0, 0.0])
    truth = Effects(number, torch.zeros(4, 5, 5))
    known, asked = rows[::2], rows[1::2]
    scores = predicted(truth, known).float()
    found, expected = predicted(measure_effects(cell_table.space, known, scores), asked), predicted(truth, asked)
    ranks = torch.stack([found, expected]).argsort(1).argsort(1).double()
    assert 1 - torch.corrcoef(ranks)[0, 1] < 2e-4  # of a regression on normal scores it is 6e-3
