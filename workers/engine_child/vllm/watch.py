"""Ends this process when one of vLLM's own has ended: a step would wait for it for ever."""

from __future__ import annotations

import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from workers.engine_child.vllm.processes import Process, hold, names

LOOK_SECONDS = 0.5
GRACE_SECONDS = 1.0
"""By then vLLM has written to its log what it saw of an end from outside."""

PATIENCE_SECONDS = 20.0
"""So long vLLM has to say by itself why a process of its own gave up while it loads."""

FROZEN_SECONDS = 30.0
"""Within this time a process that was stopped by a signal may go on."""

ENGINE_DIED = 70
_BY_SIGNAL = frozenset(-number for number in signal.Signals)

log = logging.getLogger("engine")


class Guard:
    """Looks at vLLM's processes from a thread of its own, from before they are started.

    `tell` is called with the name of the first that ends and its exit code, where that is known; then `end`.
    """

    def __init__(
        self, tell: Callable[[str, int | None], object], end: Callable[[int], object] = os._exit
    ) -> None:
        self._tell = tell
        self._end = end
        self._processes: dict[int, Process] = {}
        """By descriptor."""
        self._frozen: dict[int, float] = {}
        """Since when, by process id."""
        self._poll = select.poll()
        self._loading = True
        self._loaded = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="guard", daemon=True)
        self._thread.start()

    def loaded(self) -> None:
        """Every process there is has to live from now on."""
        self._loaded.set()

    def stop(self) -> None:
        """Look no more: vLLM has said by itself what is wrong."""
        self._over.set()

    def explain(self) -> None:
        """Where vLLM says that its engine is dead: ends all if a process of its own did, loading only by a signal."""
        self._thread.join(GRACE_SECONDS + 2 * LOOK_SECONDS)

    def _run(self) -> None:
        while not self._over.is_set():
            if self._loading:
                loaded = self._loaded.is_set()
                self._find()
                self._loading = not loaded
            for descriptor, _ in self._poll.poll(1000 * LOOK_SECONDS):
                self._judge(self._processes[descriptor])
                return
            for process in self._processes.values():
                self._look_for_frost(process)

    def _find(self) -> None:
        """Take note of new ones, and of the names that the others have by now."""
        known = {process.pid: process for process in self._processes.values()}
        for pid, name in names():
            if pid in known:
                known[pid].name = name
                continue
            with suppress(OSError):
                process = hold(pid, name)
                self._processes[process.descriptor] = process
                self._poll.register(process.descriptor, select.POLLIN)

    def _judge(self, process: Process) -> None:
        exit_code = process.exit_code()
        by_itself = self._loading and exit_code not in _BY_SIGNAL
        if not self._over.wait(PATIENCE_SECONDS if by_itself else GRACE_SECONDS):
            self._give_up(process, exit_code, f"died unexpectedly (exit code: {exit_code})")

    def _look_for_frost(self, process: Process) -> None:
        if not process.frozen:
            self._frozen.pop(process.pid, None)
        elif time.monotonic() - self._frozen.setdefault(process.pid, time.monotonic()) > FROZEN_SECONDS:
            self._give_up(process, None, f"has been stopped by a signal for {FROZEN_SECONDS:g} s")

    def _give_up(self, process: Process, exit_code: int | None, words: str) -> None:
        log.error("vLLM's process %s %s", process.name, words)
        with suppress(OSError):  # the supervisor is gone, too
            self._tell(process.name, exit_code)
        self._end(ENGINE_DIED)
