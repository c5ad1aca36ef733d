"""What the networks of a space read: the shape of one example, and random ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..spaces import TASK_KINDS, SearchSpace, TaskLike


def input_shape(
    space: SearchSpace, task: TaskLike | None = None, image_size: int | None = None, **scale: Any
) -> tuple[int, ...]:
    """Shape of one example without the batch, such as an image, frames of speech, or a word (no axis).

    Parameters
    ----------
    space
        One whose networks read single examples.
    task
        By default the space's first.
    image_size
        Height and width in pixels; by default what the space says, which is the task's unless the scale needs another.
    scale
        Options of the network.

    Raises
    ------
    ValueError
        For an unknown task, a size below 1, or a size where there are no images.
    NotImplementedError
        For networks on graphs, which read a whole graph at once.
    """
    task = task or next(iter(space.tasks))
    shape = space.input_shape(task, **scale)
    if image_size is None:
        return shape
    if not space.task(task).image_size:
        raise ValueError(f"the networks of {space.name} read no images, so image_size={image_size} means nothing")
    if type(image_size) is not int or image_size < 1:
        raise ValueError(f"image_size must be a whole number from 1, got {image_size!r}")
    return space.input_shape(task, image_size, **scale)


def image_size_for(space: SearchSpace, task: TaskLike, scale: Mapping[str, Any]) -> int | None:
    """Height and width of the images that networks at a scale read for a task; None where they read none."""
    if not space.task(task).image_size:
        return None
    return input_shape(space, task, **{name: scale[name] for name in scale if name != "task"})[-1]


def reads_text(space: SearchSpace, task: TaskLike | None = None) -> bool:
    """Whether networks for a task, by default the space's first, read numbers of tokens."""
    return "text" in TASK_KINDS[space.task(task or next(iter(space.tasks))).kind]


def random_inputs(shape: tuple[int, ...], batch: int = 1, text: bool = False) -> torch.Tensor:
    """Examples of a shape: normal numbers ``(batch, *shape)``, or texts of the first two tokens.

    Parameters
    ----------
    shape
        As of `input_shape`. The empty one is a word: a batch of them is a text ``LongTensor (1, batch)``.
    batch
        Number of examples.
    text
        Whether they are texts, ``LongTensor (batch, length)``.
    """
    if not shape:
        return torch.zeros(1, batch, dtype=torch.long)
    return torch.randint(2, (batch, *shape)) if text else torch.randn(batch, *shape)
