"""Every call there is, with the least role that may make it: a new one fails here until somebody has thought of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.routing import Route

from app.dashboard.routes import routers
from app.domain.ids import uuid7
from app.domain.keys import Role
from app.main import ROUTERS
from app.services.keys import KeyService

OPEN = None
TABLE: dict[tuple[str, str], Role | None] = {
    ("GET", "/"): OPEN,
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/static/{tag}/{name:path}"): OPEN,
    ("GET", "/sign-in"): OPEN,
    ("POST", "/sign-in"): OPEN,
    ("POST", "/sign-out"): Role.VIEWER,
    ("GET", "/queue/stream"): Role.VIEWER,
    ("GET", "/queue/table"): Role.VIEWER,
    ("GET", "/jobs"): Role.VIEWER,
    ("GET", "/jobs.csv"): Role.VIEWER,
    ("POST", "/jobs"): Role.SUBMITTER,
    ("GET", "/workers"): Role.VIEWER,
    ("GET", "/workers/stream"): Role.VIEWER,
    ("POST", "/workers"): Role.OPERATOR,
    ("GET", "/jobs/{job_id}"): Role.VIEWER,
    ("GET", "/jobs/{job_id}/stream"): Role.VIEWER,
    ("POST", "/jobs/{job_id}"): Role.SUBMITTER,
    ("GET", "/jobs/{job_id}/samples"): Role.VIEWER,
    ("GET", "/usage"): Role.VIEWER,
    ("GET", "/usage.csv"): Role.VIEWER,
    ("GET", "/submit"): Role.VIEWER,
    ("POST", "/submit"): Role.SUBMITTER,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/metrics"): Role.VIEWER,
    ("GET", "/v1/jobs"): Role.VIEWER,
    ("GET", "/v1/jobs/{job_id}"): Role.VIEWER,
    ("GET", "/v1/jobs/{job_id}/events"): Role.VIEWER,
    ("GET", "/v1/events"): Role.VIEWER,
    ("GET", "/v1/jobs/{job_id}/results"): Role.VIEWER,
    ("GET", "/v1/jobs/{job_id}/samples"): Role.VIEWER,
    ("GET", "/v1/jobs/{job_id}/artifacts"): Role.VIEWER,
    ("GET", "/v1/jobs/{job_id}/artifacts.zip"): Role.VIEWER,
    ("GET", "/v1/jobs/{job_id}/artifacts/{name:path}"): Role.VIEWER,
    ("GET", "/v1/jobs/{job_id}/logs"): Role.VIEWER,
    ("GET", "/v1/tasks"): Role.VIEWER,
    ("GET", "/v1/tasks/{name:path}"): Role.VIEWER,
    ("GET", "/v1/groups"): Role.VIEWER,
    ("GET", "/v1/backends"): Role.VIEWER,
    ("GET", "/v1/queue"): Role.VIEWER,
    ("GET", "/v1/usage"): Role.VIEWER,
    ("GET", "/v1/me"): Role.VIEWER,
    ("GET", "/v1/version"): Role.VIEWER,
    ("POST", "/v1/jobs/cancel"): Role.SUBMITTER,
    ("POST", "/v1/jobs"): Role.SUBMITTER,
    ("PATCH", "/v1/jobs/{job_id}"): Role.SUBMITTER,
    ("DELETE", "/v1/jobs/{job_id}"): Role.SUBMITTER,
    ("POST", "/v1/jobs/{job_id}/cancel"): Role.SUBMITTER,
    ("POST", "/v1/jobs/{job_id}/pause"): Role.SUBMITTER,
    ("POST", "/v1/jobs/{job_id}/resume"): Role.SUBMITTER,
    ("POST", "/v1/jobs/{job_id}/retry"): Role.SUBMITTER,
    ("POST", "/v1/groups/{name}/drain"): Role.OPERATOR,
    ("POST", "/v1/groups/{name}/resume"): Role.OPERATOR,
}


def calls(app: FastAPI) -> set[tuple[str, str]]:
    """Every route that answers, also those that the document does not list."""
    own = [route for route in app.routes if isinstance(route, Route)]
    included = [*(module.router for module in ROUTERS), *routers()]
    assert len(app.routes) == len(own) + len(included), "there is a mount or a router that is not in ROUTERS"
    routed = [route for router in included for route in router.routes if isinstance(route, Route)]
    return {
        (method, route.path) for route in [*own, *routed] for method in (route.methods or set()) - {"HEAD"}
    }


@pytest.fixture
def clients(app: FastAPI, api: TestClient) -> Iterator[dict[Role | None, TestClient]]:
    """A client for each role, and one without a key."""
    keys: KeyService = app.state.services.keys
    with ExitStack() as stack:
        found: dict[Role | None, TestClient] = {None: api}
        for role in Role:
            _, token = keys.create(name=role, role=role, team="red")
            headers = {"Authorization": f"Bearer {token}"}
            found[role] = stack.enter_context(TestClient(app, "http://127.0.0.1", headers=headers))
        keys._looked_at = float("-inf")
        yield found


def test_the_table_has_every_call(app: FastAPI) -> None:
    assert calls(app) == TABLE.keys()


def test_each_call_lets_in_those_it_should(clients: dict[Role | None, TestClient]) -> None:
    for (method, path), needed in TABLE.items():
        place = (
            path.replace("{job_id}", str(uuid7()))
            .replace("{name:path}", "x")
            .replace("{name}", "x")
            .replace("{tag}", "x")
        )
        headers = (
            {"Accept": "application/problem+json"} if path.endswith("/stream") else {}
        )  # it would not end
        for role, client in clients.items():
            status = client.request(method, place, headers=headers, follow_redirects=False).status_code
            may = needed is OPEN or (role is not None and role.permits(needed))
            refusal = 401 if role is None else 403
            assert (status not in (401, 403)) if may else (status == refusal), (method, path, role, status)
