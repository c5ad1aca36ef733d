"""Readers of the files in which benchmarks are published, into standard tables (see `pkgen_hf.sources.tables`)."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from ..spaces import SearchSpace
from .folders import join, read_files
from .tables import score_column, standard


def read_source(space: SearchSpace, path: Path) -> pa.Table:
    """The standard table of a space from a file or folder of any form that is known.

    Raises
    ------
    FileNotFoundError
        For a folder without tables.
    ValueError
        For what is not readable, or of no known form.
    """
    files = [path] if path.is_file() else sorted(path.glob("**/*.parquet"))
    if not files:
        raise FileNotFoundError(f"no .parquet file in {path}")
    return standard(space, read_files(files, path))


__all__ = ["join", "read_source", "score_column", "standard"]
