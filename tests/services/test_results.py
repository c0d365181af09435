"""What a job leaves behind."""

from __future__ import annotations

import json
from math import inf, nan
from uuid import UUID

import pytest
from sqlalchemy import text

from app.db import session as db
from app.domain.failure import Failure, FailureCode
from app.domain.job import JobStatus
from app.domain.lease import Lease
from app.domain.output import SampleFilter, SampleLine, SampleSearch
from app.domain.replica import ReplicaStatus
from app.errors import NoResultsYetError, StaleJobError, TookTooLongError, UnknownArtifactError
from app.services import results
from tests.world import World


def number_of(world: World, owner: UUID, number: int, piece: str) -> None:
    """A log piece that took its number earlier than it is committed."""
    with world.sessions.begin() as session:
        session.execute(
            text(
                "INSERT INTO log_pieces (owner_id, number, text) OVERRIDING SYSTEM VALUE VALUES (:o, :n, :t)"
            ),
            {"o": owner, "n": number, "t": piece},
        )


def test_a_log_piece_that_is_committed_late_is_not_lost(world: World) -> None:
    device = world.devices(1)[0]
    job = world.running()
    replica = world.replica(device)
    number_of(world, job.id, 1002, "late number\n")
    first = world.results.logs(job.id, seen={})
    number_of(world, replica.id, 1001, "late commit\n")
    second = world.results.logs(job.id, seen={piece.owner: piece.number for piece in first.pieces})
    assert [piece.text for piece in first.pieces] == ["late number\n"]
    assert [piece.text for piece in second.pieces] == ["late commit\n"]


def log_of(world: World, job: Lease) -> str:
    read = "".join(piece.text for piece in world.results.logs(job.id, seen={}).pieces)
    assert "".join(piece.text for piece in world.results.last_logs(job.id, 100).pieces) == read
    return read


def test_a_log_tells_of_a_shared_replica_what_it_did_for_the_job(world: World) -> None:
    device = world.devices(1)[0]
    first, second = world.running(), world.running()
    replica = world.replica(device)
    for job in (first, second):
        world.coordination.add_log(job.id, f"harness of {job.id}\n")
    world.serving.add_log(replica.id, "loading\n", None)
    world.serving.loaded(replica, {})
    world.serving.add_log(replica.id, "failed for the first\n", first.id)
    world.serving.add_log(replica.id, "failed for the second\n", second.id)
    assert log_of(world, first) == f"harness of {first.id}\nloading\nfailed for the first\n"
    assert log_of(world, second) == f"harness of {second.id}\nloading\nfailed for the second\n"


def test_of_a_log_from_before_only_the_start_of_a_replica_is_told(world: World) -> None:
    device = world.devices(1)[0]
    job = world.running()
    replica = world.replica(device)
    number_of(world, replica.id, 1, "loading\n")
    world.serving.loaded(replica, {})
    number_of(world, replica.id, 2, "of some job\n")
    assert log_of(world, job) == "loading\n"


def test_a_followed_log_goes_on_after_the_pieces_of_other_jobs(world: World) -> None:
    device = world.devices(1)[0]
    first, second = world.running(), world.running()
    replica = world.replica(device)
    world.serving.loaded(replica, {})
    world.serving.add_log(replica.id, "1\n", first.id)
    seen = {piece.owner: piece.number for piece in world.results.logs(first.id, seen={}).pieces}
    world.serving.add_log(replica.id, "2\n", second.id)
    assert world.results.logs(first.id, seen=seen).pieces == []
    world.serving.add_log(replica.id, "3\n", first.id)
    assert [piece.text for piece in world.results.logs(first.id, seen=seen).pieces] == ["3\n"]


def test_what_a_replica_wrote_for_a_job_goes_with_it(world: World) -> None:
    device = world.devices(1)[0]
    jobs = [world.running(), world.running()]
    replica = world.replica(device)
    for job in jobs:
        world.serving.add_log(replica.id, f"{job.id}\n", job.id)
        world.coordination.stop(job, JobStatus.CANCELLED, "cancelled")
    world.jobs.delete(jobs[0].id)
    with world.sessions.begin() as session:
        assert session.scalars(text("SELECT text FROM log_pieces")).all() == [f"{jobs[1].id}\n"]


def test_an_engine_that_dies_on_one_job_says_nothing_of_it_to_another(world: World) -> None:
    device = world.devices(1)[0]
    guilty, other = world.running(), world.running()
    replica = world.replica(device)
    world.serving.loaded(replica, {})
    words = Failure(
        FailureCode.ENGINE_DIED, "cannot read 'a secret'", log_tail=("a secret",), job_id=guilty.id
    )
    world.serving.end(replica, ReplicaStatus.FAILED, words)
    assert "a secret" in told(world, guilty)
    assert "a secret" not in told(world, other)
    for job, message in ((guilty, words.message), (other, "the engine failed on a request of another job")):
        (seen,) = world.jobs.view(job.id).replicas
        assert seen.error
        assert (seen.error.code, seen.error.message) == ("engine_died", message)


def told(world: World, job: Lease) -> str:
    return json.dumps([event.data for event in world.jobs.events(job.id, 0)])


def test_all_files_are_together_each_in_a_place_of_its_own(world: World) -> None:
    lease = world.running()
    for task in ("../../a", ".._.._a", "__..__a", "b"):
        world.coordination.add_samples(lease, task, 0, [SampleLine(f'"{task}"')])
    world.coordination.finish(lease, "{}", "..__tiny", "today")
    bundle = world.results.bundle(lease.id)
    assert {place: "".join(file.pieces) for place, file in bundle.files} == {
        "..__tiny/results_today.json": "{}",
        "..__tiny/samples_.._.._a_today.jsonl": '".._.._a"\n',
        "..__tiny/samples_..__..__a_today.jsonl": '"../../a"\n',
        "..__tiny/samples___..__a_today.jsonl": '"__..__a"\n',
        "..__tiny/samples_b_today.jsonl": '"b"\n',
    }
    assert bundle.written_at == world.jobs.view(lease.id).job.ended_at


def test_files_that_change_while_they_are_read_are_no_files(world: World) -> None:
    lease = world.running()
    world.coordination.add_samples(lease, "toy", 0, [SampleLine("{}")] * 250)
    with pytest.raises(NoResultsYetError):
        world.results.bundle(lease.id)
    world.coordination.finish(lease, "{}", "tiny", "today")
    [_, (_, samples)] = world.results.bundle(lease.id).files
    assert next(samples.pieces) == "{}\n" * 100
    with world.sessions.begin() as session:
        session.execute(text("DELETE FROM samples WHERE position > 150"))
    with pytest.raises(StaleJobError):
        list(samples.pieces)


def test_logs_end_with_the_job(world: World) -> None:
    job = world.running()
    world.coordination.add_log(job.id, "a\n")
    assert not world.results.logs(job.id, seen={}).ended
    world.coordination.stop(job, JobStatus.CANCELLED, "cancelled")
    assert world.results.logs(job.id, seen={}).ended
    assert not world.results.logs(job.id, seen={}, limit=1).ended
    assert [piece.text for piece in world.results.last_logs(job.id, 1).pieces] == ["a\n"]


def test_a_failed_task_is_named_beside_the_results_of_the_others(world: World) -> None:
    job = world.running()
    with pytest.raises(NoResultsYetError):
        world.results.document(job.id)
    world.coordination.prepared(job, b"f" * 32, [("good", 1), ("bad", 1)], {"lm_eval": "0.4.13"})
    world.coordination.task_failed(job, "bad", Failure(FailureCode.DATASET_ERROR, "no docs"))
    world.coordination.task_finished(job, "good", {"acc,none": 0.25})
    assert world.results.document(job.id)["evalq"]["complete"] is False
    status = world.coordination.finish(job, '{"results": {"good": {"acc,none": 0.25}}}', "m", "d")
    document = world.results.document(job.id)
    assert status is JobStatus.PARTIALLY_FAILED
    assert document["evalq"]["complete"] is True
    assert [(error["task"], error["code"]) for error in document["evalq"]["errors"]] == [
        ("bad", "dataset_error")
    ]


def test_whatever_a_task_gives_is_kept(world: World) -> None:
    job = world.running()
    odd = {"one,none": {"mean": nan, "n": [inf, 10**400]}, "\x00": "\ud800", "deep": [[[[]]]] * 3}
    world.coordination.prepared(job, b"f" * 32, [("toy", 1)], {"toy": odd})
    world.coordination.task_finished(job, "toy", odd, Failure(FailureCode.TASK_ERROR, "a\x00b"))
    world.coordination.warn(job, odd)
    world.coordination.fail(job, Failure(FailureCode.TASK_ERROR, "a\ud800b\x00"))
    kept = {"one,none": {"mean": None, "n": [None, None]}, "\ufffd": "\ufffd", "deep": [[[[]]]] * 3}
    ended = world.jobs.view(job.id).job
    assert ended.tasks[0].metrics == kept
    assert ended.reason == "a\ufffdb\ufffd"
    assert world.results.document(job.id)["evalq"]["toy"] == kept
    assert [event.data for event in world.jobs.events(job.id, 0) if event.type == "job.warning"] == [kept]


def test_a_task_scored_without_some_documents_says_so(world: World) -> None:
    job = world.running()
    world.coordination.prepared(job, b"f" * 32, [("toy", 2)], {})
    missing = Failure(FailureCode.ENGINE_DIED, "no answer for document 1 (1 of 2): it died", task="toy")
    world.coordination.task_finished(job, "toy", {"acc,none": 0.25}, missing)
    status = world.coordination.finish(job, '{"results": {"toy": {"acc,none": 0.25}}}', "m", "d")
    ended = world.jobs.view(job.id).job
    assert status is JobStatus.PARTIALLY_FAILED
    assert ended.tasks[0].metrics == {"acc,none": 0.25}
    assert ended.error == ended.tasks[0].error == missing
    assert "document 1" in (ended.reason or "")


def test_a_file_of_samples_is_given_back_to_the_byte(world: World) -> None:
    job = world.running()
    lines = [json.dumps({"doc_id": index, "text": "é\\n"}, ensure_ascii=False) for index in range(2100)]
    world.coordination.add_samples(
        job, "toy", 0, [SampleLine(line, index % 2 == 0) for index, line in enumerate(lines)]
    )
    assert world.results.artifacts(job.id) == []
    with pytest.raises(UnknownArtifactError):
        world.results.artifact(job.id, "samples_toy_d.jsonl")
    world.coordination.finish(job, "{}", "m", "d")
    assert world.results.artifacts(job.id) == ["results_d.json", "samples_toy_d.jsonl"]
    assert "".join(world.results.artifact(job.id, "samples_toy_d.jsonl").pieces) == "".join(
        line + "\n" for line in lines
    )


def test_samples_that_evalq_marked_are_errors(world: World) -> None:
    job = world.running()
    marked = json.dumps({"doc_id": 1, "evalq_error": {"code": "engine_died"}})
    quoting = json.dumps({"doc_id": 2, "text": '"evalq_error": 1'})
    world.coordination.add_samples(job, "toy", 0, [SampleLine(marked), SampleLine(quoting, True)])
    found = world.results.samples(job.id, task=None, which=SampleFilter.ERROR, after=None, limit=10)
    assert [sample.row for sample in found] == [marked]


def test_lines_of_a_log_are_found_wherever_they_are(world: World) -> None:
    job = world.running(chunks=1)
    for piece in (
        "one\nTwo 100%\nthree\n",
        "no\n",
        "two\n" * 600,
        "two last\na two_three\n",
        "x" * 9000 + "ToW" + "y" * 9000,
    ):
        world.coordination.add_log(job.id, piece)
    found = world.results.found_lines(job.id, "tWo")
    assert (found[0], found[-2:], len(found)) == ("Two 100%", ["two last", "a two_three"], 603)
    assert world.results.found_lines(job.id, "100%") == ["Two 100%"]
    assert world.results.found_lines(job.id, "%three") == []
    assert world.results.found_lines(job.id, "o_t") == ["a two_three"], "no character stands for others"
    [long] = world.results.found_lines(job.id, "tow")
    assert (len(long), "ToW" in long) == (4000, True)
    for _ in range(2):
        world.coordination.add_log(job.id, "two\n" * 600)
    assert world.results.found_lines(job.id, "two") == ["two"] * 1000, "the last ones, and no more"


def test_samples_are_counted_and_looked_through(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.running()
    rows = [
        SampleLine(json.dumps({"a": 'say "hi"\n100%', "b": "Größe"}, ensure_ascii=False), True, True, True),
        SampleLine(json.dumps({"evalq_error": {"code": "x"}})),
        *(SampleLine("{}", False) for _ in range(3)),
    ]
    world.coordination.add_samples(job, "toy", 0, rows)
    world.coordination.add_samples(job, "other", 0, rows[:1])
    counts = world.results.counts(job.id, "toy")
    assert counts
    assert [counts.by_filter[each] for each in SampleFilter] == [5, 1, 3, 1, 1, 1]
    assert not counts.bounded
    monkeypatch.setattr(results, "MOST_COUNTED", 0)
    assert world.results.counts(job.id, "toy") is counts, "who reads on at once is told the same"
    others = world.results.counts(job.id, "other")
    assert others
    assert others.bounded

    def found(text: str, before: int = 9) -> list[int]:
        search = SampleSearch(text, before)
        page = world.results.samples(job.id, task="toy", after=None, limit=9, search=search)
        return [each.position for each in page]

    assert found('SAY "hi"\n') == found("größe") == found("100%") == [0]
    assert found("evalq_ERROR", 2) == [1]
    assert found("evalq_error", 1) == found("1%") == found("evalq_rror") == []


def test_no_search_holds_a_connection_for_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.running()
    monkeypatch.setattr(db, "LONGEST_MS", 50)
    with world.sessions.begin() as other:
        other.execute(text("LOCK TABLE samples, log_pieces"))
        assert world.results.counts(job.id, "toy") is None
        with pytest.raises(TookTooLongError):
            world.results.samples(job.id, task="toy", after=None, limit=9, search=SampleSearch("a", 9))
        with pytest.raises(TookTooLongError):
            world.results.found_lines(job.id, "a")
