"""Cards: the README.md of what is published, from templates and what was measured and recorded.

Numbers come from the checkpoint, its ``training.json`` and the files of ``recipes/reproduce.py``; none is typed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from huggingface_hub import CardData, DatasetCard, EvalResult, ModelCard, ModelCardData, RepoCard, SpaceCard

from ..files import atomic_write, read_json
from ..hub.download import PRIORS_FOLDER
from ..hub.loading import count_parameters
from ..spaces import DEFAULT_SPACE, TASK_KINDS, get_space, list_spaces
from .card_rules import check_card
from .origins import citations_of, origins_of

PLACEHOLDER = "org/name"  # of a repository that is not known yet
TAG = "pkgen-hf"  # in the header of every card that is written here
TEMPLATES = Path(__file__).parent / "templates"
RECORD = "training.json"

_CARDS = {"model": ModelCard, "dataset": DatasetCard, "space": SpaceCard}
PROTOCOLS = {
    "same-benchmark": "data sets that it was trained on",
    "new-data-set": "new data sets of known spaces *",
    "new-space": "new spaces *",
}
# Methods of results files, as pkgen_hf.evaluation.methods names them.
PKGEN, PRIOR, SHARP_PRIOR, UNIFORM = "pkgen", "prior-0.5", "prior-0.125", "uniform"


def render(kind: type[RepoCard], template: Path, data: CardData, **values: Any) -> RepoCard:
    """A card from a template, without runs of empty lines."""
    text = str(kind.from_template(data, template_path=str(template), **values))
    return kind(re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n")


# ---------------------------------------------------------------------- pipelines


def pipeline_card(
    folder: str | Path, repo_id: str = PLACEHOLDER, results: str | Path | None = None, variant: str | None = None
) -> RepoCard:
    """The card of a checkpoint.

    Parameters
    ----------
    folder
        As `PKGenPipeline.save_pretrained` or `pipeline_folder.export_pipeline` writes it.
    repo_id
        Where it will be, for the examples.
    results
        Folder of the JSON files that ``recipes/reproduce.py`` writes; only those of a training that this checkpoint's
        ``training.json`` records, or of trainings that held something out, are shown.
    variant
        Of the weights, if they were saved with one.

    Raises
    ------
    ValueError
        If a file of results is not one, or weights are missing or damaged.
    """
    folder = Path(folder)
    spaces = sorted(path.stem for path in (folder / PRIORS_FOLDER).glob("*.parquet"))
    training = training_record(folder)
    records = [] if results is None else read_results(results)
    records = [r for r in records if r["protocol"] != "same-benchmark" or training in r["trainings"].values()]
    tables = [_table(protocol, records) for protocol in PROTOCOLS]
    labels = _labels_read(training)
    own = _cells("same-benchmark", records)
    known = [name for name in spaces if name in list_spaces()]  # others are spaces of the user's own
    origins = origins_of([*known, *(row["space"] for row in labels)])
    example = next((name for name in (DEFAULT_SPACE, *known) if name in known), DEFAULT_SPACE)
    title = repo_id.split("/")[-1] if repo_id != PLACEHOLDER else "PKGen"
    data = ModelCardData(
        library_name="diffusers",
        license="apache-2.0",
        model_name=title,
        tags=["neural-architecture-search", "discrete-diffusion", TAG],
        eval_results=_eval_results(records) or None,
        ignore_metadata_errors=False,
    )
    return render(
        ModelCard,
        TEMPLATES / "pipeline.md",
        data,
        title=title,
        repo_id=repo_id,
        variant_argument=variant_argument(variant),
        parameters=count_parameters(folder / "denoiser", variant=variant),
        spaces=spaces,
        example_space=example,
        example_task=next(iter(get_space(example).tasks)),
        tables=[table for table in tables if table["cells"]],
        training=training,
        labels=labels,
        predicted=sorted({row["space"] for row in own if row["scores"] == "surrogate"}),
        weaker=sum(row["sharp"] <= row["median"] for row in own),
        origins=origins,
        citations=citations_of(origins),
    )


def _labels_read(training: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How many labels of each space a training read, and of which tasks."""
    labels: dict[str, dict[str, Any]] = {}
    for name, number in training.get("labels_read", {}).items():
        space, task = name.split("/")
        row = labels.setdefault(space, {"space": space, "tasks": [], "labels": 0})
        row["tasks"].append(task)
        row["labels"] += number
    return list(labels.values())


def read_results(folder: str | Path) -> list[dict[str, Any]]:
    """The records of a folder of results, in the order of their names; ValueError for what is none."""
    records = []
    for path in sorted(Path(folder).glob("[!.]*.json")):
        try:
            record = read_json(path)
        except ValueError as error:
            raise ValueError(
                f"{path} is not a file of results as recipes/reproduce.py writes them: {error}"
            ) from error
        if not {"schema", "protocol", "space", "rows", "trainings", "command"} <= {*record}:
            raise ValueError(f"{path} is not a file of results as recipes/reproduce.py writes them")
        if record["protocol"] in PROTOCOLS and all(row["method"] != PKGEN for row in record["rows"]):
            raise ValueError(f"{path} has no row of the method {PKGEN!r}: make it again with recipes/reproduce.py")
        records.append(record)
    if not records:
        raise ValueError(f"no results (*.json) in {folder}")
    return records


def _rows(record: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["task"], row["method"]): row for row in record["rows"]}


def _cells(protocol: str, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each space and data set of a protocol."""
    rows = []
    for record in (r for r in records if r["protocol"] == protocol):
        by = _rows(record)
        for (task, method), row in by.items():
            if method == PKGEN:
                rows.append(
                    {
                        "space": record["space"],
                        "first": row["first_rank"],
                        "few": row["few_rank"],
                        "median": row["median_rank"],
                        "prior": by[task, PRIOR]["few_rank"],
                        "sharp": by[task, SHARP_PRIOR]["median_rank"],
                        "uniform": by[task, UNIFORM]["few_rank"],
                        "scores": row["scores"],
                    }
                )
    return rows


def _table(protocol: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the template writes of one protocol: medians over its spaces and data sets."""
    cells = _cells(protocol, records)
    ranks = ("first", "few", "median", "prior", "uniform") if cells else ()
    middle = {name: median(cell[name] for cell in cells) for name in ranks}
    return {
        "title": PROTOCOLS[protocol],
        "cells": len(cells),
        "spaces": len({cell["space"] for cell in cells}),
    } | middle


def _eval_results(records: Sequence[Mapping[str, Any]]) -> list[EvalResult]:
    """For the card's header: the best of the first eight of this checkpoint, of which the Hub makes a table."""
    found = []
    for record in (r for r in records if r["protocol"] == "same-benchmark"):
        for row in (row for row in record["rows"] if row["method"] == PKGEN):
            space = get_space(record["space"])
            task, benchmark = space.tasks[row["task"]], space.origin.title if space.origin else space.name
            metric = "accuracy" if "classification" in TASK_KINDS[task.kind] else "score"
            columns = {"test" if row["scores"] == "test" else "validation": "few_score"}
            columns |= {"test": "few_test"} if "few_test" in row else {}
            for split, column in columns.items():
                how = "predicted by a surrogate, " if row["scores"] == "surrogate" else ""
                found.append(
                    EvalResult(
                        task_type=task.kind,
                        dataset_type=record["space"],
                        dataset_name=f"{benchmark}, {row['task']}",
                        dataset_config=row["task"],
                        dataset_split=split,
                        metric_type=metric,
                        metric_name=f"{split} {metric}, {how}best of the first eight",
                        metric_value=round(row[column], 4),
                    )
                )
    return found


# ---------------------------------------------------------------------- what they share


def variant_argument(variant: str | None) -> str:
    """In the examples of a card."""
    return f', variant="{variant}"' if variant else ""


def training_record(folder: Path) -> dict[str, Any]:
    """What a training left in a folder; nothing if there was none."""
    path = folder / RECORD
    return read_json(path) if path.is_file() else {}


def space_card(template: Path, model_id: str, datasets: Sequence[str], sdk_version: str, python: str) -> RepoCard:
    """The card of the Space, from its template."""
    data = CardData(
        title="PKGen",
        emoji="🧩",
        colorFrom="indigo",
        colorTo="green",
        sdk="gradio",
        sdk_version=sdk_version,
        python_version=python,
        app_file="app.py",
        license="apache-2.0",
        short_description="Generate neural architectures without search",
        models=[model_id],
        datasets=list(datasets) or None,
        tags=["neural-architecture-search", TAG],
    )
    return render(SpaceCard, template, data, title="PKGen", model_id=model_id)


def may_write_card(folder: str | Path) -> bool:
    """Whether a folder has no card, or one that pkgen wrote."""
    path = Path(folder) / "README.md"
    return not path.exists() or (path.is_file() and f"- {TAG}\n" in path.read_text(errors="replace"))


def write_card(folder: str | Path, card: RepoCard) -> Path:
    """Save a card as README.md, checked; FileExistsError for one that was not written here."""
    path = Path(folder) / "README.md"
    if not may_write_card(folder):
        raise FileExistsError(f"{path} is there and was not written by pkgen; move it away first")
    check_card(str(card), next(kind for kind, of in _CARDS.items() if isinstance(card, of)))
    with atomic_write(path) as unfinished:
        unfinished.write_text(str(card))
    return path
