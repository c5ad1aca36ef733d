"""NATS-Bench's own files: the folders ``NATS-tss-v1_0-3ffb9-simple`` and ``NATS-sss-v1_0-50262-simple``, version 1.0.

From https://github.com/D-X-Y/NATS-Bench; tar archives to be unpacked first. ``meta.pickle.pbz2`` lists the strings of
all architectures, ``<number>.pickle.pbz2`` holds the runs of one: of NAS-Bench-201's cells (topology), or of networks
of different widths (size). Run on records of three architectures of each; not yet run on the whole folders.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...spaces import SearchSpace
from .pickles import read_plain
from .progress import track
from .tables import floats

PATTERN = "*.pickle.pbz2"
# Of each task: the runs and the measure of the validation, and those of the test; the sum of the two is "ori-test".
_PLACES = {
    "cifar10": (("cifar10-valid", "x-valid"), ("cifar10", "ori-test")),
    "cifar100": (("cifar100", "x-valid"), ("cifar100", "x-test")),
    "ImageNet16-120": (("ImageNet16-120", "x-valid"), ("ImageNet16-120", "x-test")),
}


def _row(record: dict[str, Any], epochs: int) -> dict[str, Any]:
    """Means over the seeds of the longest training, and costs."""
    found = record[str(epochs) if epochs > 99 else f"{epochs:02d}"]
    row = {"architecture": found["arch_str"], "number": found["arch_index"]}
    runs: dict[str, list[Any]] = {}
    for (data, _), run in found["all_results"].items():
        runs.setdefault(data, []).append(run)
    for task, ((train, valid), (retrain, test)) in _PLACES.items():
        last = runs[train]
        row[f"{task}_validation_accuracy"] = np.mean([run["eval_acc1es"][f"{valid}@{epochs - 1}"] for run in last])
        row[f"{task}_test_accuracy"] = np.mean([run["eval_acc1es"][f"{test}@{epochs - 1}"] for run in runs[retrain]])
        row[f"{task}_training_time_s"] = np.mean([sum(run["train_times"].values()) for run in last])
        row[f"{task}_latency_s"] = np.mean([np.mean(run["latency"]) for run in last])
        row[f"{task}_parameters"] = round(float(last[0]["params"]) * 1e6)
        row[f"{task}_flops_m"] = float(last[0]["flop"])
    return row


def read_records(space: SearchSpace, files: Sequence[Path], quiet: bool, epochs: int) -> pa.Table:
    """The architectures whose records are there, after a training of so many epochs.

    Validation accuracy and training time on CIFAR-10 are of training on half its training set.

    Raises
    ------
    ValueError
        For a damaged or foreign file, one that holds more than plain data, or a record that is not the one listed.
    """
    lists = [file for file in files if file.name.startswith("meta.")]
    numbered = [file for file in files if file not in lists]
    if len(lists) != 1 or not numbered:
        raise ValueError(f"{files[0].parent} should hold meta.pickle.pbz2 and numbered records, it has {len(files)}")
    meta = read_plain(lists[0])
    names = meta.get("meta_archs") if isinstance(meta, dict) else None
    if not isinstance(names, list):
        raise ValueError(f"{lists[0]} lists no architectures")
    rows = []
    for file in track(numbered, f"reading {files[0].parent.name}", quiet):
        record = read_plain(file)
        try:
            row = _row(record, epochs)
            listed = names[row.pop("number")]
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"{file} is not a record of {space.name}: {error!r} is missing or wrong") from error
        if listed != row["architecture"]:
            raise ValueError(f"{file} is of {row['architecture']}, but listed as {listed}")
        rows.append(row)
    table = pa.Table.from_pylist(rows)
    for at, name in enumerate(table.column_names):
        if name != "architecture" and not name.endswith("_parameters"):
            table = table.set_column(at, name, floats(table[name]))
    return table
