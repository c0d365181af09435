"""Three owners on two groups of GPUs, all in real processes: who got devices when, and whether it costs an answer.

The GPUs are invented below NVML, and the engines answer with hashes: everything between is what runs in production.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.db.session import make_sessions
from app.domain.keys import Role
from app.services.keys import KeyService
from app.settings import Settings
from tests.client import eventually
from tests.e2e.stack import Stack, settings
from tests.gpus.machine import gpu
from tests.servers import Postgres
from tests.workers import fake_nvml

pytestmark = pytest.mark.slow

TEAMS = {"ann": "crowd", "bob": "lab", "cy": "shop", "ops": "default"}
GROUPS = {"wide": 4, "small": 2}


class Shared(Stack):
    """Two workers with four GPUs and two, and a key for everybody."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        super().__init__(env, folder)
        self.posts = 0
        del self._commands["worker"]
        for group in GROUPS:
            self._commands[group] = ["worker", "--group", group, "--devices", "all"]
        self.keys = _keys(env["EVALQ_DATABASE_URL"])
        self.http.headers["Authorization"] = f"Bearer {self.keys['ops']}"

    def start(self, name: str, **env: str) -> None:
        """Each worker sees the GPUs of a machine of its own."""
        if name in GROUPS:
            state = self._folder / f"{name}.json"
            gpus = [gpu(n, uuid=f"GPU-{name}-{n}") for n in range(GROUPS[name])]
            state.write_text(json.dumps({"driver": "580.65.06", "cuda": 13000, "devices": gpus, "fails": {}}))
            path = os.pathsep.join(
                filter(None, [str(Path(fake_nvml.__file__).parent), env.get("PYTHONPATH")])
            )
            env |= {"FAKE_NVML_STATE": str(state), "PYTHONPATH": path}
        super().start(name, **env)

    def posted(self, owner: str, model: Path, width: int, **fields: Any) -> str:
        """A job of this owner's, for an engine of its own."""
        args = {"pretrained": str(model), "delay_seconds": 0.1, "max_length": 1000 + self.posts}
        body = {"model": "echo", "model_args": args, "tasks": ["e2e_choice"], "limit": 20, "batch_size": 4}
        body |= {"gpus_per_replica": width, "name": f"{owner}-{self.posts}", "reuse_responses": False}
        headers = {"Authorization": f"Bearer {self.keys[owner]}"}
        answer = self.http.post("/jobs", json=body | fields, headers=headers)
        assert answer.status_code == 202, answer.text
        self.posts += 1
        return str(answer.json()["id"])


def _keys(database_url: str) -> dict[str, str]:
    """One each, by name."""
    sessions = make_sessions(Settings(database_url=database_url))
    service, roles = KeyService(sessions=sessions), {"ops": Role.OPERATOR}
    made = {
        name: service.create(name=name, role=roles.get(name, Role.SUBMITTER), team=team)[1]
        for name, team in TEAMS.items()
    }
    sessions.close()
    return made


@pytest.fixture
def shared(postgres: Postgres, redis_url: str, tmp_path: Path) -> Iterator[Shared]:
    with postgres.database() as database_url:
        env = settings(database_url, redis_url, tmp_path, Settings().cache_dir / "models")
        knobs = {"EVALQ_HOLD_SECONDS": "1", "EVALQ_TEAM_QUOTAS": '{"lab": 2}'}
        with Shared(env | knobs, tmp_path) as running:
            yield running


def test_everybody_gets_devices_in_turn_and_no_answer_is_lost(shared: Shared, model: Path) -> None:
    crowd = [shared.posted("ann", model, 1, replicas=1, limit=45) for _ in range(6)]
    eventually(lambda: _held(shared) == 6, 120, "six devices at work for one owner")
    lab = shared.posted("bob", model, 2, priority=10)  # behind everybody, but for its team's quota
    shop = shared.posted("cy", model, 4, priority=90)
    jobs = {job_id: shared.finished(job_id) for job_id in (*crowd, lab, shop)}
    assert {job["status"] for job in jobs.values()} == {"succeeded"}
    first_of_crowd = min(jobs[job_id]["ended_at"] for job_id in crowd)
    assert jobs[lab]["ended_at"] < first_of_crowd
    assert jobs[shop]["ended_at"] < first_of_crowd
    lives = _lives(shared)
    assert [life["devices"] for life in lives if len(life["devices"]) == 4] == [
        [f"GPU-wide-{number}" for number in range(4)]
    ]
    for before, after in pairwise(sorted(_stays(lives))):
        assert before[0] != after[0] or before[2] <= after[1]
    asked = sum(job["progress"]["total"] for job in jobs.values())
    assert sum(life["requests_done"] for life in lives) == asked
    assert [job["owner"] for job in jobs.values()] == ["ann"] * 6 + ["bob", "cy"]


def _held(shared: Shared) -> int:
    with psycopg.connect(shared.database_url) as connection:
        found = connection.execute("SELECT count(*) FROM devices WHERE state = 'held'").fetchone()
    return found[0] if found else 0


def _lives(shared: Shared) -> list[dict[str, Any]]:
    with psycopg.connect(shared.database_url, row_factory=psycopg.rows.dict_row) as connection:
        query = (
            "SELECT devices, placed_at, coalesce(ended_at, now()) AS ended_at, requests_done FROM replicas"
        )
        return connection.execute(query).fetchall()


def _stays(lives: list[dict[str, Any]]) -> Iterator[tuple[str, Any, Any]]:
    """Which device was whose, from when to when."""
    for life in lives:
        yield from ((device, life["placed_at"], life["ended_at"]) for device in life["devices"])
