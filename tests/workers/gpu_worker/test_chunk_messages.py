from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.chunk import AfterFailure
from app.domain.ids import uuid7
from tests.world import chunk
from workers.gpu_worker.chunk_messages import divided, to_be_answered
from workers.protocol.payload import pack_requests, unpack_requests

TEXTS = ["one", "two", "three"]
KEYS = tuple(bytes([number]) * 32 for number in range(3))


@pytest.mark.parametrize("fate", [AfterFailure.PROBE, AfterFailure.HALVE])
@pytest.mark.parametrize("seed", [7, None])
def test_requests_of_a_divided_chunk_are_drawn_as_before(seed: int | None, fate: AfterFailure) -> None:
    whole = replace(chunk(uuid7(), 0), seed=seed, keys=KEYS, payload=pack_requests(TEXTS))
    parts = [to_be_answered(part) for part in divided(whole, fate)]

    assert [text for part in parts for text in unpack_requests(part.payload)] == TEXTS
    drawn = [part.draws for part in [to_be_answered(whole), *parts] if part.draws]
    assert {draws.seed for draws in drawn} == ({seed} if seed else set())
    expected = [key[:16] for key in KEYS] if seed else []
    assert [draw for draws in drawn for draw in draws.requests] == expected * 2
