"""Sums of whole numbers, as a shell reckons them."""

import pytest

from app.workloads.lm_eval.command.arithmetic import NoNumberError, reckoned


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2 * 4", 8),
        ("N * 8", 32),
        ("$N*8", 32),
        ("${N} * (8 - 2) / 5", 4),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("1 - 1 - 1", -1),
        ("+(2)", 2),
    ],
)
def test_sums_are_reckoned_as_a_shell_would(text: str, number: int) -> None:
    assert reckoned(text, {"N": "4"}.get) == number


NO_SUMS = (
    "",
    "x",
    "1 +",
    "(1",
    "1)",
    "010",
    "0x10",
    "1 / 0",
    "1 % 0",
    "2 ** 3",
    "1 << 2",
    "a=1",
    "1 2",
    "1,2",
)
TOO_LARGE = ["9" * 30, "9999999999 * 9999999999 * 9999999999", "(" * 60, "1+" * 90]


@pytest.mark.parametrize("text", [*NO_SUMS, *TOO_LARGE, "$(ls)", "N", "W"])
def test_what_is_no_plain_sum_is_no_number(text: str) -> None:
    with pytest.raises(NoNumberError):
        reckoned(text, {"N": "four", "W": ""}.get)
