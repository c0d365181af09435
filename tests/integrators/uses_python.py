"""What an integrator writes with the client that openapi-python-client makes: run by test_clients.py."""

from __future__ import annotations

import json
import sys
from typing import Any

from evalq_client import Client
from evalq_client.api.about import read_me
from evalq_client.api.jobs import (
    cancel_job,
    cancel_jobs,
    change_job,
    list_jobs,
    read_all_events,
    read_events,
    read_job,
    submit_job,
)
from evalq_client.api.results import download_artifacts, list_artifacts, read_logs, read_results, read_samples
from evalq_client.models import (
    CancelIn,
    CancelledList,
    DryRunOut,
    EndedEvent,
    JobEventList,
    JobIn,
    JobOut,
    JobPatch,
    JobStatus,
    PlanOut,
    Problem,
    ProgressEvent,
    SnapshotEvent,
    TaskOut,
)


def main(url: str, model: str) -> None:
    """Submit, get, list, follow, read results, change, cancel; an assertion fails where a type is not what it says."""
    client = Client(base_url=url, headers={"Accept": "application/json, */*;q=0.1"})
    args = {"pretrained": model, "delay_seconds": 0.05}
    body = JobIn.from_dict({"model": "echo", "model_args": args, "tasks": ["e2e_choice"], "limit": 8})
    planned = submit_job.sync(client=client, body=body, dry_run=True)
    assert isinstance(planned, DryRunOut)
    assert planned.valid
    done = submit_job.sync(client=client, body=body, prefer="wait=60", idempotency_key="integrator")
    assert isinstance(done, JobOut), done
    assert done.status == JobStatus.SUCCEEDED, done
    again = submit_job.sync(client=client, body=body, idempotency_key="integrator")
    assert isinstance(again, JobOut)
    assert again.id == done.id
    read(client, str(done.id))
    change(client, JobIn.from_dict({**body.to_dict(), "model_args": {**args, "delay_seconds": 5}}))
    refused = submit_job.sync(
        client=client, body=JobIn.from_dict({**body.to_dict(), "tasks": ["e2e_choise"]})
    )
    assert isinstance(refused, Problem)
    assert [fault.path for fault in refused.errors] == ["tasks.0"]


def read(client: Client, job_id: str) -> None:
    """All that a job that has ended leaves behind."""
    page: Any = list_jobs.sync(client=client, fields="plan,tasks", limit=1)
    assert str(page.data[0].id) == job_id
    assert isinstance(page.data[0].plan, PlanOut)
    assert isinstance(page.data[0].tasks[0], TaskOut)
    events = read_events.sync(job_id, client=client)
    assert isinstance(events, JobEventList)
    assert any(isinstance(event, ProgressEvent) and event.data.percent > 0 for event in events.data)
    everybodys: Any = read_all_events.sync(client=client, limit=1000)
    assert job_id in {str(event.job_id) for event in everybodys.data}
    last = events.data[-1]
    assert isinstance(last, EndedEvent)
    assert [type(event) for event in streamed(client, job_id)][-1] is EndedEvent
    results: Any = read_results.sync(job_id, client=client)
    assert "acc,none" in results["results"]["e2e_choice"]
    samples: Any = read_samples.sync(job_id, client=client, limit=2)
    assert len(samples.data) == 2
    assert samples.next_cursor
    logs = read_logs.sync(job_id, client=client, tail=2)
    assert isinstance(logs, str)
    assert len(logs.splitlines()) <= 2
    files: Any = list_artifacts.sync(job_id, client=client)
    assert len(files.data) == 2
    assert download_artifacts.sync_detailed(job_id, client=client).content.startswith(b"PK")
    me: Any = read_me.sync(client=client)
    sys.stdout.write(f"{me.role} read {len(events.data)} events\n")


def streamed(client: Client, job_id: str) -> list[Any]:
    """The events as a stream sends them: the first is a snapshot of the job."""
    headers = {"Accept": "text/event-stream"}
    with client.get_httpx_client().stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        sent = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    events = JobEventList.from_dict({"data": [json.loads(data) for data in sent]}).data
    assert isinstance(events[0], SnapshotEvent)
    assert events[0].data.status == JobStatus.SUCCEEDED
    return events


def change(client: Client, slow: JobIn) -> None:
    """A job is renamed and cancelled, another one with many."""
    job, other = (submit_job.sync(client=client, body=slow) for _ in range(2))
    assert isinstance(job, JobOut)
    assert isinstance(other, JobOut)
    changed = change_job.sync(str(job.id), client=client, body=JobPatch.from_dict({"tags": ["mine"]}))
    assert isinstance(changed, JobOut)
    assert (changed.tags, changed.name, changed.priority) == (["mine"], job.name, job.priority)
    assert isinstance(cancel_job.sync(str(job.id), client=client), JobOut)
    told = cancel_jobs.sync(client=client, body=CancelIn.from_dict({"ids": [str(other.id), "nobody"]}))
    assert isinstance(told, CancelledList)
    assert [str(each.outcome) for each in told.data][1] == "unknown"
    gone = read_job.sync("nobody", client=client)
    assert isinstance(gone, Problem)
    assert gone.code == "unknown_job"


if __name__ == "__main__":
    main(*sys.argv[1:])
