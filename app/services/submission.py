"""Jobs as they are posted, against what there is to run them on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.db.groups import GroupRepository
from app.db.session import Sessions
from app.settings import Settings
from app.workloads.lm_eval.reading.read import Submission, read


class SubmissionService:
    """Checks a posted job against everything that can be known without a GPU."""

    def __init__(self, *, sessions: Sessions, settings: Settings) -> None:
        self._sessions = sessions
        self._settings = settings

    def check(self, fields: Mapping[str, Any]) -> Submission:
        """The complete job, or InvalidJobError with all its faults."""
        with self._sessions.begin() as session:
            groups = GroupRepository(session).views()
        return read(fields, groups, self._settings)
