"""What each part is good for: one part changed at a time, on NAS-Bench-201 or another space with a complete table.

"Same benchmark" is the bundled checkpoint with the space's own prior, "new space" a checkpoint that read no label of
the space, with a prior carried over. Where a part belongs to training, a checkpoint is trained without it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from pkgen_hf import PKGenPipeline, Prior, ScoreTable
from pkgen_hf.benchmarks.sources import licensed_tables_in, with_package
from pkgen_hf.evaluation.measures import evaluate, from_pipeline
from pkgen_hf.spaces import DEFAULT_SPACE
from runs import Row, bundled, held_out, load, rows_of, with_those_measured_together, write

SAME, NEW = "same-benchmark", "new-space"
CALLS: dict[str, tuple[str, list[Any]]] = {
    "denoising steps": ("num_inference_steps", [1, 2, 4, 8, 16, 32]),
    "guidance scale": ("guidance_scale", [0.0, 0.5, 1.0, 2.0, 4.0]),
    "temperature": ("temperature", [0.25, 0.5, 0.75, 1.0, 1.5]),
    "candidates": ("num_candidates", [1, 2, 4, 8, 16]),
}
WIDTHS = [16, 32, 64, 128]
# From the space most like NAS-Bench-201 to those least like it.
SPACES = ["transnas-bench-101-micro", "nas-bench-101", "darts", "nas-bench-graph"]
NUM_SPACES = [1, 2, 4]


def parts_of(prior: Prior) -> dict[str, Prior]:
    """A prior without some of what it says."""
    unknown = torch.full_like(prior.contributions, torch.nan)
    uniform = prior.space.choice_mask / prior.space.sizes[:, None]
    return {
        "nothing": Prior.absent(prior.space, prior.task),
        "frequencies only": replace(prior, contributions=unknown, subgraph_contributions=unknown),
        "operations only": replace(prior, subgraph_contributions=unknown, frequencies=uniform),
        "subgraphs only": replace(prior, contributions=unknown, frequencies=uniform),
        "everything": prior,
    }


@dataclass(frozen=True)
class Ablations:
    """One part changed at a time: what is shared by all parts.

    Attributes
    ----------
    options
        Of the command.
    table
        Complete, of the space.
    tasks
        Data sets that are generated for.
    same, new
        The pipeline of each setting and its record: the bundled one, and one that read no label of the space.
    exclude
        What the latter read no label of.
    """

    options: argparse.Namespace
    table: ScoreTable
    tasks: list[str]
    same: tuple[PKGenPipeline, dict[str, Any]]
    new: tuple[PKGenPipeline, dict[str, Any]]
    exclude: list[str]

    def row(self, setting: str, value: str, task: str, trained: tuple[PKGenPipeline, dict[str, Any]] | None = None,
            prior: Prior | None = None, **call: Any) -> Row:  # fmt: skip
        """Generate for a data set in a setting, with one part as `value` says; or from another training."""
        pipe, record = trained or {SAME: self.same, NEW: self.new}[setting]
        generate = from_pipeline(pipe, self.table.space, task, prior, **call)
        size = {"num": self.options.num_architectures, "seeds": self.options.seeds}
        found = evaluate("pkgen", generate, self.table, task, record["labels_read"], **size)
        del found["quantiles"]
        return found | {"value": value, "setting": setting, "scores": self.table.split(task)}

    def of_call(self, argument: str, values: list[Any]) -> list[Row]:
        """Values of an argument of the pipeline."""
        return [
            self.row(setting, str(value), task, **{argument: value})
            for task in self.tasks
            for setting in (SAME, NEW)
            for value in values
        ]

    def of_prior(self) -> list[Row]:
        """Priors without some of what they say."""
        rows = []
        for task in self.tasks:
            for setting, (pipe, _) in ((SAME, self.same), (NEW, self.new)):
                for value, prior in parts_of(pipe.select_prior(self.table.space, task, None)).items():
                    rows.append(self.row(setting, value, task, prior=prior))
        return rows

    def of_good_ones(self) -> list[Row]:
        """Priors of better and worse architectures."""
        rows = []
        for task in self.tasks:
            generator = torch.Generator().manual_seed(0)
            for value, chosen in {
                "best 20": {},
                "best 100": {"top_k": 100},
                "random 20": {"selection": "random", "generator": generator},
                "worst 20": {"selection": "worst"},
            }.items():
                prior = Prior.from_benchmark(self.table.space, task, table=self.table, **chosen)  # type: ignore[arg-type]
                rows.append(self.row(SAME, value, task, prior=prior))
        return rows

    def of_trainings(self, trainings: dict[str, dict[str, Any]]) -> list[Row]:
        """Trainings with other settings, by what they are called; without any, the training of the new space."""
        rows = []
        for value, settings in trainings.items():
            trained = self.new
            if settings:
                name = f"ablation-{self.table.space.name}-{value.replace(' ', '-')}"
                trained = held_out(name, settings.pop("exclude", self.exclude), self.options, **settings)
            for task in self.tasks:
                more = {"denoiser_parameters": trained[1]["parameters"], "labels_read": trained[1]["labels_read"]}
                rows.append(self.row(NEW, value, task, trained) | more)
        return rows

    def of_spaces(self) -> list[Row]:
        """Trainings on one, two, four and all other spaces."""
        tables = licensed_tables_in(self.options.data)
        if missing := [other for other in SPACES if other not in {*tables, *with_package()}]:
            raise FileNotFoundError(f"no tables of {', '.join(missing)} in {self.options.data}; see recipes/README.md")
        trainings: dict[str, dict[str, Any]] = {}
        for count in NUM_SPACES:
            kept = SPACES[:count]
            unused = [other for other in with_package() if other not in {*kept, *self.exclude}]
            trainings[f"spaces {count}"] = {
                "sources": {other: path for other, path in tables.items() if other in kept},
                "exclude": [*self.exclude, *unused],
            }
        return self.of_trainings({**trainings, f"spaces {len(record_spaces(self.new[1]))}": {}})

    def of_widths(self) -> list[Row]:
        """Trainings of narrower and wider denoisers."""
        usual = self.new[1]["width"]
        return self.of_trainings({f"width {width}": {} if width == usual else {"width": width} for width in WIDTHS})


def ablations(options: argparse.Namespace) -> None:
    """One part changed at a time."""
    (name,) = options.space or [DEFAULT_SPACE]
    exclude = with_those_measured_together([name])
    same = bundled(options)
    new = held_out(f"new-space-{name}", exclude, options, options.train_seed)
    table = load(name, options)
    study = Ablations(options, table, options.task or table.tasks, same, new, exclude)
    ends: dict[str, dict[str, Any]] = {"end uniform": {"end_distribution": "uniform"}, "end prior": {}}
    groups: dict[str, Callable[[], list[Row]]] = {
        "what the prior says": study.of_prior,
        "what the prior is measured on": study.of_good_ones,
        "end distribution": partial(study.of_trainings, ends),
        **{group: partial(study.of_call, argument, values) for group, (argument, values) in CALLS.items()},
        "width of the denoiser": study.of_widths,
        "training spaces": study.of_spaces,
    }
    rows = rows_of(
        f"ablations-{name}",
        groups,
        lambda group: [row | {"variant": group} for row in groups[group]()],
        options,
    )
    write(f"ablations-{name}", rows, {"space": name, "held_out": exclude, "training": same[1]}, options)


def record_spaces(record: dict[str, Any]) -> list[str]:
    """The spaces whose labels a training read."""
    return list(dict.fromkeys(source.split("/")[0] for source in record["labels_read"]))
