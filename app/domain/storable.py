"""What can be kept: JSON as Postgres stores it, with numbers that reach children as msgpack.

`unstorable` tells a user what of a job cannot be; `storable` makes anything so that comes from task code and engines.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from numbers import Integral, Real
from typing import Any

from app.errors import FaultyField

MAX_DEPTH = 32
INT64 = range(-(2**63), 2**63)

DEEPEST = 100
"""A value nested deeper is cut there: Postgres and readers of JSON give up at some depth, each at its own."""

MOST_NAME = 300
"""Characters of a field's name."""
_WITH_PARTS = (dict, list, tuple)
_NO_CHARACTERS = re.compile("[\x00\ud800-\udfff]")


def storable(value: Any, depth: int = 0) -> Any:
    """The same as JSON that every reader holds; never raises.

    NaN and infinities are None, whole numbers of more than 64 bits the nearest float, NUL and half surrogate pairs
    U+FFFD, names text, and what JSON does not have is its own text.
    """
    match value:
        case Mapping() | list() | tuple() | AbstractSet() if depth == DEEPEST:
            return f"[nested more than {DEEPEST} levels deep]"
        case Mapping():
            return {_name(key): storable(item, depth + 1) for key, item in value.items()}
        case list() | tuple() | AbstractSet():
            return [storable(item, depth + 1) for item in value]
        case _:
            return _storable_leaf(value)


def _storable_leaf(value: Any) -> bool | int | float | str | None:
    match value:
        case None | bool():
            return value
        case Integral() if int(value) in INT64:
            return int(value)
        case Real():
            return _nearest(value)
        case str():
            return storable_text(value)
        case _:
            return _shown(value)


def storable_text(text: str) -> str:
    """The text with U+FFFD for what is no character to Postgres: NUL, and half a surrogate pair."""
    return _NO_CHARACTERS.sub("\ufffd", text)


def is_storable(text: str) -> bool:
    """Whether it can be kept as it is."""
    return _NO_CHARACTERS.search(text) is None


def to_json(value: Any) -> str:
    """Any value as the text of a JSON column."""
    return json.dumps(storable(value), allow_nan=False)


def _nearest(number: Any) -> float | None:
    try:
        nearest = float(number)
    except OverflowError:
        return None
    return nearest if math.isfinite(nearest) else None


def _name(key: Any) -> str:
    """As json.dumps names what is no text."""
    if key is None or isinstance(key, bool):
        return json.dumps(key)
    return storable_text(key) if isinstance(key, str) else _shown(key)


def _shown(value: Any) -> str:
    try:
        return storable_text(str(value))
    except Exception:  # noqa: BLE001 - any class may fail to say what it is
        return f"<{type(value).__name__}>"


def unstorable(value: Any, path: str, depth: int = 0) -> Iterator[FaultyField]:
    """A fault for every part that cannot be kept, and for nests and names that no job has.

    Paths are written where they are needed only: a body has a hundred thousand parts.
    """
    if not isinstance(value, _WITH_PARTS):
        if wrong := _wrong(value):
            yield FaultyField(path, wrong)
        return
    if depth == MAX_DEPTH:
        yield FaultyField(path, f"is nested more than {MAX_DEPTH} levels deep")
        return
    for step, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(value, dict) and (wrong := _wrong_name(step)):
            yield FaultyField(path, wrong)
        if isinstance(item, _WITH_PARTS):
            yield from unstorable(item, below(path, _step(step)), depth + 1)
        elif wrong := _wrong(item):
            yield FaultyField(below(path, _step(step)), wrong)


def _wrong(value: Any) -> str | None:
    """What keeps a value without parts from being kept."""
    match value:
        case None | bool():
            return None
        case str():
            return None if is_storable(value) else "holds a NUL character or half a surrogate pair"
        case int():
            return None if value in INT64 else "is a whole number of more than 64 bits"
        case float():
            return None if math.isfinite(value) else "is not a finite number"
        case _:
            return f"is {type(value).__name__}, which JSON does not have"


def _wrong_name(key: Any) -> str | None:
    if not isinstance(key, str):
        return f"has the name {_shown(key)[:MOST_NAME]}, and names must be text"
    return f"has a name of more than {MOST_NAME} characters" if len(key) > MOST_NAME else _wrong(key)


def _step(key: Any) -> str:
    """A name or a number as part of a path."""
    return _shown(key)[:MOST_NAME].encode(errors="replace").decode()


def below(path: str, step: object) -> str:
    """The path of a part."""
    return f"{path}.{step}" if path else str(step)
