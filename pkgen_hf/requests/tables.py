"""Score tables available for display, loaded on first use."""

from __future__ import annotations

from collections.abc import Mapping

from ..benchmarks.score_table import ScoreTable
from ..benchmarks.sources import with_package
from ..spaces import SearchSpace


class Tables:
    """Tables of spaces, each read when it is first asked for.

    Parameters
    ----------
    sources
        Parquet file, folder or Hub id by name of the space, beside the tables that come with PyPI packages.

    Attributes
    ----------
    missing : dict of str
        By space, why its table could not be read: its package is not installed.
    """

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources: dict[str, str | None] = {**dict.fromkeys(with_package()), **sources}
        self._tables: dict[str, ScoreTable] = {}
        self.missing: dict[str, str] = {}

    def table(self, space: SearchSpace) -> ScoreTable | None:
        """The space's table; None if there is none, or its package is not installed."""
        name = space.name
        if name not in self._sources or name in self.missing:
            return None
        if name not in self._tables:
            try:
                self._tables[name] = ScoreTable.load(space, self._sources[name])
            except ModuleNotFoundError as error:
                if self._sources[name] is not None:
                    raise
                self.missing[name] = str(error)
                return None
        return self._tables[name]
