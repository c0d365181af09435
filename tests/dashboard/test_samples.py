"""Samples: what was asked and answered, page by page, whatever stands in it."""

from __future__ import annotations

import html
import json
import re
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from app.dashboard.pages import samples as module
from app.dashboard.views.samples import MOST_ANSWERS, MOST_TEXT, MOST_WHOLE, TAIL, marked, sample_shown
from app.domain.output import Sample, SampleLine
from app.services import results
from tests.api.conftest import Coordinator
from tests.dashboard.conftest import As
from tests.dashboard.test_words import HOSTILE


def line(**fields: Any) -> str:
    usual = {"doc_id": 3, "doc": {"q": "What is 2 + 2?"}, "filter": "none", "metrics": ["acc"], "acc": 1.0}
    return json.dumps(usual | fields)


def generated(answer: str, taken: str, **fields: Any) -> str:
    asked = {"gen_args_0": {"arg_0": "Q: 2 + 2\nA:", "arg_1": {"until": ["\n"]}}}
    return line(arguments=asked, resps=[[answer]], filtered_resps=[taken], target="4", **fields)


def scored(*values: Any, target: Any = "1") -> str:
    asked = {f"gen_args_{at}": {"arg_0": "Q", "arg_1": f" {letter}"} for at, letter in enumerate("ABCD")}
    answers = [[str(value), "False"] for value in values]
    return line(arguments=asked, resps=[[each] for each in answers], filtered_resps=answers, target=target)


def stored(coordinator: Coordinator, job_id: str, rows: list[SampleLine], task: str = "toy") -> None:
    lease = coordinator.claim(job_id)
    coordinator.service.prepared(lease, b"f" * 32, [(task, len(rows))], {})
    coordinator.service.task_finished(lease, task, {"acc,none": 0.5})
    coordinator.service.add_samples(lease, task, 0, rows)
    coordinator.service.finish(lease, '{"results": {}}', "tiny", "2026-11-22T00-00-00")


def test_a_choice_has_its_bar_its_share_and_its_part() -> None:
    choices = sample_shown(Sample("t", 0, scored(-3.0, -1.0, "nan", -2.0, target="C"))).choices
    assert [each.chosen for each in choices] == [False, True, False, False]
    assert [each.target for each in choices] == [False, False, True, False]
    assert [each.width for each in choices] == [4.0, 100.0, 0.0, 52.0]
    assert sum(each.share or 0 for each in choices) == pytest.approx(100)
    assert choices[2].log_likelihood is None
    assert sample_shown(Sample("t", 0, scored(-1, -2, -3, -4, target=2))).choices[2].target
    assert not sample_shown(Sample("t", 0, scored(-1, -2))).choices, "an answer is missing"


def test_what_a_filter_took_is_marked_in_the_raw_answer() -> None:
    shown = sample_shown(Sample("t", 0, generated("so 23, 2 < 3", "23", filter="flexible")))
    assert (shown.filter, shown.raw[0].shown, shown.filtered[0].shown) == ("flexible", "so 23, 2 < 3", "23")
    assert marked("so 23, 2 < 3", ["23"]) == "so <mark>23</mark>, 2 &lt; 3"
    assert marked("23", ["23"]) == "23"
    assert marked("a\x1bb", ["", " ", "x"]) == 'a<span class="ctl" title="U+001B">ESC</span>b'
    assert marked("a<b" * 100, ["<"]).count("<mark>") == 50


def test_a_long_prompt_shows_its_end_and_all_when_asked() -> None:
    row = Sample("t", 0, line(arguments=[["x" * 90_000 + "\n\nQ: why?", {}]], resps=[["y" * 90_000]]))
    part, answer = sample_shown(row).prompt, sample_shown(row).raw[0]
    assert part.shown.endswith("Q: why?")
    assert (len(part.shown) <= TAIL, len(part.before), part.cut) == (True, MOST_TEXT, True)
    assert (len(answer.shown), answer.cut) == (MOST_TEXT, True)
    whole = sample_shown(row, whole=True)
    assert (len(whole.prompt.before + whole.prompt.shown), whole.prompt.cut) == (90_009, False)
    assert not whole.raw[0].cut


def test_no_page_is_as_large_as_the_longest_answers() -> None:
    long = "x" * 3_000_000
    row = Sample("t", 0, line(arguments=[[long, {}]], resps=[[long] * 3], target=long))
    shown = sample_shown(row, whole=True)
    texts = [shown.prompt, shown.target, *shown.raw]
    assert all(each.cut and each.length == 3_000_000 for each in texts)
    assert max(len(each.before + each.shown) for each in texts) <= MOST_WHOLE + TAIL
    many = sample_shown(
        Sample("t", 0, line(arguments=[["q", {}]], resps=[[long[:40_000]] * 500])), whole=True
    )
    assert sum(len(each.shown) for each in many.raw) <= MOST_ANSWERS


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", '"x"', "null", "[" * 5000, '{"arguments": 5, "resps": 7, "filtered_resps": {}}'),
        *(
            '{"arguments": [[], 5, "x", {}], "resps": [1, [2, [3]]]}',
            '{"arguments": {"a": []}, "metrics": 1}',
        ),
        *('{"target": {"a": NaN}, "doc": [1], "doc_id": {"x": 1}}', '{"evalq_error": "x", "filter": []}'),
        '{"arguments": [["a", "b"]], "filtered_resps": [["1e999", "True"]], "target": "99999"}',
        f'{{"arguments": [["a", "b"]], "filtered_resps": [[{10**400}, false]]}}',
    ],
)
def test_no_line_is_too_odd_to_be_shown(text: str) -> None:
    assert sample_shown(Sample("t", 0, text)).position == 0


def test_documents_come_in_pages_and_each_has_a_link(
    browser: TestClient, job_id: str, coordinator: Coordinator
) -> None:
    rows = [SampleLine(generated(f"a{at}", f"a{at}", doc_id=at), correct=at % 2 == 0) for at in range(45)]
    stored(coordinator, job_id, rows)
    path, seen = f"/jobs/{job_id}/samples", []
    while True:
        page = browser.get(path).text
        seen += re.findall(r'aria-label="Raw answer 1">(a\d+)<', page)
        assert page.split('id="docs"')[1].count('<span class="num dim">') <= 20
        found = re.findall(r'rel="next" href="([^"]+)"', page)
        if not found:
            break
        path = f"/jobs/{job_id}/samples{html.unescape(found[0])}"
    assert seen == [f"a{at}" for at in range(45)]
    wrong = browser.get(f"/jobs/{job_id}/samples?filter=incorrect&doc=7").text
    assert 'aria-label="Raw answer 1">a7<' in wrong
    assert "Correct</span>" not in wrong.split('id="docs"')[1]
    back = browser.get(f"/jobs/{job_id}/samples?from=20").text
    assert html.escape("?task=toy&from=0&doc=19") in back
    [download] = re.findall(r'href="(/v1/[^"]+jsonl)"', back)
    assert len(browser.get(download).text.splitlines()) == 45
    [row] = browser.get(html.unescape(re.findall(r'href="(/v1/[^"]+)">JSON', back)[0])).json()["data"]
    assert row["doc_id"] == 20


def test_tabs_count_and_a_text_is_looked_for(
    browser: TestClient, job_id: str, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [SampleLine(generated(f"a{at}b", "zz", doc_id=at), correct=at % 3 == 0) for at in range(50)]
    stored(coordinator, job_id, rows)
    page = f"/jobs/{job_id}/samples"
    text = browser.get(page).text
    counts = re.findall(r'</svg>(\w+) <span class="num dim">(\S+)</span>', text)
    assert counts == [
        ("Correct", "17"),
        ("Incorrect", "33"),
        ("Error", "0"),
        ("Truncated", "0"),
        ("Empty", "0"),
    ]
    found = browser.get(f"{page}?find=A4&filter=incorrect").text
    assert re.findall(r'<span class="num dim">(\d+)</span>', found) == [
        "4",
        "40",
        "41",
        "43",
        "44",
        "46",
        "47",
        "49",
    ]
    assert "filter=incorrect&amp;find=A4&amp;from=0&amp;doc=40" in found
    monkeypatch.setattr(module, "MOST_SEARCHED", 20)
    first = browser.get(f"{page}?find=a45").text
    assert "None of the 20 documents from place 0 on holds" in first
    [way] = re.findall(r'href="(\S+)">Look through the next ones', first)
    second = browser.get(f"{page}{html.unescape(way)}").text
    assert "from=40" in second
    last = browser.get(f"{page}?find=a45&from=40").text
    assert "The last page" in last
    assert 'aria-label="Raw answer 1">a45b<' in last
    monkeypatch.setattr(results, "MOST_COUNTED", 10)
    assert "None of those from place 40 on holds" in browser.get(f"{page}?find=zebra&from=40").text
    for odd in ("%25", "_", "%22", "%5C", "%F0%9F%A5%AD", "%3Cb%3E"):
        assert browser.get(f"{page}?find={odd}&from=2147483646").status_code == 200


def test_what_a_model_says_is_text(browser: TestClient, job_id: str, coordinator: Coordinator) -> None:
    asked = [[HOSTILE, HOSTILE]]
    texts = {"doc": {HOSTILE: HOSTILE}, "doc_id": HOSTILE, "filter": HOSTILE, "metrics": [HOSTILE]}
    error = {"evalq_error": {"code": HOSTILE, "message": HOSTILE}}
    rows = [
        line(arguments=asked, resps=[[HOSTILE]], filtered_resps=[HOSTILE[:9]], target=HOSTILE, **texts),
        line(arguments=asked, filtered_resps=[["-1.0", "True"]], target=HOSTILE, **texts, **error),
    ]
    stored(coordinator, job_id, [SampleLine(row, truncated=True, empty=True) for row in rows])
    for at in range(2):
        page = browser.get(f"/jobs/{job_id}/samples?doc={at}").text
        assert "<script>alert" not in page
        assert not set("\x1b\u202e\u200b\x00\ud800\u3164\U000e0041") & set(page)
        assert "Truncated" in page


def test_an_empty_page_says_why_and_odd_places_are_none(
    browser: TestClient, job_id: str, coordinator: Coordinator
) -> None:
    path = f"/jobs/{job_id}/samples"
    assert "No samples yet" in browser.get(path).text
    stored(coordinator, job_id, [SampleLine(line(), correct=True)])
    assert "None of this task is truncated" in browser.get(f"{path}?filter=truncated").text
    assert browser.get(f"{path}?filter=&from=&doc=&task=").status_code == 200
    for odd in ("from=2147483646", "task=%F0%9F%A5%AD", "doc=99"):
        assert "No " in browser.get(f"{path}?{odd}").text
    for wrong in ("from=-1", "doc=2147483647", "doc=x", "filter=odd", "whole=perhaps", f"task={'x' * 1001}"):
        assert browser.get(f"{path}?{wrong}").status_code == 422, wrong
    assert browser.get(f"{path}?page=2").status_code == 400


def test_samples_of_another_team_are_none(signed_in: As, coordinator: Coordinator, job_id: str) -> None:
    assert UUID(job_id)
    assert signed_in(team="blue").get(f"/jobs/{job_id}/samples").status_code == 404
