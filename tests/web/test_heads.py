"""HEAD wherever GET answers, and what a client would rather read."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.domain.ids import uuid7
from app.web.preference import preferred
from app.web.streams import AS_IT_COMES
from tests.api.conftest import Coordinator

OWN = {"date", "content-length"}


def test_head_answers_as_get_does_without_the_body(
    app: FastAPI, api: TestClient, job_id: str, coordinator: Coordinator
) -> None:
    coordinator.finish(job_id)
    paths = [path for path, item in app.openapi()["paths"].items() if "get" in item]
    for path in [*paths, "/docs", "/openapi.json", "/nowhere", f"/v1/jobs/{uuid7()}"]:
        url = path.replace("{job_id}", job_id).replace("{name}", "toy")
        got, head = api.get(url), api.head(url)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        assert head.headers.keys() - OWN == got.headers.keys() - OWN, path


@pytest.mark.parametrize("part", ["events", "logs?follow=true"])
def test_head_of_a_stream_does_not_wait_for_its_end_and_holds_off_proxies(
    app: FastAPI, api: TestClient, job_id: str, part: str
) -> None:
    answer = api.head(f"/v1/jobs/{job_id}/{part}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert {name: answer.headers.get(name) for name in AS_IT_COMES} == AS_IT_COMES
    assert app.state.services.streams._taken.total() == 0


def test_head_of_what_can_only_be_posted_says_what_is_possible(api: TestClient, job_id: str) -> None:
    answer = api.head(f"/v1/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_method_that_is_not_possible_is_told_all_that_are(api: TestClient, job_id: str) -> None:
    for path, methods in {
        "/v1/jobs": "GET, HEAD, POST",
        f"/v1/jobs/{job_id}": "DELETE, GET, HEAD, PATCH",
        "/healthz": "GET, HEAD",
        f"/v1/jobs/{job_id}/artifacts/x": "GET, HEAD",
    }.items():
        answer = api.request("PUT", path)
        assert (answer.status_code, answer.headers["allow"]) == (405, methods), path
        assert methods in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/jobs/", "/healthz/", "/v1/queue/", "/docs/", "/v1"])
def test_nobody_is_led_to_the_host_that_was_sent(api: TestClient, path: str) -> None:
    for method in ("GET", "POST", "HEAD"):
        answer = api.request(method, path, headers={"Host": "evil.example"}, follow_redirects=False)
        assert answer.status_code == 404, (method, path)
        assert "location" not in answer.headers


JSON, STREAM, TEXT = "application/json", "text/event-stream", "text/plain"


@pytest.mark.parametrize(
    ("accept", "offered", "chosen"),
    [
        ("", (STREAM, JSON), STREAM),
        ("*/*", (STREAM, JSON), STREAM),
        (JSON, (STREAM, JSON), JSON),
        ("APPLICATION/JSON; charset=utf-8", (STREAM, JSON), JSON),
        ("text/event-stream, application/json;q=0", (STREAM, JSON), STREAM),
        ("application/json;q=0", (STREAM, JSON), STREAM),
        ("text/event-stream;q=0, */*", (STREAM, JSON), JSON),
        ("text/event-stream;q=0.5, application/json;q=0.7", (STREAM, JSON), JSON),
        ("application/json;q=0.1, text/event-stream; q=0.9", (STREAM, JSON), STREAM),
        ("text/*, application/json;q=0.2", (STREAM, JSON), STREAM),
        ("application/json, text/plain, */*", (STREAM, JSON), JSON),
        ("application/json, text/plain, */*", (JSON, TEXT), JSON),
        ("text/plain, application/json", (JSON, TEXT), TEXT),
        ("text/html, application/xhtml+xml, */*;q=0.8", (JSON, TEXT), JSON),
        ("text/plain;q=nan, application/json;q=1e9", (JSON, TEXT), TEXT),
        ("text/plain;q=\u0663", (JSON, TEXT), TEXT),
        (";;;,,,q=1,=", (JSON, TEXT), JSON),
        ("image/png", (JSON, TEXT), JSON),
    ],
)
def test_a_client_gets_what_it_would_rather_read(accept: str, offered: Any, chosen: str) -> None:
    assert preferred(accept, *offered) == chosen


def test_a_job_and_its_events_are_shown_as_asked(
    api: TestClient, job_id: str, coordinator: Coordinator
) -> None:
    coordinator.finish(job_id)
    for url, accept, chosen in (
        (f"/v1/jobs/{job_id}", "text/plain;q=0.1, application/json", JSON),
        (f"/v1/jobs/{job_id}", "text/plain", TEXT),
        (f"/v1/jobs/{job_id}/events", "text/event-stream, application/json;q=0", STREAM),
        (f"/v1/jobs/{job_id}/events", "application/json", JSON),
    ):
        answer = api.get(url, headers={"Accept": accept})
        assert answer.headers["content-type"].partition(";")[0] == chosen, accept
