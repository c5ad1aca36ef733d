"""Streams of labelled images, for data sets that fit neither in memory nor on the disk.

Every process reads the whole stream, in an order that depends on the seed and the epoch alone, and decodes the images
of its own batches. Encoded images are passed to the workers of the loader in the keys of a batch, so that the number
of workers and processes does not change the batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import Any, NamedTuple, cast

import fsspec
import numpy as np
from datasets import Features, IterableDataset
from PIL import Image

from classes import NAME, NUMBER, are_numbers, check_number, match, numbers_of, unknown_class, without_names
from image_folders import find_files, shown
from parallel import Plan
from pixels import BadImage, decoded, stored
from pkgen_hf.errors import one_line
from presets import Settings
from tables import (
    check_columns,
    check_same_classes,
    checked_label,
    declared_classes,
    holds_names,
    open_table,
    out_of_range,
    table_files,
)

AHEAD = 2  # steps, or batches in evaluation, that a thread reads ahead: one is read while the other waits


class Encoded(NamedTuple):
    """An encoded image: its bytes, or the path or address of its file; its label; its place in the stream."""

    encoded: bytes | None
    path: str | None
    label: int
    shard: int
    row: int
    where: str


Key = tuple[int, list[Encoded]]  # number of an image in its batch, and the batch


class ImageStream:
    """A stream of images with a class label each. See `open_stream`.

    Parameters
    ----------
    name
        Name of the source, for messages.
    table
        Examples with ``image`` and ``label``, the images not decoded.
    classes
        Names of the classes; empty if the source does not declare them.
    shards
        Names of the table's shards, for messages.
    number
        Number of images, None if the source does not say.
    split
        The split that is read, None if the source has no splits.
    holds_names
        Whether labels are names of classes instead of numbers.

    Attributes
    ----------
    number
        Number of images of an epoch; known at the latest after one evaluation.
    matched
        How classes are matched with a network's, by ``"name"`` or by ``"number"``.
    """

    passed_over: tuple[str, ...] = ()  # files beside the images: a stream has none

    def __init__(
        self,
        name: str,
        table: IterableDataset,
        classes: list[str],
        shards: list[str],
        number: int | None,
        split: str | None = None,
        holds_names: bool = False,
    ) -> None:
        self.name, self.classes, self.shards, self.number = name, classes, shards, number
        self.split, self.holds_names, self.is_named = split, holds_names, bool(classes) or holds_names
        self.matched = NUMBER
        self._names = list(classes)  # of the network's classes
        self._index: dict[Any, int] = {label: label for label in range(len(classes))}  # of labels in the network
        self._stream = IterableDataset.from_generator(
            _examples, gen_kwargs={"shards": list(range(len(shards))), "table": table, "names": tuple(shards)}
        )

    def __len__(self) -> int:
        if self.number is None:
            raise ValueError(f"{self.name} does not say how many images it holds; give --num_train_images")
        return self.number

    def label(self, key: Key) -> int:
        """The class of an image."""
        return key[1][key[0]].label

    def where(self, key: Key) -> str:
        """File or shard, and row, of an image."""
        return key[1][key[0]].where

    def entropy(self, key: Key) -> tuple[int, int]:
        """Seed of an image's augmentation, which no other image has."""
        return key[1][key[0]].shard, key[1][key[0]].row

    def following(self, key: Key) -> Key:
        """The next image of the batch; after the last, the first."""
        return (key[0] + 1) % len(key[1]), key[1]

    def check_classes(self, number: int, names: Sequence[str] = (), by_number: bool = False) -> list[str]:
        """Map labels to a network's classes, as `images.LabelledImages` does; labels are checked while reading."""
        names = list(names) or without_names(number)
        self._names = names
        if self.classes:
            found = match(self.name, self.classes, True, names, by_number)
            if found.by == NUMBER:
                check_number(self.name, self.classes, names)
            self._index = {label: index for label, index in enumerate(found.indices) if index is not None}
            self.matched = found.by
            return found.names
        if self.holds_names and names == without_names(number):
            raise ValueError(f"{self.name} has names as labels, but the network does not name its classes")
        self.matched = NAME if self.holds_names or are_numbers(names) else NUMBER
        labels = names if self.holds_names else map(int, names) if self.matched == NAME else range(number)
        self._index = {label: index for index, label in enumerate(labels)}
        return names

    def subset(self, number: int | None) -> ImageStream:
        """The first images, at most so many; all if None."""
        if number is None or (self.number is not None and number >= self.number):
            return self
        if number < 1:
            raise ValueError(f"at least 1 image must be left, got {number}")
        part = object.__new__(ImageStream)
        part.__dict__ |= self.__dict__ | {"number": number, "_stream": self._stream.take(number)}
        return part

    def image(self, key: Key) -> Image.Image:
        """Decode an image to RGB; BadImage if it is missing or cannot be decoded."""
        item = key[1][key[0]]
        encoded = item.encoded
        try:
            if not encoded and item.path:
                with fsspec.open(item.path, "rb") as file:
                    encoded = file.read()
            return decoded(encoded)
        except (OSError, BadImage) as error:
            raise BadImage(f"{item.where}: the image cannot be read: {error}") from error

    def read(self, order: tuple[int, int] | None = None, buffer_size: int = 1) -> Generator[Encoded]:
        """All images, in the source's order or shuffled with `order` as the seed.

        Raises
        ------
        ValueError
            For a label that is missing or out of range, and a file that cannot be read.
        """
        stream = self._stream
        if order is not None:
            seed = int(np.random.SeedSequence(order).generate_state(1)[0])
            stream = stream.shuffle(seed=seed, buffer_size=buffer_size)
        with closing(iter(stream)) as examples:
            for example in examples:
                where = example["where"]
                label = checked_label(example["label"], where)
                if label not in self._index:
                    raise self._unknown(label, where)
                yield Encoded(**example | {"label": self._index[label]})

    def _unknown(self, label: Any, where: str) -> ValueError:
        """The error for a label that is no class of the network."""
        if self.holds_names:
            return unknown_class(where, label, self._names)
        if 0 <= label < len(self.classes):
            return unknown_class(where, self.classes[label], self._names)
        return out_of_range(label, where, numbers_of(self._names))

    def epochs(self, plan: Plan, start: int) -> Iterator[list[tuple[int, Key]]]:
        """Batches of this process from step `start` on, each a list of epochs and keys.

        Raises
        ------
        ValueError
            If there are fewer images than `number` (in every process at the same step), or no shuffle buffer.
        """
        buffer = cast(Settings, plan.settings).shuffle_buffer
        if buffer < 1:
            raise ValueError(f"--shuffle_buffer must be at least 1, got {buffer}")
        return _ahead(self._steps(plan, start))

    def _steps(self, plan: Plan, start: int) -> Generator[list[list[tuple[int, Key]]]]:
        settings = cast(Settings, plan.settings)
        while start < plan.steps:
            epoch, skipped = divmod(start, plan.steps_per_epoch)
            read = skipped * plan.total_batch_size
            with closing(self.read((settings.seed, epoch), settings.shuffle_buffer)) as items:
                next(islice(items, read, read), None)  # images of earlier steps are read, not decoded
                for _ in range(start, min(plan.steps, (epoch + 1) * plan.steps_per_epoch)):
                    images = list(islice(items, plan.total_batch_size))
                    read += len(images)
                    if len(images) < plan.total_batch_size:
                        raise ValueError(f"{self.name} ended after {read} images of {self.number}; correct "
                                         "--num_train_images or --max_train_samples")  # fmt: skip
                    yield [[(epoch, key) for key in _keys(images[part])] for part in plan.parts]
            start = (epoch + 1) * plan.steps_per_epoch

    def in_order(self, batch_size: int, process: int, processes: int) -> Iterator[list[Key]]:
        """Batches for evaluation; processes take turns.

        Raises
        ------
        ValueError
            If there are more or fewer images than the source says.
        """
        return _ahead(self._turns(batch_size, process, processes))

    def _turns(self, batch_size: int, process: int, processes: int) -> Generator[list[list[Key]]]:
        turn = seen = 0
        with closing(self.read()) as items:
            while batch := list(islice(items, batch_size)):
                seen += len(batch)
                if turn == process:
                    yield [_keys(batch)]
                turn = (turn + 1) % processes
        if not seen or self.number not in (None, seen):
            raise ValueError(f"{self.name} holds {seen} images" + (f", not {self.number}" if self.number else ""))
        self.number = seen


def _keys(batch: list[Encoded]) -> list[Key]:
    return [(number, batch) for number in range(len(batch))]


def _ahead(groups: Generator[list[Any]]) -> Iterator[Any]:
    """The items of all groups, while the next groups are read in a thread."""
    pool = ThreadPoolExecutor(1)
    try:
        pending = deque(pool.submit(next, groups, None) for _ in range(AHEAD))
        while (group := pending.popleft().result()) is not None:
            pending.append(pool.submit(next, groups, None))
            yield from group
    finally:
        pool.shutdown(cancel_futures=True)
        groups.close()


def _examples(shards: list[int], table: IterableDataset, names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Encoded images of the shards, as dictionaries; labels are not converted."""
    for shard in shards:
        row = -1
        try:
            for row, example in enumerate(table.shard(table.num_shards, shard)):
                encoded, path = stored(example["image"])
                yield {
                    "encoded": encoded,
                    "path": path,
                    "label": example["label"],
                    "shard": shard,
                    "row": row,
                    "where": f"{names[shard]}, row {row}",
                }
        except Exception as error:  # of many classes, depending on the file and the connection
            reason = one_line(error.__cause__ or error)
            raise ValueError(f"{names[shard]} cannot be read after {row + 1} rows: {reason}") from error


def open_stream(
    source: str,
    split: str = "train",
    image_column: str = "image",
    label_column: str = "label",
    config: str | None = None,
    revision: str | None = None,
) -> ImageStream:
    """Open a stream of images; arguments and errors as of `images.load_images`.

    The source is a Parquet file, a folder of them, or the id of a data set of any format on the Hub. Each of its files
    is a shard. The number of images is known for local files, and for a data set whose card has it.
    """
    files, folder, found = find_files(source, split)
    if folder is not None:
        raise ValueError(
            f"{shown(str(folder))} holds no Parquet files; image files are read one by one without --streaming"
        )
    sizes = table_files(source, files)
    check_same_classes([file for file, _ in sizes], label_column)
    table = open_table(source, [file for file, _ in sizes], split, config, revision, streaming=True)
    number = sum(rows for _, rows in sizes) or None
    if not files and table.info.splits and split in table.info.splits:
        number = table.info.splits[split].num_examples or None
    features = table.features or Features()
    check_columns(source, features, image_column, label_column)
    feature = features[label_column]
    table = table.select_columns([image_column, label_column]).decode(False)
    table = table.rename_columns(
        {old: new for old, new in ((image_column, "image"), (label_column, "label")) if old != new}
    )
    shards = [shown(file) for file, _ in sizes] or [
        f"{source} ({split}), shard {shard}" for shard in range(table.num_shards)
    ]
    return ImageStream(shown(source), table, declared_classes(feature), shards, number, found, holds_names(feature))
