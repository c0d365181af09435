"""The folder in which `evalq up` keeps everything: servers, logs, ports. One `evalq up` at a time has it."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import LocalStartError

SOCKET_PATH_LIMIT = 100


@contextmanager
def locked(path: Path) -> Iterator[Path]:
    """Make the folder and hold it until the end; LocalStartError where it is unwritable or held."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / "logs").mkdir(mode=0o700, exist_ok=True)
        file = (path / "lock").open("a+")
    except OSError as error:
        raise LocalStartError(f"cannot write to the data directory {path}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            raise LocalStartError(f"{path} is in use by another `evalq up` (process {holder})") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield path


@contextmanager
def socket_folder(path: Path) -> Iterator[Path]:
    """A private folder for unix sockets: in the data directory, or a short one where that path is too long."""
    folder = path / "run"
    if len(os.fsencode(folder / ".s.PGSQL.5432.lock")) <= SOCKET_PATH_LIMIT:
        folder.mkdir(mode=0o700, exist_ok=True)
        yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="evalq-", ignore_cleanup_errors=True) as short:
            yield Path(short)
