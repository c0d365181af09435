"""Cancelling many jobs: each by itself, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from app.domain.job import JobStatus
from app.errors import IllegalMoveError, UnknownJobError
from app.services.jobs import JobService

Outcome = Literal["cancelled", "cancelling", "ended", "unknown"]


@dataclass(frozen=True)
class Cancelled:
    """What became of one job."""

    id: str
    outcome: Outcome
    status: JobStatus | None = None


def cancel_each(jobs: JobService, ids: Iterable[str], team: str | None) -> Iterator[Cancelled]:
    """Cancel these jobs as far as the team sees them; one that cannot be cancelled holds up no other.

    A transaction for each: safe to repeat where it broke off.
    """
    for job_id in ids:
        try:
            jobs.check_seen(UUID(job_id), team)
            status = jobs.cancel(UUID(job_id)).status
            yield Cancelled(job_id, "cancelled" if status.terminal else "cancelling", status)
        except IllegalMoveError:
            yield Cancelled(job_id, "ended", jobs.view(UUID(job_id)).job.status)
        except (UnknownJobError, ValueError):
            yield Cancelled(job_id, "unknown")
