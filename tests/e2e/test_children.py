"""What real children see: the whole service runs with keys and credentials, none of which reach a child."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psutil
import pytest

from app.db.session import make_sessions
from app.domain.keys import Role
from app.services.keys import KeyService
from app.settings import Settings
from tests.client import eventually
from tests.e2e.stack import Stack, settings
from tests.faults.cluster import environment, kind_of
from tests.faults.model import make_model
from tests.servers import Postgres

CHILDREN = {"fork server", "harness", "engine"}
OWN_NAMES = {"EVALQ_FD", "EVALQ_JOB", "EVALQ_REPLICA"}
"""The child's socket, and the mark by which the janitor finds it."""
CREDENTIALS = {
    "PGPASSWORD": "the-password",
    "AWS_SECRET_ACCESS_KEY": "the-secret",
    "VLLM_API_KEY": "the-api-key",
    "EVALQ_TOKEN": f"evq_{'x' * 43}",
    "HF_TOKEN": "the-hub-token",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=the-collectors-key",
}


@pytest.fixture
def stack(
    postgres: Postgres, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stack, str]]:
    """A service that asks for keys, and a job that it runs for minutes."""
    folder = tmp_path_factory.mktemp("children")
    model = make_model(folder / "models" / "tiny")
    with postgres.database() as database_url:
        sessions = make_sessions(Settings(database_url=database_url))
        _, token = KeyService(sessions=sessions).create(name="alice", role=Role.SUBMITTER, team="red")
        sessions.close()
        child_env = {"EVALQ_CHILD_ENV": "HF_HUB_OFFLINE,OMP_NUM_THREADS,EVALQ_DATABASE_URL"}
        env = settings(database_url, redis_url, folder, model.parent) | CREDENTIALS | child_env
        service = Stack(env, folder, devices="cpu:1")
        service.http.headers["Authorization"] = f"Bearer {token}"
        with service:
            args = {"pretrained": str(model), "delay_seconds": 0.1}
            job_id = service.submit({"model": "echo", "model_args": args, "tasks": ["e2e_choice"]})
            yield service, database_url
            service.http.post(f"/jobs/{job_id}/cancel")


def children(stack: Stack) -> dict[str, dict[str, str]]:
    """The environment of each kind of child, once there is one of every kind."""
    parts = [psutil.Process(stack.parts[name].pid) for name in ("coordinator", "worker")]
    found = {kind_of(child): environment(child) for part in parts for child in part.children(recursive=True)}
    return found if found.keys() >= CHILDREN else {}


def test_no_credential_reaches_a_child(stack: tuple[Stack, str]) -> None:
    service, database_url = stack
    found = eventually(lambda: children(service), 60, "a child of every kind")
    for kind, seen in found.items():
        assert seen["OMP_NUM_THREADS"] == "1", kind
        assert {name for name in seen if name.startswith("EVALQ_")} <= OWN_NAMES, kind
        assert CREDENTIALS.keys().isdisjoint(seen), kind
        text = str(seen)
        assert database_url not in text, kind
        assert not re.search(r"(postgres(ql)?|redis)(\+\w+)?://", text), kind
