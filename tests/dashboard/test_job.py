"""The page of a job: what it shows of every state, what its buttons do, and how it follows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.dashboard.pages import job as module
from app.dashboard.rendering import rendered
from app.dashboard.views.job import found_lines, last_lines, state_of, ways_of
from app.dashboard.views.phases import phases_of
from app.dashboard.views.quality import quality_of
from app.dashboard.views.scores import scores_of
from app.dashboard.views.tasks import IndexedTasks, tree
from app.domain.event import Event
from app.domain.failure import Failure, FailureCode
from app.domain.ids import uuid7
from app.domain.job import Job, JobStatus, JobTask, Phase, TaskStatus
from app.domain.keys import Role
from app.domain.quality import TaskQuality
from app.services.job_view import JobView, view_of
from tests.api.conftest import Coordinator
from tests.dashboard.conftest import As
from tests.dashboard.test_sign_in import token_of
from tests.dashboard.test_words import HOSTILE
from tests.jobs import submission
from tests.world import World

NOW = datetime(2026, 11, 26, 14, 0, tzinfo=UTC)


def job(**fields: Any) -> Job:
    found = submission()
    made = Job(
        id=uuid7(),
        owner="alice",
        name=None,
        spec=found.spec.to_json(),
        engine=found.engine,
        plan=found.plan,
        created_at=NOW - timedelta(minutes=10),
    )
    return replace(made, **fields)


def view(**fields: Any) -> JobView:
    return view_of(job(**fields), {}, NOW)


def event(number: int, minutes: float, kind: str, **data: Any) -> Event:
    return Event(number, NOW - timedelta(minutes=minutes), kind, data)


def test_phases_are_added_up_over_all_attempts() -> None:
    moves = [
        event(1, 10, "job.queued"),
        event(2, 9, "job.phase", phase="preparing"),
        event(3, 8, "job.phase", phase="evaluating"),
        event(4, 6, "job.failed"),
        event(5, 5, "job.queued"),
        event(6, 4, "job.phase", phase="evaluating"),
    ]
    found = phases_of(view(status=JobStatus.RUNNING, phase=Phase.EVALUATING), moves, NOW)
    told = {each.name: each.told for each in found.sums}
    assert told["Evaluating"] == "6 min, 2 times"
    assert (told["Preparing"], told["Scoring"]) == ("1 min", "not yet")
    assert "Paused" not in told
    assert sum(each.width for each in found.bars) == pytest.approx(100, abs=1)
    assert found.bars[-1].cls == "c-running"


def test_what_is_to_come_is_drawn_behind_what_was() -> None:
    found = view_of(job(status=JobStatus.RUNNING, phase=Phase.EVALUATING), {"eta_seconds": 600.0}, NOW)
    bars = phases_of(found, [event(1, 10, "job.phase", phase="evaluating")], NOW).bars
    assert [each.cls for each in bars[-2:]] == ["c-running", "c-rest"]
    assert bars[-1].width == pytest.approx(50, abs=1)


def test_a_score_has_its_interval_and_its_place() -> None:
    [acc, norm, odd, ppl] = scores_of(
        {"acc,none": 0.5, "acc_stderr,none": 0.1, "acc_norm,x": 1.0, "odd,none": float("nan"),
         "ppl,none": 12.5, "ppl_stderr,none": "N/A", "alias": "toy"}
    )  # fmt: skip
    assert (acc.metric, acc.plotted) == ("acc", True)
    assert (acc.low, acc.high) == pytest.approx((0.304, 0.696))
    assert (norm.metric, norm.low, norm.plotted) == ("acc_norm, x", None, True)
    assert (odd.value, odd.plotted, ppl.value, ppl.plotted) == (None, False, 12.5, False)


def test_groups_are_as_asked_for_with_their_tasks_below() -> None:
    tasks = (
        JobTask("a", TaskStatus.SUCCEEDED, 5, 5, {"acc,none": 1.0}),
        JobTask("b", TaskStatus.RUNNING, 1, 5),
        JobTask("c", TaskStatus.FAILED, 0, None, error=Failure(FailureCode.TASK_ERROR, "no")),
    )
    group, alone = tree(
        view(tasks=tasks), IndexedTasks({"g": ("a", "b"), "nothing": ("x",)}), {"g": {"acc,none": 0.4}}
    )
    assert (group.line.name, group.line.word, group.line.done, group.line.total) == ("g", "Running", 6, 10)
    assert [leaf.name for leaf in group.leaves] == ["a", "b"]
    assert group.line.scores[0].value == 0.4
    assert (alone.line.name, alone.line.word, alone.line.error) == ("c", "Failed", "task_error: no")


def test_tasks_and_groups_are_in_the_order_of_the_job() -> None:
    tasks = tuple(JobTask(name, TaskStatus.WAITING, 0, 5) for name in ("a", "b", "c"))
    asked = view(tasks=tasks)
    asked = replace(asked, spec=replace(asked.spec, tasks=("c", "g", "h")))
    found = tree(asked, IndexedTasks({"h": ("a",), "g": ("b",)}), {})
    assert [branch.line.name for branch in found] == ["c", "g", "h"]


def test_all_groups_that_were_asked_for_are_folded_however_many() -> None:
    many = view(tasks=tuple(JobTask(f"t{at}", TaskStatus.WAITING, 0, 5) for at in range(300)))
    asked = tuple(f"g{at}" for at in range(250))
    names = module._names(replace(many, spec=replace(many.spec, tasks=asked)))
    assert (names[:250], len(names)) == (asked, 250 + module.MOST_LOOKED_UP)


def test_a_job_says_what_it_is_at() -> None:
    assert state_of(view()) == ("queued", "Waiting")
    silent = job(status=JobStatus.RUNNING, phase=Phase.EVALUATING, progress_at=NOW - timedelta(minutes=4))
    stalled = view_of(silent, {}, NOW, stall=timedelta(minutes=3))
    assert state_of(stalled) == ("warning", "Stalled for 4 min")
    assert state_of(view_of(silent, {}, NOW)) == ("running", "Evaluating"), "its supervisor still waits"
    asked = view(status=JobStatus.RUNNING, phase=Phase.LOADING, cancel_requested_at=NOW)
    assert state_of(asked) == ("running", "Cancelling")
    for status in JobStatus:
        for phase in Phase:
            assert all(state_of(view(status=status, phase=phase)))


def test_the_quality_of_a_run_is_said_beside_its_scores(browser: TestClient, world: World) -> None:
    lease = world.running(chunks=0)
    page = f"/jobs/{lease.id}"
    assert "Quality of this run" not in browser.get(page).text
    found = TaskQuality(100, 0, 100, 0, 0, 100, 0, 0, 256, {})
    world.coordination.task_finished(lease, "toy", {"acc,none": 0.5}, None, found)
    assert "No prompt was cut" in browser.get(page).text
    assert quality_of([JobTask("toy", quality=replace(found, prompts_cut=None))]).whole is False
    hostile = [JobTask(HOSTILE, quality=replace(found, answers_truncated=12))]
    assert quality_of(hostile).notes == [
        f"12 of 100 answers of {HOSTILE} ended at 256 tokens: raise max_gen_toks"
    ]
    text = rendered("job/quality.html", screen={"quality": quality_of(hostile)})
    assert "12 of 100 answers" in text
    assert "<script>" not in text


def test_ways_that_lead_out_stand_first_and_keep_their_places() -> None:
    ways = (
        {"change": {"a": 1}, "fits": False, "note": "n"},
        {"change": {"b": 2, "c": 3}, "fits": True, "note": "m"},
    )
    found = ways_of(Failure(FailureCode.GPU_OUT_OF_MEMORY, "m", ways_out=ways))
    assert [(way.place, way.change) for way in found] == [(1, "b=2 c=3"), (0, "a=1")]


def test_a_log_shows_its_end_or_what_was_looked_for() -> None:
    text = "".join(f"line {at}\n" for at in range(1, 501))
    assert last_lines(text)[0] == "line 301"
    assert last_lines("x" * 5000) == ["x" * 4000 + "\u2026"], "a line that never ends is cut"
    assert found_lines(["10 %\r20 %\rDone", "done"] * 800, "dOnE") == ["Done", "done"] * 500


def test_every_state_of_a_job_has_a_page(
    browser: TestClient, world: World, job_id: str, coordinator: Coordinator
) -> None:
    for words in (
        "Waiting",
        "Queued",
        "waiting for a coordinator",
        "Cancel",
        "Pause",
        "Connecting",
        "lm_eval",
    ):
        assert words in browser.get(f"/jobs/{job_id}").text
    coordinator.finish(job_id)
    ended = browser.get(f"/jobs/{job_id}").text
    assert "hx-sse:connect" not in ended
    for words in (
        "Succeeded",
        "0.500",
        "results_2026-11-22T00-00-00.json",
        "artifacts.zip",
        "three",
        "Ended",
        "Delete",
    ):
        assert words in ended, words
    assert "Cancel" not in ended
    found = browser.get(f"/jobs/{job_id}?find=TWO").text
    assert "<span>two\n" in found
    assert "three" not in found
    running = browser.get(f"/jobs/{world.running(chunks=1).id}").text
    assert 'hx-sse:connect="/jobs/' in running
    assert "0 of 2 requests" in running


def test_a_failure_card_says_what_why_and_what_to_change(browser: TestClient, world: World) -> None:
    lease = world.running(chunks=1)
    error = Failure(
        FailureCode.GPU_OUT_OF_MEMORY,
        f"it does not fit {HOSTILE}",
        hint="use more",
        log_tail=("torch.OutOfMemoryError", HOSTILE),
        attempts=({"at": "2026-11-26", "change": "max_num_seqs 256 -> 64", "outcome": "failed"},),
        ways_out=({"change": {"gpus_per_replica": 4}, "fits": True, "note": "33.9 GiB on each"},),
    )
    world.coordination.fail(lease, error)
    text = browser.get(f"/jobs/{lease.id}").text
    for words in (
        "GPU out of memory",
        "gpu_out_of_memory",
        "it does not fit",
        "use more",
        "torch.OutOfMemoryError",
        "max_num_seqs 256",
    ):
        assert words in text, words
    assert "gpus_per_replica=4" in text
    assert "<script>alert" not in text
    assert "Retry as it is" in text


def test_hostile_text_is_shown_in_every_field(browser: TestClient, world: World) -> None:
    evil = '"><script>alert(1)</script>\u202e\x1b'
    job_id = world.submit(name=evil, tags=(evil,), owner=evil[:20])
    world.coordination.add_log(job_id, f"{evil}\n")
    for path in (f"/jobs/{job_id}", "/"):
        text = browser.get(path).text
        assert "<script>alert" not in text
        assert not set("\u202e\x1b") & set(text)
        assert "&#34;&gt;&lt;script&gt;" in text


def test_buttons_do_what_they_say(browser: TestClient, job_id: str) -> None:
    page = f"/jobs/{job_id}"
    for verb, words in (
        ("pause", "Paused"),
        ("resume", "Waiting"),
        ("cancel", "Cancelled"),
        ("retry", "Waiting"),
    ):
        answer = browser.post(page, data={"do": verb})
        assert (answer.status_code, answer.headers["location"]) == (303, page), verb
        assert words in browser.get(page).text
    refused = browser.post(page, data={"do": "delete"})
    assert refused.status_code == 409
    assert "cancel it before deleting it" in refused.text
    browser.post(page, data={"do": "cancel"})
    assert browser.post(page, data={"do": "delete"}).headers["location"] == "/"
    assert browser.get(page).status_code == 404
    assert browser.post(page, data={"do": "explode"}).status_code == 422


def test_roles_and_teams_hold(signed_in: As, app: FastAPI, world: World) -> None:
    job_id = str(world.jobs.submit(submission(), "alice", team="red")[0].id)
    page = f"/jobs/{job_id}"
    red, viewer, blue = (
        signed_in(team="red"),
        signed_in(Role.VIEWER, "red", "vi"),
        signed_in(team="blue", name="eve"),
    )
    for path in (page, f"{page}/stream"):
        assert blue.get(path).status_code == 404
    assert (
        blue.post(page, data={"do": "cancel", "change_token": token_of(blue.get("/").text)}).status_code
        == 404
    )
    assert "Cancel" not in viewer.get(page).text
    token = token_of(viewer.get(page).text)
    assert viewer.post(page, data={"do": "cancel", "change_token": token}).status_code == 403
    assert red.post(page, data={"do": "cancel"}).status_code == 403
    sent = {"do": "cancel", "change_token": token_of(red.get(page).text)}
    assert red.post(page, data=sent).status_code == 303
