"""The jobs that wait for capacity, looked at whenever what there is has changed."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from app.domain.group import GroupView
from app.errors import DatabaseError, InvalidJobError, UnknownJobError
from app.services.waiting import Again, WaitingService
from app.settings import Settings
from app.workloads.lm_eval.reading.read import MOST_WORDS, read_waiting
from app.workloads.lm_eval.spec import LmEvalSpec

LOOK_SECONDS = 2.0
AGAIN_SECONDS = 60.0
"""Until one that could not be judged is looked at once more."""

AT_ONCE = 50
"""Jobs of one look: what runs in this process goes on beside it."""

log = logging.getLogger(__name__)


class WaitingJobs:
    """Reads each of them once for every state of the cluster; several coordinators may do so at once."""

    def __init__(self, *, waiting: WaitingService, settings: Settings) -> None:
        self._waiting = waiting
        self._settings = settings
        self._traits: frozenset[Any] = frozenset()
        self._read: set[UUID] = set()
        self._forget_at = math.inf

    def run(self, over: threading.Event) -> None:
        """Look until it is over."""
        while not over.wait(LOOK_SECONDS):
            try:
                self.look_once()
            except DatabaseError as error:
                log.warning("the database failed, looking again: %s", error.details)
            except Exception:
                log.exception("jobs that wait for capacity could not be looked at")

    def look_once(self) -> int:
        """Plan some again that were not since what there is changed, the first in line first.

        Returns how many are in line by now.
        """
        waiting = self._waiting.jobs()
        there = self._waiting.capacity() if waiting else None
        if there is None or not there.settled:
            return 0
        if there.traits != self._traits:
            self._traits, self._read = there.traits, set()
        if time.monotonic() > self._forget_at:
            self._read, self._forget_at = set(), math.inf
        self._read &= set(waiting)  # one that was let in and came back is looked at anew
        come = 0
        for job_id in [each for each in waiting if each not in self._read][:AT_ONCE]:
            self._read.add(job_id)  # first: one that cannot be looked at holds up no other
            try:
                come += self._look_at(job_id, there.groups)
            except DatabaseError:
                self._read.discard(job_id)
                raise
            except Exception:
                self._look_later()
                log.exception("job %s, which waits for capacity, could not be looked at", job_id)
        return come

    def _look_later(self) -> None:
        """At all of them, though nothing comes or goes."""
        self._forget_at = min(self._forget_at, time.monotonic() + AGAIN_SECONDS)

    def _look_at(self, job_id: UUID, groups: Sequence[GroupView]) -> bool:
        """Whether the job is in line by now."""
        try:
            job = self._waiting.job(job_id)
            found = read_waiting(LmEvalSpec.from_json(job.spec), groups, self._settings, self._waiting.recall)
        except UnknownJobError:
            return False
        except InvalidJobError as error:
            first = error.faults[0]
            mended = f"what is refused of it by now: {first.path}: {first.message}"[:MOST_WORDS]
            again = Again(job.engine, job.plan, mended)
        else:
            again = Again(found.engine, found.plan, found.waits_for)
        if again.waits_for is None and job.plan.memory and not again.plan.memory:
            self._look_later()  # its size is not known just now, and was
            return False
        if again == Again(job.engine, job.plan, job.waits_for):
            return False
        return self._waiting.plan_again(job_id, again) and again.waits_for is None
