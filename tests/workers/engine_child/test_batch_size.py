from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.engine_child.hf.batch_size import BatchSizes, Shape, double_until_no_faster


class Probe:
    def __init__(self, size: int) -> None:
        self.size = size
        self.asked: list[Shape] = []

    def __call__(self, shape: Shape) -> int:
        self.asked.append(shape)
        return self.size


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_a_bucket_holds_its_length_unless_the_model_does_not(length: int, max_length: int) -> None:
    bucket = Shape.of(length, max_length, generating=False).length
    assert min(length, max_length) <= bucket <= min(2 * length, max_length)


def test_what_is_probed_is_bounded_for_one_job_and_kept_for_others() -> None:
    sizes, shape = BatchSizes(Probe(32)), Shape(False, 128)
    assert [sizes.choose(asked, shape) for asked in ("auto max 8", "auto:4 max 64", "auto")] == [8, 32, 32]
    assert sizes.halve(shape, 32) == 16
    assert [sizes.choose(asked, shape) for asked in ("auto max 8", "auto max 24")] == [8, 16]


def test_an_integer_is_taken_as_it_is_without_a_probe() -> None:
    probe = Probe(4)
    assert BatchSizes(probe).choose(16, Shape(False, 128)) == 16
    assert probe.asked == []


def test_an_automatic_size_is_probed_once_for_each_shape() -> None:
    probe = Probe(4)
    sizes = BatchSizes(probe)
    short, long = Shape(False, 128), Shape(False, 256)
    assert [sizes.choose(asked, short) for asked in ("auto", "auto:4", "auto")] == [4, 4, 4]
    sizes.choose("auto", long)
    assert probe.asked == [short, long]


def test_a_halved_size_is_remembered_for_its_shape_only() -> None:
    sizes = BatchSizes(Probe(4))
    short, long = Shape(False, 128), Shape(False, 256)
    assert sizes.halve(long, 16) == 8
    assert sizes.choose(16, long) == 8
    assert sizes.choose("auto", long) == 4
    assert sizes.choose(16, short) == 16


def test_doubling_ends_where_it_no_longer_pays() -> None:
    assert double_until_no_faster(lambda size: 1.0 if size <= 8 else size / 8, 64) == 8


def test_doubling_ends_at_the_bound() -> None:
    assert double_until_no_faster(lambda size: 1.0, 48) == 32
    assert double_until_no_faster(lambda size: 1.0, 1) == 1
