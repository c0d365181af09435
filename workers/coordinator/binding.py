"""A job in a coordinator's hands: a stand-in for its backend may have come, or what it was planned for be gone."""

from __future__ import annotations

from app.backends.standing_in import that_serve
from app.domain.job import Job
from app.errors import InvalidJobError
from app.services.coordination import CoordinationService
from app.settings import Settings
from app.workloads.lm_eval.reading.read import read_again, read_waiting
from app.workloads.lm_eval.spec import LmEvalSpec
from workers.coordinator.attempt import Attempt


def rebound(coordination: CoordinationService, settings: Settings, attempt: Attempt, job: Job) -> Job | None:
    """The job on the backend that serves it now; None where it stays where it is. A refusal is told once."""
    spec = LmEvalSpec.from_json(job.spec)
    if len(that_serve(spec.model)) < 2:
        return None
    groups = coordination.binding.groups()
    there = frozenset((group.name, group.there, len(group.devices)) for group in groups)
    if there == attempt.refused:
        return None
    try:
        found = read_again(spec, job.engine.backend, groups, settings)
    except InvalidJobError as error:
        attempt.refused = there
        first = error.faults[0]
        reason = (
            f"what a worker has in place of {job.engine.backend} refuses it: {first.path} {first.message}"
        )
        coordination.warn(attempt.lease, {"reason": reason})
        return None
    return coordination.binding.rebind(attempt.lease, found) if found else None


def waits_again(coordination: CoordinationService, settings: Settings, attempt: Attempt, job: Job) -> bool:
    """Put a job back whose capacity is gone, if it said that it waits; looked at when what there is has changed."""
    spec = LmEvalSpec.from_json(job.spec)
    there = coordination.waiting.capacity() if spec.wait_for_capacity else None
    if there is None or not there.settled or there.traits == attempt.seen:
        return False
    attempt.seen = there.traits
    try:
        waits_for = read_waiting(spec, there.groups, settings, coordination.waiting.recall).waits_for
    except InvalidJobError:
        return False
    if waits_for is None:
        return False
    coordination.waiting.wait_again(attempt.lease, waits_for)
    return True
