"""Run pip in an environment, and say in words why it failed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.errors import BackendInstallError

Progress = Callable[[str], None]

LAST_LINES = 15

_NO_NETWORK = (
    r"Failed to establish a new connection|Name or service not known|Temporary failure in name resolution|"
    r"Connection refused|Network is unreachable|Read timed out|Connect timeout|ConnectTimeoutError|ProxyError|"
    r"SSLError|Max retries exceeded"
)

# The first that is found in all that was said is why.
_CAUSES = (
    (
        r"No space left on device|Disk quota exceeded",
        "the disk is full: make room, or set EVALQ_CACHE to another one",
    ),
    (
        r"ensurepip is not available|No module named '?(?:ensurepip|venv)\b",
        "this Python cannot make environments: install its venv package (Debian: python3-venv)",
    ),
    (
        _NO_NETWORK,
        "no package index could be reached: name a mirror with --index or PIP_INDEX_URL, "
        "or install from a folder of wheels with --from",
    ),
    (
        r"\b(401|403|407) (?:Client )?(?:Error|Unauthorized|Forbidden)|User for .*:",
        "the package index refused the login",
    ),
    (
        r"(?i:requires a different python)|Ignored the following versions that require a different python version",
        f"a package is not made for Python {sys.version_info.major}.{sys.version_info.minor}",
    ),
    (
        r"No matching distribution found for (?P<pin>\S+)",
        "{pin} is not there for this Python and machine: in the folder of --from, or at the index",
    ),
)


@dataclass(frozen=True)
class Source:
    """Where packages come from. Left out, pip's own variables and configuration say so."""

    indexes: tuple[str, ...] = ()
    """Addresses of package indexes, all of which are asked."""
    folder: Path | None = None
    """A folder of wheels; with it no network is used."""

    @property
    def arguments(self) -> list[str]:
        """For pip."""
        if self.folder is not None:
            return ["--no-index", "--find-links", str(self.folder)]
        options = ["--index-url", *["--extra-index-url"] * len(self.indexes)]
        return [word for pair in zip(options, self.indexes, strict=False) for word in pair]


@dataclass(frozen=True)
class Pip:
    """The pip of an environment; `progress` gets what it prints, a line at a time."""

    environment: Path
    progress: Progress
    lock: int | None = None
    """A file whose lock its processes hold, too: they may outlive whoever started them."""

    def make_environment(self) -> None:
        """Make the venv that it lives in; BackendInstallError."""
        self._run([sys.executable, "-P", "-m", "venv", str(self.environment)])

    def run(self, arguments: Sequence[str]) -> None:
        """Run a command of it; BackendInstallError with the reason and its last lines."""
        own = [str(self.environment / "bin" / "python"), "-P", "-m", "pip"]
        self._run([*own, "--disable-pip-version-check", "--no-input", *arguments, "--progress-bar", "off"])

    def _run(self, command: Sequence[str]) -> None:
        said: deque[str] = deque(maxlen=400)
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=[] if self.lock is None else [self.lock],
        ) as process:
            try:
                self._tell(process, said)
            except BaseException:
                process.terminate()
                raise
        if process.returncode != 0:
            raise BackendInstallError(why("\n".join(said)))

    def _tell(self, process: subprocess.Popen[str], said: deque[str]) -> None:
        for line in process.stdout or ():
            said.append(line.rstrip())
            self.progress(line.rstrip())


def why(said: str) -> str:
    """The cause in a line where it is a known one, then the last lines; logins in addresses are left out."""
    said = re.sub(r"(\w://)[^/@\s]+@", r"\1", said)
    causes = ((re.search(pattern, said), words) for pattern, words in _CAUSES)
    known = next((words.format(**found.groupdict()) for found, words in causes if found), "pip failed")
    return "\n".join([known, *said.splitlines()[-LAST_LINES:]])
