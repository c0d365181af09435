"""Everything that is done to the service. A fault is done, and after a while undone."""

from __future__ import annotations

import random
import re
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psutil
from redis.exceptions import RedisError

from app.broker import CeleryDoorbell
from app.settings import Settings
from tests.faults.cluster import CHILDREN, PARTS, Cluster, owner_of, send
from tests.faults.disk import fill
from tests.faults.failpoints import all_points
from tests.faults.servers import Broker, Database

FAILPOINT_SECONDS = 12.0
"""A part has so long to start and to reach its fail point."""

AHEAD = """SELECT coalesce(r.spare_id, r.id) FROM chunks c JOIN jobs j ON j.id = c.job_id
 JOIN replicas r ON r.id = c.replica_id
 WHERE c.status = 'claimed' AND c.requests_done > 0 AND j.requests_done > 0"""
"""Who has requests of a chunk that nobody stored, told as done: replicas, or the spares that serve them."""

Undo = Callable[[], object]


@dataclass(frozen=True)
class Fault:
    """What was done, for how long, and how it is undone."""

    what: str
    seconds: float
    undo: Undo

    @property
    def name(self) -> str:
        """What was done, without the particulars."""
        words = re.split(r" for | by | of | before:| after:| \(", self.what)[0]
        return re.sub(r"(?<= )\d+ |-[12ab]$", "", words)


class Saboteur:
    """Draws faults from a seeded source and does them; a part already under a fault is left alone."""

    def __init__(
        self, cluster: Cluster, database: Database, broker: Broker, rng: random.Random, lease_seconds: float
    ) -> None:
        self._cluster = cluster
        self._database = database
        self._broker = broker
        self._rng = rng
        self._lease = lease_seconds
        self._busy: set[str] = set()
        self._points: list[tuple[str, str, str]] = []
        self.reached: list[str] = []
        """Fail points at which a part did die."""
        self._bell = CeleryDoorbell(Settings(redis_url=broker.url))
        self._kinds: dict[str, tuple[int, Callable[[], Fault | None]]] = {
            "kill a part": (6, self._kill_part),
            "freeze a part": (5, self._freeze_part),
            "kill a child": (6, self._kill_child),
            "kill an engine ahead": (3, self._kill_ahead),
            "freeze a child": (4, self._freeze_child),
            "fail point": (8, self._failpoint),
            "broker restart": (2, self._restart_broker),
            "broker flush": (1, self._flush_broker),
            "broker freeze": (2, self._freeze_broker),
            "starved broker": (2, self._starve_broker),
            "lost message": (2, self._lose_message),
            "delayed message": (2, self._delay_message),
            "doubled messages": (2, self._double_messages),
            "database restart": (2, self._restart_database),
            "database freeze": (2, self._freeze_database),
            "terminated backends": (3, self._terminate_backends),
            "full disk": (1, self._fill_disk),
        }

    @property
    def kinds(self) -> list[str]:
        """Names of all faults."""
        return list(self._kinds)

    def forgo(self, kind: str) -> None:
        """Leave a kind of fault out."""
        del self._kinds[kind]

    def fallen(self) -> list[str]:
        """Parts that ended though nothing is done to them: whoever runs the service starts them again."""
        ended = [part for part, process in self._cluster.parts.items() if process.poll() is not None]
        return [part for part in ended if part not in self._busy]

    def strike(self, kind: str | None = None) -> Fault:
        """Do one fault, of a kind or drawn; one that finds no victim is drawn again."""
        while True:
            names = [kind] if kind else self._draw()
            fault = self._kinds[names[0]][1]()
            if fault is not None:
                return fault
            kind = None

    def _draw(self) -> list[str]:
        return self._rng.choices(list(self._kinds), [weight for weight, _ in self._kinds.values()])

    def _seconds(self, *, longer: bool | None = None) -> float:
        """Clearly shorter or clearly longer than the lease."""
        if longer if longer is not None else self._rng.random() < 0.4:
            return self._lease * self._rng.uniform(1.3, 2.0)
        return self._lease * self._rng.uniform(0.1, 0.6)

    def _take(self, names: list[str]) -> str | None:
        """A victim nothing is done to yet; held until freed."""
        idle = [name for name in names if name not in self._busy]
        if not idle:
            return None
        name = self._rng.choice(idle)
        self._busy.add(name)
        return name

    def _free(self, name: str) -> None:
        self._busy.discard(name)

    def _part(self) -> str | None:
        return self._take(list(PARTS))

    def _kill_part(self) -> Fault | None:
        part = self._part()
        if part is None:
            return None
        self._cluster.kill(part)
        return Fault(f"SIGKILL {part}", self._seconds(), lambda: self._start(part))

    def _start(self, part: str) -> None:
        self._cluster.start(part)
        self._free(part)

    def _freeze_part(self) -> Fault | None:
        part = self._part()
        if part is None:
            return None
        process = self._cluster.parts[part]
        seconds = self._seconds()
        process.send_signal(signal.SIGSTOP)

        def thaw() -> None:
            process.send_signal(signal.SIGCONT)
            self._free(part)

        return Fault(f"SIGSTOP {part} for {seconds:.1f} s", seconds, thaw)

    def _child(self) -> tuple[str, psutil.Process] | None:
        kinds = list(CHILDREN)
        self._rng.shuffle(kinds)
        for kind in kinds:
            found = sorted(self._cluster.children(kind), key=lambda process: process.pid)
            if found:
                return kind, self._rng.choice(found)
        return None

    def _kill_child(self) -> Fault | None:
        found = self._child()
        if found is None:
            return None
        kind, process = found
        send(process, signal.SIGKILL)
        return Fault(f"SIGKILL a {kind} ({process.pid})", 0.0, lambda: None)

    def _kill_ahead(self) -> Fault | None:
        """SIGKILL an engine inside a chunk that counts as done in part; now and then its job's coordinator with it."""
        if "database" in self._busy:
            return None
        with self._database.connect() as connection:
            ahead = {str(owner) for (owner,) in connection.execute(AHEAD)}
        engines = [each for each in self._cluster.children("engine") if owner_of(each) in ahead]
        if not engines:
            return None
        engine = self._rng.choice(sorted(engines, key=lambda process: process.pid))
        with_it = self._rng.random() < 0.5 and self._take(["coordinator"])
        if with_it:
            self._cluster.kill(with_it)
        send(engine, signal.SIGKILL)
        what = f"SIGKILL an engine ahead{' and the coordinator' if with_it else ''} ({engine.pid})"
        return Fault(what, 0.0, lambda: self._start(with_it) if with_it else None)

    def _freeze_child(self) -> Fault | None:
        found = self._child()
        if found is None:
            return None
        kind, process = found
        seconds = self._seconds()
        send(process, signal.SIGSTOP)
        undo: Undo = lambda: send(process, signal.SIGCONT)  # noqa: E731
        return Fault(f"SIGSTOP a {kind} ({process.pid}) for {seconds:.1f} s", seconds, undo)

    def _failpoint(self) -> Fault | None:
        """Start a part so that it dies at a commit; one that is not reached in time is lifted by a restart."""
        if not self._points:
            self._points = all_points()
            self._rng.shuffle(self._points)
        part, when, method = self._points.pop()
        if self._take([part]) is None:
            return None
        point = f"{when}:{method}:{self._rng.choice([1, 1, 2, 4])}:any"
        self._cluster.kill(part)
        self._cluster.start(part, point)

        def lift() -> None:
            reached = self._cluster.parts[part].poll() is not None
            self._cluster.kill(part)
            self._start(part)
            if reached:
                self.reached.append(f"{part} {point}")

        return Fault(f"fail point {part} {point}", FAILPOINT_SECONDS, lift)

    def _server(self, name: str, what: str, seconds: float, do: Undo, undo: Undo) -> Fault | None:
        if self._take([name]) is None:
            return None
        do()

        def undone() -> None:
            undo()
            self._free(name)

        return Fault(what, seconds, undone)

    def _restart_broker(self) -> Fault | None:
        broker = self._broker
        return self._server("broker", "broker restart", self._seconds(), broker.kill, broker.restart)

    def _freeze_broker(self) -> Fault | None:
        seconds, broker = self._seconds(), self._broker
        return self._server(
            "broker", f"broker freeze for {seconds:.1f} s", seconds, broker.freeze, broker.thaw
        )

    def _flush_broker(self) -> Fault | None:
        return self._server("broker", "broker flush", 0.0, self._broker.client.flushall, lambda: None)

    def _starve_broker(self) -> Fault | None:
        """Every message sent meanwhile is refused, and so lost."""
        broker, seconds = self._broker, self._seconds()
        what = f"starved broker for {seconds:.1f} s"
        return self._server(
            "broker", what, seconds, lambda: broker.limit_memory(1), lambda: broker.limit_memory(0)
        )

    def _queue(self) -> str | None:
        if "broker" in self._busy:
            return None
        queues = sorted(name for name in self._broker.queues())
        return self._rng.choice(queues) if queues else None

    def _lose_message(self) -> Fault | None:
        queue = self._queue()
        if queue is None:
            return None
        self._broker.client.delete(queue)
        return Fault(f"lost messages of {queue}", 0.0, lambda: None)

    def _delay_message(self) -> Fault | None:
        queue = self._queue()
        if queue is None:
            return None
        seconds = self._seconds()
        with suppress(RedisError):
            held = self._broker.client.lrange(queue, 0, -1)
            self._broker.client.delete(queue)
            return Fault(
                f"delayed {len(held)} messages of {queue} by {seconds:.1f} s",
                seconds,
                lambda: self._push(queue, held),
            )
        return None

    def _push(self, queue: str, messages: Sequence[bytes | str]) -> None:
        with suppress(RedisError):
            if messages:
                self._broker.client.lpush(queue, *messages)

    def _double_messages(self) -> Fault | None:
        """Ring again for everything there ever was."""
        if {"broker", "database"} & self._busy:
            return None
        with self._database.connect() as connection:
            jobs = connection.execute("SELECT id FROM jobs ORDER BY random() LIMIT 15").fetchall()
            query = "SELECT id, group_name FROM replicas ORDER BY random() LIMIT 15"
            replicas = connection.execute(query).fetchall()
        for (job_id,) in jobs:
            self._bell.ring_job(UUID(str(job_id)))
        for replica_id, group in replicas:
            self._bell.ring_replica(UUID(str(replica_id)), str(group))
        return Fault(f"doubled {len(jobs) + len(replicas)} messages", 0.0, lambda: None)

    def _restart_database(self) -> Fault | None:
        database = self._database
        seconds = self._seconds(longer=False)
        return self._server("database", "database restart", seconds, database.kill, database.restart)

    def _freeze_database(self) -> Fault | None:
        seconds, database = self._seconds(), self._database
        what = f"database freeze for {seconds:.1f} s"
        return self._server("database", what, seconds, database.freeze, database.thaw)

    def _terminate_backends(self) -> Fault | None:
        if "database" in self._busy:
            return None
        count = self._database.terminate_backends(self._rng.choice([1, 3, 100]))
        return Fault(f"terminated {count} backends", 0.0, lambda: None)

    def _fill_disk(self) -> Fault | None:
        """Fill the file system of the workers' data folder."""
        ballast = Path(self._cluster.settings["EVALQ_DATA_DIR"]) / "ballast"
        return self._server("disk", "full disk", self._seconds(), lambda: fill(ballast), ballast.unlink)
