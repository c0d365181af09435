"""Tags, 304, gzip, Vary, Cache-Control, Link."""

from __future__ import annotations

import gzip
import re

import pytest
from fastapi.testclient import TestClient

from app.services.jobs import JobService
from app.web.delivery import LARGE_BYTES, known
from tests.api.conftest import JOB, Coordinator

PLAIN = {"Accept-Encoding": "identity"}
PLACES = (
    "/v1/jobs",
    "/v1/jobs/{job_id}",
    "/v1/jobs/{job_id}/results",
    "/v1/jobs/{job_id}/samples",
    "/v1/tasks",
)


@pytest.mark.parametrize("place", PLACES)
def test_what_a_client_has_already_is_not_sent_again(
    api: TestClient, job_id: str, coordinator: Coordinator, place: str
) -> None:
    coordinator.finish(job_id)
    path = place.format(job_id=job_id)
    first = api.get(path)
    again = api.get(path, headers={"If-None-Match": f'"x", {first.headers["etag"]}'})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert "content-type" not in again.headers
    assert {"cache-control", "x-request-id"} <= again.headers.keys()
    assert again.headers["vary"] == first.headers["vary"]
    assert api.head(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    api.post("/v1/jobs", json=JOB)
    if path == "/v1/jobs":
        assert api.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 200


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ('W/"a"', True),
        ('"a"', True),
        ('"b", W/"a"', True),
        ("*", True),
        ('"b"', False),
        ("", False),
        ("a", False),
    ],
)
def test_tags_are_compared_weakly(sent: str, found: bool) -> None:
    assert known(sent, 'W/"a"') is found


def test_an_error_has_no_tag(api: TestClient) -> None:
    answer = api.get("/v1/jobs/nope", headers={"If-None-Match": "*"})
    assert answer.status_code == 404
    assert "etag" not in answer.headers


def test_answers_are_not_kept_for_others(api: TestClient, job_id: str) -> None:
    headers = api.get(f"/v1/jobs/{job_id}").headers
    assert headers["cache-control"] == "private, no-cache"
    assert {name.strip() for name in headers["vary"].split(",")} >= {"Accept", "Authorization"}


def test_what_is_large_is_compressed_for_those_who_can_read_it(api: TestClient) -> None:
    for tags in (["a"], [f"{number:0100}" for number in range(50)]):
        api.post("/v1/jobs", json=JOB | {"tags": tags})
    for fields in ("id", "tags"):
        path = f"/v1/jobs?fields={fields}"
        plain, packed = api.get(path, headers=PLAIN), api.get(path, headers={"Accept-Encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert packed.content == plain.content
        assert int(packed.headers["content-length"]) < len(plain.content)
        assert packed.headers["etag"] == plain.headers["etag"]
        assert "Accept-Encoding" in packed.headers["vary"]
        assert "Accept-Encoding" in plain.headers["vary"]
    refused = api.get("/v1/jobs", headers={"Accept-Encoding": "gzip;q=0, *"})
    assert "content-encoding" not in refused.headers


def test_what_is_very_large_is_compressed_too(api: TestClient) -> None:
    long = "lm_eval run " * 10_000
    answer = api.post(
        "/v1/jobs?dry_run=true", json=JOB | {"tasks": [long] * 20}, headers={"Accept-Encoding": "gzip"}
    )
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json()["valid"] is False
    listing = api.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert len(listing.content) > LARGE_BYTES
    assert int(listing.headers["content-length"]) == len(gzip.compress(listing.content, 4, mtime=0))


def test_streams_are_sent_as_they_come(api: TestClient, job_id: str, coordinator: Coordinator) -> None:
    coordinator.finish(job_id)
    for part in ("events", "logs"):
        answer = api.get(f"/v1/jobs/{job_id}/{part}", headers={"Accept-Encoding": "gzip"})
        assert {"content-encoding", "etag", "content-length"}.isdisjoint(answer.headers), part


def test_a_file_keeps_its_length(api: TestClient, job_id: str, coordinator: Coordinator) -> None:
    coordinator.finish(job_id)
    [file, *_] = api.get(f"/v1/jobs/{job_id}/artifacts").json()["data"]
    answer = api.get(file["href"], headers={"Accept-Encoding": "gzip"})
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("path", ["/v1/jobs?limit=2&owner=anonymous", "/v1/tasks?limit=2"])
def test_a_list_links_to_its_next_page(api: TestClient, path: str) -> None:
    for _ in range(3):
        api.post("/v1/jobs", json=JOB)
    seen = []
    while path:
        page = api.get(path)
        seen += [entry.get("id") or entry["name"] for entry in page.json()["data"]]
        links = dict(reversed(link) for link in re.findall(r'<([^>]+)>; rel="(\w+)"', page.headers["link"]))
        assert ("next" in links) is (page.json()["next_cursor"] is not None)
        assert "cursor" not in links["first"]
        path = links.get("next", "")
    assert len(seen) == len(set(seen)) == 3


def test_samples_link_to_the_next_page(api: TestClient, job_id: str, coordinator: Coordinator) -> None:
    coordinator.finish(job_id)
    assert 'rel="next"' in api.get(f"/v1/jobs/{job_id}/samples?limit=1").headers["link"]
    assert 'rel="next"' not in api.get(f"/v1/jobs/{job_id}/samples").headers["link"]


def test_a_surprise_passes_through(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JobService, "page", None)
    quiet = TestClient(api.app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    assert quiet.get("/v1/jobs").status_code == 500
