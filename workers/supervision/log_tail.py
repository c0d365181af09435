"""Reads a child's log: what is new, the last lines, the first error; never a secret."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from pathlib import Path

from app.backends.signatures import DEATH
from app.domain.redaction import redact

_TAIL_BYTES = 1 << 18
_HEAD_BYTES = 1 << 22
_BLOCK_LINES = 120

_LEVEL = "ERROR|WARNING|INFO|CRITICAL|DEBUG"
_PREFIX = re.compile(
    r"(?P<process>\([^()]*pid=\d+[^()]*\) |\[rank\d+\]: ?)?"
    rf"((?P<level>{_LEVEL}) \d\d-\d\d \d\d:\d\d:\d\d (?P<origin>\[[^\]]*\]) ?)?"
)
_OWN_PREFIX = re.compile(
    rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z (?P<level>{_LEVEL}) (?P<process>\S+):(?P<origin>) "
)
"""Of what the child itself logs."""
_TRACEBACK = "Traceback (most recent call last):"
_EXPLAINED = "The above exception was the direct cause of the following exception:"
_ERROR = re.compile(
    r"\b\w*(?:Error|Exception)\b\s*:|^\S*(?:ERROR|CRITICAL)\b|^(?:fatal|error)\b.*:|^Fatal Python error",
    re.IGNORECASE,
)


class LogTail:
    """A log file that another process appends to. It may not exist yet, and may be truncated.

    One that has grown beyond `most_bytes` is emptied by the next `read_new`: what was not read by then is lost.
    """

    def __init__(self, path: Path, most_bytes: int = sys.maxsize) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._offset = self._before = 0
        self.emptied = 0
        """How often it was."""

    def read_new(self, max_bytes: int, *, ended: bool = False, until: int | None = None) -> str:
        """The whole lines written since the last call, redacted; one longer than `max_bytes` comes in pieces.

        With `ended` nothing more will be written, or at least not before the place `until`: an unfinished last
        line comes too.
        """
        size = self.size()
        if size > self._most_bytes:
            return self._empty(size)
        if size < self._offset:
            self._offset = 0
        self._before = self._offset
        end = size if until is None else min(until, size)
        raw = self._read(self._offset, min(max_bytes, max(end - self._offset, 0)))
        reached_end = self._offset + len(raw) >= end
        if not (ended and reached_end):
            raw = _whole_lines(raw, full=len(raw) == max_bytes)
        self._offset += len(raw)
        return redact(raw.decode(errors="replace"))

    def _empty(self, size: int) -> str:
        """Its writer appends, and so goes on at the beginning."""
        os.truncate(self._path, 0)
        unread, self._offset, self._before = size - self._offset, 0, 0
        self.emptied += 1
        return f"[{unread} bytes were left out: the log had grown too long]\n"

    def unread(self) -> None:
        """What was read last could not be kept: the next call brings it again."""
        self._offset = self._before

    def skip(self) -> int:
        """Leave out what is there and was not read; the place in the file where the next line will be."""
        self._offset = self.size()
        return self._offset

    def tail(self, lines: int, *, start: int = 0, end: int | None = None) -> list[str]:
        """The last lines between two places, redacted, whatever has been read."""
        last = self.size() if end is None else end
        first = max(start, last - _TAIL_BYTES)
        raw = self._read(first, max(last - first, 0))
        return redact(raw.decode(errors="replace")).splitlines()[-lines:]

    def head(self, *, start: int = 0) -> str:
        """The beginning, or what follows a place, redacted: where the first error is."""
        return redact(self._read(start, _HEAD_BYTES).decode(errors="replace"))

    def size(self) -> int:
        """How long the file is."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _read(self, offset: int, max_bytes: int) -> bytes:
        try:
            with self._path.open("rb") as log:
                log.seek(offset)
                return log.read(max_bytes)
        except FileNotFoundError:
            return b""


def level_of(line: str) -> str | None:
    """The level of a record that a child logged; None of what was only printed."""
    return _Line.parse(line).source[1]


def first_error_block(text: str) -> str:
    """The first traceback of a log, or what it says of a process that died before; without either its first error
    line and what is indented under it.

    Later ones are consequences: an engine's parent only reports that its child failed. An exception that was raised
    to explain another one stands for both. Log prefixes are taken off, and lines that other processes wrote in between
    are left out. Empty where there is no error.
    """
    lines = [_Line.parse(line) for line in text.splitlines()]
    for starts in (_is_beginning, _is_error):
        for number, first in enumerate(lines):
            if starts(first):
                own = [line for line in lines[number:] if line.source == first.source]
                return "\n".join(line.text for line in _explanation(own)[-_BLOCK_LINES:])
    return ""


def cause_of(block: str) -> str:
    """The exception's own words, without the frames that led to it."""
    head, *rest = block.splitlines() or [""]
    words = list(dropwhile(_is_indented, rest)) if head.startswith(_TRACEBACK) else [head]
    return "\n".join(words or [head])


@dataclass(frozen=True)
class _Line:
    """A line, who wrote it (process, level and place, as far as it says) and its text without that."""

    text: str
    source: tuple[str | None, str | None, str | None]

    @classmethod
    def parse(cls, line: str) -> _Line:
        prefix = _OWN_PREFIX.match(line) or _PREFIX.match(line)
        if prefix is None:
            return cls(line, (None, None, None))
        return cls(line[prefix.end() :], (prefix["process"], prefix["level"], prefix["origin"]))

    @property
    def is_log_record(self) -> bool:
        return self.source[1] is not None


def _whole_lines(raw: bytes, *, full: bool) -> bytes:
    end = max(raw.rfind(b"\n"), raw.rfind(b"\r")) + 1
    return raw if full and not end else raw[:end]


def _is_traceback(line: _Line) -> bool:
    return line.text.startswith(_TRACEBACK)


def _is_beginning(line: _Line) -> bool:
    return _is_traceback(line) or DEATH.search(line.text) is not None


def _is_error(line: _Line) -> bool:
    return line.source[1] in {"ERROR", "CRITICAL"} or _ERROR.search(line.text) is not None


def _is_indented(text: str) -> bool:
    return text.startswith((" ", "\t"))


def _explanation(lines: list[_Line]) -> list[_Line]:
    """The last block of the exceptions that explain one another."""
    block = _block(lines)
    rest = lines[len(block) :]
    between = list(takewhile(lambda line: not _is_traceback(line), rest))
    if not any(line.text.startswith(_EXPLAINED) for line in between) or len(between) == len(rest):
        return block
    return _explanation(rest[len(between) :])


def _block(lines: list[_Line]) -> list[_Line]:
    """A log record to its end; otherwise the frames, the exception's line, what is indented under it."""
    first, *rest = lines
    if first.is_log_record:
        return [first, *takewhile(lambda line: line.text and not _is_traceback(line), rest)]
    frames = list(takewhile(lambda line: _is_indented(line.text), rest))
    if not _is_traceback(first):
        return [first, *frames]
    name, *under = rest[len(frames) :] or [first]
    return [first, *frames, name, *takewhile(lambda line: _is_indented(line.text), under)]
