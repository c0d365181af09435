"""Recognises why an engine or a harness failed, from its exception, its log and how it ended. Pure."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from app.domain.failure import Failure, FailureCode
from app.domain.redaction import redact
from workers.supervision.log_tail import cause_of, first_error_block

_MESSAGE_CHARACTERS = 2000


@dataclass(frozen=True)
class Signature:
    """A text that gives a cause away. `{0}` in a hint is the pattern's first group."""

    pattern: re.Pattern[str]
    code: FailureCode
    hint: str
    hint_while_loading: str | None = None

    def failure(self, match: re.Match[str], message: str, *, loading: bool) -> Failure:
        """The failure this text stands for."""
        hint = self.hint_while_loading if loading and self.hint_while_loading else self.hint
        return Failure(self.code, message, hint=hint.format(*match.groups()))


def _sign(pattern: str, code: FailureCode, hint: str, hint_while_loading: str | None = None) -> Signature:
    return Signature(re.compile(pattern), code, hint, hint_while_loading)


_REACH_THE_HUB = (
    "let the gpu worker's host reach the hub (HF_ENDPOINT names a mirror, HF_HUB_OFFLINE forbids to ask), or name"
    " a folder that has the files"
)
_HUB_BELOW = re.compile(r"\b(LocalEntryNotFoundError|OfflineModeIsEnabled)\b")
"""In the traceback of an exception that says something else: libraries take an absent answer for an absent file."""

SIGNATURES = (
    _sign(
        r"No space left on device|Disk quota exceeded",
        FailureCode.ENGINE_START_FAILED,
        "a disk of this host is full: `evalq doctor` there says which; /dev/shm of a container is its shm_size",
    ),
    _sign(
        r"estimated maximum model length is ([\d,]+)",
        FailureCode.KV_CACHE_TOO_SMALL,
        "set max_model_len={0} (longer prompts are then cut), or give the model more GPUs",
    ),
    _sign(
        r"No available memory for the cache blocks|larger than the available KV cache memory"
        r"|larger than the maximum number of tokens that can be stored in KV cache",
        FailureCode.KV_CACHE_TOO_SMALL,
        "lower max_model_len, raise gpu_memory_utilization, or give the model more GPUs",
    ),
    _sign(
        r"(?s)Free memory on device.*is less than desired GPU memory utilization",
        FailureCode.ENGINE_START_FAILED,
        "another process holds memory on this GPU: wait for it or end it, or lower gpu_memory_utilization",
    ),
    _sign(
        r"OutOfMemoryError|(CUDA|HIP)( driver)?( error:)? out of memory|Cuda failure \d* ?'out of memory'",
        FailureCode.GPU_OUT_OF_MEMORY,
        "lower batch_size (HF), or max_num_seqs, max_num_batched_tokens or gpu_memory_utilization (vLLM)",
        "the model does not fit: give it more GPUs (tensor_parallel_size), a smaller dtype or quantization",
    ),
    _sign(
        r"Total number of attention heads|World size .* is larger than",
        FailureCode.ENGINE_START_FAILED,
        "choose a number of GPUs per replica that divides the model's attention heads and that one group has",
    ),
    _sign(
        r"DefaultCPUAllocator: |std::bad_alloc|^MemoryError|Cannot allocate memory",
        FailureCode.HOST_OUT_OF_MEMORY,
        "the machine's memory is full: run fewer engines at once, or lower offloading and swap space",
    ),
    _sign(
        r"\[Errno 24\]|Too many open files",
        FailureCode.HOST_OUT_OF_MEMORY,
        "more files are open at once than one child may have: the operator's bound is EVALQ_CHILD_FILES",
    ),
    _sign(
        r"NCCL error|DistBackendError|nccl(System|Internal|Remote)Error"
        r"|Watchdog caught collective operation timeout",
        FailureCode.NCCL_ERROR,
        "GPUs of this block could not talk to each other: set NCCL_DEBUG=INFO and see the log",
    ),
    _sign(
        r"(?i)uncorrectable ECC",
        FailureCode.ENGINE_DIED,
        "this GPU's memory is faulty: its devices are drained until it is reset or replaced and its group resumed",
    ),
    _sign(
        r"illegal memory access|device-side assert triggered|unspecified launch failure",
        FailureCode.ENGINE_DIED,
        "a GPU kernel failed and a new engine goes on; if it comes again, try enforce_eager=True",
    ),
    _sign(
        r"DatasetNotFoundError|huggingface\.co/(api/)?datasets/|is a gated dataset|DataFilesNotFoundError",
        FailureCode.DATASET_ERROR,
        "check the task's dataset name and that this host may read it (network, HF_TOKEN, accepted terms)",
    ),
    _sign(
        r"Dataset scripts are no longer supported",
        FailureCode.DATASET_ERROR,
        "the dataset needs a loading script, which datasets no longer runs: use a copy of it in Parquet",
    ),
    _sign(
        r"did not find any docs|BuilderConfig '.*' not found",
        FailureCode.DATASET_ERROR,
        "the task's dataset has no such configuration or no documents in the split the task reads",
    ),
    _sign(
        r"GatedRepoError|gated repo|awaiting a review from the repo authors",
        FailureCode.MODEL_GATED,
        "accept the model's terms on its page and give the worker an HF_TOKEN that may read it",
    ),
    _sign(
        r"RepositoryNotFoundError|RevisionNotFoundError|is not a valid (model|git) identifier",
        FailureCode.MODEL_NOT_FOUND,
        "check the model's name and revision; a private model needs an HF_TOKEN that may read it",
    ),
    _sign(
        r"We couldn't connect to 'https?://\S+' to load|LocalEntryNotFoundError|OfflineModeIsEnabled"
        r"|There was a specific connection error when trying to load|(?:5\d\d Server|429 Client) Error.* for url",
        FailureCode.HUB_UNREACHABLE,
        _REACH_THE_HUB,
    ),
    _sign(
        r"does not appear to have a file named",
        FailureCode.MODEL_NOT_FOUND,
        "the model's files are not complete here: check the folder, or download it where there is a network",
    ),
    _sign(
        r"custom code which must be executed|requires you to execute the \w+ file|contains custom code",
        FailureCode.TOKENIZER_ERROR,
        "the model brings its own code: set trust_remote_code=True, which the operator must allow too",
    ),
    _sign(
        r"does not recognize this architecture|Unrecognized model in"
        r"|Model architectures .* (are not supported|failed)",
        FailureCode.TOKENIZER_ERROR,
        "the backend's version does not know this architecture: choose another backend or a newer one",
    ),
    _sign(
        r"Can't load tokenizer|Couldn't instantiate the backend tokenizer|Unable to load vocabulary"
        r"|Tokenizer class \S+ does not exist|Unrecognized processing class",
        FailureCode.TOKENIZER_ERROR,
        "name a tokenizer that can be loaded (model_args tokenizer=...), or install what it asks for",
    ),
    _sign(
        r"tokenizer\.chat_template is not set",
        FailureCode.TOKENIZER_ERROR,
        "the tokenizer has no chat template: set apply_chat_template to false or use a chat model",
    ),
)

_OPAQUE = re.compile(
    r"Engine core initialization failed|EngineDeadError|died unexpectedly|EngineCore encountered an issue"
    r"|WorkerProc initialization failed|See (root cause|stack trace)|ChildFailedError|ActorDiedError"
    r"|ConnectionResetError|BrokenPipeError"
)
_SIGNAL_HINTS: dict[int, str] = {
    signal.SIGKILL: "something outside evalq killed it; a new engine goes on where it stopped",
    signal.SIGBUS: "often a full /dev/shm: give the container more shared memory (shm_size)",
}
_OUT_OF_HOST_MEMORY = (
    "the kernel ended it for want of memory: run fewer engines at once or give the host more"
)
_OUTGREW = (
    "take a smaller model or batch_size; the operator's bounds are EVALQ_ENGINE_MEMORY_SHARE and"
    " EVALQ_CHILD_PROCESSES"
)
_READ_THE_LOG = "see the end of the log"
_SEE_ARGUMENTS = "the engine refuses an argument or its value: see the message, and model_args of the job"


def classify(
    exit_status: int | None,
    exception_type: str | None,
    message: str | None,
    log_text: str,
    *,
    loading: bool = False,
    oom_killed: bool = False,
) -> Failure:
    """Name the failure. `exit_status`: negative for a signal nobody here sent, None while the child lives.

    An exception that only says that another process failed is explained by the log's first error.
    `oom_killed`: the kernel's out-of-memory count rose meanwhile (`oom.oom_kills`).
    """
    if exit_status == -signal.SIGKILL and oom_killed:
        return Failure(FailureCode.HOST_OUT_OF_MEMORY, _end_words(exit_status), hint=_OUT_OF_HOST_MEMORY)
    exception = redact(": ".join(part for part in (exception_type, message) if part))[:_MESSAGE_CHARACTERS]
    found = _recognise(exception, exception, loading=loading)
    if found is not None:
        return found
    if not exception or _OPAQUE.search(exception):
        return _from_log(exit_status, exception, log_text, loading=loading, oom_killed=oom_killed)
    if loading and _HUB_BELOW.search(log_text):
        return Failure(FailureCode.HUB_UNREACHABLE, exception, hint=_REACH_THE_HUB)
    code = FailureCode.ENGINE_START_FAILED if loading else FailureCode.INTERNAL
    refused = loading and exception_type in {"TypeError", "ValueError"}
    return Failure(code, exception, hint=_SEE_ARGUMENTS if refused else _READ_THE_LOG)


def outgrown(words: str) -> Failure:
    """The failure of an engine that was ended because it passed its bounds."""
    return Failure(FailureCode.HOST_OUT_OF_MEMORY, words, hint=_OUTGREW)


def _from_log(
    exit_status: int | None, exception: str, log_text: str, *, loading: bool, oom_killed: bool
) -> Failure:
    block = redact(first_error_block(log_text))
    cause = cause_of(block)[:_MESSAGE_CHARACTERS]
    found = _recognise(block or log_text, cause, loading=loading)
    if found is not None:
        return found
    if oom_killed and "exit code: -9" in log_text + exception:
        return Failure(FailureCode.HOST_OUT_OF_MEMORY, exception or cause, hint=_OUT_OF_HOST_MEMORY)
    code = FailureCode.ENGINE_START_FAILED if loading else FailureCode.ENGINE_DIED
    hint = _SIGNAL_HINTS.get(-(exit_status or 0), _READ_THE_LOG)
    return Failure(code, cause or exception or _end_words(exit_status), hint=hint)


def _recognise(text: str, message: str, *, loading: bool) -> Failure | None:
    """The first signature that the text shows."""
    for signature in SIGNATURES:
        match = signature.pattern.search(text)
        if match is not None:
            return signature.failure(match, message or match[0], loading=loading)
    return None


def _end_words(exit_status: int | None) -> str:
    if exit_status is None:
        return "the process stopped answering"
    if exit_status < 0:
        return f"the process was ended by {signal.Signals(-exit_status).name}"
    return f"the process ended with exit code {exit_status}"
