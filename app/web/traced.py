"""A span for each request, named by its route: nothing that a client sent stands in it but its request id."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.asking import NAMED, request_id, trace
from app.domain.trace import TraceParent
from app.traces import Attributes, Beginning, Traces
from app.web.problems import METHODS

HEADER = b"traceparent"
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds by machines: their spans would hide all others."""
OTHER = "_OTHER"


class Traced:
    """Takes part in the trace of a client that names one, and keeps it where log lines and jobs find it."""

    def __init__(self, app: ASGIApp, *, traces: Traces) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else OTHER
        span = self._traces.begin(Beginning(method, asked_under(scope["headers"]), serves=True))
        trace.set(span.trace)
        NAMED["trace"].set(span.trace.trace_id if span.trace else None)
        status = 500  # unless it is answered

        async def send_and_see(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_see)
        finally:
            span.note(*_told(scope, method, status))
            span.end(failure=f"answered with {status}" if status >= 500 else None)


def asked_under(headers: Iterable[tuple[bytes, bytes]]) -> TraceParent | None:
    """What the client says that it asks under; nothing where it says several."""
    said = [value.decode("latin-1") for name, value in headers if name == HEADER]
    return TraceParent.parse(said[0]) if len(said) == 1 else None


def _told(scope: Scope, method: str, status: int) -> tuple[Attributes, str]:
    """Of a finished call, with the name of its span."""
    told: dict[str, str | int] = {
        "http.request.method": method,
        "http.response.status_code": status,
        "evalq.request.id": request_id.get() or "",
    }
    path = getattr(scope.get("route"), "path", None)
    return (told, method) if path is None else (told | {"http.route": path}, f"{method} {path}")
