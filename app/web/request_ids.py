"""Every answer has an id: the client's own where it is sane, so that its logs and ours can be laid side by side."""

from __future__ import annotations

import re

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.asking import request_id
from app.domain.ids import uuid7
from app.domain.redaction import redact

HEADER = "X-Request-Id"
_SANE = re.compile(r"[A-Za-z0-9._:=@+/-]{1,128}")


class RequestIds:
    """Gives each request an id, tells it in the answer, and keeps it where log lines find it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call.

        The id is not taken back: the server's last handler of errors, outside of this, names it too. Each call has a
        context of its own.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = id_of(dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1"))
        request_id.set(asked)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = asked
            await send(message)

        await self._app(scope, receive, send_with_id)


def id_of(sent: str) -> str:
    """The client's own id, or a new one where it could forge a log line, holds a secret or is none."""
    return sent if _SANE.fullmatch(sent) and redact(sent) == sent else str(uuid7())
