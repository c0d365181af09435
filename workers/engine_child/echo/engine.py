"""An engine without a model, for tests of everything around engines: its answers are hashes of the requests.

Its scores mean nothing. Arguments: `delay_seconds`, how long each request takes; `fail_on`, a text or a number:
a chunk fails if a context holds the text, or if a context and its continuation together have so many tokens;
`dies_on`, the same, but the engine dies; `truncates_on` and `silent_on`, the same, but its text ends as if it were too
long, or is empty; `warns`, a changed setting that every chunk is answered with; `measures`, what
it says that it takes. With `stream` it has many requests in its hands and answers them in any order (see `stream`).
It fails as real engines do where asked to: with a maximum length above `longest`, with a `gpu_memory_utilization`
above `free_share`, without `needs_devices` of them, and `fails_with` ecc or nccl on the device `fails_on` (else on
any); these two while `loading` or, as `fails_while` says, `answering`: then it is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from workers.engine_child.contract import ChunkResponses, Engine, OpenChunk, Reports
from workers.engine_child.echo.answers import cuts, response, tokens
from workers.engine_child.echo.faults import (
    check_answering,
    check_loading,
    check_request,
    own_devices,
    pause,
)
from workers.engine_child.echo.stream import EchoStream
from workers.engine_child.one_at_a_time import InWork, OneAtATime
from workers.protocol.engine import Load


class EchoModel:
    """Answers one request after the other; the same request always gets the same answer."""

    def __init__(
        self, args: Mapping[str, Any], provenance: Mapping[str, Any], died: Callable[[str, int], None]
    ) -> None:
        self.provenance = provenance
        self._args = args
        self._died = died
        self._delay_seconds = float(args.get("delay_seconds", 0))

    def answer(self, chunk: OpenChunk, work: InWork) -> ChunkResponses:
        """Answer in order."""
        check_answering(self._args)
        if change := self._args.get("warns"):
            work.warn("asked_to_warn", str(change))
        responses = []
        for request in chunk.requests:
            check_request(self._args, request, self._died)
            pause(self._delay_seconds, work.look)
            responses.append(response(chunk.kind, request, self._args))
            work.answered()
        taken = tokens(chunk.kind, chunk.requests)
        return ChunkResponses(responses, 1, taken, cuts=cuts(self._args, chunk.requests))

    def recover(self) -> None:
        """There is nothing to clean; devices that failed stay so."""
        check_answering(self._args)


def load(order: Load, reports: Reports) -> Engine:
    """Ready at once, unless asked to fail; the model, the device and the batch size do not matter."""
    args = order.engine.args
    check_loading(args)
    provenance: dict[str, Any] = {
        "versions": {},
        "device": "none",
        "environment": "N/A (torch not installed)",
        "devices": own_devices(),
        "max_length": args.get("max_length") or args.get("max_model_len"),
    }
    if args.get("stream"):
        return EchoStream(args, provenance, reports)
    return OneAtATime(EchoModel(args, provenance, reports.died), reports, args.get("measures"))
