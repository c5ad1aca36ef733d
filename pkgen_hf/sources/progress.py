"""Progress on standard error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track as _track

T = TypeVar("T")


def track(items: Sequence[T], what: str, quiet: bool) -> Iterable[T]:
    """The items, with a bar while they are gone through; none if `quiet`."""
    return items if quiet else _track(items, what, console=Console(stderr=True))
