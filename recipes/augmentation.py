"""Augmentation of images for training; all random numbers are drawn from the given generator."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from presets import Settings

AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # ranges of a random resized crop (Szegedy et al., CVPR 2015)
TRIES = 10  # of a random resized crop, before the middle is cut out; AREA, RATIO and this as in torchvision


def resized(image: Image.Image, size: int) -> Image.Image:
    """Resize an image to a square of `size` pixels with a bicubic filter."""
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BICUBIC)


def _random_resized_crop(image: Image.Image, size: int, rng: np.random.Generator) -> Image.Image:
    """Crop a random area and aspect ratio, and resize it to a square (Szegedy et al., CVPR 2015)."""
    width, height = image.size
    for _ in range(TRIES):
        area = width * height * rng.uniform(*AREA)
        ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            break
    else:  # the middle, with the nearest allowed aspect ratio
        w, h = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
        left, top = (width - w) // 2, (height - h) // 2
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h))


def _jittered(image: Image.Image, ranges: Sequence[float], rng: np.random.Generator) -> Image.Image:
    """Change brightness, contrast, saturation and hue by random amounts, in random order."""
    kinds = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color, None]
    for number in rng.permutation(len(kinds)):
        amount, kind = ranges[number], kinds[number]
        if kind is not None:
            image = kind(image).enhance(rng.uniform(max(0, 1 - amount), 1 + amount))
        elif amount:
            hue, saturation, value = image.convert("HSV").split()
            shift = int(rng.uniform(-amount, amount) * 256)
            hue = hue.point([(level + shift) % 256 for level in range(256)])
            image = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    return image


def augment(image: Image.Image, settings: Settings, rng: np.random.Generator) -> np.ndarray:
    """Augment and normalise an image: ``(3, image_size, image_size)``, float32.

    Parameters
    ----------
    image
        RGB, of any size.
    settings
        Augmentations, size, and mean and standard deviation of the channels.
    rng
        Source of all random numbers.
    """
    size = settings.image_size
    if settings.random_resized_crop:
        image = _random_resized_crop(image, size, rng)
    else:
        image = resized(image, size)
        if padding := settings.crop_padding:
            left, top = (int(value) for value in rng.integers(2 * padding + 1, size=2))
            image = ImageOps.expand(image, padding).crop((left, top, left + size, top + size))
    if settings.random_flip and rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if any(settings.color_jitter):
        image = _jittered(image, settings.color_jitter, rng)
    pixels: np.ndarray = np.asarray(image, np.float32) / np.float32(255)
    pixels = (pixels - np.asarray(settings.mean, np.float32)) / np.asarray(settings.std, np.float32)
    if settings.cutout:  # DeVries and Taylor, 2017: a square that may extend over the border
        half = settings.cutout // 2
        y, x = (int(value) for value in rng.integers(size, size=2))
        pixels[max(0, y - half) : y + half, max(0, x - half) : x + half] = 0
    return pixels.transpose(2, 0, 1)
