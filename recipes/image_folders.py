"""Find labelled images in a folder: splits, Parquet files, and folders of classes.

Class folders are read as by torchvision's ``ImageFolder``: a class is a folder of the first level, with all images
below it, links followed. The ``imagefolder`` of `datasets` is not used: its class is the innermost folder, and it has
no labels if images lie at different depths. Splits are recognised by name, as `datasets` does.
"""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from folders import (
    SPLIT_OF,
    UnknownSplit,
    choose_split,
    files_below,
    folders_in,
    is_folder,
    shown,
    split_kind,
    split_of_file,
    visible_entries,
)

__all__ = ["ClassFolders", "Found", "UnknownSplit", "class_folders", "find_files", "shown"]


# Suffixes of torchvision, and of other formats of photographs and drawings that Pillow reads.
IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp",
    ".gif", ".jfif", ".jpe", ".jp2", ".avif", ".apng", ".dib", ".pbm", ".pnm", ".tga",
)  # fmt: skip
METADATA = ("metadata.csv", "metadata.jsonl")


class Found(NamedTuple):
    """Parquet files, a folder of classes, or neither for the id of a data set; the split, None without splits."""

    files: list[str]
    folder: Path | None
    split: str | None


class ClassFolders(NamedTuple):
    """Images by class: paths, labels, names of the classes, and files that are not images."""

    paths: list[str]
    labels: list[int]
    classes: list[str]
    passed_over: list[str]


# ---------------------------------------------------------------------- what is in a folder


def _is_image(entry: os.DirEntry[str]) -> bool:
    """Whether it is an image, by its suffix; a broken link counts as an image that cannot be read."""
    return entry.name.lower().endswith(IMAGE_SUFFIXES) and (entry.is_symlink() or entry.is_file())


def class_folders(folder: Path) -> ClassFolders:
    """Images of a folder with a sub-folder for each class, sorted by class and path.

    Raises
    ------
    ValueError
        If there are no sub-folders, one has no images, two are the same folder or they hold splits; if an image lies
        beside them; if there is a file of metadata, which is not read.
    """
    inside = visible_entries(folder)
    classes = [entry.name for entry in folders_in(folder)]
    beside = [entry for entry in inside if not is_folder(entry)]
    passed_over = [entry.path for entry in beside]
    _refuse_metadata(passed_over)
    for entry in beside:
        if _is_image(entry):
            raise ValueError(f"{shown(entry.path)} has no label: every image must be in the sub-folder of its class")
    _refuse_twice(folder, classes)
    _refuse_splits(folder, classes)
    paths: list[str] = []
    labels: list[int] = []
    empty: list[str] = []
    for label, name in enumerate(classes):
        images: list[str] = []
        others: list[str] = []
        for entry in files_below(folder / name):
            (images if _is_image(entry) else others).append(entry.path)
        _refuse_metadata(others)
        paths += sorted(images)
        passed_over += sorted(others)
        labels += [label] * len(images)
        empty += [] if images else [name]
    if not paths:
        raise ValueError(f"{shown(str(folder))} holds neither Parquet files nor sub-folders of images, one for each "
                         "class; archives must be unpacked")  # fmt: skip
    if empty:
        place = shown(str(folder / empty[0]))
        raise ValueError(f"{place} holds no images: every sub-folder of {shown(str(folder))} must be a class")
    return ClassFolders(paths, labels, classes, passed_over)


def _refuse_twice(folder: Path, classes: list[str]) -> None:
    first: dict[str, str] = {}
    for name in classes:
        other = first.setdefault(os.path.realpath(folder / name), name)
        if other != name:
            raise ValueError(f"{shown(str(folder / name))} and {other!r} beside it are the same folder, but an image "
                             "is of one class; remove the link")  # fmt: skip


def _refuse_splits(folder: Path, classes: list[str]) -> None:
    """Raise ValueError if the classes only hold folders of splits, whose images would be merged."""
    splits: list[str] = []
    for name in classes:
        inside = visible_entries(folder / name)
        splits = [entry.name for entry in inside if is_folder(entry)]
        if (
            not splits
            or any(map(_is_image, inside))
            or not all(split_kind(split) and _begins_as_split(split) for split in splits)
        ):
            return
    if splits:
        found, wanted = f"{classes[-1]}/{splits[0]}", f"{splits[0]}/{classes[-1]}"
        raise ValueError(f"{shown(str(folder))} holds splits in its classes, as {shown(found)}; a split must be a "
                         f"folder of classes, as {shown(wanted)}")  # fmt: skip


def _refuse_metadata(paths: list[str]) -> None:
    for path in paths:
        if os.path.basename(path) in METADATA:
            raise ValueError(f"{shown(path)} is not read: the folder of an image is its class. Remove it, or write "
                             "the images to Parquet files with `datasets`, which reads it")  # fmt: skip


# ---------------------------------------------------------------------- splits


def find_files(source: str, split: str) -> Found:
    """Find the Parquet files of a split, or its folder of classes; neither for the id of a data set.

    Splits of a folder are sub-folders or Parquet files with the name of a split. A folder without splits, or a single
    file, is read completely.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    UnknownSplit
        If there are splits, but not this one.
    ValueError
        If sub-folders may be splits or classes.
    """
    path = Path(source)
    if path.is_dir():
        files = _tables(path)
        if (path / split).is_dir() and not _tables(path / split):
            files = []  # stray tables beside the split's folder of images
        if files:
            splits = {file: split_of_file(Path(file), path, split) for file in files}
            chosen = choose_split(source, split, sorted({name for name in splits.values() if name}))
            return Found([file for file in files if splits[file] == chosen], None, chosen)
        folders = _split_folders(path, split)
        chosen = choose_split(source, split, folders)
        return Found([], path / chosen if chosen else path, chosen)
    is_table = path.suffix.lower() == ".parquet"
    if is_table and path.is_file():
        choose_split(source, split, [])
        return Found([source], None, None)
    is_path = source.count("/") > 1 or source.startswith((".", "/", "~")) or is_table
    if path.exists() or is_path or (len(path.parts) > 1 and path.parent.is_dir()):
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        near = get_close_matches(path.name, beside, 1)
        raise FileNotFoundError(
            f"{shown(source)} is neither a folder, a Parquet file nor the id of a data set on the Hub"
            + (f". Did you mean {shown(str(path.parent / near[0]))}?" if near and not path.exists() else "")
        )
    return Found([], None, split)


def _tables(folder: Path) -> list[str]:
    """Parquet files, sorted by path."""
    return sorted(entry.path for entry in files_below(folder) if entry.name.lower().endswith(".parquet"))


def _split_folders(folder: Path, split: str) -> list[str]:
    """Names of the sub-folders that are splits; none if all are classes.

    A class may be called ``train``: sub-folders with the name of a split are splits if there are two of them, or if no
    other folder has images.

    Raises
    ------
    ValueError
        If one sub-folder has the name of a split and holds folders, and others hold images.
    """
    inside = folders_in(folder)
    called = [entry for entry in inside if split_kind(entry.name)]
    names = [entry.name for entry in called]
    if split not in SPLIT_OF:
        return names + [entry.name for entry in inside if entry.name == split and entry.name not in names]
    if not called or len({SPLIT_OF[name.lower()] for name in names if name.lower() in SPLIT_OF}) > 1:
        return names
    others = [entry for entry in inside if entry not in called and any(map(_is_image, files_below(entry.path)))]
    hold_images = all(any(map(_is_image, visible_entries(entry.path))) for entry in called)
    if others and not hold_images:
        raise ValueError(
            f"{shown(str(folder))} holds {names[0]!r}, which may be a split or a class, and {others[0].name!r} with "
            f"images; name the folder of the split itself, {shown(called[0].path)}, or rename the class"
        )
    are_splits = len({split_kind(name) for name in names}) == len(names) and all(map(_begins_as_split, names))
    return [] if hold_images and (others or not are_splits) else names


def _begins_as_split(name: str) -> bool:
    return re.split("[^a-z]", name.lower())[0] in SPLIT_OF
