"""The state of a run as a JSON file, which several processes may share."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..architecture import Architecture
from ..errors import shortened
from ..files import write_json
from ..spaces import SearchSpace, Task, TaskLike
from .record import Evaluation, Record, to_evaluations


class StateFile:
    """A record on disk, of one space, task and seed.

    A process reads and writes it while it holds the lock ``.NAME.lock`` beside it; the others wait.
    """

    def __init__(self, path: Path, space: SearchSpace, task: TaskLike | None, seed: int) -> None:
        self.path, self.space, self.seed = path, space, seed
        self.task = vars(task) if isinstance(task, Task) else task  # of the user's own: all fields, as JSON has them

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock. A missing folder is made."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            yield

    def write(self, record: Record) -> None:
        """Write the record under a temporary name, then rename."""
        content = {
            "space": self.space.name,
            "fingerprint": self.space.fingerprint,
            "task": self.task,
            "seed": self.seed,
            "told": [[str(a), score] for a, score in _comparable(record.evaluations)],
            "pending": [str(a) for a in record.pending],
        }
        write_json(content, self.path, indent=1)

    def read(self, here: Record) -> Record:
        """The record of the file, which must begin with what is held `here`.

        Raises
        ------
        ValueError
            If the file is damaged, of another run, or lacks evaluations that are held here.
        """
        if not self.path.exists():
            if here != Record():
                raise ValueError(
                    f"{self.path} is gone, though it held {len(here.evaluations)} scores: put it back, or begin anew"
                )
            return here
        there = self._content()
        number = len(here.evaluations)
        if _comparable(there.evaluations[:number]) != _comparable(here.evaluations):
            raise ValueError(
                f"{self.path} has changed: it no longer begins with the {number} scores that were told here. Another "
                f"run was written over it, or it was edited; put it back, or begin anew with another file"
            )
        return there

    def _content(self) -> Record:
        damaged = f"{self.path} is not a state that a Proposer wrote, or is damaged"
        try:
            content: dict[str, Any] = json.loads(self.path.read_text())
            told = [(_text(text), _score(score)) for text, score in content["told"]]
            pending = [_text(text) for text in content["pending"]]
            written = {name: content[name] for name in ("space", "task", "seed")}
            fingerprint = content.get("fingerprint", self.space.fingerprint)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{damaged}: {error!r}") from error
        for name, here in (("space", self.space.name), ("task", self.task), ("seed", self.seed)):
            if written[name] != here:
                there, wanted = (shortened(value) for value in _differing(written[name], here))
                raise ValueError(
                    f"{self.path} is of the {name} {there}, not {wanted}; use another file for each {name}"
                )
        if fingerprint != self.space.fingerprint:
            raise ValueError(
                f"{self.path} is of another space that is called {self.space.name!r} too: its slots differ"
            )
        try:
            evaluations = to_evaluations(self.space, [text for text, _ in told], [score for _, score in told])
            asked = [Architecture.from_string(self.space, text) for text in pending]
        except ValueError as error:
            raise ValueError(f"{damaged}: {error}") from error
        return Record().asked(asked).told(evaluations)


def _differing(written: Any, here: Any) -> tuple[Any, Any]:
    """The two, of tasks of the user's own only the fields that differ."""
    if not (isinstance(written, dict) and isinstance(here, dict)):
        return written, here
    fields = [field for field in here if written.get(field) != here[field]]
    return {field: written.get(field) for field in fields}, {field: here[field] for field in fields}


def _comparable(evaluations: Sequence[Evaluation]) -> list[tuple[Architecture, float | None]]:
    """Evaluations with None in place of NaN, which equals nothing and is not JSON."""
    return [(a, None if math.isnan(score) else score) for a, score in evaluations]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected the string of an architecture, got {shortened(value)}")
    return value


def _score(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"expected a score, got {shortened(value)}")
    return float(value)
