"""Labelled images for the recipes, found and checked.

A source is a Parquet file or a folder of them, a folder with a sub-folder of images for each class, or the id of a
data set on the Hub.
"""

from __future__ import annotations

import bisect
import io
import os
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow.parquet as pq
from datasets import ClassLabel, DownloadConfig, load_dataset
from datasets import Image as ImageFeature
from PIL import Image

from augmentation import resized
from pkgen_hf.errors import unknown

SPLITS = ("train", "validation", "val", "test")
SMALL = 64  # pixels: images up to this size are decoded once and kept
KEPT_BYTES = 2**30  # at most, of decoded images


class BadImage(ValueError):
    """An image that cannot be decoded; the message names its file and row."""


def decoded(encoded: bytes | None) -> Image.Image:
    """An image, RGB; raises BadImage with the reason alone if it is missing or cannot be decoded."""
    if not encoded:
        raise BadImage("there is no image")
    try:
        return Image.open(io.BytesIO(encoded)).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "it is of no known format" if "cannot identify" in str(error) else error
        raise BadImage(str(reason)) from error


class Source(Protocol):
    """Where encoded images come from."""

    def encoded(self, row: int) -> bytes | None:
        """The file's bytes, or None if there are none."""

    def where(self, row: int) -> str:
        """What an error calls this image."""


# ---------------------------------------------------------------------- sources


class _Files:
    """Images that are files of their own."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def encoded(self, row: int) -> bytes:
        return Path(self.paths[row]).read_bytes()

    def where(self, row: int) -> str:
        return self.paths[row]


class _Rows:
    """Images that are rows of a data set, memory-mapped, of one or more Parquet files or of the Hub."""

    def __init__(self, table: Any, column: str, files: list[tuple[str, int]]) -> None:
        self.table, self.column, self.files = table, column, files
        self.ends = list(accumulate(rows for _, rows in files))

    def encoded(self, row: int) -> bytes | None:
        value = self.table[row][self.column]
        if isinstance(value, dict):
            path = value["path"]
            return value["bytes"] or (Path(path).read_bytes() if path and Path(path).is_file() else None)
        return value

    def where(self, row: int) -> str:
        number = bisect.bisect_right(self.ends, row)
        return f"{self.files[number][0]}, row {row - ([0, *self.ends][number])}"


class LabelledImages:
    """Images with a class each.

    Parameters
    ----------
    name
        Of the source, for messages.
    source
        Of the encoded images.
    labels
        ``(images,)``, from 0.
    classes
        Their names.
    is_named
        Whether these are names that the source gives, not mere numbers up to the largest label.

    Attributes
    ----------
    rows
        ``(images,)``, of the source.
    """

    def __init__(
        self, name: str, source: Source, labels: np.ndarray, classes: list[str], is_named: bool = True
    ) -> None:
        self.name, self.source, self.labels, self.classes, self.is_named = name, source, labels, classes, is_named
        self.rows = np.arange(len(labels))
        self._decoded: list[np.ndarray | None] = []

    def __len__(self) -> int:
        return len(self.rows)

    def label(self, index: int) -> int:
        """The class of an image."""
        return int(self.labels[self.rows[index]])

    def where(self, index: int) -> str:
        """File, and row if it has rows, of an image."""
        return self.source.where(int(self.rows[index]))

    def entropy(self, index: int) -> tuple[int]:
        """Numbers that no other image has."""
        return (index,)

    def following(self, index: int) -> int:
        """The next image; after the last, the first."""
        return (index + 1) % len(self)

    def in_order(self, batch_size: int, process: int, processes: int) -> list[list[int]]:
        """Batches for evaluation, which the processes take in turn."""
        starts = range(0, len(self), batch_size)[process::processes]
        return [list(range(start, min(start + batch_size, len(self)))) for start in starts]

    def subset(self, number: int | None, seed: int = 0) -> LabelledImages:
        """So many images drawn at random; all if None or there are no more."""
        if number is None or number >= len(self):
            return self
        if number < 1:
            raise ValueError(f"at least 1 image must be left, got {number}")
        part = LabelledImages(self.name, self.source, self.labels, self.classes, self.is_named)
        part.rows = np.sort(np.random.default_rng(seed).permutation(self.rows)[:number])
        return part

    def check_classes(self, number: int) -> None:
        """Raise ValueError unless labels fit a network of so many classes."""
        largest = int(self.labels.argmax())
        if self.labels[largest] >= number:
            where, label = self.source.where(largest), self.labels[largest]
            raise ValueError(f"{where}: the label {label} is out of range; the network has {number} classes")
        if self.is_named and len(self.classes) != number:
            raise ValueError(f"{self.name} has {len(self.classes)} classes, the network has {number}")

    def image(self, index: int) -> Image.Image:
        """An image, RGB.

        Raises
        ------
        BadImage
            If it is missing or cannot be decoded.
        """
        if self._decoded and (kept := self._decoded[index]) is not None:
            return Image.fromarray(kept)
        try:
            return decoded(self.source.encoded(int(self.rows[index])))
        except (OSError, BadImage) as error:
            raise BadImage(f"{self.where(index)}: the image cannot be read: {error}") from error

    def keep_decoded(self, size: int, skip_corrupt: bool) -> None:
        """Decode and resize all images now, if they are small and fit, so that epochs need not."""
        if self._decoded or size > SMALL or len(self) * 3 * size * size > KEPT_BYTES:
            return
        decoded: list[np.ndarray | None] = []
        for index in range(len(self)):
            try:
                decoded.append(np.asarray(resized(self.image(index), size)))
            except BadImage:
                if not skip_corrupt:
                    raise
                decoded.append(None)
        self._decoded = decoded


def load_images(
    source: str,
    split: str = "train",
    image_column: str = "image",
    label_column: str = "label",
    config: str | None = None,
    revision: str | None = None,
) -> LabelledImages:
    """Read labels and find images; the images themselves are decoded when they are asked for.

    Parameters
    ----------
    source
        Parquet file, folder, or Hub id. Of a folder the sub-folder named `split` is read if there is one, or the
        Parquet files whose names begin with it.
    split
        ``"train"``, ``"validation"`` or whatever the data set calls it.
    image_column, label_column
        Of Parquet files and data sets.
    config, revision
        Of a data set on the Hub.

    Raises
    ------
    FileNotFoundError
        If there is no such file, folder or data set.
    ValueError
        For a source without images, a missing column, and a label that is missing or out of range.
    """
    files, folder = find_files(source, split)
    if folder is not None:
        return _from_folder(folder)
    return _from_table(source, files, split, image_column, label_column, config, revision)


def find_files(source: str, split: str) -> tuple[list[str], Path | None]:
    """Parquet files of a split, or the folder of classes where there are none; neither for the id of a data set.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file or folder, or no such split in it.
    """
    path = Path(source)
    if path.is_dir():
        path = path / split if (path / split).is_dir() else path
        files = sorted(str(file) for file in path.rglob("*.parquet"))
        if not files:
            return [], path
        named = {file: next((name for name in SPLITS if Path(file).name.startswith(name)), None) for file in files}
        if path.name != split and any(named.values()):
            files = [file for file in files if Path(file).name.startswith(split)]
            if not files:
                raise unknown(f"split of {source}", split, sorted({name for name in named.values() if name}))
        return files, None
    if path.suffix == ".parquet" and path.is_file():
        return [source], None
    if path.exists() or source.count("/") > 1 or source.startswith((".", "/", "~")) or path.suffix == ".parquet":
        raise FileNotFoundError(f"{source} is neither a folder, a Parquet file nor the id of a data set on the Hub")
    return [], None


def _from_folder(folder: Path) -> LabelledImages:
    known = tuple(Image.registered_extensions())
    with os.scandir(folder) as entries:
        inside = sorted(entries, key=lambda entry: entry.name)
    for entry in inside:
        if entry.is_file() and entry.name.lower().endswith(known):
            raise ValueError(f"{entry.path} has no label: every image must be in the sub-folder of its class")
    classes = [entry.name for entry in inside if entry.is_dir() and not entry.name.startswith(".")]
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(e.path for e in os.scandir(folder / name) if e.name.lower().endswith(known))
        paths += found
        labels += [label] * len(found)
    if not paths:
        raise ValueError(f"{folder} holds neither Parquet files nor sub-folders of images, one for each class")
    return LabelledImages(str(folder), _Files(paths), np.array(labels), classes)


def _from_table(
    name: str,
    files: list[str],
    split: str,
    image_column: str,
    label_column: str,
    config: str | None,
    revision: str | None,
) -> LabelledImages:
    try:
        if files:
            table = load_dataset("parquet", data_files=files, split="train")
            sizes = [(file, pq.ParquetFile(file).metadata.num_rows) for file in files]
        else:
            download = DownloadConfig(max_retries=1)
            table = load_dataset(name, config, split=split, revision=revision, download_config=download)
            sizes = [(f"{name} ({split})", len(table))]
    except Exception as error:  # of many kinds, by what is wrong with the files or the connection
        reason = error.__cause__ or error
        raise ValueError(f"{name} cannot be read as a data set: {str(reason).splitlines()[0]}") from error
    for column in (image_column, label_column):
        if column not in table.column_names:
            raise unknown(f"column of {name}", column, table.column_names)
    if isinstance(table.features[image_column], ImageFeature):
        table = table.cast_column(image_column, ImageFeature(decode=False))
    source = _Rows(table.select_columns([image_column]), image_column, sizes)
    feature = table.features[label_column]
    values = table.data.column(label_column).to_numpy()
    if values.dtype == object or values.dtype.kind not in "iuf":
        raise ValueError(f"{name}: column {label_column!r} holds {feature}, not the numbers of classes")
    missing = np.flatnonzero(np.isnan(values))
    if len(missing):
        raise ValueError(f"{source.where(int(missing[0]))}: the label is missing")
    labels = values.astype(np.int64)
    number = len(feature.names) if isinstance(feature, ClassLabel) else int(labels.max(initial=-1)) + 1
    wrong = np.flatnonzero((labels < 0) | (labels >= number))
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"{source.where(row)}: the label {labels[row]} is out of range; classes are 0 to {number - 1}"
        )
    if not len(labels):
        raise ValueError(f"{name} holds no images")
    names = feature.names if isinstance(feature, ClassLabel) else [str(label) for label in range(number)]
    return LabelledImages(name, source, labels, list(names), isinstance(feature, ClassLabel))
