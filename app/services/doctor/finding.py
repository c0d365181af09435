"""What a look at one thing found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How it stands with what was looked at."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it stands, in words, and what to do about it."""

    check: str
    state: State
    says: str
    advice: str = ""


def ok(check: str, says: str) -> Finding:
    """All is well."""
    return Finding(check, State.OK, says)


def warning(check: str, says: str, advice: str) -> Finding:
    """The service works, and somebody should look."""
    return Finding(check, State.WARNING, says, advice)


def fault(check: str, says: str, advice: str) -> Finding:
    """Jobs cannot be taken, or do not come to an end."""
    return Finding(check, State.FAULT, says, advice)
