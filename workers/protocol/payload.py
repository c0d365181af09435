"""Requests as they travel and as they are stored: packed by who cuts a chunk, opened by the engine that answers it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from enum import StrEnum
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
