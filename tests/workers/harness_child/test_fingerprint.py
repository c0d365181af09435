from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.workers.first_fingerprint import first_fingerprint
from workers.coordinator.orders import engine_rules
from workers.harness_child.fingerprint import config_file, content, fingerprint
from workers.protocol.engine import EngineRecipe, ScoringMode

RULES = replace(engine_rules("hf"), key="k")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    weights = tmp_path / "model.safetensors"
    with weights.open("wb") as file:
        file.truncate(20 << 20)
    return tmp_path


@pytest.fixture
def engine(folder: Path) -> EngineRecipe:
    return EngineRecipe("hf", str(folder), args={"dtype": "float32"})


def test_a_fingerprint_is_32_bytes_and_stable(engine: EngineRecipe) -> None:
    assert len(fingerprint(engine, RULES)) == 32
    assert fingerprint(engine, RULES) == fingerprint(engine, RULES)


@pytest.mark.parametrize(
    "change",
    [
        {"args": {"dtype": "bfloat16"}},
        {"args": {"dtype": "float32", "max_length": 9}},
        {"args": {"dtype": "float32", "anything_new": 1}},
        {"backend": "vllm"},
        {"env": {"ATTENTION": "flash"}},
        {"scoring_mode": ScoringMode.FAST},
    ],
)
def test_what_can_change_an_answer_changes_the_fingerprint(
    engine: EngineRecipe, change: dict[str, Any]
) -> None:
    assert fingerprint(replace(engine, **change), RULES) != fingerprint(engine, RULES)


@pytest.mark.parametrize(
    "change",
    [
        {"args": {"dtype": "float32", "device": "cuda:1", "parallelize": True}},
        {"args": {"dtype": "float32", "gpu_memory_utilization": 0.5}},
        {"env": {"NCCL_DEBUG": "INFO"}},
    ],
)
def test_what_cannot_change_an_answer_does_not(engine: EngineRecipe, change: dict[str, Any]) -> None:
    assert fingerprint(replace(engine, **change), RULES) == fingerprint(engine, RULES)


def test_another_environment_is_another_fingerprint(engine: EngineRecipe) -> None:
    assert fingerprint(engine, RULES) != fingerprint(engine, replace(RULES, key="other"))


@pytest.mark.parametrize("softmax_dtype", [{}, {"softmax_dtype": None}, {"softmax_dtype": "float32"}])
def test_no_answer_of_the_engine_before_is_found(engine: EngineRecipe, softmax_dtype: dict[str, Any]) -> None:
    """It took float32 for the log-softmax where nothing was said."""
    args = {"dtype": "bfloat16"} | softmax_dtype
    now = {fingerprint(replace(engine, args=args | more), RULES) for more in ({}, {"softmax_dtype": None})}
    assert first_fingerprint(engine.model, args) not in now


def test_the_dtype_of_the_softmax_changes_answers(engine: EngineRecipe) -> None:
    asked = [None, "float32", "bfloat16"]
    prints = {fingerprint(replace(engine, args={"softmax_dtype": dtype}), RULES) for dtype in asked}
    assert len(prints) == len(asked)


def test_changed_weights_are_another_model(folder: Path) -> None:
    before = content(str(folder), None)
    weights = folder / "model.safetensors"
    with weights.open("r+b") as file:
        file.write(b"x")
    os.utime(weights, ns=(1, 1))

    assert content(str(folder), None) != before


def test_a_moved_model_is_the_same_model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = content(str(folder), None)
    moved = folder.rename(tmp_path_factory.mktemp("elsewhere") / "model")

    assert content(str(moved), None) == before


def test_a_tokenizer_folder_counts_by_its_content(
    engine: EngineRecipe, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first, second = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    for folder in (first, second):
        (folder / "tokenizer.json").write_text("{}")
    prints = {
        fingerprint(replace(engine, args={"tokenizer": str(folder)}), RULES) for folder in (first, second)
    }
    assert len(prints) == 1


def test_vllm_reads_a_tokenizer_of_its_own_revision() -> None:
    rules = replace(engine_rules("vllm"), key="k")
    revisions: list[dict[str, str]] = [{}, {"tokenizer_revision": "main"}, {"tokenizer_revision": "v2"}]
    plain, main, other = (
        fingerprint(EngineRecipe("vllm", "nobody/nothing", "v2", args=args), rules) for args in revisions
    )
    assert plain == main != other


def test_a_repository_that_is_not_cached_goes_by_its_revision() -> None:
    assert content("nobody/nothing", "v1") == "nobody/nothing@v1"
    assert content("nobody/nothing", "a" * 40) == f"nobody/nothing@{'a' * 40}"


@pytest.mark.parametrize(
    ("args", "file"),
    [
        ({}, "config.json"),
        ({"gguf_file": "model.gguf"}, "model.gguf"),
        ({"subfolder": "a/b"}, "a/b/config.json"),
        ({"subfolder": "a", "gguf_file": "model.gguf"}, "a/model.gguf"),
    ],
)
def test_a_repository_goes_by_the_commit_of_what_describes_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: dict[str, Any], file: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--owner--name"
    described = repository / "snapshots" / ("c" * 40) / file
    described.parent.mkdir(parents=True)
    described.touch()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("c" * 40)
    assert (
        content("owner/name", None, config_file(EngineRecipe("hf", "owner/name", args=args)))
        == f"owner/name@{'c' * 40}"
    )
    assert content("owner/name", None, "another file") == "owner/name@main"


def test_stored_answers_go_on_serving(tmp_path: Path) -> None:
    """A fingerprint that changes by itself makes everything that was ever answered worthless."""
    (tmp_path / "config.json").write_text('{"model_type": "llama"}\n')
    args = {"dtype": "float32", "softmax_dtype": None, "parallelize": True, "max_length": 64, "batch_size": 4}
    hf = EngineRecipe("hf", str(tmp_path), args=args, env={"NCCL_DEBUG": "x", "A": "b"})
    echo = EngineRecipe("echo", str(tmp_path), args=args)
    stored = [
        (hf, "4f46045e1b141bb07c362dccc368dbadb1c2ab4f20bf7c1d51867e4843aced7f"),
        (echo, "76733075b1d4655cc6e9317b67e20c47d66ac3267e32e671288e7313471bce8c"),
    ]
    for engine, known in stored:
        rules = replace(engine_rules(engine.backend), key="k")
        assert fingerprint(engine, rules).hex() == known
