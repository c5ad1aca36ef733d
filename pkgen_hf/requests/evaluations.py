"""Reading evaluations that people bring as text: lines, CSV or JSON."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import torch

from ..architecture import Architecture
from ..errors import shortened
from ..spaces import SearchSpace, get_space

COLUMNS = ("architecture", "score")
# What people and programs write where a run gave no score, in lower case.
FAILURES = (
    "", "-", "--", "–", "—", "?", "nan", "-nan", "n/a", "na", "#n/a", "#num!", "#value!", "#div/0!", "none", "null",
    "fail", "failed", "failure", "error", "crash", "crashed", "diverged", "oom", "timeout", "killed",
)  # fmt: skip
_SEPARATORS = ",;\t"
_QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"\s*(?:([,;\t])(.*))?', re.DOTALL)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+\s*%?")
_COMMENT = re.compile(r"#(?!n/a|num!|value!|div/0!)", re.IGNORECASE)  # but what spreadsheets write of failures
_NUMBERLIKE = re.compile(r"[\s\d.,+−%'’-]+")
_GAP = re.compile(r"(?<=\d)[ '’\u00a0\u202f](?=\d{3}(?:\D|$))")  # between thousands
_COMMAS_GROUP = re.compile(r"[+-]?\d{1,3}(?:(?:,\d{3})+\.\d+|(?:,\d{3}){2,})")
_POINTS_GROUP = re.compile(r"[+-]?\d{1,3}(?:\.\d{3})+,\d+")
_EITHER_WAY = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


def read_evaluations(space: str | SearchSpace, text: str | bytes) -> tuple[list[Architecture], list[float]]:
    """Architectures and scores of a text.

    Parameters
    ----------
    space
        The search space that the architectures are of.
    text
        One of: a line ``architecture string, score`` for each, where what follows the last comma, semicolon or tab is
        the score; CSV with a header that names the columns ``architecture`` and ``score``, among others or alone; a
        JSON list of objects, or lines of one each, with the keys ``architecture`` and ``score``. Empty lines and those
        that begin with ``#`` are passed over. A score may have a percent sign, and a comma for its point where that
        cannot be another separator. Bytes are those of a file in UTF-8.

    Returns
    -------
    Architectures and scores, as many of each, in the order of the text, repeated ones included. The score of a run
    that failed, which the text leaves empty or calls by one of `FAILURES`, is NaN.

    Raises
    ------
    ValueError
        For the first line (or entry of JSON) that is not of this form, with its number: no score, a score that is
        neither a finite number nor a failure, or an architecture that the space cannot read. For a text in another
        encoding.
    """
    space = get_space(space)
    places, strings, scores = [], [], []
    shares: list[int] = []  # numbers of the scores with a percent sign
    plain: list[int] = []
    refusal = None
    try:
        for place, string, score in _entries(space, _decoded(text)):
            scores.append(_score(place, score))
            places.append(place)
            strings.append(string)
            (shares if _is_percent(score) else plain).append(len(scores) - 1)
    except ValueError as error:  # what comes before it may be wrong as well
        refusal = error
    rows = _rows(space, places, strings)
    if refusal is not None:
        raise refusal
    fractions = [number for number in plain if not math.isnan(scores[number])]
    if shares and fractions and all(0 <= scores[number] <= 1 for number in fractions):
        raise ValueError(
            f"{places[shares[0]]} has a score in percent, {places[fractions[0]]} one that seems to be a fraction, "
            f"{scores[fractions[0]]}: write all of them in percent"
        )
    if not scores:
        raise ValueError("there are no evaluations in it: expected a line 'architecture, score' for each")
    return Architecture.from_batch(space, rows), scores


def _decoded(text: str | bytes) -> str:
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            guess = "UTF-16" if text[:2] in (b"\xff\xfe", b"\xfe\xff") else "of another encoding"
            raise ValueError(f"the text is {guess}, not UTF-8: save it as UTF-8 (byte {error.start})") from error
    if not isinstance(text, str):
        raise ValueError(f"evaluations are text, got {shortened(text)}")
    if "\0" in text:
        raise ValueError("the text has NUL characters, as UTF-16 read as another encoding has: save it as UTF-8")
    return text.removeprefix("\ufeff")


def _rows(space: SearchSpace, places: list[str], strings: list[str]) -> torch.Tensor:
    """Indices of the strings; ValueError with the place of the first that the space cannot read."""
    try:
        return space.from_strings(strings)
    except ValueError:
        for place, string in zip(places, strings, strict=True):
            try:
                space.from_strings([string])
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from error
        raise


def _score(place: str, score: Any) -> float:
    """The number that `score` is or writes, NaN for a run that failed."""
    try:
        if isinstance(score, bool):
            raise TypeError("no number")
        number = math.nan if score is None else _number(score) if isinstance(score, str) else float(score)
        if math.isinf(number):
            raise OverflowError("no finite number")
    except ValueError as error:
        raise ValueError(f"{place}: the score {shortened(score)} {error}") from error
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{place}: the score {shortened(score)} is not a finite number") from error
    return number


def _number(text: str) -> float:
    """The number that a text writes, NaN for a run that failed; ValueError with the reason for another text."""
    text = text.replace("−", "-").strip()
    if text.lower() in FAILURES:
        return math.nan
    text = text.removesuffix("%").strip()
    text = _GAP.sub("", text)
    if _EITHER_WAY.fullmatch(text):
        raise ValueError(f"may be {text.replace(',', '')} or {text.replace(',', '.')}: write it without a comma")
    if _COMMAS_GROUP.fullmatch(text):
        text = text.replace(",", "")
    elif _POINTS_GROUP.fullmatch(text) or _DECIMAL_COMMA.fullmatch(text):
        text = text.replace(".", "").replace(",", ".")
    try:
        return float(text)
    except ValueError:
        raise ValueError("is not a finite number") from None


# ---------------------------------------------------------------------- forms of the text


def _entries(space: SearchSpace, text: str) -> Iterator[tuple[str, str, Any]]:
    """Place in the text, architecture's string and score of each evaluation."""
    if re.match(r"\s*\[\s*(\{|\])", text):  # no architecture string of any space begins like this
        yield from _json_entries(text)
        return
    lines = _lines(space, text)
    if not lines:
        return
    if lines[0][1].startswith("{") and f'"{COLUMNS[0]}"' in lines[0][1]:  # JSON Lines
        for number, line in lines:
            yield _json_entry(f"line {number}", _parsed(line, number))
        return
    separator, header = _header(lines[0][1])
    if not header:
        _check_first(*lines[0])
        yield from _line_entries(lines)
        return
    for name in COLUMNS:
        if header.count(name) != 1:
            wrong = "lacks the column" if name not in header else "has twice the column"
            raise ValueError(
                f"line {lines[0][0]}: the header {wrong} {name!r}, it has {shortened(', '.join(header), 200)}"
            )
    if header == list(COLUMNS):
        yield from _line_entries(lines[1:])
    else:  # of other columns only the CSV format tells where they end
        below = [(number, line) for number, line in enumerate(text.splitlines(), 1) if number > lines[0][0]]
        yield from _csv_entries(below, separator, header, _has_comments(space))


def _has_comments(space: SearchSpace) -> bool:
    return not any(name.startswith("#") for name in space.choice_index[0])


def _lines(space: SearchSpace, text: str) -> list[tuple[int, str]]:
    """Number and text of each line that is neither empty nor a comment, nor the hint ``sep=;`` to a spreadsheet."""
    has_comments = _has_comments(space)
    lines = [(number, line.lstrip(" ")) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if lines and re.fullmatch(r'"?sep=.?"?\s*', lines[0][1]):
        lines = lines[1:]
    if lines and has_comments and _header(lines[0][1].lstrip("# "))[1]:
        lines[0] = lines[0][0], lines[0][1].lstrip("# ")
    return [(number, line) for number, line in lines if not (has_comments and _COMMENT.match(line))]


def _header(line: str) -> tuple[str, list[str]]:
    """The separator of a header, and its columns in lower case; no columns if it is none."""
    for separator in _SEPARATORS:
        with contextlib.suppress(csv.Error):
            header = [name.strip().lower() for name in next(csv.reader([line], delimiter=separator))]
            if set(COLUMNS) & set(header):
                return separator, header
    return "", []


def _check_first(number: int, line: str) -> None:
    """Explain a header of other names."""
    score = (_split(line)[1] or "").strip()
    if score[:1].isalpha() and not _is_score(score):
        raise ValueError(
            f"line {number}: the score {shortened(score)} is not a finite number; if this is a header, it must name "
            f"the columns architecture and score, and has {shortened(line.strip())}"
        )


def _is_percent(score: Any) -> bool:
    return isinstance(score, str) and score.strip().endswith("%")


def _is_score(text: str) -> bool:
    try:
        return not math.isinf(_number(text))
    except ValueError:
        return False


def _line_entries(lines: list[tuple[int, str]]) -> Iterator[tuple[str, str, str]]:
    """Of lines that end in the score, whatever is in the architecture's string."""
    left = iter(lines)
    for number, line in left:
        line = line.lstrip()
        if line.startswith('"') and line.count('"') % 2:
            parts = [line]
            for _, more in left:
                parts.append(more)
                if more.count('"') % 2:
                    break
            line = "\n".join(parts)
        string, score = _split(line)
        if score is None:
            raise ValueError(f"line {number}: expected 'architecture, score', got {shortened(line)}")
        if string or score:
            yield f"line {number}", string, score


def _split(line: str) -> tuple[str, str | None]:
    """Architecture's string and score of a line, None where there is none."""
    if line.startswith('"') and (quoted := _QUOTED.fullmatch(line.rstrip(" "))):
        string, separator, score = quoted[1].replace('""', '"'), quoted[2], quoted[3]
        return string.strip(), None if score is None else _pointed(score.strip().strip('"'), separator)
    body = line.rstrip()
    if "\t" in line[len(body) :]:  # what follows the tab is empty, unless the line ends in white space for no reason
        string, score = _split(body)
        return (string, score) if score is not None and _is_score(score) else (body, "")
    start = body.rfind('"', 0, -1)
    before = body[: max(0, start)].rstrip(" ")
    if body.endswith('"') and before.endswith(tuple(_SEPARATORS)):
        return before[:-1].strip(), _pointed(body[start + 1 : -1].strip(), before[-1])
    at = max(body.rfind(";"), body.rfind("\t"))
    if at >= 0 and ("," not in body[at:] or _NUMBERLIKE.fullmatch(body, at + 1)):
        return body[:at].strip(), _pointed(body[at + 1 :].strip(), body[at])
    at = body.rfind(",")
    return (body[:at].strip(), body[at + 1 :].strip()) if at >= 0 else (body, None)


def _pointed(score: str, separator: str) -> str:
    """The score with a decimal point in place of a comma, which it is where another character separates fields."""
    return score.replace(",", ".") if separator != "," and _DECIMAL_COMMA.fullmatch(score) else score


def _csv_entries(
    lines: list[tuple[int, str]], separator: str, header: list[str], has_comments: bool
) -> Iterator[tuple[str, str, str]]:
    at = 0
    while at < len(lines):
        number, line = lines[at]
        if not line.strip() or (has_comments and _COMMENT.match(line.lstrip())):  # between rows, not within quotes
            at += 1
            continue
        place = f"line {number}"
        reader = csv.reader((line + "\n" for _, line in lines[at:]), delimiter=separator, skipinitialspace=True)
        try:
            fields = next(reader)
        except csv.Error as error:
            raise ValueError(f"{place}: {error}") from error
        row_text = "".join(line for _, line in lines[at : at + reader.line_num])
        at += reader.line_num
        if at == len(lines) and reader.line_num > 1 and row_text.count('"') % 2:
            raise ValueError(f"{place}: the double quotes that a field of this row begins with are never closed")
        if len(fields) < len(header) or any(field.strip() for field in fields[len(header) :]):
            raise ValueError(
                f"{place}: {len(fields)} fields where the header names {len(header)}; a field with "
                f"commas is written in double quotes"
            )
        row = dict(zip(header, fields, strict=False))
        string, score = row["architecture"].strip(), _pointed(row["score"].strip(), separator)
        if string or score:
            yield place, string, score


def _json_entries(text: str) -> Iterator[tuple[str, str, Any]]:
    for number, record in enumerate(_parsed(text), 1):
        yield _json_entry(f"entry {number}", record)


def _parsed(text: str, first: int = 1) -> Any:
    """What a text of JSON holds, whose first line has this number; ValueError with the place for another text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first + error.lineno - 1
        raise ValueError(f"line {line}: this is not JSON: {error.msg} (column {error.colno})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this JSON cannot be read: {error}") from error


def _json_entry(place: str, record: Any) -> tuple[str, str, Any]:
    """The place, architecture and score of one object of JSON; ValueError that names the place if it lacks one."""
    if not isinstance(record, dict) or not all(name in record for name in COLUMNS):
        raise ValueError(f'{place}: expected {{"architecture": ..., "score": ...}}, got {shortened(record)}')
    string = record["architecture"]
    if not isinstance(string, str):  # JSON architectures written as JSON, not as a string
        try:
            string = json.dumps(string)
        except RecursionError as error:
            raise ValueError(f"{place}: its lists are nested too deep") from error
    return place, string, record["score"]
