"""Files of a folder, and splits recognised by the names of files and folders, as `datasets` does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from pkgen_hf.errors import unknown

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SPLIT_OF = {word: split for split, words in SPLITS.items() for word in words}


class UnknownSplit(ValueError):
    """The source has splits, but not this one."""


def shown(path: str) -> str:
    """A path on one line."""
    return path if path.isprintable() else repr(path)


def visible_entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """Entries of a folder that are not hidden, sorted by name."""
    with os.scandir(folder) as entries:
        inside = [entry for entry in entries if not entry.name.startswith(".") and entry.name != "__MACOSX"]
    return sorted(inside, key=lambda entry: entry.name)


def files_below(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """Visible files of a folder and of all folders below it; links to a parent folder are not followed."""
    waiting: list[tuple[str, tuple[str, ...]]] = [(str(folder), (os.path.join(os.path.realpath(folder), ""),))]
    while waiting:
        here, above = waiting.pop()
        for entry in visible_entries(here):
            target = os.path.join(os.path.realpath(entry.path), "") if is_folder(entry) else None
            if target is None:
                yield entry
            elif not any(place.startswith(target) for place in above):
                waiting.append((entry.path, (*above, target)))


def is_folder(entry: os.DirEntry[str]) -> bool:
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()  # the latter fails on a link to itself


def folders_in(folder: str | Path) -> list[os.DirEntry[str]]:
    """Visible folders in a folder, without links to itself or to a parent."""
    here = os.path.join(os.path.realpath(folder), "")
    inside = [entry for entry in visible_entries(folder) if is_folder(entry)]
    return [entry for entry in inside if not here.startswith(os.path.join(os.path.realpath(entry.path), ""))]


def _split_word(name: str) -> str | None:
    """The word in a name that denotes a split, such as ``val``; None if there is none, or words of two splits."""
    words = [word for word in re.findall("[a-z]+", name.lower()) if word in SPLIT_OF]
    return words[0] if len({SPLIT_OF[word] for word in words}) == 1 else None


def split_kind(name: str) -> str | None:
    """The split that a name denotes: train, validation or test."""
    return SPLIT_OF.get(_split_word(name) or "")


def choose_split(source: str, split: str, there: list[str]) -> str | None:
    """Match a split with those that a source has; None if it has none."""
    if split in there:
        return split
    kind = SPLIT_OF.get(split)
    alike = [name for name in there if kind and split_kind(name) == kind]
    if len(alike) == 1:
        return alike[0]
    if not there and kind:
        return None
    if not there:
        raise UnknownSplit(f"{shown(source)} has no splits, hence none called {split!r}")
    raise UnknownSplit(unknown(f"split of {shown(source)}", split, there))


def split_of_file(file: Path, root: Path, split: str) -> str | None:
    """The split of a Parquet file, by its name or by the names of its folders."""
    for name in (file.stem, *reversed(file.relative_to(root).parent.parts)):
        if re.match(re.escape(split) + "(?![A-Za-z])", name):
            return split
        if word := _split_word(name):
            return word
    return None
