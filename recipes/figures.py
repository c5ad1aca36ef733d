"""Draw the results: results/figures/*.png from results/runs: python recipes/figures.py"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import NullLocator

from pkgen_hf.evaluation.methods import METHODS
from pkgen_hf.evaluation.protocols import PROTOCOLS
from verdict_tables import family, title_of
from verdicts import PRIOR, UNCHOSEN, all_runs, temperatures

RESULTS = Path(__file__).parent.parent / "results"
STYLE: Any = {
    "figure.dpi": 110,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
ALL = "all spaces"
LEAST = 0.01  # percent; ranks below are drawn there, as an axis of logarithms has no zero
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0)
MOST_TICKS = 7  # else powers of ten only
OWN = {"pkgen": ("#0b6e4f", "o", "-"), "ask-tell": ("#0b6e4f", "o", "-"), "first-ranked": ("#6fb98f", "o", "--")}
OTHERS = {
    "uniform": ("#8a8a8a", "x"), "random-search": ("#8a8a8a", "x"), "copy": ("#b07aa1", "P"),
    "largest": ("#7a5230", "^"), "spectral-capacity": ("#c9a227", "v"), PRIOR: ("#e08e1b", "s"),
    "pool-ranking": ("#76b7b2", "D"), "pool-gaussian-process": ("#4e79a7", "<"),
    "pool-random-forest": ("#d1495b", ">"), "gaussian-process": ("#4e79a7", "<"), "evolution": ("#d1495b", ">"),
    "local-search": ("#7a5230", "^"), "tpe": ("#b07aa1", "P"),
}  # fmt: skip
"""Colour and marker of baselines: those of sets of architectures, and those that search, differ by the figure."""


def save(figure: Any, name: str) -> None:
    """Write one picture."""
    path = RESULTS / "figures" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    print(f"wrote {path}")


def style_of(method: str) -> dict[str, Any]:
    """Colour, marker and line of a method."""
    if method in OWN:
        colour, marker, line = OWN[method]
        return {"color": colour, "marker": marker, "linestyle": line, "linewidth": 2.2, "markersize": 5, "zorder": 3}
    colour, marker = OTHERS[PRIOR if method.startswith(PRIOR) else method]
    return {"color": colour, "marker": marker, "linestyle": ":", "linewidth": 1.2, "markersize": 4, "zorder": 2}


def draw_lines(axis: Any, rows: pd.DataFrame, by: str, column: str = "few_rank") -> None:
    """A line a method: the mean over data sets, spaces and runs, and a bar of a standard error over runs."""
    for method in (name for name in METHODS if name in set(rows["method"])):
        of_spaces = rows[rows["method"] == method].groupby([by, "run", "space"])[column].mean()
        of_runs = of_spaces.groupby([by, "run"]).mean().groupby(by)
        means, errors = of_runs.mean(), of_runs.sem().fillna(0.0)
        low, high = ((means + sign * errors).clip(lower=LEAST) for sign in (-1, 1))
        drawn = means.clip(lower=LEAST)
        axis.errorbar(
            drawn.index, drawn, [drawn - low, (high - drawn).clip(lower=0)], label=family(method), capsize=2,
            elinewidth=0.8, **style_of(method),
        )  # fmt: skip


def finish(figure: Any, axes: Any, title: str) -> None:
    """The logarithmic axis of ranks, one legend for all axes, and the title."""
    for axis in axes:
        axis.set_yscale("log")
    low, high = axes[0].get_ylim()  # of all axes, which share it
    low, high = LEAST * 0.8 if low <= LEAST else low, min(high, 100.0)
    ticks = [tick for tick in TICKS if low <= tick <= high]
    if len(ticks) > MOST_TICKS:
        ticks = [tick for tick in ticks if math.log10(tick).is_integer()]
    for axis in axes:
        axis.set_ylim(low, high)
        axis.set_yticks(ticks, [f"{tick:g}" if tick > LEAST else f"≤ {tick:g}" for tick in ticks])
        axis.yaxis.set_minor_locator(NullLocator())
        axis.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    handles: dict[str, Any] = {}
    for axis in axes:
        handles |= {label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)


def with_one_prior(runs: pd.DataFrame) -> pd.DataFrame:
    """Rows with the prior alone as one method, at the temperature that other spaces choose."""
    chosen = temperatures(runs, "few_rank")
    is_prior = runs["method"].astype(str).str.startswith(PRIOR)
    keys = pd.Series(list(zip(runs["protocol"], runs["setting"], runs["space"], strict=True)), index=runs.index)
    kept = ~is_prior | (keys.map(lambda key: chosen.get(key, "")) == runs["method"])
    return runs.assign(method=runs["method"].mask(is_prior, UNCHOSEN))[kept]


def of_all_spaces(runs: pd.DataFrame) -> pd.DataFrame:
    """Rows of the spaces in which no test scores select, of the methods that all of them have, by setting."""
    runs = runs[~runs["space"].isin(runs.loc[runs["scores"] == "test", "space"])]
    spaces = runs.groupby(["protocol", "setting"])["space"].transform("nunique")
    having = runs.groupby(["protocol", "setting", "method"])["space"].transform("nunique")
    return runs[(having == spaces) & (spaces > 1)]


def details(rows: pd.DataFrame) -> str:
    """What means are over, for a title."""
    spaces, tasks, runs = (rows[column].nunique() for column in ("space", "task", "run"))
    over = f"{spaces} spaces" if spaces > 1 else f"{tasks} data sets" if tasks > 1 else ""
    return f"mean of {runs} runs" + (f" and {over}" if over else "") + ", bars: standard error"


def draw_budgets(name: str, runs: pd.DataFrame) -> None:
    """Rank within the budget, by the budget."""
    rows = runs[(runs["protocol"] == "under-a-budget") & runs["quantile"].notna()]
    if rows["quantile"].nunique() < 2:
        return
    rows = rows.assign(quantile=100 * rows["quantile"].astype(float))
    settings = [setting for setting in PROTOCOLS["under-a-budget"].settings if setting in set(rows["setting"])]
    figure, axes = panels(len(settings))
    for axis, setting in zip(axes, settings, strict=True):
        draw_lines(axis, rows[rows["setting"] == setting], "quantile")
        axis.set(title=title_of(setting), xlabel="parameters allowed: % of random\narchitectures that have no more")
        axis.set_xticks(sorted(rows["quantile"].unique()))
    axes[0].set_ylabel("rank of the best of 8 among all\nwithin the budget, % (0 is the best)")
    finish(figure, axes, f"{name}: what each method finds within a budget ({details(rows)})")
    save(figure, f"budgets-of-{name.replace(' ', '-')}")


def draw_labels(name: str, runs: pd.DataFrame) -> None:
    """Rank by the number of labels: given at random, and read by a method's own choice."""
    given, read = runs[runs["protocol"] == "given-labels"], runs[runs["protocol"] == "ask-tell"]
    settings = [setting for setting in PROTOCOLS["given-labels"].settings if setting in set(given["setting"])]
    if not settings and read.empty:
        return
    figure, axes = panels(len(settings) + (not read.empty))
    for axis, setting in zip(axes, settings, strict=False):
        rows = given[given["setting"] == setting]
        draw_lines(axis, rows, "num_labels")
        best = rows.drop_duplicates(["space", "task", "num_labels", "run"])
        best = best.groupby(["num_labels", "space"])["best_label_rank"].mean().groupby("num_labels").mean()
        axis.plot(
            best.index, best.clip(lower=LEAST), color="black", linestyle="--", linewidth=1, label="best label given"
        )
        axis.set(title=f"labels of random architectures, {title_of(setting)}", xlabel="labels given")
    if not read.empty:
        draw_lines(axes[-1], read, "num_labels")
        axes[-1].set(title="ask and tell, new space", xlabel="labels read")
        axes[-1].set_ylabel("rank of the best label read, %")
    axes[0].set_ylabel(
        "rank of the best " + ("of 8, % (0 is the best)" if settings else "label read, % (0 is the best)")
    )
    for axis in axes:
        numbers = sorted({*given["num_labels"], *read["num_labels"]})
        axis.set_xscale("log")
        axis.set_xticks(numbers, [f"{number:g}" for number in numbers])
        axis.xaxis.set_minor_locator(NullLocator())
    finish(figure, axes, f"{name}: what each method finds with few labels ({details(pd.concat([given, read]))})")
    save(figure, f"labels-of-{name.replace(' ', '-')}")


def panels(count: int) -> tuple[Any, np.ndarray]:
    """A figure of `count` axes beside each other."""
    figure, axes = plt.subplots(
        1, count, figsize=(3.4 * count + 1.8, 3.6), squeeze=False, sharey=True, layout="constrained"
    )
    return figure, axes[0]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        runs = all_runs(RESULTS)
    except ValueError as error:
        sys.exit(f"error: {error}")
    runs = with_one_prior(runs)
    with plt.rc_context(STYLE):
        for name, rows in {**dict(list(runs.groupby("space"))), ALL: of_all_spaces(runs)}.items():
            draw_budgets(name, rows)
            draw_labels(name, rows)


if __name__ == "__main__":
    main()
