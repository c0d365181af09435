"""When an engine fails: whether to wait, to change something, or to give its jobs up. What to change, backends know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from app.domain.device_faults import blames_device
from app.domain.engine_spec import EngineSpec
from app.domain.failure import Failure, FailureCode
from app.domain.replica import Replica

MOST_ATTEMPTS = 20
"""The newest failures that a job's error tells of."""

ENGINE_TRIES = 3
"""Failed starts of an engine in a row before its jobs fail."""

TRIES: Mapping[FailureCode, int] = {
    FailureCode.MODEL_NOT_FOUND: 1,
    FailureCode.MODEL_GATED: 1,
    FailureCode.TOKENIZER_ERROR: 1,
    FailureCode.KV_CACHE_TOO_SMALL: 1,
    FailureCode.GPU_OUT_OF_MEMORY: 1,
    FailureCode.NCCL_ERROR: 2,
    FailureCode.LOST: 10,
}
"""Fewer where another try with the same settings mends nothing; devices that cannot talk are left for others once.
More where the engine may have had no part in it: workers are lost for many reasons."""

LOST_LOADING = (
    "worker after worker was lost while it loaded this engine: see their logs and their hosts' memory"
)


@dataclass(frozen=True)
class Remedy:
    """The engine to try next, and what is different about it."""

    engine: EngineSpec
    change: str
    changes_answers: bool = False
    """Whether prompts may be cut differently, so that earlier answers do not count."""


@dataclass(frozen=True)
class Circumstances:
    """What bears on a remedy beside the failure itself."""

    widest: int
    """Devices that one replica may have."""
    loading: bool = False
    """Whether the engine failed before it had loaded."""


Remedies = Callable[[EngineSpec, Failure, Circumstances], Remedy | None]
"""The remedy for a failed engine, or None where there is none."""


def no_remedy(_: EngineSpec, __: Failure, ___: Circumstances) -> Remedy | None:
    """For engines that no other setting mends."""
    return None


@dataclass(frozen=True)
class Troubles:
    """Failed replicas of one engine spec, newest first, and what the hardware would allow instead."""

    failed: tuple[Replica, ...]
    served_at: datetime | None
    """When a replica of the spec was last loaded."""
    widest: int
    """Devices of the largest usable group, or as many as were asked for."""
    asked_width: bool = False
    """Whether the job asked for this many devices per replica: then it gets no others."""
    history: tuple[Mapping[str, Any], ...] = ()
    """What was tried for the job before, the newest failure included."""

    @property
    def recent(self) -> list[Replica]:
        """Failures since the engine last came up."""
        return [r for r in self.failed if r.error and r.ended_at and _after(r.ended_at, self.served_at)]

    @property
    def starts(self) -> list[Replica]:
        """Failed starts since the engine last came up; a faulty device is not the engine's fault."""
        return [r for r in self.recent if r.serving_at is None and r.error and not blames_device(r.error)]

    def remedy(self, engine: EngineSpec, remedies: Remedies) -> Remedy | None:
        """The change of settings that the newest failure asks for, once it is not to be waited out."""
        newest = self.recent[0] if self.recent else None
        if newest is None or newest.error is None:
            return None
        if newest.error.facts.get("in_use") and len(self.starts) < 2:
            return None  # the devices are cleaned and the engine is started once more as it is
        return remedies(engine, newest.error, Circumstances(self.widest, loading=newest.serving_at is None))

    def verdict(self) -> Failure | None:
        """Why jobs of this engine must fail, or None while another start may mend it."""
        starts = self.starts
        newest = starts[0].error if starts else None
        if newest is not None and newest.code != FailureCode.LOST:
            starts = [start for start in starts if start.error and start.error.code != FailureCode.LOST]
        if newest is None or len(starts) < _tries(newest):
            return None
        return replace(newest, hint=self._hint(newest), attempts=self.history)

    def _hint(self, failure: Failure) -> str | None:
        if failure.code == FailureCode.LOST:
            return LOST_LOADING
        if not (
            self.asked_width
            and failure.code in {FailureCode.GPU_OUT_OF_MEMORY, FailureCode.KV_CACHE_TOO_SMALL}
        ):
            return failure.hint
        asked = f"the job asks for {self.widest} device{'s' if self.widest > 1 else ''} per replica and gets no more"
        return "; ".join(filter(None, (failure.hint, asked)))


def _tries(failure: Failure) -> int:
    refused = failure.facts.get("refused") and not failure.facts.get("in_use")
    if failure.code is FailureCode.ENGINE_START_FAILED and refused:
        return 1
    return TRIES.get(failure.code, ENGINE_TRIES)


def may_fail_again(failed: Replica) -> bool:
    """Whether the same engine on the same devices would likely fail again: not where its process was just ended."""
    return failed.error is not None and failed.error.code not in {
        FailureCode.ENGINE_DIED,
        FailureCode.HOST_OUT_OF_MEMORY,
        FailureCode.STALLED,
    }


def may_change(failed: Replica) -> bool:
    """Whether its jobs may want other settings now; where devices cannot talk, other devices are all it takes."""
    return failed.error is not None and failed.error.code != FailureCode.NCCL_ERROR


def _after(time: datetime, other: datetime | None) -> bool:
    return other is None or time > other


def attempts(
    failed: Sequence[Replica], taken: Sequence[Mapping[str, Any]], engine_key: str
) -> tuple[Any, ...]:
    """What was tried, oldest first: the change that led to each failed replica, and how it failed.

    Each remedy that was taken names the engine that it left; the last one led to `engine_key`.
    """
    engines = [*(remedy["engine_key"] for remedy in taken), engine_key]
    changes = dict(zip(engines, [None, *(remedy["change"] for remedy in taken)], strict=True))
    tried = tuple(
        {
            "at": replica.ended_at.isoformat(),
            "change": changes.get(replica.engine.key),
            "outcome": replica.error.code,
            "replica": str(replica.id),
        }
        for replica in failed
        if replica.ended_at and replica.error
    )
    return tried[-MOST_ATTEMPTS:]
