"""Priors as Parquet files: a row for each component, so that they can be read and published as a data set."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from .errors import unknown
from .files import atomic_write, user_path
from .hub import PRIORS_FOLDER
from .priors import EVIDENCE, Prior, Subgraph
from .spaces import SearchSpace, get_space, list_spaces

_COLUMNS = {
    "space": pa.string(),
    "task": pa.string(),
    "evidence": pa.string(),
    "detail": pa.string(),
    "scale": pa.float64(),
    "num_good": pa.int64(),
    "labels_read": pa.int64(),
    "component": pa.string(),
    "slots": pa.list_(pa.string()),
    "choices": pa.list_(pa.string()),
    "contribution": pa.float32(),
    "subgraph_contribution": pa.float32(),
    "frequency": pa.float32(),
}


def save_priors(priors: Sequence[Prior], path: str | Path) -> Path:
    """Write priors to one Parquet file, a row for each component, by way of a temporary file."""
    names = [(prior.space.name, prior.task) for prior in priors]
    if len(set(names)) < len(names):
        raise ValueError(f"two priors of the same space and task in one file: {names}")
    rows: list[dict[str, Any]] = []
    for prior in priors:
        space = prior.space
        head = {
            "space": space.name,
            "task": prior.task,
            "evidence": prior.evidence,
            "detail": prior.detail,
            "scale": prior.scale,
            "num_good": prior.num_good,
            "labels_read": prior.labels_read,
        }
        for s, slot in enumerate(space.slots):
            for k, choice in enumerate(slot.choices):
                rows.append(
                    {
                        **head,
                        "component": "operation",
                        "slots": [slot.name],
                        "choices": [choice.name],
                        "contribution": float(prior.contributions[s, k]),
                        "subgraph_contribution": float(prior.subgraph_contributions[s, k]),
                        "frequency": float(prior.frequencies[s, k]),
                    }
                )
        for graph in prior.subgraphs:
            rows.append(
                {
                    **head,
                    "component": "subgraph",
                    "slots": [space.slots[s].name for s in graph.slots],
                    "choices": [
                        space.slots[s].choices[k].name for s, k in zip(graph.slots, graph.choices, strict=True)
                    ],
                    "contribution": graph.contribution,
                    "subgraph_contribution": graph.contribution,
                    "frequency": graph.count / max(1, prior.num_good),
                }
            )
    with atomic_write(path) as unfinished:
        pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(_COLUMNS)), unfinished)
    return user_path(path)


def load_priors(path: str | Path, spaces: Sequence[SearchSpace] = ()) -> list[Prior]:
    """Read the priors of a Parquet file.

    Parameters
    ----------
    path
        As from `save_priors`.
    spaces
        Spaces of your own that the file may name; those that `list_spaces` has need not be passed.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a table of priors, is of a space or choice that is not known, or lacks choices of the space.
    """
    path = user_path(path)
    groups: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for row in _read_table(path).to_pylist():
        groups.setdefault((row["space"], row["task"]), []).append(row)
    found = {name: _find_space(name, spaces, path) for name, _ in groups}
    try:
        return [_from_rows(found[name], task, rows) for (name, task), rows in groups.items()]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged, or of another form: {error}") from error


class FolderPriors(NamedTuple):
    """The priors of a checkpoint.

    Attributes
    ----------
    priors
        Those of spaces that are known.
    unread
        By the name of its space, each file of a space that is not known here: how many priors, and its content. What
        is saved again takes them along.
    """

    priors: list[Prior]
    unread: dict[str, tuple[int, bytes]]


def load_folder(folder: str | Path, spaces: Sequence[SearchSpace] = ()) -> FolderPriors:
    """Read the priors of a checkpoint, with a warning for files of spaces that are not known here.

    Parameters
    ----------
    folder
        The checkpoint.
    spaces
        Spaces of your own that it may have priors of.

    Raises
    ------
    ValueError
        If a file is damaged, or `spaces` holds something else.
    """
    if not isinstance(spaces, list | tuple) or not all(isinstance(space, SearchSpace) for space in spaces):
        raise ValueError(f"spaces must be a list of SearchSpace objects, got {str(spaces)[:80]!r}")
    known = {*list_spaces(), *(space.name for space in spaces)}
    priors: list[Prior] = []
    unread: dict[str, tuple[int, bytes]] = {}
    for path in sorted((Path(folder) / PRIORS_FOLDER).glob("*.parquet")):
        table = _read_table(path)
        names = [name for name in table["space"].unique().to_pylist() if name is not None and name not in known]
        if names:
            unread[names[0]] = (table.group_by(["space", "task"]).aggregate([]).num_rows, path.read_bytes())
        else:
            priors += load_priors(path, spaces)
    if unread:
        warnings.warn(
            f"{folder} has priors of search spaces that are not known here, which are left out: {', '.join(unread)}. "
            f"If they are spaces of your own, pass them: PKGenPipeline.from_pretrained(..., spaces=[...])",
            stacklevel=3,
        )
    return FolderPriors(priors, unread)


def _read_table(path: Path) -> pa.Table:
    if not path.is_file():
        raise FileNotFoundError(f"no prior file at {path}")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a readable Parquet file: {error}") from error
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise ValueError(f"{path} is not a table of priors: it lacks the columns {', '.join(missing)}")
    return table


def _find_space(name: str, own: Sequence[SearchSpace], path: Path) -> SearchSpace:
    for space in own:
        if space.name == name:
            return space
    if name not in list_spaces():
        error = unknown(f"search space in {path}", name, [*(space.name for space in own), *list_spaces()])
        raise ValueError(
            f"{error} If it is a space of your own, pass it: Prior.load(path, space=...) or "
            f"load_priors(path, spaces=[...])."
        )
    return get_space(name)


def _from_rows(space: SearchSpace, task: str | None, rows: list[dict[str, Any]]) -> Prior:
    slot_index = {slot.name: s for s, slot in enumerate(space.slots)}
    shape = (space.num_slots, space.num_choices)
    contributions, subgraph = torch.full(shape, torch.nan), torch.full(shape, torch.nan)
    frequencies = torch.zeros(shape)
    missing = space.choice_mask.clone()
    graphs = []
    for row in rows:
        for name in row["slots"]:
            if name not in slot_index:
                raise unknown(f"slot of {space.name}", name, list(slot_index))
        slots = [slot_index[name] for name in row["slots"]]
        for s, name in zip(slots, row["choices"], strict=True):
            if name not in space.choice_index[s]:
                raise unknown(f"choice in slot {space.slots[s].name!r} of {space.name}", name, space.choice_index[s])
        choices = [space.choice_index[s][name] for s, name in zip(slots, row["choices"], strict=True)]
        if row["component"] == "operation":
            at = (slots[0], choices[0])
            contributions[at], subgraph[at] = row["contribution"], row["subgraph_contribution"]
            frequencies[at] = row["frequency"]
            missing[at] = False
        else:
            count = round(row["frequency"] * row["num_good"])
            graphs.append(Subgraph(tuple(slots), tuple(choices), row["contribution"], count))
    if missing.any():
        s, k = missing.nonzero()[0].tolist()
        raise ValueError(
            f"this prior of {space.name} says nothing of choice {space.slots[s].choices[k].name!r} in slot "
            f"{space.slots[s].name!r}: it was saved for a space of other choices"
        )
    head = rows[0]
    if head["evidence"] not in EVIDENCE:
        raise unknown("evidence", head["evidence"], EVIDENCE)
    return Prior(
        space,
        task,
        head["evidence"],
        contributions,
        subgraph,
        frequencies,
        tuple(graphs),
        head["scale"],
        head["num_good"],
        head["labels_read"],
        head["detail"],
    )
