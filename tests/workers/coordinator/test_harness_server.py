"""The handle on the fork server, where no process can be started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from workers.containment.bounds import Bounds
from workers.coordinator import harness_server
from workers.coordinator.harness_server import HarnessServer
from workers.protocol import frames


def test_a_child_that_cannot_be_ordered_leaves_no_socket_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = [frames.pair()]
    monkeypatch.setattr(harness_server, "pair", lambda: made[0])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    server = HarnessServer(env={}, bounds=Bounds())
    with pytest.raises(FileNotFoundError, match="gone"):
        server.spawn(tmp_path / "log")
    server.stop()
    assert [end.fileno() for end in made[0]] == [-1, -1]
