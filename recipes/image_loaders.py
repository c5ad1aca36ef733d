"""Batches of labelled images, augmented for training or preprocessed for evaluation.

The augmentation of an image depends on the seed, the epoch and its number alone; workers, processes and resumption do
not change it. Small images are augmented on the device instead, see `device_images`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from traceback import clear_frames
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from augmentation import augment, random_numbers
from image_streams import ImageStream
from images import LabelledImages
from pixels import BadImage
from presets import Settings

SMALL = 64  # pixels, as those of Tiny ImageNet: images that are decoded once for all epochs
KEPT = 1.0  # gigabytes of small images that are preprocessed once for all evaluations


def fits(number: int, size: int, gigabytes: float, values: int = 1) -> bool:
    """Whether so many images are small, and all of them fit in so much memory, with so many bytes a value."""
    return size <= SMALL and number * 3 * size * size * values <= gigabytes * 1e9


class TrainingImages(Dataset):
    """Augmented images, indexed by epoch and number, or by epoch and key of a stream.

    An item has ``pixel_values``, ``labels`` and ``skipped``, the places of corrupt images that it replaces.
    """

    def __init__(self, images: LabelledImages | ImageStream, settings: Settings) -> None:
        self.images: Any  # whose keys are numbers or those of a stream
        self.images, self.settings = images, settings

    def __getitem__(self, item: tuple[int, Any]) -> dict[str, Any]:
        epoch, first = item
        key = first
        skipped: list[str] = []
        while True:
            try:
                image = self.images.image(key)
                break
            except BadImage:
                skipped.append(self.images.where(key))
                key = self.images.following(key)
                if not self.settings.skip_corrupt or key == first:
                    raise
        (numbers,) = random_numbers(self.settings.seed, epoch, *self.images.entropy(key))
        pixels = torch.from_numpy(np.ascontiguousarray(augment(image, self.settings, numbers)))
        return {"pixel_values": pixels, "labels": self.images.label(key), "skipped": skipped}

    def batches(self, keys: Iterable[list[Any]], workers: int, device: torch.device) -> Generator[dict[str, Any]]:
        """See `batches_of`."""
        return batches_of(self, keys, workers, device)


class EvaluationImages(Dataset):
    """Images preprocessed for evaluation; small ones are preprocessed once and kept.

    Parameters
    ----------
    images
        To evaluate.
    processor
        As from `pkgen_hf.modeling_network.image_processor`.
    skip_corrupt
        Return an item without pixels for a corrupt image, instead of raising an error.
    """

    def __init__(self, images: LabelledImages | ImageStream, processor: Any, skip_corrupt: bool = False) -> None:
        self.images: Any = images  # whose keys are numbers or those of a stream
        self.processor, self.skip_corrupt = processor, skip_corrupt
        self._kept: torch.Tensor | None = None
        if isinstance(images, LabelledImages) and fits(len(images), processor.crop_size["height"], KEPT, values=4):
            there = [self._preprocessed(index) for index in range(len(images))]
            self._is_there = np.array([pixels is not None for pixels in there])
            size = (3, processor.crop_size["height"], processor.crop_size["width"])
            self._kept = torch.stack([torch.zeros(size) if pixels is None else pixels for pixels in there])

    def __len__(self) -> int:
        return len(self.images)

    def _preprocessed(self, key: Any) -> torch.Tensor | None:
        """Pixels of an image, None if it is skipped."""
        try:
            image = self.images.image(key)
        except BadImage:
            if not self.skip_corrupt:
                raise
            return None
        pixels: torch.Tensor = self.processor(image, return_tensors="pt")["pixel_values"][0]
        return pixels

    def __getitem__(self, key: Any) -> dict[str, Any]:
        pixels = self._preprocessed(key)
        if pixels is None:
            return {"skipped": [self.images.where(key)]}
        return {"pixel_values": pixels, "labels": self.images.label(key), "skipped": []}

    def batches(self, keys: Iterable[list[Any]], workers: int, device: torch.device) -> Generator[dict[str, Any]]:
        """See `batches_of`; what is kept is moved to the device once."""
        return batches_of(self, keys, workers, device) if self._kept is None else self._slices(keys, device)

    def _slices(self, keys: Iterable[list[int]], device: torch.device) -> Generator[dict[str, Any]]:
        assert self._kept is not None
        self._kept = self._kept.to(device)
        for batch in keys:
            there = [key for key in batch if self._is_there[key]]
            found: dict[str, Any] = {"skipped": [self.images.where(key) for key in batch if not self._is_there[key]]}
            if there:
                found["pixel_values"] = self._kept[torch.tensor(there, device=device)]
                found["labels"] = torch.tensor([self.images.label(key) for key in there], device=device)
            yield found


def _collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    there = [item for item in items if "labels" in item]
    batch: dict[str, Any] = {"skipped": [where for item in items for where in item["skipped"]]}
    if there:
        batch["pixel_values"] = torch.stack([item["pixel_values"] for item in there])
        batch["labels"] = torch.tensor([item["labels"] for item in there])
    return batch


def batches_of(
    dataset: Dataset, keys: Iterable[list[Any]], workers: int, device: torch.device
) -> Generator[dict[str, Any]]:
    """Batches of the given keys, on the device; ``skipped`` is a list, and a batch of corrupt images has no pixels.

    Close the generator if it is not exhausted: a stream that is still being read would abort the interpreter.

    Raises
    ------
    BadImage
        With a message of one line, even if it was raised in a worker.
    """
    loader = DataLoader(
        dataset, batch_sampler=keys, collate_fn=_collate, num_workers=workers, pin_memory=device.type == "cuda"
    )
    try:
        for batch in loader:
            yield {
                name: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
                for name, value in batch.items()
            }
        return
    except BadImage as error:
        reason = str(error).strip().splitlines()[-1].removeprefix(f"{BadImage.__module__}.BadImage: ")
        clear_frames(error.__traceback__)  # its frames keep the workers alive, which then take 5 s to stop
    finally:
        if isinstance(keys, Generator):
            keys.close()
    raise BadImage(reason)
