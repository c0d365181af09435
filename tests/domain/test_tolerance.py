"""Whether fast scoring is near enough to stock."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.tolerance import Gap, Tolerance, worst

NONE = Gap(0.0, 0, 0)
FOUND = Tolerance(
    backend="vllm",
    device="NVIDIA H100",
    dtype="bfloat16",
    versions={"vllm": "0.33.0"},
    runner="v1",
    model="m",
    documents=200,
    requests=2000,
    fast=Gap(0.03, 1, 0),
    noise=NONE,
    stock_rate=10.0,
    fast_rate=80.0,
    measured_at=datetime(2026, 11, 27, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("fast", "noise", "near"),
    [
        (NONE, NONE, True),
        (Gap(0.05, 2, 0), NONE, True),
        (Gap(0.051, 0, 0), NONE, False),
        (Gap(0.0, 3, 0), NONE, False),
        (Gap(0.0, 0, 1), NONE, False),
        (Gap(0.4, 20, 6), Gap(0.2, 10, 3), True),
        (Gap(0.41, 20, 6), Gap(0.2, 10, 3), False),
        (Gap(0.4, 21, 6), Gap(0.2, 10, 3), False),
        (Gap(0.4, 20, 7), Gap(0.2, 10, 3), False),
    ],
)
def test_fast_is_near_within_the_bounds_or_twice_stocks_own_noise(fast: Gap, noise: Gap, near: bool) -> None:
    found = replace(FOUND, fast=fast, noise=noise)
    assert (found.near, found.usable, replace(found, accepted=True).usable) == (near, near, True)


def test_one_that_speaks_against_fast_outweighs_any_that_do_not() -> None:
    far, accepted = replace(FOUND, fast=Gap(0.0, 0, 1)), replace(FOUND, fast=Gap(3.0, 0, 9), accepted=True)
    assert worst([accepted, far, FOUND]) is far
    assert worst([FOUND, accepted]) is accepted
    assert worst([]) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"documents": 0},
        {"documents": 2001},
        {"requests": 10**12},
        {"fast_rate": 0.0},
        {"stock_rate": float("inf")},
        {"measured_at": datetime(2026, 11, 27)},  # noqa: DTZ001 - that is what is wrong with it
        {"model": "a\0b"},
        {"device": "\ud800"},
        {"dtype": "x" * 501},
    ],
)
def test_what_nobody_could_measure_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no rates|people|documents"):
        replace(FOUND, **wrong)


@pytest.mark.parametrize("gap", [(float("nan"), 0, 0), (-0.1, 0, 0), (0.0, -1, 0), (0.0, 0, -1)])
def test_no_gap_is_less_than_none(gap: tuple[float, int, int]) -> None:
    with pytest.raises(ValueError, match="no gap"):
        Gap(*gap)


def test_it_holds_for_one_device_and_one_set_of_versions() -> None:
    assert FOUND.fits("vllm", "NVIDIA H100", {"vllm": "0.33.0"})
    assert not FOUND.fits("vllm-cpu", "NVIDIA H100", {"vllm": "0.33.0"})
    assert not FOUND.fits("vllm", "NVIDIA H200", {"vllm": "0.33.0"})
    assert not FOUND.fits("vllm", "NVIDIA H100", {"vllm": "0.33.1"})
