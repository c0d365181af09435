"""A hub that refuses: by the name that is asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REFUSALS = {"nobody/gated": (403, "GatedRepo"), "nobody/unknown": (404, "RepoNotFound")}


class _Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, code = next((said for name, said in REFUSALS.items() if name in self.path), (503, ""))
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nobody reads it."""


@contextmanager
def refusing_hub() -> Iterator[str]:
    """The address of one that runs meanwhile."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
