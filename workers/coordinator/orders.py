"""What a harness child is told to do: a job, with what this host knows of its tasks and backends."""

from __future__ import annotations

from collections.abc import Mapping

from app.backends import backend_key, installed
from app.domain.failure import Failure
from app.domain.job import Job
from app.settings import Settings
from app.workloads.lm_eval.spec import LmEvalSpec
from app.workloads.lm_eval.tasks.task_index import TaskIndex
from workers.protocol.frames import Frame


def order_to_evaluate(job: Job, given_up: Mapping[str, Failure], settings: Settings) -> Frame:
    """The first frame on a harness child's connection; tasks that were given up before are left out there."""
    index = TaskIndex.load(settings.task_paths)
    spec = LmEvalSpec.from_json(job.spec)
    hf_python = installed(settings.cache_dir).get("hf")
    return {
        "type": "evaluate",
        "job_id": str(job.id),
        "spec": spec.to_json(),
        "engine": job.engine.to_json(),
        "tasks": [entry.to_json() for entry in index.closure(spec.tasks)],
        "given_up": {
            name: {"code": failure.code, "message": failure.message} for name, failure in given_up.items()
        },
        "backend_key": backend_key(job.engine.backend),
        "hf_python": str(hf_python) if hf_python else None,
        "salt": None if spec.reuse_responses else str(job.id),
    }
