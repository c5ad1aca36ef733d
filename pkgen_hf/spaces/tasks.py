"""Data sets on which architectures are measured, described by their kind."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from ..errors import unknown

TASK_KINDS: dict[str, tuple[str, ...]] = {
    "image-classification": ("image", "classification"),
    "image-segmentation": ("image", "classification", "dense"),
    "image-regression": ("image", "regression"),
    "dense-regression": ("image", "regression", "dense"),
    "node-classification": ("graph", "classification"),
    "edge-classification": ("graph", "classification", "pairs"),
    "speech-recognition": ("sequence", "sound"),
    "language-modelling": ("sequence", "text"),
    "text-classification": ("sequence", "text", "classification"),
    "text-regression": ("sequence", "text", "regression"),
    "other": (),
}
TASK_TRAITS = ("image", "graph", "sequence", "sound", "text", "classification", "regression", "dense", "pairs")


@dataclass(frozen=True)
class Task:
    """A data set on which a space's architectures are measured.

    Parameters
    ----------
    kind
        One of `TASK_KINDS`.
    chance_score
        Score of guessing (in percent, where scores are), as it follows from the task itself; a disconnected network
        has it. The former name ``guess`` is accepted, with a warning.
    num_classes, image_size, num_features
        The scale of networks for which costs are counted; pixels of images are 0 where there are none.
    split
        The split whose scores may select architectures: ``"validation"``, or ``"test"`` where tables of the benchmark
        may have no other.

    Raises
    ------
    ValueError
        For an unknown kind or split, a chance score that is not finite, or a size below 0.
    """

    kind: str
    chance_score: float
    num_classes: int
    image_size: int = 0
    num_features: int = 0
    split: str = "validation"

    def __post_init__(self) -> None:
        if self.kind not in TASK_KINDS:
            raise unknown("kind of task", self.kind, TASK_KINDS)
        if self.split not in ("validation", "test"):
            raise unknown("split", self.split, ("validation", "test"))
        if not isinstance(self.chance_score, (int, float)) or not math.isfinite(self.chance_score):
            raise ValueError(f"the score of guessing must be a finite number, got {self.chance_score}")
        for field in ("num_classes", "image_size", "num_features"):
            if getattr(self, field) < 0:
                raise ValueError(f"{field} of a task cannot be below 0, got {getattr(self, field)}")

    @property
    def guess(self) -> float:
        """The chance score by its former name."""
        warnings.warn("Task.guess is deprecated, use Task.chance_score", FutureWarning, stacklevel=2)
        return self.chance_score


def _accept_guess(init: Callable[..., None]) -> Callable[..., None]:
    """`Task.__init__` that takes ``chance_score`` by its former name, too."""

    @wraps(init)
    def accept(self: Task, *args: Any, **kwargs: Any) -> None:
        if "guess" in kwargs:
            if "chance_score" in kwargs or len(args) > 1:
                raise ValueError("guess= is the former name of chance_score=: give one of them")
            warnings.warn("Task(guess=...) is deprecated, use Task(chance_score=...)", FutureWarning, stacklevel=2)
            kwargs["chance_score"] = kwargs.pop("guess")
        init(self, *args, **kwargs)

    return accept


Task.__init__ = _accept_guess(Task.__init__)  # type: ignore[method-assign]
