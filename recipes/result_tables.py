"""Tables of one space: every condition and method of its results files, as means over runs."""

from __future__ import annotations

from typing import Any

from pkgen_hf.evaluation.measures import FEW, MEASURES
from pkgen_hf.evaluation.methods import METHODS
from pkgen_hf.evaluation.protocols import PROTOCOLS, Protocol
from verdict_tables import rank, table, title_of

Record = dict[str, Any]
Row = dict[str, Any]
RANKS = ("first_rank", "few_rank", "median_rank")
GROUPS = {"pkgen": "PKGen", "uniform": "uniform random", "pkgen-prior-worst": "PKGen with the prior of the worst"}


def mean(row: Row, column: str) -> str:
    """Mean ± standard deviation over runs of one column; empty where there is none."""
    if column not in row:
        return ""
    number = rank if column in RANKS else "{:.2f}".format
    return f"{number(row[column])} ± {number(row[f'{column}_std'])}" if f"{column}_std" in row else number(row[column])


def condition_of(row: Row) -> str:
    """Labels and budget of a row; empty without either."""
    parts = [f"{row['num_labels']} labels"] if row["num_labels"] else []
    if "quantile" in row:
        parts.append(f"quantile {row['quantile']:g}")
    elif "budget" in row:
        parts.append(row["budget"])
    return ", ".join(parts)


def section(record: Record, name: str) -> list[str]:
    """The Markdown of one results file: how it was made, and all of its rows."""
    protocol = PROTOCOLS[record["protocol"]]
    text = [f"## {protocol.title}", "", f"{protocol.asks[0].upper()}{protocol.asks[1:]}. {made(record, name)}", ""]
    text += surrogates(record)
    for setting in protocol.settings:
        rows = [row for row in record["rows"] if row["setting"] == setting]
        if rows and len(protocol.settings) > 1:
            text += [f"### {protocol.title}: {title_of(setting)}", ""]
        if rows:
            conditions = dict.fromkeys(condition_of(row) for row in rows)
            text += one_condition(rows) if len(conditions) == 1 else by_condition(rows, list(conditions), protocol)
    return text


def made(record: Record, name: str) -> str:
    """The command of a results file and its runs."""
    runs = sorted({row["runs"] for row in record["rows"]})
    counted = f"{runs[0]}" if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    return (
        f"`{record['command']}` (runs of each method: {counted}, trainings: {len(record['trainings'])}, CPU threads: "
        f"{record['threads']}); [means](../../results/{name}.json), "
        f"[all runs](../../results/runs/{name}.parquet)."
    )


def surrogates(record: Record) -> list[str]:
    """What the surrogates of a results file were fitted to, and their errors."""
    lines = [
        f"- {task}: scores of a surrogate fitted to {error['n']:,.0f} networks (5-fold cross-validation: mean "
        f"absolute error {error['mean_absolute_error']:.3g}, R² {error['r2']:.3f}, Kendall's tau "
        f"{error['kendall_tau']:.3f}); ranks are among 20,000 uniform random architectures"
        for task, error in record.get("surrogates", {}).items()
    ]
    return [*lines, ""] if lines else []


def head(row: Row) -> list[str]:
    """Data set with the kind of its scores, and the method of a row."""
    return [f"{row['task']} ({row['scores']})", METHODS[row["method"]].name]


def one_condition(rows: list[Row]) -> list[str]:
    """Every measure of every method."""
    shown = [measure for measure in MEASURES if any(measure in row for row in rows)]
    scores = {"few_score": f"score of the best of {FEW}", "few_test": "test score of the same"}
    scores = {column: name for column, name in scores.items() if any(column in row for row in rows)}
    header = ["data set (scores)", "method", *(MEASURES[measure] for measure in shown), *scores.values()]
    header += ["distinct of n", "labels read", "of the target", "seconds"]
    lines = [
        [*head(row), *(mean(row, column) for column in [*shown, *scores])]
        + [f"{row['distinct']:,.0f} of {row['n']:,.0f}", f"{row['labels_read']:,.0f}"]
        + [f"{row['labels_of_target']:,}", f"{row['seconds']:.2f}"]
        for row in rows
    ]
    return [*table(lines, header), ""]


def by_condition(rows: list[Row], conditions: list[str], protocol: Protocol) -> list[str]:
    """The rank of the best of 8 of every method, a column a condition, and what is the same in all of them."""
    cells: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        cells.setdefault(tuple(head(row)), {})[condition_of(row)] = row
    what = "label read" if protocol.is_search else f"of {FEW}"
    header = ["data set (scores)", "method", *conditions, "median rank", "distinct of n", "labels read", "seconds"]
    header = [name for name in header if name != "median rank" or not protocol.is_search]
    lines = []
    for names, by in cells.items():
        here = list(by.values())
        cell = [*names, *(mean(by[name], "few_rank") if name in by else "" for name in conditions)]
        if not protocol.is_search:
            medians = [row["median_rank"] for row in here]
            cell.append(rank(sum(medians) / len(medians)))
        cell += [", ".join(dict.fromkeys(f"{row['distinct']:,.0f} of {row['n']:,.0f}" for row in here))]
        read = sorted({round(row["labels_read"]) for row in here})
        cell += [f"{read[0]:,}" if len(read) == 1 else f"{read[0]:,} to {read[-1]:,}"]
        lines.append([*cell, f"{sum(row['seconds'] for row in here) / len(here):.2f}"])
    note = f"Rank of the best {what}, %"
    note += "; median rank and seconds are means over the columns." if not protocol.is_search else "."
    return [f"{note}", "", *table(lines, header), ""]


# ---------------------------------------------------------------------- networks that were trained


def trained_here(record: Record) -> list[str]:
    """Cells that were trained here: their groups, and how their order agrees with the benchmark's."""
    images = record["images"]
    taus = ", ".join(
        f"{record[name]['tau']:.2f} over {record[name]['cells']} cells {text} (p = {record[name]['p_value']:.3g})"
        for name, text in (("all", "of all groups"), ("without_the_worst", "without the worst prior's"))
    )
    how = (
        f"`{record['command']}`: {record['seeds']} trainings of each cell on {record['task']}, {record['epochs']} "
        f"epochs on {images['train']:,} images of {record['image_size']} pixels, accuracy on "
        f"{images['validation']:,} others, at the scale {record['scale']}; "
        f"{sum(row['seconds'] for row in record['rows']) / 60:.0f} minutes in all. Kendall's tau between accuracy "
        f"here and the benchmark's: {taus}."
    )
    header = ["group", "cells", "accuracy here", "deviation over seeds", "the benchmark's mean", "labels read"]
    lines = [
        [GROUPS[group["method"]], str(group["cells"])]
        + [f"{group['accuracy']:.2f} ± {group['accuracy_std']:.2f}", f"{group['std_over_seeds']:.2f}"]
        + [f"{group['benchmark']:.2f}", f"{sum(record['labels_read'].get(group['method'], {}).values()):,}"]
        for group in record["groups"]
    ]
    return ["## Trained here", "", how, "", *table(lines, header), ""]
