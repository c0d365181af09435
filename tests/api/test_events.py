"""Events as a stream and as a list."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.api.events import _stream, _Told
from app.services.job_view import News
from app.web.streams import Admission
from tests.api.conftest import JOB, Coordinator
from tests.waiting import until

JSON = {"Accept": "application/json"}


@dataclass(frozen=True)
class Sent:
    id: int | None
    event: str
    data: dict[str, Any]


def parsed(text: str) -> list[Sent]:
    sent = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            number = int(fields["id"]) if "id" in fields else None
            sent.append(Sent(number, fields["event"], json.loads(fields["data"])))
    return sent


def test_a_stream_starts_with_a_snapshot_and_ends_with_the_job(
    api: TestClient, job_id: str, coordinator: Coordinator
) -> None:
    coordinator.finish(job_id)
    answer = api.get(f"/v1/jobs/{job_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    snapshot, *events = parsed(answer.text)
    assert (snapshot.id, snapshot.event) == (None, "job.snapshot")
    assert snapshot.data["data"]["id"] == job_id
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert [event.event for event in events] == [
        "job.queued",
        "job.phase",
        "job.task_finished",
        "job.succeeded",
    ]
    assert all((event.data["id"], event.data["type"]) == (event.id, event.event) for event in events)


def test_a_client_resumes_where_it_was(api: TestClient, job_id: str, coordinator: Coordinator) -> None:
    coordinator.finish(job_id)
    url = f"/v1/jobs/{job_id}/events"
    for answer in (
        api.get(url, headers={"Last-Event-ID": "2"}),
        api.get(url, params={"after": 2}),
        api.get(url, params={"after": 1}, headers={"Last-Event-ID": "2"}),
    ):
        assert [event.id for event in parsed(answer.text)] == [None, 3, 4]
    assert [event.id for event in parsed(api.get(url, params={"after": 99}).text)] == [None]


def test_a_client_that_has_the_last_event_of_an_ended_job_is_told_not_to_come_again(
    api: TestClient, job_id: str, coordinator: Coordinator
) -> None:
    url = f"/v1/jobs/{job_id}/events"
    coordinator.finish(job_id)
    for last in ("4", "99", str(2**63 - 1)):
        answer = api.get(url, headers={"Last-Event-ID": last, "Accept": "text/event-stream"})
        assert (answer.status_code, answer.content) == (204, b""), last
    assert [event.id for event in parsed(api.get(url, headers={"Last-Event-ID": "3"}).text)] == [None, 4]
    assert [event.id for event in parsed(api.get(url, headers={"Last-Event-ID": ""}).text)][1:] == [
        1,
        2,
        3,
        4,
    ]


def test_events_can_be_had_as_a_list(api: TestClient, job_id: str, coordinator: Coordinator) -> None:
    coordinator.claim(job_id)
    url = f"/v1/jobs/{job_id}/events"
    events = api.get(url, headers=JSON).json()["data"]
    assert [(event["id"], event["type"]) for event in events] == [(1, "job.queued"), (2, "job.phase")]
    assert api.get(url, headers=JSON, params={"after": 1}).json()["data"] == events[1:]
    assert api.get(url, headers=JSON, params={"limit": 1}).json()["data"] == events[:1]


def test_a_stream_goes_on_while_the_job_does(api: TestClient, job_id: str, coordinator: Coordinator) -> None:
    with ThreadPoolExecutor(8) as pool:
        streams = [pool.submit(api.get, f"/v1/jobs/{job_id}/events") for _ in range(8)]
        coordinator.finish(job_id)
        for stream in streams:
            events = parsed(stream.result(timeout=20).text)[1:]
            assert [event.id for event in events] == [1, 2, 3, 4]
            assert events[-1].event == "job.succeeded"


def test_an_earlier_attempt_does_not_end_the_stream(
    api: TestClient, job_id: str, coordinator: Coordinator
) -> None:
    api.post(f"/v1/jobs/{job_id}/cancel")
    api.post(f"/v1/jobs/{job_id}/retry")
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(api.get, f"/v1/jobs/{job_id}/events")
        coordinator.finish(job_id)
        names = [event.event for event in parsed(stream.result(timeout=20).text)]
    assert names[1:4] == ["job.queued", "job.cancelled", "job.queued"]
    assert names[-1] == "job.succeeded"


def test_an_idle_stream_is_kept_alive_and_tells_of_another_reason(app: FastAPI, api: TestClient) -> None:
    job_id = UUID(api.post("/v1/jobs", json=JOB).json()["id"])

    services = app.state.services
    look_at = services.wakeups.tail._looks

    def idle() -> News:
        return News([], ended=False, look=look_at([job_id]).get(job_id))

    async def follow(*_: Any) -> AsyncIterator[News]:
        yield News([], ended=False)
        yield idle()
        services.jobs.pause(job_id)
        yield services.jobs.news(job_id, 1)
        yield idle()
        with app.state.sessions.begin() as session:
            session.execute(text("UPDATE jobs SET reason = 'another'"))
        yield idle()
        look = idle()
        yield look
        services.jobs.cancel(job_id)
        services.jobs.delete(job_id)
        yield replace(look, look=replace(look.look, reason="one more")) if look.look else look
        yield idle()

    async def read() -> list[bytes]:
        watched = replace(services, followers=cast(Any, SimpleNamespace(follow=follow)))
        told = _Told(watched, job_id, 1)
        parts = _stream(watched, told, await told.snapshot(), Admission(watched, {}))
        return [part async for part in parts]

    sent = asyncio.run(read())
    assert [at for at, part in enumerate(sent) if part != b": ping\n\n"] == [0, 3, 5]
    assert len(sent) == 9
    (paused,), (again,) = parsed(sent[3].decode()), parsed(sent[5].decode())
    assert (paused.id, paused.event) == (2, "job.paused")
    assert (again.id, again.event, again.data["data"]["reason"]) == (None, "job.snapshot", "another")


def test_a_stopping_server_ends_its_streams(api: TestClient, job_id: str, app: FastAPI) -> None:
    services = app.state.services
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(api.get, f"/v1/jobs/{job_id}/events")
        until(lambda: any(inbox.waiting for inbox in services.wakeups.tail._inboxes))
        assert api.portal
        api.portal.call(services.wakeups.close)
        assert [event.id for event in parsed(stream.result(timeout=20).text)] == [None, 1]
