"""Where a fail point is played: the part that is to die, jobs, and a hand on everything else."""

from __future__ import annotations

import secrets
import signal
import subprocess
import threading
from collections.abc import Mapping
from typing import Any

from tests.faults.campaign import Service
from tests.faults.clients import Client, Engines, History, Posted, Variant, engine_args, variants
from tests.faults.cluster import GROUPS, send
from tests.faults.failpoints import PLAYERS, Point
from tests.waiting import until

REACH_SECONDS = 40.0
"""A part has so long to start and to reach its fail point."""

SCENE_SECONDS = 60.0

Kinds = Mapping[str, Variant]


def kinds(model: str, engines: Engines) -> Kinds:
    """The campaigns' jobs, and some that go wrong in ways of their own."""
    base = {"model": "echo", "batch_size": 4, "reuse_responses": False}
    slow = {"pretrained": model, "delay_seconds": 0.1} | engine_args(engines, usual=True)
    wide = {"pretrained": model, "needs_devices": 2}
    refused = {"pretrained": model, "fail_on": "Where do"} | engine_args(engines, usual=True)
    warned = {"pretrained": model, "warns": "batch size 8 -> 4"} | engine_args(engines, usual=False)
    more = [
        Variant("slow", base | {"model_args": slow, "tasks": ["e2e_choice"], "limit": 20, "replicas": 2}),
        Variant("doomed", base | {"model_args": slow, "tasks": ["e2e_lost"]}),
        Variant("wide", base | {"model_args": wide, "tasks": ["e2e_generate"], "limit": 8}),
        Variant("refused", base | {"model_args": refused, "tasks": ["e2e_generate"]}),
        Variant("long", base | {"model_args": {"pretrained": model}, "tasks": ["faults_long"], "limit": 800}),
        Variant("warned", base | {"model_args": warned, "tasks": ["e2e_generate"]}),
    ]
    return {kind.name: kind for kind in [*variants(model, engines), *more]}


class Stage:
    """One fail point: the part that is to die there, a client, and a hand on everything else."""

    def __init__(self, service: Service, known: Kinds, point: Point) -> None:
        self.history = History()
        self.reached = False
        self._cluster, self._database = service.cluster, service.database
        self._known = known
        self._point = point
        self._watch: threading.Thread | None = None
        seed = secrets.randbits(32)
        self._client = Client(service.cluster, [], self.history, seed, threading.Event())

    def arm(self, **settings: str) -> None:
        """Start the part again so that it dies at the point; once dead (or in vain) everything is started again.

        Whoever could act in its place is away meanwhile: the other scheduler.
        """
        others = PLAYERS["scheduler"] if self._point.role == "scheduler" else ()
        for part in {self._point.part, *others}:
            self._cluster.kill(part)
        self._cluster.start(self._point.part, self._point.spec, **settings)
        self._watch = threading.Thread(target=self._await_death, daemon=True)
        self._watch.start()

    def _await_death(self) -> None:
        process = self._cluster.parts[self._point.part]
        try:
            self.reached = process.wait(REACH_SECONDS) == -signal.SIGKILL
        except subprocess.TimeoutExpired:
            self._cluster.kill(self._point.part)
        self._cluster.start_all()

    def leave(self) -> None:
        """Wait until everything is started again."""
        if self._watch:
            self._watch.join()

    @property
    def armed(self) -> bool:
        """Whether the part may still die at the point."""
        return self._watch is not None and self._watch.is_alive()

    def post(self, name: str) -> Posted:
        """A job that is accepted; where a worker is to die, its group is the only one that may serve it."""
        kind = self._known[name]
        pin = {"group": self._point.part.removeprefix("worker-")} if self._point.role == "worker" else {}
        job = self._client.post(Variant(name, {**kind.body, **pin}))
        assert job, self.history.faults
        return job

    def ask(self, job: Posted, action: str) -> None:
        """Cancel, pause, resume or retry."""
        self._client.ask(job, action)

    def forget(self, job: Posted) -> None:
        """Delete an ended job."""
        self._client.insist("DELETE", f"/jobs/{job.id}", {204, 404})
        self.history.posted.remove(job)

    def drain(self, group: str) -> None:
        """Drain a group, and let it work again."""
        for action in ("drain", "resume"):
            self._client.insist("POST", f"/groups/{group}/{action}", {200})

    def asked_when(self) -> bool:
        """Have somebody read when jobs begin; always true."""
        self._client.insist("GET", "/queue", {200})
        return True

    def order_groups(self, action: str) -> None:
        """Drain every group, or let it work again."""
        for group in GROUPS:
            self._client.insist("POST", f"/groups/{group}/{action}", {200})

    def evaluating(self) -> Posted:
        """A slow job that an engine is answering."""
        job = self.post("slow")
        until(
            lambda: self.seen("SELECT phase FROM jobs WHERE id = %s", job.id) == "evaluating", SCENE_SECONDS
        )
        return job

    def becomes(self, job: Posted, statuses: set[str]) -> None:
        """Wait for one of these statuses."""
        until(lambda: self.seen("SELECT status FROM jobs WHERE id = %s", job.id) in statuses, SCENE_SECONDS)

    def seen(self, query: str, *parameters: str) -> Any:
        """The first value of the first row."""
        with self._database.connect() as connection:
            return (connection.execute(query, parameters).fetchone() or (None,))[0]

    def await_child(self, kind: str, of: int = 1) -> None:
        """Wait for so many children of a kind."""
        until(lambda: len(self._cluster.children(kind)) >= of, SCENE_SECONDS)

    def kill_child(self, kind: str, of: int = 1) -> None:
        """SIGKILL one of at least so many children of a kind."""
        self.await_child(kind, of)
        send(self._cluster.children(kind)[0], signal.SIGKILL)

    def signal(self, number: signal.Signals, *parts: str) -> None:
        """A signal to the main process of parts (the point's own, where none is named)."""
        for part in parts or (self._point.part,):
            self._cluster.parts[part].send_signal(number)

    def cut_off_claims(self) -> None:
        """Terminate a backend that is about to claim chunks, so that nobody knows which ones it got."""
        with self._database.connect() as connection, connection.transaction():
            connection.execute("LOCK TABLE chunks IN ACCESS EXCLUSIVE MODE")
            query = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE wait_event_type = 'Lock' AND (query ILIKE '%%from jobs%%from chunks%%'
                OR query ILIKE '%%sum(chunks.cost)%%from replicas%%')"""
            until(lambda: self.seen(query), 1.0)
