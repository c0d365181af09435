"""Problems as pages: what went wrong, what was not changed, and where to go on."""

from __future__ import annotations

import json
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from app.asking import request_id
from app.dashboard.rendering import page
from app.web.callers import SAFE
from app.web.problems import Problem
from app.web.request_ids import HEADER

SIGN_IN = "/sign-in"
MOST_NEXT = 1000
"""Of a path to go on at, as the form of signing in takes it."""


def as_page(request: Request, problem: Problem) -> Response:
    """The answer that carries an error to a person; who is not known is asked to sign in."""
    headers = {**problem.headers, HEADER: request_id.get() or ""}
    if problem.status == 401:
        return _to_sign_in(request, headers)
    text = json.dumps(_told(problem), indent=1, ensure_ascii=False)
    return page(request, "error.html", problem.status, headers, signed_in=False, problem=problem, text=text)


def _to_sign_in(request: Request, headers: dict[str, str]) -> Response:
    """A browser's own request goes there; one of a script, whose answer would land inside a page, hears 401.

    What was typed into a form is one page back: its answer is the form of signing in itself.
    """
    if request.headers.get("hx-request"):
        return Response(status_code=401, headers=headers)
    if request.method not in SAFE:
        values = {"needed": True, "refused": False, "next": "/", "signed_in": False, "sent": True}
        return page(request, "sign_in.html", 401, headers, **values)
    wanted = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
    wanted = wanted if len(wanted) <= MOST_NEXT else "/"
    return RedirectResponse(f"{SIGN_IN}?next={quote(wanted, safe='/')}", 303, headers)


def _told(problem: Problem) -> dict[str, object]:
    return {
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "errors": [{"path": each.path, "message": each.message} for each in problem.faults],
        "request_id": request_id.get() or "",
    }
