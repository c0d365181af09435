"""Models in GGUF files: configuration and tokenizer come from the file, through the hf backend's own reader."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from app.settings import Settings
from tests.tiny_models import hf_python, tiny_gguf, tiny_llama
from workers.harness_child.errors import JobFailedError
from workers.harness_child.lm_eval.broker_lm import BrokerLM
from workers.protocol.engine import EngineRecipe

from .coordinator import Ordered, Run

TEXTS = [
    "Anna has 3 apples",
    "  two  spaces\n\n<|end|> é",
    "<|begin|>Question: What is 2 + 3?\nAnswer: 5",
    "",
    "日本",
]


@pytest.fixture(scope="module")
def python() -> str:
    return str(hf_python(Settings().cache_dir))


@pytest.fixture(scope="module")
def gguf() -> Path:
    return tiny_gguf(Settings().cache_dir)


def read(model: Path, python: str | None, **args: Any) -> BrokerLM:
    return BrokerLM(EngineRecipe("hf", str(model), args=args), lambda instance, repeat: None, python)


def refused(model: Path, python: str | None, **args: Any) -> JobFailedError:
    with pytest.raises(JobFailedError) as error:
        read(model, python, **args)
    return error.value


def test_the_file_brings_configuration_tokenizer_and_template(gguf: Path, python: str) -> None:
    folder = gguf.parent
    lm = read(folder.parent, python, gguf_file=gguf.name, subfolder=folder.name)
    plain = AutoTokenizer.from_pretrained(tiny_llama(Settings().cache_dir))
    assert [lm.tokenizer.encode(text) for text in TEXTS] == [plain.encode(text) for text in TEXTS]
    assert (lm.tokenizer.bos_token, lm.tokenizer.eos_token) == (plain.bos_token, plain.eos_token)
    assert lm.choose_template(True) == plain.chat_template
    assert (lm.max_length, lm.backend, lm.tokenizer.name_or_path) == (512, "causal", str(folder.parent))


def test_without_the_backend_there_is_no_reader(gguf: Path) -> None:
    error = refused(gguf.parent, None, gguf_file=gguf.name)
    assert error.code == "tokenizer_error"
    assert "evalq backends install hf" in str(error)


def test_a_reader_that_dies_again_and_again_is_told_with_its_status(gguf: Path) -> None:
    error = refused(gguf.parent, "/bin/false", gguf_file=gguf.name)
    assert error.code == "internal"
    assert "ended 3 times with status 1" in str(error)


def test_a_reader_that_dies_once_is_started_again_and_leaves_a_tokenizer_of_the_job_alone(
    gguf: Path, python: str, tmp_path: Path, model: Path
) -> None:
    dies_once = tmp_path / "python"
    dies_once.write_text(f'#!/bin/sh\nmkdir {tmp_path}/died 2>/dev/null && kill -9 $$\nexec {python} "$@"\n')
    dies_once.chmod(0o755)
    lm = read(gguf.parent, str(dies_once), gguf_file=gguf.name, tokenizer=str(model))
    assert lm.tokenizer.get_vocab() == AutoTokenizer.from_pretrained(model).get_vocab()
    assert (lm.max_length, lm.tokenizer.name_or_path) == (512, str(model))


def test_what_a_killed_harness_left_is_removed(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with subprocess.Popen(["/bin/true"]) as ended:
        pass
    space = Path("/proc/self/ns/pid").stat().st_ino
    for owner in (ended.pid, os.getpid()):
        (tmp_path / f"evalq-gguf-{space}-{owner}-x").mkdir()
    refused(gguf.parent, "/bin/false", gguf_file=gguf.name)
    assert [path.name for path in tmp_path.iterdir()] == [f"evalq-gguf-{space}-{os.getpid()}-x"]


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (None, "model_not_found", "does not appear to have a file named model.gguf"),
        (b"GGUF", "tokenizer_error", "model.gguf cannot be read: "),
    ],
)
def test_a_file_that_transformers_does_not_read_ends_the_job(
    order: Callable[..., Ordered], python: str, content: bytes | None, code: str, says: str
) -> None:
    job = order("sums", engine_args={"gguf_file": "model.gguf"})
    job.gguf_python = python
    job.model = job.folder
    if content is not None:
        (job.folder / "model.gguf").write_bytes(content)
    error = Run().serve(job).fault_of_the_job
    assert error.code == code
    assert says in error.message
