"""What a supervisor and its engine child say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID

from workers.protocol.messages import Messages
from workers.protocol.payload import RequestKind

SCORED_AS_STOCK = "scored_as_stock"
"""What an engine tells with its provenance, and its jobs are warned of: why it scores stock where fast was asked."""


class ScoringMode(StrEnum):
    """How an engine comes to log-likelihoods."""

    STOCK = "stock"
    """As lm-eval has its class do it."""
    FAST = "fast"
    """What requests of one context share is computed once."""


@dataclass(frozen=True)
class EngineRecipe:
    """An engine spec as it travels: a model, and how it is loaded under the backend's own names."""

    backend: str
    model: str
    """A folder, or a repository of the hub."""
    revision: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    """The backend's own arguments, without what stands here."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables that the engine child was started with."""
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    scoring_mode: ScoringMode = ScoringMode.STOCK


@dataclass(frozen=True)
class ImportBackend:
    """Import what takes long of a backend, touch no device, and wait for `Load`. Answered by `BackendImported`.

    The first message to a spare, or none. A backend that cannot be imported ends the child.
    """

    backend: str
    cache: str | None = None
    """As in `Load`."""


@dataclass(frozen=True)
class Load:
    """Load the model: the first message to a child that is no spare, once. Answered by `Loaded` or `LoadFailed`."""

    engine: EngineRecipe
    device: str
    """`cpu` or `cuda`."""
    max_batch_size: int
    """What an automatic batch size may reach."""
    memory_bytes: int = 0
    """This engine's share of its host's memory."""
    cache: str | None = None
    """A folder that lasts, for what would be compiled anew at every start."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What its environment has to hold before anything looks for devices: which they are. A spare started without."""


@dataclass(frozen=True)
class Draws:
    """What the samples of a chunk are drawn with: equal draws give equal samples, whatever is answered beside them."""

    seed: int
    """The job's."""
    requests: tuple[bytes, ...]
    """For each request, what makes its sample another one under the same seed. An engine that draws by one number a
    request hashes both."""


@dataclass(frozen=True)
class AnswerChunk:
    """Answer these requests, as a whole; settled by `Answered` or `ChunkFailed`, or by nothing after a `Drop`."""

    chunk: UUID
    kind: RequestKind
    batch_size: int | str
    """Requests at once, for engines that form batches: a number, `auto`, `auto:N`, each with ` max N` or without."""
    gen_kwargs: Mapping[str, Any]
    """Settings of a generation, by lm-eval's names; empty for other kinds."""
    draws: Draws | None
    """None where nothing is drawn."""
    payload: bytes
    """The requests; see `payload`."""


@dataclass(frozen=True)
class Drop:
    """These chunks are not wanted any more: their job has ended or paused. One that is settled already is ignored."""

    chunks: tuple[UUID, ...]


ToEngine: TypeAlias = ImportBackend | Load | AnswerChunk | Drop
TO_ENGINE: Messages[ToEngine] = Messages(ImportBackend, Load, AnswerChunk, Drop)


@dataclass(frozen=True)
class BackendImported:
    """The spare waits for `Load`."""

    seconds: float
    """Spent on importing."""
    touched: bool
    """Whether the import has started the GPU driver, which looks for its devices once: no use is to be made of it."""


FROM_SPARE: Messages[BackendImported] = Messages(BackendImported)


@dataclass(frozen=True)
class Raised:
    """An exception, as the child saw it."""

    type: str
    """As tracebacks name it: `torch.OutOfMemoryError`, `ValueError`."""
    message: str
    traceback: str


@dataclass(frozen=True)
class Loaded:
    """The model is loaded; chunks may come."""

    seconds: float
    """Spent on loading."""
    provenance: Mapping[str, Any]
    """What the engine says of itself: versions, dtype, devices, maximum length, the page about its host."""
    window: int
    """Requests that it wants in hand, to be as fast as it can. 0: it answers one chunk at a time, in order."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """What it takes of the device that holds most: `weights_bytes`, `other_bytes`, `peak_bytes`; its `cache_tokens`."""


@dataclass(frozen=True)
class LoadFailed:
    """The model did not load; the child ends."""

    error: Raised


@dataclass(frozen=True)
class Answered:
    """All requests of a chunk are answered."""

    chunk: UUID
    responses: tuple[bytes, ...]
    """One for each request, in order, each packed."""
    seconds: float
    """From the chunk's first request to its last."""
    tokens: int
    """Read and generated."""
    batch_size: int
    """Requests that ran at once, at most; what a chunk got of what it asked for."""
    log_end: int
    """How far the log goes now: what is written from here on is not of this chunk alone."""
    peak_bytes: float | None = None
    """The most that the engine has taken of a device so far, where it knows."""
    notes: tuple[bytes, ...] = ()
    """One for each response, packed; none where the engine tells nothing."""


@dataclass(frozen=True)
class ChunkFailed:
    """A chunk cannot be answered; the others go on, unless it was fatal."""

    chunk: UUID
    error: Raised
    fatal: bool
    """Whether the engine did not survive it: the child ends."""
    log_end: int


@dataclass(frozen=True)
class Progressed:
    """How far the chunks in work are: told a few times a second while there is something to tell.

    Told also while no request ends, as long as tokens come, so that silence means a stall.
    """

    answered: tuple[tuple[UUID, int], ...]
    """Chunks in work, each with its requests that are answered. A batch that is tried again counts anew."""
    tokens: int
    """Generated since the last of these messages."""


@dataclass(frozen=True)
class Warned:
    """Something went wrong while a chunk was answered, and was cured."""

    chunk: UUID
    code: str
    change: str
    """What was changed, for people: `batch size 8 -> 4`."""


@dataclass(frozen=True)
class Died:
    """A process of the engine's own has ended; the child follows."""

    process: str
    """Its name, as the engine calls it."""
    exit_code: int | None
    """As Python has it: -9 after SIGKILL; None where it cannot be known."""


FromEngine: TypeAlias = Loaded | LoadFailed | Answered | ChunkFailed | Progressed | Warned | Died
FROM_ENGINE: Messages[FromEngine] = Messages(
    Loaded, LoadFailed, Answered, ChunkFailed, Progressed, Warned, Died
)
