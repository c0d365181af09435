"""What a plan tells of a job that is taken: the command that measures the same, and what is worth knowing."""

from __future__ import annotations

from typing import Any

import pytest

from app.backends.measured_engines import name_of_engine
from app.domain.engine_spec import EngineSpec
from app.domain.measures import GIB, LoadMeasure, Measured, Placed
from app.domain.plan import Plan, PlannedMeasures
from app.settings import Settings
from app.workloads.lm_eval.reading.read import read
from tests.workloads.lm_eval.reading.desk import Desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """One for all: nothing is stored."""
    return Desk(tmp_path_factory.mktemp("desk"))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"device": "cuda:3"}, ""),
        ({"device_map_option": "balanced", "parallelize": True}, ",parallelize=True,device_map=balanced"),
        ({"device_map_option": "auto", "device_map": "balanced"}, ",device_map=balanced"),
    ],
)
def test_spec_and_command_have_the_arguments_that_the_engine_is_given(
    desk: Desk, given: dict[str, Any], shown: str
) -> None:
    taken = desk.submit(model_args={"pretrained": str(desk.model)} | given)
    assert f"--model_args pretrained={desk.model}{shown} " in taken.plan.command
    engine = {name: value for name, value in taken.engine.args.items() if name != "softmax_dtype"}
    assert taken.spec.model_args == {"pretrained": str(desk.model), **engine}


def test_code_of_a_model_is_allowed_in_the_command_too(desk: Desk) -> None:
    taken = desk.submit({"allow_unsafe_code": True}, trust_remote_code=True)
    assert ",trust_remote_code=True " in taken.plan.command


def test_a_model_argument_given_twice_is_said(desk: Desk) -> None:
    taken = desk.submit(model_args=f"pretrained={desk.model},dtype=auto,dtype=float32")
    assert taken.spec.model_args["dtype"] == "float32"
    assert any("given more than once" in note for note in taken.notes)


@pytest.mark.parametrize(
    ("args", "noted"),
    [
        ({"dtype": "bfloat16"}, "in bfloat16"),
        ({"dtype": "torch.float16", "softmax_dtype": None}, "in float16"),
        ({"dtype": "auto"}, "in the model's own dtype"),
        ({}, "in the model's own dtype"),
        ({"dtype": "float32"}, None),
        ({"dtype": "bfloat16", "softmax_dtype": "float32"}, None),
    ],
)
def test_a_narrow_softmax_is_lm_evals_and_noted(desk: Desk, args: dict[str, Any], noted: str | None) -> None:
    taken = desk.submit(model_args={"pretrained": str(desk.model)} | args)
    notes = [note for note in taken.notes if "softmax_dtype=float32" in note]
    assert len(notes) == (noted is not None)
    assert all(str(noted) in note for note in notes)
    assert set(notes) <= set(taken.plan.explanation)
    assert taken.engine.args["softmax_dtype"] == args.get("softmax_dtype")
    assert taken.spec.model_args.keys() == {"pretrained", *args}


@pytest.mark.parametrize(
    ("dtype", "batch_size", "noted"),
    [
        ("bfloat16", "auto", True),
        ("float16", "auto:4", True),
        ("bfloat16", 8, False),
        ("float32", "auto", False),
    ],
)
def test_batches_that_show_in_the_numbers_are_noted(
    desk: Desk, dtype: str, batch_size: int | str, noted: bool
) -> None:
    args = {"pretrained": str(desk.model), "dtype": dtype, "softmax_dtype": "float32"}
    notes = desk.submit(model_args=args, batch_size=batch_size).notes
    assert any(f"numbers in {dtype} depend on what is batched" in note for note in notes) is noted


@pytest.mark.parametrize(
    ("settings", "noted"),
    [
        ({"do_sample": True}, True),
        ({"temperature": 0.7}, True),
        ({"temperature": 0.7, "do_sample": False}, False),
        ({"temperature": 0}, False),
        (None, False),
    ],
)
def test_samples_that_the_command_would_not_draw_are_noted(
    desk: Desk, settings: dict[str, Any] | None, noted: bool
) -> None:
    notes = desk.submit(gen_kwargs=settings).notes
    assert any("drawn otherwise than the command's" in note for note in notes) is noted


def test_a_plan_says_what_such_an_engine_measured_and_how_long_it_loads() -> None:
    asked: list[str] = []
    measured = Measured(Placed(""), 3, LoadMeasure(weights_bytes=2 * GIB, seconds=39.6), 8.25, 1000)

    def recall(name: str) -> list[Measured]:
        asked.append(name)
        return [measured]

    body = {"model": "hf", "model_args": {"pretrained": "some/unknown"}, "tasks": ["arc_easy"]}
    plan = read(body, (), Settings(), recall=recall).plan
    assert asked == [name_of_engine(EngineSpec("hf", "some/unknown"))]
    assert "loads in about 40 s (measured)" in plan.explanation
    assert plan.measured == PlannedMeasures("", 3, 39.6, 2.0, None, None, 8.25, 1000)
    assert plan.memory
    assert plan.memory.weights_gib == 2.0
    assert Plan.from_json(plan.to_json()) == plan
    assert Plan.from_json({**plan.to_json(), "measured": None}).measured is None


def test_what_is_very_long_stands_in_the_spec_alone(desk: Desk) -> None:
    taken = desk.submit(system_instruction="x" * 30_000)
    assert taken.plan.command == ""
    assert any("the equal command has 30" in note for note in taken.plan.explanation)
