"""An engine without a model, for tests of everything around engines: its answers are hashes of the requests.

Its scores mean nothing. Arguments: `delay_seconds`, how long each request takes; `fail_on`, a text or a number:
a chunk fails if a context holds the text, or if a context and its continuation together have so many tokens;
`warns`, a changed setting that every chunk is answered with.
It fails as real engines do where asked to: with a maximum length above `longest`, with a `gpu_memory_utilization`
above `free_share`, without `needs_devices` of them, and `fails_with` ecc or nccl on the device `fails_on` (else on
any); these two while `loading` or, as `fails_while` says, `answering`: then it is over.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

import msgpack

from workers.engine_child.contract import OpenChunk, Reports, Responses
from workers.engine_child.echo.faults import check_answering, check_loading, own_devices
from workers.protocol.engine import Load
from workers.protocol.payload import RequestKind


class EchoError(Exception):
    """A request that was marked to fail."""


class EchoEngine:
    """Answers by hash; the same request always gets the same answer."""

    def __init__(self, args: Mapping[str, Any]) -> None:
        self.provenance: Mapping[str, Any] = {
            "versions": {},
            "device": "none",
            "environment": "N/A (torch not installed)",
            "devices": own_devices(),
            "max_length": args.get("max_length") or args.get("max_model_len"),
        }
        self._args = args
        self._delay_seconds = float(args.get("delay_seconds", 0))
        self._fail_on = args.get("fail_on")

    def answer(self, chunk: OpenChunk, reports: Reports) -> Responses:
        """Answer one request after the other."""
        check_answering(self._args)
        if change := self._args.get("warns"):
            reports.warn("asked_to_warn", str(change))
        progress = reports.progress()
        responses = []
        for request in chunk.requests:
            self._check(request)
            time.sleep(self._delay_seconds)
            responses.append(_response(chunk.kind, request))
            progress.add(1)
        tokens = sum(_length(request) for request in chunk.requests)
        generated = 4 * len(responses) if chunk.kind is RequestKind.GENERATE else 0
        return Responses(responses, 1, tokens + generated)

    def recover(self) -> None:
        """There is nothing to clean; devices that failed stay so."""
        check_answering(self._args)

    def _check(self, request: Any) -> None:
        if self._fail_on is None:
            return
        mark = str(self._fail_on)
        if mark in request if isinstance(request, str) else mark == str(_length(request)):
            raise EchoError(f"asked to fail on {self._fail_on!r}")


def load(order: Load) -> EchoEngine:
    """Ready at once, unless asked to fail; the model, the device and the batch size do not matter."""
    check_loading(order.engine.args)
    return EchoEngine(order.engine.args)


def _response(kind: RequestKind, request: Any) -> Any:
    digest = hashlib.sha256(msgpack.packb(request)).digest()
    if kind is RequestKind.GENERATE:
        return " ".join(digest[i : i + 2].hex() for i in range(0, 8, 2))
    return [-int.from_bytes(digest[:4], "big") / 2**28, digest[4] % 2 == 0]


def _length(request: Any) -> int:
    """Tokens, or words where there is only text."""
    if isinstance(request, str):
        return len(request.split())
    return len(request[0]) + len(request[1])
