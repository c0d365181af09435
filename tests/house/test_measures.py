"""Each measure finds what it is for, and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house import measures
from tests.house.source import File, body_lines, nesting


def module(text: str, path: str = "workers/module.py") -> list[File]:
    return [File(Path(path), text)]


@pytest.mark.parametrize(
    "text", ['frame["kind"]', 'order.get("kind")', 'self.frame["kind"]', 'message["a"]["b"]']
)
def test_a_field_of_a_frame_is_found(text: str) -> None:
    assert measures.frame_lookups(module(text)) == ["workers/module.py:1"]


@pytest.mark.parametrize(
    "text", ["frame.kind", "frame[0]", "frame[kind]", 'row["frame"]', 'frame.pop("kind")']
)
def test_what_looks_up_no_field_is_not(text: str) -> None:
    assert measures.frame_lookups(module(text)) == []


def test_a_spec_is_found_wherever_it_is_held() -> None:
    text = 'a = job.spec["model"]\nb = spec.get("limit")\nc = self._spec["tasks"]\nd = specs["x"]\n'
    assert measures.spec_lookups(module(text, "app/x/y.py")) == [f"app/x/y.py:{line}" for line in (1, 2, 3)]


def test_a_message_is_a_dictionary_with_a_type() -> None:
    text = 'send({"type": "chunk"})\nsend({"kind": "chunk"})\nsend(Chunk(type="chunk"))\n'
    assert measures.untyped_messages(module(text)) == ["workers/module.py:1"]
    assert measures.untyped_messages(module(text, "workers/protocol/messages.py")) == []
    assert measures.untyped_messages(module(text, "app/api/events.py")) == []


@pytest.mark.parametrize(
    "text",
    [
        'engine.backend == "hf"',
        '"echo" != name',
        'model in ("hf", "other")',
        "model in HF_MODELS",
        "name not in registry.ENGINES",
        'NUMBERS = {"hf": 2}',
        'match name:\n    case "echo":\n        pass',
    ],
)
def test_a_decision_by_a_backends_name_is_found_outside_its_room(text: str) -> None:
    assert len(measures.backend_comparisons(module(text))) == 1
    assert measures.backend_comparisons(module(text, "app/backends/hf.py")) == []


@pytest.mark.parametrize(
    "text", ['install("hf")', 'family == "causal"', "backend in group.backends", 'JOB = {"model": "hf"}']
)
def test_a_backend_may_be_named_where_nothing_hangs_on_it(text: str) -> None:
    assert measures.backend_comparisons(module(text)) == []


def test_classes_of_one_name_are_found_in_several_modules() -> None:
    first = module("class Job: ...\nclass _Own: ...\nclass Chunk: ...\n", "app/a.py")
    second = module("class Job: ...\nclass _Own: ...\ndef f():\n    class Chunk: ...\n", "app/b.py")
    assert measures.double_names(first + second) == {"Job": ["app/a.py", "app/b.py"]}


def function(text: str) -> ast.FunctionDef:
    found = ast.parse(text).body[0]
    assert isinstance(found, ast.FunctionDef)
    return found


def test_a_body_begins_behind_its_docstring() -> None:
    documented = function(
        'def f(\n    a,\n):\n    """Long.\n\n    Words.\n    """\n    b = a\n\n    return b\n'
    )
    assert body_lines(documented) == 3
    assert body_lines(function('def f():\n    """Only words."""\n')) == 0


def test_branches_of_one_choice_stand_side_by_side() -> None:
    chain = "def f(a):\n    if a:\n        x()\n    elif b:\n        x()\n    elif c:\n        x()\n"
    assert nesting(function(chain)) == 1
    assert nesting(function(f"{chain}    else:\n        for _ in a:\n            x()\n")) == 2
