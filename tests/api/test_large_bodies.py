"""Bodies made to take long: how much work they cause is counted, whatever the machine."""

from __future__ import annotations

import difflib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.api.request_body import MAX_BODY_BYTES
from app.arguments.kinds import shown
from app.domain.redaction import secrets_in
from app.domain.storable import unstorable
from app.errors import MOST_FAULTS, FaultyField, InvalidRequestError
from app.posting import shape, written
from app.posting.job_body import JobIn
from app.posting.shape import shape_faults
from app.posting.written import MOST_PARTS
from app.web import turns
from tests.api.conftest import JOB
from tests.waiting import until

JSON = {"Content-Type": "application/json"}


def listed(part: str, count: int) -> bytes:
    return ('{"x":[' + f"{part}," * count + "0]}").encode()


MANY_PARTS = {
    "numbers": listed("0", 1_000_000),
    "texts": listed('""', 1_000_000),
    "lists": b"[" * MAX_BODY_BYTES,
    "objects": b'{"a":' * 800_000,
    "quotes": b'"' * MAX_BODY_BYTES,
    "utf-16": listed("0", 900_000).decode().encode("utf-16"),
}


@pytest.mark.parametrize("kind", MANY_PARTS)
def test_a_body_of_too_many_parts_is_not_parsed(
    api: TestClient, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    parsed: list[str] = []
    kept = SimpleNamespace(loads=parsed.append)
    monkeypatch.setattr(written, "json", kept)
    answer = api.post("/v1/jobs?dry_run=true", content=MANY_PARTS[kind], headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert not parsed


@pytest.mark.parametrize("text", ['"' + '\\"' * 100_000, '"' + "\\\\" * 100_001, '"a' * 100_001])
def test_parts_are_found_in_one_pass(text: str) -> None:
    """A text that nothing closes reaches to the end."""
    ends = [found.end() for found in written._PART.finditer(text)]
    assert ends[-1] == len(text)
    assert len(ends) <= text.count("a") + 1


def test_long_texts_and_many_documents_are_no_fault(api: TestClient) -> None:
    prose = 'one, two: "three" [four] ' * 8_000
    body = JOB | {"system_instruction": prose, "samples": {"toy": list(range(MOST_PARTS // 2))}}
    assert api.post("/v1/jobs?dry_run=true", json=body).json()["valid"] is True


HALF = MOST_PARTS // 4
MANY_FAULTS: dict[str, Any] = {
    "fields": {f"a{number}": 1 for number in range(HALF)},
    "names": {"env": {f"a{number}": 1 for number in range(HALF)}},
    "tasks": {"tasks": [1] * HALF},
    "few tasks": {"tasks": [1] * 2000},
    "seeds": {"seed": ["x"] * HALF},
    "tags": {"tags": [1] * HALF},
    "nuls": {"x": ["\0"] * HALF},
    "surrogates": {f"{number}\ud800": 1 for number in range(HALF)},
    "long names": {"x" * 1_000_000: ["\0"] * HALF},
    "deep": {"a": [[[[["\0"] * 100] * 10] * 10] * 2] * 2},
}


@pytest.mark.parametrize("kind", MANY_FAULTS)
@pytest.mark.parametrize(
    "call", [("POST", "/v1/jobs"), ("POST", "/v1/jobs?dry_run=true"), ("PATCH", "/v1/jobs/{job}")]
)
def test_of_many_faults_a_hundred_are_named_and_the_rest_counted(
    api: TestClient, job_id: str, call: tuple[str, str], kind: str
) -> None:
    body = json.dumps(MANY_FAULTS[kind])
    answer = api.request(call[0], call[1].replace("{job}", job_id), content=body, headers=JSON)
    faults = answer.json()["errors"]
    assert 0 < len(faults) <= MOST_FAULTS
    assert len(answer.content) < 100_000
    assert sum(len(fault["allowed"] or ()) > 3 for fault in faults) <= 10


def test_the_rest_is_counted() -> None:
    error = InvalidRequestError(FaultyField(f"a.{number}", "is wrong") for number in range(1234))
    assert len(error.faults) == MOST_FAULTS
    assert error.faults[-1] == FaultyField("", f"and {1234 - MOST_FAULTS + 1} more faults")
    assert str(error).startswith("a.0: is wrong; a.1: is wrong; ")
    assert str(error).endswith("; and 1135 more faults")
    again = InvalidRequestError([FaultyField("b", "is wrong"), *error.named], error.more)
    assert again.faults[-1].message == "and 1136 more faults"
    assert InvalidRequestError(error.named).faults == error.named


def test_only_the_first_unknown_fields_are_compared_with_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def close(name: str, known: Any, **options: Any) -> list[str]:
        compared.append(name)
        return difflib.get_close_matches(name, known, **options)

    monkeypatch.setattr(shape, "get_close_matches", close)
    faults = shape_faults(JobIn, {f"task{number}": 1 for number in range(1000)})
    assert len(faults) == 1000
    assert len(compared) <= 5


def test_paths_are_written_for_faults_only() -> None:
    deep: Any = ["a"] * 10_000
    for _ in range(20):
        deep = {"n" * 300: deep}
    assert list(unstorable(deep, "")) == []
    assert list(secrets_in(deep, "")) == []


def test_a_secret_is_found_wherever_it_stands_in_a_long_text() -> None:
    key = "hf_" + "a1" * 20
    for at in (0, 65_530, 65_536, 131_072, 1_000_000):
        assert list(secrets_in({"a": "x " * (at // 2) + key + " y" * 50_000}, "")) == ["a"], at
    assert list(secrets_in({"a": "x " * 500_000}, "")) == []


def test_a_value_in_words_is_short() -> None:
    for value in ([0] * 10**6, {"a": "x" * 10**7}, "x" * 10**7, 10**5000, [10**5000], [[[[[0] * 10**4]]]]):
        assert len(shown(value)) <= 83


def test_bodies_take_turns_and_the_rest_of_the_service_goes_on(api: TestClient, app: FastAPI) -> None:
    checked, go_on = threading.Semaphore(0), threading.Event()

    def pause() -> None:
        checked.release()
        assert go_on.wait(60)

    app.state.services.submissions.before = pause
    with ThreadPoolExecutor(10) as pool:
        posts = [pool.submit(api.post, "/v1/jobs?dry_run=true", json=JOB) for _ in range(10)]
        until(lambda: app.state.services.turns._taken == 10)
        assert checked.acquire(timeout=60)
        assert checked.acquire(timeout=60)
        assert api.get("/healthz").status_code == 200
        assert api.get("/v1/jobs").status_code == 200
        assert not checked.acquire(blocking=False)
        go_on.set()
        assert {post.result().status_code for post in posts} == {200}


def test_a_large_body_keeps_no_small_one_waiting(api: TestClient, app: FastAPI) -> None:
    begun, go_on = threading.Event(), threading.Event()
    large = JOB | {"system_instruction": "x" * turns.LARGE_BYTES}

    def pause() -> None:
        app.state.services.submissions.before = lambda: None
        begun.set()
        assert go_on.wait(60)

    app.state.services.submissions.before = pause
    with ThreadPoolExecutor(3) as pool:
        posts = [pool.submit(api.post, "/v1/jobs?dry_run=true", json=large)]
        assert begun.wait(60)
        posts.append(pool.submit(api.post, "/v1/jobs?dry_run=true", json=large))
        assert api.post("/v1/jobs?dry_run=true", json=JOB).status_code == 200
        go_on.set()
        assert {post.result().status_code for post in posts} == {200}


def test_a_body_too_many_is_told_when_to_come_again(
    api: TestClient, app: FastAPI, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "MOST_WAITING", 0)
    calls: list[Callable[[], Any]] = [
        lambda: api.post("/v1/jobs", json=JOB),
        lambda: api.patch(f"/v1/jobs/{job_id}", content=json.dumps({"name": "x"}), headers=JSON),
    ]
    for call in calls:
        answer = call()
        assert (answer.status_code, answer.json()["code"]) == (503, "busy")
        assert int(answer.headers["retry-after"]) > 0


def test_a_body_larger_than_any_job_is_not_read(api: TestClient) -> None:
    answer = api.post(
        "/v1/jobs", content=b"[" + b" " * (5 << 20), headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
