"""Verdicts: PKGen beside each baseline of the same runs, for every protocol, setting and space.

Scores of a run are averaged over data sets and conditions (numbers of labels, budgets) first; differences are paired
over runs. "Prior alone" is one baseline, at the temperature that is best on the other spaces of the protocol and
setting. Where labels are given, searches that choose as many labels themselves are baselines, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pkgen_hf.errors import unknown
from pkgen_hf.evaluation.measures import MEASURES
from pkgen_hf.evaluation.methods import METHODS
from pkgen_hf.evaluation.protocols import PROTOCOLS
from pkgen_hf.evaluation.statistics import Comparison, compare
from result_files import read_records, read_runs

ROW = ["protocol", "setting", "space"]
"""What a verdict is of."""
CELL = ["task", "num_labels", "budget"]
"""What a run is averaged over."""
ABLATIONS = "ablations"  # what results files of ablations hold under ``protocol``; they compare no baselines
COLUMNS = [*ROW, *CELL, "quantile", "method", "run", "training", "scores", *MEASURES, "best_label_rank"]
PRIOR = "prior-"  # how the ids of the prior alone begin; what follows is the temperature
UNCHOSEN = "prior-0.5"  # the temperature where no other space could choose one
BEST_READ = ["first_rank", "few_rank"]  # measures that searches have: both are of the best label read
HIGHER_IS_BETTER = ("top_share",)
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Verdict:
    """PKGen beside a baseline by a measure.

    Attributes
    ----------
    key
        Protocol, setting and space.
    measure
        Of `MEASURES`.
    own, baseline
        Ids of methods.
    means
        Of PKGen and of the baseline, over the runs, data sets and conditions that both have.
    comparison
        Positive where PKGen is better.
    runs, trainings
        How many runs there are, and of how many trainings.
    by_test
        Whether test scores select, as the table has nothing else.
    """

    key: Key
    measure: str
    own: str
    baseline: str
    means: tuple[float, float]
    comparison: Comparison
    runs: int
    trainings: int
    by_test: bool


# ---------------------------------------------------------------------- runs


def all_runs(results: Path, records: dict[str, Any] | None = None) -> pd.DataFrame:
    """Every run of the protocols in a folder of results, with columns ``protocol`` and ``space``.

    Parameters
    ----------
    results
        The folder.
    records
        Its results files, if they were read already.

    Raises
    ------
    ValueError
        If a file does not follow the schema, lacks its runs, or names a protocol or method that there is none of.
    """
    found = []
    for name, record in (read_records(results) if records is None else records).items():
        if record["protocol"] not in PROTOCOLS:
            if record["protocol"] != ABLATIONS:
                raise unknown(f"protocol in {name}.json", record["protocol"], [*PROTOCOLS, ABLATIONS])
            continue
        if not (results / "runs" / f"{name}.parquet").is_file():
            raise ValueError(f"{results / 'runs' / name}.parquet is missing, the runs of {name}.json")
        runs = read_runs(name, results).assign(protocol=record["protocol"], space=record["space"])
        for method in runs["method"].unique():
            if method not in METHODS:
                raise unknown(f"method in {name}.parquet", method, METHODS)
        runs["budget"] = runs["budget"].astype(object).where(runs["budget"].notna(), "")
        found.append(runs.dropna(axis="columns", how="all"))
    runs = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
    return runs.reindex(columns=[*COLUMNS, *(column for column in runs if column not in COLUMNS)])


def compared(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that are compared: those of protocols, and searches beside given labels.

    To "given labels" come the runs of the searches of "ask and tell" on the same space, data set, number of labels
    and run, under each setting: they read as many labels, which they choose, and eight more where the best of the
    first eight of a set is measured.
    """
    given = runs.loc[runs["protocol"] == "given-labels", [*ROW, "task", "num_labels", "run"]].drop_duplicates()
    searches = runs[(runs["protocol"] == "ask-tell") & runs["method"].map(lambda name: METHODS[name].is_baseline)]
    on = ["space", "task", "num_labels", "run"]
    beside = given.merge(searches.drop(columns=["protocol", "setting"]), on=on)
    if len(beside):
        beside = beside.assign(few_rank=beside["later_rank"])
    kept = [column for column in runs if column not in MEASURES or column in BEST_READ]
    return pd.concat([runs, beside[[c for c in kept if c in beside]]], ignore_index=True) if len(beside) else runs


def own_method(protocol: str) -> str:
    """The method of PKGen that a protocol compares with baselines."""
    return "ask-tell" if PROTOCOLS[protocol].is_search else "pkgen"


# ---------------------------------------------------------------------- comparisons


def temperatures(runs: pd.DataFrame, measure: str) -> dict[Key, str]:
    """For each protocol, setting and space the prior alone at the temperature that is best on the others.

    That is: with the best mean over the other spaces of the protocol and setting, each counted once. The space itself
    has no part in it. Without another space it is `UNCHOSEN`.
    """
    priors = runs[runs["method"].astype(str).str.startswith(PRIOR)]
    means = priors.groupby([*ROW, "method"])[measure].mean().unstack("method")
    found = {}
    for key in means.index:
        same = (means.index.get_level_values(0) == key[0]) & (means.index.get_level_values(1) == key[1])
        others = means[same & (means.index.get_level_values(2) != key[2])].mean()
        if others.isna().all():
            found[key] = UNCHOSEN
        else:
            found[key] = str(others.idxmax() if measure in HIGHER_IS_BETTER else others.idxmin())
    return found


def verdicts(runs: pd.DataFrame, measure: str) -> dict[Key, list[Verdict]]:
    """PKGen beside every baseline, for each protocol, setting and space, in the order of `METHODS`.

    Parameters
    ----------
    runs
        See `compared`.
    measure
        One of `MEASURES`.

    Raises
    ------
    ValueError
        For a method that has two rows of the same run and condition, or for fewer than two runs.
    """
    chosen, found = temperatures(runs, measure), {}
    for key, rows in runs.groupby(ROW, sort=False):
        own = own_method(key[0])
        repeated = rows.duplicated([*CELL, "method", "run"])
        if repeated.any():
            row = rows[repeated].iloc[0]
            raise ValueError(f"{key[0]}-{key[2]} has two rows of {row['method']} in run {row['run']}, {row['task']}")
        table = rows.pivot(index=[*CELL, "run"], columns="method", values=measure)
        if own not in table or table[own].isna().all():
            continue
        details = rows[rows["method"] == own]
        shown = {"runs": details["run"].nunique(), "trainings": details["training"].nunique()}
        shown["by_test"] = bool((details["scores"] == "test").any())
        names = [name for name in METHODS if name in table and METHODS[name].is_baseline]
        names = [name for name in names if not name.startswith(PRIOR) or name == chosen.get(key)]
        table = table.loc[table[own].notna(), [own, *names]]
        by_run = table.groupby("run").mean()  # of those that have all cells
        found[key] = [
            Verdict(key, measure, own, name, *_paired(means, measure), **shown)
            for name in names
            if len(means := _means(table, by_run, own, name))
        ]
    return found


def _means(table: pd.DataFrame, by_run: pd.DataFrame, own: str, other: str) -> pd.DataFrame:
    """Means over the cells that two methods have, by run."""
    if table[other].notna().all():
        return by_run[[own, other]]
    return table[[own, other]].dropna().groupby("run").mean()


def _paired(by_run: pd.DataFrame, measure: str) -> tuple[tuple[float, float], Comparison]:
    """Means and comparison of two columns over runs."""
    own, other = (by_run.iloc[:, column].to_numpy() for column in (0, 1))
    comparison = compare(own, other, lower_is_better=measure not in HIGHER_IS_BETTER)
    return (float(own.mean()), float(other.mean())), comparison


def best_baseline(beside: Iterable[Verdict]) -> Verdict:
    """The verdict on the baseline that is best by the mean, over the cells that it shares with PKGen.

    It is chosen on the runs that it is compared in, which favours the baselines.
    """
    return min(beside, key=lambda verdict: verdict.comparison.difference)


def counts(found: Iterable[Verdict]) -> tuple[int, int, int]:
    """How many are ahead, equal and behind."""
    number = Counter(verdict.comparison.verdict for verdict in found)
    return number["ahead"], number["equal"], number["behind"]


# ---------------------------------------------------------------------- given labels


def share_beating_labels(runs: pd.DataFrame) -> pd.Series:
    """Where labels are given: how often the best of the first 8 is better than the best label, in percent.

    Returns
    -------
    Series
        By setting, space, number of labels and method, over data sets and runs.
    """
    given = runs[(runs["protocol"] == "given-labels") & runs["best_label_rank"].notna()]
    better = 100 * (given["few_rank"] < given["best_label_rank"])
    return better.groupby([given["setting"], given["space"], given["num_labels"], given["method"]]).mean()
