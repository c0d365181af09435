"""Events of all jobs over HTTP: as pages, and as a stream that can be resumed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.api.all_events import _stream
from app.domain.job_filter import JobFilter
from app.domain.keys import Role
from app.services.keys import KeyService
from app.web.streams import Admission
from tests.api.conftest import JOB, Coordinator

URL = "/v1/events"


def submit(api: TestClient, **fields: Any) -> str:
    return str(api.post("/v1/jobs", json=JOB | fields).json()["id"])


def test_pages_hold_the_events_of_all_jobs_in_one_order(api: TestClient, coordinator: Coordinator) -> None:
    one, other = submit(api), submit(api)
    coordinator.finish(one)
    coordinator.claim(other)
    page = api.get(URL).json()
    events = page["data"]
    told = [(event["job_id"] == one, event["number"], event["type"]) for event in events]
    assert told == [
        (True, 1, "job.queued"),
        (False, 1, "job.queued"),
        (True, 2, "job.phase"),
        (True, 3, "job.task_finished"),
        (True, 4, "job.succeeded"),
        (False, 2, "job.phase"),
    ]
    assert all(first["id"] < second["id"] for first, second in pairwise(events))
    assert (page["next_cursor"], page["position"]) == (None, events[-1]["id"])
    own = api.get(f"/v1/jobs/{one}/events", headers={"Accept": "application/json"}).json()["data"]
    same = [
        {name: event[name] for name in ("at", "type", "data")} for event in events if event["job_id"] == one
    ]
    assert same == [{name: event[name] for name in ("at", "type", "data")} for event in own]
    assert events[3]["data"]["metrics"] == {"acc,none": 0.5}


def test_a_reader_goes_through_the_pages_and_on_from_there(api: TestClient) -> None:
    first, *_ = [submit(api) for _ in range(4)]
    api.post(f"/v1/jobs/{first}/cancel")
    everything = api.get(URL).json()["data"]
    found, cursor = [], ""
    while cursor is not None:
        answer = api.get(URL, params={"limit": 2, "cursor": cursor})
        page = answer.json()
        found += page["data"]
        cursor = page["next_cursor"]
        assert ('rel="next"' in answer.headers["link"]) is (cursor is not None)
    assert found == everything
    assert api.get(URL, params={"after": everything[2]["id"]}).json()["data"] == everything[3:]
    lines = api.get(URL, headers={"Accept": "application/jsonl"}).text.splitlines()
    assert [json.loads(line) for line in lines] == everything
    later = submit(api)
    (event,) = api.get(URL, params={"after": page["position"]}).json()["data"]
    assert event["job_id"] == later


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("tag=a", [0]),
        ("status=cancelled", [1]),
        ("task=toy", [0, 1, 2]),
        ("name=x&tag=a", []),
        ("model=TIN&name=x", [1]),
    ],
)
def test_the_filters_are_those_of_the_list(api: TestClient, query: str, found: list[int]) -> None:
    ids = [submit(api, tags=["a"]), submit(api, name="x"), submit(api)]
    api.post(f"/v1/jobs/{ids[1]}/cancel")
    told = {event["job_id"] for event in api.get(f"{URL}?{query}").json()["data"]}
    assert (
        told
        == {ids[at] for at in found}
        == {job["id"] for job in api.get(f"/v1/jobs?{query}").json()["data"]}
    )


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("after=-1", "query.after"),
        ("after=x", "query.after"),
        (f"after={2**63}", "query.after"),
        ("limit=0", "query.limit"),
        ("cursor=x", "query.cursor"),
        ("cursor=WyJhIl0", "query.cursor"),
        ("cursor=WzEuNV0", "query.cursor"),
        ("cursor=W3RydWVd", "query.cursor"),
        ("cursor=Wy0xXQ", "query.cursor"),
        ("status=x", "query.status"),
        ("job=x", "query.job"),
    ],
)
def test_what_is_no_position_is_named(api: TestClient, query: str, path: str) -> None:
    answer = api.get(f"{URL}?{query}")
    assert answer.status_code in {400, 422}
    assert [error["path"] for error in answer.json()["errors"]] == [path]


def test_a_key_sees_its_teams_events_alone(app: FastAPI, api: TestClient) -> None:
    keys: KeyService = app.state.services.keys
    submit(api)
    clients = {}
    for team in ("red", "blue"):
        _, token = keys.create(name=team, role=Role.SUBMITTER, team=team)
        clients[team] = {"Authorization": f"Bearer {token}"}
    keys._looked_at = float("-inf")
    ids = {
        team: api.post("/v1/jobs", json=JOB, headers=headers).json()["id"]
        for team, headers in clients.items()
    }
    for team, headers in clients.items():
        told = {event["job_id"] for event in api.get(URL, headers=headers).json()["data"]}
        assert told == {ids[team]}


class Listener:
    """A client of the stream, without a server in between."""

    def __init__(self, app: FastAPI, after: int, wanted: JobFilter) -> None:
        self._parts: AsyncIterator[bytes] = _stream(
            app.state.services, wanted, after, Admission(app.state.services, {})
        )
        self.last = ""

    async def until(self, events: int) -> list[tuple[str, int]]:
        """The next events, as type and number; keeps the last id as a browser does."""
        found: list[tuple[str, int]] = []
        async with asyncio.timeout(20):
            while len(found) < events:
                fields = dict(
                    line.split(": ", 1)
                    for line in (await anext(self._parts)).decode().splitlines()
                    if line and not line.startswith(":")
                )
                self.last = fields.get("id", self.last)
                if "data" in fields:
                    found.append((fields["event"], json.loads(fields["data"])["number"]))
        return found

    async def close(self) -> None:
        async with aclosing(self._parts):  # type: ignore[type-var]
            pass


def test_a_stream_goes_on_where_the_one_before_broke_off(
    app: FastAPI, api: TestClient, coordinator: Coordinator
) -> None:
    one = submit(api, tags=["a"])

    async def story() -> list[list[tuple[str, int]]]:
        listener = Listener(app, 0, JobFilter(tag="a"))
        heard = [await listener.until(1)]
        lease = await asyncio.to_thread(coordinator.claim, one)
        await asyncio.to_thread(submit, api)
        heard.append(await listener.until(1))
        await listener.close()
        await asyncio.to_thread(coordinator.service.task_finished, lease, "toy", {})
        again = Listener(app, int(listener.last), JobFilter(tag="a"))
        heard.append(await again.until(1))
        await asyncio.to_thread(coordinator.service.finish, lease, "{}", "tiny", "today")
        heard.append(await again.until(1))
        await again.close()
        return heard

    assert asyncio.run(story()) == [
        [("job.queued", 1)],
        [("job.phase", 2)],
        [("job.task_finished", 3)],
        [("job.succeeded", 4)],
    ]


def test_a_quiet_stream_says_how_far_it_is(
    app: FastAPI, api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.all_events.LOOK_SECONDS", 0.01)
    submit(api)
    position = app.state.services.events.position()

    async def story() -> list[bytes]:
        parts = _stream(
            app.state.services, JobFilter(owner="nobody"), position, Admission(app.state.services, {})
        )
        async with aclosing(parts):  # type: ignore[type-var]
            sent = [await anext(parts) for _ in range(4)]
            await asyncio.to_thread(submit, api)
            async with asyncio.timeout(20):
                while not sent[-1].startswith(b"id: %d\n" % (position + 1)):
                    sent.append(await anext(parts))
        return sent

    sent = asyncio.run(story())
    assert sent[0] == b"id: %d\n: ping\n\n" % position
    assert set(sent[1:-1]) == {b": ping\n\n"}


def test_who_asks_for_a_stream_gets_one(api: TestClient) -> None:
    with_stream = {"Accept": "text/event-stream", "Last-Event-ID": ""}
    answer = api.head(URL, headers=with_stream)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    assert api.head(URL).headers["content-type"] == "application/json"
    assert api.get(URL, headers={"Accept": "text/csv"}).status_code == 406
