"""Spans noted where they are made; `tests/collector.py` has them as they are sent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from app.domain.trace import TraceParent
from app.traces import Attributes, Beginning, TraceSpan


@dataclass
class NotedSpan:
    """One span, and how it ended."""

    began: Beginning
    trace: TraceParent
    attributes: dict[str, Any]
    clock: Callable[[], float]
    ended_at: float | None = None
    failure: str | None = None

    def note(self, attributes: Attributes, name: str | None = None) -> None:
        self.attributes |= attributes

    def end(self, at: float | None = None, failure: str | None = None) -> None:
        if self.ended_at is None:
            self.ended_at, self.failure = self.clock() if at is None else at, failure


@dataclass
class Noted:
    """Traces that are kept here."""

    clock: Callable[[], float] = time.time
    spans: list[NotedSpan] = field(default_factory=list)

    def begin(self, what: Beginning) -> TraceSpan:
        fresh = TraceParent.new()
        trace = TraceParent(what.parent.trace_id, fresh.span_id) if what.parent else fresh
        self.spans.append(NotedSpan(what, trace, dict(what.attributes), self.clock))
        return self.spans[-1]

    def close(self) -> None: ...

    def named(self, name: str) -> list[NotedSpan]:
        return [span for span in self.spans if span.began.name == name]
