"""Architectures in the form of code, logs and papers, parsed as Python or JSON literals and never evaluated."""

from __future__ import annotations

import ast
import json
import re
import string
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..errors import one_line, shortened

LONGEST = 100_000  # characters that are searched for a call: one of a genotype has a hundredth of it
LONGEST_PART = 40  # characters that are quoted of what is no literal, beside those of the whole
LONGEST_REASON = 80  # characters of what Python says of a text that it cannot read
_MOST_OF_A_RANGE = 100
_Read = TypeVar("_Read")
# Quotes and spaces that typesetting puts in the place of Python's, and marks that cannot be seen.
_TYPESET = str.maketrans("‘’“”\u00a0\u202f", "''\"\"  ", "\u200b\ufeff")
_NAMED = re.compile(r"[A-Za-z_][\w.]*\s*[=:]\s*")
_BRACKET_OR_TEXT = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|#[^\n]*|[\[({})\]]")
_NUMBER_TYPES = re.compile(r"u?int\d*|str_?|tensor")
_NAME_CHARACTERS = string.ascii_letters + string.digits + "_."
_LIST_TYPES = ("list", "tuple", "array")


def bare(text: str) -> str:
    """`text` without what stands around it: white space, quotes, the name it is assigned to, typeset characters."""
    text = text.translate(_TYPESET).strip().rstrip(",;").rstrip()
    if named := _NAMED.match(text):
        text = text[named.end() :]
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"`":
        text = text[1:-1].strip()
    return text


def read_bare(text: str, read: Callable[[str], _Read]) -> _Read:
    """What `read` makes of `text`, or, where that is a ValueError, of the bare text."""
    try:
        return read(text)
    except ValueError:
        inner = bare(text)
        if inner == text:
            raise
        return read(inner)


def check_line(text: str, start: int, end: int) -> None:
    """Raise ValueError where an architecture, from `start` to `end`, may stand in one field of several on its line."""
    before = text[text.rfind("\n", 0, start) + 1 : start]
    stop = text.find("\n", end)
    rest, _, _ = text[end : stop if stop >= 0 else len(text)].partition("#")
    if rest.count(")") - rest.count("(") > before.count("("):
        raise ValueError("a bracket is closed that was not opened")
    if re.search(r"\w", rest):
        raise ValueError("more follows on the same line")
    if before.rstrip(_NAME_CHARACTERS).rstrip(" ").endswith((",", ";", "\t")):
        raise ValueError("another field stands before it on the same line")


def literal(text: str) -> Any:
    """The value that `text` writes, in JSON or as Python does; tuples and arrays become lists.

    Raises
    ------
    ValueError
        With the reason, for anything else.
    """
    try:
        return json.loads(text, object_pairs_hook=_as_dict)
    except (ValueError, RecursionError):
        return _literal_value(_parsed(text), text.strip())


def arguments(text: str, function: str, names: Sequence[str]) -> dict[str, Any]:
    """Arguments, by name, of the call of a function that stands in `text`, whatever stands around it.

    Parameters
    ----------
    text
        Such as ``best = genotypes.Genotype(normal=[...], ...)``, over any number of lines.
    function
        Its name.
    names
        Of its arguments, in order.

    Raises
    ------
    ValueError
        If there is no such call or there are two that differ, for another argument, or one that is no literal.
    """
    _check_length(text)
    found: dict[str, Any] | None = None
    calls: dict[str, None] = {}
    end = 0
    for start in re.finditer(rf"\b{function}\s*\(", text):
        if start.start() >= end:  # not within the one before
            source = _whole_call(text, start.start(), start.end() - 1)
            calls[source], end = None, start.start() + len(source)
    for source in calls:
        call = _parsed(source)
        if not isinstance(call, ast.Call):
            raise ValueError(f"{function}(...) is part of another expression")
        if len(call.args) > len(names) or any(word.arg not in names for word in call.keywords):
            raise ValueError(f"{function}(...) takes {', '.join(names)} and nothing else")
        given = [*zip(names, call.args, strict=False), *((word.arg, word.value) for word in call.keywords)]
        values = _as_dict([(name, _literal_value(node, source)) for name, node in given])
        if found is not None and values != found:
            raise ValueError(f"two different calls of {function}(...)")
        found = values
    if found is None:
        raise ValueError(f"no {function}(...)")
    return found


def _whole_call(text: str, start: int, bracket: int) -> str:
    """The call that begins at `start` to the bracket that closes the one at `bracket`."""
    depth = 0
    for part in _BRACKET_OR_TEXT.finditer(text, bracket):
        depth += (part[0] in ("(", "[", "{")) - (part[0] in (")", "]", "}"))
        if depth == 0:
            check_line(text, start, part.end())
            return text[start : part.end()]
    raise ValueError("it ends before its last bracket is closed")


def _check_length(text: str) -> None:
    if len(text) > LONGEST:
        raise ValueError(f"{len(text):,} characters are more than any architecture has")


def _parsed(text: str) -> ast.expr:
    _check_length(text)
    if not text.strip():
        raise ValueError("the text is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in strings
            return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        reason = one_line(ValueError(error.msg))[:LONGEST_REASON]
        raise ValueError(f"it is neither JSON nor Python ({reason})") from error
    except (RecursionError, MemoryError) as error:
        raise ValueError("its brackets are nested too deep") from error


def _literal_value(node: ast.expr, source: str) -> Any:
    """`_value`, with a ValueError for what is nested too deep for it."""
    try:
        return _value(node, source)
    except RecursionError as error:
        raise ValueError("its parts are nested too deep") from error


def _value(node: ast.expr, source: str) -> Any:
    """The value of literals and of the few calls that stand for them, such as ``range(2, 6)`` and ``np.int64(3)``."""
    match node:
        case ast.Constant(value=str() | float() | None as value):
            return value
        case ast.Constant(value=int() as value) if value < 2**63:
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)) if value < 2**63:
            return -value
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [_value(part, source) for part in parts]
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return _as_dict([(key and _value(key, source), _value(part, source)) for key, part in pairs])
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            joined = [_value(left, source), _value(right, source)]
            if all(isinstance(part, list) for part in joined):
                return joined[0] + joined[1]
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[part, *parts]):
            value, *more = [_value(one, source) for one in [part, *parts]]
            if name == "range" and all(type(one) is int for one in [value, *more]):
                return _range(value, *more)
            is_wrapped = name in _LIST_TYPES if isinstance(value, list) else _NUMBER_TYPES.fullmatch(name)
            if is_wrapped and not more:
                return value
    segment = ast.get_source_segment(source, node)
    raise ValueError(
        "it is not a literal" if segment == source else f"{shortened(segment, LONGEST_PART)} is not a literal"
    )


def _range(*parts: int) -> list[int]:
    try:
        return list(range(*parts)[:_MOST_OF_A_RANGE])
    except TypeError as error:
        raise ValueError(f"range{parts}: {error}") from error


def _as_dict(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """As a dictionary; ValueError for a key that is no text, or that is there twice."""
    made: dict[Any, Any] = {}
    for key, value in pairs:
        if not isinstance(key, str):
            raise ValueError(f"{shortened(key)} is not a name")
        if key in made:
            raise ValueError(f"{shortened(key)} is there twice")
        made[key] = value
    return made
