"""Messages to users: one form for every "no such thing" (what was given, what is allowed, the nearest), warnings."""

from __future__ import annotations

import difflib
import reprlib
import sys
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

QUOTED = 80  # characters that an error quotes of what was given
LISTED = 600  # characters of allowed names that an error lists in full
NEAREST = 5  # names that it lists of more than that
LIBRARIES = ("pkgen_hf", "torch", "diffusers", "huggingface_hub")  # in which no line is the user's


class TooFew(ValueError):
    """Fewer architectures could be had than were asked for.

    Attributes
    ----------
    rows : LongTensor (found, slots), those that were found, on the CPU
    """

    def __init__(self, message: str, rows: torch.Tensor) -> None:
        super().__init__(message)
        self.rows = rows


def shortened(value: object, most: int = QUOTED) -> str:
    """`value` as Python writes it, in at most `most` characters: of longer ones the middle is left out."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = most
    text = short.repr(value)
    return text if len(text) <= most else f"{text[: most - 23]}...{text[-20:]}"


def one_line(error: BaseException) -> str:
    """What an error of another library says, in one line of at most 300 characters; its type if it says nothing."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def unknown(what: str, given: object, allowed: Iterable[str], text: str | None = None) -> ValueError:
    """A ValueError such as ``unknown task of darts: 'cifar1'. Did you mean 'cifar10'? Allowed: cifar10, imagenet1k.``

    Of many allowed names the nearest are listed. `text` is the whole that `given` is a part of, quoted at the end.
    """
    names = list(allowed)
    word = str(given)[:QUOTED]
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    hint = f" Did you mean {shortened(near[0])}?" if near else ""
    where = "" if text is None else f" It is in {shortened(text)}."
    return ValueError(f"unknown {what}: {shortened(given)}.{hint} Allowed: {_listed(word, names)}.{where}")


def _listed(word: str, names: list[str]) -> str:
    """`names`, or if they are long those nearest to `word`, and how many more there are."""
    short = [name if len(name) <= QUOTED and name.isprintable() else shortened(name) for name in names]
    everything = ", ".join(short) or "nothing"
    if len(everything) <= LISTED:
        return everything
    nearest = difflib.get_close_matches(word, short, n=NEAREST, cutoff=0.0)
    return f"{', '.join(nearest)} and {len(names) - len(nearest):,} more"


def warn(text: str) -> None:
    """Warn of the user's line that led here: the innermost that is not of `LIBRARIES`."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in LIBRARIES:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)
