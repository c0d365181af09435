from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from app.errors import ChildStartError
from workers.containment.bounds import Bounds
from workers.containment.shared_memory import ROOM
from workers.supervision.child import Child
from workers.supervision.janitor import Mark, kill_strays

AllGone: TypeAlias = Callable[[list[int]], bool]
StartFamily: TypeAlias = Callable[[str], tuple[Child, list[int]]]
StartSupervisor: TypeAlias = Callable[..., tuple[subprocess.Popen[str], dict[str, Any]]]


def test_a_child_speaks_frames_until_it_ends(start_family: StartFamily, log_path: Path) -> None:
    child, pids = start_family("obey")
    assert child.alive
    assert child.exit_status is None
    assert child.pid == pids[0]
    child.connection.send({"type": "go"})
    assert child.wait(20) == 3
    assert child.connection.receive(20) is None
    assert not child.was_stopped
    assert log_path.read_text() == "the family stands\n"


def test_a_child_that_ends_takes_its_descendants_along(start_family: StartFamily, all_gone: AllGone) -> None:
    child, pids = start_family("crash")
    child.connection.send({"type": "go"})
    assert child.wait(20) == -signal.SIGSEGV
    assert child.wait_gone(20)
    assert all_gone(pids)


@pytest.mark.parametrize(("conduct", "exit_status"), [("obey", 7), ("ignore", -signal.SIGKILL)])
def test_stopping_leaves_no_descendant(
    start_family: StartFamily, all_gone: AllGone, conduct: str, exit_status: int
) -> None:
    child, pids = start_family(conduct)
    assert child.stop(grace_seconds=0.3)
    assert child.exit_status == exit_status
    assert child.was_stopped
    assert all_gone(pids)


def test_stopping_twice_is_safe(start_family: StartFamily) -> None:
    child, _ = start_family("obey")
    assert child.stop(5)
    assert child.stop(5)
    assert child.kill()


def test_a_second_stop_can_cut_the_grace_short(start_family: StartFamily) -> None:
    child, _ = start_family("ignore")
    patient = threading.Thread(target=child.stop, args=(3600,))
    patient.start()
    assert child.kill()
    patient.join(20)
    assert not patient.is_alive()


def test_a_child_is_killed_when_its_lease_ends(start_family: StartFamily, all_gone: AllGone) -> None:
    child, pids = start_family("ignore")
    child.live_until(time.monotonic() + 3600)
    assert child.wait(0) is None
    child.live_until(time.monotonic())
    assert child.wait(20) == -signal.SIGKILL
    assert all_gone(pids)


def test_the_last_moment_named_counts(start_family: StartFamily) -> None:
    child, _ = start_family("obey")
    child.live_until(time.monotonic() + 3600)
    child.live_until(time.monotonic() + 7200)
    child.connection.send({"type": "go"})
    assert child.wait(20) == 3


def test_the_family_of_a_killed_supervisor_is_gone(
    start_supervisor: StartSupervisor, all_gone: AllGone
) -> None:
    supervisor, ids = start_supervisor()
    supervisor.kill()
    assert all_gone([ids["shim"], *ids["pids"]])


def test_a_frozen_supervisor_does_not_outstay_its_lease(
    start_supervisor: StartSupervisor, all_gone: AllGone
) -> None:
    supervisor, ids = start_supervisor("0.2")
    supervisor.send_signal(signal.SIGSTOP)
    assert all_gone(ids["pids"])


def test_a_killed_shim_is_made_good_by_its_supervisor(start_family: StartFamily, all_gone: AllGone) -> None:
    child, pids = start_family("ignore")
    folder = Path(f"/proc/{child.pid}/cwd").readlink()
    os.kill(os.getsid(child.pid), signal.SIGKILL)
    assert child.wait(20) == -signal.SIGKILL
    assert child.stop(0)
    assert all_gone(pids)
    assert not folder.exists()


def test_the_janitor_clears_what_a_killed_supervisor_and_shim_leave(
    start_supervisor: StartSupervisor, all_gone: AllGone, mark: Mark
) -> None:
    supervisor, ids = start_supervisor()
    supervisor.send_signal(signal.SIGSTOP)
    os.kill(ids["shim"], signal.SIGKILL)
    supervisor.kill()
    supervisor.wait(20)
    _, *stubborn = ids["pids"]
    assert set(kill_strays(lambda owner: owner != mark.owner)) >= set(stubborn)
    assert all_gone(ids["pids"])


def test_a_stop_signal_to_the_shim_ends_the_child(start_family: StartFamily, all_gone: AllGone) -> None:
    child, pids = start_family("obey")
    os.kill(os.getsid(child.pid), signal.SIGTERM)
    assert child.wait(20) == 7
    assert all_gone(pids)


def test_a_child_knows_its_owner_and_its_socket(start: Callable[..., Child], mark: Mark) -> None:
    child = start(
        sys.executable,
        "-c",
        "import os; from workers.protocol.frames import Connection\n"
        "Connection.from_fd(int(os.environ['EVALQ_FD'])).send(dict(os.environ))",
        COLOUR="blue",
    )
    seen = child.connection.receive(20)
    assert seen is not None
    assert (seen["EVALQ_REPLICA"], seen["COLOUR"]) == (mark.owner, "blue")
    assert seen["SPT_NOENV"] == "1", "else a title would be written over the mark"


def test_a_child_runs_in_an_empty_folder_of_its_own(start: Callable[..., Child]) -> None:
    code = "import os; from workers.protocol.frames import Connection\n"
    code += "c = Connection.from_fd(int(os.environ['EVALQ_FD']))\n"
    code += "c.send({'is': os.getcwd(), 'has': os.listdir()}); open('left', 'w'); c.receive()"
    children = [start(sys.executable, "-c", code) for _ in range(2)]
    seen = [child.connection.receive(20) or {} for child in children]
    folders = {Path(each["is"]) for each in seen}
    assert [each["has"] for each in seen] == [[], []]
    assert len(folders) == 2
    assert Path.cwd() not in folders
    assert all(child.stop(0) for child in children)
    assert not any(map(Path.exists, folders))


def test_a_childs_temporary_files_go_with_it(start: Callable[..., Child]) -> None:
    code = "import os, tempfile; from workers.protocol.frames import Connection\n"
    code += "c = Connection.from_fd(int(os.environ['EVALQ_FD']))\n"
    code += "c.send({'has': tempfile.mkdtemp()}); c.receive()"
    child = start(sys.executable, "-c", code)
    left = Path((child.connection.receive(20) or {})["has"])
    assert left.is_relative_to(Path(f"/proc/{child.pid}/cwd").readlink().parent)
    assert child.kill()
    assert not left.exists()


SHARER = (
    "import os, signal\n"
    "from multiprocessing import resource_tracker, shared_memory\n"
    "from workers.protocol.frames import Connection\n"
    "resource_tracker.register = lambda *_: None\n"
    "held = [shared_memory.SharedMemory(create=True, size=4096) for _ in range(2)]\n"
    "c = Connection.from_fd(int(os.environ['EVALQ_FD']))\n"
    "c.send({'names': [each.name for each in held]}); c.receive()"
)


@pytest.mark.parametrize("killed", ["child", "shim"])
def test_a_killed_childs_shared_memory_goes_with_it(start: Callable[..., Child], killed: str) -> None:
    with closing(SharedMemory(create=True, size=4096)) as others:
        child = start(sys.executable, "-c", SHARER)
        left = [ROOM / name for name in (child.connection.receive(20) or {})["names"]]
        assert all(map(Path.exists, left))
        if killed == "shim":
            os.kill(os.getsid(child.pid), signal.SIGKILL)
        assert child.kill()
        assert not any(map(Path.exists, left))
        others.unlink()


def test_a_killed_supervisors_folders_go_with_its_child(
    start_supervisor: StartSupervisor, all_gone: AllGone
) -> None:
    supervisor, ids = start_supervisor()
    folder = Path(f"/proc/{ids['pids'][0]}/cwd").readlink()
    supervisor.kill()
    supervisor.wait(20)
    assert all_gone([*ids["pids"], ids["shim"]])
    assert not folder.exists()


HOG = (
    "import os, subprocess, sys; from workers.protocol.frames import Connection\n"
    "held = [subprocess.Popen([sys.executable, '-c', 'b = bytearray(60 << 20); input()'], stdin=subprocess.PIPE)"
    " for _ in range(int(sys.argv[1]))]\n"
    "Connection.from_fd(int(os.environ['EVALQ_FD'])).receive()"
)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        (Bounds(memory_bytes=150 << 20), "GiB of memory, more than the 0.15 GiB"),
        (Bounds(processes=3), "had 5 processes"),
    ],
)
def test_a_child_that_passes_its_bounds_is_killed_and_says_why(
    start: Callable[..., Child], bounds: Bounds, words: str
) -> None:
    child = start(sys.executable, "-c", HOG, "4", bounds=bounds)
    assert child.wait(20) == -signal.SIGKILL
    assert words in (child.outgrew or "")
    assert child.wait_gone(20)
    assert not child.was_stopped


CHAIN = "import os, time\nfor _ in range(600):\n    if os.fork():\n        time.sleep(600)"


def test_a_child_that_forks_for_ever_is_outrun(start: Callable[..., Child]) -> None:
    child = start(sys.executable, "-c", CHAIN, bounds=Bounds(processes=30))
    assert child.wait(20) == -signal.SIGKILL
    assert "processes, more than the 30" in (child.outgrew or "")
    assert child.wait_gone(20)


def test_a_child_within_its_bounds_goes_on(start: Callable[..., Child]) -> None:
    bounds = Bounds(memory_bytes=8 << 30, processes=20, files=100)
    child = start(sys.executable, "-c", "open('/proc/self/limits'); raise SystemExit(5)", bounds=bounds)
    assert (child.wait(20), child.outgrew) == (5, None)


def test_a_child_opens_no_more_files_than_it_may(start: Callable[..., Child], log_path: Path) -> None:
    child = start(
        sys.executable, "-c", "held = [open('/dev/null') for _ in range(100)]", bounds=Bounds(files=50)
    )
    assert child.wait(20) == 1
    assert "Too many open files" in log_path.read_text()


def test_a_command_that_is_not_there_is_named(start: Callable[..., Child]) -> None:
    with pytest.raises(ChildStartError, match="No such file or directory: 'no-such-engine'"):
        start("no-such-engine")


def test_a_child_receives_signals_as_a_fresh_program_does(start: Callable[..., Child]) -> None:
    child = start("sh", "-c", "kill -PIPE $$")
    assert child.wait(20) == -signal.SIGPIPE
