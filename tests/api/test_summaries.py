"""Lists hold summaries: small whatever was posted, without nulls, and more where somebody asks for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import event, func, text, update

from app.api.summaries import FIELDS, MOST_BYTES, fitted
from app.db import listings
from app.db.session import Sessions
from app.db.tables import JobRow
from app.domain.job_filter import JobPart
from tests.api.conftest import Coordinator
from tests.jobs import submission

LONG = "\U0001f600" * 200


def size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def nulls(value: Any) -> Iterator[Any]:
    match value:
        case None:
            yield value
        case dict():
            for item in value.values():
                yield from nulls(item)
        case list():
            for item in value:
                yield from nulls(item)


def test_an_entry_says_what_and_where_a_job_is(
    api: TestClient, job_id: str, coordinator: Coordinator
) -> None:
    [entry] = api.get("/v1/jobs").json()["data"]
    assert entry.pop("created_at")
    assert entry == {
        "id": job_id,
        "owner": "anonymous",
        "team": "default",
        "status": "queued",
        "reason": "waiting for a coordinator",
        "priority": 50,
        "tags": [],
        "backend": "hf",
        "model": "/models/tiny",
        "tasks": ["toy"],
        "progress": {"done": 0, "unit": "requests", "reused": 0, "stalled_seconds": 0.0},
        "attempt": 0,
        "gpu_seconds": 0.0,
        "links": {"self": f"/v1/jobs/{job_id}", "results": f"/v1/jobs/{job_id}/results"},
    }
    coordinator.finish(job_id)
    [ended] = api.get("/v1/jobs").json()["data"]
    assert {"started_at", "ended_at"} <= ended.keys()
    assert ended["progress"]["percent"] == 0.0
    assert not [*nulls(ended)]


def test_parts_are_there_where_they_are_asked_for(
    api: TestClient, job_id: str, coordinator: Coordinator
) -> None:
    coordinator.finish(job_id)
    job = api.get(f"/v1/jobs/{job_id}").json()
    for fields in ("spec", "plan", "tasks", "spec,plan,tasks,error", " plan , spec ,"):
        [entry] = api.get("/v1/jobs", params={"fields": fields}).json()["data"]
        names = {name.strip() for name in fields.split(",")} - {"", "error"}
        assert {name: entry[name] for name in names} == {name: job[name] for name in names}, fields
        assert not ({"spec", "plan"} - names) & entry.keys()
    assert "error" not in entry  # it has none


def test_a_field_that_no_list_has_is_told_those_there_are(api: TestClient) -> None:
    answer = api.get("/v1/jobs?fields=spec,replicas")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    [fault] = answer.json()["errors"]
    assert (fault["path"], "replicas" in fault["message"]) == ("query.fields", True)
    assert {*JobPart, "id", "reason"} <= set(fault["allowed"])


def test_no_entry_is_larger_than_a_kilobyte(app: FastAPI, api: TestClient, sessions: Sessions) -> None:
    made = submission(
        tasks=tuple(f"task_{number}" for number in range(500)),
        model="/models/" + "m" * 5000,
        name=LONG,
        tags=[f"{number:0100}" for number in range(50)],
    )
    job, _ = app.state.services.jobs.submit(made, "o" * 300, team="t" * 300)
    most: dict[str, Any] = {
        "requests_total": 2**62,
        "requests_done": 2**62,
        "requests_reused": 2**62,
        "attempt": 2**31,
    }
    most |= {"gpu_seconds": 1234567890.123456, "reason": LONG, "phase": "waiting_for_gpu"}
    with sessions.begin() as session:
        session.execute(update(JobRow).values(deadline_at=func.now(), started_at=func.now(), **most))
    [entry] = api.get("/v1/jobs").json()["data"]
    assert size(entry) <= MOST_BYTES
    assert set(entry["cut"]) == {"name", "owner", "team", "reason", "tags", "model", "tasks"}
    assert entry["backend"] == "hf"
    assert entry["name"].removesuffix("...") in LONG
    [whole] = api.get("/v1/jobs?fields=name,tags,tasks").json()["data"]
    assert (whole["name"], len(whole["tags"]), len(whole["tasks"])) == (LONG, 50, 500)
    assert {"name", "tags", "tasks"}.isdisjoint(whole["cut"])
    assert UUID(entry["id"]) == job.id


def test_what_is_short_is_left_and_the_long_is_cut() -> None:
    entry = {"id": 1, "name": "short", "reason": 'quoted " and \n' * 100, "tasks": ["a" * 30, "b" * 5000]}
    found = fitted(entry, 400)
    assert size(found) <= 400
    assert found["name"] == "short"
    assert (found["tasks"], found["cut"]) == (["a" * 30], ["reason", "tasks"])
    assert fitted(entry, 10_000) is entry


def test_a_reason_is_a_sentence_unless_it_is_asked_for(
    api: TestClient, job_id: str, sessions: Sessions
) -> None:
    with sessions.begin() as session:
        session.execute(text("UPDATE jobs SET reason = E'it failed\\nTraceback\\n  line 1'"))
    assert api.get("/v1/jobs").json()["data"][0]["reason"] == "it failed"
    assert "line 1" in api.get("/v1/jobs?fields=reason").json()["data"][0]["reason"]


def test_a_list_reads_no_spec_that_it_does_not_show(
    app: FastAPI, api: TestClient, sessions: Sessions
) -> None:
    """Counted in bytes that come from the database."""
    app.state.services.jobs.submit(submission(system_instruction="x" * 1_000_000), "alice")
    read: list[int] = []
    engine = app.state.sessions.kw["bind"]

    @event.listens_for(engine, "after_cursor_execute")
    def note(_: Any, cursor: Any, *__: Any) -> None:
        found = cursor.pgresult
        cells = [(row, column) for row in range(found.ntuples) for column in range(found.nfields)]
        read.extend(len(found.get_value(*cell) or b"") for cell in cells)

    [entry] = api.get("/v1/jobs").json()["data"]
    assert 0 < sum(read) < 5_000
    assert "spec" not in entry
    read.clear()
    [entry] = api.get("/v1/jobs?fields=spec").json()["data"]
    assert len(entry["spec"]["system_instruction"]) == 1_000_000


def test_jobs_of_earlier_versions_are_listed_by_their_specs(
    api: TestClient, job_id: str, sessions: Sessions
) -> None:
    with sessions.begin() as session:
        session.execute(text("UPDATE jobs SET outline = NULL"))
    [entry] = api.get("/v1/jobs").json()["data"]
    assert (entry["tasks"], entry["backend"]) == (["toy"], "hf")


def test_a_page_of_large_jobs_is_short_and_loses_none(
    app: FastAPI, api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listings, "MOST_BYTES", 10_000)
    monkeypatch.setattr(listings, "_STEP", 2)
    for _ in range(5):
        app.state.services.jobs.submit(submission(system_instruction="x" * 4_000), "alice")
    newest = [job["id"] for job in api.get("/v1/jobs").json()["data"]]
    found: list[str] = []
    cursor, sizes = None, []
    while True:
        page = api.get("/v1/jobs", params={"fields": "spec", "cursor": cursor or ""}).json()
        found += [job["id"] for job in page["data"]]
        sizes.append(len(page["data"]))
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == newest
    assert sizes == [2, 2, 1]


def test_fields_stand_in_one_order_in_every_process(api: TestClient, job_id: str) -> None:
    fields = ("tags", "model", "owner", "team", "tasks", "status", "backend", "id")
    [entry] = api.get("/v1/jobs", params={"fields": ",".join(fields)}).json()["data"]
    assert list(entry)[-len(fields) :] == [name for name in FIELDS if name in fields]
