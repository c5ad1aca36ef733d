"""TFRecord files without TensorFlow: framed records with checksums.

A record is its length (8 bytes, little-endian), the length's checksum (4), the data, and their checksum (4). A
checksum is the CRC-32C, rotated right by 15 bits, plus 0xA282EAD8.
"""

from __future__ import annotations

import mmap
import struct
from array import array
from pathlib import Path

import numpy as np


def _table() -> np.ndarray:
    """CRC-32C (Castagnoli) of each byte, ``uint32 (256,)``."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(0x82F63B78), table >> 1)
    return table


_CRC = _table()


def checksums(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Masked checksums of pieces of `data`, ``uint32 (pieces,)``.

    Parameters
    ----------
    data
        ``uint8 (bytes,)``
    starts, lengths
        Of the pieces, ``int64 (pieces,)``.
    """
    order = np.argsort(-lengths, kind="stable")  # those that go on are then the first ones
    starts, lengths = starts[order], lengths[order]
    state = np.full(len(starts), 0xFFFFFFFF, dtype=np.uint32)
    longer = np.searchsorted(-lengths, -np.arange(lengths[0] if len(lengths) else 0))  # pieces longer than each place
    for place, count in enumerate(longer.tolist()):
        byte = data[starts[:count] + place]
        state[:count] = _CRC[(state[:count] ^ byte) & 0xFF] ^ (state[:count] >> 8)
    state ^= np.uint32(0xFFFFFFFF)
    masked = np.empty_like(state)
    masked[order] = (state >> 15 | state << 17) + np.uint32(0xA282EAD8)
    return masked


class RecordFile:
    """The records of a file, which is mapped into memory and not read as a whole.

    Raises
    ------
    ValueError
        If the file is empty, or ends within a record, as truncated and foreign files do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.stat().st_size == 0:
            raise ValueError(f"{path} is empty, not a TFRecord file")
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        starts, lengths = array("q"), array("q")
        at, size = 0, len(self._bytes)
        while at < size:
            length = struct.unpack_from("<Q", self._bytes, at)[0] if at + 12 <= size else size
            if at + 16 + length > size:
                raise ValueError(f"{path} is truncated or not a TFRecord file: record {len(starts)} goes past its end")
            starts.append(at + 12)
            lengths.append(length)
            at += 16 + length
        self._data = np.frombuffer(self._bytes, dtype=np.uint8)
        self._starts, self._lengths = np.frombuffer(starts, np.int64), np.frombuffer(lengths, np.int64)

    def __len__(self) -> int:
        return len(self._starts)

    def read(self, first: int, last: int) -> list[bytes]:
        """Records `first` to `last`, the latter excluded; ValueError if one does not have its checksum."""
        starts, lengths = self._starts[first:last], self._lengths[first:last]
        sizes = np.full_like(lengths, 8)
        for at, pieces, which in [(starts - 12, sizes, "length"), (starts, lengths, "data")]:
            places = (at + pieces)[:, None] + np.arange(4)
            written = np.ascontiguousarray(self._data[places]).view("<u4")[:, 0]
            wrong = np.flatnonzero(checksums(self._data, at, pieces) != written)
            if len(wrong):
                raise ValueError(
                    f"{self.path} is damaged: the {which} of record {first + wrong[0]} has another checksum"
                )
        return [self._bytes[a : a + n] for a, n in zip(starts.tolist(), lengths.tolist(), strict=True)]
