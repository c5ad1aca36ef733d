"""What the networks of a space read: the shape of one example, and random ones."""

from __future__ import annotations

from typing import Any

import torch

from ..spaces import SearchSpace
from ..spaces.nas_bench_asr import FRAMES
from ..spaces.transnas_bench_101 import TILE_SIZE, TILES

LARGE_IMAGES = 224  # pixels, of what a stem for ImageNet is made for


def input_shape(
    space: SearchSpace, task: str | None = None, image_size: int | None = None, stem: str | None = None, **scale: Any
) -> tuple[int, ...]:
    """Shape of one example without the batch: an image, a puzzle's tiles, frames of speech, or a word (no axis).

    Parameters
    ----------
    space
        One whose networks read images, speech or text.
    task
        By default the space's first.
    image_size
        Height and width in pixels; by default the task's, or 224 for the stem for ImageNet of ``darts``.
    stem, **scale
        Options of the network; all but `stem` make no difference.

    Raises
    ------
    ValueError
        For an unknown task, a size below 1, or a size where there are no images.
    NotImplementedError
        For networks on graphs, which read a whole graph at once.
    """
    data = space.task(task or next(iter(space.tasks)))
    if data.kind == "node-classification" or data.kind == "edge-classification":
        raise NotImplementedError(f"{space.name} has no single example: its networks read a whole graph at once")
    if not data.image_size:
        if image_size is not None:
            raise ValueError(f"the networks of {space.name} read no images, so image_size={image_size} means nothing")
        return (FRAMES, data.num_features) if data.kind == "speech-recognition" else ()
    if image_size is not None and (type(image_size) is not int or image_size < 1):
        raise ValueError(f"image_size must be a whole number from 1, got {image_size!r}")
    if task == "jigsaw":
        size = image_size or TILE_SIZE
        return (TILES, 3, size, size)
    size = image_size or (LARGE_IMAGES if stem == "imagenet" else data.image_size)
    return (3, size, size)


def random_inputs(shape: tuple[int, ...], batch: int = 1) -> torch.Tensor:
    """Normal numbers ``(batch, *shape)``; for words, a text of one word ``LongTensor (1, batch)`` of zeros."""
    return torch.randn(batch, *shape) if shape else torch.zeros(1, batch, dtype=torch.long)
