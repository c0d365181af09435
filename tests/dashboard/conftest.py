"""The dashboard in process, as a browser asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.domain.keys import Role
from app.services.keys import KeyService
from tests.api.conftest import api, app, busy, coordinator, job_id

__all__ = ["api", "app", "busy", "coordinator", "job_id"]

ACCEPT = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
As = Callable[..., TestClient]


@pytest.fixture
def browser(app: FastAPI, api: TestClient) -> Iterator[TestClient]:
    """Without a key."""
    with TestClient(app, "http://127.0.0.1", headers=ACCEPT, follow_redirects=False) as client:
        yield client


@pytest.fixture
def keys(app: FastAPI, api: TestClient) -> KeyService:
    service: KeyService = app.state.services.keys
    return service


@pytest.fixture
def signed_in(app: FastAPI, keys: KeyService) -> Iterator[As]:
    """A browser of somebody who signed in with a key of their own."""
    clients: list[TestClient] = []

    def client(role: Role = Role.SUBMITTER, team: str = "red", name: str = "alice") -> TestClient:
        _, token = keys.create(name=name, role=role, team=team)
        keys._looked_at = float("-inf")
        clients.append(TestClient(app, "http://127.0.0.1", headers=ACCEPT, follow_redirects=False))
        answer = clients[-1].post("/sign-in", data={"key": token})
        assert answer.status_code == 303, answer.text
        return clients[-1]

    yield client
    for each in clients:
        each.close()
