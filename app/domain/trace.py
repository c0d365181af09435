"""W3C trace context: what binds spans and log lines of several processes together (https://www.w3.org/TR/trace-context)."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

_WRITTEN = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace_id>(?!0{32})[0-9a-f]{32})-(?P<span_id>(?!0{16})[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_SAMPLED = 1


@dataclass(frozen=True)
class TraceParent:
    """A trace, the span in it that something was asked for under, and whether whoever began it records it."""

    trace_id: str
    span_id: str
    sampled: bool = True

    @classmethod
    def parse(cls, text: str) -> TraceParent | None:
        """A `traceparent` header; None where it is none. Of later versions what this one knows is read."""
        found = _WRITTEN.fullmatch(text)
        if found is None or (found["version"] == "00" and found["more"] is not None):
            return None
        return cls(found["trace_id"], found["span_id"], bool(int(found["flags"], 16) & _SAMPLED))

    @classmethod
    def new(cls) -> TraceParent:
        """Of a trace that begins here, though nobody may record it."""
        return cls(secrets.token_hex(16), secrets.token_hex(8))

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"
