"""Models in GGUF files and in subfolders: names below the model, and what their headers say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.model import make_model
from tests.models.gguf_bytes import LLAMA, TENSORS, gguf_bytes
from tests.workloads.lm_eval.reading.desk import Desk

ELSEWHERE: list[Any] = [
    *("/etc/passwd", "../x", "a/../../x", "..", "a/..", "..\\x", "\\\\host\\x", "a\\b", "~/x", "~nobody"),
    *("a\nb", 5, ["a"], True),
]


@pytest.mark.parametrize("name", ["gguf_file", "subfolder"])
def test_a_name_below_the_model_leads_nowhere_else(desk: Desk, name: str) -> None:
    for value in ELSEWHERE:
        for settings in ({}, {"any_model_path": True}):
            found = desk.faults(settings, model_args={"pretrained": str(desk.model), name: value})
            assert found.keys() == {f"model_args.{name}"}, value
            assert "in the model's own folder" in found[f"model_args.{name}"]


@pytest.mark.parametrize("name", ["gguf_file", "subfolder"])
def test_a_link_below_the_model_is_held_to_the_operators_folders(desk: Desk, name: str) -> None:
    make_model(desk.outside / "theirs")
    (desk.outside / "theirs.gguf").write_bytes(gguf_bytes(LLAMA, TENSORS))
    (desk.models / "theirs.gguf").write_bytes(gguf_bytes(LLAMA, TENSORS))
    link = desk.model / "link"
    link.symlink_to(desk.outside / ("theirs" if name == "subfolder" else "theirs.gguf"))
    assert "outside the operator's model folders" in desk.with_args(**{name: "link"})[f"model_args.{name}"]
    if name == "gguf_file":  # as snapshots of the hub's cache have them
        link.unlink()
        link.symlink_to(desk.models / "theirs.gguf")
        assert desk.with_args(gguf_file="link") == {}


def test_a_gguf_file_is_read_for_what_it_needs(desk: Desk) -> None:
    (desk.models / "q" / "eight").mkdir(parents=True)
    (desk.models / "q" / "eight" / "model.gguf").write_bytes(gguf_bytes(LLAMA, TENSORS))
    args = {"pretrained": str(desk.models / "q"), "subfolder": "eight", "gguf_file": "model.gguf"}
    taken = desk.submit(model_args=args)
    assert {name: taken.engine.args[name] for name in ("subfolder", "gguf_file")} == {
        "subfolder": "eight",
        "gguf_file": "model.gguf",
    }
    assert taken.spec.model_args == args
    assert taken.plan.explanation[0].startswith("weights: 704 parameters x 4 bytes (float32)")
    assert not any("softmax_dtype" in note for note in taken.notes), "float32 is exact"
    assert ",gguf_file=eight/model.gguf " in taken.plan.command, "lm-eval finds no tokenizer in a subfolder"
    assert "load_in_4bit" in str(desk.faults(model_args=args | {"load_in_4bit": True}))
    half = desk.submit(model_args=args | {"dtype": "float16"})
    assert half.plan.explanation[0].startswith("weights: 704 parameters x 2 bytes (float16)")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "there is no file model.gguf"),
        (b"GGUF", "was cut off"),
        (
            gguf_bytes(LLAMA | {"general.architecture": "grok"}, TENSORS),
            "no GGUF file of architecture 'grok'",
        ),
    ],
)
def test_a_gguf_file_that_cannot_be_loaded_is_refused_at_once(
    desk: Desk, content: bytes | None, says: str
) -> None:
    if content is not None:
        (desk.model / "model.gguf").write_bytes(content)
    assert says in desk.with_args(gguf_file="model.gguf")["model_args.gguf_file"]


def test_a_gguf_file_is_named_beside_its_folder(desk: Desk) -> None:
    (desk.models / "model.gguf").write_bytes(gguf_bytes(LLAMA, TENSORS))
    found = desk.faults(model_args={"pretrained": str(desk.models / "model.gguf")})
    assert "name its folder, and the file in it as gguf_file" in found["model_args.pretrained"]


def test_a_subfolder_is_where_the_model_is_looked_for(desk: Desk) -> None:
    assert desk.faults(model_args={"pretrained": str(desk.models), "subfolder": "tiny"}) == {}
    assert "does not exist" in desk.with_args(subfolder="none/such/there")["model_args.pretrained"]
    taken = desk.submit(model_args={"pretrained": "owner/name", "subfolder": "a/b/c"})
    assert taken.engine.args["subfolder"] == "a/b/c"
