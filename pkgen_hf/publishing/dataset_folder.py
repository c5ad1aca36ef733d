"""Folders that can be published as data sets on the Hub: Parquet files and a card whose header is made from them.

A benchmark's folder has a config for each kind of task, with its tasks' columns; all have the same rows in the same
order. A folder of priors has a config for each space, in the form of `pkgen_hf.priors.files`. The one split is called
``train``, as the Hub calls what is not split.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData
from rich.console import Console

from ..benchmarks.latencies import SUFFIX, LatencyTable, published_latencies, standard_columns
from ..benchmarks.readers import source_files
from ..benchmarks.score_table import MEASURES, SPLITS
from ..benchmarks.sources import package_of, read_table
from ..files import is_empty, replace_folder, user_path
from ..hub.download import PRIORS_FOLDER, checkpoint_folder
from ..priors.files import load_priors
from ..spaces import DEFAULT_SPACE, Origin, SearchSpace, get_space
from .card_rules import check_card
from .cards import PLACEHOLDER, TAG, TEMPLATES, render
from .origins import citations_of, origin_of, origins_of

PRIORS = PRIORS_FOLDER  # the name of a data set of priors
_CHUNK = 65_536  # rows that are checked at a time
_MANY = 16  # files of a source that the card lists one by one


@dataclass(frozen=True)
class Built:
    """What was written: the folder, and the rows of each config."""

    folder: Path
    rows: dict[str, int]


def build_benchmark(
    name: str | SearchSpace,
    source: str | Path | None,
    folder: str | Path,
    quiet: bool = False,
    repo_id: str = PLACEHOLDER,
) -> Built:
    """Write a benchmark's table as a data set.

    Parameters
    ----------
    name
        Search space.
    source
        As for `load_benchmark`.
    folder
        Where to write; an earlier data set there is replaced once the new one is complete, anything else is refused.
    quiet
        No progress on standard error.
    repo_id
        Where it will be on the Hub, for the card's examples.

    Raises
    ------
    ValueError
        For a space without an origin, or a table that is not what the benchmark should have: wrong number of rows, an
        architecture twice, accuracies below 0 or above 100, or missing ones where all were measured.
    FileExistsError
        If `folder` holds something else.
    """
    space = get_space(name)
    about, folder = origin_of(space), _may_write(folder)
    say = Console(stderr=True, quiet=quiet, highlight=False).print
    say(f"{space.name}: reading")
    table = _as_published(read_table(space, source, quiet=quiet))
    say(f"{space.name}: checking {table.num_rows:,} rows")
    check_table(space, table)
    say(f"{space.name}: writing")
    configs = {kind: table.select(names) for kind, names in config_columns(space, table.column_names).items()}
    text = {
        "about": about,
        "space": space.name,
        "rows": f"{table.num_rows:,} rows" + (", the whole space" if about.whole else ""),
        "sources": _sources(space, source),
    }
    rows = _write(folder, configs, about.title, about.license, repo_id, "benchmark.md", text)
    return Built(folder, rows)


def build_priors(checkpoint: str | Path, folder: str | Path, quiet: bool = False, repo_id: str = PLACEHOLDER) -> Built:
    """Write the priors of a checkpoint as a data set; parameters and errors as of `build_benchmark`."""
    found, folder = checkpoint_folder(checkpoint), _may_write(folder)
    files = sorted((found / PRIORS_FOLDER).glob("*.parquet"), key=lambda file: (file.stem != DEFAULT_SPACE, file.stem))
    if not files:
        raise ValueError(f"the checkpoint {checkpoint} has no priors")
    configs, priors = {}, []
    say = Console(stderr=True, quiet=quiet, highlight=False).print
    for file in files:
        say(f"priors: reading {file.stem}")
        here = load_priors(file)
        names = {prior.space.name for prior in here}
        if len(names) != 1:
            raise ValueError(f"{file} holds priors of {', '.join(sorted(names)) or 'no space'}, expected one space")
        configs[names.pop()] = pq.read_table(file)
        priors += here
    first, origins = next(iter(configs)), origins_of(configs)
    text = {
        "priors": priors,
        "task": next(prior.task for prior in priors if prior.space.name == first),
        "sources": f"The checkpoint `{Path(checkpoint).name if Path(checkpoint).is_dir() else checkpoint}`:\n\n"
        + _list_files(files, found),
        "origins": origins,
        "citations": citations_of(origins),
    }
    return Built(folder, _write(folder, configs, "Priors of PKGen", "apache-2.0", repo_id, "priors.md", text))


def build_latencies(
    name: str, source: str | Path | None, folder: str | Path, quiet: bool = False, repo_id: str = PLACEHOLDER
) -> Built:
    """Write a table of latencies as a data set, its one config named as the space.

    Parameters
    ----------
    name
        One of `published_latencies`.
    source
        Parquet file with columns as of `LatencyTable`; others, such as energies, are kept as they are.
    folder, quiet, repo_id
        As of `build_benchmark`.

    Raises
    ------
    ValueError
        For no source, or a table of other rows than the benchmark's, an architecture twice, or a latency that is not
        above 0.
    FileExistsError
        If `folder` holds something else.
    """
    space_name, about = published_latencies()[name]
    folder = _may_write(folder)
    if source is None:
        raise ValueError(f"{name} has no PyPI package: name a Parquet file as --source")
    say = Console(stderr=True, quiet=quiet, highlight=False).print
    say(f"{name}: reading and checking")
    found = LatencyTable.load(space_name, source)
    rows, different = len(found.indices), len(found.space.codes(found.indices).unique())
    whole = different if about.whole is None else about.whole
    if not rows == different == whole:
        raise ValueError(
            f"{about.title} has {whole:,} different architectures, this table has {rows:,} rows of {different:,}"
        )
    table = standard_columns(found.space, pq.read_table(source))
    for column in (column for column in table.column_names if column.endswith(SUFFIX)):
        least = pc.min(table[column]).as_py()
        if least is None or not least > 0:
            raise ValueError(f"{column} should be above 0 ms, the least of it is {least}")
    task, device = next(iter(found.space.tasks)), found.devices[0]
    text = {
        "about": about,
        "space": space_name,
        "rows": f"{table.num_rows:,} rows" + (", the whole space" if about.whole else ""),
        "sources": _list_files([Path(source)], Path(source).parent),
        "task": task,
        "device": device,
        "limit": round(float(found.column(task, device).nanmedian()), 3),
    }
    say(f"{name}: writing")
    configs = {space_name: _as_published(table)}
    return Built(folder, _write(folder, configs, about.title, about.license, repo_id, "latencies.md", text))


# ---------------------------------------------------------------------- benchmarks


def config_columns(space: SearchSpace, names: Sequence[str]) -> dict[str, list[str]]:
    """Columns of each config, by kind of task, the kind of the space's first task before the others.

    Columns of no task go to the first config.
    """
    of_task = {name: next((task for task in space.tasks if name.startswith(f"{task}_")), None) for name in names}
    kinds = {
        kind: [name for name, task in of_task.items() if task is not None and space.tasks[task].kind == kind]
        for kind in dict.fromkeys(task.kind for task in space.tasks.values())
    }
    kinds = {kind: columns for kind, columns in kinds.items() if columns}
    if not kinds:
        raise ValueError(f"the table has no column of a task of {space.name}; its columns are {', '.join(names)}")
    rest = [name for name, task in of_task.items() if task is None and name != "architecture"]
    first = next(iter(kinds))
    return {kind: ["architecture", *columns, *(rest if kind == first else [])] for kind, columns in kinds.items()}


def _as_published(table: pa.Table) -> pa.Table:
    """Floating-point columns as float32, null where they are not finite."""
    columns = {}
    for field in table.schema:
        column = table[field.name]
        if pa.types.is_floating(field.type):
            column = pc.cast(column, pa.float32())
            column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, pa.float32()))
        columns[field.name] = column
    return pa.table(columns)


def check_table(space: SearchSpace, table: pa.Table) -> None:
    """ValueError if a standard table is not what its benchmark should have; see `build_benchmark`."""
    about = origin_of(space)
    if about.whole is not None and table.num_rows != about.whole:
        raise ValueError(
            f"{about.title} has {about.whole:,} measured architectures, this table has {table.num_rows:,} rows"
        )
    if table.num_rows == 0:
        raise ValueError(f"the table of {space.name} has no rows")
    starts = range(0, table.num_rows, _CHUNK)
    strings = table["architecture"]
    codes = torch.cat(
        [space.codes(space.from_strings(strings.slice(start, _CHUNK).to_pylist())) for start in starts]
    ).sort()
    twice = (codes.values[1:] == codes.values[:-1]).nonzero()
    if len(twice):
        row = int(codes.indices[1:][twice[0, 0]])
        raise ValueError(f"{len(twice):,} rows are of an architecture that stands before; one is {strings[row]}")
    for task in space.tasks:
        for split in SPLITS:
            for measure in MEASURES:
                _check_scores(about, task, f"{task}_{split}{measure}", table)


def _check_scores(about: Origin, task: str, name: str, table: pa.Table) -> None:
    if name not in table.column_names:
        return
    column = table[name]
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise ValueError(f"{name} should hold numbers, it holds {column.type}")
    if column.null_count == len(column):
        raise ValueError(f"{name} has no measured score at all")
    if column.null_count and about.whole is not None and task not in about.partial:
        row = pc.index(pc.is_null(column), True).as_py()
        raise ValueError(
            f"{name} is missing in {column.null_count:,} rows; one is {table['architecture'][row]} (row {row})"
        )
    limits = pc.min_max(column).as_py()
    if name.endswith(MEASURES[0]) and not 0 <= limits["min"] <= limits["max"] <= 100:
        raise ValueError(f"{name} should be from 0 to 100 percent, it is from {limits['min']} to {limits['max']}")


# ---------------------------------------------------------------------- sources


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _list_files(files: Sequence[Path], below: Path) -> str:
    """A list of files with their SHA-256; of many, that of their list as ``sha256sum`` prints it."""
    lines = [f"{_sha256(file)}  {file.relative_to(below).as_posix()}" for file in files]
    if len(lines) > _MANY:
        whole = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
        return f"- {len(lines):,} files; SHA-256 of the list that `sha256sum` prints of them, sorted: `{whole}`"
    return "\n".join(f"- `{line[66:]}`, SHA-256 `{line[:64]}`" for line in lines)


def _sources(space: SearchSpace, source: str | Path | None) -> str:
    """What was read, with what it takes to recognise it."""
    if source is None:
        found = package_of(space)
        package = importlib.metadata.distribution(found.name)
        root = Path(str(package.locate_file("")))
        paths = sorted(root / file for file in package.files or [] if file.match(found.files))
        return f"The PyPI package `{package.metadata['Name']}` {package.version}:\n\n" + _list_files(paths, root)
    path = Path(source)
    if path.exists():
        files, _ = source_files(space, path)
        return _list_files(files, path if path.is_dir() else path.parent)
    return f"- the Hub data set `{source}`"


# ---------------------------------------------------------------------- the folder


def _may_write(folder: str | Path) -> Path:
    """The folder, if it is new, empty, or a data set that this module wrote; FileExistsError otherwise."""
    folder = user_path(folder)
    if folder.is_dir() and is_empty(folder):
        return folder
    if folder.exists():
        card = folder / "README.md"
        strangers = [
            file for file in folder.rglob("*") if file.is_file() and file != card and file.suffix != ".parquet"
        ]
        if strangers or not card.is_file() or f"- {TAG}\n" not in card.read_text(errors="replace"):
            raise FileExistsError(f"{folder} is there and is not a data set of pkgen alone; name another folder")
    return folder


def _describe(configs: Mapping[str, pa.Table]) -> str:
    """A table of what the columns hold, counted from them."""
    lines = ["| config | column | rows | null | smallest | largest |", "|---|---|---|---|---|---|"]
    for config, table in configs.items():
        for name in table.column_names:
            column = table[name]
            limits = ["", ""]
            if pa.types.is_floating(column.type):
                column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
            if (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)) and column.null_count < len(
                column
            ):
                limits = [f"{number:,.6g}" for number in pc.min_max(column).as_py().values()]
            cells = [f"`{config}`", f"`{name}`", f"{len(column):,}", f"{column.null_count:,}", *limits]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _write(
    folder: Path,
    configs: Mapping[str, pa.Table],
    title: str,
    license: str,
    repo_id: str,
    template: str,
    text: Mapping[str, Any],
) -> dict[str, int]:
    """Fill a new folder and put it in the place of `folder`; the rows of each config."""
    infos, files, default = DatasetInfosDict(), MetadataConfigs(), next(iter(configs))
    with replace_folder(folder) as new:
        for config, table in configs.items():
            path = new / config / "train-00000-of-00001.parquet"
            path.parent.mkdir()
            pq.write_table(table, path, compression="zstd")
            splits = datasets.SplitDict()
            splits.add(datasets.SplitInfo("train", num_bytes=table.nbytes, num_examples=table.num_rows))
            infos[config] = datasets.DatasetInfo(
                features=datasets.Features.from_arrow_schema(table.schema),
                splits=splits,
                download_size=path.stat().st_size,
                dataset_size=table.nbytes,
            )
            files[config] = {"data_files": [{"split": "train", "path": f"{config}/train-*"}]}
            if config == default:
                files[config]["default"] = True
        header = DatasetCardData(
            license=license, pretty_name=title, tags=["neural-architecture-search", "benchmark", TAG]
        )
        infos.to_dataset_card_data(header)
        files.to_dataset_card_data(header)
        columns = _describe(configs)
        card = render(
            DatasetCard, TEMPLATES / template, header,
            title=title, repo_id=repo_id, default=default, columns=columns, **text,
        )  # fmt: skip
        check_card(str(card), "dataset", new)
        card.save(new / "README.md")
    return {config: table.num_rows for config, table in configs.items()}
