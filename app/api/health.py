"""Liveness, readiness and Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse, PlainTextResponse

from app.api.problems import as_json, problems
from app.api.schemas.cluster import LiveOut, ReadyOut
from app.domain.replica import DeviceState
from app.errors import BrokerUnreachableError, DatabaseUnreachableError, FaultyField
from app.services.health import OK
from app.web.deps import Services, ServicesDep, known_parameters
from app.web.problems import Problem

router = APIRouter(tags=["health"], dependencies=[Depends(known_parameters)])

VERSION = version("evalq")


@router.get("/healthz", summary="Liveness", responses=problems())
async def read_liveness() -> LiveOut:
    """The process answers; nothing else is looked at."""
    return LiveOut(status=OK)


@router.get(
    "/readyz",
    summary="Readiness",
    response_model=ReadyOut,
    responses=problems(DatabaseUnreachableError, BrokerUnreachableError),
)
def read_readiness(services: ServicesDep) -> ReadyOut | JSONResponse:
    """503 names what is down: database, schema or broker."""
    checks = services.health.checks()
    down = [FaultyField(name, found) for name, found in checks.items() if found != OK]
    if not down:
        return ReadyOut(status="ready", checks=dict(checks))
    detail = "; ".join(f"{fault.path}: {fault.message}" for fault in down)
    found = Problem(503, "not_ready", "Not ready", detail, tuple(down), {"Retry-After": "5"})
    return as_json(found)


@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse, responses=problems())
def read_metrics(services: ServicesDep) -> PlainTextResponse:
    """What is cheap to know: jobs by status, devices by state, heartbeats, the version."""
    return PlainTextResponse("\n".join(_metrics(services)) + "\n", media_type="text/plain; version=0.0.4")


def _metrics(services: Services) -> Iterator[str]:
    groups = services.groups.all()
    now = datetime.now(UTC)
    yield from _family("evalq_build_info", "The version that answers.")
    yield _sample("evalq_build_info", 1, version=VERSION)
    yield from _family("evalq_jobs", "Jobs by status.")
    for status, count in services.jobs.counts().items():
        yield _sample("evalq_jobs", count, status=status)
    yield from _family("evalq_gpus", "Devices by group and state.")
    for group in (state.group for state in groups):
        for device_state in DeviceState:
            count = sum(device.state == device_state for device in group.devices)
            yield _sample("evalq_gpus", count, group=group.name, state=device_state)
    yield from _family("evalq_worker_heartbeat_age_seconds", "Seconds since a group's worker was heard of.")
    for group in (state.group for state in groups):
        age = max((now - group.heartbeat_at).total_seconds(), 0.0)
        yield _sample("evalq_worker_heartbeat_age_seconds", round(age, 3), group=group.name)


def _family(name: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} gauge"]


def _sample(name: str, value: float, **labels: str) -> str:
    named = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{named}}} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
