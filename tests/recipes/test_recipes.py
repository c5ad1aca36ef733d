"""Protocols are run as written, in small, in this process, which spares the imports."""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from processes import start_script

import reproduce
import result_files
import trainings
from compare import Comparison
from pkgen_hf import ScoreTable, get_space, list_spaces
from pkgen_hf.evaluation import pools
from pkgen_hf.evaluation.measures import OF_SETS
from pkgen_hf.evaluation.methods import METHODS
from pkgen_hf.evaluation.protocols import PROTOCOLS, SETTINGS, Condition
from reproduce import budget
from reproduce import main as here

SPACE = "nas-bench-201"


# ---------------------------------------------------------------------- everything in small


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of all protocols of a space in small, from the tables of the PyPI packages alone, after it ran.

    Baselines that rank a pool of random architectures have one of a tenth.
    """
    folder = tmp_path_factory.mktemp("quick")
    words = ["all", "--space", SPACE, "--quick", "--data", str(folder / "none")]
    words += ["--output_dir", str(folder), "--results", str(folder / "results")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools, "POOL", 1000)
        here(words)
    return words


def test_everything_in_small(quick: list[str]) -> None:
    results = Path(quick[-1])
    records = result_files.read_records(results)  # which checks the schema
    assert set(records) == {f"{protocol}-{SPACE}" for protocol in (*PROTOCOLS, "ablations")}
    del records[f"ablations-{SPACE}"]
    assert not list(results.rglob(".*"))  # nothing unfinished is left
    for name, record in records.items():
        protocol, runs = PROTOCOLS[record["protocol"]], result_files.read_runs(name, results)
        assert {row["setting"] for row in record["rows"]} == set(protocol.settings)
        assert {row["task"] for row in record["rows"]} == {"cifar100"}
        assert sum(row["runs"] for row in record["rows"]) == len(runs) and set(runs["run"]) == {0, 1}
        for row in record["rows"]:
            method = METHODS[row["method"]]
            assert method.is_search == protocol.is_search and row["scores"] == "validation"
            assert row["num_labels"] == (20 if protocol.num_labels != (0,) else 0)
            if not method.reads and not method.is_search:
                assert row["labels_read"] == row["labels_of_target"] == 0
            assert row["first_rank"] >= row["few_rank"] >= 0 and ("quantile" in row) == (protocol.quantiles != (None,))
            if protocol.is_search:
                assert not row.keys() & set(OF_SETS) and row["labels_of_target"] == 20 == row["n"] == row["distinct"]
            elif method.id != "pkgen-raw":
                assert row["n"] == row["distinct"] == 100
            assert bool(row["trainings"]) == method.uses_pipeline(row["num_labels"] > 0)


def test_every_method_takes_part(quick: list[str]) -> None:
    records = result_files.read_records(Path(quick[-1]))
    found = {row["method"] for record in records.values() for row in record["rows"]}
    assert found >= METHODS.keys() - {"spectral-capacity"}
    baselines = {"uniform", "copy", "largest", "prior-0.5", "pool-ranking"}
    for protocol, more in (("new-data-set", set()), ("given-labels", {"pool-gaussian-process", "pool-random-forest"})):
        rows = [row for row in records[f"{protocol}-{SPACE}"]["rows"] if row["setting"] == "new-data-set"]
        assert {row["method"] for row in rows} >= baselines | more | {"pkgen"}
    unknown_space = [row for row in records[f"new-space-{SPACE}"]["rows"] if row["method"] == "copy"]
    assert not unknown_space  # there is nothing to copy from


def test_trainings_have_read_no_label_of_the_target(quick: list[str]) -> None:
    records = result_files.read_records(Path(quick[-1]))
    of_space = records[f"new-space-{SPACE}"]
    for training in of_space["trainings"].values():
        assert training["labels_read"] and not any(name.startswith(f"{SPACE}/") for name in training["labels_read"])
    for training in records[f"new-data-set-{SPACE}"]["trainings"].values():
        assert f"{SPACE}/cifar100" not in training["labels_read"]
        assert training["labels_read"][f"{SPACE}/cifar10"] == 15625
    (pkgen,) = (row for row in of_space["rows"] if row["method"] == "pkgen")
    assert pkgen["trainings"] == ["held-out-0"] and pkgen["labels_of_target"] == 0
    assert pkgen["labels_read"] == sum(of_space["trainings"]["held-out-0"]["labels_read"].values())


def test_all_goes_on_after_the_commands_that_were_finished(quick: list[str]) -> None:
    results = Path(quick[-1])
    timing = results / "timings" / f"all-{SPACE}.json"
    whole = json.loads(timing.read_text())
    assert [row["command"].split()[2] for row in whole["rows"]] == [*PROTOCOLS, "ablations"]
    assert max(row["seconds"] for row in whole["rows"]) <= whole["seconds"]
    kept = {row["command"]: row["seconds"] for row in whole["rows"] if "ask-tell" not in row["command"]}
    unfinished = timing.with_name(f".{timing.stem}.unfinished.json")
    unfinished.write_text(json.dumps({"seconds": 1000.0, "commands": kept}))  # as if it had been stopped in the last
    written = {path: path.stat().st_mtime_ns for path in results.glob("[!.]*.json")}
    here(quick)
    changed = {path.stem for path, before in written.items() if path.stat().st_mtime_ns != before}
    assert changed == {f"ask-tell-{SPACE}"} and not unfinished.exists()
    again = json.loads(timing.read_text())
    assert again["seconds"] > 1000 and len(again["rows"]) == len(whole["rows"])


def test_a_training_of_other_settings_is_refused(quick: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = (row for row in json.loads((Path(quick[-1]) / "timings" / f"all-{SPACE}.json").read_text())["rows"]
                  if " new-space " in row["command"])  # fmt: skip
    words = command["command"].split()[2:]
    with pytest.raises(SystemExit, match="held-out-0.pipeline was trained with other settings"):
        here([*words, "--max_train_steps", "3"])


# ---------------------------------------------------------------------- killed and resumed


def test_a_command_that_was_killed_gives_the_rows_of_one_that_was_not(tmp_path: Path) -> None:
    words = ["same-benchmark", "--runs", "1", "--task", "cifar10", "--task", "cifar100"]
    words += ["--data", str(tmp_path / "none"), "--results"]
    process = start_script("reproduce.py", [*words, str(tmp_path / "killed")])
    unfinished = result_files.unfinished_file(f"same-benchmark-{SPACE}", tmp_path / "killed")
    deadline = time.monotonic() + 300
    while not unfinished.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.join()
    kept = json.loads(unfinished.read_text())["parts"]
    assert len(kept) == 1 and not (tmp_path / "killed" / f"same-benchmark-{SPACE}.json").exists()
    for folder in ("killed", "whole"):
        here([*words, str(tmp_path / folder)])
    resumed, whole = (
        result_files.read_runs(f"same-benchmark-{SPACE}", tmp_path / folder) for folder in ("killed", "whole")
    )
    (first,) = kept.values()
    assert resumed["seconds"][: len(first)].tolist() == [row["seconds"] for row in first]  # not made again
    pd.testing.assert_frame_equal(resumed.drop(columns="seconds"), whole.drop(columns="seconds"))
    assert not unfinished.exists()


def test_parts_of_other_settings_are_made_again(tmp_path: Path) -> None:
    made: list[str] = []

    def make(part: str) -> list[dict[str, str]]:
        if part == "b" and not made:
            raise KeyboardInterrupt
        made.append(part)
        return [{"part": part}]

    def rows(parts: list[str], **settings: str) -> list[dict[str, Any]]:
        return result_files.rows_of("x", parts, make, tmp_path, settings)

    rows(["a"], runs="5")
    made.clear()
    with pytest.raises(KeyboardInterrupt):
        rows(["a", "b"], runs="5")
    assert made == []
    made.append("begun")
    assert rows(["a", "b", "c"], runs="5") == [{"part": "a"}, {"part": "b"}, {"part": "c"}]
    assert made == ["begun", "b", "c"]
    rows(["a"], runs="6")
    assert made == ["begun", "b", "c", "a"]


# ---------------------------------------------------------------------- files


def test_means_by_hand() -> None:
    cell = {"setting": "new-space", "task": "x", "num_labels": 0, "quantile": None, "budget": None, "method": "pkgen"}
    fixed = {"scores": "test", "labels_of_target": 0}
    runs = [
        cell | fixed | {"run": run, "training": f"t-{run}", "median_rank": rank, "seconds": 2.0, "mean_test": None}
        for run, rank in enumerate((1.0, 2.0, 6.0))
    ]
    (row,) = result_files.means(pd.DataFrame(runs))
    expected = {"setting": "new-space", "task": "x", "num_labels": 0, "method": "pkgen", "runs": 3, **fixed}
    expected |= {"trainings": ["t-0", "t-1", "t-2"], "median_rank": 3.0, "median_rank_std": 2.64575, "seconds": 2.0}
    assert row == expected


def test_what_is_no_results_file_is_refused(quick: list[str], tmp_path: Path) -> None:
    record = json.loads((Path(quick[-1]) / f"new-space-{SPACE}.json").read_text())
    (tmp_path / "good.json").write_text(json.dumps(record))
    assert list(result_files.read_records(tmp_path)) == ["good"]
    for wrong in (
        {**record, "schema": 1},
        {**record, "rows": []},
        {**record, "rows": [record["rows"][0] | {"scores": "accuracy"}]},
        {**record, "rows": [record["rows"][0] | {"first_rank": 101}]},
        {key: value for key, value in record.items() if key != "command"},
    ):
        (tmp_path / "bad.json").write_text(json.dumps(wrong))
        with pytest.raises(ValueError, match="bad.json is no results file of version 2"):
            result_files.read_records(tmp_path)


# ---------------------------------------------------------------------- which trainings and conditions


def test_every_space_is_new_to_one_training() -> None:
    sources = dict.fromkeys([*list_spaces(), "space-of-mine"], "")
    without = [trainings.excluded(third, sources) for third in range(len(trainings.THIRDS))]
    for space in sources:
        assert sum(space in names for names in without) == 1
        assert space in without[trainings.third_of(space)]


@pytest.mark.parametrize("space", trainings.SEPARATE)
def test_a_new_data_set_is_of_a_space_that_is_known(space: str) -> None:
    """And its training has read another data set of that space."""
    tasks = list(get_space(space).tasks)
    new = trainings.tasks_of("new-data-set", space, tasks)
    for task in new:
        names = trainings.excluded(tasks.index(task) % len(trainings.THIRDS), {})
        left_out = {name for name in names if name.startswith(f"{space}/")}
        assert space not in names and f"{space}/{task}" in left_out and len(left_out) < len(tasks)
    assert trainings.tasks_of("new-space", space, tasks) == tasks
    assert trainings.tasks_of("new-data-set", "darts", ["cifar10"]) == []


def options_of(**given: Any) -> argparse.Namespace:
    return argparse.Namespace(**({"labels": None, "quantiles": None, "budget": None, "task": None} | given))


def test_conditions_are_those_of_the_protocol_or_of_the_options(cell_table: ScoreTable) -> None:
    def conditions(protocol: str, **given: Any) -> list[Condition]:
        return list(Comparison(PROTOCOLS[protocol], cell_table, options_of(**given)).conditions())

    for protocol in PROTOCOLS.values():
        if not protocol.is_search:
            assert conditions(protocol.id) == list(protocol.conditions())
    assert conditions("ask-tell") == [Condition("new-space", 100)]  # fewer labels are the first of these
    assert conditions("ask-tell", labels=[5, 30]) == [Condition("new-space", 30)]
    assert {condition.num_labels for condition in conditions("given-labels", labels=[7])} == {7}
    assert {condition.quantile for condition in conditions("under-a-budget", quantiles=[0.1])} == {0.1}
    named = conditions("under-a-budget", budget=[(("max_memory", 1e6),)])
    assert named == [Condition(setting, budgets=(("max_memory", 1e6),)) for setting in SETTINGS]
    parts = Comparison(PROTOCOLS["new-data-set"], cell_table, options_of(task=["cifar100"])).parts()
    assert list(parts.values()) == [(Condition("new-data-set"), "cifar100")]


def test_budgets_are_read() -> None:
    assert budget("max_parameters=40e6, max_memory=1e9") == (("max_parameters", 40e6), ("max_memory", 1e9))
    with pytest.raises(argparse.ArgumentTypeError, match="'max_memory' is not NAME=NUMBER"):
        budget("max_memory")


# ---------------------------------------------------------------------- mistakes and help


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["all", "--space", "nas-bench-20"], "unknown space with a table.*Did you mean 'nas-bench-201'"),
        (["all", "--runs", "3"], "all makes what is published and takes no --runs; give it to one of the protocols"),
        (["same-benchmark", "--task", "cifar"], "unknown task.*'cifar'.*Did you mean 'cifar10'"),
        (["same-benchmark", "--space", "nas-bench-macro", "--data", "none"], "nas-bench-macro has no PyPI package"),
        (["under-a-budget", "--budget", "max_parameter=3", "--task", "cifar10"], "unknown limit: 'max_parameter'"),
    ],
)
def test_mistakes_give_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as raised:
        here([*words, "--results", str(tmp_path)])
    text = str(raised.value)
    assert re.match(f"error: .*{message}", text), text
    assert "\n" not in text


def test_numbers_must_be_positive(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        here(["new-space", "--runs", "0"])
    assert "--runs must be a whole number from 1, got 0" in capsys.readouterr().err


def test_help_names_every_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        here(["--help"])
    text = capsys.readouterr().out
    for protocol in PROTOCOLS:
        assert f"python recipes/reproduce.py {protocol} " in text
    assert reproduce.__doc__ in text
