"""Shared by the protocols of `reproduce.py`: cached trainings, rows that survive a kill, files of results."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from rich.console import Console
from rich.table import Table
from tqdm.auto import tqdm

from pkgen_hf import PKGenPipeline, ScoreTable, get_space
from pkgen_hf.benchmarks.sources import licensed_tables_in, tables_in
from pkgen_hf.evaluation.methods import METHODS
from pkgen_hf.files import write_json
from pkgen_hf.training.arguments import RECORD, TrainingArguments
from pkgen_hf.training.loop import train
from pkgen_hf.training.tasks import labels_read, load_tables

COLUMNS = {
    "variant": "part",
    "value": "value",
    "setting": "setting",
    "method": "method",
    "validation": "mean of all",
    "median_rank": "rank %",
    "best_of_1": "first",
    "best_of_5": "best of 5",
    "best_of_n": "best of n",
    "max_parameters": "parameters at most",
    "budget": "budget",
    "optimum": "best there is",
    "hypervolume": "hypervolume",
    "hypervolume_of_front": "from the front's ends",
    "test": "test mean",
    "test_of_selected": "its test",
    "novelty": "novel",
    "coverage": "of top 1 %",
    "unique": "unique",
    "seconds": "s",
}
Row = dict[str, Any]


# ---------------------------------------------------------------------- checkpoints


def training_record(pipe: PKGenPipeline) -> dict[str, Any]:
    """The record of a pipeline's training, from its checkpoint; empty if it has none."""
    path = Path(str(pipe.config["_name_or_path"])) / RECORD
    return json.loads(path.read_text()) if path.is_file() else {}


def bundled(options: argparse.Namespace) -> tuple[PKGenPipeline, dict[str, Any]]:
    """The pipeline of --checkpoint, and its record."""
    pipe = PKGenPipeline.from_pretrained(options.checkpoint)
    pipe.set_progress_bar_config(disable=True)
    return pipe, training_record(pipe)


def trained(arguments: TrainingArguments) -> PKGenPipeline:
    """Train a pipeline, or load it if it was trained with the same arguments before; a begun training is resumed."""
    folder = Path(arguments.output_dir) / "pipeline"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / ".lock"):  # another command may be at the same training: wait for it
        if (folder / RECORD).is_file():
            record = json.loads((folder / RECORD).read_text())
            wanted = {name: getattr(arguments, name) for name in record if hasattr(arguments, name)}
            if any(json.dumps(record[name]) != json.dumps(value) for name, value in wanted.items()):
                raise ValueError(f"{folder} was trained with other settings; name another --output_dir or delete it")
            print(f"using {folder}, trained before in {record['seconds']} s with the same settings")
        else:
            tables = load_tables(arguments.sources, arguments.exclude)
            print("training; labels read:", labels_read(tables))
            with tqdm(total=arguments.max_train_steps, desc="training") as bar:
                train(arguments, tables, lambda step, losses: bar.update(step - bar.n) and None)
    pipe = PKGenPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def held_out(
    name: str, exclude: list[str], options: argparse.Namespace, seed: int = 0, **settings: Any
) -> tuple[PKGenPipeline, dict[str, Any]]:
    """A pipeline trained on everything but what is excluded, and its record, which is checked to say so."""
    arguments = {
        "output_dir": f"{options.output_dir}/{name}" + (f"-train-seed-{seed}" if seed else ""),
        "sources": licensed_tables_in(options.data),
        "exclude": tuple(exclude),
        "max_train_steps": options.max_train_steps,
        "seed": seed,
        "checkpointing_steps": 1000,
        "resume_from_checkpoint": "latest",
    }
    pipe = trained(TrainingArguments(**(arguments | settings)))
    record = training_record(pipe)
    sources = [*record["labels_read"], *(f"{prior.space.name}/{prior.task}" for prior in pipe.priors)]
    leaked = [source for source in sources if source in exclude or source.split("/")[0] in exclude]
    if leaked:
        raise RuntimeError(f"labels of the target reached training or priors: {leaked}")
    return pipe, record


def with_those_measured_together(names: list[str]) -> list[str]:
    """Spaces, each with those that must be held out with it."""
    together = []
    for name in names:
        origin = get_space(name).origin
        together += [name, *(origin.measured_with if origin else ())]
    return list(dict.fromkeys(together))


def load(space: str, options: argparse.Namespace) -> ScoreTable:
    """Load the table that results are looked up in: --table, a table in --data, or the PyPI package."""
    return ScoreTable.load(space, options.table or tables_in(options.data).get(space))


# ---------------------------------------------------------------------- rows and files


def rows_of(
    name: str, parts: Iterable[str], make: Callable[[str], list[Row]], options: argparse.Namespace
) -> list[Row]:
    """Rows of all parts (such as data sets), computed part by part; a run that was stopped is resumed.

    Finished parts are kept in a hidden file beside the results, which `write` deletes.
    """
    path = _unfinished(name, options)
    settings = {key: str(value) for key, value in vars(options).items() if key not in ("results", "defaults")}
    kept: dict[str, Any] = {"settings": settings, "parts": {}}
    if path.is_file():
        before = json.loads(path.read_text())
        if before["settings"] == settings:
            kept = before
            print(f"going on after {', '.join(kept['parts'])}, found in {path}")
    parts = list(parts)
    for part in tqdm(parts, desc=name):
        if part not in kept["parts"]:
            kept["parts"][part] = make(part)
            write_json(kept, path)
    return [row for part in parts for row in kept["parts"][part]]


def finished_commands(name: str, options: argparse.Namespace) -> tuple[float, dict[str, float]]:
    """Seconds of a stopped run of all commands, and of each command that it finished."""
    path = _unfinished(name, options)
    if not path.is_file():
        return 0.0, {}
    kept = json.loads(path.read_text())
    return kept["seconds"], kept["commands"]


def keep_finished(name: str, seconds: float, commands: dict[str, float], options: argparse.Namespace) -> None:
    """Write what `finished_commands` reads; `save` deletes it."""
    write_json({"seconds": seconds, "commands": commands}, _unfinished(name, options))


def _unfinished(name: str, options: argparse.Namespace) -> Path:
    return options.results / f".{name}.unfinished.json"


def write(name: str, rows: list[Row], details: dict[str, Any], options: argparse.Namespace) -> None:
    """Print the rows, a table for each task, and write results/NAME.json with all that is needed to reproduce it."""
    protocol, space = options.protocol, details["space"]
    console = Console(width=max(180, Console().width), highlight=False)
    for task in dict.fromkeys(row["task"] for row in rows):
        here = [row for row in rows if row["task"] == task]
        n, seeds = here[0]["n"], here[0]["seeds"]
        size = f"{seeds} runs" if protocol == "few-labels" else f"n = {n:,}, {seeds} seeds"
        table = Table(title=f"{protocol}: {space} / {task} ({here[0]['scores']}; {size}, mean ± std)")
        shown = [column for column in COLUMNS if column in here[0]]
        for column in shown:
            left = column in ("method", "variant", "value", "setting")
            table.add_column(COLUMNS[column], justify="left" if left else "right", no_wrap=True)
        table.add_column("labels read", justify="right", no_wrap=True)
        for row in here:
            cells = []
            for column in shown:
                if isinstance(row[column], str):
                    cells.append(METHODS[row[column]].name if column == "method" else row[column])
                    continue
                digits = 3 if column == "median_rank" else 2
                spread = f" ± {row[f'{column}_std']:.{digits}f}" if f"{column}_std" in row else ""
                cells.append(f"{row[column]:.{digits}f}{spread}")
            table.add_row(*cells, f"{sum(row['labels_read'].values()):,}")
        console.print(table)
    console.print(
        "rank: median, in % of the table; best of 5: by validation, of the 5 first-ranked; s: seconds for all n"
    )
    save(name, {"protocol": protocol, **details}, rows, options)


def save(name: str, details: dict[str, Any], rows: list[Row], options: argparse.Namespace) -> None:
    """Write results/NAME.json with all that is needed to reproduce it, and delete the file of `rows_of`."""
    versions = {name: importlib.metadata.version(name) for name in ("pkgen-hf", "torch", "diffusers", "numpy")}
    record = {
        **details,
        "command": shlex.join(["python", *sys.argv]),
        "versions": {"python": platform.python_version(), **versions},
        "threads": torch.get_num_threads(),
        "rows": rows,
    }
    path = options.results / f"{name}.json"
    write_json(record, path)
    _unfinished(name, options).unlink(missing_ok=True)
    print(f"wrote {path}")
