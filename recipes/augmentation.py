"""Augmentation of images for training: what is drawn for an image, and the image that follows from it.

An image has `NUMBERS` random numbers of its own in every epoch. They depend on the seed, the epoch and the number of
the image alone, so that workers, processes and devices make the same image. `device_images` does the same to many.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from presets import Settings

AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # ranges of a random resized crop (Szegedy et al., CVPR 2015)
TRIES = 10  # of a random resized crop, before the middle is cut out; AREA, RATIO and this as in torchvision
# Places of an image's random numbers, which are uniform in [0, 1).
SHIFT, MIRRORED, HOLE, JITTER, ORDER = slice(0, 2), 2, slice(3, 5), slice(5, 9), slice(9, 13)
RESIZED = slice(13, 13 + 4 * TRIES)
WORDS = 4  # random numbers of each state of the counter
NUMBERS = -(-RESIZED.stop // WORDS) * WORDS


@functools.lru_cache(maxsize=64)
def _key(*entropy: int) -> np.ndarray:
    return np.random.SeedSequence(entropy).generate_state(2, np.uint64)


def random_numbers(seed: int, epoch: int, *entropy: int, count: int = 1) -> np.ndarray:
    """Random numbers of consecutive images, ``(count, NUMBERS)``.

    They are consecutive in one stream of a counter-based generator (Salmon et al., SC 2011), so that those of any
    image are found without those before.

    Parameters
    ----------
    seed, epoch
        Other streams.
    entropy
        Number of the first image; before it, that of a shard, if images are numbered within shards.
    count
        Of images.
    """
    *stream, first = entropy
    generator = np.random.Philox(key=_key(seed, epoch, *stream), counter=first * (NUMBERS // WORDS))
    return np.random.Generator(generator).random((count, NUMBERS))


def shifts(numbers: np.ndarray, padding: int) -> np.ndarray:
    """Left and top of crops of padded images, ``(n, 2)``."""
    return (numbers[:, SHIFT] * (2 * padding + 1)).astype(np.int64)


def are_mirrored(numbers: np.ndarray) -> np.ndarray:
    """Which images are mirrored, ``(n,)``."""
    return numbers[:, MIRRORED] < 0.5


def holes(numbers: np.ndarray, size: int) -> np.ndarray:
    """Row and column of the middle of cut-out squares, ``(n, 2)``."""
    return (numbers[:, HOLE] * size).astype(np.int64)


def boxes(numbers: np.ndarray, width: int, height: int) -> np.ndarray:
    """Left, top, width and height of random crops of images of one size, ``(n, 4)``.

    Area and aspect ratio are random (Szegedy et al., CVPR 2015); if none of `TRIES` fits, it is the middle with the
    nearest allowed aspect ratio.
    """
    tries = numbers[:, RESIZED].reshape(len(numbers), TRIES, 4)
    area = width * height * (AREA[0] + (AREA[1] - AREA[0]) * tries[..., 0])
    low, high = np.log(RATIO)
    ratio = np.exp(low + (high - low) * tries[..., 1])
    wide, tall = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (wide > 0) & (wide <= width) & (tall > 0) & (tall <= height)
    left, top = np.floor(tries[..., 2] * (width - wide + 1)), np.floor(tries[..., 3] * (height - tall + 1))
    found = np.stack([left, top, wide, tall], -1)[np.arange(len(numbers)), fits.argmax(1)].astype(np.int64)
    w, h = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
    middle = np.array([(width - w) // 2, (height - h) // 2, w, h])
    return np.where(fits.any(1)[:, None], found, middle)


def resized(image: Image.Image, size: int) -> Image.Image:
    """Resize an image to a square of `size` pixels with a bicubic filter."""
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BICUBIC)


def _jittered(image: Image.Image, ranges: Sequence[float], numbers: np.ndarray) -> Image.Image:
    """Change brightness, contrast, saturation and hue by random amounts, in random order."""
    kinds = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color, None]
    for kind in numbers[ORDER].argsort():
        amount, number, enhance = ranges[kind], float(numbers[JITTER][kind]), kinds[kind]
        if enhance is not None:
            low, high = max(0, 1 - amount), 1 + amount
            image = enhance(image).enhance(low + (high - low) * number)
        elif amount:
            hue, saturation, value = image.convert("HSV").split()
            shift = int(amount * (2 * number - 1) * 256)
            hue = hue.point([(level + shift) % 256 for level in range(256)])
            image = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    return image


def augment(image: Image.Image, settings: Settings, numbers: np.ndarray) -> np.ndarray:
    """Augment and normalise an image: ``(3, image_size, image_size)``, float32.

    Parameters
    ----------
    image
        RGB, of any size.
    settings
        Augmentations, size, and mean and standard deviation of the channels.
    numbers
        A row of `random_numbers`.
    """
    size, row = settings.image_size, numbers[None]
    if settings.random_resized_crop:
        ((left, top, width, height),) = boxes(row, *image.size).tolist()
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + width, top + height))
    else:
        image = resized(image, size)
        if padding := settings.crop_padding:
            ((left, top),) = shifts(row, padding).tolist()
            image = ImageOps.expand(image, padding).crop((left, top, left + size, top + size))
    if settings.random_flip and are_mirrored(row)[0]:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if any(settings.color_jitter):
        image = _jittered(image, settings.color_jitter, numbers)
    pixels: np.ndarray = np.asarray(image, np.float32) / np.float32(255)
    pixels = (pixels - np.asarray(settings.mean, np.float32)) / np.asarray(settings.std, np.float32)
    if settings.cutout:  # DeVries and Taylor, 2017: a square that may extend over the border
        half = settings.cutout // 2
        ((y, x),) = holes(row, size).tolist()
        pixels[max(0, y - half) : y + half, max(0, x - half) : x + half] = 0
    return pixels.transpose(2, 0, 1)
