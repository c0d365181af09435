"""Jobs: list, read, change, stop, go on, delete."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.db import model_names
from app.domain.job_filter import JobFilter
from app.services.job_view import JobViews
from tests.api.conftest import JOB, Coordinator
from tests.jobs import submission


def test_a_list_is_paged_newest_first(api: TestClient) -> None:
    ids = [api.post("/v1/jobs", json=JOB).json()["id"] for _ in range(5)]
    first = api.get("/v1/jobs", params={"limit": 2}).json()
    second = api.get("/v1/jobs", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    third = api.get("/v1/jobs", params={"limit": 2, "cursor": second["next_cursor"]}).json()
    found = [job["id"] for page in (first, second, third) for job in page["data"]]
    assert found == ids[::-1]
    assert third["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("status=queued", 2),
        ("status=running", 0),
        ("model=/models/tiny", 2),
        ("model=TINY", 2),
        ("model=other", 0),
        ("model=t_ny", 0),
        ("model=%25", 0),
        ("task=gsm8k", 1),
        ("tag=nightly", 1),
        ("owner=anonymous", 2),
        ("owner=alice", 0),
        ("name=mine", 1),
        ("created_after=2001-01-01T00:00:00Z", 2),
        ("created_after=2999-01-01T00:00:00Z", 0),
        ("status=&model=&task=&tag=&owner=&created_after=&cursor=", 2),
    ],
)
def test_a_list_is_filtered(api: TestClient, query: str, count: int) -> None:
    api.post("/v1/jobs", json=JOB | {"tags": ["nightly"]})
    api.post("/v1/jobs", json=JOB | {"tasks": "gsm8k,toy", "name": "mine"})
    assert len(api.get(f"/v1/jobs?{query}").json()["data"]) == count


@pytest.mark.parametrize(("most", "found"), [(1000, 200), (2, 200), (1000, 1)])
def test_a_part_of_a_model_s_name_finds_all_that_have_it(
    app: FastAPI, api: TestClient, monkeypatch: pytest.MonkeyPatch, most: int, found: int
) -> None:
    monkeypatch.setattr(model_names, "MOST", most)
    monkeypatch.setattr(model_names, "MOST_FOUND", found)
    long = "/" + "\U0001f600é%_" * 300
    names = ["/Org/a", "/org/b", long + "x", "/b", "/org/a", long + "y", "/a_%/", "/org/b"]
    jobs = app.state.services.jobs
    stored = [(str(jobs.submit(submission(model=name), "alice")[0].id), name) for name in names]
    for part in ("org/", "/A", "b", "x", "%_", "\U0001f600É", "/", "none", long[:1000].upper()):
        expected = [job_id for job_id, name in stored[::-1] if part.lower() in name.lower()]
        assert found_ids(api, {"model": part, "limit": 2}) == expected
    assert found_ids(api, {"model": "org", "status": "running", "limit": 2}) == []


def found_ids(api: TestClient, query: dict[str, Any]) -> list[str]:
    """Those of all pages of a list."""
    page = api.get("/v1/jobs", params=query).json()
    rest = found_ids(api, query | {"cursor": page["next_cursor"]}) if page["next_cursor"] else []
    return [job["id"] for job in page["data"]] + rest


def test_jobs_are_found_by_the_beginning_of_an_id(api: TestClient, job_id: str) -> None:
    other = api.post("/v1/jobs", json=JOB).json()["id"]
    found = {
        text: api.get("/v1/jobs", params={"id": text})
        for text in (job_id, job_id.upper()[:35], job_id[:8], "f", "-")
    }
    listed = [[job["id"] for job in answer.json()["data"]] for answer in found.values()]
    assert listed == [[job_id], [job_id], [other, job_id], [], []]
    assert [api.get("/v1/jobs", params={"id": text}).status_code for text in ("g", "0" * 37, "@last")] == [
        422
    ] * 3


def test_an_unknown_parameter_names_the_known_ones(api: TestClient) -> None:
    problem = api.get("/v1/jobs?stauts=queued&limit=1").json()
    assert (problem["status"], problem["code"]) == (400, "unknown_parameter")
    assert problem["errors"][0]["path"] == "query.stauts"
    assert {"status", "model", "task", "tag", "owner", "created_after", "limit", "cursor"} <= set(
        problem["errors"][0]["allowed"]
    )


@pytest.mark.parametrize(
    "query", ["status=done", "limit=0", "limit=x", "cursor=nope", "cursor=WzEsMl0", "model=%00"]
)
def test_a_wrong_value_is_unprocessable(api: TestClient, query: str) -> None:
    answer = api.get(f"/v1/jobs?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_wrong_status_names_the_right_ones(api: TestClient) -> None:
    problem = api.get("/v1/jobs?status=done").json()
    assert "partially_failed" in problem["errors"][0]["allowed"]


@pytest.mark.parametrize("job_id", ["nope", "01a21d84-541d-7e3b-91d3-c8c41f2e9cf0", "%00"])
def test_an_unknown_job_is_not_found(api: TestClient, job_id: str) -> None:
    answer = api.get(f"/v1/jobs/{job_id}")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code in {404, 422}
    assert answer.json()["code"] in {"unknown_job", "invalid_request"}


def test_a_terminal_gets_text(api: TestClient, job_id: str, coordinator: Coordinator) -> None:
    coordinator.finish(job_id)
    text = api.get(f"/v1/jobs/{job_id}", headers={"Accept": "text/plain"})
    assert text.headers["content-type"].startswith("text/plain")
    assert "status    succeeded" in text.text
    assert "acc,none 0.5000" in text.text


def test_a_running_job_shows_how_far_it_is(api: TestClient, job_id: str, coordinator: Coordinator) -> None:
    lease = coordinator.claim(job_id)
    coordinator.service.prepared(lease, b"f" * 32, [("toy", 8)], {})
    job = api.get(f"/v1/jobs/{job_id}").json()
    assert (job["status"], job["phase"], job["attempt"]) == ("running", "preparing", 1)
    assert job["progress"]["total"] == 8
    assert job["progress"]["percent"] == 0.0
    nothing_yet = {"metrics": None, "quality": None, "error": None}
    assert job["tasks"] == [{"name": "toy", "status": "running", "done": 0, "total": 8, **nothing_yet}]


def test_name_priority_and_tags_can_be_changed(api: TestClient, job_id: str) -> None:
    answer = api.patch(f"/v1/jobs/{job_id}", json={"name": "new", "priority": 90, "tags": ["b"]})
    assert answer.status_code == 200
    job = api.get(f"/v1/jobs/{job_id}").json()
    assert (job["name"], job["priority"], job["tags"]) == ("new", 90, ["b"])
    api.patch(f"/v1/jobs/{job_id}", json={"priority": 10})
    assert api.get(f"/v1/jobs/{job_id}").json()["name"] == "new"


@pytest.mark.parametrize("body", [{"status": "done"}, {"priority": "high"}, {"priority": 101}, {"tags": [1]}])
def test_nothing_else_can_be_changed(api: TestClient, job_id: str, body: dict[str, object]) -> None:
    answer = api.patch(f"/v1/jobs/{job_id}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_waiting_job_is_cancelled_once_and_for_all(api: TestClient, job_id: str) -> None:
    for _ in range(2):
        answer = api.post(f"/v1/jobs/{job_id}/cancel")
        assert answer.status_code == 200
        assert answer.json()["status"] == "cancelled"
        assert answer.json()["ended_at"]


def test_a_running_job_is_asked_to_stop(api: TestClient, job_id: str, coordinator: Coordinator) -> None:
    coordinator.claim(job_id)
    job = api.post(f"/v1/jobs/{job_id}/cancel").json()
    assert job["status"] == "running"
    assert job["cancel_requested_at"]
    assert api.post(f"/v1/jobs/{job_id}/cancel").json()["cancel_requested_at"] == job["cancel_requested_at"]


def test_a_paused_job_waits_and_goes_on(api: TestClient, job_id: str) -> None:
    assert api.post(f"/v1/jobs/{job_id}/pause").json()["status"] == "paused"
    assert api.post(f"/v1/jobs/{job_id}/pause").json()["status"] == "paused"
    assert api.post(f"/v1/jobs/{job_id}/resume").json()["status"] == "queued"
    assert api.post(f"/v1/jobs/{job_id}/resume").json()["status"] == "queued"


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume", "retry"])
def test_a_finished_job_cannot_be_moved(
    api: TestClient, job_id: str, coordinator: Coordinator, verb: str
) -> None:
    coordinator.finish(job_id)
    answer = api.post(f"/v1/jobs/{job_id}/{verb}")
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_move")
    assert "succeeded" in answer.json()["detail"]


def test_a_cancelled_job_can_be_retried(api: TestClient, job_id: str) -> None:
    api.post(f"/v1/jobs/{job_id}/cancel")
    job = api.post(f"/v1/jobs/{job_id}/retry").json()
    assert (job["status"], job["ended_at"]) == ("queued", None)


def test_only_ended_jobs_are_deleted(api: TestClient, job_id: str) -> None:
    refused = api.delete(f"/v1/jobs/{job_id}")
    assert (refused.status_code, refused.json()["code"]) == (409, "illegal_move")
    api.post(f"/v1/jobs/{job_id}/cancel")
    assert api.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert api.delete(f"/v1/jobs/{job_id}").status_code == 404


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume", "retry"])
def test_a_job_that_is_not_there_cannot_be_moved(api: TestClient, verb: str) -> None:
    assert api.post(f"/v1/jobs/{UUID(int=1)}/{verb}").json()["code"] == "unknown_job"


@pytest.mark.parametrize("since", ["2001-01-01", "2001-01-01T00:00:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_without_a_zone_is_utc(app: FastAPI, api: TestClient, since: str) -> None:
    """The database would take it for its own, and a stream could compare it with nothing."""
    asked: list[JobFilter] = []

    def page(wanted: JobFilter, *_: Any) -> JobViews:
        asked.append(wanted)
        return JobViews([], more=False)

    app.state.services = replace(app.state.services, jobs=SimpleNamespace(page=page))
    assert api.get("/v1/jobs", params={"created_after": since}).status_code == 200
    assert api.post("/v1/jobs/cancel", json={"created_after": since}).status_code == 200
    assert len(asked) == 2
    assert all(each.created_after and each.created_after.tzinfo for each in asked)
