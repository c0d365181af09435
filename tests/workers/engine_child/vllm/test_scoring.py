"""Log-likelihoods from what vLLM gives, on invented outputs."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from workers.engine_child.vllm.scoring import cut_left, scored


@dataclass(frozen=True)
class Given:
    """As vLLM's Logprob."""

    logprob: float


def row(**tokens: float) -> dict[int, Given]:
    return {int(name[1:]): Given(value) for name, value in tokens.items()}


ROWS = [None, row(t5=-1.0), row(t6=-0.5, t9=-0.25), row(t7=-0.125)]


def test_the_tokens_of_the_continuation_are_summed() -> None:
    assert scored([4, 5, 6, 7], ROWS, 2) == (-0.625, False)


@pytest.mark.parametrize(("start", "greedy"), [(3, True), (2, False), (1, False)])
def test_it_is_greedy_if_each_of_them_is_the_likeliest(start: int, *, greedy: bool) -> None:
    assert scored([4, 5, 6, 7], ROWS, start)[1] is greedy


def test_of_two_that_are_equally_likely_each_is_the_likeliest() -> None:
    assert scored([4, 5], [None, row(t5=-0.7, t2=-0.7)], 1) == (-0.7, True)


def test_a_token_without_its_row_is_an_error_and_no_number() -> None:
    with pytest.raises(KeyError):
        scored([4, 5], [None, row(t2=-0.7)], 1)
    with pytest.raises(KeyError):
        scored([4, 5], [None, None], 1)


@pytest.mark.parametrize(
    ("context", "continuation", "kept", "start"),
    [
        ([1, 2, 3], [4, 5], [1, 2, 3, 4, 5], 3),
        ([1, 2, 3, 4, 5], [6, 7], [1, 2, 3, 4, 5, 6, 7], 5),
        ([0, 1, 2, 3, 4, 5], [6, 7], [1, 2, 3, 4, 5, 6, 7], 5),
        ([1, 2], [3, 4, 5, 6, 7, 8], [2, 3, 4, 5, 6, 7, 8], 1),
    ],
)
def test_a_pair_leaves_room_for_one_token(
    context: list[int], continuation: list[int], kept: list[int], start: int
) -> None:
    assert cut_left(context, continuation, max_length=8) == (kept, start)
