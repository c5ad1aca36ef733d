"""Small images that stay on the device that trains, and are augmented there, many at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

import numpy as np
import torch

from augmentation import are_mirrored, boxes, holes, random_numbers, shifts
from image_loaders import TrainingImages, fits
from image_streams import ImageStream
from images import LabelledImages
from presets import Settings

PRECISION = 22  # bits after the point of Pillow's weights, which are whole numbers


def training_images(
    images: LabelledImages | ImageStream, settings: Settings, device: torch.device
) -> DeviceImages | TrainingImages:
    """Batches of images to train on: from the device, if they are small and fit, else from a loader.

    A CPU resizes faster one by one.
    """
    if isinstance(images, ImageStream) or any(settings.color_jitter):
        return TrainingImages(images, settings)
    is_fast = device.type != "cpu" or not settings.random_resized_crop
    if is_fast and fits(len(images), settings.image_size, settings.images_on_device):
        return DeviceImages(images, settings, device)
    return TrainingImages(images, settings)


class DeviceImages:
    """Images on a device, which gives the batches of `image_loaders.TrainingImages`, pixel by pixel.

    What is drawn for each image is computed for a whole epoch at a time, so that a batch needs the numbers of its
    images alone.

    Parameters
    ----------
    images
        Decoded once, and resized to ``settings.image_size``.
    settings
        Augmentation without jitter of colours.
    device
        Which keeps them as uint8.
    """

    def __init__(self, images: LabelledImages, settings: Settings, device: torch.device) -> None:
        self.images, self.settings, self.device = images, settings, device
        pixels, self._is_there = images.pixels(settings.image_size, settings.skip_corrupt)
        self._pixels = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).contiguous()
        self._labels = torch.tensor([images.label(index) for index in range(len(images))], device=device)
        (there,) = self._is_there.nonzero()
        following = np.searchsorted(there, np.arange(len(images)))
        self._instead = there[following % len(there)]  # of each image itself, or the next one that is not corrupt
        self._epoch, self._drawn = -1, torch.empty(0)

    def batches(self, keys: Iterable[list[Any]], workers: int, device: torch.device) -> Generator[dict[str, Any]]:
        """Batches of epochs and numbers of images; `workers` and `device` are those of a loader, and not used."""
        for batch in keys:
            yield self.batch(batch[0][0], np.array([index for _, index in batch]))

    def batch(self, epoch: int, numbers: np.ndarray) -> dict[str, Any]:
        """``pixel_values``, ``labels``, and ``skipped``, the places of corrupt images that others stand in for."""
        if epoch != self._epoch:
            self._epoch, self._drawn = epoch, torch.from_numpy(self._draw(epoch)).to(self.device)
        skipped: list[str] = []
        for index in numbers[~self._is_there[numbers]].tolist():
            while not self._is_there[index]:
                skipped.append(self.images.where(index))
                index = self.images.following(index)
        rows = torch.from_numpy(self._instead[numbers]).to(self.device, non_blocking=True)
        pixels = augmented(self._pixels[rows], self._drawn[rows], self.settings)
        return {"pixel_values": pixels, "labels": self._labels[rows], "skipped": skipped}

    def _draw(self, epoch: int) -> np.ndarray:
        """What is drawn for all images in an epoch, as of `augmented`."""
        settings, size = self.settings, self.settings.image_size
        numbers = random_numbers(settings.seed, epoch, 0, count=len(self.images))
        if settings.random_resized_crop:
            box = boxes(numbers, size, size)
        else:
            box = np.pad(shifts(numbers, settings.crop_padding), ((0, 0), (0, 2)))
        return np.concatenate([box, are_mirrored(numbers)[:, None], holes(numbers, size)], 1)


def augmented(pixels: torch.Tensor, drawn: torch.Tensor, settings: Settings) -> torch.Tensor:
    """Augment and normalise images as `augmentation.augment` does, ``FloatTensor (n, 3, size, size)``.

    Parameters
    ----------
    pixels
        ``ByteTensor (n, 3, size, size)``
    drawn
        Of each image left, top, width and height of a crop (without ``random_resized_crop`` left and top alone, in the
        padded image), whether it is mirrored, and row and column of a hole, ``LongTensor (n, 7)``.
    settings
        Augmentation, and mean and standard deviation of the channels.
    """
    size = pixels.shape[-1]
    left, top, width, height, mirrored, hole_y, hole_x = (column[:, None] for column in drawn.unbind(1))
    places = torch.arange(size, device=pixels.device)
    found = pixels
    if settings.random_resized_crop:
        found = _resized(found, torch.cat([left, top, width, height], 1))
    elif padding := settings.crop_padding:
        found = _picked(_picked(found, places + top - padding, 2), places + left - padding, 3)
    if settings.random_flip:
        found = torch.where(mirrored[:, :, None, None].bool(), found.flip(3), found)
    mean, std = (torch.tensor(values, device=pixels.device)[:, None, None] for values in (settings.mean, settings.std))
    normalised = (found.float() / 255 - mean) / std
    if half := settings.cutout // 2:
        is_row = (places >= hole_y - half) & (places < hole_y + half)
        is_column = (places >= hole_x - half) & (places < hole_x + half)
        normalised = normalised.masked_fill((is_row[:, :, None] & is_column[:, None])[:, None], 0)
    return normalised


def _picked(images: torch.Tensor, places: torch.Tensor, dim: int) -> torch.Tensor:
    """Rows (`dim` 2) or columns (3) of each image at places ``(n, size)``; black outside."""
    size = images.shape[dim]
    shape = (len(images), 1, size, 1) if dim == 2 else (len(images), 1, 1, size)
    found = images.gather(dim, places.clamp(0, size - 1).view(shape).expand_as(images))
    return found * ((places >= 0) & (places < size)).view(shape)


def _resized(images: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
    """Parts of images ``(n, 4)``, resized to the whole, as by Pillow's bilinear filter: columns, then rows."""
    size = images.shape[-1]
    across, down = (_weights(box[:, place], box[:, place + 2], size)[:, None] for place in (0, 1))
    return _rounded(down @ _rounded(images.double() @ across.mT)).byte()


def _rounded(levels: torch.Tensor) -> torch.Tensor:
    return (levels / 2**PRECISION + 0.5).floor().clamp(0, 255)


def _weights(start: torch.Tensor, length: torch.Tensor, size: int) -> torch.Tensor:
    """Weights of pixels in each pixel of a resized part, ``DoubleTensor (n, size, size)``: whole numbers.

    A triangle as wide as two pixels of the result or of the source, whichever are larger; computed in the order of
    Pillow, so that they are rounded alike.
    """
    places = torch.arange(size, device=start.device)
    scale = length.double()[:, None] / size
    wide = scale.clamp(min=1)
    middle = start[:, None] + (places + 0.5) * scale
    first = (middle - wide + 0.5).floor().clamp(min=0)[..., None]
    last = (middle + wide + 0.5).floor().clamp(max=size)[..., None]
    weights = (1 - ((places - middle[..., None] + 0.5) * (1 / wide[..., None])).abs()).clamp(min=0)
    weights = weights * ((places >= first) & (places < last))
    return (weights / weights.sum(2, keepdim=True) * 2**PRECISION + 0.5).floor()
