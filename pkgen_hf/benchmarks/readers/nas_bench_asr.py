"""NAS-Bench-ASR's own files: ``nb-asr-e40-<seed>.pickle``, with ``nb-asr-bench-<device>`` and ``nb-asr-info``.

From https://github.com/SamsungLabs/nb-asr, releases. Each file is two pickles: a header, and a list of rows that
begin with the hash of a model's graph. Rows of trainings end with the architecture; ``val_per`` is a list of the
phoneme error rate after each epoch, ``test_per`` that of the best epoch. Not yet run on the original files, but on
files of this form.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...spaces import Reader, SearchSpace
from .pickles import load_plain
from .tables import floats, own_strings

EPOCHS = 40


def _read_file(path: Path) -> tuple[dict[str, Any], list[Any]]:
    with path.open("rb") as file:
        header, rows = load_plain(file, path), load_plain(file, path)
    if not isinstance(header, dict) or not isinstance(rows, list) or "dataset_type" not in header:
        raise ValueError(f"{path} is not one of NAS-Bench-ASR's files: it has no header of a data set")
    return header, rows


def _percent(rates: Any) -> float:
    """100 less an error rate, which is given as a share."""
    return 100 - 100 * float(rates)


def read(space: SearchSpace, files: Sequence[Path], quiet: bool = True) -> pa.Table:
    """The mean over seeds of the full training; a score is 100 less the phoneme error rate in percent."""
    strings: dict[Any, str] = {}
    validation: dict[Any, list[float]] = {}
    test: dict[Any, list[float]] = {}
    costs: dict[str, dict[Any, Any]] = {}
    for file in files:
        header, rows = _read_file(file)
        try:
            columns = header["columns"]
            if header["dataset_type"] == "training" and header["epochs"] == EPOCHS:
                for row in rows:
                    strings.setdefault(row[0], str([list(node) for node in row[-1]]))
                    validation.setdefault(row[0], []).append(_percent(min(row[columns.index("val_per")])))
                    test.setdefault(row[0], []).append(_percent(row[columns.index("test_per")]))
            elif header["dataset_type"] == "benchmarking":
                at = columns.index("latency")
                costs[f"timit_latency_{header['device']}"] = {row[0]: row[at] for row in rows}
            elif header["dataset_type"] == "static":
                for name in ("params", "flops"):
                    if name in columns:
                        costs[f"timit_{name}"] = {row[0]: row[columns.index(name)] for row in rows}
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise ValueError(f"{file} is not of the form of NAS-Bench-ASR's files: {error!r}") from error
    if not strings:
        raise ValueError(f"{files[0].parent} holds no file nb-asr-e{EPOCHS}-<seed>.pickle of trainings")
    table: dict[str, Any] = {
        "architecture": own_strings(space, list(strings.values()), files[0].parent),
        "timit_validation_score": floats([np.mean(validation[model]) for model in strings]),
        "timit_test_score": floats([np.mean(test[model]) for model in strings]),
    }
    for name, by_model in costs.items():
        table[name] = floats([by_model.get(model) for model in strings])
    return pa.table(table)


READER = Reader(pattern="*.pickle", read=read)
