"""A failure as it is stored, by this version and by others."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from app.domain.failure import Failure, FailureCode


@pytest.mark.parametrize("code", FailureCode)
def test_every_code_is_read_back(code: FailureCode) -> None:
    assert FailureCode.read(str(code)) is code


def test_a_code_that_only_another_version_knows_is_internal() -> None:
    assert FailureCode.read("engine_bored") is FailureCode.INTERNAL


def test_a_failure_is_read_back_whole() -> None:
    failure = Failure(
        FailureCode.KV_CACHE_TOO_SMALL,
        "it is too small",
        task="toy",
        hint="shorten it",
        log_tail=("the", "end"),
        attempts=({"change": None},),
        job_id=uuid4(),
        facts={"longest": 4096, "in_use": True, "free_gib": 1.5},
    )
    assert Failure.from_json(failure.to_json()) == failure


def test_a_row_of_an_earlier_version_has_no_facts() -> None:
    empty: dict[str, Any] = {"task": None, "hint": None, "log_tail": [], "attempts": []}
    stored = {"code": "lost", "message": "gone", **empty}
    assert Failure.from_json(stored) == Failure(FailureCode.LOST, "gone")
    assert Failure(FailureCode.LOST, "gone").to_json() == stored


def test_facts_of_another_jobs_request_are_not_told() -> None:
    failure = Failure(FailureCode.ENGINE_DIED, "it died on a secret", job_id=uuid4(), facts={"longest": 3})
    assert failure.seen_by(uuid4()).facts == {}
