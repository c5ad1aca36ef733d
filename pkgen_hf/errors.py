"""One form for every "no such thing" message: what was given, what is allowed, and the nearest match."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TooFew(ValueError):
    """Fewer architectures could be had than were asked for.

    Attributes
    ----------
    found : int
    """

    def __init__(self, message: str, found: int) -> None:
        super().__init__(message)
        self.found = found


def unknown(what: str, given: object, allowed: Iterable[str]) -> ValueError:
    """A ValueError such as ``unknown task 'cifar1' ...: did you mean 'cifar10'? Allowed: cifar10, cifar100``."""
    names = list(allowed)
    near = difflib.get_close_matches(str(given), names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ValueError(f"unknown {what}: {given!r}.{hint} Allowed: {', '.join(names) or 'nothing'}.")
