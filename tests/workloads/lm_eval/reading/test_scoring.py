"""What becomes of `scoring_mode`: in the engine spec, the plan and its notes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.backends.hf import scoring as hf
from app.backends.vllm.scoring import ASKED, EXACT, SPARED
from app.domain.engine_spec import EngineSpec, Scoring
from app.domain.plan import Plan
from tests.backends.test_tolerances import ONE, group
from tests.workloads.lm_eval.reading.desk import Desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """One for all: nothing is stored."""
    return Desk(tmp_path_factory.mktemp("scoring"))


@pytest.mark.parametrize(
    ("fields", "mode", "note"),
    [
        ({}, Scoring.STOCK, SPARED),
        ({"scoring_mode": "fast"}, Scoring.FAST, ASKED),
        ({"model": "vllm-cpu", "scoring_mode": "stock"}, Scoring.STOCK, None),
        ({"model": "vllm-cpu"}, Scoring.FAST, EXACT),
        ({"command": "lm_eval run --model vllm", "scoring_mode": "fast"}, Scoring.FAST, ASKED),
        ({"model": "hf", "scoring_mode": "fast"}, Scoring.FAST, hf.ASKED),
        ({"model": "hf"}, Scoring.STOCK, None),
    ],
)
def test_what_is_asked_for_is_in_the_engine_spec(
    desk: Desk, fields: dict[str, Any], mode: Scoring, note: str | None
) -> None:
    args = {"pretrained": str(desk.model), "dtype": "float32"}
    submission = desk.submit(**{"model": "vllm", "model_args": args} | fields)
    assert (submission.engine.scoring_mode, submission.plan.scoring_mode) == (mode, mode)
    assert [line for line in submission.plan.explanation if "scored" in line] == ([note] if note else [])
    assert submission.spec.scoring_mode == fields.get("scoring_mode", "auto"), "it is chosen anew elsewhere"


@pytest.mark.parametrize(("named", "mode"), [("one", Scoring.FAST), (None, Scoring.STOCK)])
def test_auto_goes_by_what_was_measured_where_the_job_may_run(
    tmp_path: Path, named: str | None, mode: Scoring
) -> None:
    desk = Desk(tmp_path, [ONE, group("two", ["NVIDIA L4"])])
    args = {"pretrained": str(desk.model), "dtype": "bfloat16"}
    submission = desk.submit(model="vllm", model_args=args, group=named)
    assert submission.engine.scoring_mode is mode
    told = [line for line in submission.plan.explanation if "scored" in line]
    assert [("measured on NVIDIA H100" in line, "NVIDIA L4" in line) for line in told] == [
        (named is not None, named is None)
    ]


def test_fast_is_refused_where_there_is_one_way(desk: Desk) -> None:
    asked = {"model": "sglang", "model_args": {"pretrained": str(desk.model)}}
    assert "scoring_mode" in desk.faults(**asked, scoring_mode="fast")
    assert "scoring_mode" not in desk.faults(**asked, scoring_mode="stock")


def test_stock_engines_are_those_of_versions_that_knew_no_other() -> None:
    stock, fast = EngineSpec("vllm", "m"), EngineSpec("vllm", "m", scoring_mode=Scoring.FAST)
    assert "scoring_mode" not in stock.to_json()
    assert EngineSpec.from_json(stock.to_json()) == stock
    assert EngineSpec.from_json(fast.to_json()) == fast
    assert type(EngineSpec.from_json(fast.to_json()).scoring_mode) is Scoring
    assert stock.key != fast.key
    assert stock.key == "a7ff90b31fdb830e1106dd1dab1c3b43"


def test_a_plan_of_a_version_that_knew_no_other_says_none(desk: Desk) -> None:
    plan = desk.submit().plan
    told = plan.to_json()
    assert Plan.from_json(told) == plan
    assert type(Plan.from_json(told).scoring_mode) is Scoring
    del told["scoring_mode"]
    assert Plan.from_json(told).scoring_mode is None
