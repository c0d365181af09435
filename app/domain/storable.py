"""What can be kept: JSON as Postgres stores it, with numbers that reach children as msgpack."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from app.errors import FaultyField

MAX_DEPTH = 32
INT64 = range(-(2**63), 2**63)


def unstorable(value: Any, path: str, depth: int = 0) -> Iterator[FaultyField]:
    """A fault for every part that cannot be kept, and for nests that no job has."""
    match value:
        case Mapping() | list() | tuple() if depth == MAX_DEPTH:
            yield FaultyField(path, f"is nested more than {MAX_DEPTH} levels deep")
        case Mapping():
            for key, item in value.items():
                yield from _unstorable_name(key, path)
                shown = str(key).encode(errors="replace").decode()
                yield from unstorable(item, below(path, shown), depth + 1)
        case list() | tuple():
            for index, item in enumerate(value):
                yield from unstorable(item, below(path, index), depth + 1)
        case _:
            if wrong := _wrong(value):
                yield FaultyField(path, wrong)


def _wrong(value: Any) -> str | None:
    """What keeps a value without parts from being kept."""
    match value:
        case None | bool():
            return None
        case str():
            broken = any(char == "\x00" or "\ud800" <= char <= "\udfff" for char in value)
            return "holds a NUL character or half a surrogate pair" if broken else None
        case int():
            return None if value in INT64 else "is a whole number of more than 64 bits"
        case float():
            return None if math.isfinite(value) else "is not a finite number"
        case _:
            return f"is {type(value).__name__}, which JSON does not have"


def _unstorable_name(key: Any, path: str) -> Iterator[FaultyField]:
    wrong = _wrong(key) if isinstance(key, str) else f"has the name {key!r}, and names must be text"
    if wrong:
        yield FaultyField(path, wrong)


def below(path: str, step: object) -> str:
    """The path of a part."""
    return f"{path}.{step}" if path else str(step)
