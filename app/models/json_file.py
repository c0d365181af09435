"""JSON that somebody else wrote: read no further than such a file ever goes, and told in words where it is none."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

MOST_BYTES = 10_000_000
"""Of a configuration; the largest that models have is a hundredth of it."""


class NoJsonObjectError(Exception):
    """Why there is no JSON object: words that go on from the file's name."""


def read_object(path: Path, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """The object in a file; NoJsonObjectError where there is none, FileNotFoundError where there is no file.

    A pipe or a device in its place is not waited for.
    """
    try:
        text = _text(path, most_bytes)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise NoJsonObjectError(f"cannot be read: {error.strerror}") from None
    return object_in(text)


def object_in(text: bytes) -> dict[str, Any]:
    """The object that a text is."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NoJsonObjectError(f"is not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise NoJsonObjectError("holds no JSON object")
    return found


def _text(path: Path, most_bytes: int) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise NoJsonObjectError("is no file")
        text = file.read(most_bytes + 1)
    if len(text) > most_bytes:
        raise NoJsonObjectError(f"has more than {most_bytes:,} bytes, which no such file has")
    return text
