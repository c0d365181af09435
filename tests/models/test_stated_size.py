from __future__ import annotations

import pytest

from app.models.stated_size import stated_parameters


@pytest.mark.parametrize(
    ("size", "parameters"),
    [("70B", 70 * 10**9), ("1.5b", 1_500_000_000), (" 350 M ", 350 * 10**6), ("1T", 10**12)],
)
def test_a_size_is_read_as_people_write_it(size: str, parameters: int) -> None:
    assert stated_parameters(size) == parameters


@pytest.mark.parametrize(
    "size", ["", "70", "B", "0B", "-7B", "8x7B", "1e3B", "nanB", "7GB", "999999T", "\uff17B", "7" * 9999]
)
def test_what_is_no_size_is_refused_in_words(size: str) -> None:
    with pytest.raises(ValueError, match="is a number of parameters, such as 70B"):
        stated_parameters(size)
