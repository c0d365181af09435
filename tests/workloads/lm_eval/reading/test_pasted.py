"""Pasted commands in a posted body: what stands beside them, and that their faults come with all others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workloads.lm_eval.reading.desk import Desk

COMMAND = "lm_eval run --model hf --model_args pretrained=$MODEL --tasks <task> --limit 5"
NOTHING = {"model": None, "model_args": None, "tasks": None}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """One for all: nothing is stored."""
    return Desk(tmp_path_factory.mktemp("desk"))


def test_variables_fill_in_what_the_command_leaves_open(desk: Desk) -> None:
    values = {"MODEL": str(desk.model), "task": "ours"}
    taken = desk.submit(**NOTHING, command=COMMAND, variables=values)
    assert taken.spec.model_args["pretrained"] == str(desk.model)
    assert taken.spec.tasks == ("ours",)


def test_files_that_the_command_names_are_read_from_the_body(desk: Desk) -> None:
    settings = {"model": "hf", "model_args": {"pretrained": str(desk.model)}, "tasks": "ours", "limit": 5}
    command = "accelerate launch --config_file a.yaml -m lm_eval run --config b.yaml --limit 3"
    files = {"b.yaml": settings, "a.yaml": {"num_processes": 2}}
    taken = desk.submit(**NOTHING, command=command, files=files)
    assert (taken.spec.limit, taken.spec.replicas) == (3, 2)


def test_what_is_for_a_command_needs_one(desk: Desk) -> None:
    says = "is for a pasted command, and there is none"
    assert desk.faults(variables={"A": "b"}, files={"c": {}}) == {"variables": says, "files": says}
    assert desk.faults(variables={}) == {}


def test_the_faults_of_a_command_come_with_all_others_and_only_once(desk: Desk) -> None:
    assert desk.faults(**NOTHING, command=f"{COMMAND} --num_fewshot -1").keys() == {"command", "num_fewshot"}
    command = COMMAND.replace("$MODEL", "<model>").replace("<task>", "nowhere")
    assert desk.faults(**NOTHING, command=f"{command} --limit x").keys() == {"command", "limit", "tasks.0"}


def test_a_variable_has_a_bound(desk: Desk) -> None:
    values = {"MODEL": "x" * 20_000, "task": "ours"}
    assert desk.faults(**NOTHING, command=COMMAND, variables=values) == {
        "variables.MODEL": "has at most 16384 characters"
    }


def test_a_file_leads_nowhere_that_a_body_does_not(desk: Desk, tmp_path: Path) -> None:
    settings = {"model": "hf", "model_args": {"pretrained": str(tmp_path)}, "tasks": "ours"}
    faults = desk.faults(**NOTHING, command="lm_eval run -C x", files={"x": settings | {"include_path": "/"}})
    assert faults.keys() == {"model_args.pretrained"}
