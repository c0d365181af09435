"""The ends of vLLM's processes, with sleeping ones that bear their titles."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from tests.waiting import until
from workers.engine_child.vllm import watch
from workers.engine_child.vllm.watch import ENGINE_DIED, Guard

PATIENCE_SECONDS = 20.0
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(watch, "GRACE_SECONDS", 0.02)
    monkeypatch.setattr(watch, "FROZEN_SECONDS", 0.2)


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process with such a title."""
    with ExitStack() as started:

        def start(title: str = "VLLM::EngineCore", *command: str) -> subprocess.Popen[bytes]:
            argv = [title, *command[1:]] if command else [title, "600"]
            process = subprocess.Popen(
                argv,
                executable=command[0] if command else "/bin/sleep",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield start


class Watched:
    """A guard, and what it told."""

    def __init__(self, loaded: bool = True) -> None:
        self.told: SimpleQueue[Any] = SimpleQueue()
        self.guard = Guard(lambda *said: self.told.put(said), self.told.put)
        if loaded:
            self.guard.loaded()
            until(lambda: not self.guard._loading)

    def said(self) -> list[Any]:
        """What was told, up to the end."""
        return [self.told.get(timeout=PATIENCE_SECONDS) for _ in range(2)]

    def quiet(self) -> bool:
        """Whether it says nothing, having looked a few times."""
        try:
            self.told.get(timeout=20 * watch.LOOK_SECONDS)
        except Empty:
            return True
        return False


@pytest.mark.parametrize("loaded", [True, False])
def test_a_killed_process_is_named_with_its_exit_code(start: Start, *, loaded: bool) -> None:
    process = start()
    watched = Watched(loaded)
    until(lambda: len(watched.guard._processes) == 1)
    process.kill()
    assert watched.said() == [("EngineCore", -signal.SIGKILL), ENGINE_DIED]


def test_one_that_ends_by_itself_has_ended_all_the_same(start: Start) -> None:
    process = start("VLLM::Worker_TP1", "/bin/sh", "-c", "read _; exit 3")
    watched = Watched()
    assert process.stdin is not None
    process.stdin.close()
    assert watched.said() == [("Worker_TP1", 3), ENGINE_DIED]


def test_while_it_loads_vllm_may_say_by_itself_what_is_wrong(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    start("VLLM::EngineCore", "/bin/sleep", "0.1")
    watched = Watched(loaded=False)
    assert watched.quiet()
    watched.guard.stop()
    monkeypatch.setattr(watch, "PATIENCE_SECONDS", 0.02)
    start("VLLM::EngineCore", "/bin/sleep", "0.1")
    assert Watched(loaded=False).said() == [("EngineCore", 0), ENGINE_DIED]


def test_a_grandchild_that_its_parent_reaps_is_named(start: Start) -> None:
    code = (
        "import subprocess; core = subprocess.Popen(['VLLM::Worker_TP0', '600'], executable='/bin/sleep');"
        "print(core.pid, flush=True); core.wait(); input()"
    )
    parent = start("-", sys.executable, "-c", code)
    assert parent.stdout is not None
    rank = int(parent.stdout.readline())
    watched = Watched()
    subprocess.run(["/bin/kill", "-KILL", str(rank)], check=True)
    (name, code_told), end = watched.said()
    assert (name, end) == ("Worker_TP0", ENGINE_DIED)
    assert code_told in {-signal.SIGKILL, None}, "kernels before 6.15 forget it with the reaping"


def test_a_frozen_process_is_given_up_after_a_while(start: Start) -> None:
    process = start()
    watched = Watched()
    process.send_signal(signal.SIGSTOP)
    assert watched.said() == [("EngineCore", None), ENGINE_DIED]


def test_one_that_goes_on_in_time_is_not(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "FROZEN_SECONDS", 600.0)
    process = start()
    watched = Watched()
    process.send_signal(signal.SIGSTOP)
    assert watched.quiet()
    process.send_signal(signal.SIGCONT)
    monkeypatch.setattr(watch, "FROZEN_SECONDS", 0.2)
    assert watched.quiet()
    watched.guard.stop()


def test_other_processes_may_end(start: Start) -> None:
    other = start("resource_tracker")
    watched = Watched()
    other.kill()
    assert watched.quiet()
    watched.guard.stop()


def test_a_dead_engine_without_a_dead_process_speaks_for_itself() -> None:
    watched = Watched()
    watched.guard.explain()
    assert watched.quiet()
    watched.guard.stop()
