"""What a job leaves behind besides its result document: sample lines, and pieces of logs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class SampleLine(NamedTuple):
    """A line to be stored, and what is known of its answers; None is not known."""

    row: str
    correct: bool | None = None
    truncated: bool | None = None
    """Whether one of them ended because it was as long as it may be."""
    empty: bool | None = None


@dataclass(frozen=True)
class Sample:
    """One line of lm-eval's samples file."""

    task: str
    position: int
    row: str
    correct: bool | None = None
    truncated: bool | None = None
    empty: bool | None = None


class SampleFilter(StrEnum):
    """Which sample lines to read."""

    ALL = "all"
    CORRECT = "correct"
    INCORRECT = "incorrect"
    ERROR = "error"
    TRUNCATED = "truncated"
    EMPTY = "empty"


@dataclass(frozen=True)
class SampleSearch:
    """A text that lines are to hold, in any case, and before which place it is looked for."""

    text: str
    before: int


@dataclass(frozen=True)
class SampleCounts:
    """How many lines of a task each filter lets through, of those that were looked at."""

    by_filter: Mapping[SampleFilter, int]
    bounded: bool
    """There are more."""


@dataclass(frozen=True)
class LogPiece:
    """A piece of the log of a job or a replica; an owner's numbers grow."""

    owner: UUID
    number: int
    text: str


class MergedLog:
    """A job's pieces as one text, in which a line tells whose the next ones are: where another process goes on."""

    def __init__(self, job_id: UUID) -> None:
        self._job_id = self._owner = job_id
        self._in_line = False

    def add(self, pieces: Iterable[LogPiece]) -> str:
        """The text of the next ones."""
        return "".join(map(self._told, pieces))

    def _told(self, piece: LogPiece) -> str:
        heading = "" if piece.owner == self._owner else self._heading(piece.owner)
        self._owner = piece.owner
        self._in_line = bool(piece.text) and not piece.text.endswith(("\n", "\r"))
        return heading + piece.text

    def _heading(self, owner: UUID) -> str:
        which = "job" if owner == self._job_id else "replica"
        return ("\n" if self._in_line else "") + f"==> {which} {owner} <==\n"
