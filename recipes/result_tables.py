"""Tables of results: what the files in ``results`` hold, as Markdown for people and as CSV for programs."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable
from typing import Any

from pkgen_hf.evaluation.methods import METHODS
from pkgen_hf.evaluation.protocols import PROTOCOLS

Record = dict[str, Any]
NOT_RECORDED = "–"
SCORES = {"validation": "", "test": " (test)", "surrogate": " (surrogate)"}
WITHOUT_LABELS = ("same-benchmark", "new-data-set", "new-space")  # protocols that generate and look up, no more


def number(row: Record, column: str, digits: int = 2) -> str:
    """Mean and standard deviation of one column."""
    return f"{row[column]:.{digits}f} ± {row[f'{column}_std']:.{digits}f}"


def labels_read(row: Record) -> str:
    """How many labels a row has read in all."""
    return f"{sum(row['labels_read'].values()):,}"


def distinct(row: Record) -> str:
    """How many of a row's samples are distinct, on average over seeds."""
    return f"{row['n'] * row['unique']:.0f}" if "unique" in row else NOT_RECORDED


def table(lines: Iterable[list[str]], header: list[str]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *lines)]


def over_trainings(records: list[Record], task: str, method: str, column: str) -> tuple[float, float, int]:
    """Mean and standard deviation over trainings, and their number; of one training, deviation over its seeds."""
    rows = [row for record in records for row in record["rows"] if (row["task"], row["method"]) == (task, method)]
    values = [row[column] for row in rows]
    spread = statistics.stdev(values) if len(values) > 1 else rows[0].get(f"{column}_std", 0.0)
    return statistics.mean(values), spread, len(values)


def trainings(records: list[Record], protocol: str, space: str) -> list[list[Record]]:
    """Records of a protocol and a space; those that differ in nothing but the seed of training together."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        if (record["protocol"], record["space"]) == (protocol, space):
            groups.setdefault(tuple(sorted({row["task"] for row in record["rows"]})), []).append(record)
    return list(groups.values())


# ---------------------------------------------------------------------- one table of a space and a protocol


def summary(records: list[Record], protocol: str, space: str) -> list[str]:
    """PKGen beside its own prior at two temperatures, and chance: means of all samples, and median ranks."""
    header = ["data set", "trainings", "PKGen", "distinct", "rank, %", "first-ranked", "best of 5"]
    header += ["prior alone", "rank, %", "sharp prior", "rank, %", "uniform", "rank, %"]
    lines = []
    for group in trainings(records, protocol, space):
        for row in (row for row in group[0]["rows"] if row["method"] == "pkgen"):
            task = row["task"]
            cells = [task + SCORES[row["scores"]], str(len(group))]
            for column in ("validation", "unique", "median_rank", "best_of_1", "best_of_5"):
                mean, spread, _ = over_trainings(group, task, "pkgen", column)
                if column == "unique":
                    cells.append(f"{row['n'] * mean:.0f} of {row['n']:,}")
                else:
                    cells.append(f"{mean:.2f}" + (f" ± {spread:.2f}" if column != "median_rank" else ""))
            for method in ("prior-0.5", "prior-0.125", "uniform"):
                columns = ("validation", "median_rank")
                cells += [f"{over_trainings(group, task, method, column)[0]:.2f}" for column in columns]
            lines.append(cells)
    return [*table(lines, header), ""] if lines else []


def few_labels_summary(record: Record) -> list[str]:
    """The best score found with each number of labels, beside other searches."""
    by = {
        (row["task"] + SCORES[row["scores"]], row["method"], row["n"]): number(row, "validation")
        for row in record["rows"]
    }
    lines = [
        [task, METHODS[method].name, *(by.get((task, method, budget), "") for budget in record["labels"])]
        for task, method in dict.fromkeys((task, method) for task, method, _ in by)
    ]
    return [*table(lines, ["data set", "method", *(f"{budget} labels" for budget in record["labels"])]), ""]


def generated(record: Record) -> list[str]:
    """Every row of a file of samples that were looked up."""
    first = record["rows"][0]
    parts = [column for column in ("variant", "value", "setting") if column in first]
    header = [{"variant": "part"}.get(column, column) for column in parts]
    header += ["data set", "scores", "method", "mean of all", "median rank, %", "first-ranked", "best of 5"]
    header += ["test, mean of all", "test of selected", "valid, %", "distinct", "novel, %", "of the best 1 %, %"]
    header += ["seconds", "labels read"]
    lines = []
    for row in record["rows"]:
        cells = [PROTOCOLS[row[c]].title if c == "setting" else row[c] for c in parts]
        cells += [row["task"], row["scores"], METHODS[row["method"]].name, number(row, "validation")]
        cells += [number(row, "median_rank", 3), number(row, "best_of_1"), number(row, "best_of_5")]
        cells += [number(row, column) if "test" in row else "" for column in ("test", "test_of_selected")]
        cells += [f"{100 * row['validity']:.1f}", distinct(row), f"{100 * row['novelty']:.1f}"]
        cells += [f"{100 * row['coverage']:.1f}" if "coverage" in row else "", f"{row['seconds']:.2f}"]
        lines.append([*cells, labels_read(row)])
    return table(lines, header)


def few_labels(record: Record) -> list[str]:
    """Every row of a file of few labels: what was found with how many."""
    header = ["data set", "method", "labels of it", "scores", "best read", "rank, %", "test of the same"]
    lines = [
        [row["task"], METHODS[row["method"]].name, str(row["n"]), row["scores"], number(row, "validation")]
        + [number(row, "median_rank", 3), number(row, "test") if "test" in row else "", f"{row['seconds']:.1f}"]
        for row in record["rows"]
    ]
    return table(lines, [*header, "seconds a run"])


def under_limits(record: Record) -> list[str]:
    """Every row of a file of limits: the best of five beside the best there is, or the front of score and latency."""
    rows = record["rows"]
    settings = [PROTOCOLS[row["setting"]].title if row["setting"] else "" for row in rows]
    if "hypervolume" in rows[0]:
        header = ["data set", "setting", f"hypervolume of score and latency on {record['device']}, share of the true"]
        header += ["the same, measured from the ends of the true front", "labels read"]
        lines = [
            [row["task"], setting, number(row, "hypervolume", 3), number(row, "hypervolume_of_front", 3)]
            + [labels_read(row)]
            for row, setting in zip(rows, settings, strict=True)
        ]
        return table(lines, header)
    header = ["data set", "parameters at most", "setting", "method", "first-ranked", "best of 5", "best there is"]
    header += ["test of selected", "distinct", "seconds", "labels read"]
    lines = [
        [row["task"], f"{row['max_parameters'] / 1e6} M", setting, METHODS[row["method"]].name]
        + [number(row, "best_of_1"), number(row, "best_of_5"), f"{row['optimum']:.2f}"]
        + [number(row, "test_of_selected") if "test" in row else "", distinct(row)]
        + [f"{row['seconds']:.2f}", labels_read(row)]
        for row, setting in zip(rows, settings, strict=True)
    ]
    return table(lines, header)


def under_a_budget(record: Record) -> list[str]:
    """Every row of a file of sets within budgets: the score of the first and of the best of each set."""
    header = ["data set", "budget", "setting", "method", "scores", "first-ranked", "best of the set", "mean"]
    header += ["median rank, %", "n", "distinct", "seconds", "labels read"]
    lines = []
    for row in record["rows"]:
        cells = [row["task"], row["budget"], PROTOCOLS[row["setting"]].title if row["setting"] else ""]
        cells += [METHODS[row["method"]].name, row["scores"], number(row, "best_of_1", 3), number(row, "best_of_n", 3)]
        cells += [number(row, "validation", 3), number(row, "median_rank"), str(row["n"]), distinct(row)]
        lines.append([*cells, f"{row['seconds']:.2f}", labels_read(row)])
    return table(lines, header)


def by_training(record: Record) -> list[str]:
    """The groups of a file of networks that were trained."""
    header = ["group", "cells", "accuracy here", "deviation over seeds", "the benchmark's mean", "labels read"]
    lines = [
        [METHODS[group["method"]].name, str(group["cells"])]
        + [f"{group['accuracy']:.2f} ± {group['accuracy_std']:.2f}", f"{group['std_over_seeds']:.2f}"]
        + [f"{group['benchmark']:.2f}", f"{sum(record['labels_read'].get(group['method'], {}).values()):,}"]
        for group in record["groups"]
    ]
    return table(lines, header)


# ---------------------------------------------------------------------- one results file


def section(record: Record, name: str) -> list[str]:
    """The Markdown of one results file: how it was made, and all of its rows."""
    protocol = record["protocol"]
    tables = {
        "rank-by-training": by_training,
        "few-labels": few_labels,
        "limits": under_limits,
        "under-a-budget": under_a_budget,
    }
    made = tables.get(protocol, generated)
    how = how_trained_here(record) if protocol == "rank-by-training" else how_generated(record)
    rows = [how, "", *made(record), ""]
    if protocol == "few-labels":
        rows = [*few_labels_summary(record), *rows]
    return [f"### {name}", "", *rows]


def how_generated(record: Record) -> str:
    """The command of a results file, its size, and the training of its checkpoint, in a few sentences."""
    first, training = record["rows"][0], record["training"]
    few = record["protocol"] == "few-labels"
    size = f"{first['seeds']} runs" if few else f"n = {first['n']:,}, {first['seeds']} seeds"
    text = (
        f"`{record['command']}`: {size}; denoiser of {training['parameters']:,} parameters, trained in "
        f"{training['seconds']:,.0f} s on {training['device']}."
    )
    if record.get("held_out"):
        text += f" Held out: {', '.join(record['held_out'])}."
    for task, error in {row["task"]: row.get("surrogate_error") for row in record["rows"]}.items():
        if error:
            text += (
                f" {task} is scored by a surrogate fitted to {error['n']:,} networks (5-fold cross-validation: mean "
                f"absolute error {error['mean_absolute_error']:.2f}, R² {error['r2']:.3f}, Kendall's tau "
                f"{error['kendall_tau']:.3f}); ranks are among 20,000 uniform random architectures."
            )
    return text


def how_trained_here(record: Record) -> str:
    """How the networks of a results file were trained, and how their order agrees with the benchmark's."""
    images = record["images"]
    taus = ", ".join(
        f"{record[name]['tau']:.2f} over {record[name]['cells']} cells {text} (p = {record[name]['p_value']:.3g})"
        for name, text in (("all", "of all groups"), ("without_the_worst", "without the worst prior's"))
    )
    return (
        f"`{record['command']}`: {record['seeds']} trainings of each cell on {record['task']}, {record['epochs']} "
        f"epochs on {images['train']:,} images of {record['image_size']} pixels, accuracy on "
        f"{images['validation']:,} others, at the scale {record['scale']}; "
        f"{sum(row['seconds'] for row in record['rows']) / 60:.0f} minutes in all. Kendall's tau between accuracy "
        f"here and the benchmark's: {taus}."
    )


# ---------------------------------------------------------------------- CSV


def as_csv(records: dict[str, Record]) -> str:
    """All rows of some results files, by their names, with the columns that any of them has."""
    rows = []
    for name, record in records.items():
        for row in record["rows"]:
            here = {"file": f"{name}.json", "protocol": record["protocol"], "space": record["space"]}
            here |= {"train_seed": record["training"].get("seed", "")}
            here |= {key: value for key, value in row.items() if not isinstance(value, list | dict)}
            if "labels_read" in row:
                here["labels_read"] = sum(row["labels_read"].values())
            if "unique" in row:
                here["distinct"] = row["n"] * row["unique"]
            rows.append({key: f"{v:.6g}" if isinstance(v, float) else v for key, v in here.items()})
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
