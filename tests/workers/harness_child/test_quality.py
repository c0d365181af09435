"""How well a task was asked and answered, as the harness child counts it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from workers.protocol.harness import QualityTold, SampleRows, SampleTold
from workers.protocol.payload import EndedBy, ResponseNote

from .coordinator import KILLS, Ordered, Run

Orders = Callable[..., Ordered]
CUT_SHORT = ResponseNote(cut=2, ended_by=EndedBy.LENGTH)
WHOLE = ResponseNote(cut=0, ended_by=EndedBy.STOP)


def samples(run: Run, task: str) -> list[SampleTold]:
    return [row for some in run.of(SampleRows) if some.task == task for row in some.rows]


@pytest.mark.parametrize(
    ("note", "not_known", "count"), [(WHOLE, 0, 0), (CUT_SHORT, 0, 24), (None, 24, None)]
)
def test_what_engines_tell_of_answers_is_counted(
    order: Orders, note: ResponseNote | None, not_known: int, count: int | None
) -> None:
    """24: two repeats of 12 documents, each a request of its own; of earlier versions nothing is known, and not 0."""
    run = Run(note=note).serve(order("generated", "sums"))

    assert run.quality("generated") == QualityTold(
        documents=12,
        documents_left_out=0,
        requests=24,
        requests_not_known=not_known,
        prompts_cut=count,
        answers=24,
        answers_truncated=count,
        answers_empty=0,
        max_gen_toks=16,
        filter_found_nothing={"first": 0, "vote": 0},
    )
    assert {row.truncated for row in samples(run, "generated")} == {None if count is None else bool(count)}
    assert run.quality("sums").answers == run.quality("sums").answers_truncated == 0
    assert (run.quality("sums").prompts_cut, run.quality("sums").max_gen_toks) == (count and 36, None)
    assert {row.truncated for row in samples(run, "sums")} == {False}


def test_of_answers_that_are_known_in_part_the_least_is_told(order: Orders) -> None:
    run = Run().serve(order("searched", limit=4))
    more = Run(store=dict(run.store), note=CUT_SHORT).serve(order("searched"))

    told = more.quality("searched")
    assert (told.requests, told.requests_not_known) == (12, 4)
    assert told.prompts_cut == told.answers_truncated == 8
    assert [row.truncated for row in samples(more, "searched")][:12] == [None] * 4 + [True] * 8
    whole = Run(store=dict(run.store), note=WHOLE).serve(order("searched")).quality("searched")
    assert whole.requests_not_known == 4
    assert whole.prompts_cut is whole.answers_truncated is None


def test_filters_that_search_say_in_how_many_documents_they_found_nothing(order: Orders) -> None:
    run = Run(note=WHOLE).serve(order("searched"))

    texts = [json.loads(row)["resps"][0][0] for row in run.rows("searched")][:12]
    strict = sum(not re.search(r"about 1\d,", text) for text in texts)
    mapped = sum(not re.search("or [12]", text) for text in texts)
    assert 0 < strict < 12
    assert 0 < mapped < 12
    assert run.quality("searched").filter_found_nothing == {"strict": strict, "mapped": mapped, "voted": 12}


def test_texts_of_blanks_are_empty(order: Orders) -> None:
    job = order("searched")
    keys = list(Run(note=WHOLE).serve(job).store)
    run = Run(store=dict(zip(keys, [" \n", "", *["x"] * 10], strict=True))).serve(job)

    assert run.quality("searched").answers_empty == 2
    assert sum(bool(row.empty) for row in samples(run, "searched")) == 2 * 4, "for each filter a line"


def test_documents_that_were_left_out_are_told_and_have_no_requests(order: Orders) -> None:
    run = Run(note=WHOLE, refuse="is 3 plus").serve(order("searched"))

    told = run.quality("searched")
    assert (told.documents, told.documents_left_out, told.requests, told.answers) == (12, 1, 11, 11)
    assert KILLS.message in run.rows("searched")[0]
    assert samples(run, "searched")[0] == SampleTold(run.rows("searched")[0])


def test_chosen_documents_are_flagged_by_their_own_numbers(order: Orders) -> None:
    job = order("searched", samples={"searched": [2, 5, 9]})
    first = Run(note=WHOLE).serve(job)
    silent = {key: "" if number == 1 else text for number, (key, text) in enumerate(first.store.items())}
    run = Run(store=silent).serve(job)

    rows = [(json.loads(row.line), row.empty) for row in samples(run, "searched")]
    assert [empty for _, empty in rows] == [row["resps"] == [[""]] for row, _ in rows]
    assert len({row["doc_id"] for row, empty in rows if empty} & {2, 5, 9}) == 1


def test_a_filter_that_cannot_be_judged_harms_no_task(order: Orders, monkeypatch: pytest.MonkeyPatch) -> None:
    def slips(_: object) -> list[object]:
        raise ZeroDivisionError("the filter's own code")

    monkeypatch.setattr("workers.harness_child.lm_eval.quality._signs", slips)
    run = Run(note=WHOLE).serve(order("searched"))
    assert run.quality("searched").filter_found_nothing == {}
    assert run.document["results"]["searched"]
