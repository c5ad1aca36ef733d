"""``pkgen prior``: what every choice contributes, from a benchmark, own evaluations, or a score without training."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from .options import DEFAULT_SPACE, AsJson, Quiet, Space, TablePath, Task, evaluations_in, friendly, grouped

if TYPE_CHECKING:
    from ..priors.prior import Prior


@dataclass(frozen=True)
class EvidenceOptions:
    """What the prior is estimated from."""

    evaluations: Annotated[
        Path | None,
        typer.Option(help="Your own results, 5 or more: a CSV file with the columns architecture and score, or JSON."),
    ] = None
    function: Annotated[
        str | None,
        typer.Option(help="A score that needs no measurements, of random architectures: spectral-capacity."),
    ] = None
    top_k: Annotated[int, typer.Option(help="Number of best architectures that the prior describes.")] = 20
    table: TablePath = None


@friendly
@grouped
def prior(
    *,
    space: Space = DEFAULT_SPACE,
    task: Task = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the prior to this Parquet file.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Plot the contributions to this PNG or SVG file.")] = None,
    evidence: EvidenceOptions,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure what every choice contributes in good architectures: its Shapley value.

    Up to 8 operations play one game, whose values are exact; more play restricted games. Scores of reduced networks
    that were not measured are predicted by an additive fit. The line below the table says where this is so.

    Example: pkgen prior --evaluations results.csv -o mine.parquet --plot mine.png
    """
    if output is not None and output.suffix != ".parquet":
        raise ValueError(f"a prior is written to a Parquet file: --output must end in .parquet, got {output}")
    measured = _estimate(space, task, evidence)
    if output is not None:
        measured.save(output)
    if plot is not None:
        measured.plot(plot)
    rows = _components(measured)
    if as_json:
        head = {"space": space, "task": task, "evidence": measured.evidence, "labels_read": measured.labels_read}
        print(json.dumps({**head, "detail": measured.detail, "components": rows}, indent=2))
        return
    whole = evidence.function or ("average over tasks" if evidence.evaluations is None else "your evaluations")
    _print_table(f"{space}, {task or whole} ({measured.evidence})", rows)
    if not quiet:
        Console().print(f"{measured.detail}; labels read: {measured.labels_read:,}", highlight=False)


def _estimate(space: str, task: str | None, evidence: EvidenceOptions) -> Prior:
    from ..priors.prior import Prior
    from ..spaces import get_space

    sources = {"evaluations": evidence.evaluations, "function": evidence.function, "table": evidence.table}
    given = [f"--{name}" for name, source in sources.items() if source is not None]
    if len(given) > 1:
        raise ValueError(f"a prior is of one source: {' and '.join(given)} were given")
    if evidence.function is not None:
        return Prior.from_function(space, evidence.function, task, evidence.top_k)
    if evidence.evaluations is None and evidence.table is None and (chosen := get_space(space)).package is None:
        raise ValueError(
            f"{chosen.name} has no PyPI package of measurements: give --table, --evaluations or --function"
        )
    if evidence.evaluations is None:
        return Prior.from_benchmark(space, task, evidence.top_k, evidence.table)
    architectures, scores = evaluations_in(evidence.evaluations, get_space(space), task)
    return Prior.from_evaluations(space, architectures, scores, task, evidence.top_k)


def _components(prior: Prior) -> list[dict[str, Any]]:
    """The prior of each slot and choice; contributions that were not measured are None."""

    def plain(value: Any) -> float | None:
        number = float(value)
        return None if math.isnan(number) else round(number, 6)

    return [
        {
            "slot": slot.name,
            "choice": choice.name,
            "contribution": plain(prior.contributions[s, k]),
            "subgraph_contribution": plain(prior.subgraph_contributions[s, k]),
            "frequency": plain(prior.frequencies[s, k]),
            "effect": None if prior.effects is None else plain(prior.effects.choices[s, k]),
        }
        for s, slot in enumerate(prior.space.slots)
        for k, choice in enumerate(slot.choices)
    ]


def _print_table(title: str, rows: list[dict[str, Any]]) -> None:
    """Print the components that good architectures have or that were measured."""
    from rich.table import Table

    view = Table(title=title)
    for name in ("slot", "choice", "contribution (points)", "of its subgraphs", "frequency", "effect"):
        view.add_column(name, justify="left" if name in ("slot", "choice") else "right")
    for row in rows:
        if row["frequency"] or row["contribution"] is not None:
            numbers = [row["contribution"], row["subgraph_contribution"], row["frequency"], row["effect"]]
            cells = ["" if number is None else f"{number:.2f}" for number in numbers]
            view.add_row(row["slot"], row["choice"], *cells)
    Console().print(view)
