"""Requests that nobody should send: each is answered by a problem that names the fault and the way out."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.api.conftest import JOB

JSON = {"Content-Type": "application/json"}
HF_TOKEN = "hf_" + "a1B2c3D4e5" * 4

GARBAGE = (
    *("garbage", "WyJ4Il0x", "W10", "bnVsbA", "WzEsMl0", "eyJhIjoxfQ", "x" * 3000, "%00", "é"),
    *(
        base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
        for text in (
            "[" * 1480,
            '["\\ud800",0]',
            "[" + "9" * 1400 + "]",
            '["a",1e999]',
            "[NaN,NaN]",
            '["a",{}]',
        )
    ),
)
QUERIES = [
    *[("/v1/jobs", f"cursor={cursor}", "query.cursor") for cursor in GARBAGE],
    *[("/v1/tasks", f"cursor={cursor}", "query.cursor") for cursor in GARBAGE],
    *[("/v1/jobs/{job}/samples", f"cursor={cursor}", "query.cursor") for cursor in GARBAGE],
    *[("/v1/jobs", f"limit={n}", "query.limit") for n in ("0", "-1", "abc", "1.5", "9" * 30, "501")],
    *[("/v1/jobs", f"created_after={at}", "query.created_after") for at in ("soon", "1e18", "99999-01-01")],
    ("/v1/jobs", "status=nope", "query.status"),
    *[("/v1/usage", f"{name}=soon", f"query.{name}") for name in ("from", "to")],
    *[("/v1/usage", f"by={by}", "query.by") for by in ("nope", "team,,nope", "Team", "by=" + "a" * 1001)],
    *[("/v1/usage", f"limit={n}", "query.limit") for n in ("0", "10001")],
    ("/v1/jobs", "tag=%00", "query.tag"),
    *[
        ("/v1/jobs", f"{name}=" + "a" * 1001, f"query.{name}")
        for name in ("model", "task", "tag", "owner", "name")
    ],
    ("/v1/jobs/{job}/samples", "task=" + "a" * 1001, "query.task"),
    ("/v1/jobs", "nosuch=1", "query.nosuch"),
    ("/v1/jobs", "limit[]=1", "query.limit[]"),
    ("/v1/tasks", "search=%00", "query.search"),
    ("/v1/tasks", "search=" + "a+" * 1000, "query.search"),
    ("/v1/jobs/{job}/samples", "filter=x", "query.filter"),
    ("/v1/jobs/{job}/samples", "task=%00", "query.task"),
    *[("/v1/jobs/{job}/logs", f"tail={n}", "query.tail") for n in ("-1", "abc", "9" * 30)],
    ("/v1/jobs/{job}/logs", "follow=maybe", "query.follow"),
    *[("/v1/jobs/{job}/events", f"after={n}", "query.after") for n in ("-1", "abc", "9" * 30)],
    ("/v1/tasks/a%00", "", "path.name"),
]


@pytest.mark.parametrize("path", sorted({path for path, _, _ in QUERIES}))
def test_a_parameter_that_cannot_be_is_named(api: TestClient, job_id: str, path: str) -> None:
    for query, where in ((query, where) for at, query, where in QUERIES if at == path):
        answer = api.get(f"{path.replace('{job}', job_id)}?{query}")
        assert answer.status_code in (400, 422), query
        assert [fault["path"] for fault in answer.json()["errors"]] == [where], query
        assert "Input should" not in answer.text, query


def test_a_parameter_that_is_empty_is_as_if_it_were_not_there(api: TestClient, job_id: str) -> None:
    for path in (
        "/v1/jobs?status=",
        "/v1/jobs?created_after=",
        "/v1/tasks?search=",
        "/v1/usage?from=&to=&by=",
        f"/v1/jobs/{job_id}/logs?tail=",
    ):
        assert api.get(path).status_code == 200, path


@pytest.mark.parametrize("number", ["abc", "-1", "9" * 30, "9" * 5000, "1.5", b"\xff"])
def test_an_event_number_that_is_none_is_refused(api: TestClient, job_id: str, number: Any) -> None:
    answer = api.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": number})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "header.last-event-id")


@pytest.mark.parametrize("key", ["", "x" * 256, b"\x00", b"\xff\xfe", "a\x7fb", "a\tb"])
def test_an_idempotency_key_that_is_none_is_refused(api: TestClient, key: Any) -> None:
    answer = api.post("/v1/jobs", json=JOB, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "header.idempotency-key")
    assert api.get("/v1/jobs").json()["data"] == []


@pytest.mark.parametrize("wish", ["wait=abc", "wait=-1", "wait=1.5", "wait", "", ";;;,,,", "respond-async"])
def test_a_wish_that_makes_no_sense_is_ignored(api: TestClient, wish: str) -> None:
    answer = api.post("/v1/jobs", json=JOB, headers={"Prefer": wish})
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


BODIES: list[tuple[bytes, dict[str, str], tuple[int, str]]] = [
    (b"", JSON, (400, "malformed_json")),
    (b"{'a': 1}", JSON, (400, "malformed_json")),
    (b'{"limit": Infinity}', JSON, (400, "malformed_json")),
    (b"[" * 200_000, JSON, (400, "malformed_json")),
    (b"null", JSON, (422, "invalid_request")),
    (b"[]", JSON, (422, "invalid_request")),
    (b'{"limit": 1e999}', JSON, (422, "invalid_request")),
    (b'{"limit": 99999999999999999999}', JSON, (422, "invalid_request")),
    (b'{"limit": ' + b"9" * 5000 + b"}", JSON, (422, "invalid_request")),
    (b"{}", {}, (415, "unsupported_media_type")),
    (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, (415, "unsupported_media_type")),
    (b"{}", {"Content-Type": "multipart/form-data"}, (415, "unsupported_media_type")),
    (b"{}", JSON | {"Content-Encoding": "br"}, (415, "unsupported_media_type")),
    (gzip.compress(b"{}"), JSON | {"Content-Encoding": "gzip"}, (415, "unsupported_media_type")),
]


@pytest.mark.parametrize("digits", ["9" * 19, "-" + "9" * 21, "9" * 5000])
def test_a_whole_number_of_more_than_64_bits_is_called_so(api: TestClient, digits: str) -> None:
    answer = api.post("/v1/jobs", content=f'{{"limit": {digits}}}', headers=JSON)
    told = [fault["message"] for fault in answer.json()["errors"] if fault["path"] == "limit"]
    assert ["more than 64 bits" in words for words in told] == [True], answer.text


@pytest.mark.parametrize("call", [("POST", "/v1/jobs"), ("PATCH", "/v1/jobs/{job}")])
def test_a_body_that_is_no_object_of_json_is_refused(
    api: TestClient, job_id: str, call: tuple[str, str]
) -> None:
    method, path = call[0], call[1].replace("{job}", job_id)
    for body, headers, refusal in BODIES:
        answer = api.request(method, path, content=body, headers=headers)
        assert answer.headers["content-type"] == "application/problem+json", body[:40]
        assert (answer.status_code, answer.json()["code"]) == refusal, body[:40]
        assert len(answer.json()["detail"]) < 200, body[:40]
        assert "recursion" not in answer.text
        assert "sys." not in answer.text


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": "a\nb"}, "name"),
        ({"name": "\x1b[31m"}, "name"),
        ({"name": HF_TOKEN}, "name"),
        ({"tags": ["a", f"use {HF_TOKEN}"]}, "tags.1"),
        ({"tags": ["a\x07"]}, "tags.0"),
        ({"tags": ["a"] * 60}, "tags"),
        ({"tags": [5]}, "tags.0"),
        ({"name": "x" * 300}, "name"),
        ({"name": None}, "name"),
        ({"priority": 101}, "priority"),
        ({"status": "failed"}, "status"),
    ],
)
def test_a_change_that_cannot_be_is_refused(
    api: TestClient, job_id: str, fields: dict[str, Any], path: str
) -> None:
    before = api.get(f"/v1/jobs/{job_id}").json()
    answer = api.patch(f"/v1/jobs/{job_id}", json=fields)
    assert answer.status_code == 422
    assert [fault["path"] for fault in answer.json()["errors"]] == [path]
    assert HF_TOKEN not in answer.text
    assert api.get(f"/v1/jobs/{job_id}").json()["name"] == before["name"]


def test_what_is_not_there_says_where_to_look(app: FastAPI, api: TestClient) -> None:
    assert "/docs" in api.get("/v1/nowhere").json()["detail"]
    for path, item in app.openapi()["paths"].items():
        for method in {"PUT", "DELETE", "PATCH", "POST", "TRACE", "FOO"} - {name.upper() for name in item}:
            if path == "/v1/jobs/cancel" and method in {"DELETE", "PATCH"}:
                continue  # of a job that is called so
            answer = api.request(method, path.replace("{name:path}", "x"))
            assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed"), (method, path)
            assert answer.headers["allow"] in answer.json()["detail"]


def test_unions_are_explained_where_they_fail(api: TestClient) -> None:
    answer = api.post("/v1/jobs", json=JOB | {"seed": [True, 1, 1, 1], "tags": ["a"] * 60, "name": "x" * 300})
    assert {fault["path"]: fault["message"] for fault in answer.json()["errors"]} == {
        "seed.0": "should be a valid integer",
        "tags": "should have at most 50 items, not 60",
        "name": "should have at most 200 characters",
    }


def test_paths_that_climb_lead_nowhere(api: TestClient, job_id: str) -> None:
    for path in (
        f"/v1/jobs/{job_id}/artifacts/..%2f..%2fetc%2fpasswd",
        f"/v1/jobs/{job_id}/artifacts/%2fetc%2fpasswd",
        "/v1/tasks/%2fetc%2fpasswd",
        "/v1/tasks/..%2f..%2fetc%2fpasswd",
        "/v1/jobs/..%2ftasks",
    ):
        answer = api.get(path)
        assert answer.status_code == 404, path
        assert "root:" not in answer.text


def test_the_same_fields_in_any_encoding_of_json_are_one_body(api: TestClient) -> None:
    headers = JSON | {"Idempotency-Key": "k"}
    texts = [json.dumps(JOB).encode(encoding) for encoding in ("utf-8", "utf-8-sig", "utf-16")]
    ids = {api.post("/v1/jobs", content=text, headers=headers).json()["id"] for text in texts}
    assert len(ids) == 1
