"""An engine child and the supervisor's end of its socket."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import msgpack

from app.domain.ids import uuid7
from workers.protocol.channel import Channel
from workers.protocol.engine import (
    FROM_ENGINE,
    AnswerChunk,
    Answered,
    ChunkFailed,
    Draws,
    EngineRecipe,
    FromEngine,
    Load,
    Loaded,
    ScoringMode,
    ToEngine,
)
from workers.protocol.frames import Connection, pair
from workers.protocol.log_file import open_log
from workers.protocol.payload import RequestKind, ResponseNote, open_note, pack_requests

BOOTSTRAP = Path(__file__).parents[3] / "workers" / "engine_child" / "bootstrap.py"
PATIENCE_SECONDS = 60.0


def values(answered: Answered) -> list[Any]:
    """Its responses, opened."""
    return [msgpack.unpackb(response) for response in answered.responses]


def notes(answered: Answered) -> list[ResponseNote]:
    """What is told of its responses."""
    return [open_note(note) for note in answered.notes]


class Supervisor:
    """Sends chunks to a running child and reads what it says."""

    patience_seconds = PATIENCE_SECONDS

    def __init__(self, connection: Connection, process: subprocess.Popen[bytes]) -> None:
        self.connection = connection
        self.process = process
        self.provenance: Mapping[str, Any] = {}
        self.wire: Channel[ToEngine, FromEngine] = Channel(connection, FROM_ENGINE)

    def load(
        self,
        backend: str,
        model: str = "-",
        max_batch_size: int = 64,
        scoring_mode: ScoringMode = ScoringMode.STOCK,
        **args: Any,
    ) -> FromEngine:
        recipe = EngineRecipe(backend, model, args=args, scoring_mode=scoring_mode)
        self.wire.send(Load(recipe, "cpu", max_batch_size))
        return self.receive()

    def loaded(self, backend: str, model: str = "-", **settings: Any) -> Loaded:
        """Load an engine that can be."""
        message = self.load(backend, model, **settings)
        assert isinstance(message, Loaded), message
        self.provenance = message.provenance
        return message

    def send_chunk(
        self,
        kind: str,
        requests: Sequence[Any],
        *,
        batch_size: int | str = 8,
        gen_kwargs: Mapping[str, Any] | None = None,
        draws: Draws | None = None,
    ) -> UUID:
        chunk, payload = uuid7(), pack_requests(requests)
        self.wire.send(AnswerChunk(chunk, RequestKind(kind), batch_size, gen_kwargs or {}, draws, payload))
        return chunk

    def receive(self) -> FromEngine:
        message = self.wire.receive(self.patience_seconds)
        assert message is not None, "the engine child is gone"
        return message

    def settle(self) -> tuple[Answered | ChunkFailed, list[FromEngine]]:
        """How the next chunk ends, and what was said before it."""
        before: list[FromEngine] = []
        while not isinstance(message := self.receive(), Answered | ChunkFailed):
            before.append(message)
        return message, before

    def answered(self) -> Answered:
        """The next chunk, which is answered."""
        message, _ = self.settle()
        assert isinstance(message, Answered), message.error.traceback
        return message

    def failed(self) -> ChunkFailed:
        """The next chunk, which cannot be answered."""
        message, _ = self.settle()
        assert isinstance(message, ChunkFailed), message
        return message

    def ask(self, kind: str, requests: Sequence[Any], **settings: Any) -> Answered:
        """Send a chunk and wait for its answer."""
        chunk = self.send_chunk(kind, requests, **settings)
        answered = self.answered()
        assert answered.chunk == chunk
        return answered


@contextmanager
def engine_child(
    python: str | Path, script: Path = BOOTSTRAP, log: Path | None = None, **env: str
) -> Iterator[Supervisor]:
    connection, theirs = pair()
    output = open_log(log) if log else None
    quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [str(python), str(script)],
        env=os.environ | quiet | env | {"EVALQ_FD": str(theirs.fileno())},
        pass_fds=[theirs.fileno()],
        stdout=output,
        stderr=output,
    )
    theirs.close()
    if output is not None:
        os.close(output)
    try:
        yield Supervisor(connection, process)
    finally:
        connection.close()
        process.kill()
        process.wait(PATIENCE_SECONDS)
