"""A cluster of invented machines behind the API: real services, NVML's stand-in, no process beside the test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from app.domain.group import BackendReport
from app.main import create_app
from app.settings import Settings
from tests.gpus.machine import Machine, gpu
from tests.workloads.lm_eval.reading.desk import Desk
from tests.world import World
from workers.coordinator.waiting import WaitingJobs
from workers.gpu_worker.group import GroupDevices

LLAMA_70B = {"pretrained": "meta-llama/Llama-2-70b-hf", "max_model_len": 4096}
JOB: dict[str, Any] = {"model": "vllm", "model_args": LLAMA_70B, "tasks": ["ours"]}


@dataclass
class Cluster:
    """Machines that come and go, and what a user hears."""

    api: TestClient
    world: World
    machine: Machine
    settings: Settings
    watch: WaitingJobs
    tokens: dict[str, UUID] = field(default_factory=dict)
    owned: dict[str, GroupDevices] = field(default_factory=dict)
    installed: dict[str, list[BackendReport]] = field(default_factory=dict)

    def joins(
        self,
        group: str,
        *backends: str,
        gpus: Sequence[dict[str, Any]] | int = 1,
        gib: float = 80,
        broken: str | None = None,
    ) -> None:
        """A worker of this group begins on a machine of its own; a `broken` backend is there and does not work."""
        one = {"total": int(gib * 2**30)}
        machine = (
            [gpu(n, uuid=f"GPU-{group}-{n}", **one) for n in range(gpus)] if isinstance(gpus, int) else gpus
        )
        self.machine(*machine)
        role = {"worker_group": group, "worker_devices": "all"}
        self.owned[group] = GroupDevices(self.settings.model_copy(update=role))
        problems = [BackendReport(broken, problem="its torch finds no GPU")] if broken else []
        self.installed[group] = [*map(BackendReport, backends), *problems]
        self.tokens[group] = self.world.groups.register(
            name=group,
            host=f"host-{group}",
            kind="cuda",
            backends=backends,
            version="1",
            reports=self.owned[group].reports(),
            installed=self.installed[group],
        )

    def beats(self, group: str) -> None:
        """Its worker reports what its machine has become."""
        installed = self.installed[group]
        offered = [report.name for report in installed if report.problem is None]
        reports = self.owned[group].reports()
        self.world.groups.beat(group, self.tokens[group], offered, reports, installed)

    def plan(self, **fields: Any) -> dict[str, Any]:
        """A dry run's answer."""
        answer = self.api.post("/v1/jobs", params={"dry_run": "true"}, json=JOB | fields)
        assert answer.status_code == 200
        return dict(answer.json())

    def post(self, **fields: Any) -> dict[str, Any]:
        """The job, or the problem."""
        return dict(self.api.post("/v1/jobs", json=JOB | fields).json())

    def waits(self, **fields: Any) -> str:
        """The id of a job that was taken to wait."""
        return str(self.post(wait_for_capacity=True, **fields)["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.api.get(f"/v1/jobs/{job_id}").json())

    def look(self) -> int:
        """The coordinator's look at what waits."""
        return self.watch.look_once()


@pytest.fixture
def cluster(
    world: World, settings: Settings, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    """No worker yet; what changes is seen by the very next submit."""
    monkeypatch.setattr("app.main.KEPT_SECONDS", 0.0)
    roots = Desk(tmp_path).settings
    known = {"model_paths": roots.model_paths, "task_paths": roots.task_paths}
    found = settings.model_copy(update=known)
    with TestClient(create_app(found), base_url="http://127.0.0.1") as api:
        yield Cluster(
            api, world, machine, found, WaitingJobs(waiting=world.coordination.waiting, settings=found)
        )
