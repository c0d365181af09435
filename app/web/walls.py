"""What a browser may do with our answers: headers that hold whatever stands in a page."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OWN = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
_SWAGGER = f"{_OWN}; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
DOCS = "/docs"
"""The one page whose script writes styles into it."""

WALLS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def walls(path: str) -> dict[str, str]:
    """The headers of an answer at a path."""
    return {"Content-Security-Policy": _SWAGGER if path == DOCS else _OWN, **WALLS}


class Walls:
    """Puts them around every answer: what is no page might be opened as one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_walled(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(walls(scope["path"]))
            await send(message)

        await self._app(scope, receive, send_walled)
