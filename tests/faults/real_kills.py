"""One job on a real engine and a (tiny) model, and twenty SIGKILLs over it: `python -m tests.faults --hf`, `--vllm`."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from app.settings import Settings
from tests.client import TERMINAL
from tests.faults.campaign import campaign_folder
from tests.faults.checker import Outcome, outcome
from tests.faults.clients import Client, History, Variant
from tests.faults.cluster import CHILDREN, PARTS, Cluster, send
from tests.faults.servers import Database, running_servers
from tests.tiny_models import tiny_llama, tiny_vllm_llama, vllm_python
from tests.waiting import until

AROUND = (
    *("shim",) * 2,
    *("worker-a",) * 2,
    *("worker-b",) * 2,
    *("coordinator",) * 3,
    *("harness",) * 2,
    *("api", "scheduler-1", "scheduler-2"),
)
TOTAL = 6000
"""About what the job asks."""


@dataclass(frozen=True)
class Subject:
    """An engine under fire."""

    backend: str
    model: Callable[[Path], Path]
    args: Mapping[str, Any]
    victims: tuple[str, ...]
    replicas: int
    window: int
    """Requests that an engine has in hand before it is given another chunk."""
    lease_seconds: float
    job_seconds: float


HF = Subject(
    backend="hf",
    model=tiny_llama,
    args={"dtype": "float32"},
    victims=(*("engine",) * 6, *AROUND),
    replicas=3,
    window=0,
    lease_seconds=4,
    job_seconds=600,
)
VLLM = Subject(
    backend="vllm",
    model=tiny_vllm_llama,
    args={"dtype": "float32", "enforce_eager": True, "block_size": 32, "max_num_seqs": 16},
    victims=(*("engine",) * 3, *("core",) * 3, *AROUND),
    replicas=2,
    window=32,
    lease_seconds=8,
    job_seconds=2400,
)


def run(subject: Subject, seed: int, say: Callable[[str], None], folder: Path | None = None) -> list[str]:
    """Do it; returns what did not hold."""
    cache = Settings().cache_dir
    if subject is VLLM:
        vllm_python(cache)
    model = subject.model(cache)
    body = {
        "model": subject.backend,
        "model_args": {"pretrained": str(model), **subject.args},
        "tasks": ["faults_long", "e2e_rolling", "e2e_generate"],
        "batch_size": 1,
        "reuse_responses": False,
        "replicas": subject.replicas,
    }
    with campaign_folder(folder) as place, running_servers(place) as (database, broker):
        journal = place / "answered"
        settings = {"EVALQ_LEASE_SECONDS": f"{subject.lease_seconds:g}"}
        cluster = Cluster(database, broker, place, model=model, settings=settings, journal=journal)
        try:
            cluster.start_all()
            cluster.await_ready()
            kind = Variant(subject.backend, body)
            return _Kills(subject, kind, cluster, database, journal=journal, say=say).run(random.Random(seed))
        finally:
            cluster.stop()


class _Kills:
    def __init__(
        self,
        subject: Subject,
        kind: Variant,
        cluster: Cluster,
        database: Database,
        *,
        journal: Path,
        say: Callable[[str], None],
    ) -> None:
        self._subject = subject
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
        until(lambda: self._row(job.id)["status"] in TERMINAL, self._subject.job_seconds)
        self._row_now = self._row(job.id)
        return outcome(self._database, job.id)

    def _fire(self, job_id: str, rng: random.Random) -> list[str]:
        """Kill all along the job, the next one after another share of it is answered; parts start again at once."""
        victims = rng.sample(self._subject.victims, len(self._subject.victims))
        before = self._stored()
        for number, victim in enumerate(victims):
            due = before + number * TOTAL // len(victims)
            until(lambda due=due: self._stored() > due or self._over(job_id), self._subject.job_seconds)  # type: ignore[misc]
            until(lambda victim=victim: self._is_there(victim) or self._over(job_id), 120)  # type: ignore[misc]
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
        return victim in PARTS or bool(self._processes(victim))

    def _kill(self, victim: str, rng: random.Random) -> None:
        if victim not in PARTS:
            for process in rng.sample(self._processes(victim), 1):
                send(process, signal.SIGKILL)
            return
        self._cluster.kill(victim)
        self._cluster.start(victim)

    def _processes(self, victim: str) -> list[psutil.Process]:
        """Children of a kind; `core` is an engine's own child, which vLLM names so that its environment is lost."""
        if victim in CHILDREN:
            return self._cluster.children(victim)
        return [core for engine in self._cluster.children("engine") for core in cores(engine)]

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
        if kills < len(self._subject.victims):
            return [f"the job was over after {kills} kills"]
        return [] if found == undisturbed else [f"another result: {self._row_now}"]

    def _count(self, kills: int) -> list[str]:
        """Requests answered twice: at most what an engine has in hand for each kill, which may be a chunk more."""
        sizes = [int(line.split()[1]) for line in self._journal.read_text().splitlines()] or [0]
        total, answered = int(self._row_now["requests_total"]), sum(sizes)
        twice, bound = answered - total, kills * (self._subject.window + max(sizes))
        self._say(f"{answered} requests answered for {total} asked: {twice} twice, at most {bound} allowed")
        return [] if twice <= bound else [f"{twice} requests were answered twice, more than {bound}"]


def cores(engine: psutil.Process) -> list[psutil.Process]:
    """What vLLM runs its model in."""
    with suppress(psutil.NoSuchProcess):
        return [child for child in engine.children() if "EngineCore" in "".join(child.cmdline())]
    return []
