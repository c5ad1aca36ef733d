"""The size space of NATS-Bench: the folder ``NATS-sss-v1_0-50262-simple``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from ...spaces import Reader, SearchSpace
from .nats_bench import PATTERN, read_records

EPOCHS = 90  # of the longest training


def read(space: SearchSpace, files: Sequence[Path], quiet: bool = True) -> pa.Table:
    """Scores after the longest training; errors as of `read_records`."""
    return read_records(space, files, quiet, EPOCHS)


READER = Reader(pattern=PATTERN, read=read)
