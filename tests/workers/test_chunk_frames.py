from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.chunk import AfterFailure
from app.domain.ids import uuid7
from tests.world import chunk
from workers.chunk_frames import chunk_frame, divided
from workers.protocol.payload import pack_requests, unpack_requests

TEXTS = ["one", "two", "three"]
KEYS = tuple(bytes([number]) * 32 for number in range(3))


@pytest.mark.parametrize("fate", [AfterFailure.PROBE, AfterFailure.HALVE])
@pytest.mark.parametrize(("seed", "draws"), [(7, [key[:16] for key in KEYS]), (None, [])])
def test_requests_of_a_divided_chunk_are_drawn_as_before(
    seed: int | None, draws: list[bytes], fate: AfterFailure
) -> None:
    whole = replace(chunk(uuid7(), 0), seed=seed, keys=KEYS, payload=pack_requests(TEXTS))
    parts = [chunk_frame(part) for part in divided(whole, fate)]

    assert chunk_frame(whole)["draws"] == [draw for part in parts for draw in part["draws"]] == draws
    assert [text for part in parts for text in unpack_requests(part["payload"])] == TEXTS
    assert {part["seed"] for part in parts} == {seed}
