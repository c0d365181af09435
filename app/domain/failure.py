"""Why something failed: a code for programs, words for people, and the facts that the words told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.domain.redaction import redact, redacted
from app.domain.storable import storable_text


class FailureCode(StrEnum):
    """Why a job, a task or an engine failed; each has a section in docs/troubleshooting.md."""

    GPU_OUT_OF_MEMORY = "gpu_out_of_memory"
    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    KV_CACHE_TOO_SMALL = "kv_cache_too_small"
    MODEL_NOT_FOUND = "model_not_found"
    MODEL_GATED = "model_gated"
    HUB_UNREACHABLE = "hub_unreachable"
    TOKENIZER_ERROR = "tokenizer_error"
    DATASET_ERROR = "dataset_error"
    TASK_ERROR = "task_error"
    ENGINE_START_FAILED = "engine_start_failed"
    ENGINE_DIED = "engine_died"
    NCCL_ERROR = "nccl_error"
    STALLED = "stalled"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    LOST = "lost"
    CANCELLED = "cancelled"
    INTERNAL = "internal"

    @classmethod
    def read(cls, text: str) -> FailureCode:
        """The code as stored or told by another process; one that only another version knows is `internal`."""
        try:
            return cls(text)
        except ValueError:
            return cls.INTERNAL


MEMORY_CODES = frozenset(
    {FailureCode.GPU_OUT_OF_MEMORY, FailureCode.HOST_OUT_OF_MEMORY, FailureCode.KV_CACHE_TOO_SMALL}
)

Fact = bool | int | float | str

MOST_CHARACTERS = 4000
"""Of a message, a hint or a line of a log: an exception may repeat a whole data set."""


def _fit(text: str) -> str:
    """Without secrets, storable, and short enough to be read."""
    known = storable_text(redact(text[: 2 * MOST_CHARACTERS]))
    return known if len(known) <= MOST_CHARACTERS else f"{known[:MOST_CHARACTERS]} ..."


@dataclass(frozen=True)
class Failure:
    """Why something failed, in a code for programs and words for people.

    The secrets that an exception or a log may repeat are gone from it before anybody sees or keeps it, and so is
    what no database holds.
    """

    code: FailureCode
    message: str
    task: str | None = None
    hint: str | None = None
    log_tail: tuple[str, ...] = ()
    attempts: tuple[Mapping[str, Any], ...] = ()
    job_id: UUID | None = None
    """The job whose requests an engine failed on: its words and lines may quote them."""
    facts: Mapping[str, Fact] = field(default_factory=dict, hash=False)
    """What was read from an engine's text, once: `{"longest": 4096}`. Whoever decides reads these, and no text."""
    ways_out: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    """What to change in a job that failed so, as `WayOut` stores it."""

    @property
    def of_memory(self) -> bool:
        """Whether more memory, or less to hold in it, would have helped."""
        return self.code in MEMORY_CODES or "longest" in self.facts

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", _fit(self.message))
        object.__setattr__(self, "hint", self.hint and _fit(self.hint))
        object.__setattr__(self, "log_tail", tuple(_fit(line) for line in self.log_tail))
        object.__setattr__(self, "attempts", tuple(redacted(attempt) for attempt in self.attempts))

    def to_json(self) -> dict[str, Any]:
        """As stored and shown."""
        return {
            "code": self.code,
            "message": self.message,
            "task": self.task,
            "hint": self.hint,
            "log_tail": list(self.log_tail),
            "attempts": list(self.attempts),
            **({"job_id": str(self.job_id)} if self.job_id else {}),
            **({"facts": dict(self.facts)} if self.facts else {}),
            **({"ways_out": [dict(way) for way in self.ways_out]} if self.ways_out else {}),
        }

    def seen_by(self, job_id: UUID) -> Failure:
        """The failure as this job may know it: of one on another job's requests only what kind it was."""
        if self.job_id in {None, job_id}:
            return self
        return Failure(self.code, "the engine failed on a request of another job")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Failure:
        """The inverse of `to_json`; what is absent is empty."""
        return cls(
            code=FailureCode.read(data["code"]),
            message=data["message"],
            task=data.get("task"),
            hint=data.get("hint"),
            log_tail=tuple(data.get("log_tail") or ()),
            attempts=tuple(data.get("attempts") or ()),
            job_id=UUID(data["job_id"]) if data.get("job_id") else None,
            facts=data.get("facts") or {},
            ways_out=tuple(data.get("ways_out") or ()),
        )
