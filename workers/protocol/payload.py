"""Requests as they travel and as they are stored: packed by who cuts a chunk, opened by the engine that answers it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import msgpack

DRAW_BYTES = 16
"""How much of a sampled request's key says which prompt is continued, and for which time; the rest says with which
settings and in which job. An engine draws by the first part, so that all jobs of one seed get equal samples."""


class RequestKind(StrEnum):
    """What is asked of a model, by lm-eval's names; with what a request and its response are."""

    LOGLIKELIHOOD = "loglikelihood"
    """[tokens of the context, tokens of the continuation] -> [sum of log-probabilities, is the continuation greedy]"""
    ROLLING = "loglikelihood_rolling"
    """The same of one window of a text."""
    GENERATE = "generate_until"
    """Text -> the text that continues it."""


class EndedBy(StrEnum):
    """Why a generated text ends."""

    EOS = "eos"
    """The model ended it."""
    STOP = "stop"
    """A stop sequence came."""
    LENGTH = "length"
    """It was as long as it may be: what would have followed is not known."""


@dataclass(frozen=True)
class ResponseNote:
    """How a response came about; None is not told."""

    cut: int | None = None
    """Tokens of the prompt that were left out, because it did not fit."""
    ended_by: EndedBy | None = None


def pack_requests(requests: Sequence[object]) -> bytes:
    """The payload of a chunk: msgpack, deflated (few-shot contexts repeat themselves)."""
    return zlib.compress(msgpack.packb(list(requests)), 1)


def unpack_requests(payload: bytes) -> list[Any]:
    """The requests of a payload, in order."""
    requests: list[Any] = msgpack.unpackb(zlib.decompress(payload))
    return requests


def pack_response(response: object) -> bytes:
    """A response as it is stored: packed once by the engine child, opened once by the harness, shut in between."""
    packed: bytes = msgpack.packb(response, unicode_errors="backslashreplace")  # half a surrogate pair
    return packed


def pack_note(note: ResponseNote) -> bytes:
    """A note as it is stored beside its response."""
    packed: bytes = msgpack.packb([note.cut, note.ended_by])
    return packed


@lru_cache(maxsize=4096)
def open_note(packed: bytes | None) -> ResponseNote:
    """The note; of a response that an earlier version stored there is none, and it tells nothing."""
    if packed is None:
        return ResponseNote()
    cut, ended_by, *_ = msgpack.unpackb(packed)
    return ResponseNote(cut, EndedBy(ended_by) if ended_by in _ENDS else None)


_ENDS = frozenset(EndedBy)
