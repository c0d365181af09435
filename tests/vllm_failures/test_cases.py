"""Engines of vLLM that really fail: what their jobs are told, what is tried next, and that nothing is left."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import Settings
from tests.servers import Postgres
from tests.tiny_models import vllm_python
from tests.vllm_failures.cases import CASES
from tests.vllm_failures.provoke import Provoking

QUICK = ("length", "cache")
"""One that vLLM's front tells, one that a process behind it hides."""


@pytest.fixture(scope="module")
def provoking(postgres: Postgres) -> Iterator[Provoking]:
    """In a folder of a short name: vLLM's sockets are below it."""
    cache_dir = Settings().cache_dir
    vllm_python(cache_dir)
    with (
        tempfile.TemporaryDirectory(prefix="evalq-vf-") as room,
        Provoking(postgres, cache_dir, Path(room)) as ready,
    ):
        yield ready


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_a_failure_is_understood_and_leaves_nothing(provoking: Provoking, name: str) -> None:
    finding = provoking.run(CASES[name])
    assert not finding.wrong, (finding.wrong, finding.failure)
