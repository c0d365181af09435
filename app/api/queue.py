"""The queue over HTTP: what waits, for what, at which place, with an estimate."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from app.api.problems import problems
from app.api.schemas.cluster import QueueOut, WaitingOut
from app.domain.keys import Caller
from app.services.job_view import job_path
from app.services.queue import Waiting
from app.web.deps import CallerDep, ServicesDep, known_parameters

PRIVATE = ("id", "name", "owner", "model", "href")

router = APIRouter(prefix="/v1/queue", tags=["queue"], dependencies=[Depends(known_parameters)])


@router.get("", summary="Read the queue", responses=problems())
def read_queue(services: ServicesDep, caller: CallerDep) -> QueueOut:
    """Jobs that wait, in the order they are served; those of other teams without what they are."""
    return QueueOut(data=[_waiting(waiting, caller) for waiting in services.queue.waiting()])


def _waiting(waiting: Waiting, caller: Caller) -> WaitingOut:
    job = waiting.job
    shown = WaitingOut(
        position=waiting.position,
        id=job.id,
        name=job.name,
        owner=job.owner,
        status=job.status,
        phase=job.phase,
        priority=job.priority,
        model=job.engine.model,
        waiting_for=waiting.waiting_for,
        gpus_per_replica=job.engine.gpus,
        group=job.plan.group,
        created_at=job.created_at,
        estimated_start_seconds=waiting.seconds,
        href=job_path(job),
    )
    return shown if caller.sees in (None, job.team) else shown.model_copy(update=dict.fromkeys(PRIVATE))
