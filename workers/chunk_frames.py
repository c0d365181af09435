"""Chunks as they travel: cut by the harness, sent to an engine, halved where they fail."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app.domain.chunk import Chunk
from app.domain.ids import uuid7
from workers.frames import DRAW_BYTES, Frame, pack_requests, unpack_requests


def to_chunk(job_id: UUID, position: int, frame: dict[str, Any]) -> Chunk:
    """A chunk as the harness cut it."""
    return Chunk(
        id=uuid7(),
        job_id=job_id,
        position=position,
        kind=frame["kind"],
        batch_size=frame["batch_size"],
        gen_kwargs=frame["gen_kwargs"],
        seed=frame["seed"],
        cost=frame["cost"],
        keys=tuple(frame["keys"]),
        payload=frame["payload"],
    )


def chunk_frame(chunk: Chunk) -> Frame:
    """A chunk for an engine child."""
    return {
        "type": "chunk",
        "id": str(chunk.id),
        "kind": chunk.kind,
        "batch_size": chunk.batch_size,
        "gen_kwargs": chunk.gen_kwargs,
        "seed": chunk.seed,
        "draws": [] if chunk.seed is None else [key[:DRAW_BYTES] for key in chunk.keys],
        "payload": chunk.payload,
    }


def halves(chunk: Chunk) -> list[Chunk]:
    """The chunk as two, to find the request that cannot be answered; ids are given when they are stored."""
    requests = unpack_requests(chunk.payload)
    middle = len(requests) // 2
    if not middle:
        return []
    share = middle / len(requests)
    return [
        _part(chunk, requests[:middle], chunk.keys[:middle], chunk.cost * share),
        _part(chunk, requests[middle:], chunk.keys[middle:], chunk.cost * (1 - share)),
    ]


def _part(chunk: Chunk, requests: list[Any], keys: tuple[bytes, ...], cost: float) -> Chunk:
    return Chunk(
        id=chunk.id,
        job_id=chunk.job_id,
        position=chunk.position,
        kind=chunk.kind,
        batch_size=chunk.batch_size,
        gen_kwargs=chunk.gen_kwargs,
        seed=chunk.seed,
        cost=cost,
        keys=keys,
        payload=pack_requests(requests),
    )
