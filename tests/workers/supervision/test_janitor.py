from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeAlias

import pytest

from workers.supervision.janitor import Mark, kill_marked, kill_strays

StartSleep: TypeAlias = Callable[[Mark], subprocess.Popen[bytes]]


@pytest.fixture
def sleep() -> Iterator[StartSleep]:
    """Starts a process that carries a mark."""
    with ExitStack() as processes:

        def sleep(mark: Mark) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                ["sleep", "600"], env={"PATH": os.environ["PATH"], mark.name: mark.owner}
            )
            processes.enter_context(process)
            processes.callback(process.kill)
            return process

        yield sleep


@pytest.mark.parametrize("mark_of", [Mark.replica, Mark.job])
def test_only_processes_of_the_dead_are_killed(sleep: StartSleep, mark_of: Callable[[object], Mark]) -> None:
    dead, living = mark_of(uuid.uuid4()), mark_of(uuid.uuid4())
    stray, other = sleep(dead), sleep(living)
    assert kill_strays(lambda owner: owner != dead.owner) == [stray.pid]
    assert stray.wait(20) == -9
    assert other.poll() is None


def test_cleaning_twice_finds_nothing_more(sleep: StartSleep) -> None:
    mark = Mark.replica(uuid.uuid4())
    stray = sleep(mark)
    assert kill_marked(mark) == [stray.pid]
    assert kill_marked(mark) == []


def test_a_job_is_not_a_replica_of_the_same_id(sleep: StartSleep) -> None:
    job = Mark.job(uuid.uuid4())
    harness = sleep(job)
    assert kill_marked(Mark.replica(job.owner)) == []
    assert harness.poll() is None


def test_a_process_that_does_not_go_is_named(sleep: StartSleep) -> None:
    mark = Mark.replica(uuid.uuid4())
    stray = sleep(mark)
    with pytest.raises(TimeoutError, match=rf"processes \[{stray.pid}\] survived"):
        kill_marked(mark, patience_seconds=-1)
