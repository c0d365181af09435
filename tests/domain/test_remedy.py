"""What is tried when an engine fails, in which order, and when it is given up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.domain.engine_spec import EngineSpec
from app.domain.failure import Failure, FailureCode
from app.domain.ids import uuid7
from app.domain.remedy import LOST_LOADING, MOST_ATTEMPTS, Troubles, attempts, next_step
from app.domain.replica import Replica, ReplicaStatus

NOW = datetime(2026, 11, 22, tzinfo=UTC)
VLLM = EngineSpec("vllm", "m", args={"max_num_seqs": 64})
HF = EngineSpec("hf", "m")
OUT_OF_MEMORY = Failure(FailureCode.GPU_OUT_OF_MEMORY, "CUDA out of memory", hint="give it more GPUs")
IN_USE = Failure(
    FailureCode.ENGINE_START_FAILED,
    "ValueError: Free memory on device cuda:0 (52.00/80.0 GiB) on startup is less than desired GPU memory utilization"
    " (0.9, 72.0 GiB).",
)
CANNOT_TALK = Failure(FailureCode.NCCL_ERROR, "NCCL error in: NCCLUtils.hpp:268")
LOST = Failure(FailureCode.LOST, "its worker did not renew the lease")
DIED = Failure(FailureCode.ENGINE_START_FAILED, "the process was ended by SIGSEGV")
BROKEN = Failure(FailureCode.ENGINE_DIED, "CUDA error: uncorrectable ECC error encountered")


def changes(engine: EngineSpec, failure: Failure, widest: int, *, loading: bool = False) -> list[str]:
    """Every step, if the engine fails likewise after each."""
    told = []
    step = next_step(engine, failure, widest, loading=loading)
    while step is not None:
        told.append(step.change)
        step = next_step(step.engine, failure, widest, loading=loading)
    return told


def failed(error: Failure, *, minute: int, engine: EngineSpec = HF, served: bool = False) -> Replica:
    """A replica that failed in this minute, after it served or while it loaded."""
    placed, ended = NOW + timedelta(minutes=minute - 1), NOW + timedelta(minutes=minute)
    status, serving_at = ReplicaStatus.FAILED, placed if served else None
    return Replica(
        uuid7(), "a", engine, status, ("a-0",), placed, serving_at=serving_at, ended_at=ended, error=error
    )


def troubles(*newest_first: Replica, served_at: datetime | None = None, widest: int = 1) -> Troubles:
    return Troubles(newest_first, served_at, widest)


def test_a_cache_too_small_takes_the_length_that_the_engine_names() -> None:
    failure = Failure(FailureCode.KV_CACHE_TOO_SMALL, "... the estimated maximum model length is 4,096.")
    step = next_step(VLLM, failure, widest=1)
    assert step is not None
    assert (step.engine.args["max_model_len"], step.changes_answers) == (4096, True)
    assert step.change == "max_model_len of the model -> 4096"


def test_a_length_is_shortened_under_the_name_that_the_job_gave_it() -> None:
    engine = replace(VLLM, args={"max_length": 8192})
    step = next_step(
        engine, Failure(FailureCode.KV_CACHE_TOO_SMALL, "estimated maximum model length is 4096"), widest=1
    )
    assert step is not None
    assert (step.change, step.engine.args) == ("max_length 8192 -> 4096", {"max_length": 4096})


def test_a_length_that_is_no_shorter_is_not_tried() -> None:
    engine = replace(VLLM, args={"max_model_len": 4096})
    for length in (4096, 0):
        failure = Failure(FailureCode.KV_CACHE_TOO_SMALL, f"estimated maximum model length is {length}")
        assert changes(engine, failure, widest=1) == []
        assert changes(engine, failure, widest=2) == ["devices of one replica 1 -> 2"]


def test_vllm_runs_fewer_at_once_then_takes_more_devices() -> None:
    assert changes(VLLM, OUT_OF_MEMORY, widest=4) == [
        "max_num_batched_tokens 8192 -> 4096, max_num_seqs 64 -> 32",
        "max_num_batched_tokens 4096 -> 2048",
        "devices of one replica 1 -> 2",
        "devices of one replica 2 -> 4",
    ]


def test_a_model_that_does_not_fit_takes_more_devices_first() -> None:
    assert changes(VLLM, OUT_OF_MEMORY, widest=2, loading=True)[0] == "devices of one replica 1 -> 2"
    warming_up = replace(OUT_OF_MEMORY, message="CUDA out of memory ... Please try lowering `max_num_seqs`")
    assert "max_num_seqs" in changes(VLLM, warming_up, widest=2, loading=True)[0]


def test_hf_is_spread_over_twice_the_devices() -> None:
    step = next_step(HF, OUT_OF_MEMORY, widest=2)
    assert step is not None
    assert (step.engine.gpus, step.engine.args["parallelize"]) == (2, True)
    assert next_step(step.engine, OUT_OF_MEMORY, widest=2) is None


def test_what_others_leave_free_of_a_device_is_taken() -> None:
    assert changes(VLLM, IN_USE, widest=1)[0] == "gpu_memory_utilization 0.9 -> 0.64"
    crowded = replace(IN_USE, message=IN_USE.message.replace("52.00", "30.00"))
    assert changes(VLLM, crowded, widest=1) == []


def test_a_device_in_use_gets_a_smaller_share_where_nobody_says_how_much_is_free() -> None:
    failure = replace(IN_USE, message="Free memory on device is less than desired GPU memory utilization")
    shares = [change.rpartition(" ")[2] for change in changes(VLLM, failure, widest=1)]
    assert shares == ["0.8", "0.7", "0.6", "0.5"]


def test_what_no_other_setting_mends_has_no_step() -> None:
    assert next_step(HF, Failure(FailureCode.MODEL_NOT_FOUND, "no such model"), 8) is None


def test_a_device_in_use_is_waited_for_once() -> None:
    once = troubles(failed(IN_USE, minute=1))
    assert (once.step(VLLM), once.verdict()) == (None, None)
    twice = troubles(failed(IN_USE, minute=2), failed(IN_USE, minute=1))
    assert twice.step(VLLM) is not None


def test_a_step_that_the_engine_has_outlived_is_not_taken() -> None:
    earlier = troubles(failed(OUT_OF_MEMORY, minute=1), served_at=NOW + timedelta(minutes=2), widest=2)
    assert (earlier.step(HF), earlier.verdict()) == (None, None)


def test_an_engine_that_served_and_ran_out_of_memory_gets_a_step_but_no_verdict() -> None:
    died = failed(OUT_OF_MEMORY, minute=2, served=True)
    assert troubles(died, served_at=NOW, widest=2).step(HF) is not None
    assert troubles(died, served_at=NOW, widest=1).verdict() is None


def test_devices_that_cannot_talk_are_tried_elsewhere_once() -> None:
    assert troubles(failed(CANNOT_TALK, minute=1)).verdict() is None
    twice = troubles(failed(CANNOT_TALK, minute=2), failed(CANNOT_TALK, minute=1))
    verdict = twice.verdict()
    assert verdict is not None
    assert verdict.code == "nccl_error"


def test_broken_devices_are_not_the_engines_fault() -> None:
    assert troubles(*(failed(BROKEN, minute=minute) for minute in (3, 2, 1))).verdict() is None


def test_a_job_that_asked_for_its_width_is_told_that_it_could_be_wider() -> None:
    asked = replace(troubles(failed(OUT_OF_MEMORY, minute=1)), asked_width=True)
    verdict = asked.verdict()
    assert verdict is not None
    assert verdict.hint == "give it more GPUs; the job asks for 1 device per replica and gets no more"


def test_workers_that_are_lost_while_they_load_an_engine_are_held_against_it_in_the_end() -> None:
    lost = [failed(LOST, minute=minute) for minute in range(10, 0, -1)]
    assert troubles(*lost[1:]).verdict() is None
    verdict = troubles(*lost).verdict()
    assert verdict
    assert (verdict.code, verdict.hint) == ("lost", LOST_LOADING)


def test_lost_workers_do_not_make_a_failed_start_the_last_one() -> None:
    lost = [failed(LOST, minute=minute) for minute in (2, 1)]
    assert troubles(failed(DIED, minute=3), *lost).verdict() is None
    assert troubles(*(failed(DIED, minute=minute) for minute in (5, 4, 3)), *lost).verdict()


def test_an_engine_that_refuses_what_it_was_given_is_not_started_again() -> None:
    refusals = ("TypeError: unexpected 'colour'", "ValueError: not supported", "ImportError: no flash_attn")
    for message in refusals:
        verdict = troubles(failed(Failure(FailureCode.ENGINE_START_FAILED, message), minute=1)).verdict()
        assert verdict
        assert verdict.message == message
    for message in ("RuntimeError: some of it", "the process was ended by SIGSEGV", IN_USE.message):
        assert troubles(failed(Failure(FailureCode.ENGINE_START_FAILED, message), minute=1)).verdict() is None


def test_attempts_name_the_change_that_led_to_each() -> None:
    wider = replace(HF, gpus=2)
    replicas = [failed(OUT_OF_MEMORY, minute=1), failed(BROKEN, minute=2, engine=wider)]
    ladder = [{"engine_key": HF.key, "change": "devices 1 -> 2"}]
    told = attempts(replicas, ladder, wider.key)
    assert [(attempt["change"], attempt["outcome"]) for attempt in told] == [
        (None, "gpu_out_of_memory"),
        ("devices 1 -> 2", "engine_died"),
    ]
    assert len(attempts(replicas * MOST_ATTEMPTS, ladder, wider.key)) == MOST_ATTEMPTS
