"""What evalq knows of an engine backend: one value each. Nothing else of evalq compares a backend's name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from app.backends.arguments import Arguments, Wrong
from app.backends.memory_names import NO_MEMORY_NAMES, MemoryNames
from app.backends.parallelism import ArgumentNames
from app.backends.scoring import ScoringCase, ScoringChoice, stock_alone
from app.backends.signatures import EVERY_TEXT, FailureTexts
from app.domain.model_facts import ModelFacts
from app.domain.remedy import Remedies, no_remedy
from app.settings import Settings

FOLDER = Path(__file__).parent

# fmt: off
NEUTRAL = frozenset({
    # where the model runs and how it is spread
    "device", "device_map", "devices", "num_nodes", "parallelize",
    "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "tp_size", "pp_size", "dp_size",
    "tensor_model_parallel_size", "pipeline_model_parallel_size",
    "distributed_executor_backend", "enable_expert_parallel",
    # how much memory it may take
    "gpu_memory_utilization", "mem_fraction_static", "max_memory_per_gpu", "max_cpu_memory",
    "offload_folder", "swap_space", "cpu_offload_gb",
    # how many requests run at once
    "batch_size", "max_batch_size", "max_num_seqs", "max_num_batched_tokens", "max_running_requests",
    # how it is fetched and logged
    "cache_dir", "download_dir", "max_parallel_loading_workers", "low_cpu_mem_usage", "disable_log_stats",
})
# fmt: on
"""Load-time arguments that no answer depends on, whatever the backend. Any other is taken to matter."""


class Shapes(StrEnum):
    """Whose rules shape a prompt and say which cannot be answered; the harness knows them by these names."""

    HFLM = "hflm"
    """Those of lm-eval's class of that name."""
    VLLM = "vllm"
    """Those of lm-eval's class of that name."""
    UNBOUNDED = "unbounded"
    """The same, but a prompt of a generation needs no room: the engine takes or refuses it."""


@dataclass(frozen=True)
class Batching:
    """How chunks are cut for an engine."""

    whole: bool = False
    """Whether answers depend on which requests share a batch, so that chunks hold whole batches of a set size."""
    grouped: str | None = None
    """The argument that switches off, for causal models, that log-likelihoods of equal beginnings are computed once.
    None: they always are."""


@dataclass(frozen=True)
class GgufFiles:
    """What a backend makes of GGUF files."""

    architectures: tuple[str, ...]
    """As files name them (`general.architecture`)."""
    dtype: str
    """What weights are unpacked to where the job names no dtype."""
    excluded: tuple[str, ...] = ()
    """Arguments that cannot be given with such a file."""


@dataclass(frozen=True)
class Loading:
    """How a model will be loaded, as far as a posted job tells."""

    args: Mapping[str, Any]
    batch_size: int | str
    max_batch_size: int | None = None
    facts: ModelFacts | None = None
    """What the model's files say; None where they are not at hand."""
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1

    @property
    def stored_dtype(self) -> str | None:
        """Of the model's files; None where they are not at hand."""
        return self.facts.dtype if self.facts else None


Settle = Callable[[Loading], tuple[dict[str, Any], list[str]]]
"""The arguments, complete, and what a user should know of them."""


def _as_given(loading: Loading) -> tuple[dict[str, Any], list[str]]:
    return dict(loading.args), []


def _nothing_against(_: Loading) -> Iterator[Wrong]:
    yield from ()


def _lacks_none(_: Mapping[str, Any], __: ModelFacts) -> bool:
    return False


def _always(_: object) -> bool:
    return True


@dataclass(frozen=True)
class Backend:
    """An engine backend: its name is that of its folder in `workers/engine_child`."""

    name: str
    model_names: tuple[str, ...]
    """What lm-eval's `--model` may say for it."""
    lock: str | None = None
    """The file of pins beside this one; without it engines run in the control plane's own environment."""
    lock_is_whole: bool = False
    """Whether nothing beside the pins may be installed, though they ask for it."""
    imports: tuple[str, ...] = ()
    """Modules that its environment must be able to import."""
    versions: tuple[str, ...] = ("torch", "transformers", "lm_eval")
    """Distributions in its environment whose versions are told."""
    stands_in_for: str | None = None
    """The backend whose jobs it serves where no worker has that one."""
    devices: frozenset[str] = frozenset({"cpu", "cuda"})
    """Kinds of devices that its engines run on."""
    planned_only: bool = False
    """Whether evalq has no engine for it yet: its jobs are planned, and told so."""
    model_argument: str = "pretrained"
    """What it calls the model's folder or hub name."""
    allowed: Callable[[Settings], bool] = _always
    """Whether this installation may use it."""
    answers: int | None = None
    """Raised when its engine begins to answer otherwise: what it answered before then serves nobody any more."""

    arguments: Arguments = field(default_factory=Arguments)
    neutral: frozenset[str] = NEUTRAL
    """Load-time arguments that no answer depends on."""
    parallelism: ArgumentNames = field(default_factory=ArgumentNames)
    memory: MemoryNames = NO_MEMORY_NAMES
    settle: Settle = _as_given
    is_settled: Callable[[Mapping[str, Any]], bool] = _always
    """Whether an engine with these arguments gets them as they are, whatever the harness finds out of the model."""
    files: Callable[[Loading], Iterator[Wrong]] = _nothing_against
    """What the files of a model in a local folder say against loading it so."""
    architectures: frozenset[str] = frozenset()
    """Those that it is known to load."""
    lacks: Callable[[Mapping[str, Any], ModelFacts], bool] = _lacks_none
    """Whether it is known to have no such architecture as the model's, under such arguments."""
    model_files: bool = True
    """Whether it loads the model's own files, so that what they say is judged before it does."""
    gguf: GgufFiles | None = None
    """None: it reads none, or nobody knows which."""

    scoring: ScoringChoice = stock_alone
    """Which way its engines come to log-likelihoods."""
    apart: Callable[[ScoringCase], list[str]] | None = None
    """What keeps `auto` from going by what was measured (`evalq backends calibrate`); None: nothing is measured."""
    shapes: Shapes = Shapes.HFLM
    batching: Batching = field(default_factory=Batching)

    texts: FailureTexts = EVERY_TEXT
    remedy: Remedies = no_remedy
    """What to change when an engine fails."""

    @property
    def lock_file(self) -> Path | None:
        """Where the pins are."""
        return FOLDER / self.lock if self.lock else None

    @property
    def version(self) -> str | None:
        """Of the package that bears its name, as pinned; None where no package does."""
        return next((pin.partition("==")[2] for pin in self.pins if pin.startswith(f"{self.name}==")), None)

    @property
    def title(self) -> str:
        """Its name, with the version that is pinned where there is one."""
        return f"{self.name} {self.version}" if self.version else self.name

    @property
    def packages(self) -> frozenset[str]:
        """What its environment holds."""
        return frozenset(pin.partition("==")[0] for pin in self.pins)

    @property
    def pins(self) -> list[str]:
        """The lines of its lock file that say something, sorted."""
        if self.lock_file is None:
            return []
        lines = self.lock_file.read_text(encoding="utf-8").splitlines()
        return sorted(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
