"""What the coordinator of a job does about engines that fail: other settings, one remedy after the other, each told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.capacity import CapacityRepository
from app.db.chunks import ChunkRepository
from app.db.events import EventRepository
from app.db.histories import HistoryRepository, with_remedy
from app.db.job_leases import JobLeaseRepository
from app.db.jobs import JobRepository
from app.db.outputs import SampleRepository
from app.db.session import Sessions
from app.domain.failure import Failure
from app.domain.job import Job, Phase
from app.domain.lease import Lease
from app.domain.placement import widest
from app.domain.plan import Plan
from app.domain.remedy import Remedy, Troubles, attempts
from app.workloads.lm_eval.command.equivalent_command import to_command
from app.workloads.lm_eval.spec import LmEvalSpec


class RemedyService:
    """One transaction per method; `wake` tells readers after the commit."""

    def __init__(self, *, sessions: Sessions, wake: Callable[[UUID], None], ttl: timedelta) -> None:
        self._sessions = sessions
        self._wake = wake
        self._ttl = ttl

    def troubles(self, job: Job) -> Troubles:
        """What went wrong with the job's engine since this attempt began."""
        since = job.progress_at or job.created_at
        asked = LmEvalSpec.from_json(job.spec).asks_width
        with self._sessions.begin() as session:
            history = HistoryRepository(session)
            failed = [r for r in history.replicas(job.id) if r.failed]
            own = [r for r in failed if r.engine.key == job.engine.key and r.ended_at and r.ended_at >= since]
            return Troubles(
                failed=tuple(sorted(own, key=lambda r: r.ended_at or since, reverse=True)),
                served_at=history.last_served_at(job.engine.key, job.group),
                widest=job.engine.gpus if asked else self._widest(session, job),
                asked_width=asked,
                history=attempts(failed, history.remedies(job.id), job.engine.key),
            )

    def _widest(self, session: Session, job: Job) -> int:
        """How many devices one replica may get where none were asked for: all of the largest group it may use."""
        groups = CapacityRepository(session).groups(self._ttl)
        return widest(groups, job.engine.backend, job.group)

    def take(self, lease: Lease, remedy: Remedy, replica_id: UUID, failure: Failure) -> Job:
        """Go on with another engine spec, after this replica's failure; where that changes answers, from the start."""
        with self._sessions.begin() as session:
            leases = JobLeaseRepository(session)
            job = JobRepository(session).get(lease.id)
            change = {"change": remedy.change, "code": failure.code, "message": failure.message}
            leases.write(
                lease,
                engine=remedy.engine.to_json(),
                engine_key=remedy.engine.key,
                plan=replanned(job, remedy, failure).to_json(),
                provenance=with_remedy(change | {"engine_key": job.engine.key}),
            )
            EventRepository(session).append(lease.id, "job.retrying", change | {"replica": str(replica_id)})
            if remedy.changes_answers:
                begin_anew(session, lease, remedy.change)
            job = JobRepository(session).get(lease.id)
        self._wake(lease.id)
        return job


def begin_anew(session: Session, lease: Lease, why: str) -> None:
    """Forget what was cut and scored for the engine before; its stored answers stay, under its fingerprint."""
    reason = f"preparing prompts anew: {why}"
    ChunkRepository(session).drop(lease.id, claimed=True)
    SampleRepository(session).clear(lease.id)
    JobLeaseRepository(session).write(lease, phase=Phase.PREPARING, reason=reason, requests_done=0)
    EventRepository(session).append(lease.id, "job.phase", {"phase": Phase.PREPARING, "reason": reason})


def replanned(job: Job, remedy: Remedy, failure: Failure) -> Plan:
    """The job's plan with the remedy taken, and the command that would measure the same."""
    engine, plan = remedy.engine, job.plan
    changed = {name: value for name, value in engine.args.items() if job.engine.args.get(name) != value}
    wider = engine.gpus != job.engine.gpus
    asked = LmEvalSpec.from_json(job.spec)
    gpus = engine.gpus if wider or asked.asks_width else asked.gpus_per_replica
    own = {name: value for name, value in asked.model_args.items() if name not in _other_names(changed)}
    spec = replace(asked, model_args={**own, **changed}, gpus_per_replica=gpus)
    return replace(
        plan,
        tensor_parallel_size=engine.tensor_parallel_size,
        gpus_per_replica=engine.gpus,
        memory_per_gpu_gib=None if wider else plan.memory_per_gpu_gib,
        memory=None if wider else plan.memory,
        fit=None if wider else plan.fit,
        explanation=(*plan.explanation, f"{remedy.change}, after {failure.code}"),
        command=to_command(spec),
    )


def _other_names(changed: Mapping[str, Any]) -> frozenset[str]:
    """What a job may have called an argument that engines know by one name; both together are refused."""
    return frozenset({"max_length"} if "max_model_len" in changed else ())
