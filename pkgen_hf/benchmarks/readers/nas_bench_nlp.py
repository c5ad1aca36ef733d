"""NAS-Bench-NLP: its authors' logs of trainings, and tables made of them.

The reader of logs was run on files of the form that the authors describe, not yet on the original ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ...errors import unknown
from ...spaces import Reader, SearchSpace
from .json_files import load_json, of_form
from .progress import track
from .tables import merge_runs, own_strings

_CORPORA = {"ptb": r"\bptb\b|penn", "wikitext2": r"wikitext-?2"}


@of_form("NAS-Bench-NLP's logs")
def read(space: SearchSpace, files: Sequence[Path], quiet: bool = True) -> pa.Table:
    """The folders of ``log_stats_model_*.json`` in train_logs_single_run, _multi_runs and _wikitext-2, each a zip.

    From https://github.com/fmsnew/nas-bench-nlp-release. A log has the ``recepie``, the path of the ``data``, and
    losses in nats per word after each epoch. A score is less the lowest validation loss, and less the test loss of
    that epoch; the mean over the runs of a cell (of isomorphic recipes) whose status is "OK".
    """
    runs: dict[str, list[tuple[str, float, float, float]]] = {}
    for file in track(files, "reading logs", quiet):
        log = load_json(file)
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


def convert(space: SearchSpace, table: pa.Table) -> pa.Table:
    """NAS-Bench-NLP: scores are less the mean loss, in nats per word, of a cell's runs that ended well.

    A table of Penn Treebank or of WikiText-2. Recipes that are isomorphic are one cell.
    """
    ended = np.array([status == "OK" for status in table["status"].to_pylist()])
    columns = {}
    for task in _CORPORA:
        for name, column, sign in [
            (f"{task}_validation_score", f"{task}_best_validation_loss_nats", -1),
            (f"{task}_test_score", f"{task}_test_loss_nats", -1),
            (f"{task}_parameters", "parameters", 1),
            (f"{task}_training_time_s", f"{task}_training_time_s", 1),
        ]:
            if column in table.column_names and f"{task}_test_loss_nats" in table.column_names:
                numbers = table[column].to_numpy(zero_copy_only=False).astype(np.float64)
                columns[name] = np.where(ended, sign * numbers, np.nan)
    return merge_runs(own_strings(space, table["architecture"].to_pylist(), canonical=True), columns)


READER = Reader(pattern="*.json", read=read, marker="status", convert=convert)
