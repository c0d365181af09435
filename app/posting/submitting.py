"""Submitting, by the API and by a page alike: checked whole, stored once."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

from app.asking import working_on
from app.domain.job import Job
from app.domain.keys import Caller, Role
from app.domain.priorities import nearest, priority_faults
from app.errors import InvalidJobError
from app.posting.job_body import JobIn
from app.posting.shape import root, shape_faults
from app.web.deps import Services
from app.workloads.lm_eval.reading.read import Submission
from app.workloads.lm_eval.spec import LmEvalSpec

log = logging.getLogger(__name__)


def stored(
    services: Services, fields: Mapping[str, Any], caller: Caller, idempotency_key: str | None
) -> tuple[Job, bool]:
    """The job, and whether it is new: the same key and body give the first one. The log names job and request."""
    job, created = _stored(services, fields, caller, idempotency_key)
    with working_on("job", job.id), working_on("trace", job.trace_id):
        log.info("submitted" if created else "submitted before")
    return job, created


def _stored(
    services: Services, fields: Mapping[str, Any], caller: Caller, idempotency_key: str | None
) -> tuple[Job, bool]:
    def check() -> Submission:
        return checked(services, fields, caller.role)

    if idempotency_key is None:
        return services.jobs.submit(check(), caller.name, team=caller.team)
    return services.jobs.submit_once(check, caller.name, idempotency_key, body_hash(fields), caller.team)


def body_hash(fields: Mapping[str, Any]) -> str:
    """What tells two bodies apart."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def checked(services: Services, fields: Mapping[str, Any], role: Role) -> Submission:
    """A job that can run, or InvalidJobError with the faults of shape and of meaning together."""
    bounds = services.settings.priority_bounds
    faults = shape_faults(JobIn, fields)
    faults += priority_faults(fields.get("priority"), role, bounds)
    misshapen = {root(fault) for fault in faults}
    fair = {name: value for name, value in fields.items() if name not in misshapen}
    if role in bounds and fair.get("priority") is None:
        fair["priority"] = nearest(LmEvalSpec.priority, role, bounds)
    try:
        submission = services.submissions.check(fair)
    except InvalidJobError as error:
        meant = [fault for fault in error.named if root(fault) not in misshapen]
        raise InvalidJobError([*faults, *meant], error.more, error.plan) from None
    if faults:
        raise InvalidJobError(faults, plan=submission.plan)
    return submission
