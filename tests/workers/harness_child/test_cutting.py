from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.models.utils import Collator

from workers.harness_child.lm_eval import cutting
from workers.harness_child.lm_eval.cutting import (
    Cut,
    Pair,
    Prompt,
    cut_loglikelihoods,
    cut_missing,
    cut_prompts,
    cut_windows,
)

Batches = list[list[Any]]

token_lists = st.lists(st.integers(0, 2), min_size=1, max_size=5)
pair_lists = st.lists(st.tuples(token_lists, token_lists), min_size=1, max_size=60)
prompt_lists = st.lists(
    st.tuples(st.text("ab", max_size=4), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=60
)
sizes = st.integers(1, 7)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aim at chunks of a few tokens, so that short lists are cut often."""
    monkeypatch.setattr(cutting, "CHUNK_COST", 16)
    monkeypatch.setattr(cutting, "LEAST_COST", 8)


def as_pairs(raw: Sequence[tuple[list[int], list[int]]]) -> list[Pair]:
    return [Pair(array("I", context), array("I", continuation)) for context, continuation in raw]


def hflm_batches(requests: Sequence[Any], size: int, *, grouped: bool) -> Batches:
    """The batches HFLM._loglikelihood_tokens runs, each row with all it answers."""

    def by_length(request: Any) -> tuple[int, tuple[int, ...]]:
        tokens = request[1] + request[2]
        return -len(tokens), tuple(tokens)

    collator = Collator(
        requests,
        sort_fn=by_length,
        group_by="contexts" if grouped else None,
        group_fn=lambda request: request[-2] + request[-1][:-1],
    )
    groups = {key: [member[1] for member in members] for key, members in groups_of(collator).items()}
    return [
        [(row[1:], groups.get(tuple(row[1] + row[2][:-1]), [row]) if grouped else [row]) for row in batch]
        for batch in collator.get_batched(n=size)
    ]


def groups_of(collator: Collator) -> dict[Any, Any]:
    return dict(collator._arr_with_indices) if isinstance(collator._arr_with_indices, dict) else {}


def generation_batches(requests: Sequence[Any], size: int) -> Batches:
    collator = Collator(
        requests,
        sort_fn=lambda request: (-len(request[0]), request[0]),
        group_by="gen_kwargs",
        group_fn=lambda request: request[1],
    )
    return [list(batch) for batch in collator.get_batched(n=size)]


def batches_of_chunks(
    requests: Sequence[Any], cuts: Sequence[Cut], batches: Callable[..., Batches]
) -> Batches:
    """What an engine runs when it is given chunk after chunk."""
    return [batch for cut in cuts for batch in batches([requests[position] for position in cut.positions])]


@given(pair_lists, sizes, st.booleans())
@settings(max_examples=300)
def test_loglikelihood_chunks_hold_the_batches_of_the_whole_list(raw: Any, size: int, grouped: bool) -> None:
    requests = [(number, context, continuation) for number, (context, continuation) in enumerate(raw)]
    cuts = cut_loglikelihoods(as_pairs(raw), size, grouped=grouped)

    assert sorted(position for cut in cuts for position in cut.positions) == list(range(len(raw)))
    assert batches_of_chunks(
        requests, cuts, lambda part: hflm_batches(part, size, grouped=grouped)
    ) == hflm_batches(requests, size, grouped=grouped)


@given(prompt_lists, sizes)
@settings(max_examples=300)
def test_generation_chunks_hold_the_batches_of_the_whole_list(raw: Any, size: int) -> None:
    requests = [(text, {"temperature": heat, "until": ["x"]}, n) for n, (text, heat) in enumerate(raw)]
    prompts = [Prompt(text, len(text), kwargs, len(text) + 1) for text, kwargs, _ in requests]
    cuts = cut_prompts(prompts, size)

    assert all(len({requests[p][1]["temperature"] for p in cut.positions}) == 1 for cut in cuts)
    assert batches_of_chunks(
        requests, cuts, lambda part: generation_batches(part, size)
    ) == generation_batches(requests, size)


@given(pair_lists, sizes)
def test_windows_stay_in_order_and_are_cut_at_whole_batches(raw: Any, size: int) -> None:
    cuts = cut_windows(as_pairs(raw), size)

    assert [position for cut in cuts for position in cut.positions] == list(range(len(raw)))
    assert all(len(cut.positions) % size == 0 for cut in cuts[:-1])


@given(pair_lists, sizes, st.data())
def test_what_is_missing_is_cut_once_and_whole_chunks_are_kept(
    raw: Any, size: int, data: st.DataObject
) -> None:
    pairs = as_pairs(raw)

    def cut(positions: Sequence[int]) -> list[Cut]:
        return cut_loglikelihoods([pairs[position] for position in positions], size, grouped=True)

    fresh = cut(range(len(pairs)))
    gone = data.draw(st.sets(st.integers(0, len(pairs) - 1)))
    done = data.draw(st.sets(st.integers(0, len(fresh) - 1)))
    settled = gone | {position for number in done for position in fresh[number].positions}
    cuts = cut_missing(len(pairs), settled, cut)

    assert sorted(p for c in cuts for p in c.positions) == sorted(set(range(len(pairs))) - settled)
    assert all(chunk in cuts for chunk in fresh if not settled & set(chunk.positions))


def test_settings_that_are_equal_by_value_share_chunks() -> None:
    prompts = [
        Prompt("a", 1, {"temperature": 0, "until": ["x"]}, 2),
        Prompt("b", 1, {"until": ["x"], "temperature": 0.0}, 2),
    ]
    assert len(cut_prompts(prompts, 4)) == 1


def test_a_long_list_is_cut_at_the_aim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    pairs = as_pairs([([1] * 99, [n]) for n in range(100_000)])
    cuts = cut_windows(pairs, 8)

    assert all(cutting.CHUNK_COST <= cut.cost < cutting.CHUNK_COST + 800 for cut in cuts[:-1])


def test_a_short_list_is_shared_by_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert len(cut_windows(as_pairs([([1] * 79, [n]) for n in range(400)]), 8)) >= 8
