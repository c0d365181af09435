"""The one list of a job's fields: stored and opened again, closed to changes, open to what earlier versions stored."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from app.workloads.lm_eval.spec import FIELDS, LmEvalSpec, Within, about

STORED: dict[str, Any] = {
    "model": "hf",
    "model_args": {"pretrained": "gpt2", "revision": None, "deep": [{"a": [1]}]},
    "tasks": ["arc_easy", "gsm8k"],
    "num_fewshot": 5,
    "batch_size": 8,
    "max_batch_size": 64,
    "limit": 0.1,
    "samples": {"arc_easy": [0, 5]},
    "gen_kwargs": {"temperature": 0, "until": ["\n\n"]},
    "apply_chat_template": "RAG",
    "system_instruction": "be brief",
    "fewshot_as_multiturn": False,
    "log_samples": False,
    "seed": [1, None, 3, 4],
    "predict_only": True,
    "confirm_run_unsafe_code": True,
    "trust_remote_code": True,
    "metadata": {"lengths": [4096]},
    "bootstrap_iters": 10,
    "name": "a name",
    "priority": 60,
    "tags": ["nightly"],
    "deadline_seconds": 60.5,
    "group": "a",
    "replicas": 2,
    "gpus_per_replica": 4,
    "model_size": "70B",
    "scoring_mode": "fast",
    "reuse_responses": False,
    "wait_for_capacity": True,
    "env": {"NCCL_DEBUG": "INFO"},
    "callback_url": "https://example.com",
}
"""By field a value that is not its default, as it stands in a row."""

FIRST = STORED | {"apply_chat_template": "true", "samples": {"a": [5, 0]}, "gen_kwargs": {}}
"""As the first versions stored them: names of templates unread, documents in any order."""


def test_every_field_has_a_sample_here_and_words_of_its_own() -> None:
    assert tuple(STORED) == FIELDS
    assert len({about(name).says for name in FIELDS}) == len(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_comes_back_as_it_was_stored(name: str) -> None:
    default = LmEvalSpec().to_json()
    assert STORED[name] != default[name]
    stored = json.loads(json.dumps(LmEvalSpec.from_json({name: STORED[name]}).to_json()))
    assert stored == default | {name: STORED[name]}
    assert LmEvalSpec.from_json(stored).to_json() == stored


@pytest.mark.parametrize("name", FIELDS)
def test_a_row_without_a_field_has_its_default(name: str) -> None:
    older = {known: value for known, value in STORED.items() if known != name}
    assert getattr(LmEvalSpec.from_json(older), name) == getattr(LmEvalSpec(), name)


def test_what_a_newer_version_knows_is_passed_over() -> None:
    assert LmEvalSpec.from_json(STORED | {"of_tomorrow": 1}) == LmEvalSpec.from_json(STORED)


def test_rows_of_the_first_versions_are_read_as_they_are() -> None:
    spec = LmEvalSpec.from_json(FIRST)
    assert (spec.apply_chat_template, spec.samples, spec.gen_kwargs) == ("true", {"a": [5, 0]}, {})
    assert spec.to_json() == FIRST


@pytest.mark.parametrize("name", FIELDS)
def test_nobody_writes_to_a_spec(name: str) -> None:
    spec = LmEvalSpec.from_json(STORED)
    with pytest.raises(FrozenInstanceError):
        setattr(spec, name, None)
    if isinstance(value := getattr(spec, name), str | int | float):
        return
    with pytest.raises(TypeError):
        value["x" if isinstance(STORED[name], dict) else 0] = 1


def test_neither_who_gave_nor_who_got_a_value_changes_the_spec() -> None:
    given: dict[str, Any] = json.loads(json.dumps(STORED))
    spec = LmEvalSpec.from_json(given)
    given["model_args"]["deep"][0]["a"].append(2)
    spec.to_json()["model_args"]["deep"].clear()
    args = {"pretrained": "x"}
    changed = replace(spec, model_args=args)
    args["pretrained"] = "y"
    assert spec.to_json() == STORED
    assert changed.model_args == {"pretrained": "x"}


@pytest.mark.parametrize(
    ("multiturn", "template", "resolved"),
    [(None, False, None), (None, True, True), (None, "RAG", True), (False, True, False), (True, True, True)],
)
def test_turns_come_with_a_template_unless_switched_off(
    multiturn: bool | None, template: bool | str, resolved: bool | None
) -> None:
    spec = LmEvalSpec(fewshot_as_multiturn=multiturn, apply_chat_template=template)
    assert spec.multiturn is resolved


def test_answers_without_scores_are_always_kept() -> None:
    kept = [LmEvalSpec(log_samples=log, predict_only=only).keeps_samples for log, only in KEPT]
    assert kept == [True, True, True, False]


KEPT = [(True, True), (True, False), (False, True), (False, False)]


@pytest.mark.parametrize(
    ("args", "name"), [({"pretrained": "gpt2"}, "gpt2"), ({}, "hf"), ({"pretrained": None}, "hf")]
)
def test_a_model_is_called_by_its_folder_or_by_its_backend(args: dict[str, Any], name: str) -> None:
    assert LmEvalSpec(model="hf", model_args=args).model_name == name


@pytest.mark.parametrize(
    ("bound", "inside", "outside"),
    [
        (Within(0, 5), [0, 2.5, 5], [-1, 5.1]),
        (Within(0, 5, above=True), [0.1, 5], [0, 6]),
        (Within(most=5), [-(10**30), 5], [6]),
        (Within(1), [1, 10**30], [0]),
    ],
)
def test_a_bound_holds_both_ends(bound: Within, inside: list[float], outside: list[float]) -> None:
    assert [value in bound for value in inside] == [True] * len(inside)
    assert [value in bound for value in outside] == [False] * len(outside)
