"""The id of the request that is being answered: for answers, problems, and log lines of this process."""

from __future__ import annotations

from contextvars import ContextVar

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""None where nobody asked. A thread that works for a request sees the id of its own."""
