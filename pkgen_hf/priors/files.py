"""Files of priors, and the folder of priors of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import shortened, warn
from ..hub.download import PRIORS_FOLDER
from ..spaces import SearchSpace, list_spaces
from .parquet import from_table, read_priors, read_table, save_priors
from .prior import Prior

__all__ = ["FolderPriors", "Priors", "load_folder", "load_priors", "save_priors"]


def load_priors(path: str | Path, spaces: Sequence[SearchSpace] = ()) -> list[Prior]:
    """Read the priors of a Parquet file.

    Parameters
    ----------
    path
        As from `save_priors`.
    spaces
        Spaces of your own that the file may name; those that `list_spaces` has need not be passed.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a table of priors, is of a space or choice that is not known, lacks choices of the space, or
        has values that no prior has, such as a frequency that is no share.
    """
    return [Prior.of(prior) for prior in read_priors(path, spaces)]


class FolderPriors(NamedTuple):
    """The priors of a checkpoint.

    Attributes
    ----------
    priors
        Those of spaces that are known.
    unread
        By the name of its space, each file of a space that is not known here: how many priors, and its content. What
        is saved again takes them along.
    """

    priors: list[Prior]
    unread: dict[str, tuple[int, bytes]]


class Priors(list[Prior]):
    """Priors of a pipeline, with the files of its checkpoint that are of spaces not known here; see `FolderPriors`."""

    def __init__(self, priors: Sequence[Prior] = (), unread: dict[str, tuple[int, bytes]] | None = None) -> None:
        super().__init__(priors)
        for prior in self:
            if not isinstance(prior, Prior):
                raise ValueError(f"priors are a list of Prior objects, got {shortened(prior)}")
        self.unread = dict(unread or getattr(priors, "unread", {}))


def load_folder(folder: str | Path, spaces: Sequence[SearchSpace] = ()) -> FolderPriors:
    """Read the priors of a checkpoint, with a warning for files of spaces that are not known here.

    Parameters
    ----------
    folder
        The checkpoint.
    spaces
        Spaces of your own that it may have priors of.

    Raises
    ------
    ValueError
        If a file is damaged, or `spaces` holds something else.
    """
    if not isinstance(spaces, list | tuple) or not all(isinstance(space, SearchSpace) for space in spaces):
        raise ValueError(f"spaces must be a list of SearchSpace objects, got {shortened(spaces)}")
    known = {*list_spaces(), *(space.name for space in spaces)}
    priors: list[Prior] = []
    unread: dict[str, tuple[int, bytes]] = {}
    for path in sorted((Path(folder) / PRIORS_FOLDER).glob("*.parquet")):
        table = read_table(path)
        names = [name for name in table["space"].unique().to_pylist() if name is not None and name not in known]
        if names:
            unread[names[0]] = (table.group_by(["space", "task"]).aggregate([]).num_rows, path.read_bytes())
        else:
            priors += [Prior.of(prior) for prior in from_table(table, path, spaces)]
    if unread:
        warn(
            f"{folder} has priors of search spaces that are not known here, which are left out: {', '.join(unread)}. "
            f"If they are spaces of your own, pass them: PKGenPipeline.from_pretrained(..., spaces=[...])",
        )
    return FolderPriors(priors, unread)
