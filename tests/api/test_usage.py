"""GET /v1/usage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.db.session import Sessions
from app.domain.keys import Role

ROWS = [
    ("2026-11-01T08:00Z", "red", "alice", "llama", 100.0, "useful"),
    ("2026-11-01T09:00Z", "red", "alice", "llama", 50.0, "failed"),
    ("2026-11-02T09:00Z", "red", "bob", "qwen", 30.0, "useful"),
    ("2026-11-02T09:00Z", "blue", "carol", "qwen", 500.0, "useful"),
    ("2026-11-02T09:00Z", "", "", "qwen", 7.0, "idle"),
]
MONTH = "from=2026-11-01&to=2026-12-01"


@pytest.fixture(autouse=True)
def booked(sessions: Sessions) -> None:
    """What was used in November."""
    with sessions.begin() as session:
        for row in ROWS:
            values = dict(zip("abcdef", row, strict=True))
            session.execute(text("INSERT INTO usage VALUES (:a, :b, :c, :d, :e, :f)"), values)


@pytest.fixture
def user(app: FastAPI, api: TestClient) -> Iterator[Callable[[str], TestClient]]:
    """A client with a key of this team."""
    keys, clients = app.state.services.keys, []

    def client(team: str) -> TestClient:
        _, token = keys.create(name="alice", role=Role.VIEWER, team=team)
        keys._looked_at = float("-inf")
        clients.append(TestClient(app, "http://127.0.0.1", headers={"Authorization": f"Bearer {token}"}))
        return clients[-1]

    yield client
    for each in clients:
        each.close()


def told(client: TestClient, query: str) -> list[dict[str, Any]]:
    answer = client.get(f"/v1/usage?{query}")
    assert answer.status_code == 200, answer.text
    return [{k: v for k, v in each.items() if v is not None} for each in answer.json()["data"]]


def test_an_operator_sees_all_by_what_came_of_it(api: TestClient) -> None:
    assert told(api, MONTH) == [
        {"outcome": "useful", "device_seconds": 630.0},
        {"outcome": "failed", "device_seconds": 50.0},
        {"outcome": "idle", "device_seconds": 7.0},
    ]
    whole = api.get(f"/v1/usage?{MONTH}&by=").json()
    assert (whole["by"], whole["device_seconds"], whole["left_out"]) == (["outcome"], 687.0, 0)
    assert whole["from"].startswith("2026-11-01T00:00:00")


def test_sums_come_by_whatever_is_asked_in_the_order_of_time(api: TestClient) -> None:
    assert told(api, f"{MONTH}&by=owner,day") == [
        {"day": "2026-11-01T00:00:00Z", "owner": "alice", "device_seconds": 150.0},
        {"day": "2026-11-02T00:00:00Z", "owner": "carol", "device_seconds": 500.0},
        {"day": "2026-11-02T00:00:00Z", "owner": "bob", "device_seconds": 30.0},
        {"day": "2026-11-02T00:00:00Z", "owner": "", "device_seconds": 7.0},
    ]
    assert [(each["hour"][:13], each["model"]) for each in told(api, f"{MONTH}&by=hour,model")] == [
        ("2026-11-01T08", "llama"),
        ("2026-11-01T09", "llama"),
        ("2026-11-02T09", "qwen"),
    ]


def test_a_user_sees_the_own_team_alone(user: Callable[[str], TestClient]) -> None:
    red = user("red")
    assert {each["team"] for each in told(red, f"{MONTH}&by=team,owner,model,outcome")} == {"red"}
    assert red.get(f"/v1/usage?{MONTH}").json()["device_seconds"] == 180.0
    assert told(user("green"), MONTH) == []


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("from=2026-11-01T08:59:59Z&to=2026-11-01T09:00:00Z", 100.0),
        ("from=2026-11-01T09:30:00%2B01:00&to=2026-11-01T09:00:00Z", 100.0),
        ("from=2026-11-01T09:00:00&to=2026-11-02T09:00:00Z", 50.0),
        ("from=2026-11-02&to=2026-11-01", 0.0),
        ("from=0001-01-01T00:00:00%2B23:59&to=9999-12-31T23:59:59-23:59", 687.0),
        ("to=0001-01-01", 0.0),
    ],
)
def test_whole_hours_are_counted_that_begin_in_the_time(api: TestClient, query: str, seconds: float) -> None:
    assert api.get(f"/v1/usage?{query}").json()["device_seconds"] == seconds


def test_what_is_left_out_is_counted(api: TestClient) -> None:
    answer = api.get(f"/v1/usage?{MONTH}&by=owner&limit=1").json()
    assert [each["owner"] for each in answer["data"]] == ["carol"]
    assert (answer["left_out"], answer["device_seconds"]) == (3, 687.0)


def test_what_cannot_be_summed_by_is_named_with_what_can(api: TestClient) -> None:
    (fault,) = api.get("/v1/usage?by=owner,colour").json()["errors"]
    assert fault["path"] == "query.by"
    assert "'colour'" in fault["message"]
    assert fault["allowed"] == ["team", "owner", "model", "outcome", "hour", "day"]
