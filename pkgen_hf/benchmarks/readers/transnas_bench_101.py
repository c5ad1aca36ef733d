"""TransNAS-Bench-101's own file, ``transnas-bench_v10141024.pth``, of both spaces, and tables made of it.

The file is from https://github.com/yawen-d/TransNASBench (through VEGA). It is what ``torch.save`` made of nested
dictionaries: ``data``, space, string, task, ``metrics`` by epoch and ``model_info``. Not yet run on the original file,
but on files of this form.

Tables are of two kinds. One has the validation scores of the last epoch. The other has the highest value over all
epochs of each measure, of training, validation and test images, each by itself: its test scores are not those of the
epoch that validation selects, and optimistic. Of both kinds the validation scores are those that select.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...spaces import Reader, SearchSpace
from .pickles import read_torch_zip
from .tables import floats, own_strings, score_column

# The measure that selects, of those that are high when good.
_MEASURES = {
    "class_scene": "top1",
    "class_object": "top1",
    "room_layout": "neg_loss",
    "jigsaw": "top1",
    "segmentsemantic": "acc",
    "normal": "ssim",
    "autoencoder": "ssim",
}
_PREFIXES = {"validation": "valid", "test": "test"}
_COSTS = {"model_params": "parameters_m", "model_FLOPs": "flops_m", "inference_time": "latency_s"}


def read(space: SearchSpace, files: Sequence[Path], quiet: bool = True) -> pa.Table:
    """Scores after the last epoch, and costs, of the space's half of the file."""
    file = files[0]
    content = read_torch_zip(file)
    try:
        results: dict[str, dict[str, Any]] = content["data"][space.name.rsplit("-", 1)[-1]]
        columns: dict[str, Any] = {"architecture": own_strings(space, list(results), file)}
        for task, measure in _MEASURES.items():
            runs = [result.get(task) for result in results.values()]
            for split, prefix in _PREFIXES.items():
                last = [run["metrics"][f"{prefix}_{measure}"][-1] if run else np.nan for run in runs]
                columns[score_column(space, task, split)] = floats(last)
            for info, name in _COSTS.items():
                columns[f"{task}_{name}"] = floats([run["model_info"].get(info) if run else None for run in runs])
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{file} is not of the form of TransNAS-Bench-101: {error!r} is missing or wrong") from error
    return pa.table(columns)


_MARKERS = ("class_scene_validation", "class_scene_valid_top1")
_IDENTIFICATION = ("matching_values", "identified_alone")  # how a table found the strings of its rows


def convert(space: SearchSpace, table: pa.Table) -> pa.Table:
    """TransNAS-Bench-101: of the last epoch ``<task>_<split>``, or of the best epochs ``<task>_<prefix>_<measure>``.

    Other measures, such as those of training, keep their names, which are none of scores that select. ValueError for a
    table of both, whose validation scores would be two.
    """
    if all(name in table.column_names for name in _MARKERS):
        raise ValueError(
            f"scores of the last epoch and of the best epochs are two tables of {space.name}: read one of them"
        )
    rename: dict[str, str] = {}
    for task, measure in _MEASURES.items():
        for split, prefix in _PREFIXES.items():
            names = f"{task}_{split}", f"{task}_{prefix}_{measure}"
            rename |= dict.fromkeys(names, score_column(space, task, split))
    kept = table.drop_columns([name for name in _IDENTIFICATION if name in table.column_names])
    return kept.rename_columns([rename.get(name, name) for name in kept.column_names])


READER = Reader(pattern="*.pth", read=read, marker=_MARKERS, convert=convert)
