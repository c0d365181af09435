"""No request that a client can write is answered with 5xx; `--requests N` makes many, `--seed S` others."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import suppress
from functools import partial
from random import Random
from urllib.parse import quote

import anyio
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.types import Message

from app.errors import MOST_FAULTS
from app.main import create_app
from app.settings import Settings
from tests.api.conftest import Coordinator
from tests.api.odd_requests import Request, request

LARGEST_ANSWER = 5_000_000


async def answered(
    app: FastAPI, asked: Request, *, leaves: bool = False
) -> tuple[int, dict[bytes, bytes], bytes]:
    """What the application sends, told as a server tells it a request; of a client that leaves, half of one."""
    sent: list[Message] = []
    waiting: list[Message] = [{"type": "http.disconnect"}] if leaves else []
    waiting.append(
        {"type": "http.request", "body": asked.body, "more_body": leaves and asked.method == "POST"}
    )

    async def receive() -> Message:
        if not waiting:
            await anyio.sleep_forever()
        return waiting.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": asked.method,
        "scheme": "http",
        "path": asked.path,
        "raw_path": quote(asked.path).encode(),
        "query_string": asked.query,
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1"), *asked.headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    with anyio.move_on_after(2):  # an event stream of a job that waits says all it has at once
        with suppress(Exception):  # the framework raises what it has answered with 500
            await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


def judged(status: int, headers: dict[bytes, bytes], body: bytes, asked: Request) -> str | None:
    """What is wrong with an answer."""
    if status >= 500:
        return f"{status} {body[:300]!r}"
    if len(body) > LARGEST_ANSWER:
        return f"an answer of {len(body)} bytes"
    if status >= 400 and headers[b"content-type"] != b"application/problem+json":
        return f"{status} without a problem"
    if status >= 400 and asked.method != "HEAD":
        told = json.loads(body)["errors"]
        return f"{len(told)} faults" if len(told) > MOST_FAULTS else None
    return None


def test_whatever_a_client_writes_is_a_fault_of_the_client(
    api: TestClient,
    job_id: str,
    coordinator: Coordinator,
    settings: Settings,
    pytestconfig: pytest.Config,
) -> None:
    coordinator.finish(job_id)
    whole = create_app(settings)
    count, seed = pytestconfig.getoption("--requests"), pytestconfig.getoption("--seed")
    seen: Counter[tuple[str, int]] = Counter()
    wrong = []
    assert api.portal
    for number in range(count):
        asked = request(Random(f"{seed} {number}"), job_id)
        status, headers, body = api.portal.call(answered, whole, asked)
        seen[asked.method, int(status)] += 1
        if fault := judged(status, headers, body, asked):
            wrong.append(f"--seed {seed}, request {number}: {fault}\n    {asked!r:.600}")
    whole.state.sessions.close()
    sys.stdout.write(f"{count} requests: {dict(sorted(seen.items()))}")
    assert not wrong, "\n".join(wrong)


def test_a_client_that_goes_away_is_no_error(
    api: TestClient, app: FastAPI, job_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    json_type = ((b"content-type", b"application/json"),)
    assert api.portal
    for asked in (
        Request("POST", "/v1/jobs", headers=json_type, body=b'{"model":'),
        Request("PATCH", f"/v1/jobs/{job_id}", headers=json_type, body=b'{"name": "x"}'),
        *(Request("GET", f"/v1/jobs/{job_id}{part}") for part in ("", "/events", "/logs", "/artifacts")),
        Request("GET", f"/v1/jobs/{job_id}/logs", b"follow=true"),
    ):
        status, *_ = api.portal.call(partial(answered, app, asked, leaves=True))
        assert status < 500, asked
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []
    assert app.state.services.streams._taken.total() == 0
