"""The chat template that a result names is the one that its prompts were written with."""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from app.backends.known_arguments import CHAT_METHOD
from workers.protocol.harness import Prepared

from . import reference
from .conftest import MAX_LENGTH
from .coordinator import Ordered, Run
from .reference import ReferenceLM

Orders = Callable[..., Ordered]

MARKED = "{{% for m in messages %}}{mark}{{{{ m.content }}}};{{% endfor %}}"
TEMPLATES = {"default": MARKED.format(mark="D "), "RAG": MARKED.format(mark="B "), "plain": "{{ messages }}"}


Templates = dict[str, str] | str | None
Variant = Callable[[Templates], Path]


@pytest.fixture
def variant(model: Path, tmp_path: Path) -> Variant:
    """Makes the model with other chat templates."""

    def make(templates: Templates) -> Path:
        folder = Path(shutil.copytree(model, tmp_path / "variant"))
        (folder / "chat_template.jinja").unlink()
        config = json.loads((folder / "tokenizer_config.json").read_text())
        named = isinstance(templates, dict) and [{"name": n, "template": t} for n, t in templates.items()]
        (folder / "tokenizer_config.json").write_text(
            json.dumps(config | {"chat_template": named or templates})
        )
        return folder

    return make


@pytest.fixture
def several(variant: Variant) -> Path:
    return variant(TEMPLATES)


def prompts(run: Run, task: str) -> list[str]:
    return [json.loads(row)["arguments"]["gen_args_0"]["arg_0"] for row in run.rows(task)]


def serve(order: Orders, model: Path, asked: bool | str, **more: Any) -> Run:
    job = order("generated", "sums", apply_chat_template=asked, limit=3, **more)
    job.model = model
    return Run().serve(job)


@pytest.mark.parametrize("name", ["RAG", "plain", "default"])
def test_a_template_asked_for_by_name_writes_the_prompts(order: Orders, several: Path, name: str) -> None:
    run = serve(order, several, name)
    begins = {"RAG": "B Question: ", "plain": "[{'role': 'user'", "default": "D Question: "}

    assert all(prompt.startswith(begins[name]) for prompt in prompts(run, "generated") + prompts(run, "sums"))
    assert run.document["chat_template"] == TEMPLATES[name]
    digest = hashlib.sha256(TEMPLATES[name].encode()).hexdigest()
    assert run.one(Prepared).provenance["chat_template_sha256"] == digest
    told = [warning for warning in run.document.get("warnings", ()) if f"called '{name}' wrote" in warning]
    assert bool(told) == (name != "default"), "lm_eval would have written them with the default one"


def test_the_default_of_several_templates_gives_lm_evals_results(
    order: Orders, several: Path, tmp_path: Path
) -> None:
    job = order("generated", "sums", apply_chat_template=True, limit=3)
    job.model = several
    run = Run().serve(job)
    expected, lines = reference.run(job, tmp_path / "reference", ReferenceLM(several, MAX_LENGTH))

    assert reference.comparable(run.document) == reference.comparable(expected)
    assert {task: run.rows(task) for task in lines} == lines


def test_a_name_for_the_only_template_is_said_to_be_none(order: Orders, model: Path) -> None:
    named, plain = serve(order, model, "RAG"), serve(order, model, True)

    assert prompts(named, "generated") == prompts(plain, "generated")
    assert named.document["chat_template"] == plain.document["chat_template"]
    (warning,) = named.document["warnings"]
    assert "none is called 'RAG'" in warning
    assert "warnings" not in plain.document


@pytest.mark.parametrize(
    ("templates", "asked", "says"),
    [
        (TEMPLATES, "rag", "'rag' is not available"),
        ({"RAG": TEMPLATES["RAG"]}, True, "no default specified"),
        (None, True, "has no chat template to apply"),
        (None, "RAG", "has no chat template to apply"),
        ("", True, "has no chat template to apply"),
    ],
)
def test_a_template_that_is_not_there_ends_the_job_before_anything_is_asked(
    order: Orders, variant: Variant, templates: Templates, asked: bool | str, says: str
) -> None:
    run = serve(order, variant(templates), asked)

    error = run.fault_of_the_job
    assert error.code == "tokenizer_error"
    assert says in error.message
    assert run.of(Prepared) == []


def test_no_parameter_of_the_method_itself_is_left_to_a_job() -> None:
    for method in (PreTrainedTokenizerBase.apply_chat_template, render_jinja_template):
        assert inspect.signature(method).parameters.keys() - {"kwargs"} <= CHAT_METHOD


def test_a_template_that_asks_for_more_memory_than_there_is_fails_its_tasks(
    order: Orders, variant: Variant
) -> None:
    run = serve(order, variant("{{ 'x' * 10 ** 15 }}"), True)

    assert run.fault_of_the_job.code == "host_out_of_memory"
