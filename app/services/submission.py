"""Jobs as they are posted, against what there is to run them on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from app.db.engine_measures import EngineMeasureRepository
from app.db.groups import GroupRepository
from app.db.session import Sessions
from app.domain.group import Capacity, capacity
from app.domain.measures import Measured
from app.errors import InvalidJobError
from app.services.jobs import utc_now
from app.services.lately import Lately
from app.settings import Settings
from app.workloads.lm_eval.reading.read import Submission, read

HERE = "here"
"""The only cluster there is."""
KEPT_SECONDS = 1.0
"""So old may be, in a process that takes many jobs a second, what a job is planned for."""


class SubmissionService:
    """Checks a posted job against everything that can be known without a GPU.

    What there is may be `kept_seconds` old for a job that it suffices; no job is refused for what was so a moment ago.
    """

    def __init__(
        self,
        *,
        sessions: Sessions,
        settings: Settings,
        now: Callable[[], datetime] = utc_now,
        kept_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._now = now
        self._settings = settings
        self._capacity = Lately(self._look, kept_seconds, clock)
        self._measures = Lately(self._recall, kept_seconds, clock)

    def check(self, fields: Mapping[str, Any]) -> Submission:
        """The complete job, or InvalidJobError with all its faults."""
        there = self._capacity.get(HERE)
        try:
            found = self._read(fields, there)
        except InvalidJobError:
            if self._still(there):
                raise
        else:
            if not found.lacking or self._still(there):
                return found
        return self._read(fields, self._capacity.get(HERE))

    def _read(self, fields: Mapping[str, Any], there: Capacity) -> Submission:
        recall = self._measures.get
        return read(fields, there.groups, self._settings, settled=there.settled, recall=recall)

    def _still(self, there: Capacity) -> bool:
        """Whether plans made of it are made of what there is now."""
        now = self._capacity.anew(HERE)
        return (now.traits, now.settled) == (there.traits, there.settled)

    def _look(self, _: str) -> Capacity:
        with self._sessions.begin() as session:
            groups = GroupRepository(session).views()
        return capacity(groups, self._now(), timedelta(seconds=self._settings.gone_seconds))

    def _recall(self, name: str) -> Sequence[Measured]:
        """What engines of this name measured."""
        with self._sessions.begin() as session:
            return EngineMeasureRepository(session).recall(name)
