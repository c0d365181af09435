"""Signing in with a key, and out again."""

from __future__ import annotations

import re

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from app.dashboard.forms import Form
from app.dashboard.rendering import page
from app.dashboard.routing import pages
from app.web.browser import forget_sign_in, keep_sign_in
from app.web.deps import ServicesDep, Word

router = pages()
_OWN_PATH = re.compile(r"/(?![/\\])[!-~]*")


def own_path(wanted: str) -> str:
    """A path of this service, to go on at; what leads elsewhere leads to the start."""
    return wanted if _OWN_PATH.fullmatch(wanted) else "/"


@router.get("/sign-in")
def read_sign_in(request: Request, services: ServicesDep, next: Word = "/") -> Response:  # noqa: A002 - its name in URLs
    """The form; without keys a word that there is nothing to sign in to."""
    return _form(request, services, next)


@router.post("/sign-in")
def sign_in(request: Request, services: ServicesDep, form: Form) -> Response:
    """Give the browser its cookie and go on, or say that there is no such key."""
    cookie = services.sign_ins.begin(form.one("key").strip())
    if cookie is None:
        return _form(request, services, form.one("next"), status=422)
    answer = RedirectResponse(own_path(form.one("next")), 303)
    keep_sign_in(answer, cookie, secure=request.url.scheme == "https")
    return answer


@router.post("/sign-out")
def sign_out() -> Response:
    """Take the cookie from the browser."""
    answer = RedirectResponse("/sign-in", 303)
    forget_sign_in(answer)
    return answer


def _form(request: Request, services: ServicesDep, wanted: str, status: int = 200) -> Response:
    needed = services.keys.needed()
    return page(
        request,
        "sign_in.html",
        status,
        needed=needed,
        refused=status != 200,
        next=own_path(wanted),
        signed_in=False,
        sent=False,
    )
