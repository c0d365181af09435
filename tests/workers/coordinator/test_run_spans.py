"""A job's run as spans: below the request that posted it, its steps below it, and a failure marked as one."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.asking import trace
from app.domain.trace import TraceParent
from app.errors import LeaseLostError
from app.services.coordination import CoordinationService
from app.settings import Settings
from tests.spans import Noted, NotedSpan
from tests.workers.coordinator.peers import PLAN
from tests.workers.coordinator.test_worker import SUCCESS, Case, Conduct, dies, says
from tests.world import World
from workers.protocol.harness import FailureTold, JobFailed, ScoringBegun

SCORED = (*SUCCESS[:2], ScoringBegun(), *SUCCESS[2:])


def run(world: World, settings: Settings, *conducts: Conduct) -> tuple[Case, Noted]:
    """A job that was posted under a trace, and the spans of its run."""
    token = trace.set(TraceParent.new())
    try:
        noted = Noted()
        here = Case(world, settings, *conducts, traces=noted)
        here.run()
    finally:
        trace.reset(token)
    return here, noted


def names(spans: list[NotedSpan]) -> list[str]:
    return [span.began.name for span in spans]


def test_a_run_is_below_its_request_and_its_steps_below_it(world: World, settings: Settings) -> None:
    here, noted = run(world, settings, says(*SCORED))
    whole, *steps = noted.spans
    assert names(noted.spans) == ["run", "prepare", "look up", "wait", "score"]
    assert whole.began.parent == here.job.trace
    assert {step.began.parent for step in steps} == {whole.trace}
    assert whole.attributes == {"evalq.job.id": str(here.job_id), "evalq.job.attempt": 1}
    ends = [span.ended_at for span in noted.spans]
    assert None not in ends
    assert [span.failure for span in noted.spans] == [None] * 5


def test_a_harness_that_dies_is_followed_by_another_try_in_the_same_run(
    world: World, settings: Settings
) -> None:
    _, noted = run(world, settings, says(*PLAN[:1]), says(*SCORED))
    assert names(noted.spans) == ["run", "prepare", "look up", "prepare", "look up", "wait", "score"]


@pytest.mark.parametrize(
    ("conducts", "code"),
    [
        ([says(JobFailed(FailureTold("task_error", "hunter2")))], "task_error"),
        ([dies, dies, dies], "internal"),
    ],
    ids=["it failed", "its children died"],
)
def test_a_failure_is_marked_by_its_code_and_never_in_its_words(
    world: World, settings: Settings, conducts: list[Conduct], code: str
) -> None:
    _, noted = run(world, settings, *conducts)
    assert [span.failure for span in noted.named("run")] == [code]
    assert "hunter2" not in str(noted.spans)


def test_a_run_that_loses_its_lease_ends(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object, **__: object) -> None:
        raise LeaseLostError("gone")

    monkeypatch.setattr(CoordinationService, "prepared", lost)
    _, noted = run(world, settings, says(*SCORED))
    assert {span.ended_at is None for span in noted.spans} == {False}
    assert [span.failure for span in noted.named("run")] == ["lost"]


def test_a_job_of_an_earlier_version_has_a_trace_of_its_own(world: World, settings: Settings) -> None:
    noted = Noted()
    here = Case(world, settings, says(*SCORED), traces=noted)
    with world.sessions.begin() as session:
        session.execute(text("UPDATE jobs SET traceparent = NULL"))
    assert here.run().trace is None
    assert [span.began.parent for span in noted.named("run")] == [None]


def test_a_run_after_a_coordinator_was_lost_is_in_the_same_trace(world: World, settings: Settings) -> None:
    noted = Noted()
    here = Case(world, settings, says(*SCORED), traces=noted)
    posted_under = here.job.trace
    assert world.coordination.claim(here.job_id, "one that dies")
    assert world.coordination.release_holders(["one that dies"]) == [here.job_id]
    here.run()
    [second] = noted.named("run")
    assert second.began.parent == posted_under == here.job.trace
    assert second.attributes["evalq.job.attempt"] == 2
