"""The queue over HTTP: what waits, for what, at which place, behind whom."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from app.api.problems import problems
from app.api.rendering import answer, estimate_out
from app.api.schemas.queue import AheadOut, AllAheadOut, HolderOut, QueueOut, WaitingOut, WaitOut
from app.domain.keys import Caller
from app.domain.waits import Holder, Wait
from app.errors import InvalidRequestError
from app.services.job_view import job_path
from app.services.queue import Standing, Waiting
from app.web import cursors
from app.web.deps import CallerDep, Cursor, ServicesDep, known_parameters, page_size

PRIVATE = ("id", "name", "owner", "model", "href")
FURTHEST = 2**31

router = APIRouter(prefix="/v1/queue", tags=["queue"], dependencies=[Depends(known_parameters)])


def _position(position: int) -> int:
    if type(position) is not int or not 0 <= position < FURTHEST:
        raise ValueError("not a place in a queue")
    return position


@router.get("", summary="Read the queue", response_model=QueueOut, responses=problems(InvalidRequestError))
def read_queue(
    services: ServicesDep,
    caller: CallerDep,
    *,
    limit: page_size(100, 500) = 100,  # type: ignore[valid-type]
    cursor: Cursor = None,
) -> Response:
    """Jobs that wait, in the order they are served; those of other teams without what they are."""
    after = cursors.decoded(cursor, _position) or 0
    page = services.queue.page(limit, after, caller.sees)
    out = QueueOut(
        data=[_waiting(waiting, caller) for waiting in page.waiting],
        next_cursor=None if page.next_position is None else cursors.encoded(page.next_position),
        total=page.total,
        troubles=list(page.troubles),
    )
    return answer(out)


def _waiting(waiting: Waiting, caller: Caller) -> WaitingOut:
    job, estimate = waiting.job, estimate_out(waiting.estimate)
    wait = wait_out(waiting.wait, caller, job.team)
    shown = WaitingOut(
        position=waiting.position,
        id=job.id,
        name=job.name,
        owner=job.owner,
        status=job.status,
        phase=job.phase,
        priority=job.priority,
        model=job.engine.model,
        waiting_for=wait.words,
        wait=wait,
        ahead=_ahead(waiting.standing) if waiting.standing else None,
        gpus_per_replica=job.engine.gpus,
        group=job.plan.group,
        created_at=job.created_at,
        estimate=estimate,
        estimated_start_seconds=estimate and estimate.start_seconds,
        href=job_path(job),
    )
    return shown if caller.sees in (None, job.team) else shown.model_copy(update=dict.fromkeys(PRIVATE))


def _ahead(standing: Standing) -> AllAheadOut:
    return AllAheadOut(
        count=standing.rank.position - 1,
        by=standing.rank.ahead,
        first=[AheadOut(id=job_id, why=reason) for job_id, reason in standing.first],
    )


def wait_out(wait: Wait, caller: Caller, team: str) -> WaitOut:
    """What a job of the team waits for, as the caller may know it: a quota is its team's affair."""
    return WaitOut(
        cause=wait.cause,
        words=wait.words + wait.quota if caller.sees in (None, team) else wait.words,
        since=wait.since,
        devices=wait.devices,
        held_by=[_holder(holder, caller) for holder in wait.holders[:MOST_HOLDERS]],
    )


MOST_HOLDERS = 20
"""Of those that have what a job waits for."""


def _holder(holder: Holder, caller: Caller) -> HolderOut:
    seen = [served.id for served in holder.serves if caller.sees in (None, served.team)]
    return HolderOut(
        id=holder.replica.id,
        group=holder.replica.group,
        devices=len(holder.replica.devices),
        status=holder.replica.status,
        jobs=seen,
        other_jobs=len(holder.serves) - len(seen),
    )
