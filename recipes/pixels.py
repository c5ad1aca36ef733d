"""Decoding of stored images, the same in training, in evaluation and in transformers' image pipelines."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

from pkgen_hf.errors import one_line


class BadImage(ValueError):
    """An image that cannot be decoded; the message names its file and row."""


def stored(value: Any) -> tuple[bytes | None, str | None]:
    """Bytes, and path or address, of an image as a table holds it: a struct of both, bytes, or a path."""
    if isinstance(value, dict):
        return value.get("bytes"), value.get("path")
    return (None, value) if isinstance(value, str) else (value, None)


def check_channels(scale: dict[str, Any]) -> None:
    """Raise ValueError for the scale of a network that does not read RGB, to which images are decoded here."""
    channels = scale.get("in_channels", 3)
    if channels != 3:
        raise ValueError(
            f"images are decoded to RGB, grey ones too, so that a network reads 3 channels, not in_channels={channels}"
        )


def decoded(encoded: bytes | None) -> Image.Image:
    """Decode an image to RGB, as `datasets` decodes it and transformers' pipelines convert it.

    It is rotated by its EXIF orientation; of an animation the first frame is used; transparency is dropped. Of 16 bits
    the upper 8 are used, in grey images as Pillow does it in coloured ones; transformers' pipelines clip grey levels
    above 255, so that they must be given such an image decoded. Levels of 32-bit integers and floats must be 0 to 255.

    Raises
    ------
    BadImage
        With the reason alone, if the image is missing, cannot be decoded or has other levels.
    """
    if not encoded:
        raise BadImage("there is no image")
    try:
        image = Image.open(io.BytesIO(encoded))
        image.load()
        upright: Image.Image = image
        if image.getexif().get(ExifTags.Base.Orientation) is not None:
            upright = ImageOps.exif_transpose(image)
        return _with_8_bits(upright, image.format).convert("RGB")
    except Exception as error:  # of many classes, depending on the file
        reason = one_line(error)
        raise BadImage("it is of no known format" if "cannot identify" in reason else reason) from error


def _with_8_bits(image: Image.Image, file_format: str | None) -> Image.Image:
    """Reduce 16 bits to the upper 8; other images are returned unchanged if their levels are 0 to 255."""
    has_16_bits = image.mode.startswith("I;16") or (image.mode == "I" and file_format in ("PNG", "PPM"))
    if has_16_bits:
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        levels = np.asarray(image)
        low, high = levels.min(), levels.max()
        is_share = image.mode == "F" and 0 < high <= 1
        if not (low >= 0 and high <= 255) or is_share:
            raise BadImage(f"its levels are {low:g} to {high:g}, not 0 to 255; save it with 8 or 16 bits a channel")
    return image
