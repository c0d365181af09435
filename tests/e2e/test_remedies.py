"""Engines that fail as real ones do, and what becomes of their jobs: other settings, other devices, or a clear end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.client import eventually, falls
from tests.e2e.stack import Stack, settings
from tests.faults.clients import DEADLY
from tests.faults.cluster import kind_of
from tests.faults.model import make_model
from tests.servers import Postgres

HOOKS = Path(__file__).parents[1] / "faults" / "hooks"


class Remedied(Stack):
    """A stack with the echo engine on two slots."""

    model: Path

    def echo(self, **args: Any) -> dict[str, Any]:
        """A short job with these engine arguments."""
        args = {"pretrained": str(self.model), **args}
        return {"model": "echo", "model_args": args, "tasks": ["e2e_choice"], "limit": 5, "batch_size": 4}

    def changes(self, job_id: str) -> list[str]:
        """The steps that were told as events."""
        events = self.events(job_id)
        return [e["data"]["change"] for e in events if e["type"] == "job.retrying" and "change" in e["data"]]

    def chunks(self, job_id: str) -> set[str]:
        """Where the job's chunks stand."""
        with psycopg.connect(self.database_url) as connection:
            found = connection.execute("SELECT status FROM chunks WHERE job_id = %s", [job_id])
            return {status for (status,) in found}

    def await_chunks(self, job_id: str, status: str, seconds: float) -> None:
        """Wait until all of the job's chunks are so."""
        eventually(lambda: self.chunks(job_id) == {status}, seconds, f"chunks that are {status}")

    def kill_engine(self) -> None:
        """SIGKILL the one engine there is."""
        below = psutil.Process(self.parts["worker"].pid).children(recursive=True)
        (engine,) = [child for child in below if kind_of(child) == "engine"]
        engine.kill()

    def devices(self) -> list[dict[str, Any]]:
        (group,) = self.http.get("/groups").json()["data"]
        devices: list[dict[str, Any]] = group["devices"]
        return devices

    def states(self) -> list[str]:
        return [device["state"] for device in self.devices()]

    def resume(self) -> None:
        """As an operator who has mended the devices; then both are free."""
        assert self.http.post("/groups/local/resume").status_code == 200
        eventually(lambda: self.states() == ["free", "free"], 30, "free devices")


@pytest.fixture(scope="module")
def running(
    postgres: Postgres, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Remedied]:
    folder = tmp_path_factory.mktemp("remedies")
    with postgres.database() as database_url:
        env = settings(database_url, redis_url, folder, folder / "models") | {
            "EVALQ_LEASE_SECONDS": "8",
            "EVALQ_IDLE_SECONDS": "0",
            "EVALQ_RESEND_SECONDS": "2",
        }
        service = Remedied(env, folder)
        service.model = make_model(folder / "models" / "tiny")
        with service:
            yield service


@pytest.fixture
def stack(running: Remedied) -> Remedied:
    """The stack with two free devices."""
    running.resume()
    return running


@pytest.mark.parametrize("moment", ["loading", "answering"])
def test_an_engine_without_room_gets_twice_the_devices(stack: Remedied, moment: str) -> None:
    job = stack.run(stack.echo(needs_devices=2, fails_while=moment))
    assert job["error"] is None
    first, second = job["replicas"]
    assert (first["status"], len(first["devices"])) == ("failed", 1)
    assert first["error"]["code"] == "gpu_out_of_memory"
    assert any("CUDA out of memory" in line for line in first["error"]["log_tail"])
    assert len(second["devices"]) == 2
    assert stack.changes(job["id"]) == ["devices of one replica 1 -> 2"]
    assert job["plan"]["gpus_per_replica"] == 2
    assert "devices of one replica 1 -> 2, after gpu_out_of_memory" in job["plan"]["explanation"]
    (step,) = stack.results(job["id"])["evalq"]["ladder"]
    assert (step["change"], step["code"]) == ("devices of one replica 1 -> 2", "gpu_out_of_memory")


def test_a_failure_without_a_remedy_says_what_was_tried(stack: Remedied) -> None:
    job = stack.finished(stack.submit(stack.echo(needs_devices=8)), 120)
    error = job["error"]
    assert (job["status"], error["code"]) == ("failed", "gpu_out_of_memory")
    assert [(attempt["change"], attempt["outcome"]) for attempt in error["attempts"]] == [
        (None, "gpu_out_of_memory"),
        ("devices of one replica 1 -> 2", "gpu_out_of_memory"),
    ]
    assert [attempt["replica"] for attempt in error["attempts"]] == [r["id"] for r in job["replicas"]]
    assert error["log_tail"]
    assert "give it more GPUs" in error["hint"]


def test_a_width_that_was_asked_for_is_kept(stack: Remedied) -> None:
    job = stack.finished(
        stack.submit(stack.echo(needs_devices=2, fail_on="x") | {"gpus_per_replica": 1}), 120
    )
    assert (job["status"], job["error"]["code"]) == ("failed", "gpu_out_of_memory")
    assert "asks for 1 device per replica and gets no more" in job["error"]["hint"]
    assert stack.changes(job["id"]) == []


def test_two_jobs_of_a_failing_engine_both_go_on_with_the_shorter_one(stack: Remedied) -> None:
    body = stack.echo(max_model_len=256, longest=64)
    ids = [stack.submit(body), stack.submit(body)]
    jobs = [stack.finished(job_id, 120) for job_id in ids]
    assert [job["status"] for job in jobs] == ["succeeded", "succeeded"]
    assert [stack.changes(job_id) for job_id in ids] == [["max_model_len 256 -> 64"]] * 2
    assert all("max_model_len=64" in job["plan"]["command"] for job in jobs)
    shorter = stack.run(stack.echo(max_model_len=64, longest=64))
    assert shorter["progress"]["reused"] == shorter["progress"]["total"], "answers of the length that ran"
    prompts = [stack.artifact(job["id"], "samples_e2e_choice") for job in (*jobs, shorter)]
    assert prompts[0] == prompts[1] == prompts[2]


def test_a_remedy_outlives_its_coordinators(stack: Remedied) -> None:
    stack.kill("coordinator")
    job_id = stack.submit(stack.echo(max_model_len=256, longest=128))
    for when in ("before", "after"):  # the one that the first one could not commit is taken by the second
        stack.start("coordinator", EVALQ_FAILPOINT=f"{when}:remedies.take:1:any", PYTHONPATH=str(HOOKS))
        assert stack.parts["coordinator"].wait(120) == -signal.SIGKILL
    stack.start("coordinator")
    job = stack.finished(job_id, 120)
    assert job["status"] == "succeeded", job
    assert stack.changes(job_id) == ["max_model_len 256 -> 128"]


def test_progress_moves_inside_a_chunk_and_falls_with_the_name_of_the_engine_that_died(
    stack: Remedied,
) -> None:
    job_id = stack.submit(stack.echo(delay_seconds=0.1) | {"tasks": ["e2e_generate"], "limit": 40})
    job = stack.until(job_id, lambda job: (job["progress"]["percent"] or 0) > 10)
    assert job["progress"]["percent"] < 100
    assert stack.chunks(job_id) == {"claimed"}, "none is answered"
    rated = stack.until(job_id, lambda job: job["progress"]["eta_seconds"])["progress"]
    assert rated["requests_per_second"] > 0
    stack.kill_engine()
    job = stack.finished(job_id)
    assert (job["status"], job["progress"]["percent"]) == ("succeeded", 100.0)
    events = stack.events(job_id)
    assert falls(events) == [job["replicas"][0]["id"]]
    assert job["replicas"][0]["status"] == "failed"


def test_a_log_of_a_shared_engine_has_nothing_of_another_job(stack: Remedied) -> None:
    body = stack.echo(fail_on="\nAnswer:", delay_seconds=0.1) | {"replicas": 1}
    ids = [stack.submit(body | {"tasks": [task]}) for task in ("e2e_generate", "e2e_choice")]
    failed, well = (stack.finished(job_id, 120) for job_id in ids)
    assert (failed["status"], well["status"]) == ("failed", "succeeded")
    assert len({replica["id"] for job in (failed, well) for replica in job["replicas"]}) == 1
    log_of_failed, log_of_well = (stack.http.get(f"/jobs/{job_id}/logs").text for job_id in ids)
    assert "EchoError" in log_of_failed
    assert "EchoError" not in log_of_well
    assert "loaded in" in log_of_failed
    assert "loaded in" in log_of_well


def test_a_request_that_ends_engines_is_found_and_the_others_are_answered(stack: Remedied) -> None:
    spec = stack.echo(stream=True, window=8, dies_on=DEADLY) | {"tasks": ["e2e_generate"], "limit": 12}
    job = stack.finished(stack.submit(spec), 180)
    assert job["status"] == "partially_failed"
    errors = stack.http.get(f"/jobs/{job['id']}/samples", params={"filter": "error"}).json()["data"]
    assert [DEADLY in str(sample) for sample in errors] == [True]
    deaths = [replica["error"] for replica in job["replicas"] if replica["error"]]
    assert all("EchoCore died unexpectedly (exit code: -11)" in death["message"] for death in deaths)
    assert 3 <= len(deaths) <= 6, "twice as a whole, then by halves"


def test_a_job_that_is_paused_leaves_its_engine_to_the_others(stack: Remedied) -> None:
    slow = stack.echo(stream=True, window=64, delay_seconds=0.2) | {"replicas": 1}
    paused, other = (stack.submit(slow | {"limit": limit}) for limit in (9, 5))
    stack.await_chunks(paused, "claimed", 60)
    stack.await_chunks(other, "claimed", 60)
    assert stack.http.post(f"/jobs/{paused}/pause").status_code == 200
    stack.await_chunks(paused, "waiting", 5)
    assert stack.chunks(other) == {"claimed"}
    job = stack.finished(other)
    assert job["status"] == "succeeded"
    assert [replica["error"] for replica in job["replicas"]] == [None]
    assert stack.http.post(f"/jobs/{paused}/resume").status_code == 200
    stack.http.post(f"/jobs/{paused}/cancel")


def test_memory_in_use_is_waited_for_and_then_left_to_the_others(stack: Remedied) -> None:
    job = stack.run(stack.echo(free_share=0.65))
    assert stack.changes(job["id"]) == ["gpu_memory_utilization 0.9 -> 0.64"]
    assert [r["status"] for r in job["replicas"]][:2] == ["failed", "failed"]
    assert job["replicas"][0]["error"]["code"] == "engine_start_failed"


@pytest.mark.parametrize("moment", ["loading", "answering"])
def test_a_broken_device_is_drained_until_it_is_resumed(stack: Remedied, moment: str) -> None:
    job = stack.run(stack.echo(fails_with="ecc", fails_on=0, fails_while=moment))
    broken, sound = stack.devices()
    assert (broken["state"], broken["reason"][:23]) == ("drained", "uncorrectable ECC error")
    assert sound["state"] in {"held", "dirty", "free"}
    failed, *others = job["replicas"]
    assert (failed["status"], failed["devices"]) == ("failed", [broken["id"]])
    assert {tuple(replica["devices"]) for replica in others} == {(sound["id"],)}
    stack.kill("worker")
    stack.start("worker")
    eventually(lambda: stack.states() == ["drained", "free"], 30, "the device drained, whoever looks at it")
    stack.resume()


def test_devices_that_cannot_talk_are_left_and_drained_the_second_time(stack: Remedied) -> None:
    for attempt in range(2):
        job = stack.run(stack.echo(fails_with="nccl", fails_on=0, delay_seconds=attempt / 1000))
        assert [r["error"]["code"] for r in job["replicas"] if r["error"]] == ["nccl_error"]
        eventually(lambda: stack.states()[1] == "free", 30, "the replica's end")
        assert stack.states()[0] == ("drained" if attempt else "free")
    assert stack.devices()[0]["reason"].startswith("two NCCL errors in a row")
