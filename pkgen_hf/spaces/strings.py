"""The strings in which a benchmark writes its architectures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ..errors import shortened, unknown
from .cost_effects import Costs
from .literals import literal, read_bare

FEW_NAMES = 8  # that an error lists one by one


class Strings(Costs):
    """Reading and writing strings; where a space says nothing else, names of choices with ``|`` between them."""

    def from_strings(self, strings: Sequence[str]) -> torch.Tensor:
        """Read the benchmark's own strings, also with white space or quotes around them.

        Returns
        -------
        LongTensor (batch, slots)

        Raises
        ------
        ValueError
            For what is no text, or a string that is none of this space; it says which part is wrong and what is
            allowed.
        """
        rows = [read_bare(text, self._row) for text in self._as_texts(strings)]
        return torch.tensor(rows, dtype=torch.long, device="cpu").reshape(len(rows), self.num_slots)

    def _as_texts(self, strings: Sequence[str]) -> list[str]:
        """`strings` as a list; ValueError if they are not texts."""
        if isinstance(strings, (str, bytes)) or not isinstance(strings, Iterable):
            raise ValueError(f"{self.name} strings are read from a list of them, got {shortened(strings)}")
        texts = list(strings)
        for text in texts:
            if not isinstance(text, str):
                kind = type(text).__name__
                raise ValueError(f"a {self.name} string is text (str), got {shortened(text)} of type {kind}")
        return texts

    def _row(self, text: str) -> list[int]:
        """Choices of one string."""
        row = []
        for slot, index, name in zip(self.slots, self.choice_index, self.split_string(text), strict=True):
            known = name if name in index else name.strip()
            if known not in index:
                raise unknown(f"choice in slot {slot.name!r} of {self.name}", name, index, text)
            row.append(index[known])
        return row

    def to_strings(self, indices: torch.Tensor) -> list[str]:
        """Write the benchmark's own strings for ``LongTensor (batch, slots)``."""
        names = self.choice_names[np.arange(self.num_slots)[None, :], indices.cpu().numpy()]
        return self.join_names(names).tolist()

    def split_string(self, text: str) -> list[str]:
        """Choice names, one for each slot, of one string."""
        names = text.split("|")
        if len(names) != self.num_slots:
            raise self.malformed(text, f"{len(names)} choices between |, not {self.num_slots}")
        return names

    def join_names(self, names: np.ndarray) -> np.ndarray:
        """Strings, object array (batch,), from choice names (batch, slots)."""
        return join_columns(names, ["", *["|"] * (self.num_slots - 1)], "")

    @cached_property
    def example(self) -> str:
        """The string of a valid architecture: of the last choices if they are one, else of a sample."""
        rows = torch.cat([self.drawn_sizes[None] - 1, self.sample(64, torch.Generator().manual_seed(0))])
        return self.to_strings(rows[self.is_valid(rows)][:1])[0]

    def malformed(self, text: str, reason: str = "") -> ValueError:
        """The error for a string that is not of this space's form, with the reason first."""
        start = f"{reason}: " if reason else ""
        article = "an" if self.name[0] in "aeio" else "a"
        return ValueError(
            f"{start}{shortened(text)} is not {article} {self.name} string; one looks like "
            f"{shortened(self.example, 120)}"
        )

    def _literal(self, text: str) -> Any:
        """The value that `text` writes, in JSON or as Python does; the error of `malformed` if it writes none."""
        try:
            return literal(text)
        except ValueError as error:
            raise self.malformed(text, str(error)) from error

    def _decisions(self, text: str, names: Sequence[str], others: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The values of the JSON object of just these `names` that `text` writes, by name.

        Where all names are those of `others`, the names that stand there for these, they are translated. The error of
        `malformed` for anything else.
        """
        values = self._literal(text)
        if not isinstance(values, dict):
            raise self.malformed(text, "it is no object of names and values")
        if others is not None and values.keys() == others.keys():
            values = {others[name]: value for name, value in values.items()}
        if values.keys() != set(names):
            name = next(name for name in (*names, *values) if name not in values or name not in names)
            wrong = f"{shortened(name)} is {'missing' if name in names else 'not one of them'}"
            known = ", ".join(names) if len(names) <= FEW_NAMES else f"{names[0]} to {names[-1]}"
            raise self.malformed(text, f"the names are {known}: {wrong}")
        return values

    def _list(self, text: str, name: str, value: Any, *lengths: int, longer: bool = False) -> list[Any]:
        """A value that is a list of one of these lengths, or of more values; else the error of `malformed`."""
        if not isinstance(value, list):
            raise self.malformed(text, f"{name} is no list")
        if len(value) not in lengths and not (longer and len(value) > max(lengths)):
            allowed = " or ".join(map(str, lengths)) + " or more" * longer
            raise self.malformed(text, f"{name} has {len(value)} entries, not {allowed}")
        return value

    def _numbers(self, text: str) -> list[str]:
        """Decimals of a list of whole numbers."""
        value = self._literal(text)
        if not (isinstance(value, list) and all(type(number) is int for number in value)):
            raise self.malformed(text, "it is no list of whole numbers")
        return [str(number) for number in value]


def join_columns(names: np.ndarray, before: Sequence[str], end: str) -> np.ndarray:
    """Join object columns of `names` with the text `before` each, and `end`."""
    text = before[0] + names[:, 0]
    for column in range(1, names.shape[1]):
        text = text + before[column] + names[:, column]
    return text + end
