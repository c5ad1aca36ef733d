"""Origins and citations of what cards are about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..spaces import Origin, SearchSpace, get_space, list_spaces
from ..spaces.benchmark import bibtex

PAPER = bibtex(
    "inproceedings",
    "xie2025pgnag",
    "Prior Knowledge Guided Neural Architecture Generation",
    "Xie, Jingrong and Ji, Han and Sun, Yanan",
    "International Conference on Machine Learning",
    2025,
)


def origin_of(space: SearchSpace) -> Origin:
    """Where the measurements of a space come from; ValueError for a space that does not say."""
    if space.origin is None:
        raise ValueError(f"{space.name} has no origin, which the card of its data set names: set its attribute origin")
    return space.origin


def origins_of(spaces: Iterable[str]) -> list[Origin]:
    """Origins of the spaces that are known and have one, each benchmark once."""
    found = (get_space(name).origin for name in spaces if name in list_spaces())
    return list({origin.title: origin for origin in found if origin is not None}.values())


def citations_of(origins: Sequence[Origin]) -> str:
    """BibTeX of the paper and of benchmarks, each entry once."""
    entries = [entry for about in origins for entry in re.split(r"\n(?=@)", about.citation)]
    return "\n".join(dict.fromkeys([PAPER, *entries]))
