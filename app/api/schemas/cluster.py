"""GPU groups, the queue and lm-eval's tasks, as clients see them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import Field

from app.api.schemas.job import FailureOut, Out
from app.domain.replica import DeviceState, ReplicaStatus


class DeviceOut(Out):
    """One GPU or CPU slot as its worker saw it last."""

    id: str
    index: int
    name: str
    state: DeviceState
    reason: str | None
    replica_id: UUID | None
    faulty: bool = Field(
        description="Its hardware failed: only an operator gives it back, by resuming its group."
    )
    memory_bytes: int | None
    memory_used_bytes: int | None
    utilization_percent: float | None
    temperature_celsius: float | None
    capability: str | None = Field(description="CUDA's compute capability, such as 9.0.")
    island: int | None = Field(description="GPUs of one number reach each other over NVLink.")
    numa_node: int | None
    warnings: list[str] = Field(description="What an operator should look at: heat, memory errors.")


class EngineOut(Out):
    """What a replica has loaded."""

    backend: str
    model: str | None = Field(None, description="Null for a model that only other teams use.")
    revision: str | None = None


class GroupReplicaOut(Out):
    """A live replica of the group; one with `idle_since` is warm and waits for work."""

    id: UUID
    engine: EngineOut
    status: ReplicaStatus
    reason: str | None = Field(
        description="Why it is there though it has answered nothing: it loads, or is loaded, while a job is prepared."
    )
    devices: list[str]
    requests_done: int
    placed_at: datetime
    serving_at: datetime | None
    idle_since: datetime | None
    release_requested_at: datetime | None
    error: FailureOut | None


class GroupOut(Out):
    """The devices of one host that one worker owns."""

    name: str
    host: str
    kind: str
    backends: list[str] = Field(description="Backends that its worker offers.")
    unusable_backends: dict[str, str] = Field(
        description="Backends that are installed on that host and do not work on its devices, each with why."
    )
    version: str
    worker_started_at: datetime
    heartbeat_at: datetime
    alive: bool = Field(description="The worker was heard of within the time to live of a lease.")
    draining: bool
    drain_requested_at: datetime | None = Field(description="Since when it is drained.")
    drained_by: str | None = Field(description="The name of the key that asked for it.")
    drain_reason: str | None = Field(description="In the words of who drained it.")
    devices: list[DeviceOut]
    replicas: list[GroupReplicaOut]


class GroupList(Out):
    """Every GPU group."""

    data: list[GroupOut]


class GapOut(Out):
    """How far two runs over the same documents are apart."""

    largest: float = Field(description="Of a log-likelihood, in nats.")
    greedy: int = Field(description="Requests with another greedy flag.")
    choices: int = Field(description="Documents whose likeliest choice is another one.")


class ToleranceOut(Out):
    """How far fast scoring is from stock, as `evalq backends calibrate` measured it on a host of these devices."""

    device: str = Field(description="Its name; of CPU slots, the CPU's.")
    dtype: str
    runner: str | None = Field(description="vLLM's model runner.")
    documents: int
    requests: int
    fast: GapOut = Field(description="Fast beside stock.")
    noise: GapOut = Field(description="Stock beside itself, in another order.")
    stock_rate: float = Field(description="Documents a second.")
    fast_rate: float = Field(description="Documents a second.")
    accepted: bool = Field(description="By an operator, however far it is.")
    usable: bool = Field(description="`scoring_mode: auto` is fast by it.")
    measured_at: datetime


class InstalledOut(Out):
    """A backend on the host of one group."""

    group: str
    host: str
    alive: bool = Field(description="Its worker was heard of within the time to live of a lease.")
    versions: dict[str, str] = Field(
        description="Of the packages that matter, by name; empty for an engine of evalq's own environment."
    )
    size_bytes: int | None = Field(description="What its environment takes on disk.")
    problem: str | None = Field(description="Why its worker does not offer it; null for one that works.")
    tolerances: list[ToleranceOut] = Field(
        description="What was measured of fast scoring with these versions on devices like its own, newest first."
    )


class BackendOut(Out):
    """An engine backend that evalq knows."""

    name: str
    model_names: list[str] = Field(description="What `model` may say for it, as lm_eval's `--model`.")
    devices: list[str] = Field(description="Kinds of devices that its engines run on.")
    stands_in_for: str | None = Field(
        description="The backend whose jobs it serves where no worker has that one."
    )
    planned_only: bool = Field(
        description="evalq has no engine for it: a job that names it is planned (dry run), and never run."
    )
    available: bool = Field(description="A worker that is alive offers it.")
    installed: list[InstalledOut]
    install: str | None = Field(
        description="How to install it on a worker's host; null where a worker has it, or where it needs nothing."
    )


class BackendList(Out):
    """Every backend."""

    data: list[BackendOut]


class TaskSummaryOut(Out):
    """A task, group or tag of lm-eval or of the operator."""

    name: str
    kind: str
    output_type: str | None
    tags: list[str]
    path: str | None


class TaskPage(Out):
    """Tasks by name."""

    data: list[TaskSummaryOut]
    next_cursor: str | None


class TaskDetailOut(TaskSummaryOut):
    """A task with what its file says."""

    children: list[str]
    num_fewshot: int | None
    dataset_path: str | None
    dataset_name: str | None
    description: str | None


class LiveOut(Out):
    """The process answers."""

    status: str


class ReadyOut(Out):
    """Whether jobs can be taken: `ok`, or what is wrong, for each thing needed."""

    status: str
    checks: dict[str, str]
