"""POST /v1/jobs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.domain.job_filter import JobFilter
from tests.api.conftest import JOB, Coordinator
from tests.api.fakes import TASKS
from tests.waiting import until


def paths(problem: dict[str, Any]) -> list[str]:
    return [fault["path"] for fault in problem["errors"]]


def test_a_job_is_accepted_with_its_place(api: TestClient) -> None:
    answer = api.post("/v1/jobs", json=JOB | {"name": "nightly", "priority": 70, "tags": ["a"]})
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert (job["status"], job["name"], job["priority"], job["tags"]) == ("queued", "nightly", 70, ["a"])
    assert job["owner"] == "anonymous"
    assert job["plan"]["replicas"] == "auto"
    assert job["progress"] == {
        "done": 0,
        "total": None,
        "unit": "requests",
        "percent": None,
        "reused": 0,
        "requests_per_second": None,
        "tokens_per_second": None,
        "eta_seconds": None,
        "stalled_seconds": 0.0,
    }


def test_faults_of_shape_and_of_meaning_come_together(api: TestClient) -> None:
    body = {
        "modle": "hf",
        "tasks": ["toy", "gsm8kk"],
        "num_fewshot": "five",
        "batch_size": 1.5,
        "limit": True,
    }
    problem = api.post("/v1/jobs", json=body).json()
    assert problem["status"] == 422
    assert problem["code"] == "invalid_job"
    assert sorted(paths(problem)) == ["batch_size", "limit", "model", "modle", "num_fewshot", "tasks.1"]
    by_path = {fault["path"]: fault for fault in problem["errors"]}
    assert by_path["modle"]["allowed"] == ["model"]
    assert by_path["tasks.1"]["allowed"] == list(TASKS)
    assert by_path["batch_size"]["message"] == "should be a valid integer or a valid string"


def test_a_dry_run_stores_nothing(api: TestClient) -> None:
    answer = api.post("/v1/jobs?dry_run=true", json=JOB)
    assert answer.status_code == 200
    assert answer.json()["valid"] is True
    assert answer.json()["plan"]["backend"] == "hf"
    assert answer.json()["errors"] == []
    assert api.get("/v1/jobs").json()["data"] == []


def test_a_dry_run_of_an_impossible_job_lists_its_faults(api: TestClient) -> None:
    answer = api.post("/v1/jobs?dry_run=true", json={"model": "hf", "tasks": "nope", "seed": {}})
    assert answer.status_code == 200
    assert answer.json()["valid"] is False
    assert answer.json()["plan"] is None
    assert sorted(paths(answer.json())) == ["seed", "tasks.0"]


@pytest.mark.parametrize("body", [b"{", b"", b'{"limit": NaN}', b"\xff", b"[" * 100_000])
def test_malformed_json_is_a_bad_request(api: TestClient, body: bytes) -> None:
    answer = api.post("/v1/jobs", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")


@pytest.mark.parametrize(
    "body",
    [
        '"text"',
        "[]",
        '{"limit": 1e999}',
        '{"name": "a\\u0000"}',
        '{"tags": ["\\ud800"]}',
        '{"\\ud800": {"a": "\\u0000"}}',
    ],
)
def test_what_cannot_be_a_job_is_unprocessable(api: TestClient, body: str) -> None:
    answer = api.post("/v1/jobs", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_body_nested_without_end_is_unprocessable(api: TestClient) -> None:
    body = '{"model_args": ' + '{"a": ' * 100 + "1" + "}" * 101
    answer = api.post("/v1/jobs", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_body_that_a_web_page_could_send_unasked_is_refused(api: TestClient) -> None:
    answer = api.post("/v1/jobs", content=b'{"model": "hf"}', headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_a_huge_body_is_refused(api: TestClient) -> None:
    answer = api.post("/v1/jobs", json=JOB | {"system_instruction": "x" * 4_200_000})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_the_same_key_and_body_give_the_first_job_again(api: TestClient) -> None:
    first = api.post("/v1/jobs", json=JOB, headers={"Idempotency-Key": "k"})
    again = api.post("/v1/jobs", json=dict(reversed(JOB.items())), headers={"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["location"] == first.headers["location"]


def test_the_same_key_with_another_body_is_refused(api: TestClient) -> None:
    api.post("/v1/jobs", json=JOB, headers={"Idempotency-Key": "k"})
    answer = api.post("/v1/jobs", json=JOB | {"limit": 3}, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_conflict")


def test_a_key_whose_first_request_is_in_flight_is_refused(api: TestClient, app: FastAPI) -> None:
    checking, go_on = threading.Event(), threading.Event()
    submissions = app.state.services.submissions

    def pause() -> None:
        checking.set()
        assert go_on.wait(10)

    submissions.before = pause
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(api.post, "/v1/jobs", json=JOB, headers={"Idempotency-Key": "k"})
        assert checking.wait(10)
        second = api.post("/v1/jobs", json=JOB, headers={"Idempotency-Key": "k"})
        go_on.set()
        assert first.result().status_code == 202
    assert (second.status_code, second.json()["code"]) == (409, "idempotency_in_flight")
    assert api.post("/v1/jobs", json=JOB, headers={"Idempotency-Key": "k"}).status_code == 200


def test_racing_posts_with_one_key_make_one_job(api: TestClient, app: FastAPI) -> None:
    def post(_: int) -> int:
        return api.post("/v1/jobs", json=JOB, headers={"Idempotency-Key": "k"}).status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(post, range(16)))
    assert statuses.count(202) == 1
    assert set(statuses) <= {200, 202, 409}
    assert len(app.state.services.jobs.page(JobFilter(), 100, None).views) == 1


def test_waiting_is_bounded(api: TestClient) -> None:
    answer = api.post("/v1/jobs", json=JOB, headers={"Prefer": "respond-async, wait=1"})
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "wait=1"
    assert answer.json()["status"] == "queued"


def test_waiting_ends_with_the_job(api: TestClient, app: FastAPI, coordinator: Coordinator) -> None:
    def finish() -> None:
        jobs = app.state.services.jobs
        until(lambda: jobs.page(JobFilter(), 1, None).views)
        coordinator.finish(str(jobs.page(JobFilter(), 1, None).views[0].job.id))

    with ThreadPoolExecutor(1) as pool:
        finishing = pool.submit(finish)
        answer = api.post("/v1/jobs", json=JOB, headers={"Prefer": "wait=600"})
        finishing.result()
    assert answer.headers["preference-applied"] == "wait=60"
    assert answer.json()["status"] == "succeeded"


def test_a_preference_that_is_not_understood_is_ignored(api: TestClient) -> None:
    answer = api.post("/v1/jobs", json=JOB, headers={"Prefer": "wait=soon"})
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


ODD = {
    "half": 0.5,
    "tiny": 1e-7,
    "vast": 1e22,
    "none": None,
    "deep": {"b": [1, {"a": "ü\U0001f600"}], "": {}},
}


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"name": "nightly", "priority": 70, "tags": ["b", "a"], "deadline_seconds": 0.1},
        {
            "metadata": ODD,
            "gen_kwargs": {"temperature": 0.25, "max_gen_toks": 3},
            "tasks": ["toy", "arc_easy"],
        },
    ],
)
def test_a_new_job_is_answered_as_it_is_stored(api: TestClient, odd: dict[str, Any]) -> None:
    answered = api.post("/v1/jobs", json=JOB | odd).json()
    assert answered == api.get(f"/v1/jobs/{answered['id']}").json()


def test_a_job_begins_its_events_with_one(api: TestClient, coordinator: Coordinator) -> None:
    job_id = api.post("/v1/jobs", json=JOB).json()["id"]
    coordinator.claim(job_id)
    told = api.get(f"/v1/jobs/{job_id}/events", headers={"Accept": "application/json"}).json()["data"]
    assert [(event["id"], event["type"]) for event in told][:2] == [(1, "job.queued"), (2, "job.phase")]
