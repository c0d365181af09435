"""Messages as they travel: a frozen dataclass at both ends, its name and its fields between them.

Our own few lines and not a library's, because an engine child has what its backend's environment has, and msgpack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

T = TypeVar("T")

Plain = Any
"""What msgpack carries: None, numbers, texts, bytes, lists and dicts of them."""

Reader = Callable[[Plain], Any]

_AS_THEY_ARE = frozenset({bytes, str, int, float, bool, NoneType})
"""Types of which a message may hold thousands of values: they are not looked at further."""


def packed(message: object) -> dict[str, Plain]:
    """The message as msgpack carries it; `opened` is its inverse."""
    return {"type": type(message).__name__, **_fields(message)}


class Messages(Generic[T]):
    """The kinds of messages that one end of a socket reads: `FROM_ENGINE: Messages[FromEngine] = Messages(...)`."""

    def __init__(self, *kinds: type[T]) -> None:
        self._kinds: Mapping[str, type[T]] = {kind.__name__: kind for kind in kinds}

    def opened(self, carried: Mapping[str, Plain]) -> T:
        """The message; ValueError where it is none of the kinds, or not as its kind says."""
        name = carried.get("type") if isinstance(carried, Mapping) else None
        kind: Any = self._kinds.get(str(name))
        if kind is None:
            raise ValueError(f"a message of the kind {name!r}")
        message: T = _reader(kind)(carried)
        return message


def _fields(message: object) -> dict[str, Plain]:
    return {item.name: _plain(getattr(message, item.name)) for item in fields(message)}  # type: ignore[arg-type]


def _plain(value: object) -> Plain:
    return value if type(value) in _AS_THEY_ARE else _converted(value)


def _converted(value: object) -> Plain:
    match value:
        case Enum():
            return value.value
        case UUID():
            return str(value)
        case str() | bytes():
            return value
        case tuple() | list() | Sequence():  # the first two cost little to tell
            return [_plain(item) for item in value]
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case _:
            return _fields(value) if is_dataclass(value) else value


@cache
def _reader(hint: Any) -> Reader:
    """What turns a carried value into one of this type."""
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if origin in {Union, UnionType}:
        return _optional([kind for kind in inner if kind is not NoneType])
    if origin is tuple and inner[1:] != (...,):
        return _row([_reader(kind) for kind in inner])
    return _reader_of_class(origin, inner) if isinstance(origin, type) else _same


def _reader_of_class(kind: type, inner: tuple[Any, ...]) -> Reader:
    if is_dataclass(kind):
        return _reader_of(kind)
    if issubclass(kind, Enum | UUID):
        return kind
    if issubclass(kind, Mapping) and inner:
        return _mapping(_reader(inner[1]))
    if issubclass(kind, Sequence) and inner:
        return _row_of(_reader(inner[0]))
    return _same


def _reader_of(kind: type) -> Reader:
    """Fields that are not there have their defaults; more than there are do no harm."""
    hints = get_type_hints(kind)
    readers = {item.name: _reader(hints[item.name]) for item in fields(kind)}

    def read(carried: Plain) -> Any:
        try:
            known = {name: readers[name](value) for name, value in carried.items() if name in readers}
            return kind(**known)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"no {kind.__name__}: {error}") from error

    return read


def _optional(kinds: Sequence[Any]) -> Reader:
    """None, or the one kind; of several plain ones whichever came."""
    read = _reader(kinds[0]) if len(kinds) == 1 else _same
    return read if read is _same else lambda value: None if value is None else read(value)


def _row(readers: Sequence[Reader]) -> Reader:
    if all(read is _same for read in readers):
        return lambda values: _of_length(len(readers), values)
    return lambda values: tuple(read(value) for read, value in zip(readers, values, strict=True))


def _of_length(length: int, values: Sequence[Plain]) -> tuple[Plain, ...]:
    if len(values) != length:
        raise ValueError(f"{len(values)} values where {length} belong")
    return tuple(values)


def _row_of(read: Reader) -> Reader:
    return tuple if read is _same else lambda values: tuple(map(read, values))


def _mapping(read: Reader) -> Reader:
    return _same if read is _same else lambda values: {key: read(value) for key, value in values.items()}


def _same(value: Plain) -> Plain:
    return value
