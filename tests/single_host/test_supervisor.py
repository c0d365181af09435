from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from app.errors import LocalStartError
from app.single_host.parts import Part
from app.single_host.processes import Process, spawn
from app.single_host.stopping import StopRequest
from app.single_host.supervisor import Crew, restart_delay
from tests.single_host.waiting import eventually, gone

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


class Clock:
    """Moves when told to, or by a step whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Stage:
    """A crew of shell scripts, with what was launched and said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.said: list[str] = []
        self.launched: list[Process] = []
        self.crew = Crew(say=self.said.append, clock=self.clock)

    def part(self, name: str, script: str, rank: int = 1, grace_seconds: float = 20.0) -> Part:
        def launch() -> Process:
            self.launched.append(spawn(["sh", "-c", script], log=self.log(name)))
            return self.launched[-1]

        return Part(name, launch, self.log(name), rank, grace_seconds=grace_seconds)

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def ended(self) -> bool:
        return eventually(lambda: self.launched[-1].poll() is not None)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.mark.parametrize(("deaths", "seconds"), [(1, 1), (2, 2), (3, 4), (6, 30), (60, 30)])
def test_a_part_that_keeps_dying_waits_longer(deaths: int, seconds: float) -> None:
    assert restart_delay(deaths) == seconds


def test_a_part_that_died_is_started_again_after_a_delay(stage: Stage) -> None:
    stage.crew.start(stage.part("worker", "exit 3"))
    assert stage.ended()
    stage.crew.mend_once()
    assert stage.said == [
        f"worker ended (exit code 3); starting it again in 1 s (log: {stage.log('worker')})"
    ]
    stage.crew.mend_once()
    assert len(stage.launched) == 1
    stage.clock.now += 1
    stage.crew.mend_once()
    assert len(stage.launched) == 2
    assert stage.ended()


def test_a_part_that_ends_by_itself_is_told_with_its_last_line(stage: Stage) -> None:
    stage.crew.start(
        stage.part("worker", "echo 'no GPU 0, token=hf_abcdefghijklmnopqrstuvwxyz'; echo; exit 1")
    )
    for seconds in (1, 2):
        assert stage.ended()
        stage.crew.mend_once()
        assert stage.said[-1] == "  its last line: no GPU 0, token=hf_***"
        stage.clock.now += seconds
        stage.crew.mend_once()
    assert stage.ended()
    assert [line.split(" (log")[0] for line in stage.said[::2]] == [
        "worker ended (exit code 1); starting it again in 1 s",
        "worker ended (exit code 1); starting it again in 2 s",
    ]


def test_of_a_part_that_was_killed_the_last_line_says_nothing(stage: Stage) -> None:
    stage.crew.start(stage.part("worker", "echo all is well; kill -9 $$"))
    assert stage.ended()
    stage.crew.mend_once()
    assert len(stage.said) == 1


def test_deaths_in_a_row_count_and_a_long_life_forgives_them(stage: Stage) -> None:
    stage.crew.start(stage.part("worker", "exit 0"))
    delays = []
    for lifetime in (0, 0, 61):
        assert stage.ended()
        stage.clock.now += lifetime
        stage.crew.mend_once()
        delays.append(stage.said[-1].split(" in ")[1].split(" s")[0])
        stage.clock.now += 30
        stage.crew.mend_once()
    assert delays == ["1", "2", "1"]
    assert stage.ended()


def test_a_part_that_cannot_be_started_is_tried_again(stage: Stage) -> None:
    part = stage.part("postgres", "exit 1")
    stage.crew.start(part)
    assert stage.ended()
    failing: list[Callable[[], Process]] = [part.launch]

    def launch() -> Process:
        raise LocalStartError("no space left")

    object.__setattr__(part, "launch", launch)
    stage.crew.mend_once()
    stage.clock.now += 1
    stage.crew.mend_once()
    assert stage.said[-1] == "postgres: no space left"
    object.__setattr__(part, "launch", failing[0])
    stage.crew.mend_once()
    stage.clock.now += 2
    stage.crew.mend_once()
    assert len(stage.launched) == 2
    assert stage.ended()


def test_a_part_that_lives_is_left_alone(stage: Stage) -> None:
    stage.crew.start(stage.part("api", "sleep 600"))
    stage.crew.mend_once()
    assert stage.crew.first_dead() is None
    assert stage.said == []
    stage.crew.stop(StopRequest())


def test_parts_that_need_others_stop_first(stage: Stage) -> None:
    note = "trap 'echo {0} >> {1}; exit' TERM; echo ready; while :; do sleep 0.02; done"
    order = stage.folder / "order"
    for name, rank in (("server", 0), ("api", 1), ("worker", 2)):
        stage.crew.start(stage.part(name, note.format(name, order), rank))
        assert eventually(lambda name=name: "ready" in stage.log(name).read_text())  # type: ignore[misc]
    stage.crew.stop(StopRequest())
    assert order.read_text().split() == ["worker", "api", "server"]
    assert all(process.returncode == 0 for process in stage.launched)


def test_a_part_that_does_not_end_in_time_is_killed(stage: Stage) -> None:
    stage.crew.start(stage.part("worker", STUBBORN, grace_seconds=0.0))
    assert eventually(lambda: "ready" in stage.log("worker").read_text())
    stage.crew.stop(StopRequest())
    assert stage.launched[0].returncode == -signal.SIGKILL
    assert stage.said == ["worker did not end in time: killed"]


def test_what_a_stop_waits_for_is_told_once(stage: Stage) -> None:
    part = replace(stage.part("worker-a", STUBBORN, grace_seconds=9.0), finishes="its engines answer")
    stage.crew.start(part)
    stage.crew.start(
        stage.part("coordinator", "trap exit TERM; echo ready; while :; do sleep 0.02; done", 1, 9.0)
    )
    for name in ("worker-a", "coordinator"):
        assert eventually(lambda name=name: "ready" in stage.log(name).read_text())  # type: ignore[misc]
    stage.clock.step = 0.25
    stage.crew.stop(StopRequest())
    assert stage.said == [
        "waiting 9 s at most: worker-a (its engines answer)",
        "worker-a did not end in time: killed",
    ]


def test_in_a_hurry_nothing_is_waited_for(stage: Stage) -> None:
    request = StopRequest()
    stage.crew.start(stage.part("worker", STUBBORN, grace_seconds=600.0))
    child = psutil.Process(stage.launched[0].pid)
    request.ask()
    request.ask()
    stage.crew.stop(request)
    assert gone(child)
    assert stage.said == []
