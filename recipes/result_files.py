"""Files of results: every run as a row of Parquet, and their means as JSON of a schema with a version."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import torch
from jsonschema.exceptions import best_match
from tqdm.auto import tqdm

from pkgen_hf.evaluation.measures import MEASURES
from pkgen_hf.files import atomic_write, write_json

SCHEMA = Path(__file__).with_name("results.schema.json")
VERSION = 2  # of the schema
CELL = ["part", "value", "setting", "task", "num_labels", "quantile", "budget", "method"]
"""Columns that runs of one row of means share."""
FIXED = ["scores", "labels_of_target"]  # the same in all runs of a cell
Row = dict[str, Any]


# ---------------------------------------------------------------------- rows that survive a kill


def rows_of(
    name: str, parts: Iterable[str], make: Callable[[str], list[Row]], results: Path, settings: Row
) -> list[Row]:
    """Rows of all parts, computed part by part; a command that was stopped goes on after those that were finished.

    Finished parts are kept in a hidden file beside the results, which `write` deletes.

    Parameters
    ----------
    name
        Of the results file.
    parts, make
        Names of parts, and what makes the rows of one.
    results
        The folder.
    settings
        Of the command; what was kept with other settings is made anew.
    """
    path, parts = unfinished_file(name, results), list(parts)
    kept: Row = {"settings": settings, "parts": {}}
    if path.is_file():
        before = json.loads(path.read_text())
        if before["settings"] == settings:
            kept = before
            print(f"going on after {len(kept['parts'])} of {len(parts)} parts, found in {path}")
    for part in tqdm(parts, desc=name):
        if part not in kept["parts"]:
            kept["parts"][part] = make(part)
            write_json(kept, path)
    return [row for part in parts for row in kept["parts"][part]]


def unfinished_file(name: str, results: Path) -> Path:
    """Where rows are kept until the results file is written."""
    return results / f".{name}.unfinished.json"


# ---------------------------------------------------------------------- files


def write(name: str, rows: list[Row], details: Row, results: Path) -> Row:
    """Write results/runs/NAME.parquet with every run, and results/NAME.json with means and all that reproduces them.

    Parameters
    ----------
    name
        Of the results file.
    rows
        Of all runs.
    details
        Of the file: ``protocol``, ``space``, ``command``, ``trainings``, and ``surrogates`` where there are any.
    results
        The folder.

    Returns
    -------
    dict
        What the JSON file holds.
    """
    runs = pd.DataFrame(rows)
    versions = {
        package: importlib.metadata.version(package) for package in ("pkgen-hf", "torch", "diffusers", "numpy")
    }
    record = {
        "schema": VERSION,
        **details,
        "versions": {"python": platform.python_version(), **versions},
        "threads": torch.get_num_threads(),
        "rows": means(runs),
    }
    jsonschema.validate(record, json.loads(SCHEMA.read_text()))
    (results / "runs").mkdir(parents=True, exist_ok=True)
    with atomic_write(results / "runs" / f"{name}.parquet") as path:
        runs.to_parquet(path, index=False)
    write_json(record, results / f"{name}.json")
    unfinished_file(name, results).unlink(missing_ok=True)
    print(f"wrote {results / name}.json")
    return record


def means(runs: pd.DataFrame) -> list[Row]:
    """Mean of every measure over the runs of a cell, and its standard deviation as ``..._std``."""
    cell = [column for column in CELL if column in runs]
    fixed = [column for column in FIXED if column in runs]
    measured = [column for column in runs if column not in (*cell, *fixed, "run", "training")]
    spread = [name for name in measured if name in MEASURES or name.endswith(("_score", "_test"))]
    numbers = runs[measured].apply(pd.to_numeric)
    groups = numbers.groupby(runs.groupby(cell, sort=False, dropna=False).ngroup())
    over_runs, deviations = groups.mean(), groups[spread].std()
    rows = []
    for number, labels in groups.groups.items():
        first = runs.loc[labels[0]]
        row: Row = {column: first[column] for column in cell} | {"runs": len(labels)}
        row |= {column: first[column] for column in fixed}
        row["trainings"] = sorted(runs["training"][labels].dropna().unique())
        for column in measured:
            row[column] = over_runs.at[number, column]
            if column in spread:
                row[f"{column}_std"] = deviations.at[number, column]
        rows.append({key: _plain(value) for key, value in row.items() if not _is_missing(value)})
    return rows


def _is_missing(value: Any) -> bool:
    return not isinstance(value, list) and bool(pd.isna(value))


def _plain(value: Any) -> Any:
    """A number of numpy as one of Python, to six digits."""
    value = value.item() if hasattr(value, "item") else value
    return float(f"{value:.6g}") if isinstance(value, float) else value


def read_runs(name: str, results: Path) -> pd.DataFrame:
    """Every run of a results file."""
    return pd.read_parquet(results / "runs" / f"{name}.parquet")


def read_records(results: Path) -> dict[str, Row]:
    """The results files of a folder, checked against the schema, by their names."""
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    records = {path.stem: json.loads(path.read_text()) for path in sorted(results.glob("[!.]*.json"))}
    for name, record in records.items():
        if error := best_match(validator.iter_errors(record)):
            raise ValueError(f"{results / name}.json is no results file of version {VERSION}: {error.message}")
    return records
