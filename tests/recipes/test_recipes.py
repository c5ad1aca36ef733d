"""The recipes and what README says, run as written."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from pkgen_hf.evaluation.searches import search_at_random, search_by_proposals

from pkgen_hf import Architecture, PKGenPipeline, ScoreTable, get_space, list_spaces
from pkgen_hf.evaluation.measures import (
    evaluate,
    evaluate_search,
    from_prior,
    from_uniform,
)
from pkgen_hf.priors.prior import Prior

ROOT = Path(__file__).parents[2]


def recipe(*arguments: str, fails: bool = False) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stderr[-3000:]
    return done.stderr if fails else done.stdout


def test_evaluate_measures_what_it_says(cell_table: ScoreTable) -> None:
    best = int(cell_table.column("cifar10").argmax())
    indices = cell_table.indices[torch.tensor([0, best, 1, 1])]

    def fixed(num: int, generator: torch.Generator) -> tuple[torch.Tensor, float]:
        return indices, 1.0

    row = evaluate("fixed", fixed, cell_table, "cifar10", {"x": 3}, num=4, seeds=2)
    scores = cell_table.values(indices, "cifar10")
    assert row["validation"] == pytest.approx(float(scores.mean()))
    assert row["best_of_1"] == pytest.approx(float(scores[0]))
    assert row["best_of_5"] == row["best_of_n"] == pytest.approx(float(scores.max()))
    assert row["unique"] == 0.75
    assert row["validation_std"] == 0
    assert row["labels_read"] == {"x": 3}
    assert row["novelty"] == 1 and len(row["quantiles"]) == 21
    ranks = cell_table.ranks(cell_table.column("cifar10"), "cifar10")
    top = cell_table.space.keys(cell_table.indices[ranks < 0.01]).unique()
    held = torch.isin(top, cell_table.space.keys(indices)).sum()
    assert row["coverage"] == pytest.approx(int(held) / len(top)) and held >= 1
    known = evaluate("fixed", fixed, cell_table, "cifar10", {}, num=4, seeds=2, labelled=cell_table.indices[:1])
    assert known["novelty"] == pytest.approx(2 / 3)


def test_baselines(cell_table: ScoreTable) -> None:
    prior = Prior.from_benchmark("nas-bench-201", "cifar10", table=cell_table)
    alone = evaluate("prior", from_prior(prior), cell_table, "cifar10", {}, num=500, seeds=2)
    uniform = evaluate("uniform", from_uniform(cell_table.space), cell_table, "cifar10", {}, num=500, seeds=2)
    assert uniform["validation"] == pytest.approx(float(cell_table.column("cifar10").mean()), abs=2)
    assert uniform["median_rank"] == pytest.approx(50, abs=8)
    assert alone["validation"] > uniform["validation"] + 3


def test_baselines_draw_again_what_is_not_valid() -> None:
    space = get_space("transnas-bench-101-macro")
    for generate in (from_uniform(space), from_prior(Prior.absent(space))):
        indices, validity = generate(300, torch.Generator().manual_seed(0))
        assert indices.shape == (300, space.num_slots) and space.is_valid(indices).all()
        assert 0 < validity < 0.9


def test_a_search_reads_as_many_labels_as_it_may(cell_table: ScoreTable) -> None:
    """What is reported is the best read by validation, and its test score; nothing is read beyond the budget."""
    pipe = PKGenPipeline.from_pretrained("pkgen-base")
    pipe.set_progress_bar_config(disable=True)
    looked_up: list[int] = []

    class Counting(ScoreTable):
        def values(self, indices: torch.Tensor, task: str) -> torch.Tensor:
            looked_up.append(len(self.space.keys(indices).unique()))
            return super().values(indices, task)

    table = Counting.load("nas-bench-201")
    for search in (search_at_random(table.space), search_by_proposals(pipe, table.space, "cifar100")):
        looked_up.clear()
        rows = evaluate_search("x", [search], table, "cifar100", [5, 12], runs=2)
        assert [row["n"] for row in rows] == [5, 12] and rows[0]["seeds"] == 2
        assert rows[1]["labels_read"] == {"nas-bench-201/cifar100": 12}
        assert sum(looked_up) == 2 * 2 * 12  # by the search, and once more for the report
        assert rows[0]["validation"] <= rows[1]["validation"] <= float(cell_table.column("cifar100").max())
        assert rows[0]["median_rank"] >= rows[1]["median_rank"] >= 0
    assert rows[1]["median_rank"] < 0.5


def test_prior_matters_writes_its_results(tmp_path: Path) -> None:
    call = ["recipes/reproduce.py", "prior-matters", "--task", "cifar10", "--num_architectures", "50", "--seeds", "2"]
    call += ["--data", str(tmp_path)]
    text = recipe(*call, "--results", str(tmp_path))
    assert "prior dropped" in text
    record = json.loads((tmp_path / "prior-matters-nas-bench-201.json").read_text())
    by_name = {row["method"]: row["validation"] for row in record["rows"]}
    assert by_name["prior of the best 20"] > by_name["prior dropped"] > by_name["prior of the worst 20"]
    assert record["command"].startswith("python recipes/reproduce.py prior-matters")


def test_new_data_set_trains_without_the_targets(tmp_path: Path) -> None:
    call = ["recipes/reproduce.py", "new-data-set", "--max_train_steps", "2", "--num_architectures", "20"]
    call += ["--seeds", "2", "--output_dir", str(tmp_path / "run"), "--results", str(tmp_path)]
    call += ["--data", str(tmp_path / "none")]
    recipe(*call)
    record = json.loads((tmp_path / "new-data-set-nas-bench-201.json").read_text())
    assert {"nas-bench-201/cifar100", "nas-bench-201/ImageNet16-120"} <= set(record["held_out"])
    assert {row["task"] for row in record["rows"]} == {"cifar100", "ImageNet16-120"}
    read = record["training"]["labels_read"]
    assert read["nas-bench-201/cifar10"] == 15625
    assert not {"nas-bench-201/cifar100", "nas-bench-201/ImageNet16-120"} & set(read)
    assert "trained before" in recipe(*call)
    assert "other settings" in recipe(*call, "--max_train_steps", "3", fails=True)


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    """Parts that were finished are kept, those of other settings are not, and the file goes when all is written."""
    sys.path.insert(0, str(ROOT / "recipes"))
    try:
        from runs import rows_of
    finally:
        sys.path.pop(0)
    made: list[str] = []

    def make(part: str) -> list[dict[str, str]]:
        if part == "b" and "stop" in made:
            raise KeyboardInterrupt
        made.append(part)
        return [{"part": part}]

    options = argparse.Namespace(results=tmp_path, seeds=5, defaults={})
    made.append("stop")
    with pytest.raises(KeyboardInterrupt):
        rows_of("x", ["a", "b"], make, options)
    made.clear()
    assert rows_of("x", ["a", "b", "c"], make, options) == [{"part": "a"}, {"part": "b"}, {"part": "c"}]
    assert made == ["b", "c"]
    rows_of("x", ["a"], make, argparse.Namespace(results=tmp_path, seeds=6, defaults={}))
    assert made == ["b", "c", "a"]


def test_everything_in_small(tmp_path: Path) -> None:
    """All protocols of a space but the ablations, from the tables of the PyPI packages alone."""
    results = tmp_path / "results"
    call = ["recipes/reproduce.py", "all", "--space", "nas-bench-201", "--quick", "--data", str(tmp_path / "none")]
    call += ["--jobs", "2", "--output_dir", str(tmp_path), "--results", str(results)]
    recipe(*call)
    records = {path.stem: json.loads(path.read_text()) for path in results.glob("*.json")}
    timing = results / "timings" / "all-nas-bench-201.json"
    whole = json.loads(timing.read_text())
    assert [row["command"].split()[2] for row in whole["rows"]] == [
        "new-space", "new-data-set", "few-labels", "same-benchmark", "prior-matters", "quality"
    ]  # fmt: skip
    assert whole["trained_before"] == 0 and max(row["seconds"] for row in whole["rows"]) <= whole["seconds"]
    assert set(records) == {
        f"{protocol}-nas-bench-201"
        for protocol in ("same-benchmark", "prior-matters", "new-data-set", "new-space", "few-labels", "quality")
    }
    assert not list(results.rglob(".*"))
    few = records["few-labels-nas-bench-201"]["rows"]
    assert {row["method"] for row in few} >= {"PKGen", "TPE (Optuna)", "regularized evolution", "local search"}
    assert all(sum(row["labels_read"].values()) == 20 for row in few)
    assert not any(
        "nas-bench-201" in source for source in records["new-space-nas-bench-201"]["training"]["labels_read"]
    )
    for row in records["quality-nas-bench-201"]["rows"]:
        assert row["quantiles"] == sorted(row["quantiles"])
        assert row["novelty"] == (1 if row["variant"] == "new space" else 0)  # the whole table was labelled, or none
        assert 0 <= row["coverage"] <= 1 and row["validity"] <= 1
        if row["method"] == "PKGen, distinct":
            assert row["unique"] == 1

    # as if it had been stopped in the fourth command
    kept = {row["command"]: row["seconds"] for row in whole["rows"] if "same-benchmark" not in row["command"]}
    unfinished = timing.with_name(".all-nas-bench-201.unfinished.json")
    unfinished.write_text(json.dumps({"seconds": 1000.0, "commands": kept}))
    written = {path: path.stat().st_mtime_ns for path in results.glob("[!.]*.json")}
    recipe(*call)
    changed = {path.stem for path, time in written.items() if path.stat().st_mtime_ns != time}
    assert changed == {"same-benchmark-nas-bench-201"} and not unfinished.exists()
    again = json.loads(timing.read_text())
    assert 1000 < again["seconds"] < 1200 and len(again["rows"]) == 6 and again["trained_before"] == 0


def test_mistakes_give_one_line() -> None:
    text = recipe("recipes/reproduce.py", "all", "--space", "nas-bench-20", fails=True)
    assert "unknown space with published results" in text and "Did you mean 'nas-bench-201'" in text
    text = recipe("recipes/reproduce.py", "all", "--seeds", "3", fails=True)
    assert "all makes what is published and takes no --seeds" in text
    text = recipe("recipes/reproduce.py", "same-benchmark", "--task", "cifar", "--data", "none", fails=True)
    assert "Did you mean 'cifar10'" in text
    assert "Traceback" not in text


def test_results_in_readme_are_those_of_the_files() -> None:
    recipe("recipes/report.py", "--check")


def run_python(page: Path, names: dict[str, Any]) -> int:
    """Run the blocks of Python in a page, one after the other; how many there were."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    for block in blocks:
        exec(block, names)
    return len(blocks)


def test_encodings_are_what_the_page_says() -> None:
    assert run_python(ROOT / "docs" / "encodings.md", {}) == 1 + len(list_spaces())
    titles = re.findall(r"^## (\S+)$", (ROOT / "docs" / "encodings.md").read_text(), flags=re.MULTILINE)
    assert sorted(titles) == sorted(list_spaces())


def test_python_in_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell_table: ScoreTable) -> None:
    monkeypatch.chdir(tmp_path)
    architectures = Architecture.from_batch("nas-bench-201", cell_table.indices[:6])
    names = {"architectures": architectures, "scores": cell_table.column("cifar10")[:6].tolist()}
    assert run_python(ROOT / "README.md", names) >= 2
    assert (tmp_path / "cell.png").stat().st_size > 1000
    assert (tmp_path / "prior.png").stat().st_size > 1000


def test_notebook_runs_and_holds_no_outputs(tmp_path: Path) -> None:
    notebook = nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) > 5 and all(not cell.outputs and cell.execution_count is None for cell in cells)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    printed = "".join(output.get("text", "") for output in cells[1].outputs)
    assert printed.count("% measured") == 5
    assert (tmp_path / "cell.svg").is_file() and (tmp_path / "network.py").is_file()
