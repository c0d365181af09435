"""Every `curl` of the README and of docs/, typed as it stands there, and what the text says of its answer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integrators.answers import ANSWERS, keys
from tests.integrators.conftest import Live
from tests.integrators.lines import Line, lines


class Shell:
    """Types lines as somebody would who has the service at port 8000, and keeps what they name."""

    def __init__(self, live: Live, folder: Path) -> None:
        self.folder = folder
        self._live = live
        self._names: list[str] = []

    def type(self, line: Line) -> str:
        """What it prints."""
        if not line.calls:
            self._names.append(line.command)
            return ""
        command = re.sub(r"(?:http://)?(?:localhost|127\.0\.0\.1):8000", self._live.url, line.command)
        command = command.replace("node1-a", "local")
        done = subprocess.run(
            ["bash", "-euc", "\n".join([*self._names, command])],
            cwd=self.folder,
            env={**os.environ, "HOME": str(self._live.home), "EVALQ_TOKEN": "evq_none", "no_proxy": "*"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def shell(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    if shutil.which("curl") is None:
        pytest.skip("not run: there is no curl on this machine")
    return Shell(live, tmp_path_factory.mktemp("shell"))


def test_lines_of_the_documents_do_what_they_say(shell: Shell) -> None:
    for line in lines():
        said = shell.type(line)
        for key in keys(line):
            assert ANSWERS[key](said), f"{line}: {said[:2000]}"
    headers = (shell.folder / "headers.txt").read_text().lower()
    assert "\netag:" in headers
    assert "\nlink:" in headers
