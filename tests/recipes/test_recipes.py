"""The recipes, run as written."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from functools import partial
from itertools import takewhile
from pathlib import Path

import pytest
import torch

import everything
import presets
import reproduce
import runs
import training_costs
from pkgen_hf import PKGenPipeline, ScoreTable, get_space
from pkgen_hf.evaluation.baselines import ask_tell_search, random_search
from pkgen_hf.evaluation.measures import evaluate, evaluate_search, from_prior, from_uniform
from pkgen_hf.priors.prior import Prior

ROOT = Path(__file__).parents[2]


def recipe(*arguments: str, fails: bool = False) -> str:
    """What a recipe prints that runs in a process of its own; of one that fails, its error."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stderr[-3000:]
    return done.stderr if fails else done.stdout


def here(*arguments: str) -> None:
    """Run recipes/reproduce.py in this process, which spares the imports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["recipes/reproduce.py", *arguments])
        reproduce.main()


@pytest.fixture
def few_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings measure few priors, which is most of what a short one takes."""
    monkeypatch.setattr(runs, "TrainingArguments", partial(runs.TrainingArguments, priors_per_task=4, shifted_tasks=1))


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
    for search in (random_search(table.space), ask_tell_search(pipe, table.space, "cifar100")):
        looked_up.clear()
        rows = evaluate_search("x", [search], table, "cifar100", [5, 12], runs=2)
        assert [row["n"] for row in rows] == [5, 12] and rows[0]["seeds"] == 2
        assert rows[1]["labels_read"] == {"nas-bench-201/cifar100": 12}
        assert sum(looked_up) == 2 * 2 * 12  # by the search, and once more for the report
        assert rows[0]["validation"] <= rows[1]["validation"] <= float(cell_table.column("cifar100").max())
        assert rows[0]["median_rank"] >= rows[1]["median_rank"] >= 0
    assert rows[1]["median_rank"] < 0.5


def test_prior_matters_writes_its_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here("prior-matters", "--task", "cifar10", "--num_architectures", "50", "--seeds", "2",
         "--data", str(tmp_path), "--results", str(tmp_path))  # fmt: skip
    assert "prior dropped" in capsys.readouterr().out
    record = json.loads((tmp_path / "prior-matters-nas-bench-201.json").read_text())
    by_name = {row["method"]: row["validation"] for row in record["rows"]}
    assert by_name["pkgen-prior-best"] > by_name["pkgen-prior-dropped"] > by_name["pkgen-prior-worst"]
    assert record["command"].startswith("python recipes/reproduce.py prior-matters")


def test_new_data_set_trains_without_the_targets(
    tmp_path: Path, few_episodes: None, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["new-data-set", "--max_train_steps", "2", "--num_architectures", "20"]
    call += ["--seeds", "2", "--output_dir", str(tmp_path / "run"), "--results", str(tmp_path)]
    call += ["--data", str(tmp_path / "none")]
    here(*call)
    record = json.loads((tmp_path / "new-data-set-nas-bench-201.json").read_text())
    assert {"nas-bench-201/cifar100", "nas-bench-201/ImageNet16-120"} <= set(record["held_out"])
    assert {row["task"] for row in record["rows"]} == {"cifar100", "ImageNet16-120"}
    read = record["training"]["labels_read"]
    assert read["nas-bench-201/cifar10"] == 15625
    assert not {"nas-bench-201/cifar100", "nas-bench-201/ImageNet16-120"} & set(read)
    capsys.readouterr()
    here(*call)
    assert "trained before" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="other settings"):
        here(*call, "--max_train_steps", "3")


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    """Parts that were finished are kept, those of other settings are not, and the file goes when all is written."""
    made: list[str] = []

    def make(part: str) -> list[dict[str, str]]:
        if part == "b" and "stop" in made:
            raise KeyboardInterrupt
        made.append(part)
        return [{"part": part}]

    options = argparse.Namespace(results=tmp_path, seeds=5, defaults={})
    made.append("stop")
    with pytest.raises(KeyboardInterrupt):
        runs.rows_of("x", ["a", "b"], make, options)
    made.clear()
    assert runs.rows_of("x", ["a", "b", "c"], make, options) == [{"part": "a"}, {"part": "b"}, {"part": "c"}]
    assert made == ["b", "c"]
    runs.rows_of("x", ["a"], make, argparse.Namespace(results=tmp_path, seeds=6, defaults={}))
    assert made == ["b", "c", "a"]


def test_everything_in_small(tmp_path: Path, few_episodes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """All protocols of a space but the ablations, from the tables of the PyPI packages alone.

    The commands of the first run are run in this process, that of the second one in a process of its own.
    """
    small = ["--num_architectures", "60", "--seeds", "2", "--labels", "12", "--runs", "2", "--max_train_steps", "20"]
    monkeypatch.setattr(everything, "QUICK", small)

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        here(*command[2:])
        return subprocess.CompletedProcess(command, 0)

    results = tmp_path / "results"
    call = ["all", "--space", "nas-bench-201", "--quick", "--data", str(tmp_path / "none")]
    call += ["--output_dir", str(tmp_path), "--results", str(results)]
    with monkeypatch.context() as patch:
        patch.setattr(everything.subprocess, "run", run)
        here(*call)
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
    assert {row["method"] for row in few} >= {"pkgen", "tpe", "evolution", "local-search"}
    assert all(sum(row["labels_read"].values()) == 12 for row in few)
    assert not any(
        "nas-bench-201" in source for source in records["new-space-nas-bench-201"]["training"]["labels_read"]
    )
    for row in records["quality-nas-bench-201"]["rows"]:
        assert row["quantiles"] == sorted(row["quantiles"])
        assert row["novelty"] == (1 if row["setting"] == "new-space" else 0)  # the whole table was labelled, or none
        assert 0 <= row["coverage"] <= 1 and row["validity"] <= 1
        if row["method"] == "pkgen-distinct":
            assert row["unique"] == 1

    # as if it had been stopped in the fourth command
    kept = {row["command"]: row["seconds"] for row in whole["rows"] if "same-benchmark" not in row["command"]}
    unfinished = timing.with_name(".all-nas-bench-201.unfinished.json")
    unfinished.write_text(json.dumps({"seconds": 1000.0, "commands": kept}))
    written = {path: path.stat().st_mtime_ns for path in results.glob("[!.]*.json")}
    here(*call, "--jobs", "2")
    changed = {path.stem for path, time in written.items() if path.stat().st_mtime_ns != time}
    assert changed == {"same-benchmark-nas-bench-201"} and not unfinished.exists()
    again = json.loads(timing.read_text())
    assert 1000 < again["seconds"] < 1200 and len(again["rows"]) == 6 and again["trained_before"] == 0


def test_mistakes_give_one_line() -> None:
    with pytest.raises(SystemExit, match="unknown space with published results.*Did you mean 'nas-bench-201'"):
        here("all", "--space", "nas-bench-20")
    with pytest.raises(SystemExit, match="all makes what is published and takes no --seeds"):
        here("all", "--seeds", "3")
    text = recipe("recipes/reproduce.py", "same-benchmark", "--task", "cifar", "--data", "none", fails=True)
    assert "Did you mean 'cifar10'" in text
    assert "Traceback" not in text


def test_costs_of_trainings_are_those_in_the_documentation() -> None:
    """Every preset has a row; that of a published cell, which no checkpoint chooses, is counted again."""
    lines = (ROOT / "docs" / "training.md").read_text().splitlines()
    start = lines.index(next(line for line in lines if line.startswith("| preset and network |")))
    rows = list(takewhile(lambda line: line.startswith("|"), lines[start + 2 :]))
    assert [row.split("`")[1] for row in rows] == list(presets.presets())
    assert str(training_costs.image_row("darts-cifar", presets.get_preset("darts-cifar"))) in rows
    for space in ("hw-gpt-bench-s", "hw-gpt-bench-m"):
        assert any(line.startswith(f"| `{space}`, first-ranked |") for line in lines)


def test_memory_of_a_training_step_is_what_its_backward_pass_reads() -> None:
    """Of two layers the input of each, and which values were above 0."""
    network = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    assert training_costs.kept_bytes(network, torch.randn(3, 8)) == 4 * 3 * (8 + 16)
