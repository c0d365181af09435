"""A plan: how a job will be run, and why, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """The planner's answer for a job, shown to the user before anything runs."""

    backend: str
    tensor_parallel_size: int
    pipeline_parallel_size: int
    gpus_per_replica: int
    replicas: int | None
    """Replicas asked for; None lets the scheduler choose."""
    group: str | None
    memory_per_gpu_gib: float | None
    explanation: tuple[str, ...]
    command: str
    """The equivalent lm_eval command line."""

    def to_json(self) -> dict[str, Any]:
        """As stored and shown; `replicas` is "auto" where the scheduler chooses."""
        return asdict(self) | {"explanation": list(self.explanation), "replicas": self.replicas or "auto"}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """The inverse of `to_json`."""
        replicas = None if data["replicas"] == "auto" else data["replicas"]
        return cls(**{**data, "explanation": tuple(data["explanation"]), "replicas": replicas})
