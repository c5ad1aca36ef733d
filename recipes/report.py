"""Write the results: all tables to results/README.md, a summary into README.md: python recipes/report.py [--check]"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
START, END = "<!-- results: written by recipes/report.py -->", "<!-- end of results -->"
TITLES = {
    "same-benchmark": "Same benchmark: the bundled checkpoint on spaces and data sets it was trained on",
    "new-data-set": "New data set: no label of the target data sets was read",
    "new-space": "New space: no label of the target space, nor of one measured with it, was read",
    "few-labels": "Few labels: as new space, and the best by validation of a few that were read",
    "prior-matters": "The prior matters: one checkpoint, several priors",
}


def number(row: dict[str, Any], column: str, digits: int = 2) -> str:
    """Mean and standard deviation of one column."""
    return f"{row[column]:.{digits}f} ± {row[f'{column}_std']:.{digits}f}"


def table(lines: list[list[str]], header: list[str]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *lines)]


def few_labels(record: dict[str, Any]) -> list[str]:
    """The rows of a file of few labels: what was found with how many."""
    header = ["data set", "method", "labels of it", "validation", "rank, %", "test of the same", "seconds a run"]
    return table(
        [
            [
                row["task"],
                row["method"],
                str(row["n"]),
                number(row, "validation"),
                number(row, "median_rank", 3),
                number(row, "test") if "test" in row else "",
                f"{row['seconds']:.1f}",
            ]
            for row in record["rows"]
        ],
        header,
    )


def section(record: dict[str, Any]) -> str:
    """The Markdown of one results file."""
    first, training = record["rows"][0], record["training"]
    few = record["protocol"] == "few-labels"
    size = f"{first['seeds']} runs" if few else f"n = {first['n']:,}, {first['seeds']} seeds"
    seed = f", training seed {training['seed']}" if training.get("seed") else ""
    text = [
        f"### {record['space']}{seed}",
        "",
        f"`{record['command']}`: {size}; denoiser of "
        f"{training['parameters']:,} parameters, trained in {training['seconds']:,.0f} s on {training['device']}.",
    ]
    if record.get("held_out"):
        text[-1] += f" Held out: {', '.join(record['held_out'])}."
    for task, error in record.get("surrogate_error", {}).items():
        if error:
            text[-1] += (
                f" {task} is scored by a surrogate fitted to {error['n']:,} networks (5-fold cross-validation: mean "
                f"absolute error {error['mean_absolute_error']:.2f}, R² {error['r2']:.3f}, Kendall's tau "
                f"{error['kendall_tau']:.3f}); ranks are among 20,000 uniform random architectures."
            )
    if few:
        return "\n".join([*text, "", *few_labels(record), ""])
    header = ["data set", "scores", "method", "mean of all", "median rank, %", "first-ranked", "best of 5"]
    header += ["test, mean of all", "test of selected", "valid, %", "unique, %", "seconds", "labels read"]
    lines = [
        [
            row["task"],
            row["scores"],
            row["method"],
            number(row, "validation"),
            number(row, "median_rank", 3),
            number(row, "best_of_1"),
            number(row, "best_of_5"),
            number(row, "test") if "test" in row else "",
            number(row, "test_of_selected") if "test" in row else "",
            f"{100 * row['validity']:.1f}",
            f"{100 * row['unique']:.1f}",
            f"{row['seconds']:.2f}",
            f"{sum(row['labels_read'].values()):,}",
        ]
        for row in record["rows"]
    ]
    return "\n".join([*text, "", *table(lines, header), ""])


def few_labels_summary(records: list[dict[str, Any]]) -> list[str]:
    """What was found with each number of labels, beside chance."""
    here = [record for record in records if record["protocol"] == "few-labels"]
    budgets = sorted({budget for record in here for budget in record["labels"]})
    lines: list[list[str]] = []
    for record in here:
        by = {(row["task"], row["method"], row["n"]): number(row, "validation") for row in record["rows"]}
        for task, method in dict.fromkeys((task, method) for task, method, _ in by):
            lines.append([record["space"], task, method, *(by.get((task, method, n), "") for n in budgets)])
    if not lines:
        return []
    header = ["space", "data set", "", *(f"{budget} labels" for budget in budgets)]
    return [f"**{TITLES['few-labels']}**", "", *table(lines, header), ""]


def summary(records: list[dict[str, Any]]) -> str:
    """PKGen beside its own prior at two temperatures, and chance: means of all, and median ranks in %."""
    header = ["space", "data set", "PKGen", "rank", "best of 5", "prior alone", "rank", "sharp prior", "rank"]
    header += ["uniform", "rank"]
    parts = []
    for protocol, title in TITLES.items():
        lines = []
        for record in records:
            if record["protocol"] != protocol or protocol in ("prior-matters", "few-labels"):
                continue
            for task in dict.fromkeys(row["task"] for row in record["rows"]):
                by = {row["method"]: row for row in record["rows"] if row["task"] == task}
                own, prior, chance = by["PKGen"], by["prior alone, temperature 0.5"], by["uniform random"]
                sharp = by["prior alone, temperature 0.125"]
                note = {"validation": "", "test": " (test)", "surrogate": " (surrogate)"}[own["scores"]]
                seed = record["training"].get("seed")
                name = record["space"] + (f" (training seed {seed})" if seed else "")
                cells = [name, task + note, number(own, "validation"), f"{own['median_rank']:.2f}"]
                cells += [number(own, "best_of_5")]
                for row in (prior, sharp, chance):
                    cells += [f"{row['validation']:.2f}", f"{row['median_rank']:.2f}"]
                lines.append(cells)
        if lines:
            parts += [f"**{title}**", "", *table(lines, header), ""]
    parts += few_labels_summary(records)
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a file is out of date")
    options = parser.parse_args()
    records = [json.loads(path.read_text()) for path in sorted((ROOT / "results").glob("*.json"))]
    before, rest = (ROOT / "README.md").read_text().split(START)
    after = rest.split(END)[1]
    whole = ["# Results", "", "Written by `python recipes/report.py` from the JSON files beside it.", ""]
    for protocol, title in TITLES.items():
        here = [section(record) for record in records if record["protocol"] == protocol]
        whole += [f"## {title}", "", *here] if here else []
    texts = {
        ROOT / "README.md": f"{before}{START}\n\n{summary(records)}\n{END}{after}",
        ROOT / "results" / "README.md": "\n".join(whole),
    }
    for path, text in texts.items():
        if not options.check:
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")
        elif not path.is_file() or text != path.read_text():
            sys.exit(f"{path.relative_to(ROOT)} is out of date: run python recipes/report.py")


if __name__ == "__main__":
    main()
