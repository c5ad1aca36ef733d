"""What each part is good for: one part changed at a time, by every protocol.

A part of generation is changed in the pipelines that the protocols use; the variant and the default share space, task,
given labels, budget, training and seed. A part of training is compared over small trainings, one a run, as every value
needs trainings of its own; those with the default settings are a variant, too, of the full trainings.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table

from ablation_table import MEASURES, summary, verdicts
from compare import Comparison, load
from pkgen_hf.benchmarks.sources import licensed_tables_in
from pkgen_hf.evaluation.methods import METHODS
from pkgen_hf.evaluation.protocols import Condition, Protocol
from pkgen_hf.evaluation.runs import Knowledge
from result_files import Row, read_runs, rows_of, write
from trainings import excluded, knowledge, of_third, tasks_of, third_with, third_without
from variants import DEFAULT, PARTS, SMALL_EXCLUDE, SMALL_PRIORS, SMALL_STEPS, VARIANTS, Variant

SPACES = (
    "nas-bench-201", "transnas-bench-101-micro", "nas-bench-101", "nas-bench-macro", "transnas-bench-101-macro",
    "darts", "nas-bench-bert",
)  # fmt: skip
"""Spaces of the published ablations. Neighbours need different trainings, so that two commands seldom wait for the
same. NAS-Bench-NLP is none of them: there every variant takes ten times as long."""
TASKS = 2  # of a space, at most
PROTOCOL = Protocol("ablations", "Ablations", "what each part is good for", ())
CONDITIONS = (
    Condition("same-benchmark"),
    Condition("new-data-set"),
    Condition("new-space"),
    Condition("new-space", num_labels=20),
    Condition("same-benchmark", quantile=0.5),
    Condition("new-space", quantile=0.5),
)
"""One of each protocol, and of budgets a second one: where effects of components are known."""
SETTINGS = (  # options that rows depend on
    "task", "part", "runs", "trainings", "max_train_steps", "priors_per_task", "shifted_tasks", "checkpoint",
    "output_dir", "data", "table",
)  # fmt: skip


class Ablations(Comparison):
    """All variants on a space, of the parts in ``options.part``."""

    def conditions(self) -> Iterator[Condition]:
        yield from CONDITIONS

    def variants(self) -> list[Variant]:
        """The variants of the wanted parts, and those that they are compared with."""
        wanted = {*(self.options.part or PARTS)}
        wanted |= {PARTS[part].base for part in wanted} | {DEFAULT}
        return [variant for variant in VARIANTS if variant.part in wanted]

    def ablate(self, condition: Condition, task: str) -> list[Row]:
        """Rows of one condition and task: of each run and variant."""
        rows = []
        for settings, group in groupby(self.variants(), lambda variant: variant.settings):
            is_same = condition.setting == "same-benchmark"
            if settings is not None and is_same and self.table.space.name in SMALL_EXCLUDE:
                continue
            own = {variant.method.id: variant for variant in group}
            trained = knowledge if settings is None else partial(small_training, settings)
            for row in self.rows(condition, task, [variant.method for variant in own.values()], trained):
                variant = own[row["method"]]
                rows.append(row | {"part": variant.part, "value": variant.value, "method": METHODS["pkgen"].id})
        return rows


def small_training(
    settings: dict[str, Any], setting: str, space: str, task: str, run: int, options: argparse.Namespace
) -> Knowledge:
    """The small training of a run with some settings changed: a training seed for each run.

    In "same benchmark" it is one that has read the labels of the target, else one that has not.
    """
    sources = licensed_tables_in(options.data)
    is_same = setting == "same-benchmark"
    third = third_with(space, task, sources) if is_same else third_without(setting, space, task)
    name = "-".join(["ablation", *(f"{key}-{value}" for key, value in settings.items())]).replace("_", "-")
    small = {
        "max_train_steps": min(SMALL_STEPS, options.max_train_steps),
        "priors_per_task": min(SMALL_PRIORS, options.priors_per_task),
        "exclude": tuple(dict.fromkeys([*excluded(third, sources), *SMALL_EXCLUDE])),
    }
    return of_third(third, run, options, name=name, **small, **settings)


def tasks_for(space: str, tasks: list[str]) -> list[str]:
    """The first tasks that take part in all protocols, or the first of a space without separate data sets."""
    return (tasks_of("new-data-set", space, tasks) or tasks)[:TASKS]


def ablations(options: argparse.Namespace) -> None:
    """Ablate on every space that was named, or on `SPACES`."""
    if options.runs < 2:
        raise ValueError(f"ablations compare runs: --runs must be 2 or more, got {options.runs}")
    for space in options.space or SPACES:
        table = load(space, options)
        own = argparse.Namespace(**{**vars(options), "task": options.task or tasks_for(space, table.tasks)})
        comparison = Ablations(PROTOCOL, table, own)
        parts = comparison.parts()
        if not parts:
            continue
        name, settings = f"{PROTOCOL.id}-{space}", {key: str(getattr(own, key)) for key in SETTINGS}
        rows = rows_of(name, parts, lambda part, c=comparison, p=parts: c.ablate(*p[part]), options.results, settings)  # type: ignore[misc]
        details = {"protocol": PROTOCOL.id, "space": space, "command": options.command, **comparison.details()}
        write(name, rows, details, options.results)
        show(space, read_runs(name, options.results))


def show(space: str, runs: Any) -> None:
    """Print in how many protocols each part helps, hurts, or makes no difference."""
    counts = summary(verdicts(runs.assign(space=space)))
    console = Console(width=max(140, Console().width), highlight=False)
    for measure in MEASURES:
        table = Table(title=f"ablations: {space}, {MEASURES[measure]}; protocols in which the part as it is")
        for column in ("part", "as it is", "changed to"):
            table.add_column(column)
        for column in ("helps", "hurts", "makes no difference", "difference of rank, %"):
            table.add_column(column, justify="right")
        for row in counts[counts["measure"] == measure].to_dict("records"):
            numbers = [str(row[column]) for column in ("helps", "hurts", "equal")]
            part = PARTS[str(row["part"])]
            table.add_row(part.title, part.as_it_is, row["value"], *numbers, f"{row['difference']:+.2f}")
        console.print(table)
