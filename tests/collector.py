"""A collector of OpenTelemetry for tests: takes OTLP over HTTP as protobuf, and keeps what it was sent."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.waiting import until


@dataclass(frozen=True)
class Told:
    """A span as it arrived."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    seconds: float
    failed: bool
    attributes: Mapping[str, Any]
    links: tuple[str, ...]


class Collector:
    """What it was sent; one with a status refuses, and one that hangs answers nobody until it is closed."""

    def __init__(self, status: int = 200, *, hangs: bool = False) -> None:
        self.status, self.hangs = status, hangs
        self.asked = 0
        self.raw = b""
        self._spans: list[Told] = []
        self._closed = threading.Event()
        collector = self

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.asked += 1
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if collector.hangs:
                    collector._closed.wait(60)
                if collector.status == 200 and self.path == "/v1/traces":
                    packed = self.headers.get("Content-Encoding") == "gzip"
                    collector._take(gzip.decompress(body) if packed else body)
                with suppress(OSError):  # nobody waits any more
                    self._answer(ExportTraceServiceResponse().SerializeToString())

            def _answer(self, body: bytes) -> None:
                self.send_response(collector.status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _take(self, body: bytes) -> None:
        self.raw += body
        sent = ExportTraceServiceRequest.FromString(body)
        for resource in sent.resource_spans:
            service = _said(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self._spans += [_told(str(service), span) for span in scope.spans]

    def spans(self, trace_id: str | None = None) -> list[Told]:
        """Of this trace, or all; in the order of their ends as far as one process tells them."""
        return [span for span in list(self._spans) if trace_id in {None, span.trace_id}]

    def awaited(self, *names: str, trace_id: str | None = None, seconds: float = 20.0) -> dict[str, Told]:
        """By name, once all of these are there."""
        until(lambda: {span.name for span in self.spans(trace_id)} >= set(names), seconds)
        return {span.name: span for span in self.spans(trace_id)}

    def close(self) -> None:
        """Take nothing more."""
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def collecting(status: int = 200, *, hangs: bool = False) -> Iterator[Collector]:
    """A collector that is there for a while."""
    collector = Collector(status, hangs=hangs)
    try:
        yield collector
    finally:
        collector.close()


def _told(service: str, span: Any) -> Told:
    return Told(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        span.status.code == 2,
        _said(span.attributes),
        tuple(link.trace_id.hex() for link in span.links),
    )


def _said(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
