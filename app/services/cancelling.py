"""Cancelling many jobs: each by itself, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from app.domain.job import JobStatus
from app.errors import IllegalMoveError, StaleJobError, UnknownJobError
from app.services.jobs import JobService

Outcome = Literal["cancelled", "cancelling", "ended", "unknown", "busy"]


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
            yield _cancel(jobs, job_id, team)
        except (UnknownJobError, ValueError):
            yield Cancelled(job_id, "unknown")
        except StaleJobError:
            yield Cancelled(job_id, "busy")


def _cancel(jobs: JobService, job_id: str, team: str | None) -> Cancelled:
    """A job may also be deleted between two looks: UnknownJobError then, too."""
    jobs.check_seen(UUID(job_id), team)
    try:
        status = jobs.cancel(UUID(job_id)).status
    except IllegalMoveError:
        return Cancelled(job_id, "ended", jobs.view(UUID(job_id)).job.status)
    return Cancelled(job_id, "cancelled" if status.terminal else "cancelling", status)
