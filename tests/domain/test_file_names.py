from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.utils import sanitize_model_name

from app.domain.file_names import MOST_BYTES, as_file_name, unused
from tests.domain.test_visible import HOSTILE


@pytest.mark.parametrize("name", ["openai/gsm8k", "/models/tiny", 'a"<b>:c|d\\e?f*g[h]i', "../x", "größe 7b"])
def test_names_are_those_of_lm_eval(name: str) -> None:
    assert as_file_name(name) == sanitize_model_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "  ", "...", "\x00", HOSTILE, "a/../../b", "\ud800", "x" * 999, "é" * 200]
)
def test_every_name_is_one_file(name: str) -> None:
    made = as_file_name(name)
    assert made.strip(". ")
    assert made.isprintable()
    assert len(made.encode()) <= MOST_BYTES
    assert not set(made) & set('/\\:"<>|?*')


@given(st.lists(st.sampled_from(["a.x", "a_2.x", "b.x"]), max_size=8))
def test_no_two_files_have_one_place(names: list[str]) -> None:
    taken: set[str] = set()
    for name in names:
        taken.add(unused(name, taken))
    assert len(taken) == len(names)
