"""Messages of an engine child, there and back."""

from __future__ import annotations

from typing import get_args
from uuid import UUID

import msgpack
import pytest

from workers.protocol.engine import (
    FROM_ENGINE,
    FROM_SPARE,
    TO_ENGINE,
    AnswerChunk,
    Answered,
    BackendImported,
    ChunkFailed,
    Died,
    Draws,
    Drop,
    EngineRecipe,
    FromEngine,
    ImportBackend,
    Load,
    Loaded,
    LoadFailed,
    Progressed,
    Raised,
    ToEngine,
    Warned,
)
from workers.protocol.messages import Messages, packed
from workers.protocol.payload import RequestKind, pack_requests, pack_response

ID = UUID(int=7)
ERROR = Raised("ValueError", "no", "Traceback")
TOLD: tuple[ToEngine, ...] = (
    ImportBackend("hf", "/cache"),
    Load(EngineRecipe("hf", "m", None, {"dtype": "float32"}, {"A": "b"}, 2, 1), "cpu", 64),
    AnswerChunk(
        ID,
        RequestKind.GENERATE,
        "auto max 8",
        {"until": ["\n"]},
        Draws(3, (b"a", b"b")),
        pack_requests(["x"]),
    ),
    AnswerChunk(ID, RequestKind.ROLLING, 8, {}, None, pack_requests([[[1], [2]]])),
    Drop((ID, UUID(int=8))),
)
HEARD: tuple[FromEngine, ...] = (
    Loaded(1.5, {"versions": {"torch": "2"}, "max_length": 512}, 128, {"weights_bytes": 13e9}),
    LoadFailed(ERROR),
    Answered(ID, (pack_response([-1.5, True]), pack_response("text")), 0.5, 9, 1, 77, 15e9),
    ChunkFailed(ID, ERROR, fatal=True, log_end=77),
    Progressed(((ID, 3), (UUID(int=8), 0)), 40),
    Warned(ID, "gpu_out_of_memory", "batch size 8 -> 4"),
    Died("EngineCore", -9),
)
IMPORTED = BackendImported(3.5, touched=False)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [(TO_ENGINE, said) for said in TOLD] + [(FROM_ENGINE, said) for said in HEARD] + [(FROM_SPARE, IMPORTED)],
)
def test_every_message_comes_out_as_it_went_in(kinds: Messages[object], message: object) -> None:
    assert kinds.opened(msgpack.unpackb(msgpack.packb(packed(message)))) == message


def test_an_engine_of_a_version_that_measured_nothing_is_heard() -> None:
    carried = packed(Loaded(1.5, {}, 0, {"weights_bytes": 1.0}))
    del carried["measured"]
    assert FROM_ENGINE.opened(carried) == Loaded(1.5, {}, 0)


def test_half_a_surrogate_pair_in_a_text_can_be_stored() -> None:
    assert msgpack.unpackb(pack_response("half \ud83d")) == "half \\ud83d"


def test_all_kinds_are_tried_here() -> None:
    assert {type(said) for said in TOLD} == set(get_args(ToEngine))
    assert {type(said) for said in HEARD} == set(get_args(FromEngine))
