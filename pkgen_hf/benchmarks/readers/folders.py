"""Parquet files and folders of them: rows of files of one form follow each other, columns of several are joined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def read_tables(files: Sequence[Path], where: str | Path) -> list[pa.Table]:
    """Tables of Parquet files: those with the same columns follow each other in one.

    Raises
    ------
    ValueError
        For what is not Parquet.
    """
    groups: dict[tuple[str, ...], list[pa.Table]] = {}
    try:
        for file in files:
            # decoding on threads costs twice the memory
            table = pq.ParquetFile(file).read(use_threads=False)
            groups.setdefault(tuple(table.column_names), []).append(table)
        return [pa.concat_tables(tables) for tables in groups.values()]
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{where} could not be read as Parquet: {error}") from error


def join(tables: Sequence[pa.Table], where: str | Path) -> pa.Table:
    """One table with the columns of all, which must have the same architectures in the same order."""
    whole = tables[0]
    for table in tables[1:]:
        if "architecture" not in whole.column_names or "architecture" not in table.column_names:
            raise ValueError(f"{where} holds tables of different columns, and not all have a column 'architecture'")
        if not whole["architecture"].equals(table["architecture"]):
            raise ValueError(
                f"{where} holds tables of different columns whose architectures differ "
                f"({whole.num_rows:,} and {table.num_rows:,} rows)"
            )
        for name in table.column_names:
            if name not in whole.column_names:
                whole = whole.append_column(name, table[name])
    return whole
