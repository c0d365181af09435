from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import pytest

from workers.containment.bounds import Bounds, Watch, below, held_bytes, own_bytes

MIB = 1 << 20
BOUNDS = Bounds(memory_bytes=4096 * MIB, processes=10)


@pytest.mark.parametrize(
    ("bounds", "processes", "memory_bytes", "words"),
    [
        (BOUNDS, 10, 4096 * MIB, None),
        (BOUNDS, 11, 0, "had 11 processes, more than the 10 that one child may have"),
        (BOUNDS, 1, 6144 * MIB, "held 6.00 GiB of memory, more than the 4.00 GiB that one child may hold"),
        (Bounds(), 1 << 20, 1 << 50, None),
    ],
)
def test_what_is_passed_is_said(bounds: Bounds, processes: int, memory_bytes: int, words: str | None) -> None:
    assert bounds.passed(processes, memory_bytes) == words


def test_looks_follow_each_other_faster_near_the_bound() -> None:
    memory, processes = Bounds(memory_bytes=4096 * MIB), Bounds(processes=4000)
    assert [memory.pause_seconds(1, held * MIB) for held in (0, 2048, 4096, 8192)] == [1.0, 0.5, 0.1, 0.1]
    assert [processes.pause_seconds(count, 1 << 50) for count in (0, 2000, 4000, 8000)] == [
        1.0,
        0.5,
        0.1,
        0.1,
    ]
    assert Bounds(memory_bytes=1 << 50, processes=1 << 20).pause_seconds(0, 0) == 2.0


def test_a_watch_looks_when_it_is_due_and_speaks_once() -> None:
    now = 100.0
    watch = Watch(Bounds(processes=2), clock=lambda: now)
    looks: list[int] = []

    def pids() -> list[int]:
        looks.append(1)
        return [1 << 30, (1 << 30) + 1, *([1 << 31] if now > 100 else [])]

    assert [watch.look(pids), watch.look(pids), len(looks)] == [None, None, 1]
    now = watch.look_at + 1
    assert watch.look(pids) == "had 3 processes, more than the 2 that one child may have"
    assert watch.look(pids) is None
    assert watch.look_at == float("inf")


def test_without_a_bound_nobody_looks() -> None:
    assert Watch(Bounds(files=7)).look_at == float("inf")


def test_memory_that_is_shared_counts_once_where_it_matters() -> None:
    ballast = bytearray(os.urandom(64 * MIB))
    pid = os.fork()
    if pid == 0:
        os.read(os.pipe()[0], 1)
    try:
        whole, own = held_bytes(pid), own_bytes(pid)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert whole > len(ballast)
    assert own < whole - len(ballast) // 3
    assert (held_bytes(pid), own_bytes(pid)) == (0, 0)


def test_files_that_are_mapped_do_not_count(tmp_path_factory: pytest.TempPathFactory) -> None:
    code = (
        "import mmap, sys; from workers.containment.bounds import held_bytes; import os\n"
        "file = open(sys.argv[1], 'wb+'); file.truncate(200 << 20)\n"
        "before = held_bytes(os.getpid()); room = mmap.mmap(file.fileno(), 200 << 20, access=mmap.ACCESS_READ)\n"
        "sum(room[i] for i in range(0, len(room), 4096)); print(held_bytes(os.getpid()) - before)"
    )
    file = tmp_path_factory.mktemp("mapped") / "data"
    seen = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert int(seen.stdout) < 20 * MIB


def test_everything_below_a_process_is_found() -> None:
    with subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout is not None
        sleeper = int(shell.stdout.readline())
        assert sleeper in below(shell.pid)
        assert {shell.pid, sleeper} <= set(below(os.getpid()))
        os.kill(sleeper, 9)


@pytest.mark.parametrize("most", [0, 50, 1 << 40])
def test_open_files_are_bounded_for_what_is_started(most: int) -> None:
    code = (
        "import json, resource, sys; from workers.containment.bounds import limit_files; limit_files(int(sys.argv[1]));"
        "print(json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)))"
    )
    seen = subprocess.run([sys.executable, "-c", code, str(most)], capture_output=True, text=True, check=True)
    now = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert json.loads(seen.stdout) == [50, 50] if most == 50 else list(now)
