from __future__ import annotations

from pathlib import Path

import pytest

from app.models.hub_copies import copied_facts
from tests.models.fake_hub import COMMIT, LLAMA, LLAMA_PARAMETERS
from tests.models.folders import write_json, write_weights

NAME = "me/llama"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """As huggingface_hub lays it out."""
    copy = tmp_path / "hub" / "models--me--llama"
    (copy / "refs").mkdir(parents=True)
    (copy / "refs" / "main").write_text(COMMIT)
    snapshot = copy / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    write_json(snapshot / "config.json", LLAMA)
    return copy


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_a_copy_tells_what_a_folder_tells(tmp_path: Path, copy: Path, revision: str | None) -> None:
    write_weights(copy / "snapshots" / COMMIT / "model.safetensors", a=[10, 20])
    facts = copied_facts(tmp_path, NAME, revision)
    assert facts is not None
    assert (facts.parameters, facts.num_layers, facts.path) == (200, 32, None)
    assert facts.source == "the copy of the hub's model on this host"


def test_a_configuration_alone_tells_the_shape(tmp_path: Path, copy: Path) -> None:
    facts = copied_facts(tmp_path, NAME, None)
    assert facts is not None
    assert (facts.parameters, facts.weight_bytes, facts.faults) == (LLAMA_PARAMETERS, None, ())


@pytest.mark.parametrize(
    "revision", ["v2", "a" * 40, "../snapshots/x", "/etc/passwd", "", "\0", "x" * 5000, "../../secret"]
)
def test_another_revision_is_not_there(tmp_path: Path, copy: Path, revision: str) -> None:
    (copy.parent / "secret").write_text(COMMIT)
    assert copied_facts(tmp_path, NAME, revision or "none") is None
    assert copied_facts(tmp_path, "me/other", None) is None


@pytest.mark.parametrize("reference", ["", "../..", "\u00e9", "x" * 10_000, COMMIT[:-1]])
def test_a_reference_that_leads_nowhere_is_no_copy(tmp_path: Path, copy: Path, reference: str) -> None:
    (copy / "refs" / "main").write_text(reference)
    assert copied_facts(tmp_path, NAME, None) is None


def test_a_broken_copy_is_no_copy(tmp_path: Path, copy: Path) -> None:
    (copy / "snapshots" / COMMIT / "config.json").write_text("{")
    assert copied_facts(tmp_path, NAME, None) is None


def test_a_loop_of_links_is_no_copy(tmp_path: Path, copy: Path) -> None:
    (copy / "refs" / "main").unlink()
    (copy / "refs" / "main").symlink_to("main")
    assert copied_facts(tmp_path, NAME, None) is None
