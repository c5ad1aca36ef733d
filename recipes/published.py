"""Numbers that others published, beside ours, and what training and generation cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pkgen_hf.evaluation.measures import FEW
from result_tables import Record, mean
from verdict_tables import table

# Test accuracy in percent on CIFAR-10, CIFAR-100 and ImageNet16-120 of NAS-Bench-201.
PEERS_201 = [
    ("DiNAS", "192", "94.37", "73.51", "45.41", "its paper"),
    ("AG-Net", "192", "94.37", "73.51", "", "its paper"),
    ("DiffusionNAG", "1 and 2, and a whole benchmark's meta-data", "94.37", "73.51", "", "as EDNAG quotes it"),
    ("EDNAG", "at least 3,000 look-ups of test accuracy", "94.37", "73.51", "47.31", "its paper and code"),
    ("CoLLM-NAS", "100", "94.37±0.01", "73.44±0.15", "46.79±0.28", "its paper"),
    ("GraphPNAS", "100", "94.34±0.05", "73.35±0.21", "46.50±0.20", "its logs"),
    ("regularized evolution", "more than 500", "93.92±0.30", "71.84±0.99", "46.49±0.60", "EDNAG, CoLLM-NAS"),
    ("random search", "more than 500", "93.70±0.36", "71.04±1.07", "45.37±0.54", "EDNAG, CoLLM-NAS"),
]
PEERS_101 = [
    ("DiNAS", "192", "94.27±0.20", "its paper"),
    ("AG-Net", "192", "94.18±0.07", "its paper"),
    ("EDNAG", "", "94.46±0.01 (by its own averaging)", "its paper"),
    ("random search", "192", "93.59±0.42", "as AG-Net reports it"),
]
PEERS_COST = [
    ("DiffusionNAG", "3.43 GPU-hours", "8 (GPU), 0.55 (2 CPU cores)", "4.0 M"),
    ("DiNAS", "0.25 GPU-hours", "below 0.2 (GPU), 2.6 (2 CPU cores)", "42 M"),
    ("MetaD2A", "20 to 50 GPU-hours", "", ""),
    ("AG-Net", "", "0.0005 (2 CPU cores)", "42 thousand"),
    ("PNAG (CVPR 2026)", "", "0.006 (GPU)", ""),
    ("PG-NAG (the paper this follows)", "0.004 GPU-days, by its own account", "", ""),
]


def peers(records: Iterable[Record]) -> list[str]:
    """What others published, beside ours."""
    by = {(record["protocol"], record["space"]): record for record in records}
    text = []
    for space, title, tasks, theirs in (
        ("nas-bench-201", "NAS-Bench-201", ("cifar10", "cifar100", "ImageNet16-120"), PEERS_201),
        ("nas-bench-101", "NAS-Bench-101", ("cifar10",), PEERS_101),
    ):
        lines, kinds = ours(by.get(("new-space", space)), by.get(("ask-tell", space)), tasks)
        if not lines:
            continue
        if kinds == {"test"}:
            text += [f"The table of {title} that was read has test scores only: PKGen's rows **select by test**.", ""]
        heads = ["CIFAR-10", "CIFAR-100", "ImageNet16-120"] if len(tasks) > 1 else ["test accuracy"]
        lines += [list(peer) for peer in theirs]
        text += [*table(lines, [title, "labels of it read", *heads, "source"]), ""]
    if not text:
        return []
    intro = (
        "Test accuracies in percent. PKGen's trainings have read no label of these spaces; the labels read are those "
        "that choose: validation scores of the best of 8, or of what ask and tell reads. What others select by is "
        "said by each source, and is test accuracy in some."
    )
    return ["## Beside what others published", "", intro, "", *text]


def ours(new_space: Record | None, search: Record | None, tasks: tuple[str, ...]) -> tuple[list[list[str]], set[str]]:
    """PKGen's rows of a table of peers, and which scores select in them."""
    found: dict[tuple[str, int], dict[str, str]] = {}
    kinds = set()
    wanted = [
        (new_space, "pkgen-raw", "mean", "PKGen, mean of samples as they come"),
        (new_space, "pkgen", "few", f"PKGen, best of {FEW}"),
        (search, "ask-tell", "few", "PKGen, ask and tell"),
    ]
    for record, method, what, name in wanted:
        for row in (row for row in (record or {"rows": []})["rows"] if row["method"] == method):
            # Scores that select are those of test where there is nothing else.
            column = f"{what}_score" if row["scores"] == "test" else f"{what}_test"
            if column in row and row["scores"] != "surrogate":
                labels = row["labels_of_target"] + (FEW if method == "pkgen" else 0)
                found.setdefault((name, labels), {})[row["task"]] = mean(row, column)
                kinds.add(row["scores"])
    lines = [
        [name, str(labels), *(by.get(task, "") for task in tasks), "these results"]
        for (name, labels), by in found.items()
    ]
    return lines, kinds


def cost(records: Iterable[Record]) -> list[str]:
    """What training and generation take."""
    records = list(records)
    trainings = trainings_of(records)
    rows = [
        (row["seconds"] / row["n"], record["threads"], record["space"])
        for record in records
        for row in record["rows"]
        if row["method"] == "pkgen" and "budget" not in row
    ]
    if not rows or not trainings:
        return []
    seconds = [training["seconds"] / 3600 for training in trainings.values()]
    devices = ", ".join(sorted({training["device"] for training in trainings.values()}))
    sizes = ", ".join(f"{size:,}" for size in sorted({training["parameters"] for training in trainings.values()}))
    low, high = min(rows), max(rows)
    text = (
        "Training includes measuring the priors of all episodes, not what a benchmark's authors measured; seconds an "
        "architecture are those of a set of 100 distinct ones, ranking included, divided by 100, in the runs that "
        "made the tables. A CPU-hour is not a GPU-hour."
    )
    hours = " to ".join(dict.fromkeys(f"{number:.2f}" for number in (min(seconds), max(seconds))))
    own = ["PKGen", f"{hours} hours on {devices}"]
    own += [f"{low[0]:.4f} ({low[2]}) to {high[0]:.4f} ({high[2]}), CPU threads: {high[1]}", sizes]
    lines = [own, *(list(peer) for peer in PEERS_COST)]
    return ["## Cost", "", text, "", *table(lines, ["", "training", "seconds an architecture", "parameters"]), ""]


def trainings_of(records: Iterable[Record]) -> dict[str, Record]:
    """Every training that results used, by its name."""
    found = {name: training for record in records for name, training in record["trainings"].items() if training}
    return dict(sorted(found.items()))


def trainings_table(records: Iterable[Record]) -> list[str]:
    """Every training that results used: what it read no label of, and how long it took; seeds in one row."""
    seeds: dict[str, list[dict[str, Any]]] = {}
    for name, training in trainings_of(records).items():
        seeds.setdefault(name.partition("-train-seed-")[0], []).append(training)
    lines = []
    for name, trainings in seeds.items():
        first, seconds = trainings[0], sorted(round(training["seconds"]) for training in trainings)
        lines.append([name, ", ".join(first["exclude"]) or "nothing", f"{sum(first['labels_read'].values()):,}"])
        lines[-1] += [f"{first['max_train_steps']:,}", str(len(trainings))]
        between = dict.fromkeys((seconds[0], seconds[-1]))
        lines[-1] += [" to ".join(f"{number:,}" for number in between), first["device"]]
    header = ["training", "reads no label of", "labels read", "steps", "seeds", "seconds", "device"]
    return [*table(lines, header), ""] if lines else []


def whole_runs(records: Iterable[Record]) -> list[str]:
    """What reproducing everything took."""
    lines = []
    for record in records:
        what = ", ".join(record["space"]) if record["space"] else "everything"
        hours, minutes = divmod(round(record["seconds"] / 60), 60)
        taken = f"{hours} h {minutes} min" if hours else f"{minutes} min"
        lines.append([what, f"`{record['command']}`", str(len(record["rows"])), str(record["trained_before"])])
        lines[-1] += [str(record["cores"]), taken]
    header = ["reproduced in one run", "command", "commands in it", "trainings found done before", "CPU cores", "took"]
    return [*table(lines, header), ""] if lines else []
