"""The engine child's loop: load, then answer chunks in order.

A thread reads the socket, so that the next chunks are at hand when one is answered, and so that the end of the
stream or a `stop` ends the process at once, in the middle of a chunk too.
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

from workers.engine_child.contract import Chunk, Engine, Progress, Spec, load_engine
from workers.protocol.frames import Connection, Frame

STDERR = 2

log = logging.getLogger("engine")


def main() -> int:
    """Serve the socket in EVALQ_FD; ends by itself only when the engine cannot go on."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    os.environ.setdefault("TQDM_DISABLE", "1")  # no progress bars in the log
    connection = Connection.from_fd(int(os.environ["EVALQ_FD"]))
    frames: queue.SimpleQueue[Frame] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, frames), daemon=True).start()
    engine = _load(connection, frames.get())
    while engine is not None and _answer(connection, engine, frames.get()):
        pass
    return 1


def _read(connection: Connection, frames: queue.SimpleQueue[Frame]) -> None:
    status = 1
    try:
        while (frame := connection.receive()) is not None and frame["type"] != "stop":
            frames.put(frame)
        status = 0
    except Exception:
        log.exception("the socket cannot be read")
    finally:
        os._exit(status)


def _load(connection: Connection, frame: Frame) -> Engine | None:
    """The engine, or None after telling why there is none."""
    started = time.monotonic()
    try:
        engine = load_engine(Spec.from_frame(frame["spec"]), frame["device"], frame["max_batch_size"])
    except Exception as error:
        log.exception("the engine did not load")
        connection.send(_failed(None, error))
        return None
    seconds = time.monotonic() - started
    short = {name: said for name, said in engine.provenance.items() if name != "environment"}
    log.info("loaded in %.1f s: %s", seconds, short)
    connection.send({"type": "loaded", "seconds": seconds, "provenance": dict(engine.provenance)})
    return engine


def _answer(connection: Connection, engine: Engine, frame: Frame) -> bool:
    """Answer a chunk or tell why not; False if the engine did not survive it."""
    started = time.monotonic()
    try:
        answer = engine.answer(Chunk.from_frame(frame), _ChunkReports(connection, frame["id"]))
    except Exception as error:
        log.exception("chunk %s failed", frame["id"])
        recovered = _recovered(engine)
        connection.send(_failed(frame["id"], error) | {"fatal": not recovered, "log_end": _log_end()})
        return recovered
    seconds = time.monotonic() - started
    said = {"type": "answered", "chunk": frame["id"], "seconds": seconds, "log_end": _log_end()}
    connection.send(said | vars(answer))
    return True


def _recovered(engine: Engine) -> bool:
    try:
        engine.recover()
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

    def __init__(self, connection: Connection, chunk: str) -> None:
        self._connection = connection
        self._chunk = chunk

    def progress(self) -> Progress:
        return Progress(
            lambda done: self._connection.send({"type": "progress", "chunk": self._chunk, "done": done})
        )

    def warn(self, code: str, change: str) -> None:
        log.warning("%s: %s", code, change)
        self._connection.send({"type": "warning", "chunk": self._chunk, "code": code, "change": change})


def _failed(chunk: str | None, error: Exception) -> Frame:
    return {
        "type": "failed",
        "chunk": chunk,
        "error": {
            "type": _full_name(type(error)),
            "message": str(error),
            "traceback": "".join(traceback.format_exception(error)),
        },
    }


def _full_name(kind: type[Exception]) -> str:
    """As tracebacks name it: `torch.OutOfMemoryError`, `ValueError`."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
