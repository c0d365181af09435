"""Exit codes, and the error that carries one."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """What a script can branch on; a documented promise."""

    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_ALLOWED = 4
    JOB_FAILED = 100
    NOT_FINISHED = 101
    NOT_FOUND = 102
    CANCELLED = 103
    PARTIALLY_FAILED = 104
    GATE_NOT_MET = 105
    LACKING = 106


OF_STATUS = {
    "succeeded": Exit.OK,
    "failed": Exit.JOB_FAILED,
    "cancelled": Exit.CANCELLED,
    "partially_failed": Exit.PARTIALLY_FAILED,
}
WORST_FIRST = (
    Exit.JOB_FAILED,
    Exit.CANCELLED,
    Exit.PARTIALLY_FAILED,
    Exit.NOT_FINISHED,
    Exit.GATE_NOT_MET,
    Exit.OK,
)


def exit_of(job: dict[str, Any]) -> Exit:
    """How a command about this job ends."""
    return OF_STATUS.get(job["status"], Exit.NOT_FINISHED)


def worst(exits: Iterable[Exit]) -> Exit:
    """One code for several jobs: the first in `WORST_FIRST`."""
    found = set(exits)
    return next((code for code in WORST_FIRST if code in found), Exit.OK)


class CallError(Exception):
    """A call that did not give what was asked for; a command that ends with it has this exit code."""

    def __init__(self, message: str, exit_code: Exit = Exit.ERROR) -> None:
        super().__init__(message)
        self.exit_code = exit_code
