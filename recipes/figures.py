"""Draw the results: results/figures/*.png from the JSON files: python recipes/figures.py"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from pkgen_hf.evaluation.methods import METHODS
from pkgen_hf.evaluation.protocols import PROTOCOLS

RESULTS = Path(__file__).parent.parent / "results"
COLOURS = {"pkgen": "#0b6e4f", "pkgen-distinct": "#6fb98f", "prior": "#e08e1b", "uniform": "#8a8a8a"}
STYLE: Any = {"figure.dpi": 110, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
Record = dict[str, Any]


def save(figure: Any, name: str) -> None:
    """Write one picture."""
    path = RESULTS / "figures" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    print(f"wrote {path}")


def axes_grid(count: int, columns: int = 3) -> tuple[Any, list[Any]]:
    """A figure of `count` axes."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.6 * columns, 2.9 * rows), squeeze=False, layout="constrained"
    )
    for spare in axes.flat[count:]:
        spare.set_visible(False)
    return figure, list(axes.flat[:count])


def draw_quality(record: Record) -> None:
    """What share of all generated scores at least so much."""
    settings = list(dict.fromkeys(row["setting"] for row in record["rows"]))
    tasks = list(dict.fromkeys(row["task"] for row in record["rows"]))
    figure, axes = axes_grid(len(settings) * len(tasks), len(tasks))
    for axis, (setting, task) in zip(axes, [(s, t) for s in settings for t in tasks], strict=True):
        here = [row for row in record["rows"] if (row["setting"], row["task"]) == (setting, task)]
        for row in here:
            shares = [100 - 5 * i for i in range(21)]
            name, colour = METHODS[row["method"]].name, COLOURS.get(row["method"], "black")
            axis.plot(row["quantiles"], shares, label=name, color=colour)
        low = min(row["quantiles"][2] for row in here)
        high = max(row["quantiles"][-1] for row in here)
        axis.set(title=f"{task}, {PROTOCOLS[setting].title.lower()}", xlim=(low, high + 0.02 * (high - low)))
        axis.set(xlabel=f"{here[0]['scores']} accuracy, %", ylabel="generated that reach it, %")
    axes[0].legend(frameon=False, fontsize=7)
    n = record["rows"][0]["n"]
    figure.suptitle(f"{record['space']}: accuracy of {n:,} generated architectures (means of 5 seeds)")
    save(figure, f"quality-{record['space']}")


def draw_few_labels(record: Record) -> None:
    """The best found, by how many labels were read."""
    tasks = list(dict.fromkeys(row["task"] for row in record["rows"]))
    figure, axes = axes_grid(len(tasks))
    for axis, task in zip(axes, tasks, strict=True):
        here = [row for row in record["rows"] if row["task"] == task]
        for number, method in enumerate(dict.fromkeys(row["method"] for row in here)):
            rows = [row for row in here if row["method"] == method]
            budgets = [row["n"] for row in rows]
            means = [row["validation"] for row in rows]
            spread = [row["validation_std"] for row in rows]
            name, colour = METHODS[method].name, COLOURS.get(method, f"C{number}")
            axis.errorbar(budgets, means, spread, label=name, color=colour, marker="o", ms=3, capsize=2, lw=1.3)
        axis.set(title=task, xscale="log", xlabel="labels read", ylabel=f"{here[0]['scores']} score of the best")
        axis.set_xticks(record["labels"], record["labels"])
        axis.minorticks_off()
    axes[0].legend(frameon=False, fontsize=7)
    figure.suptitle(f"{record['space']}: best found with few labels ({record['rows'][0]['seeds']} runs)")
    save(figure, f"few-labels-{record['space']}")


def draw_ablations(record: Record) -> None:
    """Mean accuracy of all generated, by the value of each part, averaged over data sets."""
    parts = list(dict.fromkeys(row["variant"] for row in record["rows"]))
    figure, axes = axes_grid(len(parts))
    for axis, part in zip(axes, parts, strict=True):
        here = [row for row in record["rows"] if row["variant"] == part]
        values = list(dict.fromkeys(row["value"] for row in here))
        names = [value.removeprefix("width ").removeprefix("spaces ").removeprefix("end ") for value in values]
        for setting, colour in (("same-benchmark", "#e08e1b"), ("new-space", "#0b6e4f")):
            rows = {v: [r for r in here if (r["setting"], r["value"]) == (setting, v)] for v in values}
            shown = [value for value in values if rows[value]]
            means = [sum(r["validation"] for r in rows[v]) / len(rows[v]) for v in shown]
            if shown:
                title = PROTOCOLS[setting].title.lower()
                places = [values.index(v) for v in shown]
                line = "-" if all(name[0].isdigit() for name in names) else "none"  # no order, no line
                axis.plot(places, means, linestyle=line, marker="o", ms=4, lw=1.3, color=colour, label=title)
        axis.set_xticks(range(len(values)), names, rotation=30 if max(map(len, names)) > 7 else 0)
        axis.set(title=part, ylabel="mean accuracy, %")
        axis.legend(frameon=False, fontsize=7)
    tasks = ", ".join(dict.fromkeys(row["task"] for row in record["rows"]))
    title = f"{record['space']}: one part changed at a time (validation accuracy, mean over {tasks})"
    figure.suptitle(title)
    save(figure, f"ablations-{record['space']}")


DRAWINGS = {"quality": draw_quality, "few-labels": draw_few_labels, "ablations": draw_ablations}


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with plt.rc_context(STYLE):
        for path in sorted(RESULTS.glob("[!.]*.json")):
            record = json.loads(path.read_text())
            if record["protocol"] in DRAWINGS:
                DRAWINGS[record["protocol"]](record)


if __name__ == "__main__":
    main()
