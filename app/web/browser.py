"""What a browser sends of itself: its sign-in, and whether a person reads what it is given."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Request, Response
from starlette.requests import cookie_parser

from app.domain.sign_in import LIFETIME
from app.web.preference import preferred

COOKIE = "evalq_sign_in"
HTML = "text/html"
PROBLEM = "application/problem+json"
PROGRAMS = ("/v1", "/healthz", "/readyz", "/metrics", "/openapi.json")
"""Paths that answer programs, whoever asks."""


def sign_in_of(headers: Mapping[str, str]) -> str | None:
    """The sign-in that a browser keeps; None where it sends none. Other programs' cookies may be of any shape."""
    return cookie_parser(headers.get("cookie", "")).get(COOKIE)


def keep_sign_in(answer: Response, cookie: str, *, secure: bool) -> None:
    """Give a browser its sign-in: scripts cannot read it, and pages of other sites do not make it be sent."""
    answer.set_cookie(
        COOKIE,
        cookie,
        max_age=int(LIFETIME.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=secure,
    )


def forget_sign_in(answer: Response) -> None:
    """Take it from the browser."""
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")


def is_for_people(request: Request) -> bool:
    """Whether an answer is to be a page: a browser asks for one, at a path that is not for programs."""
    if any(request.url.path == path or request.url.path.startswith(f"{path}/") for path in PROGRAMS):
        return False
    return preferred(request.headers.get("accept", ""), PROBLEM, HTML) == HTML
