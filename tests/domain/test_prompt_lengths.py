from __future__ import annotations

import pytest

from app.domain.prompt_lengths import PromptLengths, says_cut

LENGTHS = PromptLengths(((100, 5), (2048, 3), (2049, 2)))


@pytest.mark.parametrize(
    ("length", "cut"), [(1, 10), (99, 10), (100, 5), (2047, 5), (2048, 2), (2049, 0), (9999, 0)]
)
def test_what_is_longer_is_cut(length: int, cut: int) -> None:
    assert LENGTHS.cut_by(length) == cut


def test_what_a_shorter_length_cuts_is_said_once_it_is_known() -> None:
    assert says_cut(LENGTHS, 2048) == "requests of more than 2,048 tokens are cut: 2 of the job's 10"
    assert says_cut(None, 2048).endswith("is not known before its prompts are built")


def test_a_harness_that_tells_nonsense_tells_nothing() -> None:
    assert PromptLengths.told([]) is None
    assert PromptLengths.told([(0, 3), (5, 0), (-1, -1)]) is None
    assert PromptLengths.told([(0, 3), (5, 1)]) == PromptLengths(((5, 1),))
