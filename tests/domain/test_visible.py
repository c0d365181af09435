from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis.strategies import characters, just, lists, text

from app.domain.visible import hanging, in_a_cell, one_line, visible

HOSTILE = "x\x1b]0;owned\x07\x1b[31mred\x9b2J\x7f\x85\u2028\u202eevil\u2066"
"""A title, a colour, C1, and text that runs backwards."""
UNSEEN = [
    *map(chr, {*range(32), *range(0x7F, 0xA0)} - {9, 10}),
    *"\u2028\u2029\u202a\u202e\u2066\u2069\u200f\udc80",
]


def drives_nothing(shown: str) -> bool:
    """Whether nothing in it is more to a terminal than a letter, a newline or a tab."""
    return not set(UNSEEN) & set(shown)


@pytest.mark.parametrize("character", UNSEEN, ids=lambda character: f"U+{ord(character):04X}")
def test_no_control_character_is_left(character: str) -> None:
    for form in (visible, one_line, hanging):
        shown = form(f"a{character}b")
        assert drives_nothing(shown)
        assert (shown[0], shown[-1]) == ("a", "b")


@given(text(characters()))
def test_whatever_is_shown_can_be_printed(words: str) -> None:
    shown = visible(words)
    assert {unicodedata.category(one) for one in shown if one not in "\n\t"}.isdisjoint(
        {"Cc", "Cs", "Zl", "Zp"}
    )
    assert visible(shown) == shown
    shown.encode()


@given(text(characters()))
def test_one_line_is_one(words: str) -> None:
    assert len(one_line(words).splitlines()) <= 1


def test_letters_newlines_and_tabs_stay() -> None:
    words = "größer ≥ 3 👩‍🚀\t日本\nsecond line"
    assert visible(words) == words
    assert one_line("a\tb\nc") == r"a\tb\nc"


def test_a_carriage_return_covers_nothing() -> None:
    assert visible("10 %\r20 %\r\nfailed\r") == "10 %\n20 %\nfailed\n"


def test_further_lines_stand_under_the_first() -> None:
    assert hanging("first\nstatus succeeded\rx", 4) == "first\n    status succeeded\n    x"


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_a_spreadsheet_sees_no_formula_in_a_cell(text: str) -> None:
    assert in_a_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["", "a=b", "1", -1.5, None, 0])
def test_other_values_stand_in_a_cell_as_they_are(value: object) -> None:
    assert in_a_cell(value) is value


@given(lists(text(characters(exclude_categories=())) | just(HOSTILE)))
def test_json_stays_the_same_document(document: list[str]) -> None:
    shown = visible(json.dumps(document, ensure_ascii=False, indent=2))
    assert drives_nothing(shown)
    assert json.loads(shown) == document
