"""What a job leaves behind besides its result document: sample lines, and pieces of logs."""

from __future__ import annotations

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


class SampleFilter(StrEnum):
    """Which sample lines to read."""

    ALL = "all"
    CORRECT = "correct"
    INCORRECT = "incorrect"
    ERROR = "error"
    TRUNCATED = "truncated"
    EMPTY = "empty"


@dataclass(frozen=True)
class LogPiece:
    """A piece of the log of a job or a replica; an owner's numbers grow."""

    owner: UUID
    number: int
    text: str
