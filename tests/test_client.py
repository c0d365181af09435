"""What tests read out of a job's events."""

from __future__ import annotations

from typing import Any

from tests.client import falls


def told(done: int, total: int = 10) -> dict[str, Any]:
    return {"type": "job.progress", "data": {"done": done, "total": total}}


DIED = {"type": "job.retrying", "data": {"replica": "r1"}}
STARTED_AGAIN = {"type": "job.retrying", "data": {"reason": "its coordinator was lost"}}
RETRIED = {"type": "job.queued", "data": {}}


def test_a_fall_is_found_with_the_replica_that_was_named_before_it() -> None:
    assert falls([told(5), DIED, told(3), told(4), told(3)]) == ["r1", None]
    assert falls([told(5), DIED, told(6), told(5)]) == [None], "that one was made up for"
    assert falls([told(5), STARTED_AGAIN, told(3)]) == [None]


def test_a_new_beginning_and_less_to_do_are_no_falls() -> None:
    assert falls([told(5), RETRIED, told(0)]) == []
    assert falls([told(10), told(4, total=4)]) == []
