"""A zip file that is made while it is sent."""

from __future__ import annotations

import io
import tracemalloc
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from zipfile import BadZipFile, ZipFile

import pytest

from app.web.zip_stream import PIECE_BYTES, zipped

AT = datetime(2026, 11, 22, 1, 2, 4, tzinfo=timezone(timedelta(hours=1)))


def test_what_comes_is_a_zip_file() -> None:
    sent = b"".join(zipped([("m/a.json", ["{", "}"]), ("m/größer.jsonl", ["ä\n" * 5]), ("m/none", [])], AT))
    with ZipFile(io.BytesIO(sent)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name).decode() for name in archive.namelist()} == {
            "m/a.json": "{}",
            "m/größer.jsonl": "ä\n" * 5,
            "m/none": "",
        }
        assert {entry.date_time for entry in archive.infolist()} == {(2026, 11, 22, 0, 2, 4)}
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o644}


@pytest.mark.parametrize("year", [1970, 9999])
def test_a_time_that_no_zip_file_can_hold_breaks_none(year: int) -> None:
    sent = b"".join(zipped([("a", ["x"])], datetime(year, 1, 1, tzinfo=UTC)))
    assert ZipFile(io.BytesIO(sent)).read("a") == b"x"


def test_a_large_file_is_never_whole_in_memory() -> None:
    draw = Random(1)

    def pieces() -> Iterator[str]:
        for _ in range(300):
            yield draw.randbytes(25_000).hex()

    tracemalloc.start()
    sizes = [len(piece) for piece in zipped([("a", pieces())], AT)]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(sizes) > 5_000_000
    assert max(sizes) < 2 * PIECE_BYTES
    assert most < 2_000_000


def test_what_breaks_off_is_no_zip_file() -> None:
    def pieces() -> Iterator[str]:
        yield "x" * 500_000
        raise RuntimeError("it changed")

    sent = bytearray()
    with pytest.raises(RuntimeError, match="it changed"):
        deque(map(sent.extend, zipped([("a", ["y"]), ("b", pieces())], AT)))
    with pytest.raises(BadZipFile):
        ZipFile(io.BytesIO(sent))
