"""Kendall's tau of spectral capacity and of parameters with measured scores, over all networks and those of like size.

One line for each data set of the tables in ``--data``; no model takes part, and nothing is trained.
"""

from __future__ import annotations

import argparse

import torch

from pkgen_hf import ScoreTable
from pkgen_hf.benchmarks.sources import tables_in
from pkgen_hf.evaluation.rank_correlation import rank_correlation
from pkgen_hf.spaces.spectral_capacity import spectral_capacity

LINE = "{:<24}  {:<15}  {:>8}  {:>8}  {:>10}  {:>14}  {:>16}"
COLUMNS = ("space", "data set", "networks", "capacity", "parameters", "capacity, like", "parameters, like")


def correlations(table: ScoreTable, task: str, num: int) -> list[float]:
    """Of capacity and parameters over all pairs, then of both within 10 % of parameters; of `num` random networks."""
    measured = table.column(task)
    known = (~measured.isnan()).nonzero()[:, 0]
    chosen = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(0))[:num]]
    rows, measured = table.indices[chosen], measured[chosen].double()
    parameters = table.space.parameters(rows, task).double()
    scores = spectral_capacity(table.space, rows, task), parameters
    return [rank_correlation(score, measured, sizes) for sizes in (None, parameters) for score in scores]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="data", help="folder of tables, one a space (default: data)")
    parser.add_argument("--space", action="append", help="default: those of which there is a table")
    parser.add_argument("--num", type=int, default=5_000, help="networks at most, drawn at random (default: 5000)")
    options = parser.parse_args()
    tables = tables_in(options.data)
    print(LINE.format(*COLUMNS))
    for name in options.space or tables:
        table = ScoreTable.load(name, tables.get(name))
        for task in table.tasks:
            taus = correlations(table, task, options.num)
            number = min(options.num, int((~table.column(task).isnan()).sum()))
            print(LINE.format(name, task, number, *(f"{tau:.2f}" for tau in taus)), flush=True)


if __name__ == "__main__":
    main()
