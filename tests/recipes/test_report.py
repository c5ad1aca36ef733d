"""Claims and tables say what results files hold, compared by hand."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from claims import claims, command_of
from result_tables import as_csv, over_trainings, summary, trainings


def row(method: str, task: str = "cifar10", **columns: float) -> dict[str, Any]:
    """A row of 10 samples, of which half are distinct."""
    measured = {"validation": 1.0, "median_rank": 40.0, "best_of_1": 2.0, "best_of_5": 3.0, "unique": 0.5} | columns
    means = measured | {f"{name}_std": 0.25 for name in measured}
    return {"method": method, "task": task, "n": 10, "labels_read": {"x/y": 3, "x/z": 4}, "scores": "test", **means}


def record(seed: int = 0, **columns: float) -> dict[str, Any]:
    """A results file of DARTS as a new space."""
    rows = [row("pkgen", **columns), *(row(method) for method in ("prior-0.5", "prior-0.125", "uniform"))]
    command = "python recipes/reproduce.py new-space --space darts" + (f" --train_seed {seed}" if seed else "")
    training = {"seed": seed, "parameters": 1, "seconds": 1.0, "device": "cpu"}
    return {"protocol": "new-space", "space": "darts", "command": command, "training": training, "rows": rows}


def test_a_claim_has_number_distinct_and_command() -> None:
    (claim,) = claims([record()])
    assert (claim.number, claim.distinct) == ("40.0 %", "5 of 10")
    assert claim.command == "`python recipes/reproduce.py new-space --space darts`" and claim.is_in_front


def test_trainings_of_several_seeds_are_one_claim() -> None:
    both = [record(), record(1, median_rank=20.0, unique=0.7)]
    assert trainings(both, "new-space", "darts") == [both] and trainings(both, "few-labels", "darts") == []
    assert over_trainings(both, "cifar10", "pkgen", "median_rank") == (30.0, pytest.approx(200**0.5), 2)
    assert over_trainings(both[:1], "cifar10", "pkgen", "median_rank") == (40.0, 0.25, 1)
    (claim,) = claims(both)
    assert (claim.number, claim.distinct) == ("30.0 %", "6 of 10")
    assert command_of(both) == "`python recipes/reproduce.py new-space --space darts --train_seed S`, S = 0 to 1"


def test_a_summary_marks_what_selects_by_test() -> None:
    header, _, line, _ = summary([record()], "new-space", "darts")
    cells = dict(zip(header.split(" | "), line.split(" | "), strict=True))
    assert cells["| data set"] == "| cifar10 (test)" and cells["distinct"] == "5 of 10"
    assert cells["PKGen"] == "1.00 ± 0.25" and summary([], "new-space", "darts") == []


def test_csv_has_every_row_and_all_columns() -> None:
    found = list(csv.DictReader(io.StringIO(as_csv({"a": record(), "b": record(1, coverage=0.125)}))))
    assert len(found) == 8 and [row["file"] for row in found] == ["a.json"] * 4 + ["b.json"] * 4
    assert found[0]["labels_read"] == "7" and found[0]["distinct"] == "5" and found[0]["coverage"] == ""
    assert found[4]["coverage"] == "0.125" and found[4]["train_seed"] == "1"
