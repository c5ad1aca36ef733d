"""Readers of the files in which benchmarks are published, into standard tables (see `readers.tables`).

The reader of a space of this package stands in the module of the space's file name, as ``READER``; that of any other
space is given to `pkgen_hf.spaces.register_space`. Pickles are read without running anything that they ask for.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from ...spaces import Reader, SearchSpace
from ...spaces.registry import module_of, registration
from .folders import join, read_tables
from .tables import score_column, stack


def reader_of(space: SearchSpace) -> Reader:
    """The reader of a space's benchmark, without any function if there is none."""
    module = module_of(space, "benchmarks.readers")
    return registration(space).reader or (Reader() if module is None else module.READER)


def source_files(space: SearchSpace, path: Path) -> tuple[list[Path], bool]:
    """The files that `read_source` reads, and whether they are of the benchmark's own form.

    Of a folder all Parquet files, or, if it has none, all that are called as the benchmark's own files are.

    Raises
    ------
    FileNotFoundError
        For a folder without either.
    """
    pattern = reader_of(space).pattern
    if path.is_file():
        return [path], bool(pattern) and path.match(pattern)
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
    read = reader_of(space).read
    if is_own and read is not None:
        return read(space, files, quiet)
    tables = read_tables(files, path)
    marker = reader_of(space).marker
    if len(tables) > 1 and marker and all(marker in table.column_names for table in tables):
        return stack([standard(space, table) for table in tables])  # each of a data set, of architectures of its own
    return standard(space, join(tables, path))


def standard(space: SearchSpace, table: pa.Table) -> pa.Table:
    """`table` in the standard form, if it is of another that is known for the space; as it is if not."""
    reader = reader_of(space)
    if reader.convert is not None and any(name in table.column_names for name in reader.markers):
        return reader.convert(space, table)
    return table


__all__ = ["join", "read_source", "reader_of", "score_column", "source_files", "standard"]
