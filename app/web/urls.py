"""Keys do not belong into URLs: browsers, proxies and shells keep those, and show them."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain.redaction import redact, secrets_in
from app.errors import FaultyField
from app.web.problems import Answer, KeyInUrlError, problem_of

ADVICE = "a key in a URL is kept where others read it: send it as `Authorization: Bearer evq_...`, and revoke this one"
CURSOR = "cursor"
"""Ours, and random enough to look like anything."""
NAMES = frozenset({"auth", "authorization", "bearer", "key"})
"""Parameters that people put keys into, beside those whose names say so anywhere."""


class NoKeysInUrls:
    """Refuses requests with a credential in their query, whatever they ask for, and repeats it nowhere."""

    def __init__(self, app: ASGIApp, *, answer: Answer) -> None:
        self._app = app
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The answer, or a problem that names the parameter."""
        faults = []
        if scope["type"] == "http":
            faults = [FaultyField(path, ADVICE) for path in keys_in(scope["query_string"])]
        if faults:
            answer = self._answer(Request(scope), problem_of(KeyInUrlError(faults)))
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def keys_in(query: bytes) -> Iterator[str]:
    """Which parameters of a query hold a credential, by their name or by what it looks like."""
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name == CURSOR:
            continue
        if (value and name.lower() in NAMES) or any(secrets_in({name: value}, "")):
            yield f"query.{redact(name)}"
