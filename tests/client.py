"""A running service, seen by who posts jobs to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

TERMINAL = {"succeeded", "partially_failed", "failed", "cancelled"}


def eventually(look: Callable[[], T | None], seconds: float, what: str) -> T:
    """What `look` finds, asked again until it is not None or false; an AssertionError names what never came."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:g} s: {what}")


class Client:
    """Posts jobs and waits for them; `logs` says where to look when something never comes."""

    def __init__(self, port: int, logs: object) -> None:
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", timeout=70, trust_env=False)
        self._root = f"http://127.0.0.1:{port}"
        self._logs = logs

    def await_ready(self, seconds: float = 90.0) -> None:
        """Until the API answers and the group has its devices."""
        eventually(self.api_ready, seconds, f"a ready API; see {self._logs}")
        eventually(self._group_ready, seconds, f"a group with free devices; see {self._logs}")

    def submit(self, body: Mapping[str, Any]) -> str:
        """Post a job; its id."""
        answer = self.http.post("/jobs", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        """The job now."""
        answer = self.http.get(f"/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def until(
        self, job_id: str, holds: Callable[[dict[str, Any]], bool], seconds: float = 120
    ) -> dict[str, Any]:
        """The job once something holds of it; the API may be down meanwhile."""

        def look() -> dict[str, Any] | None:
            try:
                job = self.job(job_id)
            except httpx.TransportError:
                return None
            return job if holds(job) else None

        return eventually(look, seconds, f"job {job_id} as wanted; see {self._logs}")

    def finished(self, job_id: str, seconds: float = 240) -> dict[str, Any]:
        """The job once it is terminal."""
        return self.until(job_id, lambda job: job["status"] in TERMINAL, seconds)

    def run(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Post a job and wait for it to succeed."""
        job = self.finished(self.submit(body))
        assert job["status"] == "succeeded", job
        return job

    def events(self, job_id: str) -> list[dict[str, Any]]:
        """The job's log so far."""
        answer = self.http.get(f"/jobs/{job_id}/events", headers={"Accept": "application/json"})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    def results(self, job_id: str) -> dict[str, Any]:
        """lm-eval's document."""
        answer = self.http.get(f"/jobs/{job_id}/results")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def artifact(self, job_id: str, beginning: str) -> str:
        """The one file of the job whose name begins so."""
        names = [item["name"] for item in self.http.get(f"/jobs/{job_id}/artifacts").json()["data"]]
        (name,) = [name for name in names if name.startswith(beginning)]
        return self.http.get(f"/jobs/{job_id}/artifacts/{name}").text

    def api_ready(self) -> bool:
        """Whether the API says that it is."""
        try:
            return httpx.get(f"{self._root}/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def _group_ready(self) -> bool:
        groups = self.http.get("/groups").json()["data"]
        return any(device["state"] != "dirty" for group in groups for device in group["devices"])


def falls(events: Iterable[Mapping[str, Any]]) -> list[str | None]:
    """Wherever a job's events tell that less is done than before: the dead replica that they named since, or None.

    A retry begins anew; of a job that gave a task up there is less to be done.
    """
    done, total, named = 0, 0, None
    found: list[str | None] = []
    for event in events:
        data = event["data"]
        match event["type"]:
            case "job.queued":
                done = 0
            case "job.retrying":
                named = data.get("replica", named)
            case "job.progress":
                if data["done"] < done and data["total"] >= total:
                    found.append(named)
                done, total, named = data["done"], data["total"], None
    return found
