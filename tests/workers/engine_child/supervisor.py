"""An engine child and the supervisor's end of its socket."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workers.protocol import frames
from workers.protocol.frames import Frame
from workers.protocol.log_file import open_log
from workers.protocol.payload import pack_requests

BOOTSTRAP = Path(__file__).parents[3] / "workers" / "engine_child" / "bootstrap.py"
PATIENCE_SECONDS = 60.0


class Supervisor:
    """Sends chunks to a running child and reads what it says."""

    def __init__(self, connection: frames.Connection, process: subprocess.Popen[bytes]) -> None:
        self.connection = connection
        self.process = process
        self.provenance: dict[str, Any] = {}
        self._ids = itertools.count()

    def load(self, backend: str, model: str = "-", max_batch_size: int = 64, **args: Any) -> Frame:
        spec = {"backend": backend, "model": model, "revision": None, "args": args, "env": {}}
        widths = {"tensor_parallel_size": 1, "pipeline_parallel_size": 1}
        self.connection.send(
            {"type": "load", "spec": spec | widths, "device": "cpu", "max_batch_size": max_batch_size}
        )
        return self.receive()

    def send_chunk(
        self,
        kind: str,
        requests: Sequence[Any],
        *,
        batch_size: int | str = 8,
        gen_kwargs: Mapping[str, Any] | None = None,
        seed: int | None = None,
        draws: Sequence[bytes] = (),
    ) -> str:
        chunk = str(next(self._ids))
        payload = pack_requests(requests)
        order = {"type": "chunk", "id": chunk, "kind": kind, "batch_size": batch_size}
        drawing = {"seed": seed, "draws": list(draws)}
        self.connection.send(order | drawing | {"gen_kwargs": gen_kwargs, "payload": payload})
        return chunk

    def receive(self) -> Frame:
        frame = self.connection.receive(PATIENCE_SECONDS)
        assert frame is not None, "the engine child is gone"
        return frame

    def settle(self) -> tuple[Frame, list[Frame]]:
        """The next `answered` or `failed`, and what was said before it."""
        before = []
        while (frame := self.receive())["type"] not in {"answered", "failed"}:
            before.append(frame)
        return frame, before

    def ask(self, kind: str, requests: Sequence[Any], **settings: Any) -> Frame:
        """Send a chunk and wait for its answer."""
        chunk = self.send_chunk(kind, requests, **settings)
        answered, _ = self.settle()
        assert answered["type"] == "answered", answered["error"]["traceback"]
        assert answered["chunk"] == chunk
        return answered


@contextmanager
def engine_child(
    python: str | Path, script: Path = BOOTSTRAP, log: Path | None = None, **env: str
) -> Iterator[Supervisor]:
    connection, theirs = frames.pair()
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
