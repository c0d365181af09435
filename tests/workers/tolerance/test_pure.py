"""What is asked, and how far two runs are apart."""

from __future__ import annotations

import pytest

from app.domain.tolerance import Gap
from app.errors import ToleranceError
from workers.tolerance.documents import documents
from workers.tolerance.gaps import gap


def test_the_same_documents_are_asked_at_every_call() -> None:
    asked = documents(40)
    assert asked == documents(60)[:40]
    assert len({document.question for document in asked}) == 40
    assert {len(document.choices) for document in asked} == {4}
    assert [bool(document.examples) for document in asked[:4]] == [False, False, True, True]
    assert asked[0].choices == (" A", " B", " C", " D")
    assert all(len(choice.split()) > 4 for choice in asked[1].choices)
    assert len({document.examples for document in asked if document.examples}) == 20


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ([[(-1.0, True), (-2.0, False)]], [[(-1.0, True), (-2.0, False)]], Gap(0.0, 0, 0)),
        ([[(-1.0, True), (-2.0, False)]], [[(-1.25, False), (-2.0, False)]], Gap(0.25, 1, 0)),
        ([[(-1.0, True), (-2.0, False)]], [[(-2.5, True), (-2.0, False)]], Gap(1.5, 0, 1)),
        ([[(-1.0, False), (-1.0, False)]], [[(-1.0, False), (-0.5, False)]], Gap(0.5, 0, 1)),
        ([], [], Gap(0.0, 0, 0)),
    ],
)
def test_runs_are_compared_request_by_request(
    one: list[list[tuple[float, bool]]], other: list[list[tuple[float, bool]]], found: Gap
) -> None:
    assert gap(one, other) == found


@pytest.mark.parametrize("other", [[], [[(-1.0, True)]]])
def test_what_cannot_be_compared_is_no_gap(other: list[list[tuple[float, bool]]]) -> None:
    with pytest.raises(ValueError, match=r"zip\(\)"):
        gap([[(-1.0, True), (-2.0, True)]], other)


@pytest.mark.parametrize("odd", [float("nan"), float("-inf")])
@pytest.mark.parametrize("place", [0, 1])
def test_what_is_no_number_is_told_wherever_it_stands(odd: float, place: int) -> None:
    told = [(-1.0, True), (-2.0, True)]
    told[place] = (odd, True)
    for other in (told, [(-1.0, True), (-2.0, True)]):
        with pytest.raises(ToleranceError, match="no number"):
            gap([told], [other])
