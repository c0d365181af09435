"""Jobs as they are posted, against what there is to run them on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from app.db.engine_measures import EngineMeasureRepository
from app.db.groups import GroupRepository
from app.db.session import Sessions
from app.domain.group import capacity
from app.domain.measures import Measured
from app.services.jobs import utc_now
from app.settings import Settings
from app.workloads.lm_eval.reading.read import Submission, read


class SubmissionService:
    """Checks a posted job against everything that can be known without a GPU."""

    def __init__(
        self, *, sessions: Sessions, settings: Settings, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._sessions = sessions
        self._now = now
        self._settings = settings

    def check(self, fields: Mapping[str, Any]) -> Submission:
        """The complete job, or InvalidJobError with all its faults."""
        with self._sessions.begin() as session:
            groups = GroupRepository(session).views()
        there = capacity(groups, self._now(), timedelta(seconds=self._settings.gone_seconds))
        return read(fields, there.groups, self._settings, settled=there.settled, recall=self._recall)

    def _recall(self, name: str) -> Sequence[Measured]:
        """What engines of this name measured."""
        with self._sessions.begin() as session:
            return EngineMeasureRepository(session).recall(name)
