"""Small real images with classes that can be learned, as Parquet and as folders."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

CLASSES = ["bars", "disc", "stripes"]


def draw_picture(kind: str, rng: np.random.Generator, size: int = 16) -> Image.Image:
    """Vertical bars, a disc, or horizontal stripes, of random colours and at a random place, in noise."""
    noise = rng.integers(0, 60, (size, size, 3)).astype(np.uint8)
    image = Image.fromarray(noise)
    pen = ImageDraw.Draw(image)
    colour = tuple(int(level) for level in rng.integers(120, 256, 3))
    start = int(rng.integers(4))
    if kind == "disc":
        pen.ellipse((start, start, start + size // 2, start + size // 2), fill=colour)
    for place in range(start, size, 4):
        if kind == "bars":
            pen.line((place, 0, place, size), fill=colour)
        elif kind == "stripes":
            pen.line((0, place, size, place), fill=colour)
    return image


def pictures(number: int, seed: int = 0, size: int = 16) -> list[tuple[bytes, int]]:
    """So many images as PNG, with labels in turn."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(number):
        buffer = io.BytesIO()
        draw_picture(CLASSES[index % 3], rng, size).save(buffer, "png")
        found.append((buffer.getvalue(), index % 3))
    return found


def write_splits(folder: Path, number: int) -> Path:
    """A folder with train.parquet of so many images, and test.parquet of 31."""
    write_parquet(folder / "train.parquet", pictures(number))
    write_parquet(folder / "test.parquet", pictures(31, seed=1))
    return folder


def renumbered(rows: Sequence[tuple[bytes, int]], classes: Sequence[str]) -> list[tuple[bytes | None, int | None]]:
    """The same pictures, with labels as these classes, in another order than `CLASSES`, have them."""
    return [(encoded, classes.index(CLASSES[label])) for encoded, label in rows]


def write_parquet(
    path: Path, rows: list[tuple[bytes | None, int | None]], named: bool = True, classes: Sequence[str] = CLASSES
) -> Path:
    """As the Hub's data sets of images are, with the names of classes in the schema's metadata if `named`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [None if encoded is None else {"bytes": encoded, "path": None} for encoded, _ in rows]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(images, kind), "label": pa.array([label for _, label in rows], pa.int64())})
    if named:
        features = {"image": {"_type": "Image"}, "label": {"names": list(classes), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)
    return path


def write_labels(path: Path, labels: pa.Array, rows: list[tuple[bytes, int]] | None = None) -> Path:
    """Pictures as plain bytes, by default any, with labels of any type."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = pa.array([encoded for encoded, _ in rows or pictures(len(labels))], pa.binary())
    pq.write_table(pa.table({"image": images, "label": labels}), path)
    return path


def encode(image: Image.Image, file_format: str = "png", **options: object) -> bytes:
    """The file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def write_folder(folder: Path, rows: list[tuple[bytes, int]]) -> Path:
    """A sub-folder for each class; within a class the images keep their order."""
    for name in CLASSES:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, (encoded, label) in enumerate(rows):
        (folder / CLASSES[label] / f"{number:05d}.png").write_bytes(encoded)
    return folder
