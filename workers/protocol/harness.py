"""What the coordinator orders: one job, parsed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from workers.protocol.frames import Frame

T = TypeVar("T")


@dataclass(frozen=True)
class Spec:
    """The job as lm-eval names its parts; defaults are those of `lm_eval run`."""

    model: str
    tasks: Sequence[str]
    model_args: Mapping[str, Any] = field(default_factory=dict)
    num_fewshot: int | None = None
    batch_size: int | str = 1
    max_batch_size: int | None = None
    limit: float | None = None
    samples: Mapping[str, Sequence[int]] | None = None
    gen_kwargs: Mapping[str, Any] | None = None
    apply_chat_template: bool | str = False
    system_instruction: str | None = None
    fewshot_as_multiturn: bool | None = None
    log_samples: bool = True
    predict_only: bool = False
    seed: Sequence[int | None] = (0, 1234, 1234, 1234)
    confirm_run_unsafe_code: bool = False
    metadata: Mapping[str, Any] | None = None
    bootstrap_iters: int = 100_000

    @property
    def multiturn(self) -> bool | None:
        """As `lm_eval run` resolves it: on with a chat template unless switched off."""
        if self.fewshot_as_multiturn is None and self.apply_chat_template:
            return True
        return self.fewshot_as_multiturn

    @property
    def keeps_samples(self) -> bool:
        """Without metrics the samples are all there is, so predict_only always keeps them."""
        return self.log_samples or self.predict_only

    def faults(self) -> list[str]:
        """What `lm_eval run` refuses before it loads anything."""
        faults = []
        if self.limit is not None and self.samples:
            faults.append("limit and samples exclude each other")
        if self.limit is not None and self.limit <= 0:
            faults.append(f"limit must be positive, not {self.limit}")
        if self.fewshot_as_multiturn and not self.apply_chat_template:
            faults.append("fewshot_as_multiturn needs apply_chat_template")
        return faults


@dataclass(frozen=True)
class Engine:
    """The model and how engines load it, under the backend's own names."""

    backend: str
    model: str
    revision: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """An order to evaluate."""

    id: str
    spec: Spec
    engine: Engine
    entries: Sequence[Mapping[str, Any]]
    """Index entries of every task, group and tag the job names or reaches."""
    backend_key: str
    salt: str | None
    hf_python: str | None = None
    """The interpreter of the hf backend on this host, if it is installed."""
    given_up: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Tasks that ended the processes of earlier tries, each with its error: their code is not run again."""

    @classmethod
    def parse(cls, frame: Frame) -> Job:
        """From an `evaluate` frame; fields of the spec that do not matter here are left out."""
        return cls(
            id=frame["job_id"],
            spec=_known(Spec, frame["spec"]),
            engine=_known(Engine, frame["engine"]),
            entries=frame["tasks"],
            backend_key=frame["backend_key"],
            salt=frame["salt"],
            hf_python=frame["hf_python"],
            given_up=frame["given_up"],
        )


def _known(kind: type[T], data: Mapping[str, Any]) -> T:
    names = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in data.items() if name in names})
