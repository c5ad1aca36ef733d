"""Match the classes of images with those of a network, by name.

A network names its classes in its configuration (``id2label``), a data set in its schema or by its folders. Numbers do
not count as names: neither ``LABEL_0``, transformers' default, nor the plain integers of a table. If one side has no
names, classes are matched by number.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from transformers import PretrainedConfig

from pkgen_hf.errors import unknown

SHOWN = 10  # names of classes in a message
NAME, NUMBER = "name", "number"


class Match(NamedTuple):
    """The classes of images among those of a network.

    Attributes
    ----------
    indices
        Number of each class of the images in the network; None if the network has no such class.
    names
        Names of the network's classes, to match other images of the same training with.
    by
        ``"name"`` or ``"number"``.
    """

    indices: list[int | None]
    names: list[str]
    by: str


def classes_of(config: PretrainedConfig) -> list[str]:
    """Names of a network's classes, in their order.

    Raises
    ------
    ValueError
        If a class has no name.
    """
    names: dict[Any, str] = config.id2label or {}
    missing = next((index for index in range(len(names)) if index not in names), None)
    if missing is not None:
        raise ValueError(f"id2label of the network names no class {missing}; its classes are 0 to {len(names) - 1}")
    return [str(names[index]) for index in range(len(names))]


def name_classes(config: PretrainedConfig, names: Sequence[str]) -> None:
    """Name a network's classes."""
    config.update({"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}})


def without_names(number: int) -> list[str]:
    """Default names of classes in transformers."""
    return [f"LABEL_{index}" for index in range(number)]


def are_numbers(names: Sequence[str]) -> bool:
    """Whether all names are numbers."""
    return all(name.isdecimal() for name in names)


def has_names(network: Sequence[str]) -> bool:
    """Whether a network names its classes."""
    return list(network) != without_names(len(network)) and not are_numbers(network)


def match(source: str, classes: Sequence[str], named: bool, network: Sequence[str], by_number: bool = False) -> Match:
    """Match the classes of images with those of a network.

    Parameters
    ----------
    source
        Name of the images' source, for messages.
    classes
        Classes of the images.
    named
        Whether the source names its classes; if not, they are the numbers of its labels.
    network
        Names of the network's classes, as from `classes_of`.
    by_number
        Match by number if both sides have names and none coincide.

    Raises
    ------
    ValueError
        If no names coincide and `by_number` is not set; if the network has a name twice.
    """
    names = list(network)
    are_both_numbers = are_numbers(classes) and are_numbers(names)
    coincide = bool(set(classes) & set(names))
    if not named and not are_both_numbers:
        return Match(_numbers([int(name) for name in classes], len(names)), names, NUMBER)
    if named and not are_both_numbers and (not has_names(names) or (by_number and not coincide)):
        if are_numbers(classes):  # of folders in alphabetical order, where 10 comes before 2
            return _match_numbers(source, classes, len(names))
        return Match(_numbers(range(len(classes)), len(names)), list(classes), NUMBER)
    if named and not coincide and not are_both_numbers and len(classes) == len(names):
        raise ValueError(
            f"no class of {source} is one of the network's by its name: the first is {classes[0]!r} here and "
            f"{names[0]!r} in the network; if both have the same order, give --labels_by_number"
        )
    if named and not coincide:
        raise unknown_class(source, classes[0], names)
    twice = next((name for name in classes if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"the network has several classes {twice!r}, so that labels cannot be matched by name")
    index = {name: number for number, name in enumerate(names)}
    return Match([index.get(name) for name in classes], names, NAME)


def _match_numbers(source: str, classes: Sequence[str], number: int) -> Match:
    """Match classes whose names are their numbers."""
    indices = [int(name) for name in classes]
    for name, index in zip(classes, indices, strict=True):
        if index >= number:
            raise ValueError(f"class {name} of {source} is out of range; the network has {number} classes, from 0")
        if indices.count(index) > 1:
            raise ValueError(f"{source} has several classes with the number {index}")
    called = dict(zip(indices, classes, strict=True))
    return Match(list(indices), [called.get(index, str(index)) for index in range(number)], NUMBER)


def _numbers(positions: Iterable[int], number: int) -> list[int | None]:
    return [position if position < number else None for position in positions]


def check_number(source: str, classes: Sequence[str], network: Sequence[str]) -> None:
    """Raise ValueError unless images and network have equally many classes, if they are matched by number."""
    if not are_numbers(classes) and len(classes) != len(network):
        raise ValueError(f"{source} has {len(classes)} classes, the network has {len(network)}")


def numbers_of(network: Sequence[str]) -> str:
    """The range of a network's classes, for messages."""
    called = f", {network[0]} to {network[-1]}" if are_numbers(network) else ""
    return f"the network has {len(network)} classes{called}"


def unknown_class(source: str, name: str, network: Sequence[str]) -> ValueError:
    """The error for a class that the network does not have; of many names it shows the nearest and a few."""
    shown = list(network)
    if len(shown) > SHOWN:
        near = difflib.get_close_matches(name, network, 1)
        shown = [*near, *shown[: SHOWN - 1], "..."]
    return unknown(f"class of {source}", name, shown)
