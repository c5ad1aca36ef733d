"""What readers of JSON files share: loading one, and reporting content of another form."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...spaces import SearchSpace

Read = Callable[[SearchSpace, Sequence[Path], bool], pa.Table]


def load_json(file: Path) -> dict[str, Any]:
    """The object that a file holds; ValueError for one that is damaged or holds something else."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{file} is truncated or not a JSON file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} should hold a JSON object, it holds a {type(content).__name__}")
    return content


def of_form(what: str) -> Callable[[Read], Read]:
    """Report what is missing from a file, or of another type, as one ValueError that names the form."""

    def wrap(reader: Read) -> Read:
        @wraps(reader)
        def read(space: SearchSpace, files: Sequence[Path], quiet: bool = True) -> pa.Table:
            try:
                return reader(space, files, quiet)
            except (KeyError, TypeError, AttributeError, IndexError) as error:
                where = files[0] if len(files) == 1 else files[0].parent
                raise ValueError(f"{where} is not of the form of {what}: {error!r}") from error

        return read

    return wrap
