"""Messages of a harness child and of the fork server, there and back."""

from __future__ import annotations

from typing import Any, get_args

import msgpack
import pytest

from app.workloads.lm_eval.spec import LmEvalSpec
from workers.containment.bounds import Bounds
from workers.protocol.engine import EngineRecipe
from workers.protocol.fork_server import TO_FORK_SERVER, Exited, Look, Spawn, ToForkServer
from workers.protocol.harness import (
    FROM_HARNESS,
    ORDERS,
    TO_HARNESS,
    AllCut,
    ChunkCut,
    EngineRules,
    EngineSettled,
    EvaluateOrder,
    FactsTold,
    FailureTold,
    Found,
    FromHarness,
    JobFailed,
    JudgeSettings,
    LookUp,
    Prepared,
    PromptShapes,
    QualityTold,
    RequestFailed,
    Responses,
    Results,
    SampleRows,
    SampleTold,
    ScoringBegun,
    SettingsJudged,
    TaskEntry,
    TaskFailed,
    TaskFinished,
    TaskProgress,
    TellFacts,
    ToHarness,
    Withdraw,
    Working,
)
from workers.protocol.messages import Messages, packed
from workers.protocol.payload import RequestKind, ResponseNote, pack_note, pack_requests, pack_response

FAULT = FailureTold("task_error", "no", "Traceback", "try another")
ORDER = EvaluateOrder(
    job_id="j",
    spec=LmEvalSpec(
        "hf",
        {"pretrained": "m", "sizes": [1, 2]},
        ("a", "b"),
        batch_size="auto:4",
        limit=0.5,
        samples={"a": (1, 2)},
        gen_kwargs={"until": ["\n"]},
        apply_chat_template="rag",
        seed=(0, None, 1, 2),
    ),
    engine=EngineRecipe("hf", "m", args={"dtype": "float32"}),
    entries=(TaskEntry("a", "task", "/a.yaml"), TaskEntry("b", "tag", None, ("a",))),
    rules=EngineRules("k", PromptShapes.UNBOUNDED, True, "cache", 2, ("device",)),
    salt=None,
    given_up={"c": FAULT},
)
TOLD: tuple[ToHarness, ...] = (
    SettingsJudged(("until is no text",)),
    Found(((b"1", pack_response([-1.5, True]), pack_note(ResponseNote(3))),), (b"2",)),
    Responses(((b"1", pack_response("text"), None),)),
    RequestFailed(b"1", FAULT),
    FactsTold({"dtype": "float32", "versions": {"torch": "2"}}),
    FactsTold(None),
)
HEARD: tuple[FromHarness, ...] = (
    Working("a"),
    Working(None),
    JudgeSettings("{}"),
    EngineSettled({"max_model_len": 2048}),
    Prepared(b"f" * 32, (("a", 3), ("b", 0)), {"versions": {"lm_eval": "0"}, "seeds": [0, None]}),
    LookUp((b"1", b"2")),
    ChunkCut(RequestKind.GENERATE, "auto", {"until": ["\n"]}, 7, 1.5, (b"1",), pack_requests(["x"])),
    ChunkCut(RequestKind.ROLLING, 8, None, None, 1.5, (b"1",), pack_requests([[[1], [2]]])),
    AllCut(),
    Withdraw((b"1",)),
    TaskProgress("a", 3),
    TaskFailed("a", FAULT),
    TaskFinished("a", "{}", None),
    TaskFinished("a", "{}", FAULT, QualityTold(3, 1, 8, 8, None, 0, 0, 0, None, {"strict": 2})),
    SampleRows("a", (SampleTold("{}", True, False, True), SampleTold("{}"))),
    ScoringBegun(),
    TellFacts(),
    Results("{}", "m", "2026-01-01T00-00-00"),
    JobFailed(FAULT),
    Exited(9, "held too much"),
)
ASKED: tuple[ToForkServer, ...] = (Spawn("/log", tuple(Bounds(1, 2, 3))), Look())
ALL: tuple[tuple[Messages[Any], object], ...] = (
    (ORDERS, ORDER),
    *((TO_HARNESS, said) for said in TOLD),
    *((FROM_HARNESS, said) for said in HEARD),
    *((TO_FORK_SERVER, said) for said in ASKED),
)


@pytest.mark.parametrize(("kinds", "message"), ALL)
def test_every_message_comes_out_as_it_went_in(kinds: Messages[Any], message: object) -> None:
    assert kinds.opened(msgpack.unpackb(msgpack.packb(packed(message)))) == message


def test_all_kinds_are_tried_here() -> None:
    heard = [kind for group in get_args(FromHarness) for kind in get_args(group) or (group,)]
    assert {type(said) for said in HEARD} == set(heard)
    assert {type(said) for said in TOLD} == set(get_args(ToHarness))
    assert {type(said) for said in ASKED} == set(get_args(ToForkServer))


def test_a_number_of_documents_stays_what_its_user_wrote() -> None:
    for given in (3, 0.5, 1.0):
        spec = LmEvalSpec.from_json({"model": "hf", "tasks": ["a"], "limit": given, "team": "no matter here"})
        assert repr(spec.limit) == repr(given)
