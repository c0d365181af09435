"""lm-eval's string arguments: `key=value,key=value` strings and comma lists.

Two readers exist because lm-eval has two: `simple_parse_args_string` for strings given to its Python interface
and `key_val_to_dict` for the command line. Both are reproduced, with a fault where lm-eval would guess.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from app.errors import FaultyField as Fault

MOST_LITERAL = 16_384
"""Characters of a value that is read as a literal: reading one takes memory of hundreds of times its length."""
_CLOSING = {"[": "]", "(": ")", "{": "}"}
_QUOTED = {quote: re.compile(rf"{quote}(?:[^\\{quote}]|\\.)*+{quote}", re.DOTALL) for quote in "\"'"}
_CONTINUATION = re.compile(r"\\[ \t]*\r?\n[ \t]*")


@dataclass(frozen=True)
class GivenArguments:
    """The pairs of an argument string, with what was odd about it."""

    values: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class _Piece:
    text: str
    position: int


def parse_model_args(text: str, path: str = "model_args") -> GivenArguments:
    """Read `pretrained=x,dtype=auto` as `lm_eval.utils.simple_parse_args_string` does.

    Beyond it: a JSON object is accepted, brackets and quotes keep their commas, blanks and `\\` line ends around
    a pair are ignored. A piece without `=` is a fault, where lm-eval would invent an empty value.
    """
    return _parse(text, path, read_value)


def parse_gen_kwargs(text: str, path: str = "gen_kwargs") -> GivenArguments:
    """Read `temperature=0,until=["\\n"]`; the same syntax as `model_args`."""
    return _parse(text, path, read_value)


def parse_cli_pairs(words: list[str], path: str) -> GivenArguments:
    """Read the words after a flag such as `--model_args` as lm-eval's command line does; later pairs win."""
    results = [_parse(word, path, read_cli_value) for word in words]
    merged: dict[str, Any] = {}
    notes: list[str] = []
    for result in results:
        notes += [*result.notes, *(_overwritten(path, key) for key in result.values if key in merged)]
        merged |= result.values
    return GivenArguments(
        merged, tuple(dict.fromkeys(notes)), tuple(fault for result in results for fault in result.faults)
    )


def parse_names(text: str) -> list[str]:
    """The names of a comma string, without blanks and empty pieces: `"mmlu, gsm8k,"` is two names."""
    return [name for name in (piece.strip() for piece in _joined(text).split(",")) if name]


def read_value(text: str) -> Any:
    """One value as `lm_eval.utils.handle_arg_string` types it; lists and dicts as Python or JSON literals."""
    text = text.strip()
    if _is_quoted(text):
        return text[1:-1]
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    return _number(text) if not _is_bracketed(text) else _literal(text)


def read_cli_value(text: str) -> Any:
    """One value as `lm_eval._cli.utils.handle_cli_value_string` types it.

    One knowing difference: `-1` stays a whole number (lm-eval makes it -1.0, which vLLM refuses as a `top_k`).
    """
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    number = _number(text)
    return _literal(text) if isinstance(number, str) else number


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        if kind is int and not (text.isascii() and text.lstrip("+-").isdigit()):
            continue
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _literal(text: str) -> Any:
    """A literal of Python, else of JSON, else the text; a longer one than any setting is text."""
    if len(text) > MOST_LITERAL:
        return text
    with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
        return ast.literal_eval(text)
    with suppress(ValueError, RecursionError):
        return json.loads(text) if _is_bracketed(text) else text
    return text


def _parse(text: str, path: str, read: Callable[[str], Any]) -> GivenArguments:
    text = _joined(text)
    if text.lstrip().startswith("{"):
        return _parse_json(text, path)
    pieces, notes, faults = _pieces(text, path)
    values: dict[str, Any] = {}
    for piece in pieces:
        key, equals, value = piece.text.partition("=")
        key = key.strip()
        if not equals or not key:
            faults.append(_malformed(piece, path))
            continue
        if key in values:
            notes.append(_overwritten(path, key))
        values[key] = read(value.strip() or value)
    return GivenArguments(values, tuple(dict.fromkeys(notes)), tuple(faults))


def _parse_json(text: str, path: str) -> GivenArguments:
    try:
        return GivenArguments(json.loads(text))
    except (ValueError, RecursionError) as error:
        return GivenArguments(faults=(Fault(path, f"not valid JSON: {not_json(error)}"),))


def not_json(error: ValueError | RecursionError) -> str:
    """Why a text could not be read, in words that are no interpreter's own."""
    match error:
        case RecursionError():
            return "it is nested too deeply"
        case json.JSONDecodeError():
            return f"{error.msg} at position {error.pos}; JSON strings take double quotes"
        case _:
            return "it holds a number of too many digits"


def _pieces(text: str, path: str) -> tuple[list[_Piece], list[str], list[Fault]]:
    """Split at the commas outside of brackets and quotes; a quote that opens no value is a letter."""
    pieces: list[_Piece] = []
    notes: list[str] = []
    faults: list[Fault] = []
    start, quotes = 0, set(_QUOTED)
    while start <= len(text):
        end, unclosed = _end_of_piece(text, start, quotes)
        piece = _Piece(text[start:end], start)
        if unclosed is not None:
            message = f"{text[unclosed]!r} at position {unclosed} is never closed: {piece.text.strip()!r}"
            faults.append(Fault(path, message))
        elif piece.text.strip():
            pieces.append(piece)
            notes += _stray_quote_note(text, piece, path)
        start = end + 1
    return pieces, notes, faults


def _end_of_piece(text: str, start: int, quotes: set[str]) -> tuple[int, int | None]:
    """Where the piece that begins at `start` ends, and the bracket left open in it, if any.

    `quotes` are those that may still be closed.
    """
    opened: list[int] = []
    index, before = start, ""
    while index < len(text):
        char = text[index]
        if char in quotes and (opened or before == "="):
            index = _closing_quote(text, index, quotes)
        elif char in _CLOSING:
            opened.append(index)
        elif opened and char == _CLOSING[text[opened[-1]]]:
            opened.pop()
        elif char == "," and not opened:
            return index, None
        before = before if char.isspace() else char
        index += 1
    return len(text), opened[0] if opened else None


def _closing_quote(text: str, opening: int, quotes: set[str]) -> int:
    """The index of the quote that closes the one at `opening`; `opening` itself where none does.

    Where none does, every later one like it is escaped, and none closes those either: they are not looked for again.
    """
    quoted = _QUOTED[text[opening]].match(text, opening)
    if quoted:
        return quoted.end() - 1
    quotes.remove(text[opening])
    return opening


def _stray_quote_note(text: str, piece: _Piece, path: str) -> list[str]:
    """Say so where lm-eval 0.4.13 would swallow what follows an apostrophe."""
    follows = piece.position + len(piece.text) < len(text.rstrip(", "))
    stray = [quote for quote in "\"'" if piece.text.count(quote) % 2]
    if not stray or not follows:
        return []
    return [
        f"{path}: the {stray[0]} in {piece.text.strip()!r} is read as a letter; "
        "lm-eval 0.4.13 would take what follows it as part of the value"
    ]


def _malformed(piece: _Piece, path: str) -> Fault:
    return Fault(path, f"expected key=value at position {piece.position}, found {piece.text.strip()!r}")


def _overwritten(path: str, key: str) -> str:
    return f"{path}: {key} is given more than once; the last one counts"


def _joined(text: str) -> str:
    return _CONTINUATION.sub("", text)


def _is_quoted(text: str) -> bool:
    return len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'"


def _is_bracketed(text: str) -> bool:
    return bool(text) and text[0] in _CLOSING and text[-1] == _CLOSING[text[0]]
