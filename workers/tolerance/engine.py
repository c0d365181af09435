"""One engine child, started and asked as a worker's is, for one way of scoring."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import msgpack

from app.backends import BACKENDS
from app.domain.engine_spec import EngineSpec
from app.domain.ids import uuid7
from app.domain.replica import Replica, ReplicaStatus
from app.errors import ToleranceError
from app.settings import Settings
from workers.gpu_worker.engine_line import EngineLine, Silence
from workers.gpu_worker.group import EngineCommand, GroupDevices
from workers.protocol.engine import (
    AnswerChunk,
    Answered,
    ChunkFailed,
    Died,
    EngineRecipe,
    Load,
    Loaded,
    LoadFailed,
    Raised,
    ScoringMode,
)
from workers.protocol.payload import RequestKind, pack_requests
from workers.supervision.child import Child
from workers.supervision.child_bounds import engine_bounds
from workers.supervision.environment import child_environment
from workers.supervision.failures import classify
from workers.supervision.janitor import Mark
from workers.tolerance.gaps import Scored
from workers.tolerance.prompts import Request

END_SECONDS = 5.0
"""How long the end of a child is waited for whose line is cut."""

MOST_LOG = 1 << 18
"""Characters that are searched for a cause."""

Hears = TypeVar("Hears")


class MeasuredEngine:
    """A loaded engine. What becomes of it otherwise is a ToleranceError."""

    def __init__(self, child: Child, spec: EngineSpec, log_path: Path, settings: Settings) -> None:
        self._child = child
        self._spec = spec
        self._log_path = log_path
        self._line = EngineLine(child.connection, settings)
        self.provenance: Mapping[str, Any] = {}

    def load(self, command: EngineCommand, settings: Settings) -> None:
        """Load the model, however long it takes."""
        spec = self._spec
        recipe = EngineRecipe(
            spec.backend,
            spec.model,
            spec.revision,
            spec.args,
            tensor_parallel_size=spec.tensor_parallel_size,
            pipeline_parallel_size=spec.pipeline_parallel_size,
            scoring_mode=ScoringMode(spec.scoring_mode),
        )
        cache = str(settings.cache_dir)
        self._line.tell(Load(recipe, command.device, settings.max_batch_size, command.memory_bytes, cache))
        self.provenance = self._heard(Loaded).provenance

    def ask(self, documents: Sequence[Sequence[Request]], per_chunk: int) -> tuple[list[Scored], float]:
        """What each document's choices are worth, and the seconds that all of them took."""
        begun = time.monotonic()
        chunks: dict[UUID, Sequence[Sequence[Request]]] = {}
        for start in range(0, len(documents), per_chunk):
            asking = _asking(cut := documents[start : start + per_chunk])
            chunks[asking.chunk] = cut
            self._line.tell(asking)
        found = dict(self._answered(chunks) for _ in range(len(chunks)))
        return [scored for chunk in chunks for scored in found[chunk]], time.monotonic() - begun

    def _answered(self, chunks: Mapping[UUID, Sequence[Sequence[Request]]]) -> tuple[UUID, list[Scored]]:
        told = self._heard(Answered)
        values = (msgpack.unpackb(response) for response in told.responses)
        return told.chunk, [_scored(len(document), values) for document in chunks[told.chunk]]

    def _heard(self, kind: type[Hears]) -> Hears:
        """The next message of this kind; others tell of progress, or of an end."""
        while not isinstance(heard := self._line.hear(busy=True), kind):
            match heard:
                case LoadFailed(error) | ChunkFailed(error=error):
                    raise self._failure(error)
                case Silence.STALLED:
                    raise ToleranceError(f"the engine was silent for too long: see {self._log_path}")
                case Died() | Silence.GONE:
                    raise self._failure(None)
        return heard

    def _failure(self, error: Raised | None) -> ToleranceError:
        """In the words that a job would be told."""
        texts, status = BACKENDS[self._spec.backend].texts, None if error else self._child.wait(END_SECONDS)
        log = self._log_path.read_text(errors="replace") if self._log_path.exists() else ""
        kind, message = (error.type, error.message) if error else (None, None)
        loading = not self.provenance
        found = classify(texts, status, kind, message, log[-MOST_LOG:], loading=loading)
        hint = f"; {found.hint}" if found.hint else ""
        return ToleranceError(f"{found.message}{hint} (the engine's log is {self._log_path})")


def _scored(choices: int, values: Iterator[Any]) -> Scored:
    return [(float(value), bool(greedy)) for value, greedy in islice(values, choices)]


def _asking(documents: Sequence[Sequence[Request]]) -> AnswerChunk:
    requests = [request for document in documents for request in document]
    return AnswerChunk(uuid7(), RequestKind.LOGLIKELIHOOD, "auto", {}, None, pack_requests(requests))


@contextmanager
def measured_engine(spec: EngineSpec, devices: GroupDevices, settings: Settings) -> Iterator[MeasuredEngine]:
    """An engine on all of these devices, loaded; gone with all its processes afterwards, or when this process is."""
    log_path = settings.data_dir / "logs" / "tolerance.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    log_path.unlink(missing_ok=True)
    block = tuple(report.id for report in devices.reports())
    replica = Replica(uuid7(), devices.group, spec, ReplicaStatus.PLACED, block, datetime.now(UTC))
    command = devices.engine_command(replica)
    env = child_environment(os.environ, settings.child_env, command.env)
    mark, bounds = Mark.replica(replica.id), engine_bounds(settings)
    with Child.start(command.argv, env=env, log_path=log_path, mark=mark, bounds=bounds) as child:
        engine = MeasuredEngine(child, spec, log_path, settings)
        engine.load(command, settings)
        yield engine
