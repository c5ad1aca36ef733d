"""Tables of images and labels, or of texts, read with `datasets` in memory or as streams."""

from __future__ import annotations

import glob
from collections.abc import Callable
from textwrap import shorten
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import ClassLabel, DownloadConfig, Features, Value, load_dataset
from datasets import Image as ImageFeature

from image_folders import UnknownSplit, shown
from pkgen_hf.errors import one_line, unknown

NUMBERS = ("int", "uint", "float32", "float64")


def reading_error(source: str, error: Exception) -> ValueError:
    """The reason why `datasets` cannot read a source, in one line."""
    reason = one_line(error.__cause__ or error)
    if reason.startswith(("Unknown split", "Bad split")):
        return UnknownSplit(f"{source}: {reason}")
    return ValueError(f"{source} cannot be read as a data set: {reason}")


def table_files(source: str, files: list[str], content: str = "images") -> list[tuple[str, int]]:
    """Parquet files that have rows, and their numbers of rows.

    Raises
    ------
    ValueError
        If one cannot be read, or all are empty.
    """
    try:
        sizes = [(file, pq.read_metadata(file).num_rows) for file in files]
    except Exception as error:  # of many classes, depending on the file
        raise reading_error(source, error) from error
    if files and not any(rows for _, rows in sizes):
        raise ValueError(f"{source} holds no {content}")
    return [(file, rows) for file, rows in sizes if rows]


def open_table(
    source: str, files: list[str], split: str | None, config: str | None, revision: str | None, streaming: bool = False
) -> Any:
    """Open Parquet files or, if there are none, a data set on the Hub.

    Raises
    ------
    ValueError
        If it cannot be read, or has no such split.
    """
    try:
        if files:  # `datasets` reads their names as patterns
            paths = [glob.escape(file) for file in files]
            return load_dataset("parquet", data_files=paths, split="train", streaming=streaming)
        download = DownloadConfig(max_retries=1)
        return load_dataset(
            source, config, split=split, revision=revision, download_config=download, streaming=streaming
        )
    except Exception as error:  # of many classes, depending on the files and the connection
        raise reading_error(source, error) from error


def check_columns(source: str, features: Features, image_column: str, label_column: str) -> None:
    """Raise ValueError unless the columns exist and hold images and classes."""
    for column in (image_column, label_column):
        if column not in features:
            raise unknown(f"column of {source}", column, list(features))
    images, labels = features[image_column], features[label_column]
    is_struct = isinstance(images, dict) and bool({"bytes", "path"} & set(images))
    is_plain = isinstance(images, Value) and images.dtype in ("binary", "large_binary", "string", "large_string")
    if not (is_struct or is_plain or isinstance(images, ImageFeature)):
        raise ValueError(f"{source}: column {image_column!r} holds {images}, not images, which are bytes, paths or "
                         "structs of both; `datasets` writes them so of a column cast to its Image")  # fmt: skip
    is_class = isinstance(labels, Value) and (
        labels.dtype.startswith(NUMBERS) or labels.dtype in ("bool", "string", "large_string")
    )
    if not (is_class or isinstance(labels, ClassLabel)):
        raise ValueError(f"{source}: column {label_column!r} holds {labels}, not classes: numbers or names")


def declared_classes(feature: Any) -> list[str]:
    """Names of the classes that a column declares, by number; none if it holds plain numbers or names."""
    if isinstance(feature, ClassLabel):
        return list(feature.names)
    return ["False", "True"] if feature.dtype == "bool" else []


def check_same_classes(files: list[str], label_column: str) -> None:
    """Raise ValueError unless all Parquet files declare the same classes: `datasets` only reads the first's."""
    meanings: dict[str, str] = {}
    for file in files:
        schema = pq.read_schema(file)
        if label_column in schema.names and not pa.types.is_null(schema.field(label_column).type):
            try:
                meanings[file] = _meaning(Features.from_arrow_schema(schema)[label_column])
            except Exception as error:  # of many classes, depending on the file's metadata
                raise reading_error(shown(file), error) from error
    first = next(iter(meanings), "")
    for file, meaning in meanings.items():
        if meaning != meanings[first]:
            raise ValueError(f"{shown(file)} and {shown(first)} differ in what column {label_column!r} holds: "
                             f"{shorten(meaning, 200, placeholder='...')}, and "
                             f"{shorten(meanings[first], 200, placeholder='...')}; write them with the same "
                             "classes")  # fmt: skip


def _meaning(feature: Any) -> str:
    """The meaning of a column's labels, for comparison; all widths of numbers are the same."""
    if isinstance(feature, ClassLabel):
        return f"classes {list(feature.names)}"
    if not isinstance(feature, Value):
        return str(feature)
    if feature.dtype == "bool":
        return "true and false"
    return "names" if holds_names(feature) else "numbers" if feature.dtype.startswith(NUMBERS) else feature.dtype


def holds_names(feature: Any) -> bool:
    """Whether the labels of a column are names instead of numbers."""
    return isinstance(feature, Value) and feature.dtype in ("string", "large_string")


def checked_label(label: Any, where: str) -> Any:
    """A label as an integer or a name.

    Raises
    ------
    ValueError
        If it is missing or not a whole number.
    """
    if label is None or label == "" or label != label:
        raise ValueError(f"{where}: the label is missing")
    if isinstance(label, float) and not label.is_integer():
        raise ValueError(f"{where}: the label {label} is not a whole number")
    return label if isinstance(label, str) else int(label)


def out_of_range(label: int, where: str, allowed: str) -> ValueError:
    """The error for a label that is not the number of a class."""
    unlabelled = "; -1 marks images without labels" if label == -1 else ""
    return ValueError(f"{where}: the label {label} is out of range; {allowed}{unlabelled}")


def labels_of(column: pa.ChunkedArray, feature: Any, where: Callable[[int], str]) -> tuple[np.ndarray, list[str]]:
    """Labels of a column as numbers of classes, from 0, and the names of the classes.

    Classes are those that the column declares, or else its distinct labels, sorted: names, or whole numbers, of which
    the smallest need not be 0.

    Parameters
    ----------
    column, feature
        The column of labels and its type, checked by `check_columns`.
    where
        Names a row, for messages.

    Raises
    ------
    ValueError
        For a label that is missing, not a whole number, negative, or beyond the declared classes.
    """
    values = column.unique()
    numbers = pc.index_in(column, value_set=values).to_numpy()
    _, first = np.unique(numbers, return_index=True)  # values are in the order in which they occur
    names = declared_classes(feature)
    labels = []
    for value, row in zip(values.to_pylist(), first.tolist(), strict=True):
        label = checked_label(value, where(row))
        if isinstance(label, int) and (label < 0 or (names and label >= len(names))):
            allowed = f"classes are 0 to {len(names) - 1}" if names else "classes are 0 or more"
            raise out_of_range(label, where(row), allowed)
        labels.append(label)
    if not names:
        classes = sorted(set(labels))
        names = [str(label) for label in classes]
        number_of = {label: number for number, label in enumerate(classes)}
        labels = [number_of[label] for label in labels]
    return np.array(labels, np.int64)[numbers], names
