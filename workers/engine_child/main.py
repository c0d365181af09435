"""The engine child's loop: load, then answer chunks in order.

A thread reads the socket, so that the next chunks are at hand when one is answered, and so that the end of the
stream ends the process at once, in the middle of a chunk too.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
import traceback
from contextlib import suppress
from typing import TypeAlias, assert_never
from uuid import UUID

from workers.engine_child.contract import Backend, OpenChunk, Progress, load_engine
from workers.protocol.channel import Channel
from workers.protocol.engine import (
    TO_ENGINE,
    AnswerChunk,
    Answered,
    ChunkFailed,
    Drop,
    FromEngine,
    Load,
    Loaded,
    LoadFailed,
    Progressed,
    Raised,
    ToEngine,
    Warned,
)
from workers.protocol.frames import Connection
from workers.protocol.payload import pack_response

Wire: TypeAlias = Channel[FromEngine, ToEngine]

STDERR = 2

log = logging.getLogger("engine")


def main() -> int:
    """Serve the socket in EVALQ_FD; ends by itself only when the engine cannot go on."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    os.environ.setdefault("TQDM_DISABLE", "1")  # no progress bars in the log
    wire: Wire = Channel(Connection.from_fd(int(os.environ["EVALQ_FD"])), TO_ENGINE)
    inbox: queue.SimpleQueue[ToEngine] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(wire, inbox), daemon=True).start()
    backend: Backend | None = None
    while True:
        match inbox.get():
            case Load() as order:
                backend = _load(wire, order)
                if backend is None:
                    return 1
            case AnswerChunk() as asked:
                if backend is None or not _answer(wire, backend, asked):
                    return 1
            case Drop():
                pass
            case never:
                assert_never(never)


def _read(wire: Wire, inbox: queue.SimpleQueue[ToEngine]) -> None:
    status = 1
    try:
        while (message := wire.receive()) is not None:
            inbox.put(message)
        status = 0
    except Exception:
        log.exception("the socket cannot be read")
    finally:
        os._exit(status)


def _load(wire: Wire, order: Load) -> Backend | None:
    """The engine, or None after telling why there is none."""
    started = time.monotonic()
    try:
        backend = load_engine(order)
    except Exception as error:
        log.exception("the engine did not load")
        wire.send(LoadFailed(_raised(error)))
        return None
    seconds = time.monotonic() - started
    short = {name: said for name, said in backend.provenance.items() if name != "environment"}
    log.info("loaded in %.1f s: %s", seconds, short)
    wire.send(Loaded(seconds, dict(backend.provenance), 0))
    return backend


def _answer(wire: Wire, backend: Backend, asked: AnswerChunk) -> bool:
    """Answer a chunk or tell why not; False if the engine did not survive it."""
    started = time.monotonic()
    try:
        found = backend.answer(OpenChunk.of(asked), _ChunkReports(wire, asked.chunk))
        packed = tuple(map(pack_response, found.values))
    except Exception as error:
        log.exception("chunk %s failed", asked.chunk)
        recovered = _recovered(backend)
        wire.send(ChunkFailed(asked.chunk, _raised(error), fatal=not recovered, log_end=_log_end()))
        return recovered
    seconds = time.monotonic() - started
    wire.send(Answered(asked.chunk, packed, seconds, found.tokens, found.batch_size, _log_end()))
    return True


def _recovered(backend: Backend) -> bool:
    try:
        backend.recover()
    except Exception:
        log.exception("the engine cannot go on")
        return False
    return True


def _log_end() -> int:
    """How far the log goes that stdout and stderr are: what is written from now on is the next chunk's."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # a model's own code may have put others there
            stream.flush()
    return os.fstat(STDERR).st_size


class _ChunkReports:
    """Reports about one chunk, sent to the supervisor."""

    def __init__(self, wire: Wire, chunk: UUID) -> None:
        self._wire = wire
        self._chunk = chunk

    def progress(self) -> Progress:
        return Progress(lambda done: self._wire.send(Progressed(((self._chunk, done),), 0)))

    def warn(self, code: str, change: str) -> None:
        log.warning("%s: %s", code, change)
        self._wire.send(Warned(self._chunk, code, change))


def _raised(error: Exception) -> Raised:
    return Raised(_full_name(type(error)), str(error), "".join(traceback.format_exception(error)))


def _full_name(kind: type[Exception]) -> str:
    """As tracebacks name it: `torch.OutOfMemoryError`, `ValueError`."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
