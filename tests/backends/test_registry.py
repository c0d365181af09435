from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.backends import BACKENDS, Backend, backend_key, backend_of_model, environment_path


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
    assert not [pin for pin in pins if pin.startswith(("nvidia-", "triton"))]
    assert {"lm-eval==0.4.13", "torch==2.13.0"} < set(pins)
