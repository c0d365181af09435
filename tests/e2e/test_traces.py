"""One trace from the request that posts a job to its result, whatever dies on the way; a bad collector harms nobody."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from app.domain.trace import TraceParent
from app.log_lines import CHILDREN
from tests.collector import Collector, collecting
from tests.e2e.stack import Stack, settings
from tests.faults.model import make_model
from tests.servers import Postgres
from tests.waiting import until

SPANS = ("POST /v1/jobs", "run", "prepare", "look up", "wait", "score", "answer on a replica")


class Traced(Stack):
    """A stack with a collector, and a model that answers at once or in minutes."""

    collector: Collector
    model: str

    def post(self, delay_seconds: float = 0.0, **more: Any) -> tuple[str, TraceParent]:
        """A job, and what its client asked under."""
        client = TraceParent.new()
        args = {"pretrained": self.model, "delay_seconds": delay_seconds}
        body = {"model": "echo", "model_args": args, "tasks": ["e2e_choice"], "reuse_responses": False} | more
        answer = self.http.post("/jobs", json=body, headers={"traceparent": str(client)})
        assert answer.status_code == 202, answer.text
        job = answer.json()
        assert job["trace_id"] == client.trace_id
        return job["id"], client


@pytest.fixture(scope="module")
def stack(postgres: Postgres, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    folder = tmp_path_factory.mktemp("traces")
    model = make_model(folder / "models" / "tiny")
    with postgres.database() as database_url, collecting() as collector:
        env = settings(database_url, redis_url, folder, model.parent) | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "EVALQ_LOG_FORMAT": "json",
        }
        running = Traced(env, folder, devices="cpu:1")
        running.collector, running.model = collector, str(model)
        with running:
            yield running


def test_one_trace_leads_from_the_request_to_the_result(stack: Traced) -> None:
    job_id, client = stack.post()
    assert stack.finished(job_id)["status"] == "succeeded"
    found = stack.collector.awaited(*SPANS, trace_id=client.trace_id)
    post, run, stay = found["POST /v1/jobs"], found["run"], found["answer on a replica"]
    assert post.parent_id == client.span_id
    assert run.parent_id == stay.parent_id == post.span_id
    assert {found[name].parent_id for name in ("prepare", "look up", "wait", "score")} == {run.span_id}
    assert {span.service for span in found.values()} == {"evalq-api", "evalq-coordinator", "evalq-worker"}
    assert (run.service, stay.service) == ("evalq-coordinator", "evalq-worker")
    assert stay.attributes["evalq.job.id"] == run.attributes["evalq.job.id"] == job_id
    assert stay.attributes["evalq.chunks"] > 0
    assert not any(span.failed for span in found.values())


def test_log_lines_of_every_process_name_job_and_trace(stack: Traced) -> None:
    job_id, client = stack.post(limit=5)
    stack.finished(job_id)
    for part, words in (
        ("api", "submitted"),
        ("coordinator", "let go"),
        ("worker", "the first of its chunks"),
    ):
        until(lambda part=part: job_id in stack.told(part))  # type: ignore[misc]
        records = [json.loads(line) for line in stack.told(part).splitlines() if job_id in line]
        [said] = [each for each in records if each["message"].startswith(words) and each.get("job") == job_id]
        assert said["trace"] == client.trace_id
    written = [json.loads(line) for line in stack.told("worker").splitlines() if f'"{CHILDREN}"' in line]
    assert any("loaded in" in each["message"] for each in written)
    assert all(each["replica"] for each in written)


def test_a_collector_that_refuses_or_hangs_holds_up_no_job_and_no_end(stack: Traced) -> None:
    """The last test of the stack, which it ends."""
    clients = []
    for status, hangs in ((503, False), (200, True)):
        stack.collector.status, stack.collector.hangs = status, hangs
        before = stack.collector.asked
        job_id, client = stack.post(limit=5)
        clients.append(client)
        assert stack.finished(job_id)["status"] == "succeeded"
        until(lambda before=before: stack.collector.asked > before)  # type: ignore[misc]
    for part in stack.parts.values():
        part.terminate()
    ends = {name: part.wait(20) for name, part in stack.parts.items()}
    assert ends == {"api": -signal.SIGTERM, "scheduler": 0, "coordinator": 0, "worker": 0}
    assert not any(stack.collector.spans(client.trace_id) for client in clients)
