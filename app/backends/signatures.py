"""Texts by which engines and their libraries give away why they failed: read here, once, and nowhere again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from app.domain.failure import Fact, Failure, FailureCode


@dataclass(frozen=True)
class Signature:
    """A text that gives a cause away. A named group is a fact, and `{name}` in a hint its text."""

    pattern: re.Pattern[str]
    code: FailureCode
    hint: str
    hint_while_loading: str | None = None
    implied: Mapping[str, Fact] = field(default_factory=dict)

    def facts_in(self, text: str) -> dict[str, Fact] | None:
        """What the text tells, numbers as numbers; None where it is another text."""
        match = self.pattern.search(text)
        if match is None:
            return None
        told = {name: _number(said) for name, said in match.groupdict().items() if said is not None}
        return {**self.implied, **told}

    def failure_in(self, text: str, message: str, *, loading: bool) -> Failure | None:
        """The failure that the text stands for, in the words of `message`."""
        match = self.pattern.search(text)
        if match is None:
            return None
        hint = self.hint_while_loading if loading and self.hint_while_loading else self.hint
        hint = hint.format(**match.groupdict())
        return Failure(self.code, message or match[0], hint=hint, facts=self.facts_in(text) or {})


def sign(
    pattern: str,
    code: FailureCode,
    hint: str,
    hint_while_loading: str | None = None,
    *,
    facts: Mapping[str, Fact] | None = None,
) -> Signature:
    """A signature as it is written down; `facts` are what the text implies beside what its groups say."""
    return Signature(re.compile(pattern), code, hint, hint_while_loading, facts or {})


def _number(text: str) -> Fact:
    digits = text.replace(",", "")
    try:
        return float(digits) if "." in digits else int(digits)
    except ValueError:
        return text


REACH_THE_HUB = (
    "let the gpu worker's host reach the hub (HF_ENDPOINT names a mirror, HF_HUB_OFFLINE forbids to ask), or name"
    " a folder that has the files"
)

_FEWER_AT_ONCE = (
    "lower batch_size (HF), or max_num_seqs, max_num_batched_tokens or gpu_memory_utilization (vLLM)"
)
_DOES_NOT_FIT = (
    "the model does not fit: give it more GPUs (tensor_parallel_size), a smaller dtype or quantization"
)

HOST_SIGNATURES = (
    sign(
        r"No space left on device|Disk quota exceeded",
        FailureCode.ENGINE_START_FAILED,
        "a disk of this host is full: `evalq doctor` there says which; /dev/shm of a container is its shm_size",
    ),
    sign(
        r"\[Errno 24\]|Too many open files",
        FailureCode.HOST_OUT_OF_MEMORY,
        "more files are open at once than one child may have: the operator's bound is EVALQ_CHILD_FILES",
    ),
)
"""What any process says whose machine is full."""

SERVER_SIGNATURES = (
    sign(
        r"estimated maximum model length is (?P<longest>[\d,]+)",
        FailureCode.KV_CACHE_TOO_SMALL,
        "set max_model_len={longest} (longer prompts are then cut), or give the model more GPUs",
    ),
    sign(
        r"No available memory for the cache blocks|larger than the available KV cache memory"
        r"|larger than the maximum number of tokens that can be stored in KV cache",
        FailureCode.KV_CACHE_TOO_SMALL,
        "lower max_model_len, raise gpu_memory_utilization, or give the model more GPUs",
    ),
    sign(
        r"(?s)Free memory on device(?:.*?\((?P<free_gib>[\d.]+)/(?P<total_gib>[\d.]+) GiB\))?.*"
        r"is less than desired GPU memory utilization(?: \((?P<share>[\d.]+))?",
        FailureCode.ENGINE_START_FAILED,
        "another process holds memory on this GPU: wait for it or end it, or lower gpu_memory_utilization",
        facts={"in_use": True},
    ),
    sign(
        r"Total number of attention heads|World size .* is larger than",
        FailureCode.ENGINE_START_FAILED,
        "choose a number of GPUs per replica that divides the model's attention heads and that one group has",
    ),
    sign(
        r"(?s)out of memory.*max_num_seqs",
        FailureCode.GPU_OUT_OF_MEMORY,
        _FEWER_AT_ONCE,
        _DOES_NOT_FIT,
        facts={"many_at_once": True},
    ),
)
"""Of engines that reserve a device's memory before they answer, as vLLM and SGLang do."""

TORCH_SIGNATURES = (
    sign(
        r"OutOfMemoryError|(CUDA|HIP)( driver)?( error:)? out of memory|Cuda failure \d* ?'out of memory'",
        FailureCode.GPU_OUT_OF_MEMORY,
        _FEWER_AT_ONCE,
        _DOES_NOT_FIT,
    ),
    sign(
        r"DefaultCPUAllocator: |std::bad_alloc|^MemoryError|Cannot allocate memory",
        FailureCode.HOST_OUT_OF_MEMORY,
        "the machine's memory is full: run fewer engines at once, or lower offloading and swap space",
    ),
    sign(
        r"NCCL error|DistBackendError|nccl(System|Internal|Remote)Error"
        r"|Watchdog caught collective operation timeout",
        FailureCode.NCCL_ERROR,
        "GPUs of this block could not talk to each other: set NCCL_DEBUG=INFO and see the log",
    ),
    sign(
        r"(?i)uncorrectable ECC",
        FailureCode.ENGINE_DIED,
        "this GPU's memory is faulty: its devices are drained until it is reset or replaced and its group resumed",
        facts={"broken_device": True},
    ),
    sign(
        r"illegal memory access|device-side assert triggered|unspecified launch failure",
        FailureCode.ENGINE_DIED,
        "a GPU kernel failed and a new engine goes on; if it comes again, try enforce_eager=True",
    ),
)

HUB_SIGNATURES = (
    sign(
        r"DatasetNotFoundError|huggingface\.co/(api/)?datasets/|is a gated dataset|DataFilesNotFoundError",
        FailureCode.DATASET_ERROR,
        "check the task's dataset name and that this host may read it (network, HF_TOKEN, accepted terms)",
    ),
    sign(
        r"Dataset scripts are no longer supported",
        FailureCode.DATASET_ERROR,
        "the dataset needs a loading script, which datasets no longer runs: use a copy of it in Parquet",
    ),
    sign(
        r"did not find any docs|BuilderConfig '.*' not found",
        FailureCode.DATASET_ERROR,
        "the task's dataset has no such configuration or no documents in the split the task reads",
    ),
    sign(
        r"GatedRepoError|gated repo|awaiting a review from the repo authors",
        FailureCode.MODEL_GATED,
        "accept the model's terms on its page and give the worker an HF_TOKEN that may read it",
    ),
    sign(
        r"RepositoryNotFoundError|RevisionNotFoundError|is not a valid (model|git) identifier",
        FailureCode.MODEL_NOT_FOUND,
        "check the model's name and revision; a private model needs an HF_TOKEN that may read it",
    ),
    sign(
        r"We couldn't connect to 'https?://\S+' to load|LocalEntryNotFoundError|OfflineModeIsEnabled"
        r"|There was a specific connection error when trying to load|(?:5\d\d Server|429 Client) Error.* for url",
        FailureCode.HUB_UNREACHABLE,
        REACH_THE_HUB,
    ),
    sign(
        r"does not appear to have a file named",
        FailureCode.MODEL_NOT_FOUND,
        "the model's files are not complete here: check the folder, or download it where there is a network",
    ),
    sign(
        r"custom code which must be executed|requires you to execute the \w+ file|contains custom code",
        FailureCode.TOKENIZER_ERROR,
        "the model brings its own code: set trust_remote_code=True, which the operator must allow too",
    ),
    sign(
        r"does not recognize this architecture|Unrecognized model in"
        r"|Model architectures .* (are not supported|failed)",
        FailureCode.TOKENIZER_ERROR,
        "the backend's version does not know this architecture: choose another backend or a newer one",
    ),
    sign(
        r"Can't load tokenizer|Couldn't instantiate the backend tokenizer|Unable to load vocabulary"
        r"|Tokenizer class \S+ does not exist|Unrecognized processing class",
        FailureCode.TOKENIZER_ERROR,
        "name a tokenizer that can be loaded (model_args tokenizer=...), or install what it asks for",
    ),
    sign(
        r"tokenizer\.chat_template is not set",
        FailureCode.TOKENIZER_ERROR,
        "the tokenizer has no chat template: set apply_chat_template to false or use a chat model",
    ),
)
"""Of transformers, datasets and huggingface_hub: models, tokenizers and data that are not to be had."""

HUB_BELOW = re.compile(r"\b(LocalEntryNotFoundError|OfflineModeIsEnabled)\b")
"""In the traceback of an exception that says something else: libraries take an absent answer for an absent file."""

REFUSED = re.compile(r"(Type|Value|Import|ModuleNotFound|Attribute|NotImplemented)Error\b")
"""How a start fails that would fail the same way again: by what it was given, or by what its environment has not.

The last is what torch, transformers and vLLM raise for a model, a dtype or a device that they do not support.
"""

OPAQUE = re.compile(
    r"Engine core initialization failed|EngineDeadError|died unexpectedly|EngineCore encountered an issue"
    r"|WorkerProc initialization failed|See (root cause|stack trace)|ChildFailedError|ActorDiedError"
    r"|ConnectionResetError|BrokenPipeError"
)
"""An exception that only says that another process failed: the log knows why."""


DEATH = re.compile(r"\bdied unexpectedly\b")
DIED = re.compile(r"died unexpectedly \(exit code: (?P<status>-?\d+)\)")
"""How an engine tells of a process of its own that has ended: the exit code as Python has it."""
STOPPED = re.compile(r"\bhas been stopped by a signal\b")
"""The same of one that has not ended, and does not go on either."""


@dataclass(frozen=True)
class FailureTexts:
    """How one backend's engines say why they failed; of signatures that fit, the first counts."""

    signatures: tuple[Signature, ...]
    opaque: re.Pattern[str] = OPAQUE
    quotes: tuple[str, ...] = ()
    """Texts of a job that an engine may repeat, and that are read as if it had said nothing."""

    def of_job(self, texts: Iterable[str]) -> FailureTexts:
        """The same, for an engine that was given these texts: a dtype of the name CUDA out of memory is no failure."""
        known = {shown for text in texts for shown in (text, repr(text)[1:-1])}
        quotes = {text for text in known if any(each.pattern.search(text) for each in self.signatures)}
        return replace(self, quotes=tuple(sorted({*self.quotes, *quotes}, key=len, reverse=True)))

    def failure_in(self, text: str, message: str, *, loading: bool) -> Failure | None:
        """The failure that the text stands for, in the words of `message`; None for a text that nobody knows."""
        own = self._own(text)
        found = (signature.failure_in(own, message, loading=loading) for signature in self.signatures)
        return next((failure for failure in found if failure), None)

    def facts_in(self, text: str) -> dict[str, Fact]:
        """Everything that the text tells, whatever else it is about."""
        own, facts = self._own(text), dict[str, Fact]()
        for signature in reversed(self.signatures):
            facts |= signature.facts_in(own) or {}
        return facts

    def _own(self, text: str) -> str:
        """What the engine itself says."""
        for quote in self.quotes:
            text = text.replace(quote, "...")
        return text


EVERY_TEXT = FailureTexts((*HOST_SIGNATURES, *SERVER_SIGNATURES, *TORCH_SIGNATURES, *HUB_SIGNATURES))
