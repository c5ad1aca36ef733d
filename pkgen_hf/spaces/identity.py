"""When two search spaces are the same one, and in what they differ."""

from __future__ import annotations

import hashlib
from types import CodeType
from typing import Any

from .description import Description


def fingerprint(space: Description) -> str:
    """SHA-256 of what makes a space what it is: class, name, slots with their choices in order, null choices."""
    parts: tuple[Any, ...] = (type(space).__qualname__, space.name, space.slots, space.null_choice)
    if space.is_conditional:
        parts += (tuple(slot.active_if for slot in space.slots),)
    if not bool((space.drawn_sizes == space.sizes).all()):
        parts += (tuple(space.drawn_sizes.tolist()),)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def difference(here: Description, there: Description) -> str:
    """The first difference of another space of the same name to the one here, as text for an error."""
    if len(here.slots) != len(there.slots):
        return f"it has {len(there.slots)} slots, this one {len(here.slots)}"
    for number, (mine, other) in enumerate(zip(here.slots, there.slots, strict=True)):
        names = [[choice.name for choice in slot.choices] for slot in (mine, other)]
        if mine.name != other.name:
            return f"its slot {number} is {other.name!r}, here it is {mine.name!r}"
        if names[0] != names[1]:
            return f"choices of its slot {mine.name!r} are {', '.join(names[1])}; here {', '.join(names[0])}"
        if mine != other:
            return f"its slot {mine.name!r} or one of its choices is described otherwise"
    return "its class or its null choice differs"


def behaviour(kind: type, base: type) -> tuple[Any, ...]:
    """What a class does beyond `base`, as the code of its methods; equal for a class that is defined twice."""
    own = kind.__mro__[: kind.__mro__.index(base)]
    found = [(name, getattr(method, "func", method)) for each in own for name, method in vars(each).items()]
    return tuple((name, _plain(method.__code__)) for name, method in found if hasattr(method, "__code__"))


def _plain(code: CodeType) -> tuple[Any, ...]:
    constants = [_plain(part) if isinstance(part, CodeType) else repr(part) for part in code.co_consts]
    return code.co_code, code.co_names, tuple(constants)
