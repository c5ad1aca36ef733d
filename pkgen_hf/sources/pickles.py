"""Pickles of plain data, which is all that a benchmark's own files hold; anything else in one is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any


class PlainUnpickler(pickle.Unpickler):
    """Reads pickles of plain containers and NumPy numbers, and refuses every other class or function."""

    _ALLOWED = {("numpy", "dtype"), ("numpy._core.multiarray", "scalar"), ("numpy.core.multiarray", "scalar")}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"a benchmark file asks for {module}.{name}; only plain data is read")
        return super().find_class(module, name)


def read_plain(path: Path) -> Any:
    """What the pickle at `path` holds."""
    with path.open("rb") as file:
        return PlainUnpickler(file).load()
