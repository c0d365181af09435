"""Text that others wrote, for terminals and logs: nothing in it drives the one or forges a line of the other."""

from __future__ import annotations

import re

_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of a line
    r"\u2028\u2029"  # lines to some readers
    r"\ud800-\udfff]"  # no character to any terminal
)
_LINES = {"\n": r"\n", "\t": r"\t"}


def visible(text: str) -> str:
    r"""The text with every control character but newline and tab written out, as `\u001b`.

    A carriage return is a newline. What was JSON is the same JSON: there such characters stand in strings alone.
    """
    return _UNSEEN.sub(_written_out, text.replace("\r\n", "\n").replace("\r", "\n"))


def one_line(text: str) -> str:
    r"""The same in one line: newlines and tabs are written out too."""
    return "".join(_LINES.get(character, character) for character in visible(text))


def hanging(text: str, indent: int = 2) -> str:
    """The same with its further lines under the first, so that none of them passes for a line of ours."""
    return visible(text).replace("\n", "\n" + " " * indent)


def in_a_cell(value: object) -> object:
    """A value for CSV: a text that a spreadsheet would take for a formula stands behind an apostrophe."""
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if formula else value


def _written_out(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
