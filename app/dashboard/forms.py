"""What forms send: read within bounds, and only from pages of the sign-in they act for."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from app.errors import CrossSiteError, FaultyField, InvalidRequestError
from app.web.callers import OPEN, SAFE
from app.web.deps import ServicesDep
from app.web.problems import MalformedJsonError, TooLargeError, TooSlowError

FIELD = "change_token"
"""Of every form that changes something."""
MOST_BYTES = 13 * 1024 * 1024
"""As it is sent, where most characters of JSON are three bytes."""
MOST_TEXT_BYTES = 4 * 1024 * 1024
"""Of one field, as over the API."""
MOST_OPEN_BYTES = 16 * 1024
"""Where no key is asked for: a key and a path."""
MOST_FIELDS = 2000
READ_SECONDS = 60.0


@dataclass(frozen=True)
class Sent:
    """The fields of a form, in the order of the page."""

    fields: Sequence[tuple[str, str]] = ()

    def one(self, name: str, otherwise: str = "") -> str:
        """The first value of a field."""
        return next((value for key, value in self.fields if key == name), otherwise)

    def all(self, name: str) -> list[str]:
        """Every value of a field, as ticked boxes have them."""
        return [value for key, value in self.fields if key == name]


async def checked_form(request: Request, services: ServicesDep) -> Sent:
    """What was posted; CrossSiteError where it does not carry the token of its sign-in. Nothing for other methods."""
    if request.method in SAFE:
        return Sent()
    most = MOST_OPEN_BYTES if request.scope["route"].path in OPEN else MOST_BYTES
    body = await _read(request, most)
    sent = await services.turns.take(len(body), partial(_fields, body))
    sign_in = getattr(request.state, "sign_in", None)
    if sign_in is not None:
        wanted = await run_in_threadpool(services.sign_ins.change_token, sign_in)
        if not wanted or not hmac.compare_digest(sent.one(FIELD).encode(), wanted.encode()):
            raise CrossSiteError(
                "this form is not of your sign-in: open the page again and send it from there"
            )
    return sent


Form = Annotated[Sent, Depends(checked_form)]


async def _read(request: Request, most: int) -> bytes:
    sent = bytearray()
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for piece in request.stream():
                sent += piece
                if len(sent) > most:
                    raise TooLargeError(f"this form has at most {most // 1024} KiB as it is sent")
    except TimeoutError as error:
        raise TooSlowError(f"the form did not arrive within {READ_SECONDS:.0f} s") from error
    return bytes(sent)


def _fields(sent: bytes) -> Sent:
    try:
        fields = parse_qsl(
            sent.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS
        )
    except ValueError as error:
        raise MalformedJsonError(f"this is no form of a page: {error}") from error
    if any(len(text.encode()) > MOST_TEXT_BYTES for _, text in fields):
        raise TooLargeError(f"a field has at most {MOST_TEXT_BYTES // 1024**2} MiB")
    if faults := [FaultyField(name, "holds a NUL character") for name, text in fields if "\0" in name + text]:
        raise InvalidRequestError(faults)
    return Sent(tuple(fields))
