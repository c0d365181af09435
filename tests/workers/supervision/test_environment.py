from __future__ import annotations

from pathlib import Path

import pytest

from workers.supervision.environment import child_environment

WORKER = {
    "PATH": "/usr/bin",
    "HOME": "/home/evalq",
    "OMP_NUM_THREADS": "1",
    "HF_HOME": "/models",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_TOKEN": "hf_secret",
    "VLLM_API_KEY": "sk-secret",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "PGPASSWORD": "secret",
    "EVALQ_DATABASE_URL": "postgresql://evalq:secret@db/evalq",
    "EVALQ_REDIS_URL": "redis://:secret@redis",
    "EVALQ_REPLICA": "another",
    "SLURM_JOB_ID": "7",
}


def test_a_child_gets_what_it_needs_and_no_credentials() -> None:
    assert child_environment(WORKER) == {
        "PATH": "/usr/bin",
        "HOME": "/home/evalq",
        "OMP_NUM_THREADS": "1",
        "HF_HOME": "/models",
        "TOKENIZERS_PARALLELISM": "false",
    }


def test_an_operator_can_allow_a_token_by_name() -> None:
    assert child_environment(WORKER, ["HF_TOKEN", "UNSET"])["HF_TOKEN"] == "hf_secret"


@pytest.mark.parametrize("name", ["EVALQ_DATABASE_URL", "EVALQ_REDIS_URL"])
def test_nobody_can_allow_the_services_own_addresses(name: str) -> None:
    assert name not in child_environment(WORKER, [name])


def test_what_the_caller_sets_wins() -> None:
    environment = child_environment(WORKER, extra={"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": "0,1"})
    assert environment["OMP_NUM_THREADS"] == "4"
    assert environment["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_folders_named_from_the_current_one_are_named_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"PYTHONPATH": "lib:/opt:", "HF_HOME": "./hf", "HOME": "~", "NLTK_DATA": "nltk"}
    kept = {"HF_DATASETS_CACHE": "s3://cache", "TORCHINDUCTOR_CACHE": "1", "LANG": "C"}
    assert child_environment(given | kept, kept) == kept | {
        "PYTHONPATH": f"{tmp_path}/lib:/opt:",
        "HF_HOME": f"{tmp_path}/hf",
        "HOME": "~",
        "NLTK_DATA": f"{tmp_path}/nltk",
    }
