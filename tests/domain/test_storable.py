from __future__ import annotations

import json
from fractions import Fraction
from math import inf, nan
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.failure import MOST_CHARACTERS, Failure, FailureCode
from app.domain.storable import DEEPEST, MAX_DEPTH, MOST_NAME, storable, to_json, unstorable


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"mean": nan, "n": 6}, {"mean": None, "n": 6}),
        ([inf, [-inf, (1.5,)]], [None, [None, [1.5]]]),
        ("a\x00b\ud83d", "a\ufffdb\ufffd"),
        ({"\x00": 1, 2: 3, None: 4, True: 5}, {"\ufffd": 1, "2": 3, "null": 4, "true": 5}),
        (2**63 - 1, 2**63 - 1),
        (2**70, float(2**70)),
        (10**400, None),
        (Fraction(1, 4), 0.25),
        ({7}, [7]),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (Mute(), "<Mute>"),
        ({Mute(): Mute}, {"<Mute>": str(Mute)}),
        (b"x", "b'x'"),
    ],
)
def test_what_no_column_holds_becomes_what_every_reader_holds(value: object, kept: object) -> None:
    assert storable(value) == kept


def test_what_is_nested_too_deep_is_cut() -> None:
    value: Any = []
    for _ in range(5000):
        value = [value]
    text = to_json(value)
    assert text.count("[") == DEEPEST + 1
    assert "levels deep" in text


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(Mute()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner),
)


@given(anything)
def test_anything_becomes_a_message_and_strict_json_that_stay_the_same(value: object) -> None:
    kept = storable(value)
    assert storable(kept) == kept == json.loads(to_json(value)) == msgpack.unpackb(msgpack.packb(kept))


def test_a_failure_is_short_and_can_be_kept() -> None:
    failure = Failure(
        FailureCode.TASK_ERROR, "NUL\x00" + "x" * 10**6, log_tail=("\ud800",), attempts=({"at": nan},)
    )
    assert len(failure.message) <= MOST_CHARACTERS + 4
    assert failure.message.startswith("NUL\ufffdx")
    assert failure.log_tail == ("\ufffd",)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "path", "wrong"),
    [
        ("\x00", "body", "holds a NUL character"),
        ({"a": ["fine", "\ud800"]}, "body.a.1", "half a surrogate pair"),
        ({"a": 2**63}, "body.a", "more than 64 bits"),
        ([nan], "body.0", "not a finite number"),
        ({"a": {7}}, "body.a", "is set, which JSON does not have"),
        ({7: 1}, "body", "has the name 7, and names must be text"),
        ({"a" * (MOST_NAME + 1): 1}, "body", "has a name of more than 300 characters"),
        ({"\x00": 1}, "body", "holds a NUL character"),
        (nested(MAX_DEPTH + 1), "body" + ".0" * MAX_DEPTH, "is nested more than 32 levels deep"),
    ],
)
def test_what_cannot_be_kept_is_found_where_it_is(value: object, path: str, wrong: str) -> None:
    (fault,) = unstorable(value, "body")
    assert fault.path == path
    assert wrong in fault.message


def test_what_can_be_kept_has_no_fault() -> None:
    assert list(unstorable({"a": [1, 2.5, None, True, "\U0001f600", {"b": nested(8)}]}, "body")) == []


def test_a_part_without_a_path_above_it_is_its_own() -> None:
    (fault,) = unstorable({"a": nan}, "")
    assert fault.path == "a"
