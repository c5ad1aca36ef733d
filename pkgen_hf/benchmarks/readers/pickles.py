"""Pickles of plain data, which is all that a benchmark's own files hold; anything else in one is refused."""

from __future__ import annotations

import bz2
import pickle
import zipfile
from pathlib import Path
from typing import IO, Any

_PLAIN = {
    ("collections", "OrderedDict"),
    ("numpy", "dtype"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.multiarray", "scalar"),
}


def _bytes(text: str, encoding: str) -> bytes:
    """What pickles of protocol 2 and before call to make bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}; only plain data is read")
    return text.encode("latin1")


class PlainUnpickler(pickle.Unpickler):
    """Reads pickles of plain containers and NumPy numbers, and refuses every other class or function."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return _bytes
        if (module, name) not in _PLAIN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}; only plain data is read")
        return super().find_class(module, name)


def load_plain(file: IO[bytes], where: str | Path) -> Any:
    """The next object of an open pickle; ValueError, naming `where`, if it is damaged or not of plain data."""
    try:
        return PlainUnpickler(file).load()
    except Exception as error:  # damaged pickles raise nearly anything
        raise ValueError(f"{where} could not be read as a pickle of plain data: {error}") from error


def read_plain(path: Path) -> Any:
    """What the pickle at `path` holds, whether compressed by bz2 (``.pbz2``) or not."""
    with bz2.open(path) if path.suffix == ".pbz2" else path.open("rb") as file:
        content = load_plain(file, path)
        try:
            file.read(1)  # to the end of the compressed stream, whose checksum is last
        except (EOFError, OSError) as error:
            raise ValueError(f"{path} is truncated or damaged: {error}") from error
        return content


def read_torch_zip(path: Path) -> Any:
    """What ``torch.save`` wrote to `path`, a zip archive, if there are no tensors in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.rsplit("/", 1)[-1] == "data.pkl"]
            if len(names) != 1:
                raise ValueError(f"{path} is a zip archive but not one that torch.save writes: it has no data.pkl")
            with archive.open(names[0]) as file:
                return load_plain(file, path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is truncated or not a zip archive as torch.save writes: {error}") from error
