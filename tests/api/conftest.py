"""The API in process, over the test's own database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.db.session import Sessions
from app.domain.chunk import Room
from app.domain.output import SampleLine
from app.main import create_app
from app.services.coordination import CoordinationService
from app.services.serving import Answer
from app.settings import Settings
from tests.api.fakes import FakeSubmissions, FakeTasks
from tests.world import ENGINE, World

JOB: dict[str, Any] = {"model": "hf", "model_args": {"pretrained": "/models/tiny"}, "tasks": ["toy"]}


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    app = create_app(settings)
    app.state.services = replace(app.state.services, submissions=FakeSubmissions(), tasks=FakeTasks())
    return app


@pytest.fixture
def api(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def job_id(api: TestClient) -> str:
    """A queued job."""
    return str(api.post("/v1/jobs", json=JOB).json()["id"])


class Coordinator:
    """Does to a job what a coordinator worker would."""

    def __init__(self, sessions: Sessions) -> None:
        self.service = CoordinationService(sessions=sessions, wake=lambda _: None, ttl=timedelta(seconds=60))

    def claim(self, job_id: str) -> Any:
        claimed = self.service.claim(UUID(job_id), "test")
        assert claimed
        return claimed[0]

    def finish(self, job_id: str, document: str = '{"results": {"toy": {"acc,none": NaN}}}') -> None:
        lease = self.claim(job_id)
        self.service.prepared(lease, b"f" * 32, [("toy", 2)], {})
        self.service.task_finished(lease, "toy", {"acc,none": 0.5})
        right = SampleLine('{"doc_id": 0, "acc": 1.0}', correct=True, truncated=False, empty=False)
        wrong = SampleLine('{"doc_id": 1, "acc": NaN}', correct=False, truncated=True, empty=True)
        self.service.add_samples(lease, "toy", 0, [right, wrong])
        self.service.add_log(UUID(job_id), "one\ntwo\n")
        self.service.add_log(UUID(job_id), "three\n")
        self.service.finish(lease, document, "tiny", "2026-11-22T00-00-00")


@pytest.fixture
def coordinator(sessions: Sessions) -> Coordinator:
    return Coordinator(sessions)


@pytest.fixture
def busy(world: World) -> World:
    """A service on which everything has happened that is measured."""
    world.devices(2)
    lease, replica = world.running(chunks=1), world.replica("GPU-0")
    for claimed in world.serving.next(replica, ENGINE.key, Room(10, 10**9)).chunks:
        world.serving.answer(replica, claimed, Answer([b"1", b"1"], 1.0, 50))
    world.coordination.finish(lease, "{}", "tiny", "today")
    world.expire(world.running())
    world.scheduling.expire_once()
    return world
