"""Groups, queue, tasks, health."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime
from threading import Thread
from typing import Any
from uuid import UUID

import psycopg
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.api.queue import wait_out
from app.domain.group import BackendReport, DeviceReport
from app.domain.keys import Caller, Role
from app.domain.replica import DeviceState
from app.domain.waits import Cause, Wait
from app.services.groups import GroupService
from app.services.health import HealthService
from app.settings import Settings
from app.web import cursors
from tests.api.conftest import JOB
from tests.domain.test_tolerance import FOUND
from tests.servers import Postgres
from tests.waiting import until

GIB = 2**30


@pytest.fixture
def group(app: FastAPI) -> UUID:
    """A group of two GPUs whose worker has just reported."""
    groups: GroupService = app.state.services.groups
    reports = [DeviceReport(f"GPU-{index}", index, "H100", 80 * GIB, GIB, 3.0, 40.0) for index in range(2)]
    token = groups.register(
        name="node1-a", host="node1", kind="gpu", backends=["hf"], version="0.1.0", reports=reports
    )
    groups.beat("node1-a", token, ["hf", "vllm"], reports)
    groups.mark_device("GPU-0", token, DeviceState.FREE, None)
    return token


def test_groups_show_devices(api: TestClient, group: UUID) -> None:
    (found,) = api.get("/v1/groups").json()["data"]
    assert (found["name"], found["alive"], found["draining"]) == ("node1-a", True, False)
    assert found["backends"] == ["hf", "vllm"]
    assert found["replicas"] == []
    assert found["devices"][0] == {
        "id": "GPU-0",
        "index": 0,
        "name": "H100",
        "state": "free",
        "reason": None,
        "replica_id": None,
        "faulty": False,
        "memory_bytes": 80 * GIB,
        "memory_used_bytes": GIB,
        "utilization_percent": 3.0,
        "temperature_celsius": 40.0,
        "capability": None,
        "island": None,
        "numa_node": None,
        "warnings": [],
    }
    assert found["devices"][1]["state"] == "dirty"


def test_backends_show_where_they_are_and_whether_they_work(
    api: TestClient, app: FastAPI, group: UUID, settings: Settings
) -> None:
    broken, versions = "its torch 2.14.0 finds no GPU", {"torch": "2.13.0"}
    reports = [
        BackendReport("hf", versions, 2 * GIB, tolerances=(replace(FOUND, versions=versions),)),
        BackendReport("vllm", {"vllm": "0.33.0"}, 10 * GIB, broken),
    ]
    groups: GroupService = app.state.services.groups
    groups.beat("node1-a", group, ["hf"], [], reports)
    found = {backend["name"]: backend for backend in api.get("/v1/backends").json()["data"]}
    place = {"group": "node1-a", "host": "node1", "alive": True}
    [there] = found["hf"]["installed"]
    [told] = there.pop("tolerances")
    assert there == {**place, "versions": versions, "size_bytes": 2 * GIB, "problem": None}
    assert (told["device"], told["fast"]["largest"], told["usable"]) == (FOUND.device, 0.03, True)
    with psycopg.connect(settings.database_url) as connection:
        read_by_others = connection.execute(
            "SELECT installed -> 'hf' ? 'tolerances' FROM gpu_groups"
        ).fetchone()
    assert read_by_others == (False,), "a process of the version before knows no such field"
    assert "model" not in told, "one team's model is no other's to know of"
    assert (found["hf"]["available"], found["hf"]["install"]) == (True, None)
    assert (found["vllm"]["available"], found["vllm"]["installed"][0]["problem"]) == (False, broken)
    assert found["vllm"]["install"] is None
    assert found["vllm-cpu"] == {
        "name": "vllm-cpu",
        "model_names": ["vllm-cpu"],
        "devices": ["cpu"],
        "stands_in_for": "vllm",
        "planned_only": False,
        "available": False,
        "installed": [],
        "install": "evalq backends install vllm-cpu",
    }
    assert found["sglang"]["planned_only"]
    assert (found["sglang"]["available"], found["sglang"]["install"]) == (False, None)
    [told] = api.get("/v1/groups").json()["data"]
    assert (told["backends"], told["unusable_backends"]) == (["hf"], {"vllm": broken})


def test_a_worker_of_an_earlier_version_tells_names_alone(
    api: TestClient, app: FastAPI, group: UUID, settings: Settings
) -> None:
    groups: GroupService = app.state.services.groups
    reports = [BackendReport("hf", {"torch": "2"}), BackendReport("vllm", problem="no")]
    groups.beat("node1-a", group, ["hf"], [], reports)
    with psycopg.connect(settings.database_url) as connection:  # it writes this column and not the others
        connection.execute("""UPDATE gpu_groups SET tolerances = '{"vllm": [{"of": "a later one"}]}'""")
        connection.execute("UPDATE gpu_groups SET backends = ARRAY['vllm']")
    found = {backend["name"]: backend["installed"] for backend in api.get("/v1/backends").json()["data"]}
    assert found["hf"] == []
    assert [(at["versions"], at["problem"], at["tolerances"]) for at in found["vllm"]] == [({}, None, [])]


def test_a_group_is_drained_and_resumed(api: TestClient, group: UUID) -> None:
    for _ in range(2):
        drained = api.post("/v1/groups/node1-a/drain").json()
        assert drained["draining"] is True
    told = ("drain_requested_at", "drained_by", "drain_reason")
    assert (drained["drained_by"], drained["drain_reason"]) == ("anonymous", None)
    assert datetime.fromisoformat(drained["drain_requested_at"]) <= datetime.now(UTC)
    for _ in range(2):
        resumed = api.post("/v1/groups/node1-a/resume").json()
        assert resumed["draining"] is False
        assert [resumed[name] for name in told] == [None, None, None]


@pytest.mark.parametrize("verb", ["drain", "resume"])
def test_an_unknown_group_is_not_found(api: TestClient, verb: str) -> None:
    answer = api.post(f"/v1/groups/nope/{verb}")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_group")


def test_the_queue_says_what_is_waited_for(api: TestClient) -> None:
    later = api.post("/v1/jobs", json=JOB).json()["id"]
    first = api.post("/v1/jobs", json=JOB | {"priority": 90}).json()["id"]
    page = api.get("/v1/queue").json()
    queue = page["data"]
    assert [(job["position"], job["id"]) for job in queue] == [(1, first), (2, later)]
    assert queue[0]["waiting_for"] == "a coordinator"
    assert queue[0]["wait"]["cause"] == "coordinator"
    assert queue[0]["ahead"] == {"count": 0, "by": {}, "first": []}
    assert queue[1]["ahead"] == {
        "count": 1,
        "by": {"priority": 1},
        "first": [{"id": first, "why": "priority"}],
    }
    assert (page["total"], page["next_cursor"]) == (2, None)
    assert page["troubles"] == ["no job gets devices until a scheduler leads: none leads"]
    assert queue[0]["estimate"] is None, "there is nothing that could run it"
    assert api.get(f"/v1/jobs/{later}").json()["reason"] == "waiting for a coordinator"


@pytest.mark.usefixtures("group")
def test_a_job_and_its_place_in_the_queue_tell_of_the_same_times(app: FastAPI, api: TestClient) -> None:
    job_id = api.post("/v1/jobs", json=JOB).json()["id"]
    app.state.services.estimates.look_once()
    (waiting,) = api.get("/v1/queue").json()["data"]
    alone = api.get(f"/v1/jobs/{job_id}").json()["estimate"]
    assert waiting["estimated_start_seconds"] == waiting["estimate"]["start_seconds"]
    assert alone["end_seconds"] == pytest.approx(waiting["estimate"]["end_seconds"], abs=5)
    table = api.get(f"/v1/jobs/{job_id}", headers={"Accept": "text/plain"}).text
    assert "begins    in 0:00:" in table
    api.post(f"/v1/jobs/{job_id}/cancel")
    assert api.get(f"/v1/jobs/{job_id}").json()["estimate"] is None


def test_the_queue_is_read_in_pages(api: TestClient) -> None:
    ids = [api.post("/v1/jobs", json=JOB).json()["id"] for _ in range(3)]
    first = api.get("/v1/queue", params={"limit": 2}).json()
    assert [job["id"] for job in first["data"]] == ids[:2]
    rest = api.get("/v1/queue", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [(job["id"], job["position"]) for job in rest["data"]] == [(ids[2], 3)]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("parts", [(-1,), (2**31,), ("1",), (1.5,), (True,), (1, 2), ()])
def test_only_a_cursor_of_the_queue_is_a_place_in_it(api: TestClient, parts: tuple[Any, ...]) -> None:
    answer = api.get("/v1/queue", params={"cursor": cursors.encoded(*parts)})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "query.cursor")


def test_tasks_are_searched(api: TestClient) -> None:
    page = api.get("/v1/tasks", params={"limit": 2}).json()
    assert [task["name"] for task in page["data"]] == ["arc_easy", "gsm8k"]
    rest = api.get("/v1/tasks", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert [task["name"] for task in rest["data"]] == ["toy"]
    assert [task["name"] for task in api.get("/v1/tasks?search=arc").json()["data"]] == ["arc_easy"]


def test_a_task_can_be_read(api: TestClient) -> None:
    task = api.get("/v1/tasks/toy").json()
    assert (task["name"], task["num_fewshot"], task["dataset_path"]) == ("toy", 0, "allenai/ai2_arc")
    assert api.get("/v1/tasks/nope").json()["code"] == "unknown_task"


def test_a_healthy_service_says_so(api: TestClient) -> None:
    assert api.get("/healthz").json() == {"status": "ok"}
    ready = api.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert ready.json()["checks"] == {"database": "ok", "schema": "ok", "broker": "ok"}


@pytest.mark.parametrize(
    ("change", "down"),
    [
        ({"redis_url": "redis://127.0.0.1:1/0"}, ["broker"]),
        ({"database_url": "postgresql://127.0.0.1:1/evalq"}, ["database", "schema"]),
    ],
)
def test_readiness_names_what_is_down(
    api: TestClient, app: FastAPI, settings: Settings, change: dict[str, str], down: list[str]
) -> None:
    health = HealthService(settings=settings.model_copy(update=change))
    app.state.services = replace(app.state.services, health=health)
    answer = api.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert [fault["path"] for fault in answer.json()["errors"]] == down
    assert "127.0.0.1" not in answer.text


def test_readiness_is_looked_at_once_a_second(settings: Settings) -> None:
    now = 0.0
    health = HealthService(settings=settings, clock=lambda: now)
    assert health.checks()["broker"] == "ok"
    health._settings = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    assert health.checks()["broker"] == "ok"
    now = 1.0
    assert "does not answer" in health.checks()["broker"]


def test_nobody_waits_for_a_broker_that_is_silent(settings: Settings) -> None:
    now = 0.0
    health = HealthService(settings=settings, clock=lambda: now)
    assert health.rings()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        health._settings = settings.model_copy(update={"redis_url": url})
        now = 1.0
        assert health.rings(), "what was found last"
        assert health._asking.locked(), "it is being asked"
        assert health.rings(), "by one for all"
        until(lambda: not health._asking.locked())
    assert not health.rings()
    health._settings = settings
    now = 2.0
    until(health.rings)


def test_a_broker_that_could_not_be_asked_is_asked_later(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    health = HealthService(settings=settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))
    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", start)
        assert health.rings(), "nothing else is known"
    until(lambda: not health.rings())


def test_readiness_notices_an_old_schema(postgres: Postgres, settings: Settings) -> None:
    with postgres.database(template="template0") as url:
        checks = HealthService(settings=settings.model_copy(update={"database_url": url})).checks()
    assert "run `evalq migrate`" in checks["schema"]


@pytest.mark.parametrize(
    ("caller", "words"),
    [
        (Caller("ann", "red", Role.VIEWER), "2 free devices; 1 of 2 is used"),
        (Caller("bob", "blue", Role.SUBMITTER), "2 free devices"),
        (Caller("ops", "blue", Role.OPERATOR), "2 free devices; 1 of 2 is used"),
    ],
)
def test_a_quota_is_its_teams_affair(caller: Caller, words: str) -> None:
    wait = Wait(Cause.QUOTA, "2 free devices", quota="; 1 of 2 is used")
    assert wait_out(wait, caller, "red").words == words
