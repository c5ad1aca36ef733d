"""A space that is registered from one file goes wherever those of the package go; nothing is told of it elsewhere."""

from __future__ import annotations

import gc
import json
import runpy
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pictures import pictures, write_parquet
from safetensors import safe_open
from typer.testing import CliRunner

import reproduce
import train
import train_network
from pkgen_hf import (
    Architecture,
    PKGenNetworkForImageClassification,
    PKGenPipeline,
    Prior,
    ScoreTable,
    get_space,
    list_spaces,
    register_space,
)
from pkgen_hf.benchmarks.sources import load_benchmark
from pkgen_hf.cli.main import app
from pkgen_hf.networks import options
from pkgen_hf.spaces import Choice, SearchSpace, Slot, Task, unregister_space
from pkgen_hf.spaces.registry import registration

CELL = "conv3|skip|conv1"
VALUES = {"none": 0.0, "skip": 4.0, "conv1": 9.0, "conv3": 16.0}


@pytest.fixture(scope="module", autouse=True)
def space() -> Iterator[SearchSpace]:
    """The space of toy_space.py, registered by importing it, and forgotten at the end."""
    import toy_space

    yield register_space(toy_space.SPACE, network=toy_space.plan, reader=toy_space.READER)
    unregister_space("toy")


@pytest.fixture(scope="module")
def data(space: SearchSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tables with the benchmark's own file, brought into a table by the command."""
    folder = tmp_path_factory.mktemp("toy")
    rows = space.all_indices()
    records = {}
    for text, valid in zip(space.to_strings(rows), space.is_valid(rows).tolist(), strict=True):
        gain = sum(VALUES[name] for name in text.split("|")) if valid else 0.0
        records[text] = {"shapes": 100 / 3 + gain, "colours": 25 + 0.5 * gain}
    (folder / "toy-scores.json").write_text(json.dumps(records))
    code, text = run(
        "dataset", "build", "toy", "--source", str(folder / "toy-scores.json"), "-o", str(folder / "data/toy")
    )
    assert code == 0 and "64 rows" in text
    return folder / "data"


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint after two steps of training on the table."""
    folder = tmp_path_factory.mktemp("run")
    words = "--max_train_steps 2 --train_batch_size 8 --width 16 --num_layers 1 --num_heads 2 --priors_per_task 2"
    words += f" --shifted_tasks 1 --cpu --quiet --data {data} --output_dir {folder}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py", *words.split(), *excluded()])
        train.main()
    return folder / "pipeline"


def excluded() -> list[str]:
    """Of the tables that come with packages all but one data set is left out, for the sake of time."""
    graphs = [f"nas-bench-graph/{task}" for task in list(get_space("nas-bench-graph").tasks)[1:]]
    return [word for name in ["nas-bench-201", *graphs] for word in ("--exclude", name)]


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.stdout + result.stderr


def test_it_is_listed_and_drawn(space: SearchSpace, tmp_path: Path) -> None:
    assert list_spaces()[-1] == "toy" and get_space("toy") is space
    code, text = run("spaces", "--json")
    assert code == 0 and [record["architectures"] for record in json.loads(text) if record["space"] == "toy"] == [57]
    code, text = run("draw", CELL, "--space", "toy", "-o", str(tmp_path / "cell.svg"))
    assert code == 0 and (tmp_path / "cell.svg").stat().st_size > 1000
    architecture = Architecture.from_string("toy", CELL)
    assert Architecture.from_json(architecture.to_json()) == architecture


def test_it_costs_what_its_network_has(space: SearchSpace) -> None:
    for architecture in Architecture.from_batch("toy", space.all_indices()[::7]):
        network = architecture.build()
        assert sum(weight.numel() for weight in network.parameters()) == architecture.cost().parameters
        assert network(torch.randn(2, 3, 16, 16)).shape == (2, 3)
    cost = Architecture.from_string("toy", CELL).cost("colours", measured=True)
    assert (cost.flops, cost.multiply_adds) == (Architecture.from_string("toy", CELL).cost("colours").flops,) * 2
    assert options(space) == ["channels"]
    with pytest.raises(ValueError, match="unknown option of toy networks: 'channel'. Did you mean 'channels'"):
        Architecture.from_string("toy", CELL).build(channel=3)


@pytest.mark.parametrize("suffix", ["py", "safetensors", "onnx"])
def test_it_is_exported(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"network.{suffix}"
    words = ["export", CELL, "--space", "toy", "-o", str(path), "--num-classes", "5", "--scale", "channels=4"]
    if suffix == "onnx":
        pytest.importorskip("onnxscript")
    code, text = run(*words)
    assert code == 0, text
    if suffix == "py":
        source = path.read_text()
        assert "pkgen_hf" not in source.split('"""')[2] and "toy_space" not in source.split('"""')[2]
        assert runpy.run_path(str(path))["build"]()(torch.randn(2, 3, 16, 16)).shape == (2, 5)
    elif suffix == "safetensors":
        with safe_open(path, "pt") as file:
            assert file.metadata()["space"] == "toy" and file.get_tensor("classifier.bias").shape == (5,)


def test_its_table_is_looked_up(data: Path, space: SearchSpace) -> None:
    assert (data / "toy" / "README.md").read_text().count("Accuracies that were made up.") == 1
    table = ScoreTable.load("toy", data / "toy")
    assert table.tasks == ["shapes", "colours"] and table.is_complete("shapes")
    assert float(table.scores(space.from_strings(["none|conv3|none"]), "colours")) == pytest.approx(33.0)
    code, text = run("prior", "--space", "toy", "--task", "shapes", "--table", str(data / "toy"), "--json")
    assert code == 0, text
    with pytest.raises(ValueError, match="toy has no PyPI package of measurements"):
        load_benchmark("toy")


def test_priors_and_pipelines_know_it_by_name(data: Path, trained: Path, space: SearchSpace, tmp_path: Path) -> None:
    prior = Prior.from_benchmark("toy", "shapes", 5, ScoreTable.load("toy", data / "toy"))
    assert Prior.load(prior.save(tmp_path / "prior.parquet")).space is space
    pipe = PKGenPipeline.from_pretrained(trained)
    assert {prior.task for prior in pipe.priors if prior.space is space} >= {"shapes", "colours"}
    out = pipe("toy", task="shapes", num_architectures=4, generator=torch.Generator().manual_seed(0))
    assert all(architecture.is_valid for architecture in out.architectures)
    words = ["generate", "--space", "toy", "--task", "shapes", "-n", "3", "--checkpoint", str(trained), "--json"]
    code, text = run(*words, "--table", str(data / "toy"))
    assert code == 0 and "measured_validation_accuracy" in text, text


def test_its_networks_are_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(tmp_path / "train.parquet", pictures(24))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    words = ["--space", "toy", "--architecture", CELL, "--train_images", str(tmp_path), "--no_validation"]
    train_network.main([*words, "--cpu", "--quiet", "--output_dir", str(tmp_path / "run")])
    network = PKGenNetworkForImageClassification.from_pretrained(tmp_path / "run" / "network")
    assert (network.config.space, network.config.image_size, network.config.num_labels) == ("toy", 16, 3)


def test_methods_are_compared_on_it(data: Path, trained: Path, tmp_path: Path) -> None:
    """Whose space holds fewer distinct architectures than a set of 100."""
    words = ["same-benchmark", "--space", "toy", "--data", str(data), "--checkpoint", str(trained), "--runs", "2"]
    reproduce.main([*words, "--task", "shapes", "--results", str(tmp_path)])
    record = json.loads((tmp_path / "same-benchmark-toy.json").read_text())
    rows = {row["method"]: row for row in record["rows"]}
    assert rows.keys() >= {"pkgen", "uniform", "copy", "largest", "prior-0.5", "pool-ranking"}
    assert all(row["n"] == row["distinct"] == 57 for name, row in rows.items() if name != "pkgen-raw")
    assert rows["copy"]["first_rank"] == 0  # of colours, which rank alike


# ---------------------------------------------------------------------- registering


def small(name: str = "mine", kernel: int = 3) -> SearchSpace:
    choices = (Choice("none", "zero"), Choice("conv", "convolution", kernel=kernel))
    slots = [Slot("a", "operation", choices, (0,), 1)]
    return SearchSpace(name, slots, {"x": Task("other", chance_score=0.0, num_classes=2)}, null_choice="none")


def test_a_name_is_registered_once() -> None:
    first = register_space(small())
    try:
        second = register_space(small())  # the same again
        assert get_space("mine") is second is not first and registration(second).network is None
        with pytest.raises(ValueError, match="another space that is called 'mine' too.*unregister_space"):
            register_space(small(kernel=5))
        with pytest.raises(NotImplementedError, match="mine has no networks to build"):
            options(second)
    finally:
        unregister_space("mine")
    assert "mine" not in list_spaces()
    with pytest.raises(ValueError, match="unknown registered search space of your own: 'mine'"):
        unregister_space("mine")
    with pytest.raises(ValueError, match="unknown registered search space of your own: 'darts'"):
        unregister_space("darts")
    with pytest.raises(ValueError, match="belongs to a space of this package"):
        register_space(get_space("darts"))
    with pytest.raises(ValueError, match="register_space takes a SearchSpace, got 'darts'"):
        register_space("darts")  # type: ignore[arg-type]


def test_former_name_of_the_chance_score() -> None:
    with pytest.warns(FutureWarning, match=r"use Task\(chance_score=\.\.\.\)"):
        task = Task("other", guess=5.0, num_classes=2)  # type: ignore[call-arg]
    with pytest.warns(FutureWarning, match="use Task.chance_score"):
        assert task.guess == 5.0
    assert task == Task("other", 5.0, 2) and "guess" not in repr(task)


def test_a_space_is_freed(pipe: PKGenPipeline, tmp_path: Path) -> None:
    """After its tensors, strings and pictures were made, and architectures of it were generated."""
    space = small("short-lived")
    out = pipe(space, task="x", num_architectures=2, generator=torch.Generator().manual_seed(0))
    out.architectures[0].draw(tmp_path / "cell.svg")
    space.from_strings(space.to_strings(space.canonical(space.sample(4))))
    assert space.choice_features.isfinite().all() and space.num_architectures == 2
    kept = weakref.ref(space)
    del space, out
    gc.collect()
    assert kept() is None


def test_source_that_is_nowhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a network that was defined in a cell of a notebook."""
    module = sys.modules["toy_space"]
    cell = Architecture.from_string("toy", CELL)
    with monkeypatch.context() as patch:
        patch.delattr(module, "__file__")
        with pytest.raises(ValueError, match="the source of toy_space, where the network is defined, is in no file"):
            cell.export(tmp_path / "network.py")
    elsewhere = tmp_path / "elsewhere.py"
    elsewhere.write_text("")
    monkeypatch.setattr(module, "__file__", str(elsewhere))
    with pytest.raises(ValueError, match="the source of toy_space, where the network is defined, is in no file"):
        cell.export(tmp_path / "network.py")
    assert not (tmp_path / "network.py").exists()


def test_task_takes_one_name_of_the_chance_score() -> None:
    with pytest.raises(ValueError, match="give one of them"):
        Task("image-classification", chance_score=3.0, guess=5.0)
