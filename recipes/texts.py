"""Documents of text for the recipes: find, read, hold out.

A source is a text file, a folder of text files (a document each), a Parquet file or a folder of them, or the id of a
data set on the Hub (a document a row).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from datasets import Value

from folders import SPLIT_OF, UnknownSplit, choose_split, files_below, shown, split_of_file
from pkgen_hf.errors import unknown
from tables import open_table, table_files

__all__ = ["Texts", "UnknownSplit", "load_texts"]

TABLE, TEXT = ".parquet", (".txt", ".text", ".md")
OTHER_FORMS = (".json", ".jsonl", ".csv", ".tsv", ".gz", ".zst", ".zip", ".bz2", ".xz", ".arrow")
PIECE = 2**20  # characters: longer documents are handed on in pieces, so that the tokens of none fill the memory

LINE = 1_000  # characters of a line that is not broken where text is held out


class Texts:
    """Documents of a source, in order; those without text are left out when they are read.

    Parameters
    ----------
    name
        Name of the source, for messages.
    documents
        ``(documents,)`` strings, read when they are used.
    split
        The split that was read, None if the source has no splits.
    held_out
        Share of the source's own documents that this is, at their end; None if it is all of a source.
    ends
        Whether the last document is whole.
    """

    def __init__(
        self,
        name: str,
        documents: Sequence[str],
        split: str | None = None,
        held_out: float | None = None,
        ends: bool = True,
    ) -> None:
        self.name, self.documents, self.split, self.held_out, self.ends = name, documents, split, held_out, ends

    def pieces(self) -> Iterator[tuple[bool, str]]:
        """All text in order, in pieces that end with a line where they can; True for the first of a document."""
        for document in self.documents:
            begins = True
            while document:
                end = len(document)
                if end > PIECE:
                    end = document.rfind("\n", 0, PIECE) + 1 or PIECE
                yield begins, document[:end]
                document, begins = document[end:], False

    def hold_out(self, share: float) -> tuple[Texts, Texts]:
        """Divide the documents, or a single one at the end of a line or a word: the beginning, and a share of the end.

        Raises
        ------
        ValueError
            If the share is not between 0 and 1, or nothing would be left of one part.
        """
        if not 0 < share < 1:
            raise ValueError(f"--validation_share must be between 0 and 1, got {share}")
        if len(self.documents) > 1:
            cut = len(self.documents) - max(1, round(share * len(self.documents)))
            first, second = self.documents[:cut], self.documents[cut:]
        else:
            text = self.documents[0]
            cut = _end_of_line(text, round((1 - share) * len(text)))
            first, second = [text[:cut]], [text[cut:]]
        if not any(first) or not any(second):
            raise ValueError(f"{self.name} is too short to hold out a share of {share}; give --validation_text")
        ends = len(self.documents) > 1
        return Texts(self.name, first, self.split, ends=ends), Texts(self.name, second, self.split, share)


def _end_of_line(text: str, position: int) -> int:
    """The end of the line at a position, that of the word if the line is long or the last, or the position."""
    for character, kept in (("\n", 1), (" ", 0)):  # a space belongs to the word after it
        found = text.find(character, position, position + LINE)
        if found >= 0 and text[found:].strip():
            return found + kept
    return position


class _Files(Sequence[str]):
    """A document for each file, read when it is used."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> _Files: ...
    def __getitem__(self, index: int | slice) -> str | _Files:
        if isinstance(index, slice):
            return _Files(self.paths[index])
        path = self.paths[index]
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{shown(path)} is not text in UTF-8: {error.reason} at byte {error.start}") from error
        if "\0" in text:
            raise ValueError(f"{shown(path)} is not text: it has a null character at {text.index(chr(0))}")
        return text


class _Rows(Sequence[str]):
    """A document for each row of a memory-mapped data set."""

    def __init__(self, table: Any, column: str, name: str) -> None:
        self.table, self.column, self.name, self.rows = table, column, name, range(len(table))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> _Rows: ...
    def __getitem__(self, index: int | slice) -> str | _Rows:
        if isinstance(index, slice):
            part = copy.copy(self)
            part.rows = self.rows[index]
            return part
        text = self.table[self.rows[index]][self.column]
        if text is None:
            raise ValueError(f"{self.name}, row {self.rows[index]}: the text is missing")
        return str(text)


# ---------------------------------------------------------------------- sources


def load_texts(
    source: str,
    split: str = "train",
    text_column: str = "text",
    config: str | None = None,
    revision: str | None = None,
) -> Texts:
    """Find documents; they are read when they are used.

    Parameters
    ----------
    source
        Text file, Parquet file, folder, or Hub id. A folder is read completely, or if all its files are named for a
        split, or are in folders that are, those of `split`.
    split
        ``"train"``, ``"validation"`` or another name of a split.
    text_column
        Column of Parquet files and data sets.
    config, revision
        Configuration and revision of a data set on the Hub.

    Raises
    ------
    FileNotFoundError
        If there is no such file, folder or data set.
    UnknownSplit
        If it has splits, but not this one.
    ValueError
        For a source without text, or a missing column.
    """
    path = Path(source)
    if path.is_dir():
        files, chosen = _in_folder(source, split)
    elif path.is_file():
        _refuse_other_forms(path)
        files, chosen = [source], choose_split(source, split, [])
    elif path.exists() or source.count("/") > 1 or source.startswith((".", "/", "~")) or path.suffix in (TABLE, *TEXT):
        raise FileNotFoundError(f"{shown(source)} is neither a file, a folder nor the id of a data set on the Hub")
    else:
        files, chosen = [], split
    documents: Sequence[str] = _Files(files)
    if not files or files[0].lower().endswith(TABLE):
        files = [file for file, _ in table_files(source, files, "text")]
        table = open_table(source, files, chosen, config, revision)
        if text_column not in table.features:
            raise unknown(f"column of {source}", text_column, list(table.features))
        feature = table.features[text_column]
        if not (isinstance(feature, Value) and feature.dtype in ("string", "large_string")):
            raise ValueError(f"{source}: column {text_column!r} holds {feature}, not text")
        documents = _Rows(table.select_columns([text_column]), text_column, f"{shown(source)} ({chosen or 'all'})")
    if not any(map(bool, documents)):
        raise ValueError(f"{shown(source)} holds no text")
    return Texts(shown(source), documents, chosen)


def _in_folder(source: str, split: str) -> tuple[list[str], str | None]:
    """Files of a split in a folder, Parquet files or else text files, and the split; None if it has no splits."""
    root, inside = Path(source), sorted(entry.path for entry in files_below(source))
    if files := [file for file in inside if file.lower().endswith(TABLE)]:
        splits = {file: split_of_file(Path(file), root, split) for file in files}
    elif files := [file for file in inside if file.lower().endswith(TEXT)]:
        splits = {file: _split_of_text(Path(file), root, split) for file in files}
        if not all(splits.values()):  # a text may be called "test"
            splits = dict.fromkeys(files)
    else:
        raise ValueError(f"{shown(source)} holds neither Parquet files nor text files ({', '.join(TEXT)})")
    chosen = choose_split(source, split, sorted({name for name in splits.values() if name}))
    return [file for file in files if splits[file] == chosen], chosen


def _split_of_text(file: Path, root: Path, split: str) -> str | None:
    """The split of a text file, whose name or folder of the first level begins with it."""
    first = file.relative_to(root).parts[0]
    word = re.split(r"[^a-z]", first.lower())[0]
    return split if re.match(re.escape(split) + "(?![A-Za-z])", first) else word if word in SPLIT_OF else None


def _refuse_other_forms(path: Path) -> None:
    if path.suffix.lower() in OTHER_FORMS:
        raise ValueError(f"{shown(str(path))} is not a text file; unpack it, or write its text to a Parquet file with "
                         "`datasets`")  # fmt: skip
