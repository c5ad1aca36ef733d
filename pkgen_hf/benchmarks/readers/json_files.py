"""Benchmarks whose own files are JSON: NAS-Bench-Macro, NAS-Bench-Suite-Zero, Accel-NASBench and NAS-Bench-NLP.

None of the readers has been run on the original files yet, but on files of the forms that their authors describe.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...errors import unknown
from ...spaces import SearchSpace
from .progress import track
from .tables import floats, merge_runs, own_strings

_TRUTH = {"True": True, "False": False}
_CORPORA = {"ptb": r"\bptb\b|penn", "wikitext2": r"wikitext-?2"}

Reader = Callable[[SearchSpace, Sequence[Path], bool], pa.Table]


def _load(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{file} is truncated or not a JSON file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} should hold a JSON object, it holds a {type(content).__name__}")
    return content


def _of_form(what: str) -> Callable[[Reader], Reader]:
    """Report what is missing from a file, or of another type, as one ValueError that names the form."""

    def wrap(reader: Reader) -> Reader:
        @wraps(reader)
        def read(space: SearchSpace, files: Sequence[Path], quiet: bool = True) -> pa.Table:
            try:
                return reader(space, files, quiet)
            except (KeyError, TypeError, AttributeError, IndexError) as error:
                where = files[0] if len(files) == 1 else files[0].parent
                raise ValueError(f"{where} is not of the form of {what}: {error!r}") from error

        return read

    return wrap


@_of_form("nas-bench-macro_cifar10.json")
def read_macro(space: SearchSpace, files: Sequence[Path], quiet: bool = True) -> pa.Table:
    """``nas-bench-macro_cifar10.json`` from https://github.com/xiusu/NAS-Bench-Macro, data/.

    Of each string ``test_acc``, the test accuracies of three runs, their mean ``mean_acc``, ``params`` and ``flops``.
    """
    records: dict[str, Any] = {}
    for file in files:
        records |= _load(file)
    strings, rows = list(records), list(records.values())
    return pa.table(
        {
            "architecture": own_strings(space, strings, files[0].parent),
            "cifar10_test_accuracy": floats([row["mean_acc"] for row in rows]),
            "cifar10_test_accuracy_runs": pa.array([row["test_acc"] for row in rows], pa.list_(pa.float32())),
            "cifar10_parameters": pa.array([round(row["params"]) for row in rows], pa.int64()),
            "cifar10_flops_m": floats([row["flops"] / 1e6 for row in rows]),
        }
    )


@_of_form("zc_nasbench301.json")
def read_suite_zero(space: SearchSpace, files: Sequence[Path], quiet: bool = True) -> pa.Table:
    """``zc_nasbench301.json`` of NAS-Bench-Suite-Zero, from https://github.com/automl/NASLib, naslib/data/.

    The accuracies are predictions of the surrogate of NAS-Bench-301, not results of trainings. Both published forms
    are read: by task and cell, or with the benchmark's name around that and costs without times.
    """
    rows: dict[str, dict[str, Any]] = {}
    for file in files:
        content = _load(file)
        for text, row in content.get("nasbench301", content)["cifar10"].items():
            rows[text.translate(str.maketrans("()", "[]"))] = row
    columns: dict[str, Any] = {
        "architecture": own_strings(space, list(rows), files[0]),
        "cifar10_validation_accuracy": floats([row.get("val_accuracy") for row in rows.values()]),
    }
    for name, column in [("params", "cifar10_parameters_m"), ("flops", "cifar10_flops_m")]:
        costs = [row.get(name) for row in rows.values()]
        columns[column] = floats([cost["score"] if isinstance(cost, dict) else cost for cost in costs])
    return pa.table(columns)


@_of_form("Accel-NASBench's result files")
def read_accel(space: SearchSpace, files: Sequence[Path], quiet: bool = True) -> pa.Table:
    """The folder of ``result_<number>.json`` in ``anb_dataset_jsons.tar.gz``.

    From https://github.com/afzalxo/Accel-NASBench, anb_dataset/. A file has an ``architecture``, ``metrics`` (top-1
    and top-5 on the validation set of ImageNet, seconds of training), and ``platform_perf`` of devices.
    """
    strings, rows = [], []
    for file in track(files, "reading results", quiet):
        content = _load(file)
        decisions = {key: _TRUTH.get(value, value) for key, value in content["architecture"].items()}
        strings.append(json.dumps(decisions))
        metrics = content["metrics"]
        row = {
            "imagenet1k_validation_accuracy": metrics["val_top1"],
            "imagenet1k_validation_top5": metrics["val_top5"],
            "imagenet1k_training_time_s": metrics["train_time"],
        }
        for name, measured in content.get("platform_perf", {}).items():
            row[f"imagenet1k_{name}"] = measured.get(f"{name.split('_')[0]}_mean")
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [np.nan if row.get(name) is None else row[name] for row in rows] for name in names}
    return merge_runs(own_strings(space, strings, files[0].parent), columns)


@_of_form("NAS-Bench-NLP's logs")
def read_recurrent(space: SearchSpace, files: Sequence[Path], quiet: bool = True) -> pa.Table:
    """The folders of ``log_stats_model_*.json`` in train_logs_single_run, _multi_runs and _wikitext-2, each a zip.

    From https://github.com/fmsnew/nas-bench-nlp-release. A log has the ``recepie``, the path of the ``data``, and
    losses in nats per word after each epoch. A score is less the lowest validation loss, and less the test loss of
    that epoch; the mean over the runs of a cell (of isomorphic recipes) whose status is "OK".
    """
    runs: dict[str, list[tuple[str, float, float, float]]] = {}
    for file in track(files, "reading logs", quiet):
        log = _load(file)
        found = [task for task, pattern in _CORPORA.items() if re.search(pattern, log["data"], re.IGNORECASE)]
        if len(found) != 1:
            raise unknown(f"corpus in {file}", log["data"], list(_CORPORA))
        recipe = log["recepie"] if "recepie" in log else log["recipe"]
        validation = test = np.nan
        if log["status"] == "OK":
            best = int(np.argmin(log["val_losses"]))
            validation, test = log["val_losses"][best], log["test_losses"][best]
        text = recipe if isinstance(recipe, str) else json.dumps(recipe)
        runs.setdefault(found[0], []).append((text, -validation, -test, log["num_params"]))
    texts = [run[0] for task in runs.values() for run in task]
    columns, first = {}, 0
    for task, logs in runs.items():
        numbers = np.full((3, len(texts)), np.nan)
        numbers[:, first : first + len(logs)] = np.array([run[1:] for run in logs]).T
        first += len(logs)
        for name, column in zip(("validation_score", "test_score", "parameters"), numbers, strict=True):
            columns[f"{task}_{name}"] = column
    return merge_runs(own_strings(space, texts, files[0].parent, canonical=True), columns)
