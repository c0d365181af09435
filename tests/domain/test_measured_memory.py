"""What engines measured counts before arithmetic, in the place where they did; lies do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.measured_memory import weighed
from app.domain.measures import LoadMeasure, Measured, Placed
from app.domain.memory import GIB, Fit
from app.domain.planning import GroupRoom, Layout, plan
from tests.domain.test_memory import known
from tests.domain.test_planning import VLLM

H100 = GroupRoom("h100", (79.2,) * 8, kind="NVIDIA H100 80GB HBM3")
L4 = GroupRoom("l4", (22.0,) * 4, kind="NVIDIA L4")
LLAMA = known("Llama-2-7b-hf")
MEASURED = Measured(
    Placed(L4.kind),
    3,
    LoadMeasure(weights_bytes=14 * GIB, other_bytes=5 * GIB, cache_tokens=4321, seconds=38),
)


def laid(*measured: Measured, room: GroupRoom = L4) -> Layout:
    found = plan(replace(VLLM, measured=measured), LLAMA, [room])
    assert isinstance(found, Layout)
    return found


def test_what_was_measured_decides_what_fits() -> None:
    assert (laid().gpus, laid().fit) == (1, Fit.FITS)
    wider = laid(MEASURED)
    assert (wider.gpus, wider.measured) == (2, None)
    alone = plan(replace(VLLM, measured=(MEASURED,), gpus=1, tensor=1), LLAMA, [L4])
    assert alone.says.count("measured on NVIDIA L4, 3 loads: 14.00 GiB of weights, 5.00 GiB beside them") == 1  # type: ignore[union-attr]


def test_what_was_measured_elsewhere_or_otherwise_spread_does_not_count() -> None:
    assert laid(MEASURED, room=H100).memory == laid(room=H100).memory
    spread = replace(MEASURED, placed=replace(MEASURED.placed, tensor=2, gpus=2))
    assert laid(spread) == laid()


def test_a_device_of_another_kind_has_measures_of_its_own() -> None:
    other = replace(MEASURED, placed=Placed(H100.kind), load=LoadMeasure(weights_bytes=12 * GIB))
    assert laid(MEASURED, other, room=H100).memory.weights == 12.0  # type: ignore[union-attr]


@pytest.mark.parametrize("gib", [23, 10**6, 0.5, 1e-9])
def test_more_than_a_device_holds_and_next_to_nothing_are_not_believed(gib: float) -> None:
    lie = replace(MEASURED, load=LoadMeasure(weights_bytes=gib * GIB, other_bytes=GIB))
    assert laid(lie) == laid()


def test_a_load_of_which_only_the_time_is_known_tells_the_time() -> None:
    found = laid(replace(MEASURED, load=LoadMeasure(seconds=38)))
    assert found.measured
    assert (found.memory, found.measured.load.seconds) == (replace(laid().memory, lines=found.lines), 38)  # type: ignore[type-var]


def test_a_model_of_which_nothing_is_known_weighs_what_it_weighed() -> None:
    facts = weighed([replace(MEASURED, placed=Placed(L4.kind, 2, 1, 2))])
    assert facts
    assert (facts.weight_bytes, weighed([]), weighed([Measured(Placed(""), 1, LoadMeasure())])) == (
        28 * GIB,
        None,
        None,
    )
