"""The spans of a replica: its life, and each stay of a job in the job's own trace."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from app.domain.chunk import Chunk
from app.domain.replica import Replica, ReplicaStatus
from app.domain.trace import TraceParent
from tests.spans import Noted, NotedSpan
from tests.world import ENGINE
from workers.gpu_worker.replica_spans import STAY_SECONDS, ReplicaSpans

TRACE = TraceParent.new()


class Bench:
    """A replica's spans at a time that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.noted = Noted(lambda: self.now)
        at = datetime(2026, 11, 27, tzinfo=UTC)
        self.replica = Replica(uuid4(), "a", ENGINE, ReplicaStatus.SERVING, ("GPU-0",), at)
        self.spans = ReplicaSpans(self.noted, self.replica, lambda: self.now)
        self.spans.loaded()
        self.job_id, self.other = uuid4(), uuid4()

    def claim(self, job_id: UUID | None = None) -> Chunk:
        chunk = Chunk(
            uuid4(), job_id or self.job_id, 0, "loglikelihood", 1, None, None, 1.0, (b"a", b"b"), b""
        )
        self.spans.claimed(chunk, TRACE)
        return chunk

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.spans.look()

    @property
    def stays(self) -> list[NotedSpan]:
        return self.noted.named("answer on a replica")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_stay_is_in_the_trace_of_its_job_and_leads_to_the_replica(bench: Bench) -> None:
    bench.claim()
    [life], [stay] = bench.noted.named("replica"), bench.stays
    assert stay.began.parent == TRACE
    assert list(stay.began.links) == [life.trace]
    assert life.began.parent is None
    assert {span.trace.trace_id for span in bench.noted.spans} == {life.trace.trace_id, TRACE.trace_id}


def test_chunk_after_chunk_is_one_stay(bench: Bench) -> None:
    for _ in range(20):
        chunk = bench.claim()
        bench.wait(STAY_SECONDS * 2)
        bench.spans.answered(chunk)
        bench.wait(STAY_SECONDS / 2)
    [stay] = bench.stays
    assert stay.ended_at is None
    bench.wait(STAY_SECONDS)
    assert stay.ended_at == bench.now - STAY_SECONDS * 1.5
    assert (stay.attributes["evalq.chunks"], stay.attributes["evalq.requests"]) == (20, 40)


def test_a_job_that_comes_back_stays_anew(bench: Bench) -> None:
    for _ in range(2):
        bench.spans.answered(bench.claim())
        bench.wait(STAY_SECONDS)
    assert [stay.failure for stay in bench.stays] == [None, None]
    assert all(stay.ended_at for stay in bench.stays)


def test_a_chunk_that_is_taken_away_or_fails_is_in_hand_no_more(bench: Bench) -> None:
    kept, gone, failed = bench.claim(), bench.claim(bench.other), bench.claim(uuid4())
    bench.spans.keep([kept.id, failed.id])
    bench.spans.left(failed.id)
    bench.spans.left(gone.id)
    bench.wait(STAY_SECONDS)
    assert [stay.ended_at is not None for stay in bench.stays] == [False, True, True]
    assert bench.stays[1].attributes["evalq.chunks"] == 0


def test_the_end_of_a_replica_ends_what_it_had_in_hand_as_it_ends(bench: Bench) -> None:
    bench.claim()
    bench.spans.answered(bench.claim(bench.other))
    bench.wait(1)
    bench.spans.end("engine_died")
    assert all(span.ended_at for span in bench.noted.spans)
    assert [stay.failure for stay in bench.stays] == ["engine_died", None]
    assert [span.failure for span in bench.noted.named("serve")] == ["engine_died"]
    assert [span.failure for span in bench.noted.named("load")] == [None]
