"""Progress on standard error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from tqdm.auto import tqdm

T = TypeVar("T")


def track(items: Sequence[T], what: str, quiet: bool) -> Iterable[T]:
    """The items, with a bar while they are gone through; none if `quiet`."""
    return tqdm(items, desc=what, leave=False, disable=quiet)
