"""A zip file as it is made: never whole in memory, and nothing on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from io import RawIOBase
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

PIECE_BYTES = 64 * 1024
_LEVEL = 6
_FIRST_YEAR, _LAST_YEAR = 1980, 2107
"""Of the times that a zip file can hold."""


def zipped(files: Iterable[tuple[str, Iterable[str]]], written_at: datetime) -> Iterator[bytes]:
    """The bytes of a zip file with these texts under these names, all written at this time (UTC).

    A text that fails ends it without its directory, so that nobody takes what came so far for a zip file.
    """
    out = _Gathered()
    with ZipFile(out, "w", ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, pieces in files:
            entry = ZipInfo(name, _time(written_at))
            entry.compress_type, entry.external_attr = ZIP_DEFLATED, 0o644 << 16
            with archive.open(entry, "w", force_zip64=True) as file:
                for piece in pieces:
                    file.write(piece.encode())
                    yield from out.full()
    yield from out.rest()


def _time(moment: datetime) -> tuple[int, int, int, int, int, int]:
    utc = moment.astimezone(UTC)
    year = min(max(utc.year, _FIRST_YEAR), _LAST_YEAR)
    return (year, utc.month, utc.day, utc.hour, utc.minute, utc.second)


class _Gathered(RawIOBase):
    """Holds what was written until it is worth sending; cannot go back, as a connection cannot."""

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        return len(data)

    def full(self) -> Iterator[bytes]:
        """What is held, once it is a piece."""
        if len(self._held) >= PIECE_BYTES:
            yield from self.rest()

    def rest(self) -> Iterator[bytes]:
        """What is held."""
        if self._held:
            yield bytes(self._held)
            self._held.clear()
