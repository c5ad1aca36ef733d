"""Labelled images for the recipes: find, check, decode.

A source is a Parquet file or a folder of them, a folder with a sub-folder of images for each class, or the id of a
data set on the Hub.
"""

from __future__ import annotations

import bisect
import copy
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from datasets import Image as ImageFeature
from PIL import Image

from augmentation import resized
from classes import NUMBER, check_number, match, numbers_of, unknown_class, without_names
from image_folders import class_folders, find_files, shown
from pixels import BadImage, decoded, stored
from tables import (
    check_columns,
    check_same_classes,
    declared_classes,
    holds_names,
    labels_of,
    open_table,
    out_of_range,
    table_files,
)

__all__ = ["BadImage", "LabelledImages", "load_images"]


class Source(Protocol):
    """A source of encoded images."""

    def encoded(self, row: int) -> bytes | None:
        """The bytes of an image file, or None if it has none."""

    def where(self, row: int) -> str:
        """File, and row if it has rows, of an image, for messages."""


# ---------------------------------------------------------------------- sources


class _Files:
    """One file for each image."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def encoded(self, row: int) -> bytes:
        return Path(self.paths[row]).read_bytes()

    def where(self, row: int) -> str:
        return shown(self.paths[row])


class _Rows:
    """Rows of a memory-mapped data set: one or more Parquet files, or a data set on the Hub."""

    def __init__(self, table: Any, column: str, files: list[tuple[str, int]]) -> None:
        self.table, self.column, self.files = table, column, files
        self.ends = list(accumulate(rows for _, rows in files))

    def encoded(self, row: int) -> bytes | None:
        encoded, path = stored(self.table[row][self.column])
        return Path(path).read_bytes() if path and not encoded else encoded

    def where(self, row: int) -> str:
        number = bisect.bisect_right(self.ends, row)
        return f"{shown(self.files[number][0])}, row {row - ([0, *self.ends][number])}"


class LabelledImages:
    """Images with a class label each.

    Parameters
    ----------
    name
        Name of the source, for messages.
    source
        Encoded images.
    labels
        ``(images,)``, from 0.
    classes
        Names of the classes.
    is_named
        Whether the source names its classes; if not, the names are the numbers of the labels.
    split
        The split that was read, None if the source has no splits.
    passed_over
        Files beside the images that are not images.

    Attributes
    ----------
    rows
        ``(images,)``, numbers of the images in the source.
    matched
        How classes were matched with a network's, by ``"name"`` or by ``"number"``.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        labels: np.ndarray,
        classes: list[str],
        is_named: bool = True,
        split: str | None = None,
        passed_over: Sequence[str] = (),
    ) -> None:
        self.name, self.source, self.labels, self.classes, self.is_named = name, source, labels, classes, is_named
        self.split, self.passed_over = split, list(passed_over)
        self.rows = np.arange(len(labels))
        self.matched = NUMBER
        self._index = list(range(len(classes)))  # of each class in the network
        self._pixels: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # the last size that was asked for

    def __len__(self) -> int:
        return len(self.rows)

    def label(self, index: int) -> int:
        """The label of an image: its class's number in the network, or in `classes` before `check_classes`."""
        return self._index[self.labels[self.rows[index]]]

    def where(self, index: int) -> str:
        """File, and row if it has rows, of an image."""
        return self.source.where(int(self.rows[index]))

    def entropy(self, index: int) -> tuple[int]:
        """Seed of an image's augmentation, which no other image has."""
        return (index,)

    def following(self, index: int) -> int:
        """The next image; after the last, the first."""
        return (index + 1) % len(self)

    def in_order(self, batch_size: int, process: int, processes: int) -> list[list[int]]:
        """Batches for evaluation; processes take turns."""
        starts = range(0, len(self), batch_size)[process::processes]
        return [list(range(start, min(start + batch_size, len(self)))) for start in starts]

    def subset(self, number: int | None, seed: int = 0) -> LabelledImages:
        """A random subset of at most so many images; all if None."""
        if number is None or number >= len(self):
            return self
        if number < 1:
            raise ValueError(f"at least 1 image must be left, got {number}")
        part = copy.copy(self)
        part._pixels = {}
        part.rows = np.sort(np.random.default_rng(seed).permutation(self.rows)[:number])
        return part

    def check_classes(self, number: int, names: Sequence[str] = (), by_number: bool = False) -> list[str]:
        """Map labels to a network's classes.

        Parameters
        ----------
        number
            Number of the network's classes.
        names
            Names of the network's classes, as from `classes.classes_of`; none if it only has numbers.
        by_number
            Match classes by number if no names coincide.

        Returns
        -------
        list
            Names of the network's classes, to match other images with.

        Raises
        ------
        ValueError
            If an image is of a class that the network does not have, or if classes cannot be matched.
        """
        names = list(names) or without_names(number)
        found = match(self.name, self.classes, self.is_named, names, by_number)
        known = np.array([index is not None for index in found.indices])[self.labels]
        if not known.all():
            row = int(known.argmin())
            name = self.classes[self.labels[row]]
            if found.by != NUMBER and self.is_named:
                raise unknown_class(self.name, name, names)
            label = self.labels[row] if self.is_named else name
            raise out_of_range(int(label), self.source.where(row), numbers_of(names))
        if found.by == NUMBER and self.is_named:
            check_number(self.name, self.classes, names)
        self.matched, self._index = found.by, [-1 if index is None else index for index in found.indices]
        return found.names

    def image(self, index: int) -> Image.Image:
        """Decode an image to RGB; BadImage if it is missing or cannot be decoded."""
        try:
            return decoded(self.source.encoded(int(self.rows[index])))
        except (OSError, BadImage) as error:
            raise BadImage(f"{self.where(index)}: the image cannot be read: {error}") from error

    def pixels(self, size: int, skip_corrupt: bool) -> tuple[np.ndarray, np.ndarray]:
        """All images, decoded and resized once.

        Returns
        -------
        numpy.ndarray
            ``(images, size, size, 3)``, uint8.
        numpy.ndarray
            Which of them can be decoded, ``(images,)``.

        Raises
        ------
        BadImage
            For a corrupt image that is not to be skipped, or if none can be decoded.
        """
        if size not in self._pixels:
            found, is_there = np.zeros((len(self), size, size, 3), np.uint8), np.ones(len(self), bool)
            for index in range(len(self)):
                try:
                    found[index] = np.asarray(resized(self.image(index), size))
                except BadImage:
                    is_there[index] = False
            self._pixels = {size: (found, is_there)}
        found, is_there = self._pixels[size]
        if not (is_there.all() if not skip_corrupt else is_there.any()):
            self.image(int(is_there.argmin()))  # which fails
        return found, is_there


def load_images(
    source: str,
    split: str = "train",
    image_column: str = "image",
    label_column: str = "label",
    config: str | None = None,
    revision: str | None = None,
) -> LabelledImages:
    """Read labels and find images; images are decoded when they are used.

    Parameters
    ----------
    source
        Parquet file, folder, or Hub id. In a folder, the sub-folder named `split` is read if there is one, or the
        Parquet files whose names begin with it.
    split
        ``"train"``, ``"validation"`` or another name of a split.
    image_column, label_column
        Columns of Parquet files and data sets.
    config, revision
        Configuration and revision of a data set on the Hub.

    Raises
    ------
    FileNotFoundError
        If there is no such file, folder or data set.
    UnknownSplit
        If it has splits, but not this one.
    ValueError
        For a source or a class without images, a missing column, and a missing or invalid label.
    """
    found = find_files(source, split)
    if found.folder is not None:
        inside = class_folders(found.folder)
        labels = np.array(inside.labels)
        files, name = _Files(inside.paths), shown(str(found.folder))
        return LabelledImages(name, files, labels, inside.classes, True, found.split, inside.passed_over)
    return _from_table(source, found.files, found.split, image_column, label_column, config, revision)


def _from_table(
    source: str,
    files: list[str],
    split: str | None,
    image_column: str,
    label_column: str,
    config: str | None,
    revision: str | None,
) -> LabelledImages:
    sizes = table_files(source, files)
    check_same_classes([file for file, _ in sizes], label_column)
    table = open_table(source, [file for file, _ in sizes], split, config, revision)
    sizes = sizes or [(f"{source} ({split})", len(table))]
    check_columns(source, table.features, image_column, label_column)
    if isinstance(table.features[image_column], ImageFeature):
        table = table.cast_column(image_column, ImageFeature(decode=False))
    if not len(table):
        raise ValueError(f"{source} holds no images")
    rows, feature = _Rows(table.select_columns([image_column]), image_column, sizes), table.features[label_column]
    labels, classes = labels_of(table.data.column(label_column), feature, rows.where)
    is_named = bool(declared_classes(feature)) or holds_names(feature)
    return LabelledImages(shown(source), rows, labels, classes, is_named, split)
