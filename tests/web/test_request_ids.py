"""X-Request-Id: in every answer, in problems, and in the context that log lines are written in."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.asking import request_id
from app.log_lines import RecordFormatter
from app.services.jobs import JobService
from tests.api.conftest import JOB

HEADER = "x-request-id"


@pytest.mark.parametrize(
    "path", ["/healthz", "/v1/jobs", "/v1/jobs/nope", "/nowhere", "/docs", "/v1/jobs?key=x"]
)
def test_every_answer_has_an_id_of_its_own(api: TestClient, path: str) -> None:
    first, second = (api.get(path).headers[HEADER] for _ in range(2))
    assert UUID(first) != UUID(second)


@pytest.mark.parametrize(
    "sent", ["a", "4bf92f3577b34da6a3ce929d0e0e4736", "job/7:retry=2@host.example", "x" * 128]
)
def test_a_sane_id_of_the_client_is_kept(api: TestClient, sent: str) -> None:
    answer = api.get("/v1/jobs/nope", headers={HEADER: sent})
    assert answer.headers[HEADER] == answer.json()["request_id"] == sent


@pytest.mark.parametrize("sent", ["", " ", "a b", "a\tb", "x" * 129, "\xe9", '"', "<b>", "evq_" + "a" * 43])
def test_an_id_that_could_forge_a_line_or_holds_a_key_is_replaced(api: TestClient, sent: str) -> None:
    answer = api.get("/healthz", headers={HEADER.encode(): sent.encode("latin-1")})
    assert UUID(answer.headers[HEADER])


def test_a_surprise_is_found_in_the_log_by_its_id(
    app: FastAPI, api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any) -> None:
        raise RuntimeError(request_id.get())

    monkeypatch.setattr(JobService, "view", breaks)
    quiet = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    answer = quiet.get("/v1/jobs/00000000-0000-0000-0000-000000000001", headers={HEADER: "mine"})
    assert (answer.status_code, answer.headers[HEADER]) == (500, "mine")
    assert answer.json()["request_id"] == "mine"
    with pytest.raises(RuntimeError, match=r"^mine$"):
        api.get("/v1/jobs/00000000-0000-0000-0000-000000000001", headers={HEADER: "mine"})


def test_the_log_tells_which_request_submitted_a_job(
    api: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.setFormatter(RecordFormatter())
    with caplog.at_level("INFO"):
        job_id = api.post("/v1/jobs", json=JOB, headers={HEADER: "mine"}).json()["id"]
    assert f"[job {job_id}] [request mine] submitted\n" in caplog.text
