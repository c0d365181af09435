"""Spans by OpenTelemetry's SDK, which reads its own OTEL_ variables: sent from a thread, out of a bounded queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as SdkSpan

from app.domain.trace import TraceParent
from app.traces import Attributes, Beginning, TraceSpan

CLOSE_SECONDS = 2.0
"""What a process that ends waits for a collector."""

NANOSECONDS = 1e9

log = logging.getLogger(__name__)


class SentTraces:
    """Makes spans and hands them to a collector; those that it does not take in time are dropped."""

    def __init__(self, service: str) -> None:
        """`service` is its name unless OTEL_SERVICE_NAME has another; ValueError where a variable cannot be."""
        self._provider = TracerProvider(resource=_named(service), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(ToCollector(OTLPSpanExporter())))
        self._tracer = self._provider.get_tracer("evalq")

    def begin(self, what: Beginning) -> TraceSpan:
        """A span below its parent, or of a trace of its own."""
        made = self._tracer.start_span(
            what.name,
            context=_below(what.parent),
            kind=SpanKind.SERVER if what.serves else SpanKind.INTERNAL,
            attributes=what.attributes,
            links=[Link(_context(each)) for each in what.links if each],
        )
        return SentSpan(made)

    def close(self) -> None:
        """Send what is left, for a moment: a collector that hangs holds up nobody."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces-close", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


class SentSpan:
    """A span of the SDK."""

    def __init__(self, span: SdkSpan) -> None:
        self._span = span

    @property
    def trace(self) -> TraceParent | None:
        """What belongs below it names this."""
        told = self._span.get_span_context()
        if not told.is_valid:  # the SDK is switched off
            return None
        return TraceParent(f"{told.trace_id:032x}", f"{told.span_id:016x}", told.trace_flags.sampled)

    def note(self, attributes: Attributes, name: str | None = None) -> None:
        """Say more of it, and what it is called from now on."""
        self._span.set_attributes(attributes)
        if name is not None:
            self._span.update_name(name)

    def end(self, at: float | None = None, failure: str | None = None) -> None:
        """It is over, by this time since the epoch or now, as a `failure` where there is one."""
        if not self._span.is_recording():  # not sampled, or over
            return
        if failure is not None:
            self._span.set_status(Status(StatusCode.ERROR, failure))
        self._span.end(_nanoseconds(at))


class ToCollector(SpanExporter):
    """Says once that the collector takes nothing, and once that it does again: not every few seconds."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._takes = True
        logging.getLogger(type(exporter).__module__).addFilter(lambda _: self._takes)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them, or drop them."""
        result = self._exporter.export(spans)
        takes = result is SpanExportResult.SUCCESS
        if takes != self._takes:
            log.warning(
                "the collector takes spans again"
                if takes
                else "the collector takes no spans: they are dropped"
            )
        self._takes = takes
        return result

    def shutdown(self) -> None:
        """Send nothing more."""
        self._takes = False  # what it says of its own end is of no use
        self._exporter.shutdown()


def _named(service: str) -> Resource:
    found = Resource.create()
    is_named = not str(found.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service")
    return found if is_named else found.merge(Resource({SERVICE_NAME: service}))


def _below(parent: TraceParent | None) -> Context:
    """Never what some library holds for current here."""
    return set_span_in_context(NonRecordingSpan(_context(parent)), Context()) if parent else Context()


def _context(told: TraceParent) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if told.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(told.trace_id, 16), int(told.span_id, 16), is_remote=True, trace_flags=flags)


def _nanoseconds(at: float | None) -> int | None:
    return None if at is None else int(at * NANOSECONDS)
