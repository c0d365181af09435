"""What a job waits for, told by what there is and who has it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.domain.failure import Failure, FailureCode
from app.domain.ids import uuid7
from app.domain.job import Job, JobStatus, Phase
from app.domain.phrases import named
from app.domain.placement import Group, KeptDevices
from app.domain.plan import PlannedMeasures
from app.domain.replica import Device, DeviceState, Replica, ReplicaStatus
from app.domain.waits import Asking, Cause, Cluster, Served, Wait, reason, wait_of
from tests.domain.test_job import job
from tests.world import ENGINE

NOW = datetime(2026, 11, 22, 8, 0, 5, tzinfo=UTC)
DEVICES = tuple(Device(f"GPU-{index}", index, "H100") for index in range(2))
GROUP = Group("a", DEVICES, frozenset({"hf"}), heard_at=NOW)
HALF = replace(GROUP, devices=(DEVICES[0], replace(DEVICES[1], state=DeviceState.DRAINED)))
GONE = replace(GROUP, alive=False)
DRAINING = replace(GROUP, draining=True)
RUNS = replace(job(JobStatus.RUNNING), phase=Phase.WAITING_FOR_GPU)


def told(asked: Job, cluster: Cluster, *backends: str, unanswered: bool = False) -> Wait:
    wait = wait_of(Asking(asked, backends, unanswered), cluster, NOW)
    assert wait
    return wait


def wanting(gpus: int, group: str | None) -> Job:
    return replace(RUNS, engine=replace(ENGINE, gpus=gpus), plan=replace(RUNS.plan, group=group))


def replica(status: ReplicaStatus, group: str = "a", **more: object) -> Replica:
    return replace(
        Replica(uuid7(), group, ENGINE, status, ("GPU-0",), NOW),
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("groups", "gpus", "group", "cause", "words"),
    [
        ([GROUP], 1, None, Cause.DEVICES, "1 free device in one group"),
        ([GROUP], 2, "a", Cause.DEVICES, "2 free devices in group a"),
        ([GROUP], 4, None, Cause.DEVICES, "4 free devices in one group, where there are 2 at most"),
        ([HALF], 2, None, Cause.DEVICES, "2 free devices in one group, where there are 1 at most"),
        ([], 1, None, Cause.BACKEND, "the backend hf in a running group"),
        ([replace(GROUP, backends=frozenset())], 1, "a", Cause.BACKEND, "the backend hf in group a"),
        ([GROUP], 1, "b", Cause.GROUP, "group b, of which no worker has reported"),
        ([GONE], 1, "a", Cause.GROUP, "group a, whose worker is gone since 2026-11-22 08:00:05 UTC"),
        ([GONE], 1, None, Cause.GROUP, "group a, whose worker is gone since 2026-11-22 08:00:05 UTC"),
        ([DRAINING], 1, None, Cause.GROUP, "group a, which is draining"),
        (
            [DRAINING, replace(GONE, name="b", heard_at=None)],
            1,
            None,
            Cause.GROUP,
            "group a, which is draining or group b, whose worker is gone",
        ),
        ([GONE, replace(GROUP, name="b")], 1, None, Cause.DEVICES, "1 free device in one group"),
    ],
)
def test_a_job_without_devices_says_what_must_be_there(
    groups: list[Group], gpus: int, group: str | None, cause: Cause, words: str
) -> None:
    wait = told(wanting(gpus, group), Cluster(groups))
    assert (wait.cause, wait.words) == (cause, words)


def test_a_group_is_gone_since_it_was_heard_of_last() -> None:
    later = replace(GONE, name="b", heard_at=NOW + timedelta(minutes=1))
    assert told(RUNS, Cluster([GONE, later])).since == later.heard_at
    assert told(RUNS, Cluster([GONE, DRAINING])).since is None


@pytest.mark.parametrize(
    ("model", "offered", "words"),
    [
        ("vllm", "hf", "the backend vllm or vllm-cpu in a running group"),
        ("vllm", "vllm-cpu", "the backend vllm in a running group"),
        ("vllm-cpu", "vllm", "the backend vllm-cpu in a running group"),
    ],
)
def test_whatever_could_serve_a_job_is_named(model: str, offered: str, words: str) -> None:
    asked = replace(RUNS, engine=replace(ENGINE, backend=model))
    serve = ("vllm", "vllm-cpu") if model == "vllm" else ("vllm-cpu",)
    offers = replace(GROUP, backends=frozenset({offered}))
    assert told(asked, Cluster([offers]), *serve).words == words


def test_without_a_scheduler_nobody_gives_devices() -> None:
    wait = told(RUNS, Cluster([GROUP], leads=False))
    assert (wait.cause, wait.words) == (
        Cause.SCHEDULER,
        "a scheduler to give it 1 free device in one group: none leads",
    )


def test_an_engine_that_loads_says_since_when_and_for_how_long_others_did() -> None:
    loading = replica(ReplicaStatus.LOADING)
    words = "its engine to load in group a, since 2026-11-22 08:00:05 UTC"
    assert told(RUNS, Cluster([GROUP], [loading])) == Wait(Cause.LOADING, words, NOW)
    measured = PlannedMeasures("H100", 3, 41.6, None, None, None, None, None)
    known = replace(RUNS, plan=replace(RUNS.plan, measured=measured))
    assert told(known, Cluster([GROUP], [loading])).words == f"{words}; that took 42 s before"
    at_once = replace(known, plan=replace(known.plan, measured=replace(measured, load_seconds=0.4)))
    assert told(at_once, Cluster([GROUP], [loading])).words == words


def test_an_engine_that_failed_to_load_says_so_while_it_is_tried_again() -> None:
    broken = Failure(FailureCode.ENGINE_START_FAILED, "no such file")
    failed = replica(ReplicaStatus.FAILED, ended_at=NOW, error=broken)
    said = "it failed in group a at 2026-11-22 08:00:05 UTC (engine_start_failed)".replace("group a", "a")
    loading = Cluster([GROUP], [replica(ReplicaStatus.LOADING)], failed=[failed])
    assert told(RUNS, loading).words.endswith(f", again: {said}")
    resting = told(RUNS, Cluster([GROUP], failed=[failed])).words
    assert resting == f"1 free device in one group, to start its engine again: {said}"


def test_an_engine_of_a_group_that_is_gone_is_none() -> None:
    lost = replica(ReplicaStatus.SERVING)
    assert told(RUNS, Cluster([GONE], [lost])).cause is Cause.GROUP
    leaving = replica(ReplicaStatus.SERVING, release_requested_at=NOW)
    assert told(RUNS, Cluster([GROUP], [leaving])).cause is Cause.DEVICES


def test_a_job_whose_engine_answers_others_says_which() -> None:
    one, two = replica(ReplicaStatus.SERVING), replica(ReplicaStatus.SERVING, "b")
    other, strange = Served(UUID(int=1), RUNS.team), Served(UUID(int=2), "another")
    cluster = Cluster(
        [GROUP, replace(GROUP, name="b")], [one, two], {one.id: (other, strange), two.id: (other,)}
    )
    asked = replace(RUNS, phase=Phase.EVALUATING)
    assert wait_of(Asking(asked, ()), cluster, NOW) is None, "all of it is answered"
    wait = told(asked, cluster, unanswered=True)
    assert wait.words == "its turn on 2 replicas in groups a and b shared with other jobs"
    assert reason(asked, wait) == f"waiting for {wait.words}, now job 00000000-0000, 1 other job"
    own = Cluster([GROUP], [one], {one.id: (Served(asked.id, asked.team),)})
    assert wait_of(Asking(asked, (), unanswered=True), own, NOW) is None


def test_who_holds_the_devices_is_told() -> None:
    other = replace(replica(ReplicaStatus.SERVING), engine=replace(ENGINE, model="other"))
    cluster = Cluster([GROUP], [other], {other.id: (Served(UUID(int=1), RUNS.team),)})
    assert reason(RUNS, told(RUNS, cluster)) == (
        "waiting for 1 free device in one group; 1 is held for job 00000000-0000"
    )
    warm = Cluster([GROUP], [other])
    assert reason(RUNS, told(RUNS, warm)) == "waiting for 1 free device in one group; 1 is held"


def test_a_job_whose_coordinator_is_lost_says_so() -> None:
    lost = replace(RUNS, phase=Phase.PREPARING, lease_expires_at=NOW - timedelta(seconds=5))
    wait = told(lost, Cluster())
    assert (wait.cause, wait.since) == (Cause.COORDINATOR_LOST, lost.lease_expires_at)
    held = replace(lost, lease_expires_at=NOW + timedelta(seconds=5))
    assert wait_of(Asking(held, ()), Cluster(), NOW) is None


def test_a_parked_job_waits_for_engines_and_then_for_its_place() -> None:
    parked = replace(RUNS, phase=Phase.EVALUATING)
    assert told(parked, Cluster([GROUP]), unanswered=True).cause is Cause.DEVICES
    due = told(replace(parked, due_at=NOW), Cluster([GROUP]))
    assert (due.cause, due.since) == (Cause.COORDINATOR, NOW)


def test_a_job_that_is_told_to_stop_waits_for_nothing() -> None:
    stopping = replace(RUNS, cancel_requested_at=NOW, reason="cancelling")
    assert wait_of(Asking(stopping, ()), Cluster([GROUP]), NOW) is None
    assert reason(stopping, None) == "cancelling"


@pytest.mark.parametrize(
    ("stored", "lacks", "words"),
    [
        ("waiting for a coordinator", None, "waiting for a coordinator"),
        ("resumed", None, "resumed; waiting for a coordinator"),
        (None, None, "waiting for a coordinator"),
        ("waiting for group big", "group big", "waiting for group big"),
        ("retried at noon", "group big", "retried at noon; waiting for group big"),
    ],
)
def test_a_queued_job_says_why_it_is_back_and_what_for(
    stored: str | None, lacks: str | None, words: str
) -> None:
    asked = replace(job(JobStatus.QUEUED), reason=stored, waits_for=lacks)
    assert reason(asked, told(asked, Cluster())) == words


def test_a_paused_job_waits_for_its_user() -> None:
    paused = replace(job(JobStatus.PAUSED), reason="paused by its user")
    wait = told(paused, Cluster())
    assert (wait.cause, reason(paused, wait)) == (Cause.USER, "paused by its user")


@pytest.mark.parametrize(
    ("names", "words"), [("a", "group a"), ("ab", "groups a and b"), ("abca", "groups a, b and c")]
)
def test_groups_are_named_once(names: str, words: str) -> None:
    assert named(names) == words


@pytest.mark.parametrize(
    ("gpus", "quota", "words"),
    [
        (1, 2, "1 is used, and what is lent is given back at the end of a chunk"),
        (2, 2, "1 is used, so that it takes what others leave"),
    ],
)
def test_a_team_with_a_quota_is_told_what_it_has_of_it(gpus: int, quota: int, words: str) -> None:
    own, other = replica(ReplicaStatus.SERVING), replica(ReplicaStatus.SERVING)
    own, other = (replace(each, engine=replace(ENGINE, model="other")) for each in (own, other))
    served = {own.id: (Served(UUID(int=1), RUNS.team),), other.id: (Served(UUID(int=2), "another"),)}
    cluster = Cluster([GROUP], [own, other], served, quotas={RUNS.team: quota})
    wait = told(wanting(gpus, None), cluster)
    assert wait.cause is Cause.DEVICES
    assert wait.words.endswith("in one group")
    assert wait.quota == f"; of its team's quota of 2 devices {words}"
    held_back = wait_of(Asking(wanting(gpus, None), (), by_quota=True), cluster, NOW)
    assert held_back
    assert held_back.cause is Cause.QUOTA


def test_for_whom_free_devices_are_kept_is_told() -> None:
    kept = KeptDevices(UUID(int=1), RUNS.team, 4, 2, NOW)
    wait = wait_of(Asking(RUNS, (), kept=kept), Cluster([GROUP]), NOW)
    words = "waiting for 1 free device in one group; 2 devices are free and kept for"
    assert reason(RUNS, wait) == f"{words} job 00000000-0000 on 4, which begins at about 08:00 UTC"
    strange = Asking(RUNS, (), kept=replace(kept, team="another", until=None))
    assert reason(RUNS, wait_of(strange, Cluster([GROUP]), NOW)) == f"{words} another team's job on 4"
