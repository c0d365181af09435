"""Messages that travel and come out as they went in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgpack
import pytest

from workers.protocol.channel import Channel
from workers.protocol.frames import Connection, pair
from workers.protocol.messages import Messages, packed


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    name: str
    colour: Colour | None = None


@dataclass(frozen=True)
class Outer:
    id: UUID
    inner: Inner
    maybe: Inner | None
    several: tuple[Inner, ...]
    rows: Sequence[tuple[bytes, Inner]]
    by_name: Mapping[str, Inner]
    size: int | str
    anything: Any = None
    keys: tuple[bytes, ...] = ()
    pairs: tuple[tuple[bytes, float | None], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stop:
    pass


KINDS: Messages[Outer | Stop] = Messages(Outer, Stop)


def travelled(message: object) -> object:
    return KINDS.opened(msgpack.unpackb(msgpack.packb(packed(message)), strict_map_key=False))


def outer(**changes: Any) -> Outer:
    inner = Inner("a", Colour.RED)
    given: dict[str, Any] = {
        "id": UUID(int=7),
        "inner": inner,
        "maybe": None,
        "several": (inner, Inner("b")),
        "rows": ((b"k", inner),),
        "by_name": {"x": inner},
        "size": 3,
    }
    return Outer(**given | changes)


@pytest.mark.parametrize(
    "message",
    [
        Stop(),
        outer(),
        outer(maybe=Inner("m"), size="auto", keys=(b"1", b"2"), pairs=((b"1", 0.5), (b"2", None))),
        outer(anything={"deep": [1, {"er": None}], 5: "number"}, facts={"type": "Stop"}),
        outer(several=(), rows=(), by_name={}),
    ],
)
def test_a_message_comes_out_as_it_went_in(message: object) -> None:
    assert travelled(message) == message


def test_kinds_that_nobody_reads_are_refused() -> None:
    with pytest.raises(ValueError, match="kind 'Inner'"):
        KINDS.opened(packed(Inner("a")))


@pytest.mark.parametrize("carried", [{}, {"type": "Outer"}, {"type": "Outer", "id": "no uuid"}])
def test_what_is_no_message_is_a_value_error(carried: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"kind|no Outer|badly formed"):
        KINDS.opened(carried)


@pytest.mark.parametrize(
    "field",
    [
        {"pairs": [[b"1"]]},
        {"pairs": [[b"1", 0.5, 1]]},
        {"pairs": [1]},
        {"rows": [[b"1"]]},
        {"rows": [[b"1", {"name": "a"}, 1]]},
    ],
)
def test_a_row_of_another_length_is_a_value_error(field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"belong|no Outer|longer|shorter"):
        KINDS.opened(packed(outer()) | field)


def test_a_field_of_a_later_version_does_no_harm() -> None:
    assert KINDS.opened(packed(Stop()) | {"new": 1}) == Stop()


def test_each_end_of_a_channel_hears_what_the_other_says() -> None:
    one, other = pair()
    ours: Channel[Stop, Outer] = Channel(one, Messages(Outer))
    theirs: Channel[Outer, Stop] = Channel(Connection(other), Messages(Stop))
    ours.send(Stop())
    theirs.send(outer())
    assert theirs.receive(5) == Stop()
    assert ours.receive(5) == outer()
    theirs.connection.close()
    assert ours.receive(5) is None
    ours.connection.close()
