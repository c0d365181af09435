"""What the echo engine answers: hashes of the requests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgpack

from workers.protocol.payload import RequestKind

WORDS = 4
"""In a generated text."""


def response(kind: RequestKind, request: Any) -> Any:
    """The answer to a request, always the same."""
    digest = hashlib.sha256(msgpack.packb(request)).digest()
    if kind is RequestKind.GENERATE:
        return " ".join(digest[i : i + 2].hex() for i in range(0, 2 * WORDS, 2))
    return [-int.from_bytes(digest[:4], "big") / 2**28, digest[4] % 2 == 0]


def tokens(kind: RequestKind, requests: Sequence[Any]) -> int:
    """Read and generated."""
    return sum(length(request) + generated(kind) for request in requests)


def generated(kind: RequestKind) -> int:
    """Tokens of a response."""
    return WORDS if kind is RequestKind.GENERATE else 0


def length(request: Any) -> int:
    """Tokens, or words where there is only text."""
    if isinstance(request, str):
        return len(request.split())
    return len(request[0]) + len(request[1])
