"""The page of hosts, groups and devices; draining a group and giving it work again."""

from __future__ import annotations

import re

import pytest
from fastapi import Request
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient

from app.dashboard.feeds import Regions, View
from app.dashboard.pages import workers
from app.domain.group import BackendReport, DeviceReport
from app.domain.keys import Role
from tests.dashboard.conftest import As
from tests.dashboard.test_sign_in import token_of
from tests.world import World


def test_hosts_show_what_is_loaded_and_what_cannot_be_used(browser: TestClient, world: World) -> None:
    assert "No worker has reported yet" in browser.get("/workers").text
    world.devices(2)
    world.running(chunks=1)
    world.replica("GPU-0")
    for number, host in enumerate(
        ("ip-10-0-0-1.eu-west-1.compute.internal", "ip-10-0-0-2.eu-west-1.compute.internal")
    ):
        world.groups.register(name=f"c{number}", host=host, kind="gpu", backends=[], version="0", reports=[])
    world.groups.register(
        name="b",
        host="node2.lan",
        kind="gpu",
        backends=["hf"],
        version="0.4.0",
        reports=[DeviceReport("GPU-b", 0, "L4", 24 * 2**30, 2**30, 7.0, 61.0)],
        installed=[
            BackendReport("hf", {"transformers": "5.1"}),
            BackendReport("vllm", problem="its driver is too old"),
        ],
    )
    page = browser.get("/workers").text
    for told in ("node1", "node2.lan", "GPU-0", "/<wbr>models/<wbr>tiny", "evalq 0.4.0", "transformers 5.1"):
        assert told in page, told
    assert "its driver is too old" in page
    assert "61" in page
    assert len(set(re.findall(r' id="([^"]+)"', page))) == len(re.findall(r' id="([^"]+)"', page))


def test_a_page_is_told_that_others_report(
    browser: TestClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first(_: Request, __: object, ___: View, regions: Regions) -> PlainTextResponse:
        return PlainTextResponse(regions()["roster"])

    monkeypatch.setattr(workers, "shared", first)
    page = browser.get("/workers").text
    assert '<div id="roster"' in page
    (stream,) = re.findall(r'hx-sse:connect="([^"]+)"', page)
    assert "Show them" not in browser.get(stream).text
    world.devices(1)
    assert "Other hosts or groups report now" in browser.get(stream).text


def test_a_group_is_drained_with_a_reason_and_resumed(signed_in: As, world: World) -> None:
    world.devices(1)
    olga = signed_in(Role.OPERATOR, name="olga")
    sent = {"change_token": token_of(olga.get("/workers").text), "group": "a"}
    for _ in range(2):
        answer = olga.post(
            "/workers", data={**sent, "do": "drain", "reason": " driver <b>update\u202e ".rstrip()}
        )
        assert answer.status_code == 422, "a reason is one visible line"
    answer = olga.post("/workers", data={**sent, "do": "drain", "reason": "driver <b>update"})
    assert answer.headers["location"] == "/workers"
    for path in ("/workers", "/"):
        assert "by olga: driver &lt;b&gt;update" in olga.get(path).text
    assert olga.post("/workers", data={**sent, "do": "resume"}).status_code == 303
    assert "Draining" not in olga.get("/workers").text
    assert olga.post("/workers", data={**sent, "do": "dance"}).status_code == 422
    assert olga.post("/workers", data={**sent, "do": "drain", "group": "nope"}).status_code == 404


def test_who_is_no_operator_drains_nothing(signed_in: As, world: World) -> None:
    world.devices(1)
    alice = signed_in(Role.SUBMITTER)
    page = alice.get("/workers").text
    assert "Drain a" not in page
    sent = {"change_token": token_of(page), "group": "a", "do": "drain"}
    assert alice.post("/workers", data=sent).status_code == 403
