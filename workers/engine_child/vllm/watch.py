"""Ends this process when vLLM's own processes have ended: a step would wait for them for ever."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

LOOK_SECONDS = 0.5
GRACE_SECONDS = 1.0
"""A step that notices the death by itself raises within this time, and says more."""

ENGINE_DIED = 70

log = logging.getLogger(__name__)


def watch(llm: Any, tell: Callable[[str, int | None], None]) -> None:
    """Look at the engine's processes from a thread of its own; `tell` the name and exit code of each that ended."""
    resources = getattr(llm.llm_engine.engine_core, "resources", None)
    if resources is not None:  # else the engine runs in this process
        processes = list(resources.engine_manager.processes)
        threading.Thread(target=_look, args=(resources, processes, tell), name="watch", daemon=True).start()


def _look(resources: Any, processes: list[Any], tell: Callable[[str, int | None], None]) -> None:
    while not resources.engine_dead:
        time.sleep(LOOK_SECONDS)
    time.sleep(GRACE_SECONDS)
    for process in processes:
        process.join(0.1)
        log.error("Engine core process %s died unexpectedly (exit code: %s)", process.name, process.exitcode)
        tell(process.name, process.exitcode)
    os._exit(ENGINE_DIED)
