"""The API process: services, routers, and what must hold before it answers."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.telemetry import TelemetryConfig
from starlette.concurrency import run_in_threadpool

from app.api import (
    about,
    all_events,
    backends,
    cancelling,
    events,
    groups,
    health,
    jobs,
    logs,
    metrics,
    queue,
    results,
    submission,
    tasks,
    usage,
)
from app.api.document import document, operation_id
from app.api.problems import as_json
from app.broker import CeleryDoorbell
from app.dashboard.feeds import Feeds
from app.dashboard.problems import as_page
from app.dashboard.routes import routers
from app.db.session import Sessions, check_schema, make_sessions, password
from app.services.estimates import EstimateService
from app.services.events import EventService
from app.services.groups import GroupService
from app.services.health import HealthService
from app.services.jobs import JobService
from app.services.keys import KeyService, check_exposure, keep_bootstrap_key
from app.services.metrics import MetricsService
from app.services.overview import OverviewService
from app.services.queue import QueueService
from app.services.rate_limit import RateLimit
from app.services.results import ResultService
from app.services.sign_in import SignInService
from app.services.submission import KEPT_SECONDS, SubmissionService
from app.services.tasks import TaskService
from app.services.usage import UsageService
from app.services.watching import WatchService
from app.settings import Settings, current
from app.traces import traces_of
from app.web.browser import is_for_people
from app.web.callers import authenticate
from app.web.delivery import Delivery
from app.web.deps import Services
from app.web.following import Followers
from app.web.heads import HeadAsGet
from app.web.offers import acceptable
from app.web.problems import METHODS, Problem, add_handlers
from app.web.request_ids import HEADER, RequestIds
from app.web.sharing import Shared
from app.web.stream_slots import Places
from app.web.tail import Tail
from app.web.traced import Traced
from app.web.turns import Turns
from app.web.urls import NoKeysInUrls
from app.web.wakeups import WakeUps
from app.web.walls import Walls
from app.workloads.lm_eval.tasks.packaged_index import load_packaged

ROUTERS = (
    submission,
    cancelling,
    jobs,
    events,
    all_events,
    results,
    logs,
    tasks,
    groups,
    backends,
    queue,
    usage,
    about,
    health,
    metrics,
)

CORS: dict[str, Any] = {
    "allow_methods": METHODS,
    "allow_headers": [
        "Authorization",
        "Content-Type",
        "Idempotency-Key",
        "If-None-Match",
        "Last-Event-ID",
        "Prefer",
        "traceparent",
        HEADER,
    ],
    "expose_headers": [
        "Content-Disposition",
        "ETag",
        "Link",
        "Location",
        "Preference-Applied",
        "Retry-After",
        HEADER,
    ],
}
"""What pages of the operator's origins may send and read; keys stand in a header, so browsers keep none."""


NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's own spans would hold whole URLs; ours are named by routes (app.web.traced)."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API over these settings; OldSchemaError, DatabaseUnreachableError or UnauthenticatedApiError."""
    settings = settings or current()
    check_schema(settings)
    keep_bootstrap_key(settings)
    check_exposure(settings)
    sessions = make_sessions(settings)
    app = FastAPI(
        title="evalq",
        version=health.VERSION,
        summary="Queues LLM evaluations and runs them on GPUs.",
        lifespan=_lifespan,
        telemetry=NO_TELEMETRY,
        dependencies=[Depends(authenticate), Depends(acceptable)],
        generate_unique_id_function=operation_id,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would lead to whatever Host was sent, before anybody looked at it
    )
    app.state.sessions = sessions
    app.state.services = _services(settings, sessions)
    app.state.traces = traces_of(settings, "api")
    app.state.feeds = Feeds(app.state.services.wakeups.tail)
    app.add_middleware(NoKeysInUrls, answer=_answer)
    app.add_middleware(Delivery)
    app.add_middleware(Walls)
    app.add_middleware(Traced, traces=app.state.traces)  # below what asks with a scope of its own
    app.add_middleware(HeadAsGet)
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, allow_origins=settings.cors_origins, **CORS)
    app.add_middleware(RequestIds)
    add_handlers(app, _answer)
    for module in ROUTERS:
        app.include_router(module.router)
    for router in routers():
        app.include_router(router)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    return app


def _services(settings: Settings, sessions: Sessions) -> Services:
    health_service = HealthService(settings=settings)
    estimates = EstimateService(sessions=sessions, settings=settings)
    event_service = EventService(sessions=sessions)
    keys = KeyService(sessions=sessions)
    job_service = JobService(
        sessions=sessions,
        doorbell=CeleryDoorbell(settings),
        team_jobs=settings.team_jobs,
        ttl=settings.lease,
        estimates=estimates.latest,
        quotas=settings.team_quotas,
        stall=settings.stall,
    )
    watching = WatchService(
        sessions=sessions, ttl=settings.lease, estimates=estimates.latest, quotas=settings.team_quotas
    )
    tail, shared = Tail(event_service, watching.looks), Shared()
    return Services(
        settings=settings,
        jobs=job_service,
        submissions=SubmissionService(sessions=sessions, settings=settings, kept_seconds=KEPT_SECONDS),
        results=ResultService(sessions=sessions),
        groups=GroupService(sessions=sessions),
        estimates=estimates,
        overview=OverviewService(sessions=sessions),
        queue=_queue(settings, sessions, estimates, health_service),
        tasks=TaskService(settings=settings),
        health=health_service,
        metrics=MetricsService(sessions=sessions),
        events=event_service,
        wakeups=WakeUps(tail=tail, redis_url=settings.redis_url),
        followers=Followers(tail=tail, log=event_service, read=job_service.news, shared=shared),
        shared=shared,
        streams=Places(settings),
        keys=keys,
        sign_ins=SignInService(keys=keys, pepper=password(settings).encode()),
        rates=RateLimit(settings),
        turns=Turns(),
        usage=UsageService(sessions=sessions),
    )


def _queue(
    settings: Settings, sessions: Sessions, estimates: EstimateService, health: HealthService
) -> QueueService:
    return QueueService(
        sessions=sessions,
        ttl=settings.lease,
        estimates=estimates.latest,
        quotas=settings.team_quotas,
        rings=health.rings,
        stall=settings.stall,
    )


def _answer(request: Request, problem: Problem) -> Response:
    return as_page(request, problem) if is_for_people(request) else as_json(problem)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    wakeups: WakeUps = app.state.services.wakeups
    listening = asyncio.create_task(wakeups.listen())
    if threading.current_thread() is threading.main_thread():  # a server's own, not a test's
        _close_on_signal(wakeups)
        _share_the_processor()
    try:
        yield
    finally:
        await wakeups.wait_closed(listening)
        await app.state.feeds.wait_closed()
        await run_in_threadpool(app.state.services.estimates.close)
        await run_in_threadpool(app.state.traces.close)
        app.state.sessions.close()
        app.state.services.rates.close()


def _share_the_processor() -> None:
    """Keep threads that check bodies from holding up the event loop.

    They give way every millisecond instead of every five. Collections of garbage stop every thread: they leave out
    what is here for good, the task index above all, and a body of a hundred thousand parts causes few of them.
    """
    load_packaged()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    sys.setswitchinterval(0.001)


def _close_on_signal(wakeups: WakeUps) -> None:
    """End streams when the server is told to stop: uvicorn waits for them before it ends the lifespan."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)

        def close_first(signum: int, frame: FrameType | None, before: Any = before) -> None:
            loop.call_soon_threadsafe(wakeups.close)
            if callable(before):
                before(signum, frame)

        signal.signal(number, close_first)
