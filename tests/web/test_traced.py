"""Traces of requests: taken up from clients, kept with jobs, named in log lines, and sent to a collector."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.domain.keys import new_token
from app.log_lines import RecordFormatter
from app.main import create_app
from app.services.jobs import JobService
from app.settings import Settings
from tests.api.conftest import JOB
from tests.api.fakes import FakeSubmissions
from tests.collector import Collector, collecting

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield found


@pytest.fixture
def traced(settings: Settings, collector: Collector) -> Iterator[TestClient]:
    """The API of an operator with a collector."""
    app = create_app(settings.model_copy(update={"otlp_endpoint": collector.url}))
    app.state.services = replace(app.state.services, submissions=FakeSubmissions())
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


def test_a_job_belongs_to_the_trace_of_the_request_that_posted_it(
    api: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.setFormatter(RecordFormatter("json"))
    with caplog.at_level("INFO"):
        job = api.post("/v1/jobs", json=JOB, headers=HEADERS).json()
    assert job["trace_id"] == TRACE
    assert api.get(f"/v1/jobs/{job['id']}").json()["trace_id"] == TRACE
    [said] = [json.loads(line) for line in caplog.text.splitlines() if "submitted" in line]
    assert (said["trace"], said["job"]) == (TRACE, job["id"])


@pytest.mark.parametrize(
    "sent",
    [
        [],
        ["hello"],
        [f"00-{'0' * 32}-{SPAN}-01"],
        [HEADERS["traceparent"], HEADERS["traceparent"].replace("4", "5")],
        [HEADERS["traceparent"] + "\xe9"],
    ],
    ids=["none", "no trace", "zeros", "two", "odd"],
)
def test_else_a_trace_begins_with_the_job(api: TestClient, sent: list[str]) -> None:
    headers = [(b"traceparent", each.encode("latin-1")) for each in sent]
    first, second = (api.post("/v1/jobs", json=JOB, headers=headers).json()["trace_id"] for _ in range(2))
    assert len(first) == len(second) == 32
    assert len({first, second, TRACE}) == 3


def test_a_job_that_was_posted_before_keeps_its_trace(api: TestClient) -> None:
    key = {"Idempotency-Key": "once"}
    first = api.post("/v1/jobs", json=JOB, headers=key).json()
    assert api.post("/v1/jobs", json=JOB, headers=key | HEADERS).json()["trace_id"] == first["trace_id"]


def test_a_request_is_a_span_named_by_its_route(traced: TestClient, collector: Collector) -> None:
    job = traced.post("/v1/jobs", json=JOB, headers=HEADERS | {"X-Request-Id": "mine"}).json()
    traced.head(f"/v1/jobs/{job['id']}", headers=HEADERS)
    traced.get("/v1/jobs?limit=x", headers=HEADERS)
    traced.get("/nowhere/at/all", headers=HEADERS)
    names = ("POST /v1/jobs", "GET /v1/jobs/{job_id}", "GET /v1/jobs", "GET")
    spans = collector.awaited(*names, trace_id=TRACE)
    assert {span.parent_id for span in spans.values()} == {SPAN}
    assert {span.service for span in spans.values()} == {"evalq-api"}
    assert spans["POST /v1/jobs"].attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/jobs",
        "http.response.status_code": 202,
        "evalq.request.id": "mine",
    }
    assert spans["GET /v1/jobs"].attributes["http.response.status_code"] == 422
    assert not spans["GET /v1/jobs"].failed


def test_no_span_holds_what_was_sent(traced: TestClient, collector: Collector) -> None:
    token = new_token()
    traced.get(f"/v1/jobs?tag=hunter2&key={token}", headers={"Authorization": f"Bearer {token}"})
    traced.post("/v1/jobs", json=JOB | {"name": "hunter2"}, headers=HEADERS)
    traced.get("/v1/jobs/hunter2")
    collector.awaited("GET", "POST /v1/jobs", "GET /v1/jobs/{job_id}")
    assert b"hunter2" not in collector.raw
    assert token.encode() not in collector.raw


def test_what_breaks_is_a_span_that_failed(
    traced: TestClient, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(JobService, "page", breaks)
    assert traced.get("/v1/jobs").status_code == 500
    assert collector.awaited("GET /v1/jobs")["GET /v1/jobs"].failed


def test_probes_are_no_spans(traced: TestClient, collector: Collector) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/v1/groups"):
        traced.get(path)
    collector.awaited("GET /v1/groups")
    assert len(collector.spans()) == 1


def test_a_client_that_does_not_record_its_trace_has_none_recorded_here(
    traced: TestClient, collector: Collector
) -> None:
    unsampled = {"traceparent": f"00-{TRACE}-{SPAN}-00"}
    job = traced.post("/v1/jobs", json=JOB, headers=unsampled).json()
    assert job["trace_id"] == TRACE
    traced.get("/v1/groups")
    collector.awaited("GET /v1/groups")
    assert collector.spans(TRACE) == []


def test_fastapi_makes_no_spans_of_its_own(app: FastAPI) -> None:
    assert not app._native_telemetry.enabled()
    assert not any(app._telemetry[each] for each in ("tracing", "metrics", "logs"))
