"""Says the same of every request, and writes down how many it was asked at once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from workers.engine_child.contract import ChunkResponses, Engine, OpenChunk, Reports
from workers.engine_child.one_at_a_time import InWork, OneAtATime
from workers.protocol.engine import Load
from workers.protocol.payload import RequestKind

PERCHES = 4

log = logging.getLogger(__name__)


class FeatherError(Exception):
    """More of them than there is room for."""


class Parrot:
    """A loaded parrot."""

    def __init__(self, provenance: Mapping[str, Any]) -> None:
        self.provenance = provenance

    def answer(self, chunk: OpenChunk, work: InWork) -> ChunkResponses:
        """Answer all at once."""
        log.info("asked %d requests in batches of %s", len(chunk.requests), chunk.batch_size)
        said = "Polly" if chunk.kind is RequestKind.GENERATE else [-1.0, False]
        work.answered(len(chunk.requests))
        return ChunkResponses([said] * len(chunk.requests), 1, len(chunk.requests))

    def recover(self) -> None:
        """There is nothing to clean."""


def load(order: Load, reports: Reports) -> Engine:
    """A parrot, if there is room for its feathers."""
    recipe = order.engine
    feathers = int(recipe.args.get("feathers", PERCHES))
    if feathers > PERCHES:
        raise FeatherError(f"no room for {feathers} feathers: there are only {PERCHES} perches")
    log.info("spreads %d wings", recipe.tensor_parallel_size)
    provenance: dict[str, Any] = {"versions": {}, "device": "none", "environment": "", "max_length": None}
    return OneAtATime(Parrot(provenance), reports)
