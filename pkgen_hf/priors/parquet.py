"""Priors as a Parquet table, a row for each component, so that they can be read and published as a data set."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ..errors import one_line, shortened, unknown
from ..files import atomic_write, user_path
from ..spaces import SearchSpace, get_space, list_spaces
from ..spaces.components import Components
from .data import EVIDENCE, PriorData, Subgraph
from .effects import Effects

_IDENTITIES = b"pkgen_choices"  # in the metadata of the schema: what each choice of a space of the user's own is
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
    "effect": pa.float32(),
}
_LATER = ("effect",)  # which files of earlier versions lack
_HEAD = ("evidence", "detail", "scale", "num_good", "labels_read")  # the same in all rows of a prior
_MAY_BE_NULL = ("task", "contribution", "subgraph_contribution", "effect")
_ROUNDING = 1e-3  # frequencies are written in 32 bits
COMPONENTS = ("operation", "subgraph", "pair")


def save_priors(priors: Sequence[PriorData], path: str | Path) -> Path:
    """Write priors to one Parquet file, a row for each component, by way of a temporary file."""
    names = [(prior.space.name, prior.task) for prior in priors]
    if len(set(names)) < len(names):
        raise ValueError(f"two priors of the same space and task in one file: {names}")
    spaces = {prior.space.name: prior.space for prior in priors}
    for prior in priors:
        prior.space.check_same(spaces[prior.space.name], "another prior for the same file")
    rows = [row for prior in priors for row in _rows(prior)]
    own = {name: _identities(space) for name, space in spaces.items() if not space.is_built_in}
    schema = pa.schema(_COLUMNS, {_IDENTITIES: json.dumps(own)} if own else None)
    with atomic_write(path) as unfinished:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), unfinished)
    return user_path(path)


def _rows(prior: PriorData) -> Iterator[dict[str, Any]]:
    """A row for each choice of each slot, one for each pair of choices with an effect, and one for each subgraph.

    A pair has a relation of slots in place of slots, and what two choices are (`Choice.identity`) in place of choices.
    """
    space, effects = prior.space, prior.effects
    head = {"space": space.name, "task": prior.task, **{name: getattr(prior, name) for name in _HEAD}}
    for s, slot in enumerate(space.slots):
        for k, choice in enumerate(slot.choices):
            yield {
                **head,
                "component": "operation",
                "slots": [slot.name],
                "choices": [choice.name],
                "contribution": float(prior.contributions[s, k]),
                "subgraph_contribution": float(prior.subgraph_contributions[s, k]),
                "frequency": float(prior.frequencies[s, k]),
                "effect": None if effects is None else float(effects.choices[s, k]),
            }
    if effects is not None:
        components = Components(space)
        for r, i, j in effects.pairs.nonzero().tolist():
            yield {
                **head,
                "component": "pair",
                "slots": [components.relations[r]],
                "choices": [components.identities[i], components.identities[j]],
                "frequency": 0.0,
                "effect": float(effects.pairs[r, i, j]),
            }
    for graph in prior.subgraphs:
        chosen = zip(graph.slots, graph.choices, strict=True)
        yield {
            **head,
            "component": "subgraph",
            "slots": [space.slots[s].name for s in graph.slots],
            "choices": [space.slots[s].choices[k].name for s, k in chosen],
            "contribution": graph.contribution,
            "subgraph_contribution": graph.contribution,
            "frequency": graph.count / max(1, prior.num_good),
        }


def _identities(space: SearchSpace) -> dict[str, dict[str, str]]:
    """What each choice is, by slot and name: a file of a space that someone defined must be of the same choices."""
    return {slot.name: {choice.name: choice.identity for choice in slot.choices} for slot in space.slots}


def _check_identities(space: SearchSpace, table: pa.Table) -> None:
    """Raise ValueError where a choice of the same name was another when the file was written."""
    try:
        written = json.loads((table.schema.metadata or {}).get(_IDENTITIES, b"{}")).get(space.name, {})
        slots = {slot: dict(choices) for slot, choices in dict(written).items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"what it says of choices is no table of them: {one_line(error)}.") from error
    if not slots:  # of a built-in space
        return
    for slot, choices in _identities(space).items():
        for name, here in choices.items():
            if (there := slots.get(slot, {}).get(name, here)) != here:
                raise ValueError(f"choice {name!r} in slot {slot!r} was {shortened(there)}, and is {here!r} here.")


def read_priors(path: str | Path, spaces: Sequence[SearchSpace]) -> list[PriorData]:
    """The priors of a Parquet file; see `pkgen_hf.priors.files.load_priors`."""
    path = user_path(path)
    return from_table(read_table(path), path, spaces)


def from_table(table: pa.Table, path: Path, spaces: Sequence[SearchSpace]) -> list[PriorData]:
    """The priors of what `read_table` has read of a file."""
    groups: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        groups.setdefault((row["space"], row["task"]), []).append(row)
    priors = []
    for (name, task), rows in groups.items():
        space = _find_space(name, spaces, path)
        try:
            _check_identities(space, table)
            priors.append(_from_rows(space, task, rows))
        except ValueError as error:
            where = f"the prior of {name}, {task or 'all tasks'}"
            raise ValueError(f"{path} is damaged, or of another form: {error} It is in {where}.") from error
    return priors


def read_table(path: Path) -> pa.Table:
    """A file with columns of the right types."""
    if not path.is_file():
        raise FileNotFoundError(f"no prior file at {path}")
    try:
        table = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path} is not a readable Parquet file: {one_line(error)}") from error
    for name in _LATER:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), _COLUMNS[name]))
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise ValueError(f"{path} is not a table of priors: it lacks the columns {', '.join(missing)}")
    try:
        table = table.select(list(_COLUMNS)).cast(pa.schema(_COLUMNS, table.schema.metadata))
        table.validate(full=True)  # texts that are no UTF-8 show only here
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(f"{path} is not a table of priors: a column is of another type: {one_line(error)}") from error
    for name in _COLUMNS:
        if name not in _MAY_BE_NULL and table[name].null_count:
            raise ValueError(f"{path} is not a table of priors: the column {name} has empty values")
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


def _from_rows(space: SearchSpace, task: str | None, rows: list[dict[str, Any]]) -> PriorData:
    shape = (space.num_slots, space.num_choices)
    frequencies = np.zeros(shape, np.float32)  # writing single numbers into tensors takes ten times longer
    of_choices, has_effects = np.zeros(shape, np.float32), False
    contributions, subgraph = (np.full(shape, np.nan, np.float32) for _ in range(2))
    is_given = np.zeros(shape, bool)
    graphs = []
    head = _check_head(rows)
    slot_index = {slot.name: s for s, slot in enumerate(space.slots)}
    pairs = [row for row in rows if row["component"] == "pair"]
    for row in rows:
        _check_numbers(row)
        if row["component"] == "pair":
            continue
        slots, choices = _check_row(space, row, slot_index)
        contribution, of_subgraphs = (
            math.nan if row[name] is None else row[name] for name in ("contribution", "subgraph_contribution")
        )
        if row["component"] == "subgraph":
            count = round(row["frequency"] * head["num_good"])
            graphs.append(Subgraph(tuple(slots), tuple(choices), contribution, count))
            continue
        at = (slots[0], choices[0])
        if is_given[at]:
            raise ValueError(f"choice {row['choices'][0]!r} in slot {row['slots'][0]!r} is there twice.")
        contributions[at], subgraph[at], frequencies[at] = contribution, of_subgraphs, row["frequency"]
        is_given[at] = True
        if row["effect"] is not None:
            of_choices[at], has_effects = row["effect"], True
    missing = space.drawn_mask & ~torch.from_numpy(is_given)  # a choice that is not drawn may have come later
    if missing.any():
        s, k = missing.nonzero()[0].tolist()
        raise ValueError(
            f"this prior of {space.name} says nothing of choice {space.slots[s].choices[k].name!r} in slot "
            f"{space.slots[s].name!r}: it was saved for a space of other choices."
        )
    total = torch.from_numpy(frequencies).sum(1)
    if ((total - 1).abs() > _ROUNDING).any():
        s = int((total - 1).abs().argmax())
        raise ValueError(f"frequencies in slot {space.slots[s].name!r} add up to {float(total[s]):g}, not to 1.")
    return PriorData(
        space,
        task,
        head["evidence"],
        torch.from_numpy(contributions),
        torch.from_numpy(subgraph),
        torch.from_numpy(frequencies),
        tuple(graphs),
        head["scale"],
        head["num_good"],
        head["labels_read"],
        head["detail"],
        _effects(space, of_choices, pairs) if has_effects or pairs else None,
    )


def _effects(space: SearchSpace, of_choices: np.ndarray, pairs: list[dict[str, Any]]) -> Effects:
    """Effects of choices ``(slots, choices)`` and of the pairs of rows; ValueError for pairs that the space lacks."""
    components = Components(space)
    relations = {name: r for r, name in enumerate(components.relations)}
    identities = {name: i for i, name in enumerate(components.identities)}
    of_pairs = np.zeros((len(relations), len(identities), len(identities)), np.float32)
    for row in pairs:
        if len(row["slots"]) != 1 or len(row["choices"]) != 2:
            raise ValueError(
                f"a pair has one relation and two choices, got {shortened(row['slots'])} and "
                f"{shortened(row['choices'])}."
            )
        for name, known, what in (
            (row["slots"][0], relations, "relation"), (row["choices"][0], identities, "choice"),
            (row["choices"][1], identities, "choice"),
        ):  # fmt: skip
            if name not in known:
                raise unknown(f"{what} of a pair in {space.name}", name, list(known))
        at = (relations[row["slots"][0]], *(identities[name] for name in row["choices"]))
        of_pairs[at] = row["effect"] or 0.0
    return Effects(torch.from_numpy(of_choices), torch.from_numpy(of_pairs))


def _check_numbers(row: dict[str, Any]) -> None:
    """ValueError for numbers that no component has."""
    chosen = shortened(row["choices"])
    if not 0 <= row["frequency"] <= 1 + _ROUNDING:
        raise ValueError(f"a frequency is a share from 0 to 1, that of {chosen} is {row['frequency']}.")
    for name in ("contribution", "subgraph_contribution"):
        if row[name] is not None and math.isinf(row[name]):
            raise ValueError(f"a {name} is a finite number or none, that of {chosen} is {row[name]}.")
    if row["effect"] is not None and not math.isfinite(row["effect"]):
        raise ValueError(f"an effect is a finite number or none, that of {chosen} is {row['effect']}.")


def _check_head(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What all rows of a prior have in common; ValueError if they differ, or for what no prior has."""
    head = {name: rows[0][name] for name in _HEAD}
    if head["evidence"] not in EVIDENCE:
        raise unknown("evidence", head["evidence"], EVIDENCE)
    if not 0 < head["scale"] < math.inf:
        raise ValueError(f"scale must be a finite number above 0, got {head['scale']}.")
    for name in ("num_good", "labels_read"):
        if head[name] < 0:
            raise ValueError(f"{name} is a number of architectures or labels, got {head[name]}.")
    for row in rows:
        for name, value in head.items():
            if row[name] != value:
                raise ValueError(f"{name} is {shortened(value)} in one row and {shortened(row[name])} in another.")
    return head


def _check_row(space: SearchSpace, row: dict[str, Any], slot_index: dict[str, int]) -> tuple[list[int], list[int]]:
    """Numbers of the slots and choices of a component; ValueError if they are not of the space, or for its values."""
    if row["component"] not in COMPONENTS:
        raise unknown("component", row["component"], COMPONENTS)
    names, chosen = row["slots"], row["choices"]
    for name in names:
        if name not in slot_index:
            raise unknown(f"slot of {space.name}", name, list(slot_index))
    slots = [slot_index[name] for name in names]
    is_one = len(names) == 1 or row["component"] == "subgraph"
    if not names or len(names) != len(chosen) or len(set(names)) < len(names) or not is_one:
        raise ValueError(
            f"an operation has one slot and choice, a subgraph as many choices as slots: a {row['component']} has "
            f"{shortened(names)} and {shortened(chosen)}."
        )
    for s, name in zip(slots, chosen, strict=True):
        if name not in space.choice_index[s]:
            raise unknown(f"choice in slot {space.slots[s].name!r} of {space.name}", name, space.choice_index[s])
    return slots, [space.choice_index[s][name] for s, name in zip(slots, chosen, strict=True)]
