"""Jobs that wait for what the cluster lacks, until it is there."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock
from uuid import UUID

import pytest
from sqlalchemy import text

from app.db.vitals import VitalsRepository
from app.domain.job import Job, JobStatus
from app.domain.measures import LoadMeasure, Measured, Placed
from app.errors import DatabaseUnreachableError
from app.services.waiting import Again
from tests.clusters.conftest import JOB, Cluster
from workers.coordinator import waiting as watching

COPIED = "owner, status, reason, priority, tags, spec, engine, engine_key, plan, created_at, waits_for"
ON_HF = {"model": "hf", "model_args": {"pretrained": "gpt2"}}


def test_what_only_the_cluster_lacks_refuses_a_job_in_the_same_words(cluster: Cluster) -> None:
    cluster.joins("a", "hf")
    dry, real = cluster.plan(), cluster.post()
    assert (dry["valid"], real["status"], real["code"]) == (False, 422, "invalid_job")
    assert dry["errors"] == real["errors"]
    assert [(fault["path"], fault["lacking"]) for fault in dry["errors"]] == [
        ("model", True),
        ("model_args.pretrained", True),
    ]
    assert dry["plan"] == real["plan"]
    assert real["detail"].endswith("(with wait_for_capacity the job is taken, and waits until this is there)")


def test_a_job_may_wait_for_what_is_lacking(cluster: Cluster) -> None:
    cluster.joins("a", "hf")
    dry = cluster.plan(wait_for_capacity=True)
    assert (dry["valid"], [fault["lacking"] for fault in dry["errors"]]) == (True, [True, True])
    job = cluster.post(wait_for_capacity=True)
    assert (job["status"], job["spec"]["wait_for_capacity"]) == ("queued", True)
    assert job["reason"].startswith("waiting for backend vllm or vllm-cpu; a device of 146.5 GiB, or more")
    (waiting,) = cluster.api.get("/v1/queue").json()["data"]
    assert f"waiting for {waiting['waiting_for']}" == job["reason"]
    assert cluster.world.coordination.claim(UUID(job["id"]), "coordinator") is None
    assert cluster.world.scheduling.announce_once() == 0


def test_another_fault_beside_it_refuses_the_job(cluster: Cluster) -> None:
    cluster.joins("a", "hf")
    problem = cluster.post(wait_for_capacity=True, tasks=["no such task"])
    lacking = {fault["path"]: fault["lacking"] for fault in problem["errors"]}
    assert lacking == {"tasks.0": False, "model": True, "model_args.pretrained": True}
    assert "wait_for_capacity" not in problem["detail"]


def test_it_starts_by_itself_as_planned_for_what_came(cluster: Cluster) -> None:
    cluster.joins("a", "hf")
    waits = cluster.waits()
    assert cluster.look() == 0
    cluster.joins("b", "vllm", gpus=4)
    assert (cluster.look(), cluster.look()) == (1, 0)
    job = cluster.job(waits)
    assert (job["reason"], job["plan"]["gpus_per_replica"], job["plan"]["fit"]) == (
        "waiting for a coordinator",
        2,
        "fits",
    )
    assert cluster.world.scheduling.announce_once() == 1
    lease, claimed = cluster.world.coordination.claim(UUID(waits), "coordinator") or (None, None)
    assert lease is not None
    assert claimed is not None
    assert (claimed.engine.tensor_parallel_size, claimed.engine.gpus) == (2, 2)
    events = cluster.world.events(UUID(waits))
    assert [kind for _, kind in events] == ["job.queued", "job.queued", "job.phase"]


@pytest.mark.parametrize(
    ("comes", "lacks"),
    [
        (
            {"broken": "vllm", "gpus": 2},
            "backend vllm: on group b it does not work now (its torch finds no GPU)",
        ),
        ({"backends": ["vllm"], "gib": 24}, "a device of "),
        ({"backends": ["vllm"], "gpus": 1}, "a device of 146.5 GiB, or more devices, in one group"),
    ],
    ids=["broken", "too small", "too few"],
)
def test_what_comes_and_will_not_do_is_told(cluster: Cluster, comes: dict[str, Any], lacks: str) -> None:
    cluster.joins("a", "hf")
    waits = cluster.waits()
    cluster.joins("b", *comes.pop("backends", ()), **comes)
    assert cluster.look() == 0
    assert lacks in cluster.job(waits)["reason"]
    assert cluster.job(waits)["status"] == "queued"


def test_half_of_it_in_each_of_two_groups_is_not_enough(cluster: Cluster) -> None:
    cluster.joins("a", "vllm", gpus=1)
    cluster.joins("b", "vllm", gpus=1)
    waits = cluster.waits(gpus_per_replica=2)
    assert "2 devices in one group" in cluster.job(waits)["reason"]
    cluster.joins("c", "vllm", gpus=2)
    assert cluster.look() == 1


def test_a_group_that_nobody_has_is_waited_for(cluster: Cluster) -> None:
    cluster.joins("a", "vllm", gpus=2)
    problem = cluster.post(group="big")
    assert [(fault["path"], fault["allowed"]) for fault in problem["errors"]] == [("group", ["a"])]
    waits = cluster.waits(group="big")
    assert cluster.job(waits)["reason"] == "waiting for group big"
    cluster.joins("big", "vllm", gpus=2)
    assert cluster.look() == 1


def test_its_user_may_change_pause_and_cancel_it_meanwhile(cluster: Cluster) -> None:
    cluster.joins("a", "hf", gpus=2)
    waits = cluster.waits(group="big")
    path = f"/v1/jobs/{waits}"
    assert cluster.api.patch(path, json={"priority": 90}).json()["priority"] == 90
    assert cluster.api.post(f"{path}/pause").json()["status"] == "paused"
    cluster.joins("big", "vllm", gpus=2)
    assert cluster.look() == 0
    resumed = cluster.api.post(f"{path}/resume").json()
    assert (resumed["status"], resumed["reason"]) == ("queued", "waiting for group big")
    assert cluster.look() == 1
    assert cluster.api.post(f"{path}/cancel").json()["status"] == "cancelled"


def test_a_job_that_is_tried_again_waits_again(cluster: Cluster) -> None:
    cluster.joins("a", "hf")
    waits = cluster.waits(group="big")
    cluster.api.post(f"/v1/jobs/{waits}/cancel")
    retried = cluster.api.post(f"/v1/jobs/{waits}/retry").json()
    assert (retried["status"], retried["reason"][:22]) == ("queued", "waiting for group big")[:2]
    assert cluster.world.coordination.claim(UUID(waits), "coordinator") is None
    cluster.api.post(f"/v1/jobs/{waits}/cancel")
    assert cluster.api.delete(f"/v1/jobs/{waits}").status_code == 204
    assert cluster.look() == 0


def test_the_doctor_finds_nothing_wrong_with_it(cluster: Cluster) -> None:
    cluster.joins("a", "hf")
    cluster.waits(group="big")
    runs = cluster.post(**ON_HF)["id"]
    with cluster.world.sessions.begin() as session:
        queued = VitalsRepository(session).jobs(JobStatus.QUEUED, 10)
    assert [str(job.id) for job in queued] == [runs]


def test_its_deadline_holds(cluster: Cluster) -> None:
    cluster.joins("a", "hf")
    waits = cluster.waits(deadline_seconds=60)
    with cluster.world.sessions.begin() as session:
        session.execute(text("UPDATE jobs SET deadline_at = now() - interval '1s'"))
    cluster.world.scheduling.expire_once()
    job = cluster.job(waits)
    assert (job["status"], job["error"]["code"]) == ("failed", "deadline_exceeded")


def test_those_that_run_are_not_held_up_by_many_that_wait(cluster: Cluster) -> None:
    cluster.joins("a", "hf", gpus=2)
    waits = cluster.waits(group="big", priority=100)
    copy = (
        f"INSERT INTO jobs (id, {COPIED}) SELECT gen_random_uuid(), {COPIED}"  # noqa: S608
        " FROM jobs, generate_series(1, 119) WHERE id = :id"
    )
    with cluster.world.sessions.begin() as session:
        session.execute(text(copy), {"id": waits})
    runs = cluster.post(**ON_HF, priority=0)["id"]
    assert cluster.world.scheduling.announce_once() == 1
    assert cluster.world.coordination.claim(UUID(waits), "coordinator") is not None
    assert cluster.job(runs)["status"] == "running"
    cluster.joins("big", "vllm", gpus=2)
    assert [cluster.look() for _ in range(4)] == [50, 50, 20, 0]


def test_a_job_that_is_refused_meanwhile_says_so_and_goes_on_when_that_is_mended(cluster: Cluster) -> None:
    cluster.joins("a", "hf")
    waits = cluster.waits(group="big")
    task = cluster.settings.task_paths[0] / "ours.yaml"
    task.rename(gone := task.with_suffix(".away"))
    cluster.joins("big", "vllm", gpus=2)
    assert cluster.look() == 0
    assert "what is refused of it by now: tasks" in cluster.job(waits)["reason"]
    gone.rename(task)
    cluster.joins("c", "vllm", gpus=2)
    assert cluster.look() == 1


def test_no_worker_at_all_is_no_lack(cluster: Cluster) -> None:
    assert (cluster.plan(group="big")["valid"], cluster.plan(group="big")["errors"]) == (True, [])
    job = cluster.post(group="big")
    assert job["reason"] == "waiting for a worker with backend vllm in group big"
    cluster.joins("big", "vllm", gpus=4)
    assert cluster.look() == 1
    assert cluster.job(job["id"])["plan"]["gpus_per_replica"] == 2


def test_of_two_coordinators_that_look_at_once_one_lets_it_in(cluster: Cluster) -> None:
    cluster.joins("a", "hf")
    waits = UUID(cluster.waits(group="big"))
    waiting = cluster.world.coordination.waiting
    job = waiting.job(waits)
    again = Again(job.engine, job.plan, None)
    assert [waiting.plan_again(waits, again) for _ in range(2)] == [True, False]
    cancelled = UUID(cluster.waits(group="big"))
    cluster.world.jobs.cancel(cancelled)
    assert not waiting.plan_again(cancelled, again)


def test_one_that_cannot_be_looked_at_holds_up_no_other(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.joins("a", "hf")
    first, second = cluster.waits(group="big"), cluster.waits(group="big")
    cluster.joins("big", "vllm", gpus=2)
    looked, job = [], cluster.world.coordination.waiting.job

    def stumbles(job_id: UUID) -> Job:
        looked.append(str(job_id))
        assert str(job_id) != first
        return job(job_id)

    monkeypatch.setattr(cluster.world.coordination.waiting, "job", stumbles)
    assert (cluster.look(), looked) == (1, [first, second])
    assert (cluster.look(), looked) == (0, [first, second]), "not every two seconds"
    monkeypatch.undo()
    monkeypatch.setattr(watching, "AGAIN_SECONDS", -1.0)
    cluster.watch._look_later()
    assert cluster.look() == 1, "but once more"


def test_one_whose_size_is_not_known_just_now_is_not_let_in(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.joins("a", "hf")
    waits = cluster.waits()
    cluster.joins("small", "vllm", gpus=2, gib=16.0)
    with monkeypatch.context() as silent:
        silent.setattr("app.workloads.lm_eval.reading.width.known_facts", lambda _: None)
        assert cluster.look() == 0
    assert cluster.job(waits)["plan"]["memory"] is not None


def test_a_database_that_fails_meanwhile_is_asked_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.joins("a", "hf")
    cluster.waits(group="big")
    cluster.joins("big", "vllm", gpus=2)
    with monkeypatch.context() as away:
        away.setattr(
            cluster.world.coordination.waiting, "job", Mock(side_effect=DatabaseUnreachableError("x"))
        )
        with pytest.raises(DatabaseUnreachableError):
            cluster.look()
    assert cluster.look() == 1


@pytest.mark.parametrize("name", ["", " ", "a b", "../a", "grüppe", "a" * 999 + "!"])
def test_a_group_that_no_worker_can_bring_is_not_waited_for(cluster: Cluster, name: str) -> None:
    alone = cluster.post(group=name, wait_for_capacity=True)
    cluster.joins("a", "vllm", gpus=2)
    beside = cluster.post(group=name, wait_for_capacity=True)
    for problem, allowed in ((alone, None), (beside, ["a"])):
        (fault,) = problem["errors"]
        assert (fault["path"], fault["lacking"], fault["allowed"]) == ("group", False, allowed)
        assert "no group can be called" in fault["message"]


def test_it_is_planned_by_what_engines_measured_meanwhile(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.joins("a", "hf")
    waits = cluster.waits(group="big")
    large = Measured(Placed("NVIDIA H100", 2, 1, 2), 1, LoadMeasure(weights_bytes=76 * 2**30))
    monkeypatch.setattr(cluster.world.coordination.waiting, "recall", lambda _: [large])
    cluster.joins("big", "vllm", gpus=2)
    assert cluster.look() == 0
    assert "2 devices of 88.8 GiB" in cluster.job(waits)["reason"]


def test_what_no_worker_can_bring_is_not_waited_for_unless_the_job_says_so(cluster: Cluster) -> None:
    on_sglang = {"model": "sglang", "model_args": {"pretrained": "meta-llama/Llama-2-70b-hf"}}
    assert cluster.post(**on_sglang)["status"] == 422
    assert "evalq has no engine for sglang yet" in cluster.post(**on_sglang, wait_for_capacity=True)["reason"]


def test_a_worker_that_was_there_minutes_ago_counts(cluster: Cluster) -> None:
    cluster.joins("a", "vllm", gpus=4)
    cluster.joins("b", "hf")
    _age(cluster, "a", minutes=10, started=100)
    assert cluster.post()["reason"] == "waiting for a coordinator"
    _age(cluster, "b", minutes=0, started=100)
    _age(cluster, "a", minutes=20, started=100)
    assert "backend vllm" in cluster.post()["detail"]


def test_a_service_that_starts_counts_every_group_that_it_ever_had(cluster: Cluster) -> None:
    cluster.joins("a", "vllm", gpus=4)
    _age(cluster, "a", minutes=3000, started=4000)
    assert cluster.post(group="a")["reason"] == "waiting for a coordinator"
    assert cluster.post(gpus_per_replica=8)["reason"] == "waiting for 8 devices in one group"
    cluster.joins("b", "hf")
    assert cluster.post(group="a")["reason"] == "waiting for a coordinator"
    assert cluster.post(gpus_per_replica=8)["status"] == 422


def _age(cluster: Cluster, group: str, *, minutes: int, started: int) -> None:
    """The worker began so many minutes ago, and was heard of last so many minutes ago."""
    statement = (
        "UPDATE gpu_groups SET heartbeat_at = now() - make_interval(mins => :minutes),"
        " worker_started_at = now() - make_interval(mins => :started) WHERE name = :name"
    )
    values = {"minutes": minutes, "started": started, "name": group}
    with cluster.world.sessions.begin() as session:
        session.execute(text(statement), values)


def test_jobs_of_a_body_are_not_told_of_capacity_twice(cluster: Cluster) -> None:
    cluster.joins("a", "hf")
    headers = {"Idempotency-Key": "k"}
    body = JOB | {"wait_for_capacity": True, "group": "big"}
    first, again = (cluster.api.post("/v1/jobs", json=body, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code, first.json()["id"]) == (202, 200, again.json()["id"])
