"""One job on the HF engine and a real (tiny) model, and twenty SIGKILLs over it: `python -m tests.faults --hf`."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.settings import Settings
from tests.client import TERMINAL
from tests.faults.campaign import campaign_folder
from tests.faults.checker import Outcome, outcome
from tests.faults.clients import Client, History, Variant
from tests.faults.cluster import CHILDREN, Cluster, send
from tests.faults.servers import Database, running_servers
from tests.tiny_models import tiny_llama
from tests.waiting import until

VICTIMS = (
    *("engine",) * 6,
    *("shim",) * 2,
    *("worker-a",) * 2,
    *("worker-b",) * 2,
    *("coordinator",) * 3,
    *("harness",) * 2,
    *("api", "scheduler-1", "scheduler-2"),
)
JOB_SECONDS = 600.0
TOTAL = 6000
"""About what the job asks."""


def run(seed: int, say: Callable[[str], None], folder: Path | None = None) -> list[str]:
    """Do it; returns what did not hold."""
    model = tiny_llama(Settings().cache_dir)
    body = {
        "model": "hf",
        "model_args": {"pretrained": str(model), "dtype": "float32"},
        "tasks": ["faults_long", "e2e_rolling", "e2e_generate"],
        "batch_size": 1,
        "reuse_responses": False,
        "replicas": 3,
    }
    with campaign_folder(folder) as place, running_servers(place) as (database, broker):
        journal = place / "answered"
        settings = {"EVALQ_LEASE_SECONDS": "4"}
        cluster = Cluster(database, broker, place, model=model, settings=settings, journal=journal)
        try:
            cluster.start_all()
            cluster.await_ready()
            return _Kills(cluster, database, Variant("hf", body), journal, say).run(random.Random(seed))
        finally:
            cluster.stop()


class _Kills:
    def __init__(
        self, cluster: Cluster, database: Database, kind: Variant, journal: Path, say: Callable[[str], None]
    ) -> None:
        self._cluster = cluster
        self._database = database
        self._kind = kind
        self._journal = journal
        self._say = say

    def run(self, rng: random.Random) -> list[str]:
        """The job undisturbed, then under fire; the difference."""
        undisturbed = self._job(1, lambda _: None)
        self._journal.write_text("")
        killed: list[str] = []
        found = self._job(2, lambda job_id: killed.extend(self._fire(job_id, rng)))
        return [*self._compare(undisturbed, found, len(killed)), *self._count(len(killed))]

    def _job(self, number: int, meanwhile: Callable[[str], None]) -> Outcome:
        history = History()
        job = Client(self._cluster, [self._kind], history, number, threading.Event()).post(self._kind)
        assert job, history.faults
        meanwhile(job.id)
        until(lambda: self._row(job.id)["status"] in TERMINAL, JOB_SECONDS)
        self._row_now = self._row(job.id)
        return outcome(self._database, job.id)

    def _fire(self, job_id: str, rng: random.Random) -> list[str]:
        """Kill all along the job, the next one after another share of it is answered; parts start again at once."""
        victims = rng.sample(VICTIMS, len(VICTIMS))
        before = self._stored()
        for number, victim in enumerate(victims):
            due = before + number * TOTAL // len(victims)
            until(lambda due=due: self._stored() > due or self._over(job_id), JOB_SECONDS)  # type: ignore[misc]
            until(lambda victim=victim: self._is_there(victim) or self._over(job_id), 60)  # type: ignore[misc]
            if self._over(job_id):
                return victims[:number]
            self._kill(victim, rng)
            self._say(f"{number + 1:3} SIGKILL {victim} after {self._stored() - before} answers")
        return victims

    def _stored(self) -> int:
        """Answers that replicas have stored so far, of all jobs."""
        with self._database.connect() as connection:
            (found,) = connection.execute("SELECT sum(requests_done) FROM replicas").fetchone() or (0,)
            return int(str(found))

    def _is_there(self, victim: str) -> bool:
        return victim not in CHILDREN or bool(self._cluster.children(victim))

    def _kill(self, victim: str, rng: random.Random) -> None:
        if victim in CHILDREN:
            for process in rng.sample(self._cluster.children(victim), 1):
                send(process, signal.SIGKILL)
            return
        self._cluster.kill(victim)
        self._cluster.start(victim)

    def _over(self, job_id: str) -> bool:
        return self._row(job_id)["status"] in TERMINAL

    def _row(self, job_id: str) -> dict[str, Any]:
        with self._database.connect() as connection:
            query = "SELECT status, requests_done, requests_total, reason FROM jobs WHERE id = %s"
            cursor = connection.execute(query, [job_id])
            names = [column.name for column in cursor.description or ()]
            return dict(zip(names, cursor.fetchone() or (), strict=True))

    def _compare(self, undisturbed: Outcome, found: Outcome, kills: int) -> list[str]:
        self._say(f"{kills} kills, the job {found.status}; undisturbed it {undisturbed.status}")
        if kills < len(VICTIMS):
            return [f"the job was over after {kills} kills"]
        return [] if found == undisturbed else [f"another result: {self._row_now}"]

    def _count(self, kills: int) -> list[str]:
        """Requests answered twice: at most one chunk for each kill."""
        sizes = [int(line.split()[1]) for line in self._journal.read_text().splitlines()] or [0]
        total, answered = int(self._row_now["requests_total"]), sum(sizes)
        twice, bound = answered - total, kills * max(sizes)
        self._say(f"{answered} requests answered for {total} asked: {twice} twice, at most {bound} allowed")
        return [] if twice <= bound else [f"{twice} requests were answered twice, more than {bound}"]
