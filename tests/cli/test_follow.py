from __future__ import annotations

import json
from itertools import count

import pytest

from app.client.calls import Api, UnreachableError
from app.client.events import PATIENCE, events, states
from tests.cli.conftest import Evalq
from tests.cli.fake_api import FakeApi, job, job_id


def impatient(_: float) -> None:
    """Goes on at once."""


def test_a_lost_stream_goes_on_where_it_broke_off(api: FakeApi) -> None:
    api.states.extend([job(1, "running"), job(1)])
    api.streams.extend(
        [
            [(None, "job.snapshot"), (1, "job.queued"), (2, "job.progress")],
            [(3, "job.progress"), (4, "job.succeeded")],
        ]
    )
    with Api(api.url) as client:
        seen = [event.type for event in events(client, job_id(1), pause=impatient)]
    assert seen == ["job.snapshot", "job.queued", "job.progress", "job.progress", "job.succeeded"]
    connections = [request.headers for request in api.seen if request.path.endswith("/events")]
    assert "Last-Event-ID" not in connections[0]
    assert connections[1]["Last-Event-ID"] == "2"


def test_a_snapshot_of_a_later_connection_forgets_no_number(api: FakeApi) -> None:
    api.states.extend([job(1, "running"), job(1, "running"), job(1)])
    api.streams.extend([[(7, "job.progress")], [(None, "job.snapshot")], [(8, "job.succeeded")]])
    with Api(api.url) as client:
        assert len(list(events(client, job_id(1), pause=impatient))) == 3
    assert [r.headers.get("Last-Event-ID") for r in api.seen if r.path.endswith("/events")] == [
        None,
        "7",
        "7",
    ]


def test_an_ending_that_was_retried_does_not_end_the_stream(api: FakeApi) -> None:
    api.states.extend([job(1, "running"), job(1)])
    api.streams.append([(1, "job.failed"), (2, "job.queued"), (3, "job.succeeded")])
    with Api(api.url) as client:
        assert [event.id for event in events(client, job_id(1), pause=impatient)] == ["1", "2", "3"]


def test_a_stream_with_nothing_more_to_come_ends(api: FakeApi) -> None:
    api.states.extend([job(1, "running"), job(1)])
    api.streams.append([(7, "job.progress")])
    api.last_event = "7"
    pauses: list[float] = []
    with Api(api.url) as client:
        assert [event.id for event in events(client, job_id(1), pause=pauses.append)] == ["7"]
    assert len(pauses) == 1


def test_a_stream_that_only_breaks_off_is_given_up() -> None:
    pauses: list[float] = []
    with Api("http://127.0.0.1:1") as client, pytest.raises(UnreachableError):
        list(events(client, job_id(1), pause=pauses.append))
    assert len(pauses) == PATIENCE
    assert pauses == sorted(pauses)
    assert max(pauses) == 5.0


def test_a_job_that_only_advances_is_looked_at_twice_a_second(api: FakeApi) -> None:
    api.jobs = [job(1, "running")]
    api.states.extend([job(1, "running"), job(1, "running"), job(1)])
    api.streams.append([(number, "job.progress") for number in range(1, 10)] + [(10, "job.succeeded")])
    ticks = count()
    with Api(api.url) as client:
        shown = list(states(client, job_id(1), clock=lambda: next(ticks) * 0.1, pause=impatient))
    assert len(shown) < 6
    assert shown[-1]["status"] == "succeeded"


def test_watch_ends_with_the_jobs_code(evalq: Evalq, api: FakeApi) -> None:
    api.states.extend([job(1, "running"), job(1, "cancelled")])
    api.streams.append([(1, "job.cancelled")])
    answer = evalq("watch", job_id(1))
    assert answer.exit_code == 103
    assert answer.stdout == ""
    assert answer.stderr.splitlines()[-2].startswith("cancelled")


def test_watch_as_json_is_one_event_a_line(evalq: Evalq, api: FakeApi) -> None:
    api.jobs = [job(1)]
    api.streams.append([(None, "job.snapshot"), (1, "job.succeeded")])
    answer = evalq("watch", job_id(1), "--json")
    assert [json.loads(line)["type"] for line in answer.stdout.splitlines()] == [
        "job.snapshot",
        "job.succeeded",
    ]


def test_a_job_that_has_ended_is_not_followed(evalq: Evalq, api: FakeApi) -> None:
    api.jobs = [job(1)]
    assert evalq("watch", job_id(1)).exit_code == 0
    assert not any(request.path.endswith("/events") for request in api.seen)
