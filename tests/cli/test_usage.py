"""evalq usage."""

from __future__ import annotations

from tests.cli.conftest import Evalq
from tests.cli.fake_api import FakeApi

NOTHING = {"hour": None, "day": None, "team": None, "model": None, "outcome": "useful"}
SUMS = [
    NOTHING | {"owner": "alice", "device_seconds": 5400.0},
    NOTHING | {"owner": "", "outcome": "idle", "device_seconds": 36.0},
]
FOUND = {"by": ["owner", "outcome"], "data": SUMS, "left_out": 3, "device_seconds": 5436.0}


def test_device_hours_are_shown_by_what_was_asked(evalq: Evalq, api: FakeApi) -> None:
    api.answers["GET /v1/usage"] = (200, FOUND)
    answer = evalq("usage", "--from", "2026-11-01", "--by", "owner,outcome")
    assert [line.split() for line in answer.stdout.splitlines()] == [
        ["OWNER", "OUTCOME", "DEVICE", "HOURS"],
        ["alice", "useful", "1.50"],
        ["(nobody)", "idle", "0.01"],
    ]
    assert "1.51 device hours in all" in answer.stderr
    assert "3 more sums are left out" in answer.stderr
    assert (api.seen[0].query["from"], api.seen[0].query["by"]) == ("2026-11-01", "owner,outcome")


def test_csv_has_seconds_and_json_all(evalq: Evalq, api: FakeApi) -> None:
    api.answers["GET /v1/usage"] = (200, FOUND)
    assert evalq("usage", "--csv").stdout == "owner,outcome,device_seconds\nalice,useful,5400.0\n,idle,36.0\n"
    assert '"left_out": 3' in evalq("usage", "--json").stdout.replace("\n", "")


def test_that_nothing_was_used_is_said(evalq: Evalq, api: FakeApi) -> None:
    api.answers["GET /v1/usage"] = (200, FOUND | {"data": [], "left_out": 0})
    answer = evalq("usage")
    assert (answer.stdout, "nothing was used" in answer.stderr) == ("", True)
