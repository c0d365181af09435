"""Jobs as tests make them: a submission that passed its checks, and a doorbell that remembers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app.domain.engine_spec import EngineSpec
from app.domain.plan import Plan
from app.workloads.lm_eval.reading.read import Submission
from app.workloads.lm_eval.spec import LmEvalSpec


def submission(*, tasks: tuple[str, ...] = ("toy",), model: str = "/models/tiny", **spec: Any) -> Submission:
    """A checked job; `spec` overrides what a user may set."""
    checked = LmEvalSpec.from_json(
        {"model": "hf", "model_args": {"pretrained": model}, "tasks": list(tasks)} | spec
    )
    plan = Plan(
        backend="hf",
        tensor_parallel_size=1,
        pipeline_parallel_size=1,
        gpus_per_replica=1,
        replicas=None if checked.replicas == "auto" else checked.replicas,
        group=checked.group,
        memory_per_gpu_gib=0.5,
        explanation=("it fits on one device",),
        command=f"lm_eval run --model hf --model_args pretrained={model} --tasks {','.join(tasks)}",
    )
    return Submission(spec=checked, engine=EngineSpec("hf", model), plan=plan, tasks=tasks, notes=("a note",))


class Bell:
    """A doorbell that remembers who rang."""

    def __init__(self) -> None:
        self.jobs: list[UUID] = []
        self.replicas: list[UUID] = []
        self.woken: list[UUID] = []

    def ring_job(self, job_id: UUID) -> None:
        self.jobs.append(job_id)

    def ring_replica(self, replica_id: UUID, group: str) -> None:
        self.replicas.append(replica_id)

    def wake(self, job_id: UUID) -> None:
        self.woken.append(job_id)
