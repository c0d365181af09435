"""A host without room for logs: children start all the same."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from workers.containment.bounds import Bounds
from workers.coordinator.harness_server import HarnessServer
from workers.protocol.log_file import open_log
from workers.supervision.child import Child
from workers.supervision.janitor import Mark


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """A log in a folder that cannot be made, as on a full or read-only disk."""
    (tmp_path / "file").touch()
    return tmp_path / "file" / "logs" / "child.log"


def test_a_log_is_made_with_its_folder_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "child.log"
    for line in (b"one\n", b"two\n"):
        descriptor = open_log(path)
        os.write(descriptor, line)
        os.close(descriptor)
    assert path.read_text() == "one\ntwo\n"


def test_without_a_log_what_is_written_is_forgotten(nowhere: Path, caplog: pytest.LogCaptureFixture) -> None:
    descriptor = open_log(nowhere)
    assert os.write(descriptor, b"words\n") == 6
    os.close(descriptor)
    assert "going on without the log" in caplog.text


def test_a_child_runs_without_its_log(nowhere: Path) -> None:
    command = [sys.executable, "-c", "print('words'); raise SystemExit(7)"]
    with Child.start(
        command, env=os.environ, log_path=nowhere, mark=Mark.replica("full"), bounds=Bounds()
    ) as child:
        assert child.wait(20) == 7


def test_a_fork_server_starts_without_its_log(nowhere: Path) -> None:
    server = HarnessServer(env=os.environ, bounds=Bounds(), log_path=nowhere)
    server.start()
    assert server.alive
    server.stop()
