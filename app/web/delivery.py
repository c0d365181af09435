"""How answers travel: a tag by which a client asks whether it has them already, compressed where it can read that."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web.preference import preferred

LEAST_BYTES = 1024
"""What is shorter travels no faster when it is compressed."""
LARGE_BYTES = 64 * 1024
"""What is longer is not compressed on the event loop, where all others wait."""
_QUICK = 4
"""A level at which JSON becomes nearly as small as at the highest, in a quarter of the time."""


class Delivery:
    """Tags and compresses what is whole; what is sent in pieces goes by as it comes, so that nobody waits for it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._app(scope, receive, _Parcel(scope, send).send)


class _Parcel:
    """One answer on its way: its head waits for its body."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._reads = scope["method"] == "GET"
        self._asked = Headers(scope=scope)
        self._send = send
        self._head: Message | None = None

    async def send(self, message: Message) -> None:
        """Pass a message on, or hold it until it is known whether the answer is whole."""
        if message["type"] == "http.response.start":
            self._head = _private(message) if self._reads else message
            if not _whole(message):
                await self._let_go()
            return
        if self._head is None:
            await self._send(message)
            return
        head, self._head = self._head, None
        if message["type"] != "http.response.body" or message.get("more_body"):
            await self._send(head)
            await self._send(message)
            return
        await self._deliver(head, message.get("body", b""))

    async def _let_go(self) -> None:
        head, self._head = self._head, None
        if head is not None:
            await self._send(head)

    async def _deliver(self, head: Message, body: bytes) -> None:
        if len(body) > LARGE_BYTES:
            body = await run_in_threadpool(self._packed, head, body)
        else:
            body = self._packed(head, body)
        await self._send(head)
        await self._send({"type": "http.response.body", "body": body})

    def _packed(self, head: Message, body: bytes) -> bytes:
        """The body as it is sent; its head is changed with it."""
        headers = MutableHeaders(scope=head)
        if len(body) >= LEAST_BYTES:
            headers.add_vary_header("Accept-Encoding")
        if self._reads and head["status"] == 200:
            headers["ETag"] = tag = f'W/"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
            if known(self._asked.get("if-none-match", ""), tag):
                head["status"] = 304
                del headers["content-length"], headers["content-type"]
                return b""
        if len(body) >= LEAST_BYTES and "content-encoding" not in headers and _reads_gzip(self._asked):
            body = gzip.compress(body, _QUICK, mtime=0)
            headers["Content-Encoding"] = "gzip"
            headers["Content-Length"] = str(len(body))
        return body


def _whole(head: Message) -> bool:
    """Whether its length is known before it is sent: that of a stream is not."""
    return any(name == b"content-length" for name, _ in head["headers"])


def _private(head: Message) -> Message:
    """What one caller may see is not kept for others, and asked for again; it depends on how it was asked for."""
    headers = MutableHeaders(scope=head)
    headers.setdefault("Cache-Control", "private, no-cache")
    for name in ("Accept", "Authorization", "Cookie"):
        headers.add_vary_header(name)
    return head


def known(sent: str, tag: str) -> bool:
    """Whether a client that sends these tags has this one (RFC 9110, 13.1.2: compared weakly)."""
    tags = {each.strip().removeprefix("W/") for each in sent.split(",")}
    return "*" in tags or tag.removeprefix("W/") in tags


def _reads_gzip(asked: Mapping[str, str]) -> bool:
    """Whether the client would rather have it so (RFC 9110, 12.5.3)."""
    return preferred(asked.get("accept-encoding", ""), "identity", "gzip") == "gzip"
