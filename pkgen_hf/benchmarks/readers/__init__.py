"""Readers of the files in which benchmarks are published, into standard tables (see `readers.tables`).

Each is described where it is written: `tables` (Parquet of other columns), `nas_bench_101`, `nats_bench`, `json_files`
(NAS-Bench-Macro, NAS-Bench-301 by NAS-Bench-Suite-Zero, Accel-NASBench, NAS-Bench-NLP), `transnas` and `asr`. Pickles
are read without running anything that they ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from ...spaces import SearchSpace
from . import asr, nas_bench_101, nats_bench, transnas
from .folders import join, read_files
from .json_files import read_accel, read_macro, read_recurrent, read_suite_zero
from .tables import score_column, standard

# What the files of a benchmark's own form are called, and their reader.
_OFFICIAL: dict[str, tuple[str, Callable[[SearchSpace, Sequence[Path], bool], pa.Table]]] = {
    "darts": ("*.json", read_suite_zero),
    "mnasnet": ("*.json", read_accel),
    "nas-bench-101": ("*.tfrecord", nas_bench_101.read),
    "nas-bench-201": ("*.pickle.pbz2", nats_bench.read),
    "nas-bench-asr": ("*.pickle", asr.read),
    "nas-bench-macro": ("*.json", read_macro),
    "nas-bench-nlp": ("*.json", read_recurrent),
    "nats-bench-size": ("*.pickle.pbz2", nats_bench.read),
    "transnas-bench-101-macro": ("*.pth", transnas.read),
    "transnas-bench-101-micro": ("*.pth", transnas.read),
}


def source_files(space: SearchSpace, path: Path) -> tuple[list[Path], bool]:
    """The files that `read_source` reads, and whether they are of the benchmark's own form.

    Of a folder all Parquet files, or, if it has none, all that are called as the benchmark's own files are.

    Raises
    ------
    FileNotFoundError
        For a folder without either.
    """
    pattern = _OFFICIAL[space.name][0] if space.name in _OFFICIAL else None
    if path.is_file():
        return [path], pattern is not None and path.match(pattern)
    tables = sorted(path.glob("**/*.parquet"))
    own = sorted(path.glob(f"**/{pattern}")) if pattern and not tables else []
    if not tables and not own:
        raise FileNotFoundError(f"no .parquet file in {path}" + (f", and no {pattern}" if pattern else ""))
    return tables or own, not tables


def read_source(space: SearchSpace, path: Path, quiet: bool = True) -> pa.Table:
    """The standard table of a space from a file or folder of any form that is known.

    Raises
    ------
    FileNotFoundError
        For a folder without tables.
    ValueError
        For what is not readable, or of no known form.
    """
    files, is_own = source_files(space, path)
    if is_own:
        return _OFFICIAL[space.name][1](space, files, quiet)
    return standard(space, read_files(files, path))


__all__ = ["join", "read_source", "score_column", "source_files", "standard"]
