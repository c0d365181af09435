"""Makes an engine of what answers a whole list of requests in one call."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

from workers.engine_child.contract import ChunkResponses, Done, OpenChunk, Outcome, Reports, Unanswered

log = logging.getLogger("engine")


class DroppedError(Exception):
    """The chunk in work is not wanted any more."""


class Answering(Protocol):
    """A loaded model that answers one chunk after the other."""

    provenance: Mapping[str, Any]

    def answer(self, chunk: OpenChunk, work: InWork) -> ChunkResponses:
        """Answer every request; any exception fails the chunk. One that `work` raises is let through."""

    def recover(self) -> None:
        """Clean up after a chunk that was not answered; raises where no more can be."""


class InWork:
    """One chunk in work: what is told of it, and whether it is still wanted.

    `look`, `answered` and `generated` raise DroppedError where it is not.
    """

    def __init__(self, chunk: UUID, reports: Reports, look: Callable[[], None]) -> None:
        self._chunk = chunk
        self._reports = reports
        self.look = look
        """For who has nothing to tell for a while."""

    def answered(self, count: int = 1) -> None:
        """So many more of its requests are answered."""
        self._reports.answered(self._chunk, count)
        self.look()

    def generated(self, tokens: int) -> None:
        """So many more tokens are generated."""
        self._reports.generated(tokens)
        self.look()

    def again(self, code: str, change: str) -> None:
        """It is answered from its beginning once more, since something went wrong that this change cures."""
        self.warn(code, change)
        self._reports.begins(self._chunk)

    def warn(self, code: str, change: str) -> None:
        """Something went wrong and was cured by this change."""
        log.warning("%s: %s", code, change)
        self._reports.warn(self._chunk, code, change)


class OneAtATime:
    """Answers chunks in the order they came in; one that is dropped ends with the batch or the token in work."""

    window = 0

    def __init__(
        self, model: Answering, reports: Reports, measured: Mapping[str, float] | None = None
    ) -> None:
        self.provenance = model.provenance
        self.measured = measured or {}
        self._model = model
        self._reports = reports
        self._hand: dict[UUID, OpenChunk] = {}

    def add(self, chunk: OpenChunk) -> None:
        """Let it wait for its turn."""
        self._hand[chunk.id] = chunk

    def drop(self, chunks: Collection[UUID]) -> None:
        """Forget them; the one in work is noticed at the next look."""
        for chunk in chunks:
            self._hand.pop(chunk, None)

    def step(self, hear: Callable[[], None]) -> Sequence[Outcome]:
        """Answer the first chunk."""
        chunk = next(iter(self._hand.values()))

        def look() -> None:
            hear()
            if chunk.id not in self._hand:
                raise DroppedError(f"chunk {chunk.id} is not wanted any more")

        self._reports.begins(chunk.id)
        outcome = self._outcome(chunk, InWork(chunk.id, self._reports, look))
        self._hand.pop(chunk.id, None)
        return [outcome] if outcome else []

    def _outcome(self, chunk: OpenChunk, work: InWork) -> Outcome | None:
        """None where it was dropped."""
        started = time.monotonic()
        try:
            responses = self._model.answer(chunk, work)
        except DroppedError:
            self._model.recover()
            return None
        except Exception as error:
            log.exception("chunk %s failed", chunk.id)
            return Unanswered(chunk.id, error, fatal=not self._recovered())
        return Done(chunk.id, responses, time.monotonic() - started)

    def _recovered(self) -> bool:
        try:
            self._model.recover()
        except Exception:
            log.exception("the engine cannot go on")
            return False
        return True
