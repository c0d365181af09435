"""Cancelling many jobs at once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.api import cancelling
from app.domain.ids import uuid7
from app.domain.job import Job
from app.domain.keys import Role
from app.errors import IllegalMoveError, StaleJobError, UnknownJobError
from app.services.job_view import JobView
from app.services.jobs import JobService
from app.services.keys import KeyService
from tests.api.conftest import JOB, Coordinator

URL = "/v1/jobs/cancel"


def submit(api: TestClient, **fields: Any) -> str:
    return str(api.post("/v1/jobs", json=JOB | fields).json()["id"])


def outcomes(answer: Any) -> dict[str, tuple[str, str | None]]:
    assert answer.status_code == 200, answer.text
    return {each["id"]: (each["outcome"], each["status"]) for each in answer.json()["data"]}


def test_each_job_is_told_what_became_of_it(api: TestClient, coordinator: Coordinator) -> None:
    ended = submit(api)
    coordinator.finish(ended)
    running = submit(api)
    coordinator.claim(running)
    waiting, unknown = submit(api), str(uuid7())
    found = outcomes(api.post(URL, json={"ids": [waiting, running, ended, unknown, "nope", waiting]}))
    assert found == {
        waiting: ("cancelled", "cancelled"),
        running: ("cancelling", "running"),
        ended: ("ended", "succeeded"),
        unknown: ("unknown", None),
        "nope": ("unknown", None),
    }
    assert outcomes(api.post(URL, json={"ids": [waiting]})) == {waiting: ("cancelled", "cancelled")}


@pytest.mark.parametrize("in_url", [True, False])
def test_filters_choose_what_has_not_ended(api: TestClient, in_url: bool) -> None:
    mine, other, over = submit(api, tags=["nightly"]), submit(api), submit(api, tags=["nightly"])
    api.post(f"/v1/jobs/{over}/cancel")
    wanted = {"tag": "nightly"}
    answer = api.post(URL, params=wanted) if in_url else api.post(URL, json=wanted)
    assert outcomes(answer) == {mine: ("cancelled", "cancelled")}
    assert answer.json()["more"] is False
    assert api.get(f"/v1/jobs/{other}").json()["status"] == "queued"


def test_more_than_fit_are_told_of(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "MOST_CANCELLED", 2)
    ids = {submit(api) for _ in range(3)}
    done: set[str] = set()
    for more in (True, False):
        answer = api.post(URL, json={"status": "queued", "created_after": "2001-01-01T00:00:00Z"})
        done |= outcomes(answer).keys()
        assert answer.json()["more"] is more
    assert done == ids


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", {}),
        ("", {"ids": []}),
        ("?status=", {}),
        ("?tag=", {}),
        ("?owner=", {}),
        ("?tag=%20", {}),
        ("?status=queued&tag=", {}),
        ("", {"name": ""}),
        ("", {"tag": "  "}),
        ("", {"status": "queued", "model": ""}),
        ("", {"ids": [str(UUID(int=1))], "tag": "x"}),
        ("?tag=x", {"ids": [str(UUID(int=1))]}),
        ("", {"ids": ["x"] * 1001}),
        ("", {"id": ["x"]}),
        ("", {"ids": [1]}),
        ("", {"status": "waiting"}),
        ("", {"created_after": "soon"}),
        ("", {"status": "queued", "created_after": ""}),
        ("", {"tag": 1}),
        ("", {"team": "red"}),
    ],
)
def test_nobody_cancels_everything_by_mistake(api: TestClient, job_id: str, query: str, body: Any) -> None:
    answer = api.post(f"{URL}{query}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"]
    assert api.get(f"/v1/jobs/{job_id}").json()["status"] == "queued"


def test_nothing_said_at_all_is_refused(api: TestClient, job_id: str) -> None:
    assert api.post(URL).status_code == 422
    assert api.post(URL, content=b"[]", headers={"content-type": "application/json"}).status_code == 422
    assert api.get(f"/v1/jobs/{job_id}").json()["status"] == "queued"


def test_a_job_of_another_team_is_none(app: FastAPI, api: TestClient, job_id: str) -> None:
    keys: KeyService = app.state.services.keys
    _, token = keys.create(name="bob", role=Role.SUBMITTER, team="blue")
    keys._looked_at = float("-inf")
    bob = {"Authorization": f"Bearer {token}"}
    assert outcomes(api.post(URL, json={"ids": [job_id]}, headers=bob)) == {job_id: ("unknown", None)}
    assert outcomes(api.post(URL, json={"status": "queued"}, headers=bob)) == {}
    assert app.state.services.jobs.view(UUID(job_id)).job.status == "queued"


@pytest.mark.parametrize(
    ("error", "outcome"), [(StaleJobError("again"), "busy"), (UnknownJobError("deleted"), "unknown")]
)
def test_one_that_changes_meanwhile_holds_up_no_other(
    api: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: str
) -> None:
    odd, other = submit(api), submit(api)
    api.post(f"/v1/jobs/{odd}/cancel")
    cancel = JobService.cancel

    def cancelled(jobs: JobService, job_id: UUID) -> Job:
        if str(job_id) == odd and isinstance(error, StaleJobError):
            raise error
        return cancel(jobs, job_id)

    def ended(jobs: JobService, job_id: UUID) -> JobView:
        raise error

    monkeypatch.setattr(JobService, "cancel", lambda jobs, job_id: _over(cancelled(jobs, job_id), odd))
    monkeypatch.setattr(JobService, "view", ended)
    found = outcomes(api.post(URL, json={"ids": [odd, other]}))
    assert found == {odd: (outcome, None), other: ("cancelled", "cancelled")}


def _over(job: Job, odd: str) -> Job:
    if str(job.id) == odd:
        raise IllegalMoveError("it has ended")
    return job
