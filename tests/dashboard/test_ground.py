"""What every page has: headers, files from here alone, errors as pages; and the start for who is no browser."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from html.parser import HTMLParser

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.errors import DatabaseUnreachableError
from tests.api.conftest import Coordinator
from tests.dashboard.conftest import ACCEPT, As

PAGES = ("/", "/jobs", "/submit", "/usage", "/workers", "/sign-in", "/docs", "/nowhere")


class Markup(HTMLParser):
    """The tags of a page, each with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def addresses(self) -> Iterator[str]:
        for _, attributes in self.tags:
            yield from (attributes[name] or "" for name in ("src", "href", "action") if name in attributes)


def test_a_page_allows_nothing_inline_and_nothing_from_elsewhere(browser: TestClient) -> None:
    for path in PAGES:
        check_walls(browser.get(path), path)


def check_walls(answer: httpx2.Response, path: str) -> None:
    policy = answer.headers["content-security-policy"]
    assert policy.startswith(
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    assert ("unsafe" in policy) == ("data:" in policy) == (path == "/docs")
    assert "unsafe-inline" not in policy.replace("style-src 'self' 'unsafe-inline'", "")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert "Cookie" in answer.headers["vary"]
    for tag, attributes in Markup(answer.text).tags:
        assert not {name for name in attributes if name == "style" or name.startswith("on")}, (
            tag,
            attributes,
        )
        assert tag != "script" or attributes["src"]
    assert not [each for each in Markup(answer.text).addresses() if not re.match(r"/(?!/)|#", each)]


def test_every_file_that_a_page_names_is_there_for_good(browser: TestClient) -> None:
    addresses = {each for path in PAGES for each in Markup(browser.get(path).text).addresses()}
    named = {each for each in addresses if each.startswith("/static/")}
    assert len(named) > 6
    for each in named:
        answer = browser.get(each)
        assert (answer.status_code, answer.headers["cache-control"]) == (
            200,
            "public, max-age=31536000, immutable",
        )
    tag = named.pop().split("/")[2]
    assert browser.get(f"/static/{tag}/nothing.js").status_code == 404
    assert browser.get("/static/0000/style.css").headers["cache-control"] == "no-cache"


def test_no_other_file_is_served(browser: TestClient) -> None:
    for path in ("/static/x/../rendering.py", "/static/x/..%2frendering.py", "/static/x//etc/passwd"):
        assert browser.get(path).status_code == 404


def test_programs_get_a_text_whose_lines_work(api: TestClient, job_id: str, coordinator: Coordinator) -> None:
    coordinator.finish(job_id)
    text = api.get("/").text
    assert api.get("/").headers["content-type"] == "text/plain; charset=utf-8"
    assert len(text.splitlines()) == 20
    commands = text.replace("$ID", job_id).replace("\n  ", " ")
    lines = [shlex.split(line) for line in commands.splitlines() if line.startswith("curl")]
    assert len(lines) == 9
    for line in lines:
        address = next(word for word in line if word.startswith("http://127.0.0.1/"))
        body = line[line.index("-d") + 1] if "-d" in line else None
        answer = api.request("POST" if body else "GET", address, content=body, headers=_headers(line))
        assert answer.status_code == 200, (line, answer.text)


def _headers(line: list[str]) -> dict[str, str]:
    given = [line[at + 1] for at, word in enumerate(line) if word == "-H"]
    return dict(each.split(": ", 1) for each in given)


def test_with_keys_the_text_says_so_and_needs_none(
    browser: TestClient, api: TestClient, signed_in: As
) -> None:
    signed_in()
    assert "EVALQ_TOKEN" in api.get("/").text
    assert browser.get("/").headers["location"] == "/sign-in?next=/"


def test_an_error_is_a_page_to_a_person_and_a_problem_to_a_program(
    browser: TestClient, api: TestClient
) -> None:
    page = browser.get("/nowhere")
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert page.headers["x-request-id"] in page.text
    for client, path in ((api, "/nowhere"), (browser, "/v1/jobs/nope"), (browser, "/v1/nothing")):
        assert client.get(path).headers["content-type"] == "application/problem+json"


def test_an_unforeseen_error_is_a_page_with_walls(
    app: FastAPI, api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, status in ((RuntimeError("<b>secret</b>"), 500), (DatabaseUnreachableError("gone"), 503)):

        def fails(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(app.state.services.queue, "page", fails)
        with TestClient(app, "http://127.0.0.1", headers=ACCEPT, raise_server_exceptions=False) as client:
            answer = client.get("/")
        assert answer.status_code == status
        assert "secret" not in answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
