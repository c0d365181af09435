from __future__ import annotations

import signal
from functools import partial

import pytest

from app.backends.signatures import EVERY_TEXT, FailureTexts, sign
from app.domain.failure import FailureCode
from workers.supervision.failures import classify as classified
from workers.supervision.failures import with_log

OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 50.00 MiB. GPU 0 has a total capacity of 23.56 GiB of which "
    "56.88 MiB is free. Process 8 has 23.50 GiB memory in use."
)
KV_CACHE = (
    "To serve at least one request with the models's max seq len (40960), (5.62 GiB KV cache is needed which "
    "is larger than the available KV cache memory (4.50 GiB). Based on the available memory, the estimated "
    "maximum model length is 32768. Try increasing `gpu_memory_utilization` or decreasing `max_model_len`."
)
NO_BLOCKS = "No available memory for the cache blocks. Try increasing `gpu_memory_utilization`."
TOO_FULL = (
    "Free memory on device cuda:0 (3.25/23.43 GiB) on startup is less than desired GPU memory utilization "
    "(0.96, 22.49 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes."
)
HEADS = "Total number of attention heads (14) must be divisible by tensor parallel size (4)."
WORLD = "World size (8) is larger than the number of available GPUs (4) in this node."
NCCL = (
    "NCCL error in: /pytorch/torch/csrc/c10d/NCCLUtils.cpp:77, unhandled cuda error (run with "
    "NCCL_DEBUG=INFO for details), NCCL version 2.26.2\nncclUnhandledCudaError: Call to CUDA function failed."
)
WATCHDOG = (
    "[rank0]:[E1218 20:27:21.426415540 ProcessGroupNCCL.cpp:629] [Rank 0] Watchdog caught collective "
    "operation timeout: WorkNCCL(SeqNum=1, OpType=BROADCAST) ran for 600081 milliseconds before timing out."
)
ECC = "CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might be asynchronously reported"
ILLEGAL = (
    "CUDA error: an illegal memory access was encountered\nFor debugging consider CUDA_LAUNCH_BLOCKING=1"
)
GATED = (
    "You are trying to access a gated repo.\nMake sure to have access to it at "
    "https://huggingface.co/meta-llama/Llama-2-70b-hf.\n401 Client Error."
)
GATED_HUB = (
    "403 Client Error. (Request ID: Root=1-66)\n\nCannot access gated repo for url "
    "https://huggingface.co/google/gemma-2b/resolve/main/config.json."
)
NO_MODEL = (
    "gpt-5-huge is not a local folder and is not a valid model identifier listed on "
    "'https://huggingface.co/models'\nIf this is a private repository, make sure to pass a token"
)
NO_REPOSITORY = (
    "404 Client Error. (Request ID: Root=1-67)\n\nRepository Not Found for url: "
    "https://huggingface.co/api/models/no/such."
)
NO_WEIGHTS = "/models/half does not appear to have a file named pytorch_model.bin or model.safetensors."
OFFLINE = "We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them."
NO_COPY = (
    "An error happened while trying to locate the file on the Hub and we cannot find the requested files."
)
HUB_DOWN = (
    "There was a specific connection error when trying to load nobody/nothing:\n"
    "503 Server Error: Service Unavailable for url: https://huggingface.co/nobody/nothing/resolve/main/config.json"
)
HUB_BUSY = "429 Client Error: Too Many Requests for url: https://huggingface.co/api/models/nobody/nothing"
NO_DATASET = "Dataset 'nobody/nothing' doesn't exist on the Hub or cannot be accessed."
GATED_DATASET = (
    "Dataset 'Idavidrein/gpqa' is a gated dataset on the Hub. You must be authenticated to access it."
)
SCRIPTS = "Dataset scripts are no longer supported, but found super_glue.py"
NO_DOCS = "task.build_requests() did not find any docs!"
CONFIG = "BuilderConfig 'de' not found. Available: ['en', 'fr']"
CUSTOM_CODE = (
    "The repository /models/x contains custom code which must be executed to correctly load the model. "
    "Please pass the argument `trust_remote_code=True` to allow custom code to be run."
)
ARCHITECTURE = (
    "The checkpoint you are trying to load has model type `qwen9` but Transformers does not recognize this "
    "architecture. This could be because your version is out of date."
)
UNSUPPORTED = (
    "Model architectures ['Qwen9ForCausalLM'] are not supported for now. Supported architectures: []"
)
TOKENIZER = "Can't load tokenizer for '/models/x'. If you were trying to load it from the hub"
BACKEND = (
    "Couldn't instantiate the backend tokenizer from one of: \n(1) a `tokenizers` library serialization file"
)
NO_CLASS = "Tokenizer class QWenTokenizer does not exist or is not currently imported."
TEMPLATE = "Cannot use chat template functions because tokenizer.chat_template is not set"
HOST_MEMORY = "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"

ROWS = [
    ("torch.OutOfMemoryError", OUT_OF_MEMORY, FailureCode.GPU_OUT_OF_MEMORY, "batch_size"),
    ("RuntimeError", "CUDA driver error: out of memory", FailureCode.GPU_OUT_OF_MEMORY, "batch_size"),
    ("RuntimeError", "CUDA error: out of memory", FailureCode.GPU_OUT_OF_MEMORY, "batch_size"),
    ("ValueError", KV_CACHE, FailureCode.KV_CACHE_TOO_SMALL, "max_model_len=32768"),
    ("ValueError", NO_BLOCKS, FailureCode.KV_CACHE_TOO_SMALL, "gpu_memory_utilization"),
    ("ValueError", TOO_FULL, FailureCode.ENGINE_START_FAILED, "another process"),
    ("ValueError", HEADS, FailureCode.ENGINE_START_FAILED, "divides"),
    ("ValueError", WORLD, FailureCode.ENGINE_START_FAILED, "one group has"),
    ("torch.distributed.DistBackendError", NCCL, FailureCode.NCCL_ERROR, "NCCL_DEBUG"),
    ("RuntimeError", WATCHDOG, FailureCode.NCCL_ERROR, "NCCL_DEBUG"),
    ("torch.AcceleratorError", ECC, FailureCode.ENGINE_DIED, "drain"),
    ("torch.AcceleratorError", ILLEGAL, FailureCode.ENGINE_DIED, "enforce_eager"),
    ("OSError", GATED, FailureCode.MODEL_GATED, "HF_TOKEN"),
    ("huggingface_hub.errors.GatedRepoError", GATED_HUB, FailureCode.MODEL_GATED, "terms"),
    ("OSError", NO_MODEL, FailureCode.MODEL_NOT_FOUND, "name and revision"),
    ("RepositoryNotFoundError", NO_REPOSITORY, FailureCode.MODEL_NOT_FOUND, "name and revision"),
    ("OSError", NO_WEIGHTS, FailureCode.MODEL_NOT_FOUND, "not complete"),
    ("OSError", OFFLINE, FailureCode.HUB_UNREACHABLE, "HF_ENDPOINT"),
    ("huggingface_hub.errors.LocalEntryNotFoundError", NO_COPY, FailureCode.HUB_UNREACHABLE, "HF_ENDPOINT"),
    ("OSError", HUB_DOWN, FailureCode.HUB_UNREACHABLE, "HF_ENDPOINT"),
    ("huggingface_hub.errors.HfHubHTTPError", HUB_BUSY, FailureCode.HUB_UNREACHABLE, "HF_ENDPOINT"),
    ("datasets.exceptions.DatasetNotFoundError", NO_DATASET, FailureCode.DATASET_ERROR, "dataset name"),
    ("datasets.exceptions.DatasetNotFoundError", GATED_DATASET, FailureCode.DATASET_ERROR, "accepted terms"),
    ("RuntimeError", SCRIPTS, FailureCode.DATASET_ERROR, "Parquet"),
    ("ValueError", NO_DOCS, FailureCode.DATASET_ERROR, "no documents"),
    ("ValueError", CONFIG, FailureCode.DATASET_ERROR, "no such configuration"),
    ("ValueError", CUSTOM_CODE, FailureCode.TOKENIZER_ERROR, "operator"),
    ("ValueError", ARCHITECTURE, FailureCode.TOKENIZER_ERROR, "architecture"),
    ("ValueError", UNSUPPORTED, FailureCode.TOKENIZER_ERROR, "architecture"),
    ("OSError", TOKENIZER, FailureCode.TOKENIZER_ERROR, "tokenizer="),
    ("ValueError", BACKEND, FailureCode.TOKENIZER_ERROR, "tokenizer="),
    ("ValueError", NO_CLASS, FailureCode.TOKENIZER_ERROR, "tokenizer="),
    ("ValueError", TEMPLATE, FailureCode.TOKENIZER_ERROR, "apply_chat_template"),
    ("OSError", "[Errno 24] Too many open files: 'x'", FailureCode.HOST_OUT_OF_MEMORY, "EVALQ_CHILD_FILES"),
    ("RuntimeError", HOST_MEMORY, FailureCode.HOST_OUT_OF_MEMORY, "memory is full"),
]


classify = partial(classified, EVERY_TEXT)


def in_one_line(words: str) -> str:
    return " ".join(words.split())


@pytest.mark.parametrize(("exception_type", "message", "code", "hint"), ROWS)
def test_an_exception_is_recognised(exception_type: str, message: str, code: FailureCode, hint: str) -> None:
    failure = classify(None, exception_type, message, "")
    assert failure.code is code
    assert hint in (failure.hint or "")
    assert failure.message == in_one_line(f"{exception_type}: {message}")


def test_a_hub_out_of_reach_is_found_below_what_a_library_makes_of_it() -> None:
    trace = (
        "Traceback (most recent call last):\n  ...\n"
        "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find the requested files in the disk cache\n\n"
        "During handling of the above exception, another exception occurred:\n  ...\n"
        "ValueError: Can't find 'adapter_config.json' at 'nobody/none'\n"
    )
    said = ("ValueError", "Can't find 'adapter_config.json' at 'nobody/none'")
    assert classify(None, *said, trace, loading=True).code is FailureCode.HUB_UNREACHABLE
    assert classify(None, *said, "", loading=True).code is FailureCode.ENGINE_START_FAILED


def in_vllm_log(cause: str) -> str:
    """A cause as it stands in vLLM's log, followed by what its parent makes of it."""
    frames = (
        'Traceback (most recent call last):\n  File "core.py", line 7, in run\n    f(trust_remote_code=0)\n'
    )
    record = "".join(
        f"(EngineCore pid=77) ERROR 05-05 07:35:19 [core.py:1136] {line}\n"
        for line in (frames + cause).splitlines()
    )
    return f"INFO 05-05 07:35:01 [utils.py:48] Loading weights\n{record}{PARENT}"


PARENT = """\
(EngineCore pid=77) Traceback (most recent call last):
(EngineCore pid=77)   File "process.py", line 314, in _bootstrap
(EngineCore pid=77) RuntimeError: cancelled: DistBackendError
Traceback (most recent call last):
  File "main.py", line 1, in load
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


@pytest.mark.parametrize(("exception_type", "message", "code", "hint"), ROWS)
def test_what_an_engine_hides_is_found_in_its_log(
    exception_type: str, message: str, code: FailureCode, hint: str
) -> None:
    cause = f"{exception_type}: {message}".replace("\n\n", "\n")
    failure = classify(
        1, "RuntimeError", "Engine core initialization failed. See root cause above.", in_vllm_log(cause)
    )
    assert failure.code is code
    assert failure.message == in_one_line(cause.removeprefix("[rank0]: "))


def test_running_out_of_memory_while_loading_asks_for_more_gpus() -> None:
    failure = classify(None, "torch.OutOfMemoryError", OUT_OF_MEMORY, "", loading=True)
    assert failure.code is FailureCode.GPU_OUT_OF_MEMORY
    assert "tensor_parallel_size" in (failure.hint or "")


def test_nccl_that_lacked_memory_is_out_of_memory() -> None:
    failure = classify(None, "DistBackendError", "NCCL error\nLast error: Cuda failure 2 'out of memory'", "")
    assert failure.code is FailureCode.GPU_OUT_OF_MEMORY


DIED = "Worker proc VllmWorker-1 died unexpectedly (exit code: -9), shutting down executor."


@pytest.mark.parametrize(
    ("oom_killed", "code"), [(False, FailureCode.ENGINE_DIED), (True, FailureCode.HOST_OUT_OF_MEMORY)]
)
def test_a_killed_worker_of_an_engine_is_explained_by_the_kernels_count(
    oom_killed: bool, code: FailureCode
) -> None:
    log = f"ERROR 05-05 07:35:19 [multiproc_executor.py:1] {DIED}\n"
    assert classify(None, "EngineDeadError", "EngineCore died", log, oom_killed=oom_killed).code is code


@pytest.mark.parametrize(
    ("oom_killed", "code"), [(False, FailureCode.ENGINE_DIED), (True, FailureCode.HOST_OUT_OF_MEMORY)]
)
def test_a_kill_nobody_here_sent_is_explained_by_the_kernels_count(
    oom_killed: bool, code: FailureCode
) -> None:
    failure = classify(-signal.SIGKILL, None, None, "loading\n", oom_killed=oom_killed)
    assert failure.code is code
    assert failure.message == "the process was ended by SIGKILL"


@pytest.mark.parametrize("loading", [True, False])
def test_a_process_that_was_stopped_is_not_called_ended(*, loading: bool) -> None:
    log = "2026-11-27T04:01:24.570Z ERROR engine: vLLM's process EngineCore has been stopped by a signal for 30 s\n"
    failure = classify(None, None, None, log, loading=loading)
    assert failure.message == "vLLM's process EngineCore has been stopped by a signal for 30 s"
    assert "SIGSTOP" in (failure.hint or "")


@pytest.mark.parametrize(
    ("exit_status", "words", "hint"),
    [
        (-signal.SIGSEGV, "ended by SIGSEGV", "log"),
        (-signal.SIGBUS, "ended by SIGBUS", "shm_size"),
        (3, "exit code 3", "log"),
        (None, "stopped answering", "log"),
    ],
)
def test_an_end_without_words_says_how_it_ended(exit_status: int | None, words: str, hint: str) -> None:
    failure = classify(exit_status, None, None, "")
    assert failure.code is FailureCode.ENGINE_DIED
    assert words in failure.message
    assert hint in (failure.hint or "")


@pytest.mark.parametrize(
    ("loading", "code"), [(True, FailureCode.ENGINE_START_FAILED), (False, FailureCode.INTERNAL)]
)
def test_an_unknown_exception_keeps_its_words(loading: bool, code: FailureCode) -> None:
    failure = classify(1, "TypeError", "unexpected keyword 'colour'", f"{OUT_OF_MEMORY}\n", loading=loading)
    assert failure.code is code
    assert failure.message == "TypeError: unexpected keyword 'colour'"
    assert ("model_args" in (failure.hint or "")) is loading


def test_an_unknown_cause_in_the_log_is_told() -> None:
    log = in_vllm_log("ImportError: libcudart.so.12: cannot open shared object file")
    failure = classify(1, "RuntimeError", "Engine core initialization failed.", log, loading=True)
    assert failure.code is FailureCode.ENGINE_START_FAILED
    assert failure.message == "ImportError: libcudart.so.12: cannot open shared object file"


def test_a_failure_holds_no_secret() -> None:
    failure = classify(1, "HTTPError", "401 for Bearer hf_abcdefghijklmnopqrstuvwxyz012345", "")
    assert "abcdefgh" not in failure.message


FACTS: list[tuple[str, dict[str, object]]] = [
    (KV_CACHE, {"longest": 32768, "refused": None}),
    (TOO_FULL, {"in_use": True, "free_gib": 3.25, "total_gib": 23.43}),
    ("Free memory on device is less than desired GPU memory utilization", {"in_use": True, "free_gib": None}),
    ("torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered", {"broken_device": True}),
    ("CUDA out of memory. Please try lowering `max_num_seqs`", {"many_at_once": True}),
    (OUT_OF_MEMORY, {"many_at_once": None}),
]


@pytest.mark.parametrize(("message", "facts"), FACTS)
def test_what_a_text_tells_becomes_facts(message: str, facts: dict[str, object]) -> None:
    found = classify(None, "RuntimeError", message, "", loading=True).facts
    assert {name: found.get(name) for name in facts} == facts


@pytest.mark.parametrize("kind", ["Type", "Value", "Import", "ModuleNotFound", "Attribute", "NotImplemented"])
def test_a_start_refused_for_what_it_was_given_says_so(kind: str) -> None:
    exception_type = f"{kind}Error"
    assert classify(None, exception_type, "unexpected 'colour'", "", loading=True).facts == {"refused": True}
    assert classify(None, exception_type, "unexpected 'colour'", "").facts == {}
    assert classify(None, "RuntimeError", "some of it", "", loading=True).facts == {}


def test_the_log_tells_facts_of_a_failure_whose_words_do_not() -> None:
    failure = classify(-signal.SIGSEGV, None, None, "")
    logged = with_log(failure, EVERY_TEXT, ("...", "CUDA error: Uncorrectable ECC error encountered"), None)
    assert logged.facts == {"broken_device": True}
    assert logged.log_tail[0] == "..."


def test_a_backends_own_texts_count_alone_and_the_first_counts() -> None:
    own = FailureTexts(
        (
            sign(r"at most (?P<feathers>[\d,]+) feathers", FailureCode.TASK_ERROR, "give it {feathers}"),
            sign("feathers", FailureCode.INTERNAL, "never"),
        )
    )
    failure = classified(own, None, "BirdError", "it has at most 1,200 feathers", "")
    assert (failure.code, failure.hint) == (FailureCode.TASK_ERROR, "give it 1,200")
    assert failure.facts == {"feathers": 1200}
    assert classified(own, None, "torch.OutOfMemoryError", OUT_OF_MEMORY, "").code is FailureCode.INTERNAL
