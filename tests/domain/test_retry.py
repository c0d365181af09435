from app.domain.engine_spec import EngineSpec
from app.domain.job import Failure
from app.domain.retry import next_step

VLLM = EngineSpec("vllm", "m", args={"max_num_seqs": 64})
HF = EngineSpec("hf", "m")
OUT_OF_MEMORY = Failure("gpu_out_of_memory", "CUDA out of memory")


def test_a_cache_too_small_takes_the_length_that_the_engine_names() -> None:
    failure = Failure("kv_cache_too_small", "... the estimated maximum model length is 4,096.")
    step = next_step(VLLM, failure, widest=1)
    assert step is not None
    assert step.engine.args["max_model_len"] == 4096
    assert step.changes_answers


def test_vllm_runs_fewer_sequences_then_takes_more_devices() -> None:
    changes = []
    step = next_step(VLLM, OUT_OF_MEMORY, widest=4)
    while step is not None:
        changes.append(step.change)
        step = next_step(step.engine, OUT_OF_MEMORY, widest=4)
    assert changes == [
        "max_num_seqs 64 -> 32",
        "devices of one replica 1 -> 2",
        "devices of one replica 2 -> 4",
    ]


def test_hf_is_spread_over_twice_the_devices() -> None:
    step = next_step(HF, OUT_OF_MEMORY, widest=2)
    assert step is not None
    assert (step.engine.gpus, step.engine.args["parallelize"]) == (2, True)
    assert next_step(step.engine, OUT_OF_MEMORY, widest=2) is None


def test_a_device_in_use_by_others_gets_a_smaller_share() -> None:
    failure = Failure(
        "engine_start_failed", "Free memory on device is less than desired GPU memory utilization"
    )
    step, shares = next_step(VLLM, failure, 1), []
    while step is not None:
        shares.append(step.engine.args["gpu_memory_utilization"])
        step = next_step(step.engine, failure, 1)
    assert shares == [0.8, 0.7, 0.6, 0.5]


def test_what_no_other_setting_mends_has_no_step() -> None:
    assert next_step(HF, Failure("model_not_found", "no such model"), 8) is None
