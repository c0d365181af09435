"""`make quick` starts no server, even where a test was put that does."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.quick import SLOW, TESTS, refuse_servers

WATCHED = """
import subprocess, sys
from tests.quick import refuse_servers
sys.addaudithook(refuse_servers)
subprocess.run([sys.executable, "-c", ""], check=True)
subprocess.run(["/usr/lib/postgresql/18/bin/postgres", "-D", "/tmp/data"])
"""


def test_a_test_that_starts_a_server_fails_and_names_it() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WATCHED], check=False, cwd=TESTS.parent, capture_output=True, text=True
    )
    assert "a quick test starts /usr/lib/postgresql/18/bin/postgres" in ended.stderr


@pytest.mark.parametrize(
    "command", [["valkey-server", "--port", "1"], "pg_ctl", ("/opt/initdb",)], ids=["list", "text", "tuple"]
)
def test_a_server_is_known_however_it_is_started(command: object) -> None:
    with pytest.raises(RuntimeError, match="a quick test starts"):
        refuse_servers("subprocess.Popen", (None, command, None, None))


def test_what_is_left_out_is_there() -> None:
    assert [path for path in SLOW if not (TESTS / path).exists()] == []
