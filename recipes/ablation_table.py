"""What ablations show: in how many cells, a space and protocol each, a part helps, hurts, or makes no difference."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pkgen_hf.evaluation import measures
from pkgen_hf.evaluation.statistics import compare
from result_files import read_runs
from variants import DEFAULT, PARTS

MEASURES = {name: measures.MEASURES[name] for name in ("few_rank", "median_rank")}
"""Of ranks, in percent: lower is better."""
VERDICTS = {"ahead": "helps", "behind": "hurts", "equal": "equal"}
PAIRED_BY = ["setting", "task", "num_labels", "quantile", "run"]  # within a space and protocol


def read_ablations(results: Path) -> pd.DataFrame:
    """Every run of ``results/runs/ablations-SPACE.parquet``, with a column ``space``.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    prefix = "ablations-"
    names = sorted(path.stem for path in (results / "runs").glob(f"{prefix}*.parquet"))
    if not names:
        raise FileNotFoundError(f"no ablations in {results / 'runs'}; make them with recipes/reproduce.py ablations")
    return pd.concat([read_runs(name, results).assign(space=name.removeprefix(prefix)) for name in names])


def verdicts(runs: pd.DataFrame) -> pd.DataFrame:
    """Compare every variant with what it was changed from, in each cell.

    Differences are paired by task, labels, budget and run, averaged over tasks, and compared over runs.

    Parameters
    ----------
    runs
        Rows of ablations: of each variant, space, protocol, task and run.

    Returns
    -------
    DataFrame
        A row for each variant (``part``, ``value``), cell (``space``, ``protocol``) and ``measure`` of `MEASURES`.
        ``difference``: percent points of rank by which the part as it is is better, with its standard ``error`` over
        ``runs``; ``verdict``: ``"helps"``, ``"hurts"``, or ``"equal"`` within two standard errors.

    Raises
    ------
    ValueError
        If a cell has fewer than two runs, or a variant a run that what it is compared with lacks.
    """
    runs = runs.assign(protocol=_protocols(runs), quantile=runs["quantile"].astype(float).fillna(0.0))
    runs = runs[["part", "value", "space", "protocol", *PAIRED_BY, *MEASURES]]
    cell = ["part", "value", "space", "protocol"]
    changed = runs[runs["part"] != DEFAULT]
    changed = changed.assign(base=changed["part"].map({name: part.base for name, part in PARTS.items()}))
    base = runs[runs["part"].isin(changed["base"])].drop(columns="value").rename(columns={"part": "base"})
    on = ["base", "space", "protocol", *PAIRED_BY]
    pairs = changed.merge(base, on=on, suffixes=("_changed", ""), validate="many_to_one")
    numbers = changed.groupby(cell, sort=False).size()
    found_numbers = pairs.groupby(cell).size().reindex(numbers.index, fill_value=0)
    for (part, value, space, protocol), number in numbers[numbers != found_numbers].items():
        paired = found_numbers[part, value, space, protocol]
        raise ValueError(f"{part} {value}, {space}, {protocol}: {number} runs, but {paired} of the default")
    measured = [*MEASURES, *(f"{measure}_changed" for measure in MEASURES)]
    means = pairs.groupby([*cell, "run"], sort=False)[measured].mean()
    rows = []
    for (part, value, space, protocol), over_tasks in means.groupby(level=cell, sort=False):
        for measure in MEASURES:
            found = compare(over_tasks[measure].to_numpy(), over_tasks[f"{measure}_changed"].to_numpy())
            row = {"part": part, "value": value, "space": space, "protocol": protocol, "measure": measure}
            row |= {"difference": found.difference, "error": found.error, "runs": len(over_tasks)}
            rows.append(row | {"verdict": VERDICTS[found.verdict]})
    return pd.DataFrame(rows)


def _protocols(runs: pd.DataFrame) -> pd.Series:
    """The protocol of each row, by what is given."""
    protocols = runs["setting"].mask(runs["num_labels"] > 0, "given-labels")
    return protocols.mask(runs["quantile"].notna(), "under-a-budget")


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Count verdicts over cells.

    Parameters
    ----------
    found
        As from `verdicts`.

    Returns
    -------
    DataFrame
        A row for each ``part``, ``value`` and ``measure``: numbers of cells in which the part ``helps``, ``hurts`` or
        is ``equal``, and the mean ``difference`` over cells, in the order of `PARTS`.
    """
    rows = []
    for (part, value, measure), cells in found.groupby(["part", "value", "measure"], sort=False):
        counts = {verdict: int((cells["verdict"] == verdict).sum()) for verdict in VERDICTS.values()}
        row = {"part": part, "value": value, "measure": measure}
        rows.append(row | counts | {"difference": float(cells["difference"].mean())})
    table = pd.DataFrame(rows)
    return table.sort_values("part", key=lambda parts: parts.map([*PARTS].index), kind="stable", ignore_index=True)


def that_pay_nowhere(counts: pd.DataFrame) -> list[tuple[str, str]]:
    """Parts and the values they were changed to of which no cell is worse by any measure, as from `summary`."""
    helps = counts.groupby(["part", "value"], sort=False)["helps"].sum()
    return [(str(part), str(value)) for part, value in helps[helps == 0].index]


def as_markdown(counts: pd.DataFrame) -> list[str]:
    """Lines of a table of Markdown, a row for each variant, as from `summary`."""
    columns = [f"{name}: helps / hurts / equal (difference)" for name in MEASURES.values()]
    lines = [f"| part | as it is | changed to | {' | '.join(columns)} |", "|---" * (3 + len(MEASURES)) + "|"]
    for (part, value), rows in counts.groupby(["part", "value"], sort=False):
        by_measure = {row["measure"]: row for row in rows.to_dict("records")}
        cells = []
        for row in (by_measure[measure] for measure in MEASURES):
            cells.append(f"{row['helps']} / {row['hurts']} / {row['equal']} ({row['difference']:+.2f})")
        known = PARTS[str(part)]
        lines.append(f"| {' | '.join([known.title, known.as_it_is, str(value), *cells])} |")
    return lines
