"""NAS-Bench-BERT: tables made of its authors' results."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ...spaces import Reader, SearchSpace
from .tables import merge_runs, own_strings, score_column

_NO_PERCENTAGES = ("glue", "cola", "sts")  # a mean of unlike measures, and correlations x 100


def convert(space: SearchSpace, table: pa.Table) -> pa.Table:
    """NAS-Bench-BERT: scores on the development sets of GLUE; several trainings of one string are one row, their mean.

    A table says the score of each task, ``glue_average``, ``pretraining_time_s`` and ``parameters``. The networks of
    several strings were trained alike: they keep rows of their own.
    """
    columns = {}
    for task in space.tasks:
        name = f"{task}_validation_score" if task in _NO_PERCENTAGES else score_column(space, task, "validation")
        columns[name] = table["glue_average" if task == "glue" else task]
    columns["glue_pretraining_time_s"] = table["pretraining_time_s"]
    columns["glue_parameters"] = table["parameters"]
    runs = {name: column.to_numpy(zero_copy_only=False).astype(np.float64) for name, column in columns.items()}
    return merge_runs(own_strings(space, table["architecture"].to_pylist()), runs)


READER = Reader(marker="glue_average", convert=convert)
