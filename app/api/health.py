"""Liveness and readiness."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from app.api.problems import as_json, problems
from app.api.schemas.cluster import LiveOut, ReadyOut
from app.errors import BrokerUnreachableError, DatabaseUnreachableError, FaultyField
from app.services.health import OK
from app.web.deps import ServicesDep, known_parameters
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
