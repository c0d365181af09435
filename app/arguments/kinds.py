"""Kinds of values, read as lm-eval's string arguments type them: `"5"` is 5 and `"True"` is true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from reprlib import Repr
from typing import Any

from app.arguments.syntax import read_value

MOST_SHOWN = 80
MOST_BITS = 1000


@dataclass(frozen=True)
class Kind:
    """A kind of value: what it is in words, and how one is read; ValueError or TypeError for any other."""

    says: str
    read: Callable[[Any], Any]
    allowed: tuple[str, ...] | None = None


def whole(least: int, most: int = 2**31 - 1) -> Kind:
    """A whole number; 5.0 is one."""

    def read(value: Any) -> int:
        number = _number(value)
        if number != int(number) or not least <= number <= most:
            raise ValueError
        return int(number)

    return Kind(f"a whole number from {least} to {most}", read)


def number(least: float, most: float | None = None, *, above: bool = False) -> Kind:
    """A number; with `above` not the least one itself."""

    def read(value: Any) -> int | float:
        found = _number(value)
        if found < least or (above and found == least) or (most is not None and found > most):
            raise ValueError
        return found

    bound = f"a number {'above' if above else 'of at least'} {least}"
    return Kind(bound if most is None else f"{bound} and at most {most}", read)


def _number(value: Any) -> int | float:
    found = read_value(value) if isinstance(value, str) else value
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise TypeError
    if not isfinite(found):
        raise ValueError
    return found


def _switch(value: Any) -> bool:
    found = read_value(value) if isinstance(value, str) else value
    if found not in (True, False):
        raise ValueError
    return bool(found)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError
    return value


def one_of(*names: str) -> Kind:
    """One of these texts."""

    def read(value: Any) -> str:
        if value not in names:
            raise ValueError
        return str(value)

    return Kind("one of those allowed", read, names)


def either(*kinds: Kind) -> Kind:
    """The first of these that it is."""

    def read(value: Any) -> Any:
        for kind in kinds:
            try:
                return kind.read(value)
            except (ValueError, TypeError, OverflowError):
                continue
        raise ValueError

    allowed = tuple(name for kind in kinds for name in kind.allowed or ())
    return Kind(" or ".join(kind.says for kind in kinds), read, allowed or None)


def listed(kind: Kind, most: int) -> Kind:
    """A list of these."""

    def read(value: Any) -> list[Any]:
        if not isinstance(value, list) or len(value) > most:
            raise ValueError
        return [kind.read(item) for item in value]

    return Kind(f"a list of at most {most}, each {kind.says}", read)


SWITCH = Kind("true or false", _switch, ("true", "false"))
TEXT = Kind("a line of text", _text)


def reading(kind: Kind, value: Any) -> tuple[Any, str | None]:
    """The value as lm-eval would have it, and what is wrong with it; None for nothing."""
    try:
        return kind.read(value), None
    except (ValueError, TypeError, OverflowError):
        return value, f"must be {kind.says}, not {shown(value)}"


def shown(value: object) -> str:
    """A value in an error's words, cut where it is long; no more of it is looked at."""
    match value:
        case int():
            text = repr(value) if value.bit_length() <= MOST_BITS else "a whole number of very many digits"
        case str():
            text = repr(value[: MOST_SHOWN + 1])
        case _:
            text = _SHOWN.repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


class _Short(Repr):
    """Beginnings only, of nests too."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = MOST_SHOWN // 4
        self.maxstring = self.maxother = self.maxlong = MOST_SHOWN * 2

    def repr_int(self, x: int, _: int) -> str:
        return shown(x)


_SHOWN = _Short()
