"""The echo engine as one that streams, as vLLM does: many requests in hand, answered in any order.

Arguments: `window`, requests in work at once (8); `order_seed`, what the order is drawn with (0). A step takes
`delay_seconds` and answers one of the requests in work.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from workers.engine_child.contract import ChunkResponses, Done, OpenChunk, Outcome, Reports, Unanswered
from workers.engine_child.echo.answers import cuts, generated, response, tokens
from workers.engine_child.echo.faults import check_answering, check_request, pause

log = logging.getLogger("engine")


@dataclass
class _InHand:
    """A chunk, and what became of its requests so far."""

    chunk: OpenChunk
    begun_at: float | None = None
    responses: dict[int, Any] = field(default_factory=dict)


class EchoStream:
    """Fills a window from the chunks in hand, in their order, and answers what is in it in an order of its own."""

    def __init__(self, args: Mapping[str, Any], provenance: Mapping[str, Any], reports: Reports) -> None:
        self.provenance = provenance
        self.measured: Mapping[str, float] = args.get("measures") or {}
        self.window = int(args.get("window", 8))
        self._args = args
        self._reports = reports
        self._delay_seconds = float(args.get("delay_seconds", 0))
        self._random = random.Random(args.get("order_seed", 0))  # noqa: S311
        self._hand: dict[UUID, _InHand] = {}
        self._waiting: deque[tuple[UUID, int]] = deque()
        self._working: list[tuple[UUID, int]] = []
        """Requests in the window: whose, and which."""

    def add(self, chunk: OpenChunk) -> None:
        """Let its requests wait for room in the window."""
        if change := self._args.get("warns"):
            self._reports.warn(chunk.id, "asked_to_warn", str(change))
        self._hand[chunk.id] = _InHand(chunk)
        self._waiting += [(chunk.id, place) for place in range(len(chunk.requests))]

    def drop(self, chunks: Collection[UUID]) -> None:
        """Forget them and their requests in the window."""
        gone = set(chunks)
        self._waiting = deque(item for item in self._waiting if item[0] not in gone)
        self._working = [item for item in self._working if item[0] not in gone]
        for chunk in gone:
            self._hand.pop(chunk, None)

    def step(self, hear: Callable[[], None]) -> Sequence[Outcome]:
        """Fill the window, and answer one request in it."""
        first = next(iter(self._hand))
        try:
            check_answering(self._args)
        except RuntimeError as error:
            log.exception("chunk %s failed", first)
            return [Unanswered(first, error, fatal=True)]
        refused = self._fill()
        pause(self._delay_seconds, hear)
        done = self._answer(*self._drawn()) if self._working else None
        return [*refused, *([done] if done else [])]

    def _fill(self) -> list[Outcome]:
        """Take requests into the window; a chunk with one that is refused leaves the engine's hands."""
        refused: list[Outcome] = []
        while self._waiting and len(self._working) < self.window:
            chunk, place = self._waiting.popleft()
            held = self._hand[chunk]
            if held.begun_at is None:
                held.begun_at = time.monotonic()
                self._reports.begins(chunk)
            self._working.append((chunk, place))
            try:
                check_request(self._args, held.chunk.requests[place], self._reports.died)
            except ValueError as error:
                log.exception("chunk %s failed", chunk)
                self.drop([chunk])
                refused.append(Unanswered(chunk, error))
        return refused

    def _drawn(self) -> tuple[UUID, int]:
        return self._working.pop(self._random.randrange(len(self._working)))

    def _answer(self, chunk: UUID, place: int) -> Outcome | None:
        """The chunk, if this was the last of its requests."""
        held = self._hand[chunk]
        requests, kind = held.chunk.requests, held.chunk.kind
        held.responses[place] = response(kind, requests[place], self._args)
        self._reports.answered(chunk)
        self._reports.generated(generated(kind))
        if len(held.responses) < len(requests):
            return None
        del self._hand[chunk]
        values = [held.responses[place] for place in range(len(requests))]
        at_once = min(self.window, len(requests))
        seconds = time.monotonic() - (held.begun_at or 0.0)
        taken, cut = tokens(kind, requests), cuts(self._args, requests)
        return Done(chunk, ChunkResponses(values, at_once, taken, cuts=cut), seconds)
