"""Every error is a problem (RFC 9457), and every problem is documented."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

FIELDS = {"request_id", "type", "title", "status", "detail", "code", "errors"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/nowhere", 404),
        ("DELETE", "/v1/jobs", 405),
        ("PUT", "/v1/queue", 405),
        ("GET", "/v1/jobs/x", 404),
        ("GET", "/v1/queue?x=1", 400),
        ("GET", "/healthz?x=1", 400),
        ("POST", "/v1/jobs", 400),
        ("GET", "/v1/tasks?limit=0", 422),
    ],
)
def test_errors_are_problems(api: TestClient, method: str, path: str, status: int) -> None:
    answer = api.request(method, path)
    assert answer.status_code == status == answer.json()["status"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) == FIELDS
    assert ("allow" in answer.headers) is (status == 405)


def test_a_surprise_is_a_problem_too(app: FastAPI) -> None:
    app.state.services = replace(app.state.services, jobs=None)
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as broken:
        answer = broken.get("/v1/jobs")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")


def test_every_operation_documents_its_problems(app: FastAPI) -> None:
    document = app.openapi()
    assert document["components"]["schemas"]["Problem"]["required"] == sorted(
        FIELDS, key=list(document["components"]["schemas"]["Problem"]["properties"]).index
    )
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            failures = {status for status in operation["responses"] if int(status) >= 400}
            assert {"400", "422", "503"} <= failures, (method, path)
            for status in failures:
                content = operation["responses"][status]["content"]
                assert set(content) == {"application/problem+json"}, (method, path, status)
                assert content["application/problem+json"]["examples"], (method, path, status)


def test_bodies_have_examples(app: FastAPI) -> None:
    document = app.openapi()
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    assert body["examples"]
    assert "model_args" in document["components"]["schemas"]["JobIn"]["properties"]
