"""Looks at the tables while the service suffers: what is terminal must never change again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.faults.servers import Database

LOOK_SECONDS = 0.25

TERMINAL_ROWS = {  # by attempt: a retry begins a new one
    "job": "SELECT (id, attempt)::text, status, event_count, ended_at, md5(coalesce(results, '')) FROM jobs"
    " WHERE status IN ('succeeded', 'partially_failed', 'failed', 'cancelled')",
    "replica": "SELECT id, status, ended_at, requests_done FROM replicas"
    " WHERE status IN ('released', 'failed', 'lost')",
    "chunk": "SELECT id, status, ended_at FROM chunks WHERE status IN ('answered', 'failed', 'split')",
}

SHARED_DEVICES = """SELECT d FROM replicas, unnest(devices) AS d
 WHERE status IN ('placed', 'loading', 'serving') GROUP BY d HAVING count(*) > 1"""

LONG_LEASES = """SELECT kind, id FROM (SELECT 'job' AS kind, id, lease_expires_at FROM jobs
 UNION ALL SELECT 'replica', id, lease_expires_at FROM replicas) AS leases
 WHERE lease_expires_at > clock_timestamp() + make_interval(secs => %(ttl)s)"""
"""By the clock and not by now(), which stood before the snapshot: a lease may have been renewed in between."""


class Watch:
    """Remembers terminal rows as first seen, and names those that were seen otherwise later."""

    def __init__(self, database: Database, lease_seconds: float) -> None:
        self._database = database
        self._ttl = lease_seconds
        self._seen: dict[tuple[str, Any], tuple[Any, ...]] = {}
        self._stop = threading.Event()
        self.violations: list[str] = []
        self.looks = 0

    def look(self) -> None:
        """Compare once."""
        with self._database.connect() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            for kind, query in TERMINAL_ROWS.items():
                for row in connection.execute(query):
                    self._compare((kind, row[0]), row)
            for (device,) in connection.execute(SHARED_DEVICES):
                self._name(f"device {device} is held by two live replicas")
            for holder, subject in connection.execute(LONG_LEASES, {"ttl": self._ttl}):
                self._name(f"the lease of {holder} {subject} lives longer than allowed")
        self.looks += 1

    def run(self) -> None:
        """Look until stopped; while the database is down there is nothing to see."""
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self.look()
            except psycopg.OperationalError:
                continue

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def _compare(self, name: tuple[str, Any], row: tuple[Any, ...]) -> None:
        first = self._seen.setdefault(name, row)
        if first != row:
            self._name(f"terminal {name[0]} {name[1]} changed from {first[1:]} to {row[1:]}")

    def _name(self, violation: str) -> None:
        if violation not in self.violations:
            self.violations.append(violation)


@contextmanager
def watching(database: Database, lease_seconds: float) -> Iterator[Watch]:
    """A watch at work."""
    watch = Watch(database, lease_seconds)
    thread = threading.Thread(target=watch.run, name="watch", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join(30)
