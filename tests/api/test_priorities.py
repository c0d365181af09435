"""Priorities within the operator's bounds, by the role of a key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.domain.keys import Role
from app.domain.priorities import nearest, priority_faults
from app.settings import Settings
from app.workloads.lm_eval.spec import PRIORITIES
from tests.api.conftest import JOB

BOUNDS = {Role.SUBMITTER: (10, 40)}


@pytest.fixture
def bounded(app: FastAPI, api: TestClient) -> Iterator[TestClient]:
    """A submitter, whose priorities are bounded."""
    services = app.state.services
    app.state.services = replace(
        services, settings=services.settings.model_copy(update={"priority_bounds": BOUNDS})
    )
    _, token = services.keys.create(name="alice", role=Role.SUBMITTER, team="red")
    services.keys._looked_at = float("-inf")
    with TestClient(app, "http://127.0.0.1", headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


def faults(problem: dict[str, Any]) -> list[tuple[str, str]]:
    return [(fault["path"], fault["message"]) for fault in problem["errors"]]


def test_a_priority_out_of_bounds_is_refused_by_its_bound(bounded: TestClient) -> None:
    answer = bounded.post("/v1/jobs", json=JOB | {"priority": 41, "limit": True})
    assert answer.status_code == 422
    priority, limit = sorted(faults(answer.json()), reverse=True)
    words = "is 41: with a key of role submitter it may be 10 to 40 (EVALQ_PRIORITY_BOUNDS)"
    assert priority == ("priority", words)
    assert limit[0] == "limit", "all faults come at once"
    dry = bounded.post("/v1/jobs?dry_run=true", json=JOB | {"priority": 9}).json()
    assert [path for path, _ in faults(dry)] == ["priority"]


def test_within_bounds_it_stands_and_where_none_is_said_it_is_the_nearest(bounded: TestClient) -> None:
    assert bounded.post("/v1/jobs", json=JOB | {"priority": 40}).json()["priority"] == 40
    for body in (JOB, JOB | {"priority": None}):
        assert bounded.post("/v1/jobs", json=body).json()["priority"] == 40


def test_a_change_is_held_to_the_same_and_what_stands_stays(
    app: FastAPI, api: TestClient, bounded: TestClient
) -> None:
    job = bounded.post("/v1/jobs", json=JOB).json()["id"]
    app.state.services.jobs.change(UUID(job), priority=90)
    assert bounded.patch(f"/v1/jobs/{job}", json={"name": "mine"}).json()["priority"] == 90
    answer = bounded.patch(f"/v1/jobs/{job}", json={"priority": 80})
    assert (answer.status_code, faults(answer.json())[0][0]) == (422, "priority")
    assert bounded.patch(f"/v1/jobs/{job}", json={"priority": 10}).json()["priority"] == 10


def test_other_roles_and_an_open_service_have_all(api: TestClient) -> None:
    assert priority_faults(100, Role.OPERATOR, BOUNDS) == []
    assert nearest(50, Role.OPERATOR, BOUNDS) == 50
    assert nearest(5, Role.SUBMITTER, BOUNDS) == 10
    assert api.post("/v1/jobs", json=JOB | {"priority": 100}).json()["priority"] == 100


@pytest.mark.parametrize(
    "value",
    ['{"submitter": [0, 101]}', '{"submitter": [-1, 5]}', '{"submitter": [9, 5]}', '{"user": [0, 5]}', "[]"],
)
def test_bounds_that_cannot_be_are_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("EVALQ_PRIORITY_BOUNDS", value)
    with pytest.raises(ValueError, match="priority_bounds"):
        Settings()


def test_bounds_are_of_the_priorities_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    widest = f'{{"operator": [{PRIORITIES.least}, {PRIORITIES.most}]}}'
    monkeypatch.setenv("EVALQ_PRIORITY_BOUNDS", widest)
    assert Settings().priority_bounds == {Role.OPERATOR: (PRIORITIES.least, PRIORITIES.most)}
