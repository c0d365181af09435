"""A shell's `$((...))` over whole numbers, reckoned here: no shell is asked."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

MOST_CHARACTERS = 100
MOST_NUMBER = 2**63 - 1
_TOKEN = re.compile(r"\s*(?:(\d+)|\$?(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})|(<<|>>|\*\*|[-+*/%()]))")
_SUMS: dict[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub}
_PRODUCTS: dict[str, Callable[[int, int], int]] = {
    "*": operator.mul,
    "/": lambda left, right: abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1),
    "%": lambda left, right: abs(left) % abs(right) * (-1 if left < 0 else 1),
}
"""Quotients are cut towards zero, as a shell's are."""


class NoNumberError(ValueError):
    """What stands in `$((...))` is no whole number here; the message says why."""


def reckoned(text: str, value_of: Callable[[str], str | None]) -> int:
    """The number that an expression of sums, products and brackets stands for; NoNumberError says why there is none."""
    if len(text) > MOST_CHARACTERS:
        raise NoNumberError(f"has more than {MOST_CHARACTERS} characters")
    reckoning = _Reckoning(_tokens(text, value_of))
    number = reckoning.sum()
    if reckoning.left:
        raise NoNumberError("is more than sums, products and brackets of whole numbers")
    return number


def _tokens(text: str, value_of: Callable[[str], str | None]) -> list[int | str]:
    tokens: list[int | str] = []
    at, text = 0, text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            raise NoNumberError("is more than sums, products and brackets of whole numbers")
        name = found[2] or found[3]
        tokens.append(_named(name, value_of) if name else found[4] or _number(found[1]))
        at = found.end()
    return tokens


def _named(name: str, value_of: Callable[[str], str | None]) -> int:
    value = value_of(name)
    if value is None:
        raise NoNumberError(f"${name} has no value here")
    return _number(value.strip())


def _number(text: str) -> int:
    """A plain whole number; a leading 0 would make it octal."""
    if not re.fullmatch(r"-?(?:0|[1-9][0-9]{0,17})", text):
        raise NoNumberError("holds what is no plain whole number")
    return int(text)


class _Reckoning:
    def __init__(self, tokens: list[int | str]) -> None:
        self.left = tokens[::-1]

    def sum(self) -> int:
        return self._chain(_SUMS, self._product)

    def _product(self) -> int:
        return self._chain(_PRODUCTS, self._single)

    def _chain(self, steps: dict[str, Callable[[int, int], int]], part: Callable[[], int]) -> int:
        number = part()
        while self.left and (step := steps.get(str(self.left[-1]))):
            self.left.pop()
            try:
                number = step(number, part())
            except ZeroDivisionError:
                raise NoNumberError("divides by 0") from None
            if abs(number) > MOST_NUMBER:
                raise NoNumberError("is too large a number")
        return number

    def _single(self) -> int:
        token = self.left.pop() if self.left else None
        match token:
            case int():
                return token
            case "-":
                return -self._single()
            case "+":
                return self._single()
            case "(":
                number = self.sum()
                if (self.left.pop() if self.left else None) == ")":
                    return number
        raise NoNumberError("is more than sums, products and brackets of whole numbers")
