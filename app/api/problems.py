"""Problems as JSON (RFC 9457): as answers, and in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel

from app.api.schemas.job import PlanOut
from app.api.schemas.problem import Fault, ProblemOut
from app.asking import request_id
from app.errors import EvalqError, FaultyField, InvalidRequestError
from app.web.problems import ANYWHERE, STATUS, Problem, title
from app.web.request_ids import HEADER

MEDIA_TYPE = "application/problem+json"


def as_json(problem: Problem) -> JSONResponse:
    """The answer that carries an error."""
    body = ProblemOut(
        type=f"urn:evalq:problem:{problem.code}",
        title=problem.title,
        status=problem.status,
        detail=problem.detail,
        code=problem.code,
        errors=[fault_out(fault) for fault in problem.faults],
        plan=PlanOut.model_validate(problem.plan.to_json()) if problem.plan else None,
        request_id=request_id.get() or "",
    )
    content = body.model_dump(mode="json", exclude=None if problem.plan else {"plan"})
    headers = {**problem.headers, HEADER: body.request_id}
    return JSONResponse(content, problem.status, headers=headers, media_type=MEDIA_TYPE)


def fault_out(fault: FaultyField) -> Fault:
    """A fault that may be shown, as JSON shows it."""
    allowed = list(fault.allowed) if fault.allowed else None
    return Fault(path=fault.path, message=fault.message, allowed=allowed, lacking=fault.lacking)


def problems(*kinds: type[EvalqError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for these errors, and for those that any call may answer."""
    answers: dict[int | str, dict[str, Any]] = {}
    for kind in dict.fromkeys([*kinds, *ANYWHERE]):
        answer = answers.setdefault(int(STATUS[kind]), {"description": "", "content": {MEDIA_TYPE: {}}})
        answer["description"] = " ".join(
            filter(None, [answer["description"], f"`{kind.code}`: {kind.__doc__}"])
        )
        content = answer["content"][MEDIA_TYPE]
        content["schema"] = component("Problem")
        content.setdefault("examples", {})[kind.code] = {"value": _example(kind)}
    return answers


def component(named: str | type[BaseModel]) -> dict[str, str]:
    """OpenAPI's reference to a schema that has a name; `app.api.document` puts those there that no call returns."""
    return {"$ref": f"#/components/schemas/{named if isinstance(named, str) else named.__name__}"}


def _example(kind: type[EvalqError]) -> dict[str, Any]:
    faults = []
    if issubclass(kind, InvalidRequestError):
        faults = [
            {"path": "tasks.0", "message": "there is no task gsm8kk", "allowed": ["gsm8k"], "lacking": False}
        ]
    return {
        "type": f"urn:evalq:problem:{kind.code}",
        "title": title(kind),
        "status": int(STATUS[kind]),
        "detail": "; ".join(f"{fault['path']}: {fault['message']}" for fault in faults) or kind.__doc__,
        "code": kind.code,
        "errors": faults,
        "request_id": "0198c5a3-6a5e-7cc2-8a3f-1f6f2f6e0b11",
    }
