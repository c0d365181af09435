"""The engine child: load a model, then keep it at work.

A thread reads the socket, so that the next chunks are at hand when one is answered, and so that the end of the
stream ends the process at once, in the middle of a chunk too.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from queue import SimpleQueue
from typing import TypeAlias

from workers.engine_child.contract import Engine, load_engine
from workers.engine_child.loop import Loop, raised
from workers.engine_child.spare import imported, waiting
from workers.engine_child.telling import Telling
from workers.protocol.channel import Channel
from workers.protocol.engine import (
    TO_ENGINE,
    BackendImported,
    FromEngine,
    ImportBackend,
    Load,
    Loaded,
    LoadFailed,
    ToEngine,
)
from workers.protocol.frames import Connection
from workers.protocol.log_lines import log_so

Wire: TypeAlias = Channel[FromEngine | BackendImported, ToEngine]

log = logging.getLogger("engine")


def main() -> int:
    """Serve the socket in EVALQ_FD; ends by itself only when the engine cannot go on."""
    log_so(logging.INFO)
    os.environ.setdefault("TQDM_DISABLE", "1")  # no progress bars in the log
    wire: Wire = Channel(Connection.from_fd(int(os.environ["EVALQ_FD"])), TO_ENGINE)
    inbox: SimpleQueue[ToEngine] = SimpleQueue()
    threading.Thread(target=_read, args=(wire, inbox), daemon=True).start()
    telling = Telling(wire.send)
    order = _order(wire, inbox)
    os.environ.update(order.variables)
    engine = _load(wire, order, telling)
    if engine is not None:
        try:
            Loop(engine, inbox, wire.send, telling).run()
        except Exception:
            log.exception("the engine cannot go on")
    return 1


def _read(wire: Wire, inbox: SimpleQueue[ToEngine]) -> None:
    status = 1
    try:
        while (message := wire.receive()) is not None:
            inbox.put(message)
        status = 0
    except Exception:
        log.exception("the socket cannot be read")
    finally:
        os._exit(status)


def _order(wire: Wire, inbox: SimpleQueue[ToEngine]) -> Load:
    """What to load; a spare imports its backend first, and waits."""
    match inbox.get():
        case Load() as order:
            return order
        case ImportBackend() as order:
            with waiting():
                wire.send(imported(order))
                return _order(wire, inbox)
        case other:
            raise ValueError(f"{type(other).__name__} came before Load")


def _load(wire: Wire, order: Load, telling: Telling) -> Engine | None:
    """The engine, or None after telling why there is none."""
    started = time.monotonic()
    try:
        engine = load_engine(order, telling)
    except Exception as error:
        log.exception("the engine did not load")
        wire.send(LoadFailed(raised(error)))
        return None
    seconds = time.monotonic() - started
    short = {name: said for name, said in engine.provenance.items() if name != "environment"}
    log.info("loaded in %.1f s: %s", seconds, short)
    wire.send(Loaded(seconds, dict(engine.provenance), engine.window, dict(engine.measured)))
    return engine
