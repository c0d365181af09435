"""A key in a URL is refused, wherever it leads to."""

from __future__ import annotations

import base64
from itertools import product
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from app.domain.keys import new_token
from app.web.urls import keys_in

KEY = new_token()
PATHS = (
    "/",
    "/docs",
    "/openapi.json",
    "/healthz",
    "/metrics",
    "/v1/jobs",
    "/v1/jobs/",
    "/v1/nothing",
    "/v1/tasks/x",
)
QUERIES = (
    *(f"token={KEY}", "api_key=short", "key=short", "Authorization=Bearer+short", f"search={quote(KEY)}"),
    *(f"{KEY}=1", f"x={KEY}&limit=1", f"limit=1&x={KEY}"),
)


def test_a_key_in_a_query_is_refused_and_not_repeated(api: TestClient) -> None:
    for path, query in product(PATHS, QUERIES):
        answer = api.get(f"{path}?{query}", follow_redirects=False)
        assert (answer.status_code, answer.json()["code"]) == (400, "key_in_url"), (path, query)
        assert answer.json()["errors"][0]["path"].startswith("query.")
        assert KEY[:12] not in answer.text + str(answer.headers)
        assert "short" not in answer.text


def test_no_method_takes_one(api: TestClient) -> None:
    for method in ("POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "PURGE"):
        assert api.request(method, f"/v1/jobs?key={KEY}").status_code == 400, method


def test_an_encoded_key_is_one_too(api: TestClient) -> None:
    encoded = "".join(f"%{byte:02x}" for byte in KEY.encode())
    assert api.get(f"/v1/jobs?name={encoded}").json()["code"] == "key_in_url"


@pytest.mark.parametrize(
    "query",
    [
        *(
            "",
            "&&&",
            "=",
            "a",
            "%",
            "%ff",
            "\xff=1",
            "search=add_bos_token",
            "tag=sk-learn",
            "token=",
            "name=monkey",
        ),
        f"cursor=hf_{'a' * 40}",
        f"cursor={base64.urlsafe_b64encode(b'[1]' * 400).decode()}",
    ],
)
def test_what_is_none_is_let_through(query: str) -> None:
    assert list(keys_in(query.encode("latin-1"))) == []
