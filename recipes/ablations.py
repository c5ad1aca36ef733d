"""What each part is good for: one part changed at a time, on NAS-Bench-201 or another space with a complete table.

"Same benchmark" is the bundled checkpoint with the space's own prior, "new space" a checkpoint that read no label of
the space, with a prior carried over. Where a part belongs to training, a checkpoint is trained without it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from pkgen_hf import PKGenPipeline, Prior
from pkgen_hf.benchmarks.sources import tables_in, with_package
from pkgen_hf.evaluation.measures import evaluate, from_pipeline
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


def ablations(options: argparse.Namespace) -> None:
    """One part changed at a time."""
    (name,) = options.space or ["nas-bench-201"]
    exclude = with_those_measured_together([name])
    pipe, record = bundled(options)
    unseen, unseen_record = held_out(f"new-space-{name}", exclude, options, options.train_seed)
    table = load(name, options)
    space, tasks = table.space, options.task or table.tasks
    size = {"num": options.num_architectures, "seeds": options.seeds}

    def row(setting: str, value: str, here: PKGenPipeline, task: str, prior: Prior | None = None, **call: Any) -> Row:
        read = (record if here is pipe else unseen_record)["labels_read"]
        found = evaluate("pkgen", from_pipeline(here, space, task, prior, **call), table, task, read, **size)
        del found["quantiles"]
        return found | {"value": value, "setting": setting, "scores": table.split(task)}

    def of_call(argument: str, values: list[Any]) -> list[Row]:
        return [
            row(setting, str(value), here, task, **{argument: value})
            for task in tasks
            for setting, here in ((SAME, pipe), (NEW, unseen))
            for value in values
        ]

    def of_prior() -> list[Row]:
        rows = []
        for task in tasks:
            for setting, here in ((SAME, pipe), (NEW, unseen)):
                for method, prior in parts_of(here.select_prior(space, task, None)).items():
                    rows.append(row(setting, method, here, task, prior))
        return rows

    def of_good_ones() -> list[Row]:
        rows = []
        for task in tasks:
            generator = torch.Generator().manual_seed(0)
            for method, chosen in {
                "best 20": {},
                "best 100": {"top_k": 100},
                "random 20": {"selection": "random", "generator": generator},
                "worst 20": {"selection": "worst"},
            }.items():
                prior = Prior.from_benchmark(space, task, table=table, **chosen)  # type: ignore[arg-type]
                rows.append(row(SAME, method, pipe, task, prior))
        return rows

    def of_trainings(trainings: dict[str, dict[str, Any]]) -> list[Row]:
        rows = []
        for method, settings in trainings.items():
            if settings:
                excluded = settings.pop("exclude", exclude)
                here, its_record = held_out(
                    f"ablation-{name}-{method.replace(' ', '-')}", excluded, options, **settings
                )
            else:
                here, its_record = unseen, unseen_record
            for task in tasks:
                more = {"denoiser_parameters": its_record["parameters"], "labels_read": its_record["labels_read"]}
                rows.append(row(NEW, method, here, task) | more)
        return rows

    def of_spaces() -> list[Row]:
        tables = tables_in(options.data)
        if missing := [other for other in SPACES if other not in {*tables, *with_package()}]:
            raise FileNotFoundError(f"no tables of {', '.join(missing)} in {options.data}; see recipes/README.md")
        trainings: dict[str, dict[str, Any]] = {}
        for count in NUM_SPACES:
            kept = SPACES[:count]
            trainings[f"spaces {count}"] = {
                "sources": {other: path for other, path in tables.items() if other in kept},
                "exclude": [*exclude, *(other for other in with_package() if other not in {*kept, *exclude})],
            }
        return of_trainings({**trainings, f"spaces {len(record_spaces(unseen_record))}": {}})

    groups: dict[str, Callable[[], list[Row]]] = {
        "what the prior says": of_prior,
        "what the prior is measured on": of_good_ones,
        "end distribution": lambda: of_trainings({"end uniform": {"end_distribution": "uniform"}, "end prior": {}}),
        **{
            group: (lambda argument=argument, values=values: of_call(argument, values))  # type: ignore[misc]
            for group, (argument, values) in CALLS.items()
        },
        "width of the denoiser": lambda: of_trainings(
            {f"width {width}": {} if width == unseen_record["width"] else {"width": width} for width in WIDTHS}
        ),
        "training spaces": of_spaces,
    }
    rows = rows_of(
        f"ablations-{name}",
        groups,
        lambda group: [row | {"variant": group} for row in groups[group]()],
        options,
    )
    write(f"ablations-{name}", rows, {"space": name, "held_out": exclude, "training": record}, options)


def record_spaces(record: dict[str, Any]) -> list[str]:
    """The spaces whose labels a training read."""
    return list(dict.fromkeys(source.split("/")[0] for source in record["labels_read"]))
