"""Pages of the operator's origins may call; all others stay out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from app.main import create_app
from app.settings import Settings
from tests.api.conftest import JOB

OURS = "https://dash.example"


@pytest.fixture
def open_to(settings: Settings) -> Iterator[TestClient]:
    app = create_app(settings.model_copy(update={"cors_origins": (OURS,)}))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def test_a_page_of_an_allowed_origin_reads_and_changes(open_to: TestClient) -> None:
    headers = {"Origin": OURS, "Sec-Fetch-Site": "cross-site"}
    asked = headers | {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    allowed = open_to.options("/v1/jobs", headers=asked)
    assert allowed.status_code == 200
    assert "POST" in allowed.headers["access-control-allow-methods"]
    read = open_to.get("/v1/jobs", headers=headers)
    assert read.headers["access-control-allow-origin"] == OURS
    exposed = set(read.headers["access-control-expose-headers"].split(", "))
    assert {"Content-Disposition", "ETag", "Link", "X-Request-Id"} <= exposed
    assert "Origin" in read.headers["vary"]
    assert "access-control-allow-credentials" not in read.headers
    made = open_to.post("/v1/jobs/nope/cancel", headers=headers)
    assert (made.status_code, made.headers["access-control-allow-origin"]) == (404, OURS)


@pytest.mark.parametrize("origin", ["https://evil.example", "http://dash.example", f"{OURS}.evil", "null"])
def test_other_origins_stay_out(open_to: TestClient, origin: str) -> None:
    headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
    assert "access-control-allow-origin" not in open_to.get("/v1/jobs", headers=headers).headers
    assert open_to.post("/v1/jobs", json=JOB, headers=headers).json()["code"] == "cross_site"


@pytest.mark.parametrize(
    "origins", ["*", "dash.example", "https://dash.example/", "https://*.example", "null"]
)
def test_what_is_no_origin_is_refused_when_the_service_starts(
    monkeypatch: pytest.MonkeyPatch, origins: str
) -> None:
    monkeypatch.setenv("EVALQ_CORS_ORIGINS", origins)
    with pytest.raises(ValidationError, match="origin"):
        Settings()
    monkeypatch.setenv("EVALQ_CORS_ORIGINS", "https://A.example, http://b.example:8080")
    assert Settings().cors_origins == ("https://a.example", "http://b.example:8080")
