"""Usage: device-hours by day, team, owner and model, each drawn and told, and as a sheet."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.dashboard.pages import usage as module
from app.dashboard.views.usage import OUTCOMES, bars_of, columns_of, days_of, lines_of, told
from app.db.session import Sessions
from app.domain.keys import Role
from app.domain.usage import Side, UsageSum
from tests.dashboard.conftest import As
from tests.dashboard.test_words import HOSTILE

SEEN = HOSTILE.replace("\x00", "").replace("\ud800", "")
HOUR = 3600.0
ROWS = [
    ("2026-11-01T08:00Z", "red", "alice", "llama", 10 * HOUR, "useful"),
    ("2026-11-01T09:00Z", "red", "alice", "llama", 5 * HOUR, "failed"),
    ("2026-11-02T23:00Z", "red", SEEN, "=SUM(A1)", 3 * HOUR, "useful"),
    ("2026-11-02T09:00Z", "blue", "carol", "qwen", 50 * HOUR, "useful"),
    ("2026-11-02T09:00Z", "", "", "qwen", 2 * HOUR, "idle"),
    ("2026-11-03T00:00Z", "red", "alice", "llama", 7 * HOUR, "useful"),
]
TWO_DAYS = "from=2026-11-01&to=2026-11-02"


@pytest.fixture
def booked(sessions: Sessions) -> None:
    with sessions.begin() as session:
        for row in ROWS:
            values = dict(zip("abcdef", row, strict=True))
            session.execute(text("INSERT INTO usage VALUES (:a, :b, :c, :d, :e, :f)"), values)


@pytest.mark.usefixtures("booked")
def test_hours_are_told_by_outcome_and_by_whose_they_were(browser: TestClient) -> None:
    page = browser.get(f"/usage?{TWO_DAYS}").text
    told = [page.split(f"</svg>{word}</dt><dd>")[1].split("<small>")[0] for _, word, _, _ in OUTCOMES]
    assert told == ["63.0", "0.0", "5.0", "2.0"]
    for name, hours in (("red", "18.0"), ("alice", "15.0"), ("llama", "15.0"), ("qwen", "52.0")):
        row = page.split(f"<bdi>{name}</bdi>")[1].split("</tr>")[0]
        assert f'data-l="Device-hours" class="r">{hours}<' in row
    assert "nobody" in page
    assert "<script>alert" not in page
    assert not set("\x1b\u202e\u200b") & set(page)
    assert "Nothing was used" in browser.get("/usage?from=2020-01-01&to=2020-01-02").text


@pytest.mark.usefixtures("booked")
def test_a_sheet_has_every_sum_and_computes_none(browser: TestClient) -> None:
    page = browser.get(f"/usage?{TWO_DAYS}").text
    [link] = re.findall(r'href="(/usage\.csv[^"]+)"', page)
    answer = browser.get(link.replace("&amp;", "&"))
    assert answer.headers["content-type"].startswith("text/csv")
    head, *rows = csv.reader(io.StringIO(answer.text, newline=""))
    assert head == ["day", "team", "owner", "model", "outcome", "device_hours"]
    assert sum(float(row[-1]) for row in rows) == 70
    assert ["2026-11-02", "red", SEEN, "'=SUM(A1)", "useful", "3.000000"] in rows


@pytest.mark.usefixtures("booked")
def test_no_day_is_left_out_without_a_word(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, path in (("MOST_ROWS", "/usage.csv"), ("MOST_SUMS", "/usage")):
        monkeypatch.setattr(module, name, 2)
        answer = browser.get(f"{path}?{TWO_DAYS}")
        assert answer.status_code == 422
        assert "choose fewer days" in answer.text


@pytest.mark.usefixtures("booked")
def test_a_team_sees_its_own(signed_in: As) -> None:
    seen = {role: signed_in(role, name=role).get(f"/usage.csv?{TWO_DAYS}").text for role in Role}
    assert "carol" in seen[Role.OPERATOR]
    assert "carol" not in seen[Role.VIEWER] + seen[Role.SUBMITTER]


def test_every_day_can_be_asked_for_and_nothing_else(browser: TestClient) -> None:
    for days in (
        "",
        "from=&to=",
        "from=0001-01-01&to=9999-12-31",
        "from=2026-11-02&to=2026-11-01",
        "to=0001-01-02",
    ):
        for path in ("/usage", "/usage.csv"):
            assert browser.get(f"{path}?{days}").status_code == 200, days
    for wrong in ("from=x", "to=2026-13-01", "from=99999-01-01"):
        assert browser.get(f"/usage?{wrong}").status_code == 422, wrong
    assert browser.get("/usage?team=red").status_code == 400


def test_parts_stand_behind_each_other_and_fill_no_more_than_their_place() -> None:
    sums = [
        UsageSum(3 * HOUR, owner="a", outcome="useful"),
        UsageSum(HOUR, owner="a", outcome="idle"),
        UsageSum(9 * HOUR, owner="", outcome="loading"),
    ]
    first, nobody = lines_of(sums, Side.OWNER)
    assert (first.name, first.total, nobody.name) == ("a", 4.0, "")
    assert [(bar.cls, bar.at, bar.size) for bar in bars_of(first, 4.0)] == [
        ("c-useful", 0.0, 75.0),
        ("c-idle", 75.0, 25.0),
    ]
    assert bars_of(first, 0.0) == []
    [(x, width, bars)] = columns_of([first])
    assert (x, width) == (8.0, 84.0)
    assert [(bar.at, bar.size) for bar in bars] == [(25.0, 75.0), (0.0, 25.0)]
    assert days_of([]) == []


def test_a_day_without_use_has_its_place_and_little_is_not_nothing() -> None:
    sums = [UsageSum(HOUR, day=datetime(2026, 11, day, tzinfo=UTC), outcome="useful") for day in (28, 1, 30)]
    assert [day.total for day in days_of(sums)] == [1, *[0] * 26, 1, 0, 1]
    assert len(days_of([*sums, UsageSum(1.0, day=datetime(1, 1, 1, tzinfo=UTC), outcome="idle")])) == 4
    assert [told(hours) for hours in (0, 0.01, 0.05, 1234.56)] == ["0.0", "<0.1", "0.1", "1,234.6"]
