from __future__ import annotations

import pytest

from app.domain.measures import MOST, LoadMeasure, in_the_middle, plausible, speed

LIES = [0, -1, -0.5, float("nan"), float("inf"), float("-inf"), MOST * 2, 10**400, True, "7", None, [1], {}]


@pytest.mark.parametrize("lie", LIES)
def test_what_no_machine_measures_is_not_known(lie: object) -> None:
    assert plausible(lie) is None
    assert LoadMeasure.told({"weights_bytes": lie, "seconds": 4}) == LoadMeasure(seconds=4.0)


def test_what_another_version_says_beside_it_does_no_harm() -> None:
    assert LoadMeasure.told({"weights_bytes": 5, "colour": "blue"}).known == {"weights_bytes": 5.0}
    assert LoadMeasure.told({}).known == {}


def test_of_several_loads_the_middle_counts_of_each_measure() -> None:
    loads = [
        LoadMeasure(weights_bytes=1, seconds=40),
        LoadMeasure(weights_bytes=9),
        LoadMeasure(weights_bytes=2),
    ]
    assert in_the_middle(loads) == LoadMeasure(weights_bytes=2, seconds=40)
    assert in_the_middle([]) == LoadMeasure()


@pytest.mark.parametrize(
    ("done", "seconds", "expected"), [(6, 2, 3.0), (0, 2, None), (6, 0, None), (-6, -2, None)]
)
def test_a_speed_is_of_work_that_took_time(done: float, seconds: float, expected: float | None) -> None:
    assert speed(done, seconds) == expected
