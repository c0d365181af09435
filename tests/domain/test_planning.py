"""Where a model goes: the guides' decisions, the wishes of users, and laws that hold for any model and any cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from app.domain.memory import Fit, MemoryTerms
from app.domain.model_facts import ModelFacts
from app.domain.planning import GroupRoom, Layout, Need, Refusal, plan
from app.domain.ways_out import Levers, WayOut, ways_out
from app.models.stated_size import stated_parameters
from tests.domain.test_memory import known

H100 = 79.2
EIGHT_H100 = GroupRoom("h100", (H100,) * 8)
FOUR_A100 = GroupRoom("a100", (39.4,) * 4)
FOUR_L4 = GroupRoom("l4", (22.0,) * 4)
NO_MEMORY = GroupRoom("cpu", (None,) * 2)

VLLM = Need(MemoryTerms(serves=True, length=4096), stages=True)
HF = Need(MemoryTerms(), by_layers=True)
LEVERS = Levers("max_model_len", "tp", "pp", ("kv_cache_dtype", "fp8"), (("quantization", "fp8", "fp8"),))


def placed(need: Need, name: str, *rooms: GroupRoom) -> tuple[int, int, int, Fit | None]:
    found = plan(need, known(name), rooms)
    assert isinstance(found, Layout), found
    return found.tensor, found.pipeline, found.gpus, found.fit


def test_what_fits_one_device_gets_one() -> None:
    assert placed(VLLM, "Llama-2-7b-hf", EIGHT_H100) == (1, 1, 1, Fit.FITS)
    assert placed(HF, "Llama-2-13b-hf", FOUR_A100) == (1, 1, 1, Fit.FITS)


def test_what_does_not_gets_the_fewest_that_hold_it() -> None:
    assert placed(VLLM, "Llama-2-70b-hf", EIGHT_H100) == (2, 1, 2, Fit.FITS)
    assert placed(HF, "Llama-2-70b-hf", EIGHT_H100) == (1, 1, 2, Fit.FITS)
    assert placed(VLLM, "Llama-2-13b-hf", FOUR_L4) == (2, 1, 2, Fit.FITS)


def test_heads_decide_what_can_be_shared_out() -> None:
    thirds = replace(known("Llama-2-70b-hf"), num_attention_heads=9, num_key_value_heads=3)
    found = plan(VLLM, thirds, [EIGHT_H100])
    assert isinstance(found, Layout)
    assert (found.tensor, found.pipeline) == (1, 2)


def test_stages_join_islands() -> None:
    pairs = replace(FOUR_A100, gibs=(39.4,) * 8, island=2)
    assert placed(VLLM, "Llama-2-70b-hf", pairs)[:3] == (2, 4, 8)


def test_shares_stay_in_an_island_unless_they_are_asked_for() -> None:
    fours = GroupRoom("a", (H100,) * 8, island=4)
    assert placed(replace(VLLM, gpus=8), "Llama-2-70b-hf", fours)[:3] == (4, 2, 8)
    assert placed(replace(VLLM, tensor=8), "Llama-2-70b-hf", fours)[:3] == (8, 1, 8)


def test_copies_share_out_what_nothing_says_is_enough() -> None:
    asked = replace(HF, spread=True)
    for copies, groups, gpus in ((2, 1, 4), (2, 2, 8), (3, 1, 2), (99, 1, 1), (None, 2, 8)):
        found = plan(replace(asked, replicas=copies), None, [EIGHT_H100] * groups)
        assert isinstance(found, Layout)
        assert found.gpus == gpus


def test_only_devices_that_are_large_enough_count_for_replicas() -> None:
    mixed = GroupRoom("mixed", (39.4,) * 4 + (22.0,) * 4)
    asked = replace(VLLM, gpus=1)
    assert plan(asked, known("Llama-2-13b-hf"), [mixed]).at_once == 4  # type: ignore[union-attr]
    assert plan(asked, known("Llama-2-7b-hf"), [mixed]).at_once == 8  # type: ignore[union-attr]


def test_a_limit_of_the_user_spreads_a_model_wider() -> None:
    asked = replace(HF, spread=True, terms=MemoryTerms(limit=40 * 10**9))
    assert placed(asked, "Llama-2-70b-hf", EIGHT_H100)[2] == 4


def test_a_model_of_which_nothing_is_known_is_spread_over_a_whole_block() -> None:
    found = plan(replace(HF, spread=True), None, [EIGHT_H100, FOUR_L4])
    assert isinstance(found, Layout)
    assert (found.gpus, found.fit) == (8, None)
    assert plan(replace(HF, spread=False), None, [EIGHT_H100]) == replace(
        found, gpus=1, at_once=8, group="h100"
    )


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"tensor": 4}, (4, 1, 4)),
        ({"tensor": 2, "pipeline": 2}, (2, 2, 4)),
        ({"gpus": 4}, (4, 1, 4)),
        ({"gpus": 4, "pipeline": 2}, (2, 2, 4)),
        ({"gpus": 16}, (8, 2, 16)),
        ({"gpus": 12}, (4, 3, 12)),
        ({"gpus": 8, "tensor": 4}, (4, 2, 8)),
    ],
)
def test_what_is_asked_for_is_kept(wish: dict[str, Any], expected: tuple[int, int, int]) -> None:
    assert placed(replace(VLLM, **wish), "Llama-2-7b-hf", EIGHT_H100)[:3] == expected


def test_what_fits_nowhere_is_refused_with_the_arithmetic() -> None:
    found = plan(VLLM, known("Llama-3.1-405b"), [FOUR_L4, FOUR_A100])
    assert isinstance(found, Refusal)
    assert found.says.startswith(
        "the model does not fit: weights: 405,853,388,800 parameters x 2 bytes (bfloat16)"
    )
    assert (
        "on each of 4 devices; the largest device has 39.4 GiB; it would fit on 7 hosts of 4 devices"
        in found.says
    )
    assert found.says.endswith("(TP 4 x PP 7), but evalq runs no engine over several hosts yet")
    assert found.layout.gpus == 4


def test_without_known_devices_one_is_enough() -> None:
    assert placed(VLLM, "Llama-2-70b-hf", NO_MEMORY) == (1, 1, 1, None)
    assert placed(VLLM, "Llama-2-70b-hf") == (1, 1, 1, None)


def test_it_is_said_why_one_device_is_not_enough() -> None:
    found = plan(VLLM, known("Llama-2-70b-hf"), [EIGHT_H100])
    assert isinstance(found, Layout)
    assert found.lines[-1].startswith("2 devices for one replica: it needs 131.")
    assert found.at_once == 4


def ways(need: Need, name: str, *rooms: GroupRoom, others: tuple[GroupRoom, ...] = ()) -> dict[str, WayOut]:
    found = ways_out(need, known(name), rooms, LEVERS, others)
    return {next(iter(way.change)): way for way in found}


def test_ways_out_are_tried_before_they_are_named() -> None:
    asked = replace(VLLM, gpus=1)
    found = ways(asked, "Llama-2-13b-hf", FOUR_L4, others=(EIGHT_H100,))
    assert dict(found["gpus_per_replica"].change) == {"gpus_per_replica": 2}
    assert found["gpus_per_replica"].note.startswith(
        "12.1 GiB of weights and 1.6 of cache on each of 2 devices of 22.0"
    )
    assert found["model_args.quantization"].fits
    assert dict(found["group"].change) == {"group": "h100"}
    assert "model_args.max_model_len" not in found, "the weights alone do not fit"


def test_a_shorter_length_is_the_longest_that_fits() -> None:
    long = replace(VLLM, terms=MemoryTerms(serves=True), tensor=1)
    found = ways(long, "Llama-3.1-8B", GroupRoom("l4", (24.0,) * 1))
    length = found["model_args.max_model_len"].change["model_args.max_model_len"]
    for tokens, fits in ((length, True), (length + 256, False)):
        answer = plan(
            replace(long, terms=replace(long.terms, length=tokens)),
            known("Llama-3.1-8B"),
            [GroupRoom("l4", (24.0,))],
        )
        assert (isinstance(answer, Layout) and answer.fit is Fit.FITS) is fits


def test_half_the_cache_may_be_enough() -> None:
    long = replace(VLLM, terms=MemoryTerms(serves=True, length=40_000), tensor=1)
    found = ways(long, "Llama-3.1-8B", GroupRoom("l4", (23.5,)))
    assert dict(found["model_args.kv_cache_dtype"].change) == {"model_args.kv_cache_dtype": "fp8"}


def test_the_whole_of_a_group_is_named() -> None:
    found = ways(replace(VLLM, gpus=2), "Llama-2-70b-hf", FOUR_A100, EIGHT_H100)
    assert "gpus_per_replica" not in found, "two of the larger ones hold it"
    found = ways(
        replace(VLLM, gpus=2, terms=MemoryTerms(serves=True, length=2048)),
        "Llama-2-70b-hf",
        GroupRoom("b", (47.0,) * 4),
    )
    assert found["gpus_per_replica"].note.endswith("takes all 4 devices of group b")


NAMES = some.sampled_from(
    ["Llama-2-7b", "Llama-2-70b", "Mixtral-8x7B", "DeepSeek-V3", "gpt-oss-120b", "gpt2", "Qwen2.5-0.5B"]
)
GIBS = some.sampled_from([None, 8.0, 15.8, 23.7, 39.4, 79.2, 139.8])
ROOMS = some.lists(
    some.builds(
        GroupRoom,
        some.sampled_from("abc"),
        some.lists(GIBS, max_size=17).map(tuple),
        some.sampled_from([None, 1, 2, 4]),
    ),
    max_size=3,
)
WISH = some.one_of(some.none(), some.sampled_from([1, 2, 3, 4, 8, 1024]))
NEEDS = some.builds(
    Need,
    some.builds(
        MemoryTerms, serves=some.booleans(), length=some.sampled_from([None, 1, 2048, 131_072]),
        limit=some.sampled_from([None, 10**9, 40 * 10**9]),
    ),
    WISH, WISH, WISH, WISH, some.booleans(), some.booleans(), some.booleans(),
)  # fmt: skip


@given(NEEDS, NAMES, ROOMS)
def test_a_plan_that_fits_never_exceeds_its_devices(need: Need, name: str, rooms: list[GroupRoom]) -> None:
    found = plan(need, known(name), rooms)
    if isinstance(found, Layout) and found.fit is Fit.FITS:
        assert found.memory is not None
        assert found.device_gib is not None
        assert found.memory.gib <= found.device_gib * found.memory.utilization
        room = [
            room
            for room in rooms
            if room.name == found.group and (room.device_gib(found.gpus) or 0) >= found.device_gib
        ]
        assert room, "there are as many devices, each as large"


@given(NEEDS, some.one_of(some.none(), NAMES), ROOMS)
def test_wishes_are_kept_and_nothing_is_left_without_an_answer(
    need: Need, name: str | None, rooms: list[GroupRoom]
) -> None:
    answer = plan(need, known(name) if name else None, rooms)
    layout = answer if isinstance(answer, Layout) else answer.layout
    assert need.gpus in (None, layout.gpus)
    assert need.tensor in (None, layout.tensor)
    assert need.pipeline in (None, layout.pipeline)
    assert layout.gpus >= 1


@given(NEEDS, NAMES, ROOMS)
def test_a_way_out_is_one(need: Need, name: str, rooms: list[GroupRoom]) -> None:
    for way in ways_out(need, known(name), rooms, LEVERS):
        assert way.fits
        if {"gpus_per_replica", "model_args.tp"} & way.change.keys():
            tensor, pipeline = way.change.get("model_args.tp"), way.change.get("model_args.pp")
            asked = replace(need, gpus=way.change.get("gpus_per_replica"), tensor=tensor, pipeline=pipeline)
            answer = plan(asked, known(name), rooms)
            assert isinstance(answer, Layout)
            assert answer.fit is Fit.FITS


def test_a_size_alone_is_planned_by_the_rule() -> None:
    found = plan(VLLM, ModelFacts(parameters=stated_parameters("70B")), [EIGHT_H100])
    assert isinstance(found, Layout)
    assert (found.tensor, found.fit) == (4, Fit.FITS)


def test_a_way_out_speaks_in_the_words_of_the_job() -> None:
    found = ways_out(replace(VLLM, tensor=1), known("Llama-2-70b-hf"), [EIGHT_H100], LEVERS)
    assert dict(found[0].change) == {"model_args.tp": 2, "model_args.pp": 1}
