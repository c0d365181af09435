"""How the page of a job follows it, and what each look costs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.dashboard.pages import job as module
from app.domain.ids import uuid7
from tests.api.conftest import Coordinator
from tests.api.fakes import FakeTasks
from tests.world import World


def test_a_page_is_followed_to_the_end(browser: TestClient, job_id: str, coordinator: Coordinator) -> None:
    with_header = {"Accept": "text/html, text/event-stream", "Last-Event-ID": "1"}
    coordinator.finish(job_id)
    answer = browser.get(f"/jobs/{job_id}/stream", headers=with_header)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *_, first, last = [part for part in answer.text.split("\n\n") if part]
    assert re.search(r"^id: \w+-1$", first, re.MULTILINE)
    for name in module.REGIONS:
        assert f'hx-target="#{name}" hx-swap="outerMorph"' in first
        assert f'id="{name}"' in first
    assert "event: ended" in last


def test_a_look_of_a_stream_writes_no_spec(
    browser: TestClient, job_id: str, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator.finish(job_id)
    assert "&#34;/models/tiny&#34;" in browser.get(f"/jobs/{job_id}").text.split('id="spec"')[1]
    dumps, written = json.dumps, []

    def watched(*args: Any, **options: Any) -> str:
        written.append(options.get("indent"))
        return dumps(*args, **options)

    monkeypatch.setattr(json, "dumps", watched)
    assert "event: ended" in browser.get(f"/jobs/{job_id}/stream").text
    assert 1 not in written


def test_a_name_that_the_index_lost_costs_no_look_at_all_others(
    browser: TestClient, job_id: str, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(FakeTasks, "get")
    monkeypatch.setattr(FakeTasks, "find", lambda *_: None)
    coordinator.finish(job_id)
    for path in (f"/jobs/{job_id}", f"/jobs/{job_id}/stream"):
        assert browser.get(path).status_code == 200


def test_a_deleted_job_ends_its_stream(browser: TestClient) -> None:
    assert browser.get(f"/jobs/{uuid7()}/stream").status_code == 404
    assert browser.get("/jobs/nope").status_code == 404


def test_what_was_found_in_a_log_stands_until_it_is_looked_for_again(
    browser: TestClient, world: World
) -> None:
    lease = world.running(chunks=1)
    for line in ("one\n", "two\n"):
        world.coordination.add_log(lease.id, line)
    page = f"/jobs/{lease.id}"
    found = browser.get(f"{page}?find=two").text
    assert "find again for what was written since" in found
    assert "<span>two\n</span></pre>" in found
    world.coordination.finish(lease, "{}", "tiny", "today")
    followed = browser.get(f"{page}/stream?find=two").text
    assert 'hx-target="#state"' in followed
    assert "#log-lines" not in followed
