from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.trace import TraceParent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-fe", False),
        (f"00-{TRACE}-{SPAN}-ff", True),
        (f"cc-{TRACE}-{SPAN}-01-what-will-be", True),
        (f"01-{TRACE}-{SPAN}-01", True),
    ],
)
def test_a_header_as_w3c_writes_it_is_read(text: str, sampled: bool) -> None:
    assert TraceParent.parse(text) == TraceParent(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{'٣' * 32}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01.what",
    ],
)
def test_what_is_none_is_none(text: str) -> None:
    assert TraceParent.parse(text) is None


def test_a_new_one_is_its_own_and_can_be_read() -> None:
    first, second = TraceParent.new(), TraceParent.new()
    assert first.trace_id != second.trace_id
    assert TraceParent.parse(str(first)) == first


@given(st.text(max_size=80))
def test_whatever_is_sent_is_read_or_none(text: str) -> None:
    found = TraceParent.parse(text)
    assert found is None or TraceParent.parse(str(found)) == found
