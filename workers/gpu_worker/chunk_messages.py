"""Chunks as they travel: sent to an engine, divided where they fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from app.domain.chunk import AfterFailure, Chunk, parts
from workers.protocol.engine import AnswerChunk, Draws
from workers.protocol.payload import DRAW_BYTES, RequestKind, pack_requests, unpack_requests


def to_be_answered(chunk: Chunk) -> AnswerChunk:
    """A chunk for an engine child."""
    return AnswerChunk(
        chunk=chunk.id,
        kind=RequestKind(chunk.kind),
        batch_size=chunk.batch_size,
        gen_kwargs=chunk.gen_kwargs or {},
        draws=_draws(chunk),
        payload=chunk.payload,
    )


def _draws(chunk: Chunk) -> Draws | None:
    if chunk.seed is None:
        return None
    return Draws(chunk.seed, tuple(key[:DRAW_BYTES] for key in chunk.keys))


def divided(chunk: Chunk, fate: AfterFailure) -> list[Chunk]:
    """The chunk in parts, to find the request that cannot be answered; ids are given when they are stored."""
    if fate not in {AfterFailure.PROBE, AfterFailure.HALVE}:
        return []
    requests = unpack_requests(chunk.payload)
    return [_part(chunk, requests, places) for places in parts(len(requests), fate)]


def _part(chunk: Chunk, requests: list[Any], places: list[int]) -> Chunk:
    return replace(
        chunk,
        cost=chunk.cost * len(places) / len(requests),
        keys=tuple(chunk.keys[place] for place in places),
        payload=pack_requests([requests[place] for place in places]),
    )
