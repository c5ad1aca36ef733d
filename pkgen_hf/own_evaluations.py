"""Reading evaluations that people bring as text: lines, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator

from .architecture import Architecture
from .spaces import SearchSpace, get_space

COLUMNS = ("architecture", "score")


def read_evaluations(space: str | SearchSpace, text: str) -> tuple[list[Architecture], list[float]]:
    """Architectures and scores of a text.

    Parameters
    ----------
    space
        The search space that the architectures are of.
    text
        One of: a line ``architecture string, score`` for each, where what follows the last comma, semicolon or tab is
        the score; CSV with a header that names the columns ``architecture`` and ``score``, among others or alone; a
        JSON list of objects with the keys ``architecture`` and ``score``. Empty lines are passed over.

    Returns
    -------
    Architectures and scores, as many of each, in the order of the text.

    Raises
    ------
    ValueError
        For the first line (or entry of JSON) that is not of this form, with its number: no score, a score that is not
        a finite number, or an architecture that the space cannot read.
    """
    space = get_space(space)
    architectures, scores = [], []
    for place, string, score in _entries(text):
        try:
            number = float(score.strip().removesuffix("%"))
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"{place}: the score {score.strip()!r} is not a finite number")
        try:
            architectures.append(Architecture.from_string(space, string))
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
        scores.append(number)
    if not scores:
        raise ValueError("there are no evaluations in the text: expected a line 'architecture, score' for each")
    return architectures, scores


def _entries(text: str) -> Iterator[tuple[str, str, str]]:
    """Place in the text, architecture's string and score of each evaluation."""
    if re.match(r"\s*\[\s*(\{|\])", text):  # no architecture string of any space begins like this
        yield from _json_entries(text)
        return
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        return
    header = [field.strip().lower() for field in next(csv.reader([lines[0][1]]))]
    if set(COLUMNS) & set(header):
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise ValueError(f"line {lines[0][0]}: the header lacks the column {missing[0]!r}, it has {header}")
        if header != list(COLUMNS):  # of other columns only the CSV format tells where they end
            yield from _csv_entries(text, lines[0][0], header)
            return
        lines = lines[1:]
    for number, line in lines:
        if line.startswith('"'):
            fields = next(csv.reader([line], skipinitialspace=True))
        else:
            fields = list(re.fullmatch(r"(.*?)(?:[,;\t]([^,;\t]*))?", line).groups(""))  # type: ignore[union-attr]
        if len(fields) != 2 or not fields[1].strip():
            raise ValueError(f"line {number}: expected 'architecture, score', got {line!r}")
        yield f"line {number}", fields[0].strip(), fields[1]


def _csv_entries(text: str, header_line: int, header: list[str]) -> Iterator[tuple[str, str, str]]:
    reader = csv.reader(io.StringIO(text))
    for fields in reader:
        if reader.line_num <= header_line or not fields:
            continue
        if len(fields) != len(header):
            raise ValueError(
                f"line {reader.line_num}: {len(fields)} fields where the header names {len(header)}; a field with "
                f"commas is written in double quotes"
            )
        row = dict(zip(header, fields, strict=True))
        yield f"line {reader.line_num}", row["architecture"].strip(), row["score"]


def _json_entries(text: str) -> Iterator[tuple[str, str, str]]:
    try:
        records = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: this is not JSON: {error.msg} (column {error.colno})") from error
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict) or not all(name in record for name in COLUMNS):
            raise ValueError(
                f'entry {number}: expected {{"architecture": ..., "score": ...}}, got {json.dumps(record)}'
            )
        string, score = record["architecture"], record["score"]
        if not isinstance(string, str):  # JSON architectures written as JSON, not as a string
            string = json.dumps(string)
        if isinstance(score, bool) or not isinstance(score, (int, float)):
            raise ValueError(f"entry {number}: the score {json.dumps(score)} is not a finite number")
        yield f"entry {number}", string, repr(score)
