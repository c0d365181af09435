"""What endpoints ask for: services, the owner, a job's id, and a refusal of parameters they do not have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Path, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BeforeValidator, Field
from starlette.concurrency import run_in_threadpool

from app.domain.keys import Caller
from app.errors import FaultyField, InvalidRequestError, UnknownJobError
from app.services.estimates import EstimateService
from app.services.events import EventService
from app.services.groups import GroupService
from app.services.health import HealthService
from app.services.jobs import JobService
from app.services.keys import KeyService
from app.services.metrics import MetricsService
from app.services.overview import OverviewService
from app.services.queue import QueueService
from app.services.rate_limit import RateLimit
from app.services.results import ResultService
from app.services.sign_in import SignInService
from app.services.submission import SubmissionService
from app.services.tasks import TaskService
from app.services.usage import UsageService
from app.settings import Settings
from app.web.following import Followers
from app.web.problems import UnknownParameterError
from app.web.sharing import Shared
from app.web.stream_slots import Places
from app.web.turns import Turns
from app.web.wakeups import WakeUps


@dataclass(frozen=True)
class Services:
    """Everything an endpoint may call; made once per process."""

    settings: Settings
    jobs: JobService
    submissions: SubmissionService
    results: ResultService
    groups: GroupService
    estimates: EstimateService
    overview: OverviewService
    queue: QueueService
    tasks: TaskService
    health: HealthService
    metrics: MetricsService
    events: EventService
    wakeups: WakeUps
    followers: Followers
    shared: Shared
    streams: Places
    keys: KeyService
    sign_ins: SignInService
    rates: RateLimit
    turns: Turns
    usage: UsageService


async def services(request: Request) -> Services:
    """The services of this process."""
    found: Services = request.app.state.services
    return found


ServicesDep = Annotated[Services, Depends(services)]


async def caller(request: Request) -> Caller:
    """Who asks, as `app.web.callers` found out before."""
    found: Caller = request.state.caller
    return found


CallerDep = Annotated[Caller, Depends(caller)]


async def known_parameters(request: Request) -> None:
    """Refuse query parameters that the call does not have, and text that Postgres cannot compare."""
    route = request.scope["route"]
    allowed = tuple(_names(route.dependant)) if isinstance(route, APIRoute) else ()
    unknown = dict.fromkeys(name for name in request.query_params if name not in allowed)
    if unknown:
        message = f"this call knows {', '.join(allowed)}" if allowed else "this call has no parameters"
        raise UnknownParameterError([FaultyField(f"query.{name}", message, allowed) for name in unknown])
    query = [(f"query.{name}", text) for name, text in request.query_params.multi_items()]
    given = [*query, *((f"path.{name}", text) for name, text in request.path_params.items())]
    if faults := [FaultyField(name, "holds a NUL character") for name, text in given if "\x00" in text]:
        raise InvalidRequestError(faults)


def _names(dependant: Dependant) -> Iterator[str]:
    yield from (parameter.alias for parameter in dependant.query_params)
    for part in dependant.dependencies:
        yield from _names(part)


async def job_id(
    job_id: Annotated[str, Path(json_schema_extra={"format": "uuid"})],
    services: ServicesDep,
    caller: CallerDep,
) -> UUID:
    """The job named in the path; what is no id names no job, and a job of another team is none to this caller."""
    try:
        found = UUID(job_id)
    except ValueError:
        raise UnknownJobError(f"there is no job {job_id!r}: an id looks like {UUID(int=0)}") from None
    if caller.sees is not None:
        await run_in_threadpool(services.jobs.check_seen, found, caller.sees)
    return found


def _blank(value: Any) -> Any:
    return None if value == "" else value


Blank = BeforeValidator(_blank)
"""`?status=` means the same as no `status` at all."""


def _aware(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


Utc = AfterValidator(_aware)
"""A time that says no zone is UTC."""
Moment = Annotated[datetime | None, Blank, Utc]

Word = Annotated[str, Field(max_length=1000)]
"""What is looked for, no longer than anything it is compared with."""
JobId = Annotated[UUID, Depends(job_id)]
Cursor = Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before.")]


def page_size(default: int, most: int) -> Any:
    """The type of a `limit` parameter."""
    return Annotated[int, Query(ge=1, le=most, description=f"At most {most}; {default} unless given.")]
