"""Training groups of cells alike and comparing them, in the smallest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pictures import pictures, write_parquet

from pkgen_hf import Architecture, PKGenPipeline, ScoreTable
from rank_by_training import CHANCE, GENERATED, SPACE, TASK, WORST, choose, main, summary


def test_groups_are_as_the_benchmark_has_them(cell_table: ScoreTable) -> None:
    pipe = PKGenPipeline.from_pretrained("pkgen-base")
    pipe.set_progress_bar_config(disable=True)
    groups = choose(pipe, cell_table, 5, seed=0)
    assert list(groups) == [GENERATED, CHANCE, WORST]
    means = {}
    for name, group in groups.items():
        assert len(set(group)) == 5 and all(cell.is_valid for cell in group)
        means[name] = sum(float(cell_table.values(cell.rows, TASK)) for cell in group) / 5
    assert means[GENERATED] > 91 and means[GENERATED] > means[CHANCE] > means[WORST]
    assert choose(pipe, cell_table, 5, seed=0) == groups != choose(pipe, cell_table, 5, seed=1)


def test_summary_by_hand() -> None:
    def row(method: str, cell: str, accuracy: float, benchmark: float) -> dict:
        return {"method": method, "architecture": cell, "accuracy": accuracy, "benchmark": benchmark}

    rows = [row(GENERATED, "a", 50, 91), row(GENERATED, "a", 54, 91), row(GENERATED, "b", 56, 90)]
    rows += [row(CHANCE, "c", 40, 80), row(WORST, "d", 10, 10)]
    found = summary(rows)
    first = found["groups"][0]
    assert (first["cells"], first["accuracy"], first["accuracy_std"], first["std_over_seeds"]) == (2, 54, 2, 1)
    assert first["benchmark"] == 90.5
    # Of the six pairs of a, b, c, d only (a, b) is the wrong way round; without d one of three.
    assert found["all"]["tau"] == pytest.approx(4 / 6) and found["without_the_worst"]["tau"] == pytest.approx(1 / 3)
    assert found["all"]["cells"] == 4


def test_a_run_that_is_stopped_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second seed of a run is stopped by an output folder that cannot be written."""
    write_parquet(tmp_path / "train.parquet", pictures(24, size=32))
    write_parquet(tmp_path / "test.parquet", pictures(9, seed=1, size=32))
    argv = ["--images", str(tmp_path), "--cpu", "--cells_per_group", "1", "--seeds", "2", "--num_train_epochs", "1"]
    argv += ["--channels", "2", "--total_batch_size", "12", "--data", str(tmp_path / "none")]
    argv += ["--output_dir", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    obstacle = tmp_path / "runs/pkgen-0-seed-1"
    obstacle.parent.mkdir()
    obstacle.write_text("")
    with pytest.raises(SystemExit, match="cannot write in --output_dir .*pkgen-0-seed-1"):
        main(argv)
    done = (tmp_path / "runs/pkgen-0-seed-0/network/training.json").stat().st_mtime_ns
    obstacle.unlink()
    capsys.readouterr()
    main(argv)
    shown = capsys.readouterr().out
    assert "going on after 1 of 6 parts" in shown and "Kendall's tau, all: " in shown
    assert (tmp_path / "runs/pkgen-0-seed-0/network/training.json").stat().st_mtime_ns == done
    record = json.loads((tmp_path / "results" / "trained" / f"rank-by-training-{SPACE}.json").read_text())
    assert [(row["method"], row["seed"]) for row in record["rows"]] == [
        (method, seed) for method in (GENERATED, CHANCE, WORST) for seed in (0, 1)
    ]
    assert record["images"] == {"train": 24, "validation": 9, "source": str(tmp_path)}
    assert record["labels_read"][WORST]["nas-bench-201/cifar10 (to choose the worst 20)"] == 15625
    for row in record["rows"]:
        Architecture.from_string(SPACE, row["architecture"])
        assert 0 <= row["accuracy"] <= 100 and row["parameters"] > 0
    assert record["command"].startswith("python recipes/rank_by_training.py --images ")
    assert not list((tmp_path / "results").rglob(".*"))


def test_images_without_splits_are_refused(tmp_path: Path) -> None:
    """The images to evaluate would be those that are trained on."""
    path = write_parquet(tmp_path / "images.parquet", pictures(24, size=32))
    for source in (path, tmp_path):
        argv = ["--images", str(source), "--cpu", "--data", str(tmp_path / "none"), "--results", str(tmp_path)]
        with pytest.raises(SystemExit, match="has no splits, so that there are no images that are not trained on"):
            main(argv)
