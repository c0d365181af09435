"""Submit: what is pasted is read and planned, submitted once, and given back as it was typed where it is refused."""

from __future__ import annotations

import html
import json
import re
import threading
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.dashboard import forms
from app.dashboard.forms import Sent
from app.dashboard.views.submit import Draft, changed, draft_of, fields_of, in_words, told, written
from app.dashboard.words import TO
from app.domain.estimates import Outstanding
from app.domain.failure import Failure, FailureCode
from app.domain.forecast import Forecast
from app.domain.keys import Role
from app.errors import BusyError, DatabaseRefusedError, InvalidRequestError
from app.services.keys import KeyService
from tests.api.conftest import JOB, Coordinator
from tests.dashboard.conftest import As
from tests.dashboard.test_sign_in import token_of
from tests.jobs import submission

TYPED = "\u202e\u200d\x1b é \U0001f469\u200d\U0001f4bb"
FAMILY = json.dumps(JOB | {"tasks": ["toy", "none"], "system_instruction": TYPED}, ensure_ascii=False)


def once_of(page: str) -> str:
    [found] = re.findall(r'name="once" value="([^"]+)"', page)
    return str(found)


def typed(page: str, name: str = "text") -> str:
    """What a browser would read from a text box of the page."""
    [found] = re.findall(rf'<textarea[^>]* name="{name}".*?>\n(.*?)</textarea>', page, re.DOTALL)
    return html.unescape(str(found))


def test_what_is_pasted_is_planned_and_submitted(browser: TestClient, api: TestClient) -> None:
    page = browser.get("/submit").text
    assert "Submit job" not in page
    sent = {"text": json.dumps(JOB), "once": once_of(page), "name": "from a <box>", "tags": "a, b"}
    planned = browser.post("/submit", data=sent | {"do": "plan"}).text
    assert "As many copies of /models/tiny on 1 device each as there is room for" in planned
    assert "it fits on one device" in planned
    assert api.get("/v1/jobs").json()["data"] == []
    answer = browser.post("/submit", data=sent | {"do": "submit"})
    assert answer.status_code == 303
    job = api.get(f"/v1{answer.headers['location']}").json()
    assert (job["name"], job["tags"]) == ("from a <box>", ["a", "b"])


def test_a_form_takes_a_job_as_large_as_the_api_does(browser: TestClient) -> None:
    for size, status in ((3 * 1024**2, 200), (4 * 1024**2, 413), (14 * 1024**2, 413)):
        text = json.dumps(["é" * (size // 2)], ensure_ascii=False)
        assert browser.post("/submit", data={"text": text}).status_code == status, size


def test_a_busy_service_gives_back_what_was_typed(
    browser: TestClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def take(_: int, work: Any) -> Any:
        if work.func is not forms._fields:
            raise BusyError("send it again in a moment", 5)
        return work()

    monkeypatch.setattr(app.state.services.turns, "take", take)
    for what in ("submit", "plan"):
        answer = browser.post("/submit", data={"text": FAMILY, "do": what})
        assert typed(answer.text) == FAMILY
        assert "send it again in a moment" in answer.text


def test_forms_are_read_beside_the_event_loop(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    def watched(*args: Any, **options: Any) -> Any:
        threads.append(threading.current_thread())
        return parse_qsl(*args, **options)

    monkeypatch.setattr(forms, "parse_qsl", watched)
    assert browser.post("/submit", data={"text": "x"}).status_code == 200
    assert [thread.name.split()[0] for thread in threads] == ["AnyIO"]


def test_a_double_click_submits_once_and_a_changed_text_anew(browser: TestClient, api: TestClient) -> None:
    sent = {"text": json.dumps(JOB), "once": once_of(browser.get("/submit").text), "do": "submit"}
    first, second = (browser.post("/submit", data=sent).headers["location"] for _ in range(2))
    assert first == second
    other = browser.post("/submit", data=sent | {"name": "another"}).headers["location"]
    assert other != first
    assert len(api.get("/v1/jobs").json()["data"]) == 2


def test_a_refusal_loses_nothing_and_stands_beside_its_fields(browser: TestClient, api: TestClient) -> None:
    sent = {
        "text": f"\n{FAMILY}",
        "once": "x",
        "priority": "hi\u202egh",
        "variables": "A=1\n B",
        "hours": "1",
    }
    unread = browser.post("/submit", data=sent | {"do": "submit"})
    assert unread.status_code == 422
    assert "is no NAME=value" in unread.text
    assert (typed(unread.text), typed(unread.text, "variables")) == (sent["text"], sent["variables"])
    answer = browser.post("/submit", data=sent | {"do": "submit", "variables": ""})
    page = answer.text
    assert answer.status_code == 422
    assert typed(page) == sent["text"]
    assert 'aria-describedby="priority-fault"' in page
    assert "should be a valid integer" in page.split('id="priority-fault"')[1][:300]
    row = page.split("<bdi>tasks</bdi>")[1].split("</tr>")[0]
    assert "there is no task none" in row
    assert "\u202e" not in re.sub(r'(?s)<textarea.*?</textarea>|value="hi.gh"', "", page)
    assert api.get("/v1/jobs").json()["data"] == []


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "  ",
            "{",
            "[1]",
            "{" * 5000,
            "\ufeff{}",
            "a: [",
            "a: &x 1",
            "no command",
            "lm_eval",
            "$(rm -rf /)",
        ),
        *('{"a": NaN}', '{"model": {"a": [1]}, "tasks": 7, "zzz": 1}', '{"name": "\\u0000"}', "'" * 20_000),
        *("</textarea><script>alert(1)</script>", '{"command": 5}', '{"model_args": "a=b", "limit": 1e999}'),
        *("---\nx: 1", "tasks: toy\nmodel: hf\n<<: *a", "{}" + "," * 300_000),
    ],
)
def test_no_text_is_too_odd_to_be_answered(browser: TestClient, text: str) -> None:
    answer = browser.post("/submit", data={"text": text, "once": "x", "priority": "1e5", "hours": "NaN"})
    assert answer.status_code == 200, answer.text
    assert 'role="alert"' in answer.text or "note bad" in answer.text
    assert typed(answer.text) == text
    assert "<script>alert" not in answer.text


def test_a_job_is_cloned_as_somebody_would_write_it(browser: TestClient, api: TestClient) -> None:
    job = api.post("/v1/jobs", json=JOB | {"name": "a\u200bb", "tags": ["x"]}).json()["id"]
    page = browser.get(f"/submit?clone={job}").text
    assert "a\\u200bb" in typed(page)
    assert json.loads(typed(page)) == JOB | {"name": "a\u200bb", "tags": ["x"]}
    assert "Submit job" in page
    assert browser.get("/submit?clone=nope").status_code == 404


def test_a_failure_card_leads_to_the_job_with_its_way_out(
    browser: TestClient, api: TestClient, job_id: str, coordinator: Coordinator
) -> None:
    ways: Any = (
        {"change": {"gpus_per_replica": 8}, "fits": False, "note": "no"},
        {"change": {"model_args.max_length": 512, "batch_size": 4}, "fits": True, "note": "m"},
    )
    error = Failure(FailureCode.GPU_OUT_OF_MEMORY, "no", ways_out=ways)
    coordinator.service.fail(coordinator.claim(job_id), error)
    card = browser.get(f"/jobs/{job_id}").text
    [link] = re.findall(r'href="(/submit\?clone=[^"]+way[^"]+)"', card)
    assert parse_qs(urlsplit(html.unescape(link)).query) == {"clone": [job_id], "way": ["1"]}
    page = browser.get(html.unescape(link)).text
    said = json.loads(typed(page))
    assert said["model_args"] == {"pretrained": "/models/tiny", "max_length": 512}
    assert said["batch_size"] == 4
    for way in ("2", "-1"):
        assert browser.get(f"/submit?clone={job_id}&way={way}").status_code == 422


def test_roles_teams_and_tokens_hold(signed_in: As, app: FastAPI, keys: KeyService) -> None:
    red, viewer, blue = (
        signed_in(),
        signed_in(Role.VIEWER, name="vera"),
        signed_in(name="bob", team="blue"),
    )
    sent = {"text": json.dumps(JOB), "once": "x", "do": "submit"}
    assert red.post("/submit", data=sent).status_code == 403
    sent["change_token"] = token_of(red.get("/submit").text)
    location = red.post("/submit", data=sent).headers["location"]
    clone = f"/submit?clone={location.rpartition('/')[2]}"
    assert (red.get(clone).status_code, blue.get(clone).status_code) == (200, 404)
    assert "not submit any" in viewer.get("/submit").text
    token = token_of(viewer.get("/submit").text)
    assert viewer.post("/submit", data=sent | {"change_token": token}).status_code == 403


def test_boxes_go_before_the_text() -> None:
    boxes = [("text", '{"command": "lm_eval run", "name": "a", "variables": {"A": "1"}}'), ("name", "b")]
    more = [("hours", "1.5"), ("variables", "B = 2=3"), ("wait_for_capacity", "no"), ("replicas", "auto")]
    assert fields_of(draft_of(Sent([*boxes, *more]))) == {
        "command": "lm_eval run",
        "name": "b",
        "variables": {"A": "1", "B": "2=3"},
        "deadline_seconds": 5400.0,
        "wait_for_capacity": False,
        "replicas": "auto",
    }
    with pytest.raises(InvalidRequestError):
        fields_of(Draft("lm_eval run", {"variables": "B"}))


def test_a_plan_is_a_sentence_and_a_value_is_bounded_and_holds_no_secret() -> None:
    plan = submission(replicas=2, group="h100").plan
    assert in_words(plan, "tiny") == "2 copies of tiny on 1 device each, in group h100."
    assert in_words(submission(replicas=1).plan, "tiny") == "1 copy of tiny on 1 device, in any group."
    assert told({"a": [1, "x"], "b": None}) == "a=1, x, b=null"
    assert len(told("x" * 10**6)) < 700
    assert told("hf_" + "a" * 34) == "hf_***"
    assert written(submission().spec) == JOB
    assert json.loads(changed({"model_args": "a=1"}, {"model_args.b": 2})) == {"model_args": "a=1,b=2"}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Forecast(0.0, 1.0, 4.0), "it would begin at once."),
        (Forecast(60.0, 120.0, 240.0), f"it would begin in 1{TO}4 min."),
        (Forecast(60.0, 120.0), "it would begin in over 1 min."),
        (Forecast(), ""),
        (None, ""),
    ],
)
def test_a_plan_says_when_the_job_would_begin(
    browser: TestClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch, found: Forecast | None, words: str
) -> None:
    asked: list[Outstanding] = []

    def would(job: Outstanding) -> Forecast | None:
        asked.append(job)
        return found

    monkeypatch.setattr(app.state.services.estimates, "would", would)
    page = browser.post("/submit", data={"text": json.dumps(JOB | {"priority": 61}), "do": "plan"}).text
    assert ("it would begin" in page) is bool(words)
    assert words in page
    assert [job.line.priority for job in asked] == [61]


def test_a_plan_is_told_where_nobody_knows_when_the_job_would_begin(
    browser: TestClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []

    def would(_: Outstanding) -> None:
        taken.append(app.state.services.turns._taken)
        raise DatabaseRefusedError("an odd row")

    monkeypatch.setattr(app.state.services.estimates, "would", would)
    page = browser.post("/submit", data={"text": json.dumps(JOB), "do": "plan"})
    assert (page.status_code, taken) == (200, [0]), "and nobody's turn waits for it"
    assert "Submit job" in page.text
