"""What vLLM 0.32 wrote when it failed, and what is made of it: the texts are from tests/vllm_failures."""

from __future__ import annotations

import pytest

from app.backends import BACKENDS
from app.domain.failure import FailureCode
from workers.supervision.failures import classify

TEXTS = BACKENDS["vllm-cpu"].texts
START, MISSING = FailureCode.ENGINE_START_FAILED, FailureCode.MODEL_NOT_FOUND
OPAQUE = ("RuntimeError", "Engine core initialization failed. See root cause above. Failed core proc(s): {}")


def in_log(process: str, origin: str, cause: str) -> str:
    """A cause as a process of vLLM's logs it, and what the processes above make of it."""
    lines = (f"{process} failed to start.\nTraceback (most recent call last):\n  x\n{cause}").splitlines()
    first = [f"({process} pid=77) ERROR 11-27 04:05:45 [{origin}] {line}" for line in lines]
    above = [
        "(EngineCore pid=8) ERROR 11-27 04:05:47 [core.py:1510] EngineCore failed to start.",
        "(EngineCore pid=8) ERROR 11-27 04:05:47 [core.py:1510] Traceback (most recent call last):",
        "(EngineCore pid=8) ERROR 11-27 04:05:47 [core.py:1510] Exception: WorkerProc initialization failed due to an"
        " exception in a background process. See stack trace for root cause.",
        "2026-11-27T04:05:50.570Z ERROR engine: the engine did not load",
        "Traceback (most recent call last):",
        f"RuntimeError: {OPAQUE[1]}",
    ]
    return "\n".join([*first, *above])


HIDDEN = {
    "ValueError: To serve at least one request with the model's max seq len (4000000), (7.63 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (1.0 GiB). Based on the available memory, the estimated "
    "maximum model length is 524256. Try increasing `gpu_memory_utilization`": (
        FailureCode.KV_CACHE_TOO_SMALL,
        "max_model_len=524256",
        {"longest": 524256},
    ),
    "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`": (
        FailureCode.KV_CACHE_TOO_SMALL,
        "lower max_model_len",
        {},
    ),
    "ValueError: Available memory on node 0 (21.2/23.54 GiB) on startup is less than desired CPU memory utilization "
    "(0.92, 21.66 GiB). On the CPU backend, the `--gpu-memory-utilization` flag controls": (
        START,
        "lower gpu_memory_utilization",
        {"in_use": True, "free_gib": 21.2, "total_gib": 23.54, "share": 0.92, "refused": True},
    ),
    "ValueError: Available memory on node 0 (12.1/23.54 GiB) on kv cache allocation is less than requested memory for "
    "kv (90.0 GiB). Decrease --kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE": (
        START,
        "VLLM_CPU_KVCACHE_SPACE",
        {"in_use": True, "free_gib": 12.1, "total_gib": 23.54, "refused": True},
    ),
    "ValueError: Available memory on node 0 (15.2/23.54 GiB) on kv cache allocation is less than requested memory for "
    "kv (-0.41/1.95 GiB). Reduce CPU memory used by other processes.": (
        FailureCode.KV_CACHE_TOO_SMALL,
        "give it more devices",
        {},
    ),
    "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: header too large": (
        START,
        "fetch them again",
        {"refused": True},
    ),
    "RuntimeError: Cannot find any model weights with `/models/x`": (
        MISSING,
        "a folder needs config.json",
        {},
    ),
    "RuntimeError: start (0) + length (1024) exceeds dimension size (768).": (
        START,
        "not of one model",
        {"refused": True},
    ),
    "ValueError: Following weights were not initialized from checkpoint: {'model.layers.5.input_layernorm.weight'}": (
        START,
        "not of one model",
        {"refused": True},
    ),
    "ValueError: LoRA rank 32 is greater than max_lora_rank 16.": (
        START,
        "set max_lora_rank to 32",
        {"rank": 32, "refused": True},
    ),
}


@pytest.mark.parametrize("cause", HIDDEN)
def test_a_cause_that_vllm_hides_is_found_in_its_log(cause: str) -> None:
    code, hint, facts = HIDDEN[cause]
    log = in_log("Worker", "multiproc_executor.py:953", cause)
    failure = classify(TEXTS, None, *OPAQUE, log, loading=True)
    assert (failure.code, failure.message, dict(failure.facts)) == (code, cause, facts)
    assert hint in (failure.hint or "")


TOLD = {
    ("TypeError", "EngineArgs.__init__() got an unexpected keyword argument 'colour'"): (
        START,
        "argument colour",
    ),
    (
        "ValueError",
        "User-specified max_model_len (4096) is greater than the derived max_model_len "
        "(max_position_embeddings=2048.0 or model_max_length=None in model's config.json). To allow",
    ): (START, "at most 2048 tokens"),
    ("ValueError", "Total number of attention heads (9) must be divisible by tensor parallel size (2)."): (
        START,
        "divides the model's attention heads",
    ),
    ("ValueError", "Cannot find the config file for awq"): (START, "leave out `quantization`"),
    ("ValueError", "Invalid repository ID or local directory specified: '/models/x'.\nPlease verify"): (
        MISSING,
        "needs config.json",
    ),
    (
        "huggingface_hub.errors.HFValidationError",
        "Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/no/such/model'.",
    ): (MISSING, "needs config.json"),
    ("OSError", "It looks like the config file at '/m/config.json' is not a valid JSON file."): (
        START,
        "again",
    ),
    (
        "RuntimeError",
        "Insufficient space in /dev/shm for shared-memory allocation: 160 MiB required, 0 MiB free. Increase /dev/shm",
    ): (START, "160 MiB of shared memory and more"),
    (
        "zmq.error.ZMQError",
        'ipc path "/srv/long/tmp/28497798-61c6" is longer than 107 characters (sizeof(sockaddr_un.sun_path)).',
    ): (START, "name a shorter one"),
    ("OSError", "[Errno 98] Address already in use"): (START, "VLLM_PORT"),
    ("OSError", "[Errno 28] No space left on device: '/psm_1'"): (START, "a disk of this host is full"),
}


@pytest.mark.parametrize("said", TOLD)
def test_a_refusal_is_recognised_and_comes_once(said: tuple[str, str]) -> None:
    code, hint = TOLD[said]
    failure = classify(TEXTS, None, *said, "", loading=True)
    assert failure.code is code
    assert hint in (failure.hint or "")


@pytest.mark.parametrize(
    ("said", "code", "hint"),
    [
        (
            ("TypeError", "Unexpected keyword argument 'num_beams'"),
            FailureCode.TASK_ERROR,
            "setting num_beams",
        ),
        (
            (
                "vllm.exceptions.VLLMValidationError",
                "The decoder prompt (length 600) is longer than the maximum model length of 512.",
            ),
            FailureCode.TASK_ERROR,
            "into 512 tokens",
        ),
        (
            ("vllm.exceptions.VLLMValidationError", "Token id 100000 is out of vocabulary"),
            FailureCode.TOKENIZER_ERROR,
            "the model's own",
        ),
    ],
)
def test_a_request_that_is_refused_says_why(said: tuple[str, str], code: FailureCode, hint: str) -> None:
    failure = classify(TEXTS, None, *said, "")
    assert failure.code is code
    assert hint in (failure.hint or "")


RANK_DIED = (
    "(EngineCore pid=8) ERROR 11-27 04:05:45 [multiproc_executor.py:1] Worker proc VllmWorker-1 died unexpectedly"
    " (exit code: -9), shutting down executor.\n"
    "(EngineCore pid=8) ERROR 11-27 04:05:45 [core.py:9] EngineCore encountered a fatal error.\n"
    "(EngineCore pid=8) ERROR 11-27 04:05:45 [core.py:9] Traceback (most recent call last):\n"
    "(EngineCore pid=8) ERROR 11-27 04:05:45 [core.py:9]   x\n"
    "(EngineCore pid=8) ERROR 11-27 04:05:45 [core.py:9] RuntimeError: cancelled\n"
)
DEAD = ("vllm.v1.engine.exceptions.EngineDeadError", "EngineCore encountered an issue. See stack trace")


def test_a_rank_that_died_is_named_and_not_what_was_cancelled() -> None:
    failure = classify(TEXTS, None, *DEAD, RANK_DIED)
    assert failure.code is FailureCode.ENGINE_DIED
    assert failure.message.startswith("Worker proc VllmWorker-1 died unexpectedly (exit code: -9)")
    assert "outside evalq killed it" in (failure.hint or "")


def test_a_rank_that_ran_out_of_memory_before_it_died_says_so() -> None:
    before = "(Worker pid=9) ERROR 11-27 04:05:44 [worker.py:1] "
    lines = ("Traceback (most recent call last):", "  x", "torch.OutOfMemoryError: CUDA out of memory.")
    trace = "\n".join(f"{before}{line}" for line in lines)
    failure = classify(TEXTS, None, *DEAD, f"{trace}\n{RANK_DIED}")
    assert (failure.code, failure.message) == (
        FailureCode.GPU_OUT_OF_MEMORY,
        "torch.OutOfMemoryError: CUDA out of memory.",
    )


def test_an_exception_that_explains_another_stands_for_both() -> None:
    lines = (
        "Traceback (most recent call last):",
        "  x",
        "TimeoutError",
        "",
        "The above exception was the direct cause of the following exception:",
        "",
        "Traceback (most recent call last):",
        "  y",
        "TimeoutError: RPC call to execute_model timed out.",
    )
    log = "\n".join(f"(EngineCore pid=8) ERROR 11-27 04:05:45 [core.py:9] {line}" for line in lines)
    failure = classify(TEXTS, None, *DEAD, log)
    assert (failure.code, failure.message) == (
        FailureCode.ENGINE_DIED,
        "TimeoutError: RPC call to execute_model timed out.",
    )
    assert "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS" in (failure.hint or "")


FORGED = ("CUDA error: uncorrectable ECC error", "No available memory for the cache blocks", "a\nNCCL error")


@pytest.mark.parametrize("text", FORGED)
def test_a_text_of_a_job_is_no_word_of_its_engine(text: str) -> None:
    texts = TEXTS.of_job([text, "float32"])
    for shown in (text, repr(text)):
        failure = classify(texts, None, "OSError", f"{shown} is no folder", "", loading=True)
        assert (failure.code, dict(failure.facts)) == (START, {})
        assert text.split(maxsplit=1)[0] in failure.message
        assert texts.facts_in(f"non-default args: {{'model': {shown}}}") == {}
    assert TEXTS.of_job(["float32", "/models/x"]).quotes == ()
