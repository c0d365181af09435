"""How long the service needs to get over a fault: `python -m tests.faults --recovery`, the table of docs/operations.md.

Under each fault a long job runs, and a client posts small jobs that need an engine of their own. Measured from the
fault's beginning: the longest time in which no answer of the long job was stored, and the longest time one of the
small jobs took from post to end, minus what it takes undisturbed.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psycopg

from tests.client import TERMINAL
from tests.faults.campaign import Service, running_service
from tests.faults.clients import Client, History, Variant
from tests.faults.cluster import Cluster, send
from tests.faults.disk import fill
from tests.faults.faults import Undo
from tests.faults.servers import Broker, Database
from tests.waiting import until

SETTLE_SECONDS = 6.0
PATIENCE_SECONDS = 240.0
LONG_JOBS = 4
LOOK_SECONDS = 0.05
STALL_SECONDS = 30.0
"""Instead of half an hour, for what is found by its silence."""
DATABASE_BYTES = 256 << 20
DEFAULTS = {"EVALQ_RESEND_SECONDS": "15", "EVALQ_SCHEDULE_SECONDS": "0.5", "EVALQ_IDLE_SECONDS": "0"}


@dataclass(frozen=True)
class Trial:
    """One fault: done, and undone after a while."""

    what: str
    seconds: float
    do: Undo
    undo: Undo
    quick_stall: bool = False
    """Measured with a stall time of STALL_SECONDS."""


def trials(service: Service) -> list[Trial]:
    """What is measured, in order."""
    cluster = service.cluster
    return [
        Trial("nothing", 0.0, nothing, nothing),
        *(
            Trial(f"SIGKILL a {kind}", 0.0, _signal_child(cluster, kind, signal.SIGKILL), nothing)
            for kind in ("engine", "shim", "harness", "fork server")
        ),
        _kill(cluster, "worker-a"),
        _kill(cluster, "coordinator"),
        _kill(cluster, "scheduler-1", 20.0),
        _freeze(cluster, "scheduler-2", 20.0),  # it leads since the first one was killed
        _kill(cluster, "api"),
        *_server_trials(service.database, service.broker),
        _kill(cluster, "worker-a", 90.0),
        _kill(cluster, "coordinator", 30.0),
        _freeze(cluster, "worker-a", 75.0),
        Trial("database restart, 90 s away", 90.0, service.database.kill, service.database.restart),
        _fill("disk of the logs", service.folder / "data"),
        _fill("disk of the database", service.folder / "pg", service.database.revive),
        *_frozen_children(cluster),
    ]


def _server_trials(database: Database, broker: Broker) -> list[Trial]:
    return [
        Trial("broker restart, its data lost", 0.0, broker.kill, broker.restart),
        Trial("broker flush", 0.0, broker.client.flushall, nothing),
        Trial("broker freeze for 20 s", 20.0, broker.freeze, broker.thaw),
        Trial("every backend terminated", 0.0, lambda: database.terminate_backends(1000), nothing),
        Trial("database restart, 3 s away", 3.0, database.kill, database.restart),
        Trial("database freeze for 20 s", 20.0, database.freeze, database.thaw),
    ]


def _frozen_children(cluster: Cluster) -> list[Trial]:
    """For good: who finds them has to end them."""

    def freeze_newest_harness() -> None:
        until(lambda: len(cluster.children("harness")) > LONG_JOBS, PATIENCE_SECONDS)
        newest = max(cluster.children("harness"), key=lambda child: child.create_time())
        send(newest, signal.SIGSTOP)

    fork_server, engine = (_signal_child(cluster, kind, signal.SIGSTOP) for kind in ("fork server", "engine"))
    stalled = STALL_SECONDS + 10
    return [
        Trial("SIGSTOP a fork server", 40.0, fork_server, nothing),
        Trial("SIGSTOP a harness", stalled, freeze_newest_harness, nothing, quick_stall=True),
        Trial("SIGSTOP an engine", stalled, engine, nothing, quick_stall=True),
    ]


def _signal_child(cluster: Cluster, kind: str, number: signal.Signals) -> Undo:
    return lambda: send(cluster.children(kind)[0], number)


def _kill(cluster: Cluster, name: str, seconds: float = 0.0) -> Trial:
    when = "restarted at once" if not seconds else f"restarted after {seconds:g} s"
    return Trial(f"SIGKILL {name}, {when}", seconds, lambda: cluster.kill(name), lambda: cluster.start(name))


def _freeze(cluster: Cluster, name: str, seconds: float) -> Trial:
    return Trial(
        f"SIGSTOP {name} for {seconds:g} s",
        seconds,
        lambda: cluster.parts[name].send_signal(signal.SIGSTOP),
        lambda: cluster.parts[name].send_signal(signal.SIGCONT),
    )


def _fill(what: str, folder: Path, undo: Undo | None = None) -> Trial:
    ballast = folder / "ballast"

    def empty() -> None:
        ballast.unlink()
        if undo:
            undo()

    return Trial(f"{what} full for 20 s", 20.0, lambda: fill(ballast), empty)


def nothing() -> None:
    """It mends itself."""


def run(say: Callable[[str], None], folder: Path | None = None, only: Sequence[str] = ()) -> None:
    """Measure with the default settings, but for stalls, and print a table; of `only`, those whose names hold one."""
    say("| fault | longest time without an answer, s | longest delay of a new job, s |\n|---|---|---|")
    for quick_stall in (False, True):
        settings = DEFAULTS | ({"EVALQ_STALL_SECONDS": f"{STALL_SECONDS:g}"} if quick_stall else {})
        place = folder / ("quick" if quick_stall else "usual") if folder else None
        with running_service(place, settings, database_bytes=DATABASE_BYTES) as service:
            for trial in trials(service):
                wanted = not only or any(words in trial.what for words in only)
                if wanted and trial.quick_stall is quick_stall:
                    gap, delay = _Measured(service.cluster, service.database, str(service.model)).of(trial)
                    say(f"| {trial.what} | {gap:.1f} | {delay:.1f} |")
                    service.cluster.await_ready()


class _Measured:
    def __init__(self, cluster: Cluster, database: Database, model: str) -> None:
        self._cluster = cluster
        self._database = database
        base = {"model": "echo", "batch_size": 4, "reuse_responses": False, "tasks": ["e2e_group"]}
        slow = {"pretrained": model, "delay_seconds": 0.1}
        quick = {"pretrained": model, "delay_seconds": 0.001}
        self._long = Variant("long", base | {"model_args": slow, "replicas": 2})
        self._small = Variant(
            "small", base | {"model_args": quick, "tasks": ["e2e_generate"], "limit": 4, "replicas": 1}
        )
        self._client = Client(cluster, [], History(), int(time.monotonic() * 1000), threading.Event())
        self._answered_at: list[float] = []
        self._delays: list[float] = []

    def of(self, trial: Trial) -> tuple[float, float]:
        """The longest gap between answers, and the longest delay of a small job."""
        jobs = [job for _ in range(LONG_JOBS) if (job := self._client.post(self._long))]
        until(self._answered, PATIENCE_SECONDS)
        usual = self._small_job()
        with self._at_work(self._watch_answers), self._at_work(self._post_small_jobs):
            pause = threading.Event()
            pause.wait(1.0)
            began_at = time.monotonic()
            trial.do()
            pause.wait(trial.seconds)
            trial.undo()
            undone_at = time.monotonic()
            until(lambda: self._answered_at and self._answered_at[-1] > undone_at, PATIENCE_SECONDS)
            pause.wait(SETTLE_SECONDS)
        for job in jobs:
            self._cancel(job.id)
        moments = [began_at, *(moment for moment in self._answered_at if moment > began_at)]
        gap = max(after - before for before, after in pairwise(moments))
        return gap, max(0.0, max(self._delays, default=usual) - usual)

    def _small_job(self) -> float:
        began_at = time.monotonic()
        job = self._client.post(self._small)
        assert job
        until(lambda: self._status(job.id) in TERMINAL, PATIENCE_SECONDS)
        return time.monotonic() - began_at

    def _post_small_jobs(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._delays.append(self._small_job())

    def _watch_answers(self, stop: threading.Event) -> None:
        before = self._answered()
        while not stop.wait(LOOK_SECONDS):
            now = self._answered()
            if now is None:
                continue
            if before is not None and now > before:
                self._answered_at.append(time.monotonic())
            before = now

    @contextmanager
    def _at_work(self, work: Callable[[threading.Event], None]) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=work, args=(stop,), daemon=True)
        thread.start()
        yield
        stop.set()
        thread.join(PATIENCE_SECONDS)

    def _answered(self) -> int | None:
        """Requests of the long job's engine that were ever stored; None while the database is away."""
        query = "SELECT coalesce(sum(requests_done), 0) FROM replicas WHERE engine->'args'->>'delay_seconds' = '0.1'"
        try:
            with self._database.connect() as connection:
                (found,) = connection.execute(query).fetchone() or (0,)
                return int(str(found))
        except psycopg.OperationalError:
            return None

    def _status(self, job_id: str) -> str:
        try:
            with self._database.connect() as connection:
                query = "SELECT status FROM jobs WHERE id = %s"
                (found,) = connection.execute(query, [job_id]).fetchone() or ("",)
                return str(found)
        except psycopg.OperationalError:
            return ""

    def _cancel(self, job_id: str) -> None:
        self._cluster.http.post(f"/jobs/{job_id}/cancel")
        until(lambda: self._status(job_id) in TERMINAL, PATIENCE_SECONDS)
