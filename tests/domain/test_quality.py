from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.quality import TaskQuality, remarks

FINE = TaskQuality(100, 0, 100, 0, 0, 100, 0, 0, 256, {"strict": 0, "flexible": 0})
NOT_KNOWN = replace(FINE, requests_not_known=100, prompts_cut=None, answers_truncated=None)


@pytest.mark.parametrize("of", [{}, {"gsm8k": FINE}, {"gsm8k": NOT_KNOWN}])
def test_nothing_is_said_of_what_is_in_order_or_not_known(of: dict[str, TaskQuality]) -> None:
    assert remarks(of) == []


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        (
            replace(FINE, prompts_cut=3),
            "3 of 100 prompts of gsm8k were cut, because they did not fit: give fewer examples, or raise the maximum"
            " length",
        ),
        (
            replace(FINE, answers_truncated=12),
            "12 of 100 answers of gsm8k ended at 256 tokens: raise max_gen_toks",
        ),
        (
            replace(FINE, answers_truncated=1, max_gen_toks=None),
            "1 of 100 answers of gsm8k ended at their longest: raise max_gen_toks",
        ),
        (replace(FINE, answers_empty=2), "2 of 100 answers of gsm8k are empty"),
        (
            replace(
                FINE, documents=101, documents_left_out=1, filter_found_nothing={"strict": 7, "flexible": 0}
            ),
            "7 of 100 documents of gsm8k have no answer in which the filter strict found anything",
        ),
    ],
)
def test_each_thing_out_of_the_ordinary_is_a_sentence(odd: TaskQuality, told: str) -> None:
    assert remarks({"gsm8k": odd, "arc": FINE}) == [told]


def test_the_task_with_most_of_it_is_named_and_the_others_are_counted() -> None:
    few, many = replace(FINE, answers_truncated=1), replace(FINE, answers_truncated=9)
    assert remarks({"a": few, "b": many}) == [
        "9 of 100 answers of b and 1 of 100 of another task ended at 256 tokens: raise max_gen_toks"
    ]
    others = {"c": replace(few, max_gen_toks=32), "d": FINE}
    assert remarks({"a": few, "b": many} | others) == [
        "9 of 100 answers of b and 2 of 200 of 2 other tasks ended at their longest: raise max_gen_toks"
    ]


def test_braces_in_names_are_no_places_for_values() -> None:
    assert remarks({"{0}{}": replace(FINE, answers_truncated=1, filter_found_nothing={"{x}": 1})}) == [
        "1 of 100 answers of {0}{} ended at 256 tokens: raise max_gen_toks",
        "1 of 100 documents of {0}{} have no answer in which the filter {x} found anything",
    ]


def test_what_is_stored_is_read_again_and_what_a_later_version_adds_is_passed_over() -> None:
    stored = FINE.to_json()
    assert TaskQuality.from_json(stored) == FINE
    assert TaskQuality.from_json(stored | {"answers_repeated": 3}) == FINE
