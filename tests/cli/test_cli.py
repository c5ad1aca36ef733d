"""The command line as users type it."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from representatives import REPRESENTATIVES
from typer.testing import CliRunner

from pkgen_hf import PKGenPipeline, Prior, ScoreTable
from pkgen_hf.benchmarks.sources import with_package
from pkgen_hf.cli.main import app
from pkgen_hf.cli.options import DEFAULT_SPACE, in_words_of_options
from pkgen_hf.spaces import get_space
from pkgen_hf.spaces.registry import DEFAULT_SPACE as DEFAULT

runner = CliRunner()


def run(*arguments: str) -> str:
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_generate_prints_and_draws(tmp_path: Path) -> None:
    picture = tmp_path / "cells.png"
    text = run("generate", "--task", "cifar10", "-n", "3", "--seed", "0", "--draw", str(picture))
    assert text.count("|nor_conv_3x3~") >= 3
    assert text.count("% measured") == 3
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_generate_json_is_json_and_reproduces() -> None:
    call = ("generate", "--space", "nas-bench-graph", "--task", "cora", "-n", "4", "--seed", "1", "--json")
    first, second = run(*call), run(*call)
    assert first == second
    record = json.loads(first)
    assert [a["rank"] for a in record["architectures"]] == [1, 2, 3, 4]
    assert all(a["parameters"] > 0 and a["flops"] > 0 for a in record["architectures"])


def test_quiet_prints_results_only() -> None:
    loud = run("generate", "-n", "2", "--seed", "0")
    quiet = run("generate", "-n", "2", "--seed", "0", "--quiet")
    assert "ranked by" in loud
    assert "ranked by" not in quiet
    assert "|" in quiet


def test_prior_from_benchmark_and_own_evaluations_into_generate(tmp_path: Path) -> None:
    text = run(
        "prior", "--task", "cifar10", "--output", str(tmp_path / "b.parquet"), "--plot", str(tmp_path / "p.svg")
    )
    assert "best 20 of 15,625" in text
    assert "<svg" in (tmp_path / "p.svg").read_text()
    assert Prior.load(tmp_path / "b.parquet").evidence == "measured"
    generated = json.loads(run("generate", "-n", "12", "--seed", "0", "--json"))["architectures"]
    rows = [f'"{a["architecture"]}",{90 + i / 10}' for i, a in enumerate(generated)]
    (tmp_path / "own.csv").write_text("\n".join(["architecture,score", *rows]))
    run("prior", "--evaluations", str(tmp_path / "own.csv"), "-o", str(tmp_path / "own.parquet"))
    out = json.loads(run("generate", "--prior", str(tmp_path / "own.parquet"), "-n", "2", "--json"))
    assert len(out["architectures"]) == 2


def test_prior_of_a_function_into_generate(tmp_path: Path) -> None:
    path = str(tmp_path / "c.parquet")
    text = run("prior", "--space", "nas-bench-macro", "--function", "spectral-capacity", "--top-k", "10", "-o", path)
    assert "nas-bench-macro, spectral-capacity (computed)" in text and "labels read: 0" in text
    assert Prior.load(path).num_good == 10
    out = json.loads(run("generate", "--space", "nas-bench-macro", "--prior", path, "-n", "2", "--json"))
    assert out["prior"]["evidence"] == "computed" and len(out["architectures"]) == 2


def skip_connections(num: int, seed: int = 0) -> tuple[list[str], list[int]]:
    """Cells of NAS-Bench-201, `num` each with none to four skip connections, and how many they have."""
    space = get_space("nas-bench-201")
    rows = space.sample(400, torch.Generator().manual_seed(seed))
    rows = rows[space.is_valid(rows)]
    strings = [[s for s in space.to_strings(rows) if s.count("skip_connect") == k][:num] for k in range(5)]
    return sum(strings, []), [k for k in range(5) for _ in range(num)]


@pytest.mark.parametrize("form", ["csv", "json"])
def test_evaluations_into_generate(tmp_path: Path, pipe: PKGenPipeline, form: str) -> None:
    """Scores that rise with the number of skip connections: three and more, where the prior alone has one."""
    cells, scores = skip_connections(2)
    path = tmp_path / f"results.{form}"
    if form == "csv":
        lines = (f"{cell},{score}" for cell, score in zip(cells, scores, strict=True))
        path.write_text("\n".join(["architecture,score", *lines]))
    else:
        path.write_text(json.dumps([{"architecture": c, "score": s} for c, s in zip(cells, scores, strict=True)]))
    call = ("generate", "-n", "8", "--seed", "0", "--max-parameters", "5e5")
    without = json.loads(run(*call, "--json"))
    found = json.loads(run(*call, "--evaluations", str(path), "--json"))
    strings = [record["architecture"] for record in found["architectures"]]
    assert min(string.count("skip_connect") for string in strings) >= 3
    assert sum(record["architecture"].count("skip_connect") for record in without["architectures"]) <= 8 * 2
    out = pipe(
        "nas-bench-201", evaluations=(cells, scores), max_parameters=5e5, generator=torch.Generator().manual_seed(0)
    )
    assert strings == [str(architecture) for architecture in out.architectures]
    assert (found["num_evaluations"], without["num_evaluations"]) == (10, 0)
    assert found["measured_on"] is None and without["measured_on"] == "validation accuracy on cifar10"
    text = run(*call, "--evaluations", str(path))
    assert "(prior: measured; evaluations: 10)" in text
    assert "ranked by the score predicted from 10 evaluations and the prior" in text
    text = run(*call, "--evaluations", str(path), "--task", "cifar100")  # a benchmark's data set, since it is named
    assert "measured scores (validation accuracy on cifar100) were looked up afterwards" in text


def test_draw_and_spaces(tmp_path: Path) -> None:
    run("draw", "--space", "nas-bench-graph", "0112:gcn,gin,fc,cheb", "-o", str(tmp_path / "cell.svg"))
    assert "cheb" in (tmp_path / "cell.svg").read_text()
    listed = json.loads(run("spaces", "--json"))
    assert {"nas-bench-201": 13820, "nas-bench-graph": 26206}.items() <= {
        s["space"]: s["architectures"] for s in listed
    }.items()
    assert "nas-bench-graph" in run("spaces")


def table_of(space: str, path: Path, **columns: float) -> str:
    """A table in which every architecture that seed 0 generates has the same scores."""
    out = json.loads(run("generate", "--space", space, "-n", "2", "--seed", "0", "--json"))
    cells = [record["architecture"] for record in out["architectures"]]
    pq.write_table(pa.table({"architecture": cells, **{name: 2 * [value] for name, value in columns.items()}}), path)
    return str(path)


@pytest.mark.parametrize(
    ("space", "columns", "field", "printed", "label"),
    [
        ("nas-bench-101", {"cifar10_test_accuracy": 93.5}, "measured_test_accuracy", "93.50 % measured",
         "test accuracy on cifar10"),
        ("nas-bench-101", {"cifar10_test_accuracy": 93.5, "cifar10_validation_accuracy": 94.5},
         "measured_validation_accuracy", "94.50 % measured", "validation accuracy on cifar10"),
        ("transnas-bench-101-micro", {"class_scene_validation_accuracy": 55.0}, "measured_validation_accuracy",
         "55.00 % measured", "validation accuracy on class_scene"),
    ],
)  # fmt: skip
def test_what_was_measured_is_called_what_it_is(
    tmp_path: Path, space: str, columns: dict[str, float], field: str, printed: str, label: str
) -> None:
    call = ("generate", "--space", space, "-n", "2", "--seed", "0")
    table = table_of(space, tmp_path / "table.parquet", **columns)
    out = json.loads(run(*call, "--table", table, "--json"))
    assert out["measured_on"] == label and [a[field] for a in out["architectures"]] == 2 * [list(columns.values())[-1]]
    text = run(*call, "--table", table)
    assert text.count(printed) == 2 and f"({label})" in text


def test_scores_that_are_no_accuracies_have_no_unit(tmp_path: Path) -> None:
    call = ("generate", "--space", "transnas-bench-101-micro", "--task", "room_layout", "-n", "1", "--seed", "0")
    cell = json.loads(run(*call, "--json"))["architectures"][0]["architecture"]
    columns = {"architecture": [cell], "room_layout_validation_score": [-0.65]}
    pq.write_table(pa.table(columns), tmp_path / "table.parquet")
    text = run(*call, "--table", str(tmp_path / "table.parquet"))
    assert "-0.65 measured" in text and "%" not in text and "(validation score on room_layout)" in text


def test_what_was_not_measured_is_not_shown(tmp_path: Path) -> None:
    """Neither for a task of the user's own, nor for a kind of task, nor as NaN."""
    cells = [
        a["architecture"] for a in json.loads(run("generate", "-n", "12", "--seed", "0", "--json"))["architectures"]
    ]
    (tmp_path / "own.csv").write_text("\n".join(["architecture,score", *(f"{c},{k}" for k, c in enumerate(cells))]))
    mine = str(tmp_path / "own.parquet")
    for task in ([], ["--task", "image-classification"]):
        run("prior", "--evaluations", str(tmp_path / "own.csv"), "-o", mine, *task)
        for call in (["--prior", mine], ["--prior", mine, "--task", "image-classification"]):
            text = run("generate", *call, "-n", "2")
            assert "measured" not in text.replace("prior: partly measured", "") and "%" not in text
    run("prior", "--evaluations", str(tmp_path / "own.csv"), "-o", mine, "--task", "cifar100")
    assert "(validation accuracy on cifar100)" in run("generate", "--prior", mine, "-n", "2")
    few = {"architecture": cells[:1], "cifar10_validation_accuracy": [91.0]}
    pq.write_table(pa.table(few), tmp_path / "few.parquet")
    call = ("generate", "--task", "cifar10", "-n", "12", "--seed", "0", "--table", str(tmp_path / "few.parquet"))
    text = run(*call)
    assert text.count("91.00 % measured") == 1 and text.count("not measured") == 11 and "nan" not in text
    assert "NaN" not in run(*call, "--json")


def test_kinds_of_task(tmp_path: Path) -> None:
    out = json.loads(run("generate", "--task", "image-classification", "-n", "2", "--seed", "0", "--json",
                         "--max-parameters", "5e5"))  # fmt: skip
    assert all(a["parameters"] <= 5e5 for a in out["architectures"]) and out["measured_on"] is None
    cell = out["architectures"][0]["architecture"]
    assert run("cost", cell, "--task", "image-classification") == run("cost", cell, "--task", "cifar10")


@pytest.mark.parametrize("space", REPRESENTATIVES)
def test_every_space_is_generated_with_or_without_a_table_at_hand(space: str) -> None:
    out = json.loads(run("generate", "--space", space, "-n", "2", "--seed", "0", "--json"))
    assert len(out["architectures"]) == 2
    assert ("measured_validation_accuracy" in out["architectures"][0]) == (space in with_package())


def test_bench_reports_look_ups(tmp_path: Path, cell_table: ScoreTable) -> None:
    rows = {
        "architecture": cell_table.space.to_strings(cell_table.indices[:500]),
        "cifar10_validation_accuracy": 500 * [9.0],
    }
    pq.write_table(pa.table(rows), tmp_path / "table.parquet")
    call = ["bench", "--batch", "8", "--steps", "1", "--repeats", "1", "--json"]
    result = json.loads(run(*call, "--table", str(tmp_path / "table.parquet")))
    assert result["table_rows"] == 500 and result["look_up_architectures"] == 100_000
    assert result["look_up_seconds"] > 0 and result["table_loading_seconds"] > 0 and result["table_megabytes"] >= 0


@pytest.mark.parametrize("evaluations", [0, 20])
def test_bench_reports_rates(evaluations: int) -> None:
    call = ["bench", "--batch", "64", "--steps", "2", "--repeats", "1", "--json", "--evaluations", str(evaluations)]
    result = json.loads(run(*call))
    assert "look_up_seconds" not in result and result["evaluations"] == evaluations
    assert result["architectures_per_second"] > 0
    assert 0 < result["denoiser_share_of_matrix_product_percent"] < 200


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["generate", "--space", "nas-bench-2"], "Did you mean 'nas-bench-201'"),
        (["generate", "--task", "cifar"], "Did you mean 'cifar10'"),
        (["generate", "--checkpoint", "pkgen-bas"], "Did you mean 'pkgen-base'"),
        (["generate", "-n", "0"], "whole number from 1"),
        (["generate", "--draw", "cells.jpeg"], ".png"),
        (["generate", "--table", "no.parquet"], "no.parquet"),
        (["draw", "|none~0|"], "is not a nas-bench-201 string"),
        (["prior", "--evaluations", "no.csv"], "no file no.csv"),
        (
            ["prior", "--function", "spectral-capacity", "-o", "prior.csv"],
            "--output must end in .parquet, got prior.csv",
        ),
        (["prior", "--space", "hw-gpt-bench-l"], "give --table, --evaluations or --function"),
        (["dataset", "build", "hw-nas-bnch"], "Did you mean 'hw-nas-bench'"),
        (
            ["generate", "--task", "image-classification", "--image-size", "0"],
            "--image-size must be a whole number from 1",
        ),
        (["prior", "--function", "spectral"], "Did you mean 'spectral-capacity'"),
        (["prior", "--function", "spectral-capacity", "--table", "no.parquet"], "--function and --table"),
        (["generate", "--evaluations", "no.csv"], "no file no.csv"),
    ],
)
def test_mistakes_give_one_line(arguments: list[str], message: str) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("error:") == 1


def test_warnings_are_one_line() -> None:
    result = runner.invoke(app, ["generate", "--space", "nas-bench-asr", "-n", "1", "--quiet"])
    assert result.exit_code == 0 and result.stderr.count("\n") == 1
    assert result.stderr.startswith("warning: no prior of a speech task")
    assert result.stderr.rstrip().endswith("give --evaluations or --prior")


def test_messages_name_options_as_the_command_line_does() -> None:
    text = "max_parameters=1 is impossible: give evaluations=, prior= or 'task=x', not possible with distinct=False"
    said = "--max-parameters 1 is impossible: give --evaluations, prior= or 'task=x', not possible with --no-distinct"
    assert in_words_of_options(text, {"max_parameters", "evaluations", "task", "distinct"}) == said


def test_help_teaches() -> None:
    text = " ".join(run("generate", "--help").split())
    assert "Example: pkgen generate" in text and "pkgen generate --evaluations results.csv" in text


def test_prior_says_where_its_values_are_not_exact(tmp_path: Path) -> None:
    text = " ".join(run("prior", "--help").split())
    assert "exact Shapley values" not in text and "restricted games" in text and "additive fit" in text
    space = get_space("nas-bench-asr")
    strings = space.to_strings(space.sample(40, torch.Generator().manual_seed(0)))
    lines = [f'"{string}",{i}' for i, string in enumerate(strings)]
    (tmp_path / "own.csv").write_text("\n".join(["architecture,score", *lines]) + "\n")
    printed = run("prior", "--space", space.name, "--evaluations", str(tmp_path / "own.csv"))
    assert "2 restricted games of 3 and 6 operations, one game of 3 subgraphs" in " ".join(printed.split())


@pytest.mark.parametrize("command", ["prior", "generate"])
def test_errors_of_evaluations_name_file_and_line_as_they_are(tmp_path: Path, command: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text("architecture,score\n|none~0|,[bold]\n")
    result = runner.invoke(app, [command, "--evaluations", str(path)])
    assert result.exit_code == 1
    assert f"{path}, line 2: the score '[bold]' is not a finite number" in result.stderr  # not taken for markup
    path.write_text("architecture,score\n" + "\n".join(f"{cell},1" for cell in skip_connections(1)[0]))
    result = runner.invoke(app, [command, "--evaluations", str(path), "--space", "nas-bench-graph"])
    assert result.exit_code == 1 and f"{path}, line 2: " in result.stderr and "0102:sage" in result.stderr
    if command == "generate":
        result = runner.invoke(app, [command, "--evaluations", str(path), "--no-distinct"])
        assert result.exit_code == 1 and "not possible with --no-distinct" in result.stderr


def test_evaluations_of_a_spreadsheet_are_read(tmp_path: Path) -> None:
    path, space = tmp_path / "own.csv", get_space("nas-bench-201")
    strings = space.to_strings(space.all_indices()[-6:])
    lines = [f"{text};{90 + k},5" for k, text in enumerate(strings)]
    path.write_text("\r\n".join(["architecture;score", *lines]), encoding="utf-8-sig")
    out = json.loads(run("prior", "--evaluations", str(path), "--json"))
    assert out["labels_read"] == 6


@pytest.mark.parametrize(("encoding", "named"), [("utf-16", "UTF-16"), ("latin-1", "of another encoding")])
def test_evaluations_of_another_encoding_give_one_line(tmp_path: Path, encoding: str, named: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text("architecture,score,größe\n|none~0|,90,1\n", encoding=encoding)
    result = runner.invoke(app, ["prior", "--evaluations", str(path)])
    assert result.exit_code == 1
    assert f"error: {path}: the text is {named}, not UTF-8" in result.stderr and result.stderr.count("\n") == 1


def test_default_space_is_that_of_the_package() -> None:
    assert DEFAULT_SPACE == DEFAULT


def test_version_and_mistakes_before_anything_is_done(tmp_path: Path) -> None:
    assert run("--version").strip() == version("pkgen-hf")
    result = runner.invoke(app, ["generate", "--draw", str(tmp_path / "cells.xyz")])
    assert result.exit_code == 1 and "suffix of a picture" in result.output and "score" not in result.output
    results = tmp_path / "results.csv"
    results.write_text("architecture,score\n")
    for command in ("prior", "generate"):
        result = runner.invoke(app, [command, "--evaluations", str(results), "--task", "mine"])
        assert result.exit_code == 1 and "leave --task out" in " ".join(result.output.split())
    assert runner.invoke(app, ["app", "--port", "80000"]).exit_code == 2
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "model_index.json").write_text("{}")
    for words in (
        ["card", str(tmp_path), "--output", str(tmp_path / "out")],
        ["generate", "--checkpoint", str(tmp_path)],
    ):
        result = runner.invoke(app, words)
        assert result.exit_code == 1 and "did you mean" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cost", "--scale", "task=cifar10"], "--scale takes options of networks, and task is none here"),
        (["cost", "--scale", "measured=true"], "and measured is none here"),
        (["export", "--output", "network.py", "--scale", "seed=1"], "and seed is none here"),
        (["bench", "--device", "tpu"], "no device 'tpu' on this machine"),
        (["bench", "--evaluations", "-1"], "evaluations must be a whole number from 0, got -1"),
        (["bench", "--threads", "0"], "threads must be a whole number from 1 to 4096, got 0"),
        (["bench", "--repeats", "-1"], "repeats must be a whole number from 1, got -1"),
    ],
)
def test_values_of_other_arguments_are_refused(words: list[str], message: str) -> None:
    cell = ["|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"] if words[0] != "bench" else []
    result = runner.invoke(app, [*words, *cell])
    assert result.exit_code == 1 and message in " ".join(result.output.split())


def test_a_task_of_ones_own_by_its_numbers(tmp_path: Path) -> None:
    numbers = ("--num-classes", "18", "--in-channels", "1", "--image-size", "16")
    call = ("generate", "-n", "2", "--seed", "0", "--json", "--task")
    own = json.loads(run(*call, "image-classification/addnist", *numbers))
    assert own["task"] == "image-classification/addnist"
    assert own["shape"] == {"num_classes": 18, "in_channels": 1, "image_size": 16}
    kind = json.loads(run(*call, "image-classification"))
    assert "shape" not in kind
    for one, other in zip(own["architectures"], kind["architectures"], strict=True):
        assert one["architecture"] == other["architecture"]
        assert one["parameters"] == other["parameters"] + 8 * 65 - 2 * 144
        assert one["flops"] < other["flops"] / 3.9
    assert json.loads(run(*call, "cifar10", "--num-classes", "10"))["task"] == "cifar10"
    text = kind["architectures"][0]["architecture"]
    cost = json.loads(run("cost", text, *numbers, "--json"))
    assert [cost[name] for name in ("parameters", "flops")] == [
        own["architectures"][0][name] for name in ("parameters", "flops")
    ]
    run("export", text, "--task", "cifar100", "--in-channels", "1", "-o", str(tmp_path / "net.py"), "--quiet")
    names: dict[str, Any] = {"__name__": "net"}
    exec((tmp_path / "net.py").read_text(), names)
    assert names["build"]().eval()(torch.zeros(2, 1, 32, 32)).shape == (2, 100)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "cifar10", "--num-classes", "18"), "cifar10 has --num-classes 10, not 18"),
        (("--in-channels", "1"), "--in-channels describes a data set of your own: say by --task of which kind"),
        (("--task", "image-classification", "--image-size", "30"), "multiples of 4, not of --image-size 30"),
        (("--task", "addnist", "--num-classes", "18"), "unknown task of nas-bench-201: 'addnist'"),
    ],
)
def test_contradicting_numbers_of_a_task_end_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    result = runner.invoke(app, ["generate", "-n", "2", *arguments])
    assert result.exit_code == 1 and message in result.stderr and result.stderr.count("\n") == 1
