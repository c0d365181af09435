"""Clients that never give up, and what they remember: what was accepted, and what they asked for."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import httpx

from tests.client import TERMINAL
from tests.faults.cluster import Cluster

PATIENCE_SECONDS = 0.3
DEADLY = "David asks: Where do moles"
"""In one of the first requests of `e2e_generate`."""
AGAIN = {409, 429, 500, 502, 503, 504}
"""Answers after which a client asks again: a 409 says that its key is in flight."""


@dataclass(frozen=True)
class Variant:
    """A kind of job; every undisturbed run of it has the same outcome."""

    name: str
    body: Mapping[str, Any]


class Engines(StrEnum):
    """How the engines of a campaign work."""

    CHUNKS = "chunks"
    """One chunk at a time."""
    STREAM = "stream"
    """Many requests in hand, answered in an order of their own."""
    MIXED = "mixed"
    """Most jobs by engines that stream, the others by those that do not."""


def engine_args(engines: Engines, *, usual: bool) -> dict[str, Any]:
    """What makes an echo engine work so; an unusual one streams only where all do."""
    streams = engines is Engines.STREAM or (engines is Engines.MIXED and usual)
    return {"stream": True, "window": 12} if streams else {}


def variants(model: str, engines: Engines) -> list[Variant]:
    """Every request kind, a group, two engine specs that want the same devices, and what cannot be answered or read."""
    base = {"model": "echo", "batch_size": 4, "reuse_responses": False}
    usual = {"pretrained": model, "delay_seconds": 0.012} | engine_args(engines, usual=True)
    other = {"pretrained": model, "delay_seconds": 0.02} | engine_args(engines, usual=False)
    poisoned = {"pretrained": model, "fail_on": "Clara"} | engine_args(engines, usual=False)
    return [
        Variant("choice", base | {"model_args": usual, "tasks": ["e2e_choice"], "limit": 30, "replicas": 2}),
        Variant("generate", base | {"model_args": usual, "tasks": ["e2e_generate"]}),
        Variant("group", base | {"model_args": other, "tasks": ["e2e_group"], "limit": 12}),
        Variant(
            "poisoned", base | {"model_args": poisoned, "tasks": ["e2e_generate", "e2e_choice"], "limit": 8}
        ),
        Variant("lost", base | {"model_args": usual, "tasks": ["e2e_lost", "e2e_rolling"], "limit": 2}),
    ]


def deadly(model: str, engines: Engines) -> Variant:
    """One of its requests kills every engine that it comes to; the others are answered all the same."""
    args = {"pretrained": model, "delay_seconds": 0.012, "dies_on": DEADLY} | engine_args(engines, usual=True)
    body = {"model": "echo", "batch_size": 4, "reuse_responses": False, "model_args": args}
    return Variant("deadly", body | {"tasks": ["e2e_generate"], "limit": 12})


def one_chunk(model: str, engines: Engines) -> Variant:
    """One chunk that takes seconds, for one replica: much of it is told as done before any of it is stored."""
    args = {"pretrained": model, "delay_seconds": 0.2} | engine_args(engines, usual=False)
    body = {"model": "echo", "batch_size": 4, "reuse_responses": False, "model_args": args}
    return Variant("one chunk", body | {"tasks": ["faults_long"], "limit": 12})


@dataclass
class Posted:
    """What a client knows of a job that was accepted."""

    id: str
    variant: str
    key: str
    asked: set[str] = field(default_factory=set)
    """Of cancel, pause, resume and retry, what was asked for at least once, heard or not."""


class History:
    """What all clients did, in one place."""

    def __init__(self) -> None:
        self.posted: list[Posted] = []
        self.faults: list[str] = []
        self._lock = threading.Lock()

    def add(self, job: Posted) -> None:
        """A job was accepted."""
        with self._lock:
            self.posted.append(job)

    def complain(self, words: str) -> None:
        """Something a client must never see."""
        with self._lock:
            self.faults.append(words)


class Client(threading.Thread):
    """Posts jobs one after the other and follows each to its end; now and then cancels or pauses one."""

    def __init__(
        self, cluster: Cluster, kinds: list[Variant], history: History, seed: int, stop: threading.Event
    ) -> None:
        super().__init__(name=f"client-{seed}", daemon=True)
        self._cluster = cluster
        self._kinds = kinds
        self._history = history
        self._rng = random.Random(seed)
        self._stop_posting = stop
        self._give_up = threading.Event()

    def run(self) -> None:
        """Post until told to stop, then leave; what was posted is followed by the checker."""
        while not self._stop_posting.is_set():
            job = self.post(self._rng.choice(self._kinds))
            if job is None:
                return
            for action in self._mischief():
                self._give_up.wait(self._rng.uniform(0, 4))
                self.ask(job, action)
            self._follow(job)

    def post(self, kind: Variant) -> Posted | None:
        """Post with an idempotency key until it is accepted; None when the campaign ends first."""
        key = f"{self.name}-{self._rng.getrandbits(64):x}"
        body = {**kind.body, "name": key}
        while not self._give_up.is_set():
            answer = self._request("POST", "/jobs", json=body, headers={"Idempotency-Key": key})
            if answer is not None and answer.status_code in {200, 202}:
                job = Posted(answer.json()["id"], kind.name, key)
                self._history.add(job)
                return job
            if answer is not None and answer.status_code not in AGAIN:
                self._history.complain(f"POST {key}: {answer.status_code} {answer.text}")
                return None
            self._give_up.wait(PATIENCE_SECONDS)
        return None

    def ask(self, job: Posted, action: str) -> None:
        """Cancel, pause, resume or retry until the answer says that it is so, or cannot be."""
        job.asked.add(action)
        self.insist("POST", f"/jobs/{job.id}/{action}", {200, 409})

    def insist(self, method: str, path: str, answers: set[int]) -> None:
        """Ask until one of these is the answer; any other one that is final is complained about."""
        while not self._give_up.is_set():
            answer = self._request(method, path)
            if answer is not None and answer.status_code in answers:
                return
            if answer is not None and answer.status_code not in AGAIN:
                self._history.complain(f"{method} {path}: {answer.status_code} {answer.text}")
                return
            self._give_up.wait(PATIENCE_SECONDS)

    def give_up(self) -> None:
        """End what it is waiting for."""
        self._give_up.set()

    def _mischief(self) -> list[str]:
        return self._rng.choices([[], ["cancel"], ["pause", "resume"]], [6, 1, 1])[0]

    def _follow(self, job: Posted) -> None:
        seen = ""
        while not self._give_up.is_set() and not self._stop_posting.is_set():
            answer = self._request("GET", f"/jobs/{job.id}")
            if answer is not None and answer.status_code == 200:
                seen = answer.json()["status"]
                if seen in TERMINAL:
                    return
            elif answer is not None and answer.status_code == 404:
                self._history.complain(f"accepted job {job.id} is not there")
            self._give_up.wait(PATIENCE_SECONDS)

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        try:
            return self._cluster.http.request(method, path, **options)
        except httpx.TransportError:
            return None


@contextmanager
def running_clients(
    cluster: Cluster, kinds: list[Variant], history: History, seed: int, count: int
) -> Iterator[None]:
    """Some clients at work, the first one always at jobs of the first kind.

    At the end they post no more, and a request that hangs is not waited for long.
    """
    stop = threading.Event()
    clients = [
        Client(cluster, kinds if i else kinds[:1], history, seed * 100 + i, stop) for i in range(count)
    ]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        stop.set()
        deadline = time.monotonic() + 30
        for client in clients:
            client.join(max(0.0, deadline - time.monotonic()))
            client.give_up()
            client.join(30)
