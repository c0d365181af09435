"""Spans of what this process does, for an operator's collector of OpenTelemetry.

Where none is named, or its SDK is not installed (`evalq[otel]`), no exporter is imported, and nothing is made or sent.
redis-py imports the SDK itself wherever it is installed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.domain.trace import TraceParent
from app.settings import Settings

Attributes = Mapping[str, str | int | float | bool]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Beginning:
    """What begins."""

    name: str
    parent: TraceParent | None = None
    attributes: Attributes = field(default_factory=dict)
    links: Sequence[TraceParent | None] = ()
    """Others that it has to do with."""
    serves: bool = False
    """Another process asked for it, and waits."""


class TraceSpan(Protocol):
    """Something that began, in one trace; it may end in any thread."""

    @property
    def trace(self) -> TraceParent | None:
        """What belongs below it names this; None where nobody knows of a trace."""

    def note(self, attributes: Attributes, name: str | None = None) -> None:
        """Say more of it, and what it is called from now on."""

    def end(self, at: float | None = None, failure: str | None = None) -> None:
        """It is over, by this time since the epoch or now, as a `failure` where there is one. Safe to repeat."""


class Traces(Protocol):
    """Begins spans. Neither waits for a collector, nor raises for it."""

    def begin(self, what: Beginning) -> TraceSpan:
        """A span below its parent, or of a trace of its own."""

    def close(self) -> None:
        """Send what is left, for a moment; then send nothing more."""


@dataclass(frozen=True)
class Untold:
    """A span that nobody is told of: what belongs to it belongs to its parent."""

    trace: TraceParent | None = None

    def note(self, attributes: Attributes, name: str | None = None) -> None:
        """Nothing to say."""

    def end(self, at: float | None = None, failure: str | None = None) -> None:
        """Nothing to end."""


class NoTraces:
    """Spans that nobody is told of."""

    def begin(self, what: Beginning) -> TraceSpan:
        """One that stands for its parent."""
        return Untold(what.parent)

    def close(self) -> None:
        """Nothing is left."""


def traces_of(settings: Settings, process: str) -> Traces:
    """What this process does goes to the collector that the operator named, if any; called once it forks no more."""
    if not (settings.otlp_endpoint or settings.otlp_traces_endpoint):
        return NoTraces()
    try:
        from app.traces.sending import SentTraces

        return SentTraces(f"evalq-{process}")
    except ImportError:
        log.warning("a collector is named and the package evalq[otel] is not installed: no traces are sent")
    except Exception:  # of a variable of OpenTelemetry's own: the service is worth more than its traces
        log.exception("no traces are sent")
    return NoTraces()
