"""What a coordinator and the harness child of a job say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from app.workloads.lm_eval.spec import LmEvalSpec
from workers.protocol.engine import EngineRecipe
from workers.protocol.fork_server import Exited
from workers.protocol.messages import Messages
from workers.protocol.payload import RequestKind


@dataclass(frozen=True)
class FailureTold:
    """What went wrong, in a code that the service documents and in words."""

    code: str
    message: str
    traceback: str = ""
    hint: str | None = None
    """What helps, where that is known."""


@dataclass(frozen=True)
class TaskEntry:
    """A task, group or tag, and where it is defined."""

    name: str
    kind: str
    yaml_path: str | None = None
    tags: tuple[str, ...] = ()
    """Members of a tag."""


class PromptShapes(StrEnum):
    """Whose rules shape a prompt, and say which has no answer."""

    HFLM = "hflm"
    """Those of lm-eval's class of that name."""
    VLLM = "vllm"
    """Those of lm-eval's class of that name."""
    UNBOUNDED = "unbounded"
    """The same, but a prompt of a generation needs no room."""


@dataclass(frozen=True)
class EngineRules:
    """What the engine's backend is known by, of all that matters here."""

    key: str
    """Changes with the backend's pins."""
    shapes: PromptShapes = PromptShapes.HFLM
    whole_batches: bool = False
    """Whether answers depend on which requests share a batch, so that chunks hold whole batches of a set size."""
    grouped: str | None = None
    """The argument that switches off, for causal models, that log-likelihoods of equal beginnings are computed once.
    None: they always are."""
    answers: int | None = None
    """Another number where the backend's engines began to answer otherwise."""
    neutral: tuple[str, ...] = ()
    """Load-time arguments that no answer depends on."""


@dataclass(frozen=True)
class EvaluateOrder:
    """Evaluate this job: the first message, once. What this host knows of its tasks and backends comes along."""

    job_id: str
    spec: LmEvalSpec
    engine: EngineRecipe
    entries: tuple[TaskEntry, ...]
    """Index entries of every task, group and tag the job names or reaches."""
    rules: EngineRules
    salt: str | None
    gguf_python: str | None = None
    """The interpreter of a backend on this host that reads GGUF files, if one is installed."""
    given_up: Mapping[str, FailureTold] = field(default_factory=dict)
    """Tasks that ended the processes of earlier tries: their code is not run again."""


Stored: TypeAlias = tuple[bytes, bytes, bytes | None]
"""A response: its key, itself and its note, both packed; responses of earlier versions have no note."""

ORDERS: Messages[EvaluateOrder] = Messages(EvaluateOrder)


@dataclass(frozen=True)
class SettingsJudged:
    """Answers `JudgeSettings`."""

    faults: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """Answers `LookUp`: what is stored of these requests."""

    responses: tuple[Stored, ...]
    pending: tuple[bytes, ...]
    """Keys in stored chunks that are still to be answered."""


@dataclass(frozen=True)
class Responses:
    """Engines have answered."""

    responses: tuple[Stored, ...]


@dataclass(frozen=True)
class RequestFailed:
    """No engine can answer this request."""

    key: bytes
    fault: FailureTold


@dataclass(frozen=True)
class FactsTold:
    """Answers `TellFacts`: what an engine of the job said of itself; None where none is known any more."""

    facts: Mapping[str, Any] | None


ToHarness: TypeAlias = SettingsJudged | Found | Responses | RequestFailed | FactsTold
"""What may follow the order."""

TO_HARNESS: Messages[ToHarness] = Messages(SettingsJudged, Found, Responses, RequestFailed, FactsTold)


@dataclass(frozen=True)
class Working:
    """Whose code runs from now on; None when it is nobody's."""

    task: str | None


@dataclass(frozen=True)
class JudgeSettings:
    """Whether the job's backend takes these generation settings of a task; answered by `SettingsJudged`."""

    settings: str
    """JSON."""


@dataclass(frozen=True)
class EngineSettled:
    """More is known of the engine than was ordered, and no prompt is written yet."""

    args: Mapping[str, Any]
    """All that it is loaded with."""


@dataclass(frozen=True)
class Prepared:
    """All requests are built."""

    fingerprint: bytes
    totals: tuple[tuple[str, int], ...]
    """Requests of each task, in the order of the tasks."""
    provenance: Mapping[str, Any]
    """What the numbers will rest on, as plain JSON values."""


@dataclass(frozen=True)
class LookUp:
    """Which of these requests are answered already, or are about to be; answered by `Found`."""

    keys: tuple[bytes, ...]


@dataclass(frozen=True)
class ChunkCut:
    """Requests of one kind and one generation setting, cut by the harness, to be answered as a whole."""

    kind: RequestKind
    batch_size: int | str
    gen_kwargs: Mapping[str, Any] | None
    seed: int | None
    """None where nothing is drawn."""
    cost: float
    """Tokens, as estimated."""
    keys: tuple[bytes, ...]
    payload: bytes
    """The requests, packed."""


@dataclass(frozen=True)
class AllCut:
    """Every request without an answer is in a chunk."""

    lengths: tuple[tuple[int, int], ...] = ()
    """For each maximum length that a request needs not to be cut, how many do; of kinds with something to answer."""


@dataclass(frozen=True)
class Withdraw:
    """Nobody needs the answers to these requests any more."""

    keys: tuple[bytes, ...]


Preparing: TypeAlias = (
    EngineSettled | Working | JudgeSettings | Prepared | LookUp | ChunkCut | AllCut | Withdraw
)


@dataclass(frozen=True)
class TaskProgress:
    """So many of a task's requests are closed."""

    task: str
    done: int


@dataclass(frozen=True)
class TaskFailed:
    """A task cannot be scored; the others go on."""

    task: str
    fault: FailureTold


@dataclass(frozen=True)
class QualityTold:
    """How well a task was asked and answered, by the names and with the meaning of the domain's `TaskQuality`."""

    documents: int
    documents_left_out: int
    requests: int
    requests_not_known: int
    prompts_cut: int | None
    answers: int
    answers_truncated: int | None
    answers_empty: int
    max_gen_toks: int | None
    filter_found_nothing: Mapping[str, int]


@dataclass(frozen=True)
class TaskFinished:
    """A task is scored."""

    task: str
    metrics: str
    """Its entry under `results`, as JSON."""
    fault: FailureTold | None
    """What was left out of the score, if something was."""
    quality: QualityTold | None = None


@dataclass(frozen=True)
class SampleTold:
    """A sample line, and what is known of its answers."""

    line: str
    correct: bool | None = None
    truncated: bool | None = None
    """Whether one of them ended because it was as long as it may be."""
    empty: bool | None = None


@dataclass(frozen=True)
class SampleRows:
    """The next sample lines of a task."""

    task: str
    rows: tuple[SampleTold, ...]


@dataclass(frozen=True)
class ScoringBegun:
    """Every request is answered or has failed: engines are needed no more."""


@dataclass(frozen=True)
class TellFacts:
    """What do engines of the job say of themselves; answered by `FactsTold`."""


Scoring: TypeAlias = TaskProgress | TaskFailed | TaskFinished | SampleRows | ScoringBegun | TellFacts


@dataclass(frozen=True)
class Results:
    """The job is done."""

    document: str
    """As `lm_eval run` writes it."""
    model_name: str
    """The folder that `lm_eval run` would write to."""
    date: str
    """The time in the names of lm-eval's files."""


@dataclass(frozen=True)
class JobFailed:
    """The whole job cannot go on."""

    fault: FailureTold


Leaving: TypeAlias = Results | JobFailed | Exited

FromHarness: TypeAlias = Preparing | Scoring | Leaving
FROM_HARNESS: Messages[FromHarness] = Messages(
    *(EngineSettled, Working, JudgeSettings, Prepared, LookUp, ChunkCut, AllCut, Withdraw),
    *(TaskProgress, TaskFailed, TaskFinished, SampleRows, ScoringBegun, TellFacts),
    *(Results, JobFailed, Exited),
)
