"""Somebody at a terminal, with the documents beside it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.integrators.conftest import Live
from tests.integrators.lines import Line


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
        return self.run("\n".join([*self._names, command.replace("node1-a", "local")]))

    def run(self, script: str) -> str:
        """What a script prints; an AssertionError where a command of it fails."""
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=self.folder,
            env={**os.environ, "HOME": str(self._live.home), "EVALQ_TOKEN": "evq_none", "no_proxy": "*"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{script}: {done.stderr}"
        return done.stdout
