"""Why jobs are where they are, told at the moment at which somebody asks: nothing of it is stored, or grows old."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from app.backends.standing_in import that_serve
from app.db.waits import WaitRepository
from app.domain.estimates import Estimates
from app.domain.job import Job, JobStatus, Phase
from app.domain.waits import NOWHERE, TO_ENGINES, Asking, Wait, wait_of
from app.workloads.lm_eval.spec import LmEvalSpec

NO_QUOTAS: Mapping[str, int] = {}


def waits(
    known: WaitRepository,
    jobs: Sequence[Job],
    ttl: timedelta,
    now: datetime,
    quotas: Mapping[str, int],
    *,
    told: Estimates,
) -> dict[UUID, Wait]:
    """What each of the jobs waits for; those that go on or are over are left out."""
    asking = [job for job in jobs if job.status is JobStatus.RUNNING and job.phase in TO_ENGINES]
    evaluating = [job.id for job in asking if job.phase is Phase.EVALUATING]
    unanswered = known.unanswered(evaluating) if evaluating else set()
    asking = [job for job in asking if job.phase is not Phase.EVALUATING or job.id in unanswered]
    there = known.cluster(ttl, {job.engine.key for job in asking}) if asking else NOWHERE
    cluster = replace(there, quotas=quotas) if asking else there
    answered = known.answered([job.id for job in asking]) - set(evaluating) if asking else set()
    asked = [_asking(job, asking=bool(asking), unanswered=unanswered, answered=answered) for job in jobs]
    held_up = told.held_up(now)
    asked = [
        replace(each, kept=held_up.kept.get(each.job.id), by_quota=each.job.id in held_up.quota)
        for each in asked
    ]
    found = {each.job.id: wait_of(each, cluster, now) for each in asked}
    return {job_id: wait for job_id, wait in found.items() if wait is not None}


def _asking(job: Job, *, asking: bool, unanswered: Collection[UUID], answered: Collection[UUID]) -> Asking:
    backends = that_serve(LmEvalSpec.from_json(job.spec).model) if asking else ()
    return Asking(job, tuple(backends), job.id in unanswered, job.id in answered)
