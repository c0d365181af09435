"""What is worked on, and for whose request: for answers, problems, and log lines of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import ParamSpec, TypeVar

from app.domain.trace import TraceParent

P = ParamSpec("P")
T = TypeVar("T")

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""None where nobody asked. A thread that works for a request sees the id of its own."""

trace: ContextVar[TraceParent | None] = ContextVar("trace", default=None)
"""What a request is answered under; None where neither its client nor this service knows of a trace."""

NAMED: Mapping[str, ContextVar[str | None]] = {
    "job": ContextVar("job_id", default=None),
    "replica": ContextVar("replica_id", default=None),
    "request": request_id,
    "trace": ContextVar("trace_id", default=None),
}
"""What log lines name, in this order."""


@contextmanager
def working_on(what: str, subject: object) -> Iterator[None]:
    """Log lines of this thread name the `job`, `replica` or `trace` meanwhile; none where the subject is None."""
    token = NAMED[what].set(None if subject is None else str(subject))
    try:
        yield
    finally:
        NAMED[what].reset(token)


def as_here(call: Callable[P, T]) -> Callable[P, T]:
    """The call for a thread of its own, whose log lines name what those of this one do now."""
    context = copy_context()

    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return context.run(call, *args, **kwargs)

    return run
