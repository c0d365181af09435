"""A job in a coordinator's hands, from its claim to its end: what its harness children have in common."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.domain.failure import Failure, FailureCode
from app.domain.lease import Lease
from app.errors import DatabaseError
from workers.coordinator.run_spans import RunSpans
from workers.protocol.harness import FailureTold
from workers.supervision import child_lines
from workers.supervision.log_tail import LogTail

PORTION_BYTES = 1 << 16
TAIL_LINES = 20

log = logging.getLogger(__name__)


class AttemptLog:
    """What the harness children of a job write, and what of it is stored: each line once."""

    def __init__(self, path: Path, most_bytes: int, store: Callable[[str], None]) -> None:
        self.path = path
        self._tail = LogTail(path, most_bytes)
        self._store = store

    def upload(self, *, ended: bool = False) -> None:
        """Store the next portion; all that is left where the child has `ended`."""
        while text := self._tail.read_new(PORTION_BYTES, ended=ended):
            try:
                self._store(text)
            except DatabaseError:
                self._tail.unread()
                raise
            child_lines.tell(text)
            if not ended:
                return

    def close(self) -> None:
        """Store what is left; where the database is away, the job's next child may."""
        try:
            self.upload(ended=True)
        except DatabaseError as error:
            log.warning("the end of %s is not stored: %s", self.path, error.details)

    def last_lines(self) -> tuple[str, ...]:
        """For people to see what happened."""
        return tuple(self._tail.tail(TAIL_LINES))


@dataclass
class Attempt:
    """A job under a coordinator's lease."""

    lease: Lease
    log: AttemptLog
    lost: threading.Event
    """Set when the lease is."""
    spans: RunSpans
    given_up: dict[str, Failure] = field(default_factory=dict)
    """Tasks that ended harness children, each with its failure."""
    refused: frozenset[tuple[str, frozenset[str], int]] | None = None
    """The groups, with backends and devices, none of which would take it in place of what it was planned for."""
    seen: frozenset[Any] | None = None
    """What there was when its plan was looked at last."""
    was_parked: bool = False
    """Its requests were stored by a harness that was ended for that: another one goes on from there."""


def task_failure(task: str, fault: FailureTold) -> Failure:
    """A task's failure, with the end of its traceback."""
    tail = tuple(fault.traceback.splitlines()[-TAIL_LINES:])
    return Failure(FailureCode.read(fault.code), fault.message, task=task, hint=fault.hint, log_tail=tail)
