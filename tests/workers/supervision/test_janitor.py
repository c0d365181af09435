from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeAlias

import pytest

from workers.supervision.identity import holder_name
from workers.supervision.janitor import SPARE, Mark, kill_marked, kill_orphans, kill_strays

StartSleep: TypeAlias = Callable[[Mark], subprocess.Popen[bytes]]


@pytest.fixture
def sleep() -> Iterator[StartSleep]:
    """Starts a process that carries a mark."""
    with ExitStack() as processes:

        def sleep(mark: Mark) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                ["sleep", "600"], env={"PATH": os.environ["PATH"], mark.name: mark.value}
            )
            processes.enter_context(process)
            processes.callback(process.kill)
            return process

        yield sleep


def of_this_worker(spare_id: object) -> Mark:
    """A spare of a worker that lives: this process."""
    return Mark.spare(spare_id, holder_name())


def of_a_dead_worker(spare_id: object) -> Mark:
    """A spare of a worker with this process's id that was started before it."""
    return Mark.spare(spare_id, holder_name().rpartition("|")[0] + "|1")


@pytest.mark.parametrize("mark_of", [Mark.replica, Mark.job, of_this_worker])
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


def test_a_spare_goes_with_its_worker_whether_anybody_knows_it_or_not(sleep: StartSleep) -> None:
    orphan, waiting = sleep(of_a_dead_worker(uuid.uuid4())), sleep(of_this_worker(uuid.uuid4()))
    assert kill_strays(lambda _: True) == [orphan.pid]
    again = sleep(of_a_dead_worker(uuid.uuid4()))
    assert kill_orphans() == [again.pid]
    assert waiting.poll() is None


OF_OTHERS = {
    "of another machine": "elsewhere|boot|pid:[1]|1|1",
    "without a worker": "",
    "by nobody of ours": holder_name().rsplit("|", 2)[0] + "|first|second",
}


@pytest.mark.parametrize("worker", OF_OTHERS.values(), ids=OF_OTHERS)
def test_a_spare_whose_worker_cannot_be_told_is_left_alone(sleep: StartSleep, worker: str) -> None:
    other = sleep(Mark(SPARE, f"{uuid.uuid4()}|{worker}"))
    assert kill_orphans() == []
    assert kill_strays(lambda _: True) == []
    assert other.poll() is None
