"""What the echo engine answers: hashes of the requests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack

from workers.engine_child.contract import GeneratedText
from workers.protocol.payload import EndedBy, RequestKind

WORDS = 4
"""In a generated text."""


def response(kind: RequestKind, request: Any, args: Mapping[str, Any] = {}) -> Any:
    """The answer to a request, always the same."""
    digest = hashlib.sha256(msgpack.packb(request)).digest()
    if kind is RequestKind.GENERATE:
        text = " ".join(digest[i : i + 2].hex() for i in range(0, 2 * WORDS, 2))
        ended_by = EndedBy.LENGTH if is_marked(args.get("truncates_on"), request) else EndedBy.EOS
        return GeneratedText("" if is_marked(args.get("silent_on"), request) else text, ended_by)
    return [-int.from_bytes(digest[:4], "big") / 2**28, digest[4] % 2 == 0]


def is_marked(mark: Any, request: Any) -> bool:
    """Whether its text holds the mark, or its tokens are so many."""
    if mark is None:
        return False
    return str(mark) in request if isinstance(request, str) else str(mark) == str(length(request))


def cuts(args: Mapping[str, Any], requests: Sequence[Any]) -> list[int]:
    """Tokens of each prompt that a maximum length would leave no room for."""
    most = args.get("max_length") or args.get("max_model_len")
    return [max(0, length(request) - int(most)) if most else 0 for request in requests]


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
