"""Every script in ``examples`` runs in an empty folder, and prints and writes what it says."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_stub import TOKEN, HubStub
from transformers import AutoModelForCausalLM, AutoModelForImageClassification

from pkgen_hf import Architecture, Prior
from pkgen_hf.benchmarks.latencies import LatencyTable

EXAMPLES = Path(__file__).parents[1] / "examples"
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run an example as a script, in an empty folder; what it printed."""
    monkeypatch.chdir(tmp_path)

    def of(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return of


def written() -> set[str]:
    return {path.name for path in Path().iterdir() if not path.name.startswith(".")}


def test_all_examples_are_short_and_tested() -> None:
    here = Path(__file__).read_text()
    for script in EXAMPLES.glob("*.py"):
        assert len(script.read_text().splitlines()) < 60, script
        assert f"python examples/{script.name}" in script.read_text(), script
        assert f'run("{script.name}"' in here, script


def test_own_space(run: Run) -> None:
    printed = run("own_space.py")
    assert "evidence='from other spaces'" in printed and "5 best of 20 evaluations" in printed
    assert written() == {"first.svg", "second.svg", "prior.parquet", "architectures.jsonl"}
    space = runpy.run_path(str(EXAMPLES / "own_space.py"))["SPACE"]
    lines = Path("architectures.jsonl").read_text().splitlines()
    kept = [Architecture.from_json(line, space=space) for line in lines]
    assert len(set(kept)) == 8 and all(str(one) in printed for one in kept)
    assert Prior.load("prior.parquet", space=space).labels_read == 20


def test_own_results(run: Run) -> None:
    printed = run("own_results.py")
    assert printed.startswith("10 results, 8 cells in generated.csv") and "1 failed left out" in printed
    assert written() == {"generated.csv", "prior.parquet", "prior.png"}
    rows = list(csv.DictReader(Path("generated.csv").read_text().splitlines()))
    predicted = [float(row["predicted"]) for row in rows]
    assert len(predicted) == 8 and predicted == sorted(predicted, reverse=True)
    assert any(row["predicted"] != row["predicted_without_results"] for row in rows)
    for row in rows:
        assert Architecture.from_string("nas-bench-201", row["architecture"]).is_valid and int(row["parameters"]) > 0
    assert Prior.load("prior.parquet").labels_read == 9


def test_ask_tell_trains_and_goes_on(run: Run) -> None:
    first, second = run("ask_tell.py", "1"), run("ask_tell.py", "1")
    accuracies = [[float(one) for one in re.findall(r"([\d.]+) %", printed)] for printed in (first, second)]
    assert [len(each) for each in accuracies] == [5, 5]  # of a round, and the best of all
    assert accuracies[1][-1] == max(accuracies[0][:-1] + accuracies[1][:-1]) > 50  # by chance it is 25
    assert "best of 4: " in first and "best of 8: " in second
    assert written() == {"stripes.json"}
    assert isinstance(json.loads(Path("stripes.json").read_text()), dict)


def test_gpt_memory_budget(run: Run) -> None:
    printed = run("gpt_memory_budget.py")
    found = [(float(used), int(limit)) for used, limit in re.findall(r"^([\d.]+) of (\d+) MB", printed, re.MULTILINE)]
    assert [limit for _, limit in found] == [100, 200, 400]
    assert all(0.5 * limit < used <= limit for used, limit in found)
    assert "it continued 3 tokens to 8" in printed and written() == {"gpt"}
    model = AutoModelForCausalLM.from_pretrained("gpt")
    assert model.config.vocab_size == 8192 and model.config.architecture in printed


def test_latency_front(run: Run) -> None:
    printed = run("latency_front.py", "30").splitlines()
    rows = [re.split(r" {2,}", line.strip()) for line in printed[2:]]
    assert printed[1].split() == ["limit", "latency", "place", "parameters", "cell"] and len(rows) == 5
    limits, latencies = ([float(row[k].removesuffix(" ms")) for row in rows] for k in (0, 1))
    assert limits == sorted(limits) and all(one <= limit for one, limit in zip(latencies, limits, strict=True))
    assert all(1 <= int(row[2].replace(",", "")) <= 15_625 for row in rows)
    table = LatencyTable.load("nas-bench-201", "latency.parquet")
    assert table.devices == ["cpu"] and printed[0].startswith(f"{len(table.indices)} cells need ")
    for limit, row in zip(latencies, rows, strict=True):
        rows_of_cell = Architecture.from_string("nas-bench-201", row[4]).rows
        assert float(table.latencies(rows_of_cell, "cifar10", "cpu")) == pytest.approx(limit, abs=0.006)


def test_export_onnx(run: Run) -> None:
    pytest.importorskip("onnxruntime")
    printed = run("export_onnx.py")
    assert "logits of shape (5, 10)" in printed and written() == {"cell.onnx"}
    assert float(printed.split()[-1]) < 1e-3


def test_export_onnx_is_skipped_without_its_packages(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else found(name))
    with pytest.raises(SystemExit) as end:
        run("export_onnx.py")
    assert not end.value.code and written() == set()


def test_publish_writes_and_sends_nothing(run: Run, hub: HubStub) -> None:
    printed = run("publish.py")
    assert "-> model your-name/first-network: 3 files" in printed and "nothing was sent" in printed
    assert not hub.repositories and "network" in written()
    assert 'from_pretrained("your-name/first-network"' in Path("network", "README.md").read_text()
    assert AutoModelForImageClassification.from_pretrained("network").config.space == "nas-bench-201"


def test_publish_uploads_if_asked(run: Run, hub: HubStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    printed = run("publish.py", "org/first", "--push_to_hub")
    assert "nothing was sent" not in printed
    repository = hub.repositories["model", "org/first"]
    assert repository.private and {"README.md", "config.json", "model.safetensors"} <= set(repository.commits[-1])
