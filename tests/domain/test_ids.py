from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.ids import beginning_of, ids_beginning


@given(st.uuids(), st.uuids(), st.integers(1, 36))
def test_those_that_begin_so_are_between_and_no_others(one: UUID, other: UUID, length: int) -> None:
    beginning = str(one)[:length]
    first, last = ids_beginning(beginning)
    assert first <= one <= last
    assert (first <= other <= last) == str(other).startswith(beginning)
    assert ids_beginning(beginning_of(first, last)) == (first, last)


@pytest.mark.parametrize("text", ["", "-", "----", "0" * 33])
def test_what_can_be_no_beginning_is_none(text: str) -> None:
    first, last = ids_beginning(text)
    assert first > last
    assert ids_beginning(beginning_of(first, last)) == (first, last)
