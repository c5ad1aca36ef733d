"""Evaluation under parameter limits and of the front of accuracy and latency."""

from __future__ import annotations

import argparse

import torch

from pkgen_hf import PKGenPipeline, Prior, ScoreTable
from pkgen_hf.benchmarks.latencies import LatencyTable
from pkgen_hf.evaluation.measures import Generate, evaluate, from_pipeline
from pkgen_hf.spaces import DEFAULT_SPACE
from runs import Row, held_out, load, rows_of, with_those_measured_together, write

PARAMETERS = (0.3e6, 0.5e6, 0.8e6)
FRONT, EACH = 10, 10  # limits on latency, evenly laid, and architectures generated under each
DRAWN = 2000  # by what filters afterwards


def within(generate: Generate, allowed: torch.Tensor, table: ScoreTable) -> Generate:
    """The first of `DRAWN` that are among the allowed, ``LongTensor (rows, slots)``; what filtering blindly gives."""
    keys = table.space.keys(allowed)

    def filtered(num: int, generator: torch.Generator) -> tuple[torch.Tensor, float]:
        rows, _ = generate(DRAWN, generator)
        inside = torch.isin(table.space.keys(rows), keys)
        rows, share = rows[inside], float(inside.float().mean())
        own = table.space.keys(rows)
        first = [int((own == key).nonzero()[0]) for key in dict.fromkeys(own.tolist())][:num]
        if len(first) < num:  # too few were drawn: fill up with chance
            more = allowed[torch.randperm(len(allowed), generator=generator)[: num - len(first)]]
            return torch.cat([rows[first], more]), share
        return rows[first], share

    return filtered


def by_chance(allowed: torch.Tensor) -> Generate:
    """Uniform random ones of the allowed."""
    return lambda num, generator: (allowed[torch.randperm(len(allowed), generator=generator)[:num]], 1.0)


def most_frequent(prior: Prior) -> Generate:
    """The prior alone, sharpened as the pipeline does, those drawn most often first."""

    def generate(num: int, generator: torch.Generator) -> tuple[torch.Tensor, float]:
        rows = prior.sample(10 * num, 0.5, generator)
        keys, inverse, counts = prior.space.keys(rows).unique(return_inverse=True, return_counts=True)
        rows = rows[counts[inverse].argsort(descending=True, stable=True)]
        own = prior.space.keys(rows)
        first = torch.tensor([int((own == key).nonzero()[0]) for key in dict.fromkeys(own.tolist())][:num])
        return rows[first], 1.0

    return generate


def hypervolume(scores: torch.Tensor, latencies: torch.Tensor, worst: tuple[float, float]) -> float:
    """Area between a point (score, latency) and what is better than it in both and reached by one of the rows."""
    area, best = 0.0, worst[0]
    for at in latencies.argsort().tolist():
        score, latency = float(scores[at]), float(latencies[at])
        if score > best and latency < worst[1]:
            area, best = area + (score - best) * (worst[1] - latency), score
    return area


def front(
    pipe: PKGenPipeline, table: ScoreTable, latencies: LatencyTable, task: str, options: argparse.Namespace
) -> dict[str, float]:
    """Hypervolume of `FRONT` times `EACH` generated, as a share of that of all networks, over seeds.

    From chance accuracy and the slowest network; and, stricter, from the ends of the true front.
    """
    space = table.space
    everything = latencies.indices[space.is_valid(latencies.indices)]
    milliseconds = latencies.latencies(everything, task, options.device)
    everything, milliseconds = everything[~milliseconds.isnan()], milliseconds[~milliseconds.isnan()]
    scores = table.scores(everything, task).double()
    order = milliseconds.argsort()
    true = order[scores[order] >= scores[order].cummax(0).values]
    chance = 100 / (space.task(task).num_classes or 1)
    worst = {
        "hypervolume": (chance, float(milliseconds.max())),
        "hypervolume_of_front": (float(scores[true].min()), float(milliseconds[true].max())),
    }
    shares: dict[str, list[float]] = {name: [] for name in worst}
    limits = torch.linspace(1.02 * float(milliseconds.min()), float(milliseconds.max()), FRONT).tolist()
    for seed in range(options.seeds):
        found = []
        for limit in limits:
            out = pipe(space, task, num_architectures=EACH, generator=torch.Generator().manual_seed(seed),
                       max_latency=limit, device=options.device, latency_table=latencies)  # fmt: skip
            found += [architecture.indices for architecture in out.architectures]
        rows = torch.tensor(found)
        reached = (table.scores(rows, task).double(), latencies.latencies(rows, task, options.device))
        for name, point in worst.items():
            shares[name].append(hypervolume(*reached, point) / hypervolume(scores, milliseconds, point))
    columns = {name: torch.tensor(values) for name, values in shares.items()}
    means = {name: float(values.mean()) for name, values in columns.items()}
    return means | {f"{name}_std": float(values.std()) for name, values in columns.items()}


Setting = tuple[str, PKGenPipeline, dict[str, int]]
"""The protocol that a pipeline was trained by, the pipeline, and the labels it has read."""


def by_parameters(settings: list[Setting], table: ScoreTable, task: str, seeds: int) -> list[Row]:
    """The best of five under each of `PARAMETERS`, steered, filtered, by the prior alone and by chance."""
    space = table.space
    rows: list[Row] = []
    everything = table.indices[space.is_valid(table.indices)]
    for most in PARAMETERS:
        allowed = everything[space.parameters(everything, task) <= most]
        methods: list[tuple[str, str, Generate, dict[str, int]]] = []
        for setting, pipe, read in settings:
            steered = from_pipeline(pipe, space, task, distinct=True, max_parameters=most)
            blind = within(from_pipeline(pipe, space, task, distinct=True), allowed, table)
            prior = within(most_frequent(pipe.select_prior(space, task, None)), allowed, table)
            methods += [
                (setting, "pkgen", steered, read),
                (setting, "pkgen-filtered", blind, read),
                (setting, "prior-0.5-filtered", prior, read),
            ]
        methods.append(("", "uniform-within", by_chance(allowed), {}))
        for setting, method, generate, read in methods:
            row = evaluate(method, generate, table, task, read, num=5, seeds=seeds)
            del row["quantiles"], row["coverage"], row["coverage_std"]
            optimum = float(table.scores(allowed, task).max())
            row |= {"setting": setting, "max_parameters": most, "optimum": optimum}
            rows.append(row | {"scores": table.split(task)})
    return rows


def limits(options: argparse.Namespace) -> None:
    """Best of five under limits on parameters, and the front of accuracy and latency, without the target's labels.

    By the trainings of "new-data-set" and "new-space"; where a table of latencies is named, with the front.
    """
    (space_name,) = options.space or [DEFAULT_SPACE]
    table = load(space_name, options)
    space = table.space
    spaces = with_those_measured_together([space_name])
    first, *others = space.tasks
    excluded = {task: [f"{name}/{target}" for name in spaces for target in others] for task in others}
    excluded[first] = [f"{name}/{first}" for name in spaces]
    names = dict.fromkeys(others, f"new-data-set-{space_name}") | {first: f"new-data-set-{space_name}-{first}"}
    unseen, unseen_record = held_out(f"new-space-{space_name}", spaces, options, options.train_seed)
    details = {"space": space_name, "held_out": sorted({name for names in excluded.values() for name in names})}
    details["training"] = unseen_record

    def settings(task: str) -> list[Setting]:
        pipe, its_record = held_out(names[task], excluded[task], options, options.train_seed)
        return [
            ("new-data-set", pipe, its_record["labels_read"]),
            ("new-space", unseen, unseen_record["labels_read"]),
        ]

    def of_parameters(task: str) -> list[Row]:
        return by_parameters(settings(task), table, task, options.seeds)

    tasks = options.task or list(space.tasks)
    name = f"limits-{space_name}"
    write(name, rows_of(name, tasks, of_parameters, options), details, options)
    if options.latency_table is None:
        print("no --latency_table, so no front of accuracy and latency")
        return
    latencies = LatencyTable.load(space, options.latency_table)

    def of_latency(task: str) -> list[Row]:
        rows = []
        for setting, pipe, read in settings(task):
            row = {"method": "pkgen", "task": task, "n": FRONT * EACH, "seeds": options.seeds, "labels_read": read}
            row |= {"setting": setting, "scores": table.split(task)}
            rows.append(row | front(pipe, table, latencies, task, options))
        return rows

    name = f"latency-front-{space_name}"
    write(name, rows_of(name, tasks, of_latency, options), {**details, "device": options.device}, options)
