"""Who may call what: keys, roles, teams, limits, and pages of other sites."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.domain.ids import uuid7
from app.domain.keys import Role
from app.errors import UnauthenticatedApiError
from app.main import create_app
from app.services.keys import KeyService
from app.services.rate_limit import RateLimit
from app.settings import Settings
from app.web.callers import needed_role
from tests.api.conftest import JOB, Coordinator

As = Callable[..., TestClient]


@pytest.fixture
def keys(app: FastAPI, api: TestClient) -> KeyService:
    service: KeyService = app.state.services.keys
    return service


@pytest.fixture
def user(app: FastAPI, api: TestClient, keys: KeyService) -> Iterator[As]:
    """A client with a key of its own; from the first one on, the service needs keys."""
    clients: list[TestClient] = []

    def client(role: Role = Role.SUBMITTER, team: str = "red", name: str = "alice") -> TestClient:
        _, token = keys.create(name=name, role=role, team=team)
        keys._looked_at = float("-inf")
        headers = {"Authorization": f"Bearer {token}"}
        clients.append(TestClient(app, "http://127.0.0.1", headers=headers))
        return clients[-1]

    yield client
    for each in clients:
        each.close()


def code(answer: httpx2.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def calls(app: FastAPI) -> set[tuple[str, str]]:
    """Every call there is: method and path."""
    return {(method.upper(), path) for path, item in app.openapi()["paths"].items() for method in item}


def post(client: TestClient, **fields: Any) -> str:
    answer = client.post("/v1/jobs", json=JOB | fields)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_without_keys_the_service_is_open(api: TestClient) -> None:
    job = api.post("/v1/jobs", json=JOB).json()
    assert (job["owner"], job["team"]) == ("anonymous", "default")
    assert api.get("/metrics").status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/v1/jobs", "/v1/jobs/01a21d84-541d-7e3b-91d3-c8c41f2e9cf0", "/v1/queue", "/v1/tasks", "/metrics"],
)
def test_with_the_first_key_every_call_needs_one(api: TestClient, user: As, path: str) -> None:
    user()
    answer = api.get(path)
    assert code(answer) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == 'Bearer realm="evalq"'
    assert "evalq keys create" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json"])
def test_health_and_documentation_stay_open(api: TestClient, user: As, path: str) -> None:
    user()
    assert api.get(path).status_code == 200


@pytest.mark.parametrize("sent", ["Bearer nonsense", f"Bearer evq_{'a' * 43}", "Basic YTpi", "Bearer", "é"])
def test_a_wrong_key_is_refused(api: TestClient, user: As, sent: str) -> None:
    user()
    answer = api.get("/v1/jobs", headers={b"Authorization": sent.encode("latin-1")})
    assert code(answer) == (401, "unauthenticated")
    assert "aaaa" not in answer.text


def test_a_revoked_key_is_refused(app: FastAPI, user: As, keys: KeyService) -> None:
    client = user()
    assert client.get("/v1/jobs").status_code == 200
    keys.revoke(keys.all()[0].id)
    keys._read.clear()
    assert code(client.get("/v1/jobs")) == (401, "unauthenticated")


def test_keys_that_nobody_can_use_any_more_do_not_open_the_service(
    api: TestClient, user: As, keys: KeyService
) -> None:
    user()
    keys.revoke(keys.all()[0].id)
    assert code(api.get("/v1/jobs")) == (401, "unauthenticated")


def test_a_viewer_reads_and_changes_nothing(user: As) -> None:
    job_id = post(user())
    viewer = user(Role.VIEWER)
    assert viewer.get(f"/v1/jobs/{job_id}").json()["owner"] == "alice"
    for answer in (
        viewer.post("/v1/jobs", json=JOB),
        viewer.patch(f"/v1/jobs/{job_id}", json={"name": "n"}),
        viewer.post(f"/v1/jobs/{job_id}/cancel"),
        viewer.delete(f"/v1/jobs/{job_id}"),
    ):
        assert code(answer) == (403, "forbidden")
        assert "needs a key with role submitter" in answer.json()["detail"]


def test_a_submitter_changes_the_jobs_of_the_team(user: As) -> None:
    job_id = post(user(name="alice"))
    colleague = user(name="bob")
    assert colleague.patch(f"/v1/jobs/{job_id}", json={"name": "n"}).json()["name"] == "n"
    assert colleague.post(f"/v1/jobs/{job_id}/cancel").json()["status"] == "cancelled"


def test_only_an_operator_drains_groups(user: As) -> None:
    assert code(user().post("/v1/groups/a/drain")) == (403, "forbidden")
    assert code(user(Role.OPERATOR).post("/v1/groups/a/drain")) == (404, "unknown_group")


def test_every_call_has_the_role_it_should(app: FastAPI) -> None:
    found = {call: needed_role(*call) for call in calls(app)}
    changes = {call: role for call, role in found.items() if call[0] != "GET"}
    assert {call[1] for call, role in found.items() if role is None} == {"/healthz", "/readyz"}
    assert all(found[call] in (None, Role.VIEWER) for call in found.keys() - changes.keys())
    assert {call[1] for call, role in changes.items() if role is Role.VIEWER} <= {"/v1/comparisons"}
    assert {call[1].split("/")[2] for call, role in changes.items() if role is Role.SUBMITTER} == {"jobs"}
    assert changes["POST", "/v1/groups/{name}/drain"] is Role.OPERATOR
    assert needed_role("POST", "/v1/something-new") is Role.OPERATOR


JOB_CALLS = [
    ("GET", ""),
    ("PATCH", ""),
    ("DELETE", ""),
    *[
        ("GET", f"/{part}")
        for part in ("events", "results", "samples", "artifacts", "artifacts.zip", "artifacts/x", "logs")
    ],
    *[("POST", f"/{verb}") for verb in ("cancel", "pause", "resume", "retry")],
]


def test_another_teams_job_is_no_job_to_any_call(app: FastAPI, user: As) -> None:
    job_id = post(user(team="red"))
    stranger, operator = user(team="blue", name="eve"), user(Role.OPERATOR, team="blue")
    tried = set()
    for method, part in JOB_CALLS:
        answers = [
            stranger.request(
                method, f"/v1/jobs/{each}{part}", json={"name": "n"} if method == "PATCH" else None
            )
            for each in (job_id, str(uuid7()))
        ]
        assert [code(answer) for answer in answers] == [(404, "unknown_job")] * 2, (method, part)
        tried.add((method, "/v1/jobs/{job_id}" + part.replace("/x", "/{name}")))
    assert operator.get(f"/v1/jobs/{job_id}").json()["status"] == "queued"
    assert tried == {call for call in calls(app) if "{job_id}" in call[1]}


def test_lists_show_the_jobs_of_the_team(user: As) -> None:
    red, blue = post(user(team="red")), post(user(team="blue"))
    for role, team, seen in (
        (Role.VIEWER, "red", [red]),
        (Role.VIEWER, "blue", [blue]),
        (Role.VIEWER, "green", []),
        (Role.OPERATOR, "green", [blue, red]),
    ):
        client = user(role, team)
        assert [job["id"] for job in client.get("/v1/jobs").json()["data"]] == seen
    assert user(team="red").get("/v1/jobs", params={"owner": "alice"}).json()["data"][0]["id"] == red


def test_no_filter_reaches_into_another_team(user: As) -> None:
    red = post(user(team="red"), name="secret plan", tags=["t"])
    viewer = user(Role.VIEWER, "blue", name="eve")
    filters = {"owner": "alice", "name": "secret plan", "tag": "t", "task": "toy", "model": "/models/tiny"}
    for name, value in filters.items():
        assert viewer.get("/v1/jobs", params={name: value}).json()["data"] == [], name
        [found] = user(Role.OPERATOR, "blue").get("/v1/jobs", params={name: value}).json()["data"]
        assert found["id"] == red, name


def test_the_queue_does_not_tell_whose_the_others_are(user: As) -> None:
    hidden = post(user(team="red"), name="secret plan")
    mine = post(user(team="blue"))
    assert hidden not in user(team="blue").get("/v1/queue").text
    first, second = user(team="blue").get("/v1/queue").json()["data"]
    assert (first["position"], first["waiting_for"]) == (1, "a coordinator")
    assert [first[name] for name in ("id", "name", "owner", "model", "href")] == [None] * 5
    assert (second["position"], second["id"]) == (2, mine)
    assert second["ahead"] == {"count": 1, "by": {"earlier": 1}, "first": []}


def test_an_idempotency_key_belongs_to_one_owner_in_one_team(user: As) -> None:
    headers = {"Idempotency-Key": "nightly"}
    clients = [user(), user(name="bob"), user(team="blue"), user()]
    ids = [client.post("/v1/jobs", json=JOB, headers=headers).json()["id"] for client in clients]
    assert len(set(ids)) == 3
    assert ids[0] == ids[3]


def test_a_team_has_a_quota_of_jobs_that_have_not_ended(app: FastAPI, user: As) -> None:
    jobs = app.state.services.jobs
    jobs._team_jobs = 2
    client = user()
    first, _ = post(client), post(client)
    refused = client.post("/v1/jobs", json=JOB)
    assert code(refused) == (429, "quota_exceeded")
    assert int(refused.headers["retry-after"]) > 0
    post(user(team="blue"))
    client.post(f"/v1/jobs/{first}/cancel")
    post(client)
    assert code(client.post(f"/v1/jobs/{first}/retry")) == (429, "quota_exceeded")


def test_a_key_has_so_many_requests_a_minute(app: FastAPI, user: As, settings: Settings) -> None:
    rates = RateLimit(settings.model_copy(update={"requests_per_minute": 2}), now=lambda: 90.0)
    app.state.services = replace(app.state.services, rates=rates)
    client = user()
    answers = [client.get("/v1/jobs") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].headers["retry-after"] == "30"
    assert answers[2].json()["code"] == "too_many_requests"
    assert user(name="bob").get("/v1/jobs").status_code == 200
    rates.close()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""])
def test_a_name_bound_to_our_address_gets_nothing(api: TestClient, host: str) -> None:
    answer = api.get("/v1/jobs", headers={"Host": host})
    assert code(answer) == (403, "cross_site")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", "127.9.9.9", "10.0.0.5"]
)
def test_names_of_this_machine_are_answered(api: TestClient, host: str) -> None:
    assert api.get("/v1/jobs", headers={"Host": host}).status_code == 200


def test_an_operator_may_add_names(app: FastAPI, api: TestClient) -> None:
    named = {"Host": "evalq.example"}
    for names, status in (((), 403), (("evalq.example",), 200), (("*",), 200)):
        changes = {"allow_unauthenticated": True, "host_names": names}
        changed = app.state.services.settings.model_copy(update=changes)
        app.state.services = replace(app.state.services, settings=changed)
        assert api.get("/v1/jobs", headers=named).status_code == status


def test_with_keys_any_name_will_do(user: As) -> None:
    assert user().get("/v1/jobs", headers={"Host": "evalq.example"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
    ],
)
def test_a_page_of_another_site_changes_nothing(
    api: TestClient, job_id: str, headers: dict[str, str]
) -> None:
    for answer in (
        api.post(f"/v1/jobs/{job_id}/cancel", headers=headers),
        api.post("/v1/jobs", json=JOB, headers=headers),
        api.delete(f"/v1/jobs/{job_id}", headers=headers),
    ):
        assert code(answer) == (403, "cross_site")
    assert api.get(f"/v1/jobs/{job_id}", headers=headers).json()["status"] == "queued"


def test_no_page_of_another_site_reads_an_answer(api: TestClient, job_id: str) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    for method in ("GET", "OPTIONS"):
        for path in ("/v1/jobs", f"/v1/jobs/{job_id}", "/healthz", "/openapi.json"):
            answer = api.request(method, path, headers=asked)
            assert not [name for name in answer.headers if name.startswith("access-control-")], path


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://127.0.0.1"}, {}],
)
def test_our_own_pages_and_programs_do(api: TestClient, job_id: str, headers: dict[str, str]) -> None:
    assert api.post(f"/v1/jobs/{job_id}/cancel", headers=headers).json()["status"] == "cancelled"


def test_beyond_loopback_a_key_is_needed_to_start(settings: Settings, keys: KeyService) -> None:
    public = settings.model_copy(update={"host": "0.0.0.0"})  # noqa: S104 - the point
    with pytest.raises(UnauthenticatedApiError, match="evalq keys create"):
        create_app(public)
    keys.create(name="alice", role=Role.OPERATOR, team="red")
    assert create_app(public)


def test_beyond_loopback_nothing_is_open_even_if_the_keys_vanish(app: FastAPI, api: TestClient) -> None:
    public = app.state.services.settings.model_copy(update={"host": "0.0.0.0"})  # noqa: S104
    app.state.services = replace(app.state.services, settings=public)
    assert code(api.get("/v1/jobs")) == (401, "unauthenticated")


def test_the_document_declares_the_key(app: FastAPI) -> None:
    document = app.openapi()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert document["security"] == [{"key": []}, {}]
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert "security" not in document["paths"]["/v1/jobs"]["get"]
    assert {"401", "403", "429"} <= document["paths"]["/v1/jobs"]["post"]["responses"].keys()


def test_a_finished_job_is_as_hidden_as_a_waiting_one(
    user: As, coordinator: Coordinator, app: FastAPI
) -> None:
    client = user(team="red")
    job_id = post(client)
    coordinator.finish(job_id)
    (name, *_) = [item["name"] for item in client.get(f"/v1/jobs/{job_id}/artifacts").json()["data"]]
    stranger = user(team="blue")
    for part in ("results", "samples", "logs", "events", f"artifacts/{name}"):
        assert client.get(f"/v1/jobs/{job_id}/{part}").status_code == 200
        assert code(stranger.get(f"/v1/jobs/{job_id}/{part}")) == (404, "unknown_job")
    assert UUID(job_id)
