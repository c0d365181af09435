"""A backend is added by adding its files: to a copy of the source, which then runs as `evalq up`."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.single_host.ports import free_port
from tests.client import Client
from tests.e2e.stack import settings
from tests.faults.model import make_model
from tests.servers import Postgres

ROOT = Path(__file__).parents[2]
FILES = Path(__file__).with_name("parrot")
PARTS = ("app", "workers", "migrations")


class Parrots(Client):
    """The service with parrots."""

    def __init__(self, port: int, folder: Path) -> None:
        super().__init__(port, folder / "up.log")
        self.pretrained = str(make_model(folder / "models" / "tiny"))

    def body(self, **args: Any) -> dict[str, Any]:
        """A job for parrots; none of its answers are there before."""
        args = {"pretrained": self.pretrained, **args}
        body = {"model": "parrot", "model_args": args, "tasks": ["e2e_choice"], "num_fewshot": 0}
        return body | {"batch_size": 7, "reuse_responses": False}

    def dry_run(self, **args: Any) -> httpx.Response:
        return self.http.post("/jobs?dry_run=true", json=self.body(**args))

    def faults(self, **args: Any) -> list[tuple[str, str]]:
        answer = self.dry_run(**args)
        assert answer.status_code == 200, answer.text
        return [(fault["path"], fault["message"]) for fault in answer.json()["errors"]]

    def log(self, job_id: str) -> str:
        return self.http.get(f"/jobs/{job_id}/logs").text


def copied(folder: Path) -> Path:
    """The source with three more files, and nothing else that is new."""
    source = folder / "source"
    for part in PARTS:
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(FILES / "backend.py", source / "app" / "backends" / "parrot.py")
    engine = shutil.ignore_patterns("__pycache__")
    shutil.copytree(FILES / "engine", source / "workers" / "engine_child" / "parrot", ignore=engine)
    return source


@pytest.fixture(scope="module")
def parrots(
    postgres: Postgres, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Parrots]:
    folder, port = tmp_path_factory.mktemp("parrots"), free_port()
    source = copied(folder)
    with postgres.database() as database_url:
        env = settings(database_url, redis_url, folder, folder / "models")
        env |= {"EVALQ_ECHO_ENGINE": "false", "PYTHONPATH": str(source)}
        command = [sys.executable, "-m", "app.cli", "up", "--port", str(port), "--group", "local=cpu:2"]
        client = Parrots(port, folder)
        with (folder / "up.log").open("w") as log, client.http:
            up = subprocess.Popen(command, cwd=source, env=os.environ | env, stdout=log, stderr=log)
            try:
                client.await_ready()
                yield client
            finally:
                up.send_signal(signal.SIGTERM)
                up.wait(60)


def test_its_workers_offer_it_without_being_told(parrots: Parrots) -> None:
    (group,) = parrots.http.get("/groups").json()["data"]
    assert "parrot" in group["backends"]
    assert "echo" not in group["backends"]


def test_its_arguments_are_judged_by_name_and_kind(parrots: Parrots) -> None:
    assert parrots.faults(feathers=3, beak="hooked") == []
    assert parrots.faults(feathers=0) == [
        ("model_args.feathers", "must be a whole number from 1 to 1000, not 0")
    ]
    assert parrots.faults(feather=3) == [
        ("model_args.feather", "is no argument of parrot; did you mean feathers?")
    ]
    ((path, message),) = parrots.faults(tensor_parallel_size=2)
    assert path == "model_args.tensor_parallel_size"
    assert message == "parrot has no such argument; it is wings there"


def test_its_plan_speaks_of_its_parallelism(parrots: Parrots) -> None:
    plan = parrots.dry_run(wings=2, flock=3).json()["plan"]
    assert (plan["backend"], plan["tensor_parallel_size"], plan["gpus_per_replica"]) == ("parrot", 2, 2)
    assert plan["replicas"] == 3
    assert "--model parrot" in plan["command"]
    job = parrots.run(parrots.body(wings=2) | {"limit": 2})
    assert "spreads 2 wings" in parrots.log(job["id"])


def test_its_batching_cuts_the_chunks(parrots: Parrots) -> None:
    alone, grouped = (parrots.run(parrots.body(echoes=echoes)) for echoes in (False, True))
    assert alone["progress"]["total"] == 1200
    assert grouped["progress"]["total"] < 1200, "equal questions are asked once"
    asked = [int(count) for count in re.findall(r"asked (\d+) requests", parrots.log(alone["id"]))]
    assert sum(asked) == 1200
    assert len(asked) > 2
    assert sum(count % 7 != 0 for count in asked) == 1, "whole batches, but for the last of all"


def test_its_failure_is_read_and_its_remedy_taken(parrots: Parrots) -> None:
    job = parrots.run(parrots.body(feathers=9, wings=1) | {"limit": 2})
    first, *_, second = job["replicas"]  # another like the first may begin before it is judged
    error = first["error"]
    assert (error["code"], error["hint"]) == ("kv_cache_too_small", "a parrot has room for 4 feathers")
    assert error["facts"] == {"perches": 4}
    assert (first["status"], second["error"]) == ("failed", None)
    changes = [event["data"] for event in parrots.events(job["id"]) if event["type"] == "job.retrying"]
    assert [change["change"] for change in changes] == ["feathers 9 -> 4"]
    assert "feathers=4" in job["plan"]["command"]
    (taken,) = parrots.results(job["id"])["evalq"]["ladder"]
    assert taken["change"] == "feathers 9 -> 4"
