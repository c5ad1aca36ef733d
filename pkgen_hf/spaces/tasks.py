"""Data sets on which architectures are measured, described by their kind."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from numbers import Integral
from typing import Any, TypeAlias

from ..errors import shortened, unknown

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
_DATA = {"image": "images", "graph": "graphs", "sound": "sound", "text": "texts"}  # by the trait of kinds of tasks
TASK_TRAITS = ("image", "graph", "sequence", "sound", "text", "classification", "regression", "dense", "pairs")


@dataclass(frozen=True)
class Task:
    """A data set: of a space, on which its architectures are measured, or of the user's own.

    Wherever the name of a task is taken, a `Task` is, too: ``Task("image-classification", num_classes=18,
    in_channels=1, image_size=16, name="addnist")`` has the prior of its kind, and costs and networks of its own shape.

    Parameters
    ----------
    kind
        One of `TASK_KINDS`.
    chance_score
        Score of guessing (in percent, where scores are), as it follows from the task itself; a disconnected network
        has it. By default 100 / num_classes where classes are told apart, else 0. The former name ``guess`` is
        accepted, with a warning.
    num_classes, image_size, num_features
        The scale of networks for which costs are counted: width of the output, pixels of the height and width of
        images, and features of each node, frame or other example. Where it is 0, a task of the user's own takes the
        number of the space's first data set of the kind. Kinds whose data are no images have no size of images.
    split
        The split whose scores may select architectures: ``"validation"``, or ``"test"`` where tables of the benchmark
        may have no other.
    in_channels
        Channels of images.
    name
        Of the data set. A space names those that it is made with.

    Raises
    ------
    ValueError
        For an unknown kind or split, a chance score that is not finite, a size that is no whole number from 0, no
        channels, images of a kind that is of other data, classes to tell apart but no number of them or of the chance
        score, or a name that is not one line.
    """

    kind: str
    chance_score: float = None  # type: ignore[assignment]  # a number once `__post_init__` has run
    num_classes: int = 0
    image_size: int = 0
    num_features: int = 0
    split: str = "validation"
    in_channels: int = 3
    name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in TASK_KINDS:
            raise unknown("kind of task", self.kind, TASK_KINDS)
        if self.split not in ("validation", "test"):
            raise unknown("split", self.split, ("validation", "test"))
        for field, least in (("num_classes", 0), ("image_size", 0), ("num_features", 0), ("in_channels", 1)):
            object.__setattr__(self, field, _whole(field, getattr(self, field), least))
        data = data_of(self.kind)
        for field, default in (("image_size", 0), ("in_channels", 3)):
            if data not in ("", "images") and getattr(self, field) != default:
                raise ValueError(f"a task of {self.kind} is of {data}: it has no {field}={getattr(self, field)}")
        if not isinstance(self.name, str) or not self.name.isprintable():
            raise ValueError(f"the name of a task must be text on one line, got {shortened(self.name)}")
        if self.chance_score is None:
            object.__setattr__(self, "chance_score", self._chance())
        chance = self.chance_score
        if isinstance(chance, bool) or not isinstance(chance, (int, float)) or not math.isfinite(chance):
            raise ValueError(f"the score of guessing must be a finite number, got {shortened(chance)}")

    def _chance(self) -> float:
        """Percent of guesses that are right, where classes are told apart; else 0."""
        if "classification" not in TASK_KINDS[self.kind]:
            return 0.0
        if not self.num_classes:
            raise ValueError(f"a task of {self.kind} needs num_classes, from 1, or a chance_score")
        return 100 / self.num_classes

    @property
    def shape(self) -> tuple[str, int, int, int, int]:
        """Kind, classes, pixels, features and channels: all that generation and costs depend on."""
        return self.kind, self.num_classes, self.image_size, self.num_features, self.in_channels

    @property
    def label(self) -> str:
        """Kind and name in one line, such as ``"image-classification/addnist"``; the kind alone without a name."""
        return f"{self.kind}/{self.name}" if self.name else self.kind

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

TaskLike: TypeAlias = str | Task  # a data set of a space, a kind of task (or the label of a task), or a task itself


def kind_of(text: str) -> str | None:
    """The kind of task that a text names: it is one, or the label of a task; None otherwise."""
    kind = text.partition("/")[0]
    return kind if kind in TASK_KINDS else None


def data_of(kind: str) -> str:
    """What networks for a kind of task read: images, graphs, sound or texts; empty for ``"other"``, which is open."""
    return next((_DATA[trait] for trait in TASK_KINDS[kind] if trait in _DATA), "")


def _whole(field: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{field} of a task must be a whole number from {least}, got {shortened(value)}")
    return int(value)
