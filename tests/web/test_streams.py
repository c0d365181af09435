"""Open streams: that they end with the key they were opened with, and how many there may be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.domain.ids import uuid7
from app.domain.keys import Key, Role
from app.errors import BusyError, DatabaseUnreachableError, TooManyStreamsError
from app.services.keys import KeyService
from app.settings import Settings
from app.web import streams
from app.web.stream_slots import Places
from app.web.streams import Admission
from tests.api.conftest import JOB
from tests.waiting import until

PATHS = ("events", "logs?follow=true")


@pytest.fixture
def holder(app: FastAPI, api: TestClient) -> Iterator[tuple[TestClient, Key]]:
    """A client and its key."""
    keys: KeyService = app.state.services.keys
    key, token = keys.create(name="alice", role=Role.SUBMITTER, team="red")
    keys._looked_at = float("-inf")
    with TestClient(app, "http://127.0.0.1", headers={"Authorization": f"Bearer {token}"}) as client:
        yield client, key


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, app: FastAPI) -> None:
    """Streams look at every turn, and keys are not remembered."""
    monkeypatch.setattr(streams, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr("app.api.events.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("app.api.logs.FOLLOW_SECONDS", 0.05)
    monkeypatch.setattr("app.services.keys.CACHE_SECONDS", 0.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("path", PATHS)
def test_a_stream_ends_when_its_key_is_revoked(
    app: FastAPI, holder: tuple[TestClient, Key], path: str
) -> None:
    client, key = holder
    job_id = client.post("/v1/jobs", json=JOB).json()["id"]
    taken = app.state.services.streams._taken
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(client.get, f"/v1/jobs/{job_id}/{path}")
        until(lambda: taken[key.id])
        app.state.services.keys.revoke(key.id)
        assert stream.result(timeout=20).status_code == 200
    assert client.get("/v1/jobs").status_code == 401
    assert taken.total() == 0


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("path", PATHS)
def test_a_stream_without_a_key_ends_when_the_first_key_is_made(
    app: FastAPI, api: TestClient, job_id: str, path: str
) -> None:
    services = app.state.services
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(api.get, f"/v1/jobs/{job_id}/{path}")
        until(lambda: services.streams._taken[None])
        services.keys.create(name="alice", role=Role.SUBMITTER, team="red")
        assert stream.result(timeout=20).status_code == 200
    assert api.get("/v1/jobs").status_code == 401


@pytest.mark.parametrize("at_hand", [False, True])
def test_an_admission_is_looked_up_every_few_seconds_and_survives_an_outage(*, at_hand: bool) -> None:
    now, looks = 0.0, 0
    failure: list[Exception] = []

    def holder(_: str) -> Key | None:
        nonlocal looks
        looks += 1
        if failure:
            raise failure[0]
        return key if key.usable(start + timedelta(seconds=now)) else None

    start = datetime(2026, 11, 22, tzinfo=UTC)
    key = Key(uuid7(), "a", Role.VIEWER, "red", "evq_x", start, expires_at=start + timedelta(seconds=12))
    keys = SimpleNamespace(needed=lambda: True, holder=holder, at_hand=lambda _: at_hand)
    services: Any = SimpleNamespace(keys=keys, settings=Settings())
    admission = Admission(services, {"authorization": "Bearer x"}, clock=lambda: now)
    seen = []
    for now in (1.0, 4.9, 5.0, 9.0, 10.0, 15.0):
        failure[:] = [DatabaseUnreachableError("away")] if now == 10.0 else []
        seen.append((asyncio.run(admission.holds()), looks))
    assert seen == [(True, 0), (True, 0), (True, 1), (True, 1), (True, 2), (False, 3)]


def test_places_are_counted_by_key_and_in_all() -> None:
    places = Places(Settings(key_streams=2, streams=3))
    one, two = uuid7(), uuid7()
    with places.place(one), places.place(one):
        with pytest.raises(TooManyStreamsError, match="EVALQ_KEY_STREAMS"), places.place(one):
            pass
        with places.place(two), pytest.raises(BusyError, match="EVALQ_STREAMS"), places.place(None):
            pass
        with places.place(None):
            pass
    assert not places._taken


def test_a_stream_too_many_is_refused(app: FastAPI, api: TestClient, job_id: str) -> None:
    places = Places(Settings(key_streams=1, streams=1))
    app.state.services = replace(app.state.services, streams=places)
    with places.place(None):
        for path in PATHS:
            answer = api.get(f"/v1/jobs/{job_id}/{path}")
            assert (answer.status_code, answer.json()["code"]) == (503, "busy"), (
                "no key's own limit: there is none"
            )
            assert int(answer.headers["retry-after"]) > 0
        waiting = api.post("/v1/jobs", json=JOB, headers={"Prefer": "wait=30"})
    assert waiting.status_code == 202
    assert "preference-applied" not in waiting.headers
