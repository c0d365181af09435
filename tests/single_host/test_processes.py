from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from app.single_host import processes
from app.single_host.processes import last_line, spawn
from tests.single_host.waiting import all_gone

PARENT = """
import sys, time
from pathlib import Path
from app.single_host.processes import spawn
print(spawn(["sleep", "600"], log=Path(sys.argv[1])).pid, flush=True)
time.sleep(600)
"""

PREPARING = """
import os, time
from app.settings import Settings
from app.single_host import preparing

def hang(url):
    print(os.getpid(), flush=True)
    time.sleep(600)

preparing.check_broker = hang
preparing.prepare(Settings())
"""


def test_what_prepares_the_database_ends_with_evalq_up() -> None:
    """It would hold the lock of the data directory."""
    with subprocess.Popen([sys.executable, "-c", PREPARING], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    assert all_gone([child])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_with_its_parent_however_that_ends(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(number)
    assert all_gone([child])


def test_a_child_hears_no_ctrl_c_of_the_terminal(tmp_path: Path) -> None:
    with spawn(["sleep", "600"], log=tmp_path / "log") as child:
        assert os.getsid(child.pid) == child.pid
        child.kill()


def test_the_last_line_of_a_log_has_something_in_it(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("first\n  the reason \n\n")
    assert last_line(tmp_path / "log") == "the reason"
    assert last_line(tmp_path / "log", "first") == "first"
    assert last_line(tmp_path / "log", "FATAL") == "the reason"
    assert last_line(tmp_path / "none") == ""


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            '{"at": "", "message": "it cannot begin", "error": "Traceback:\\n  here\\nNoGpuError: none"}',
            "NoGpuError: none",
        ),
        ('{"at": "", "message": "it cannot\\nbegin\\n"}', "begin"),
        ('{"at": ""}', '{"at": ""}'),
        ("[1]", "[1]"),
        ("7", "7"),
    ],
)
def test_of_a_record_in_json_the_last_words_are_told(tmp_path: Path, written: str, told: str) -> None:
    (tmp_path / "log").write_text(f"{written}\n")
    assert last_line(tmp_path / "log") == told


def test_a_log_that_has_grown_large_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOG_LIMIT_BYTES", 3)
    (tmp_path / "log").write_text("long")
    with spawn(["echo", "new"], log=tmp_path / "log") as child:
        child.wait()
    assert (tmp_path / "log").read_text() == "new\n"
    assert (tmp_path / "log.1").read_text() == "long"
