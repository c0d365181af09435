"""What helps a job that failed for memory: what is known by then, and never what just failed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.domain.failure import Failure, FailureCode
from app.domain.group import GroupView
from app.domain.measures import GIB, LoadMeasure, Measured, Placed
from app.domain.prompt_lengths import PromptLengths
from app.domain.ways_out import WayOut
from app.settings import Settings
from app.workloads.lm_eval.reading.failed import Setting, ways_out_of
from app.workloads.lm_eval.reading.read import read
from tests.workloads.lm_eval.reading.test_groups import group

LLAMA = "meta-llama/Llama-2-7b-hf"
OUT_OF_GPU = Failure(FailureCode.GPU_OUT_OF_MEMORY, "CUDA out of memory")
CACHE = Failure(FailureCode.KV_CACHE_TOO_SMALL, "no room", facts={"longest": 3000})
L4 = group("l4", "vllm", "hf", devices=4, gib=24)
LENGTHS = PromptLengths(((500, 90), (3500, 10)))


def failed(
    failure: Failure,
    *groups: GroupView,
    model: str = "vllm",
    prompts: PromptLengths | None = None,
    **fields: Any,
) -> dict[str, WayOut]:
    """Ways out by the first thing that they change, of a job of an engine that failed so."""
    args = {"pretrained": LLAMA, **fields.pop("model_args", {})}
    posted = {"model": model, "model_args": args, "tasks": ["arc_easy"], **fields}
    taken = read(posted, [L4], Settings())
    found = ways_out_of(
        taken.spec, taken.engine, failure, Setting(groups or [L4], Settings(), prompts=prompts)
    )
    return {next(iter(way.change)): way for way in found}


def test_an_engine_that_ran_out_of_memory_gets_more_devices_or_holds_less() -> None:
    found = failed(OUT_OF_GPU)
    assert found["gpus_per_replica"].change == {"gpus_per_replica": 2}
    assert {"model_args.kv_cache_dtype", "model_args.quantization"} <= found.keys()
    assert all(way.fits for way in found.values())


def test_a_width_in_the_words_of_the_engine_is_changed_in_these() -> None:
    found = failed(OUT_OF_GPU, model_args={"tensor_parallel_size": 1})
    assert found["model_args.tensor_parallel_size"].change["model_args.tensor_parallel_size"] == 2


def test_a_length_that_the_engine_said_fits_is_taken_at_its_word() -> None:
    way = failed(CACHE, prompts=LENGTHS)["model_args.max_model_len"]
    assert way.change == {"model_args.max_model_len": 3000}
    assert way.note.endswith("requests of more than 3,000 tokens are cut: 10 of the job's 100")
    named = failed(CACHE, model_args={"max_length": 4096})
    assert named["model_args.max_length"].change == {"model_args.max_length": 3000}


@pytest.mark.parametrize("longest", [0, -5, True, "4096", 2.5])
def test_a_length_that_is_none_is_no_way_out(longest: Any) -> None:
    found = failed(replace(CACHE, facts={"longest": longest}))
    assert all(way.change != {"model_args.max_model_len": longest} for way in found.values())


def test_a_shorter_length_says_how_many_prompts_it_cuts_once_they_are_built() -> None:
    without, built = failed(OUT_OF_GPU), failed(OUT_OF_GPU, prompts=LENGTHS)
    name = "model_args.max_model_len"
    assert "is not known before its prompts are built" in without[name].note
    assert "of the job's 100" in built[name].note


def test_a_host_without_memory_has_not_more_with_more_devices() -> None:
    host = Failure(FailureCode.HOST_OUT_OF_MEMORY, "killed")
    cpu = replace(group("cpu", "vllm", "hf", devices=4, gib=None), kind="cpu")
    found = failed(host, cpu, model="hf", batch_size=16)
    assert found["batch_size"].change["batch_size"] < 16
    assert "gpus_per_replica" not in found


def test_a_group_that_is_gone_by_now_leaves_what_can_be_changed_in_the_job() -> None:
    posted = {"model": "vllm", "model_args": {"pretrained": LLAMA}, "tasks": ["arc_easy"], "group": "l4"}
    taken = read(posted, [L4], Settings())
    for groups in ([], [group("b", "vllm", gib=80)]):
        found = ways_out_of(taken.spec, taken.engine, CACHE, Setting(groups, Settings()))
        assert found[0].change == {"model_args.max_model_len": 3000}


def test_of_a_model_of_which_nothing_is_known_nothing_is_said() -> None:
    posted = {"model": "vllm", "model_args": {"pretrained": "some/unknown"}, "tasks": ["arc_easy"]}
    taken = read(posted, [L4], Settings())
    assert ways_out_of(taken.spec, taken.engine, OUT_OF_GPU, Setting([L4], Settings())) == ()


def test_an_engine_that_remedies_had_changed_is_judged_as_it_was() -> None:
    posted = {"model": "vllm", "model_args": {"pretrained": LLAMA}, "tasks": ["arc_easy"]}
    taken = read(posted, [L4], Settings())
    changed = replace(
        taken.engine, tensor_parallel_size=2, gpus=2, args={**taken.engine.args, "max_model_len": 1024}
    )
    found = ways_out_of(taken.spec, changed, OUT_OF_GPU, Setting([L4], Settings()))
    assert found[0].change == {"gpus_per_replica": 4}


def test_failures_with_ways_out_are_read_as_they_were_written() -> None:
    failure = replace(OUT_OF_GPU, ways_out=(WayOut({"gpus_per_replica": 2}, fits=True, note="a").to_json(),))
    assert Failure.from_json(failure.to_json()) == failure
    assert "ways_out" not in OUT_OF_GPU.to_json()
    assert not replace(OUT_OF_GPU, code=FailureCode.STALLED).of_memory


def test_what_was_measured_counts_here_too() -> None:
    posted = {"model": "vllm", "model_args": {"pretrained": LLAMA}, "tasks": ["arc_easy"]}
    taken = read(posted, [L4], Settings())
    wide = Measured(Placed("GPU", 2, 1, 2), 1, LoadMeasure(weights_bytes=14 * GIB, other_bytes=3 * GIB))
    now = Setting([L4], Settings(), lambda _: [wide])
    assert ways_out_of(taken.spec, taken.engine, OUT_OF_GPU, now)[0].change == {"gpus_per_replica": 4}
