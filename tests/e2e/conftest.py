"""One stack and one reference run for all end-to-end tests."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from tests.e2e.stack import TASKS, Stack, settings
from tests.reference import Reference, written
from tests.servers import Postgres
from tests.tiny_models import hf_python, tiny_gguf, tiny_llama

JOB_TASKS = ["e2e_group", "e2e_generate"]
BATCH_SIZE = 4
NARROW_LIMIT = 25


@pytest.fixture(scope="session")
def model() -> Path:
    return tiny_llama(Settings().cache_dir)


@pytest.fixture(scope="session")
def gguf() -> Path:
    """The same model in a GGUF file."""
    return tiny_gguf(Settings().cache_dir)


@pytest.fixture(scope="session")
def references(model: Path, gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reference]:
    """The job as `lm_eval run` does it, by how the model is loaded; all in one process, whose start takes longest."""
    loaded = {
        "float32": [f"pretrained={model},dtype=float32"],
        "bfloat16": [f"pretrained={model},dtype=bfloat16", "--limit", str(NARROW_LIMIT)],
        "gguf": [f"pretrained={gguf.parent},gguf_file={gguf.name}", "--limit", str(NARROW_LIMIT)],
    }
    outputs = {name: tmp_path_factory.mktemp(f"reference-{name}") for name in loaded}
    commands = [
        [
            *("run", "--model", "hf", "--device", "cpu", "--tasks", ",".join(JOB_TASKS)),
            *("--include_path", str(TASKS), "--batch_size", str(BATCH_SIZE)),
            *("--log_samples", "--output_path", str(output), "--model_args", *loaded[name]),
        ]
        for name, output in outputs.items()
    ]
    done = subprocess.run(
        [str(hf_python(Settings().cache_dir)), str(Path(__file__).with_name("lm_eval_runs.py"))],
        input=json.dumps(commands),
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        cwd=tmp_path_factory.mktemp("elsewhere"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name: written(output) for name, output in outputs.items()}


@pytest.fixture
def reference(references: dict[str, Reference]) -> Reference:
    """What the job of `body` gives."""
    return references["float32"]


@pytest.fixture(scope="module")
def stack(postgres: Postgres, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The service with two CPU slots, on a database of its own."""
    folder = tmp_path_factory.mktemp("stack")
    with postgres.database() as database_url:
        env = settings(database_url, redis_url, folder, Settings().cache_dir / "models")
        with Stack(env | {"EVALQ_LEASE_SECONDS": "8", "EVALQ_RESEND_SECONDS": "2"}, folder) as running:
            yield running


@pytest.fixture
def body(model: Path) -> dict[str, Any]:
    """The reference job, as it is posted; it reuses nothing, so that engines answer every request."""
    return {
        "model": "hf",
        "model_args": {"pretrained": str(model), "dtype": "float32"},
        "tasks": JOB_TASKS,
        "batch_size": BATCH_SIZE,
        "replicas": 2,
        "reuse_responses": False,
    }
