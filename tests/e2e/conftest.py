"""One stack and one reference run for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from tests.e2e.lm_eval_side import lm_eval_runs, vllm_runs, vllm_words
from tests.e2e.stack import Stack, settings
from tests.reference import Reference
from tests.servers import Postgres
from tests.tiny_models import hf_python, tiny_gguf, tiny_llama, tiny_vllm_llama, vllm_python

JOB_TASKS = ["e2e_group", "e2e_generate"]
BATCH_SIZE = 4
NARROW_LIMIT = 25
VLLM_ARGS: Mapping[str, Any] = {
    "dtype": "float32",
    "enforce_eager": True,
    "block_size": 32,
    "max_num_seqs": 16,
    "max_model_len": 128,
}
"""Of the engine that all tests share. Some prompts are longer."""
VLLM_LOADING_SECONDS = 600.0
VLLM_RUNS: Mapping[str, Sequence[str]] = {
    "plain": [",".join(JOB_TASKS)],
    "cut": [",".join(JOB_TASKS), "--limit", "20", "--num_fewshot", "6", "--gen_kwargs", "max_gen_toks=120"],
    "chat": [
        ",".join(JOB_TASKS),
        "--limit",
        "20",
        "--apply_chat_template",
        "--system_instruction",
        "Be brief.",
    ],
    "repeats": ["e2e_repeats", "--limit", "10", "--gen_kwargs", "do_sample=False,temperature=0.0"],
    "long": ["e2e_long"],
}
"""Tasks and flags; of the last one, where the task says nothing, evalq is greedy by itself."""


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
    words = (
        "--model",
        "hf",
        "--device",
        "cpu",
        "--tasks",
        ",".join(JOB_TASKS),
        "--batch_size",
        str(BATCH_SIZE),
    )
    runs = {name: [*words, "--model_args", *args] for name, args in loaded.items()}
    return lm_eval_runs(hf_python(Settings().cache_dir), runs, tmp_path_factory.mktemp("references"))


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


@pytest.fixture(scope="package")
def vllm_stack(
    postgres: Postgres, redis_url: str, vllm_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The same with vLLM, whose engine takes so long to load that all tests use one: it is warm, and stays so."""
    vllm_python(Settings().cache_dir)
    folder = tmp_path_factory.mktemp("vllm-stack")
    with postgres.database() as database_url:
        env = settings(database_url, redis_url, folder, Settings().cache_dir / "models")
        with Stack(env | {"EVALQ_LEASE_SECONDS": "8", "EVALQ_RESEND_SECONDS": "2"}, folder) as running:
            job_id = running.submit(_vllm_job(vllm_model) | {"limit": 1})
            assert running.finished(job_id, VLLM_LOADING_SECONDS)["status"] == "succeeded"
            yield running


@pytest.fixture(scope="session")
def vllm_model() -> Path:
    return tiny_vllm_llama(Settings().cache_dir)


@pytest.fixture
def vllm_body(vllm_model: Path) -> dict[str, Any]:
    """A job for the engine that stays warm; it reuses nothing."""
    return _vllm_job(vllm_model)


def _vllm_job(model: Path) -> dict[str, Any]:
    return {
        "model": "vllm",
        "model_args": {"pretrained": str(model), **VLLM_ARGS},
        "tasks": JOB_TASKS,
        "replicas": 1,
        "reuse_responses": False,
    }


@pytest.fixture(scope="session")
def vllm_references(vllm_model: Path) -> dict[str, Reference]:
    """Jobs as `lm_eval run --model vllm` does them."""
    return vllm_runs(
        {
            name: vllm_words(vllm_model, VLLM_ARGS, "--tasks", tasks, *flags)
            for name, (tasks, *flags) in VLLM_RUNS.items()
        }
    )
