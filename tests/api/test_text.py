"""What the API answers as text, for people at a terminal."""

from __future__ import annotations

from uuid import UUID

from fastapi.testclient import TestClient

from app.domain.failure import Failure, FailureCode
from tests.api.conftest import JOB, Coordinator
from tests.domain.test_visible import HOSTILE, drives_nothing

AS_TEXT = {"Accept": "text/plain"}


def test_a_job_drives_no_terminal(api: TestClient, coordinator: Coordinator) -> None:
    args = {"pretrained": f"/models/{HOSTILE}"}
    job_id = api.post("/v1/jobs", json=JOB | {"model_args": args}).json()["id"]
    lease = coordinator.claim(job_id)
    said = f"{HOSTILE}\nstatus    succeeded\r\nstatus    succeeded"
    coordinator.service.prepared(lease, b"f" * 32, [("toy", 2)], {})
    coordinator.service.task_finished(lease, "toy", {f"acc{HOSTILE}\nx,none": 0.5})
    coordinator.service.fail(lease, Failure(FailureCode.INTERNAL, said, hint=said))
    text = api.get(f"/v1/jobs/{job_id}", headers=AS_TEXT).text
    assert drives_nothing(text)
    assert [line for line in text.splitlines() if line.startswith("status")] == ["status    partially_failed"]
    assert HOSTILE in api.get(f"/v1/jobs/{job_id}").json()["error"]["message"]


def test_a_log_drives_no_terminal(api: TestClient, job_id: str, coordinator: Coordinator) -> None:
    coordinator.claim(job_id)
    coordinator.service.add_log(UUID(job_id), f"one\r{HOSTILE}\u2028still two\x0bstill\nthree\n")
    url = f"/v1/jobs/{job_id}/logs"
    text = api.get(url).text
    assert drives_nothing(text)
    assert len(text.splitlines()) == 3
    assert api.get(url, params={"tail": 2}).text.startswith("x\\u001b]0;owned")
