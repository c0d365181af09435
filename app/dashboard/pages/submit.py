"""Submit: paste what you would type, look at the plan, submit; the same checks and services as `POST /v1/jobs`."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import anyio
from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from app.dashboard.forms import Form
from app.dashboard.rendering import page
from app.dashboard.routing import pages
from app.dashboard.views.submit import (
    Draft,
    begins,
    beside_boxes,
    changed,
    draft_of,
    elsewhere,
    fields_of,
    in_words,
    memory_bars,
    read_fields,
    written,
)
from app.dashboard.words import as_json
from app.domain.estimates import Outstanding
from app.domain.ids import uuid7
from app.domain.keys import Caller, Role
from app.domain.line import InLine
from app.domain.plan import Plan
from app.errors import (
    BusyError,
    DatabaseError,
    EvalqError,
    FaultyField,
    IdempotencyInFlightError,
    InvalidJobError,
    InvalidRequestError,
    UnknownJobError,
)
from app.posting.job_body import JobIn
from app.posting.shape import shape_faults
from app.posting.submitting import body_hash, checked, stored
from app.web.deps import CallerDep, Services, ServicesDep, Word
from app.web.problems import Problem, problem_of
from app.workloads.lm_eval.reading.pasted import pasted
from app.workloads.lm_eval.reading.read import Submission

LINK = ("Submit", "/submit")
AGAIN_SECONDS = 0.2
MOST_TIMES = 50
"""A second click is answered when the first one is, which takes seconds at most."""
_WAY = re.compile(r"way-([0-9]{1,3})")
router = pages()
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Looked:
    """What came of a draft that was checked."""

    given: Mapping[str, Any]
    plan: Plan | None = None
    submission: Submission | None = None
    problem: Problem | None = None
    begins: str = ""


@router.get("/submit")
async def read_submit(
    request: Request, services: ServicesDep, caller: CallerDep, clone: Word = "", way: int | None = None
) -> Response:
    """An empty form; with `clone` that of a job, with `way` as its failure says that it would fit."""
    once = str(uuid4())
    if not clone:
        return await run_in_threadpool(_page, request, caller, Draft(once=once), None)
    text = await run_in_threadpool(_text_of, services, caller, clone, way)
    draft = Draft(text, once=once)
    looked = await _looked(services, caller, draft)
    return await run_in_threadpool(_page, request, caller, draft, looked)


@router.post("/submit")
async def send_submit(request: Request, services: ServicesDep, caller: CallerDep, form: Form) -> Response:
    """Read and plan, take a way out, or submit; what is refused comes back with all that was typed."""
    draft, wanted = draft_of(form), form.one("do", "plan")
    if wanted == "submit":
        return await _submit(request, services, caller, draft)
    looked = await _looked(services, caller, draft)
    if taken := _WAY.fullmatch(wanted):
        ways = looked.plan.ways_out if looked.plan else ()
        if int(taken[1]) < len(ways):
            text = changed(looked.given, ways[int(taken[1])].change)
            draft = Draft(text, once=draft.once)
            looked = await _looked(services, caller, draft)
    return await run_in_threadpool(_page, request, caller, draft, looked)


async def _submit(request: Request, services: Services, caller: Caller, draft: Draft) -> Response:
    for _ in range(MOST_TIMES):
        try:
            job = await services.turns.take(len(draft.text), partial(_store, services, caller, draft))
        except IdempotencyInFlightError:  # a second click
            await anyio.sleep(AGAIN_SECONDS)
        except DatabaseError:
            raise
        except EvalqError as error:
            looked = await _looked(services, caller, draft)
            looked = replace(looked, problem=problem_of(error))
            status = looked.problem.status if looked.problem else 422
            return await run_in_threadpool(_page, request, caller, draft, looked, status)
        else:
            return RedirectResponse(job, 303)
    raise IdempotencyInFlightError("this form is still being read: look at the queue in a moment")


def _store(services: Services, caller: Caller, draft: Draft) -> str:
    fields = fields_of(draft)
    key = f"page-{draft.once}-{body_hash(fields)}" if re.fullmatch("[ -~]+", draft.once) else None
    job, _ = stored(services, fields, caller, key)
    return f"/jobs/{job.id}"


async def _looked(services: Services, caller: Caller, draft: Draft) -> Looked:
    try:
        looked = await services.turns.take(len(draft.text), partial(_look, services, caller, draft))
    except BusyError as error:
        return Looked({}, problem=problem_of(error))
    if looked.submission is None:
        return looked
    found = await services.turns.aside(partial(_begins, services, caller, looked.submission))
    return replace(looked, begins=found)


def _look(services: Services, caller: Caller, draft: Draft) -> Looked:
    given: Mapping[str, Any] = {}
    try:
        fields = fields_of(draft)
        given = _given(services, fields)
        submission = checked(services, fields, caller.role)
    except InvalidJobError as error:
        plan = error.plan if isinstance(error.plan, Plan) else None
        return Looked(given, plan, problem=problem_of(error))
    except DatabaseError:
        raise
    except EvalqError as error:
        return Looked(given, problem=problem_of(error))
    return Looked(given, submission.plan, submission)


def _begins(services: Services, caller: Caller, found: Submission) -> str:
    """When it would, where it could and that can be said: the plan is told all the same."""
    if found.waits_for:
        return ""
    engine, now = found.engine, datetime.now(UTC)
    line = InLine(uuid7(), caller.team, caller.name, found.spec.priority, now, devices=engine.gpus)
    try:
        return begins(services.estimates.would(Outstanding(line, engine, found.plan, prepared=False)))
    except Exception:
        log.exception("could not tell when a job would begin")
        return ""


def _given(services: Services, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields with a command read, where it can be."""
    beside = {name: fields[name] for name in ("command", "variables", "files") if name in fields}
    if shape_faults(JobIn, beside):
        return fields
    try:
        return pasted(fields, services.settings.env_allowed).given
    except InvalidJobError:
        return fields


def _text_of(services: Services, caller: Caller, job: str, way: int | None) -> str:
    """A job as somebody might have written it; UnknownJobError where it is none, or another team's."""
    try:
        job_id = UUID(job)
    except ValueError:
        raise UnknownJobError(f"there is no job {job!r}: an id looks like {UUID(int=0)}") from None
    services.jobs.check_seen(job_id, caller.sees)
    view = services.jobs.view(job_id)
    fields = written(view.spec)
    if way is None:
        return as_json(fields)
    ways = view.job.error.ways_out if view.job.error else ()
    if not 0 <= way < len(ways):
        raise InvalidRequestError([FaultyField("query.way", "the job's failure tells of no such way out")])
    return changed(fields, ways[way].get("change", {}))


def _page(
    request: Request, caller: Caller, draft: Draft, looked: Looked | None, status: int = 200
) -> Response:
    problem = looked.problem if looked else None
    faults = list(problem.faults) if problem else []
    if problem and not faults:
        faults = [FaultyField("", problem.detail)]
    boxes = beside_boxes(draft, faults)
    rows = read_fields(looked.given, draft, faults) if looked else []
    plan = looked.plan if looked else None
    model = looked.submission.spec.model_name if looked and looked.submission else "the model"
    return page(
        request,
        "submit.html",
        status,
        active="Submit",
        draft=draft,
        looked=looked,
        plan=plan,
        plan_line=in_words(plan, model) if plan else "",
        bars=memory_bars(plan.memory) if plan and plan.memory else [],
        rows=[row for row in rows if row.name not in {"variables", "files", "command"}],
        refused=problem is not None,
        submission=looked.submission if looked else None,
        beside=boxes,
        faults=elsewhere(faults, [row for row in rows if row.name != "command"], boxes),
        may_submit=caller.role.permits(Role.SUBMITTER),
    )
