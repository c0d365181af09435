"""A model whose architecture the job's backend has not: another that has it is a way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.backends.hf.architectures import ARCHITECTURES
from app.backends.vllm.architectures import ARCHITECTURES as OF_VLLM
from app.domain.plan import Plan
from app.errors import InvalidJobError
from tests.workloads.lm_eval.reading.desk import Desk
from tests.workloads.lm_eval.reading.test_groups import group

HF_ALONE = min(ARCHITECTURES - OF_VLLM)


def plan_of(root: Path, architecture: str, **args: Any) -> Plan:
    """Of a job for vllm and a model of this architecture."""
    at = Desk(root, (group("a", "hf", "vllm"),))
    config = json.loads((at.model / "config.json").read_text()) | {"architectures": [architecture]}
    (at.model / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidJobError) as refusal:
        at.submit(model="vllm", model_args={"pretrained": str(at.model), **args}, tasks=["none"])
    assert isinstance(refusal.value.plan, Plan)
    told = any("does not load" in fault.message for fault in refusal.value.faults)
    assert told == bool(refusal.value.plan.ways_out or architecture == "NobodysForCausalLM")
    return refusal.value.plan


def test_hf_is_the_way_out_where_vllm_lacks_the_architecture(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, HF_ALONE)
    assert plan.backend == "vllm", "an explicit wish is kept"
    (way,) = plan.ways_out
    assert (way.change, way.fits) == ({"model": "hf"}, True)
    assert way.note.startswith(f"hf loads models of architecture {HF_ALONE}")


@pytest.mark.parametrize(
    ("architecture", "args"),
    [
        ("LlamaForCausalLM", {}),
        ("NobodysForCausalLM", {}),
        (HF_ALONE, {"model_impl": "transformers"}),
    ],
)
def test_there_is_none_where_vllm_loads_it_or_nobody_does(
    tmp_path: Path, architecture: str, args: dict[str, Any]
) -> None:
    assert plan_of(tmp_path, architecture, **args).ways_out == ()


def test_what_nobody_said_of_is_no_reason_for_another_backend(tmp_path: Path) -> None:
    at = Desk(tmp_path, (group("a", "hf", "vllm", gib=79.2),))
    for model in ("hf", "vllm"):
        assert at.submit(model=model, model_args={"pretrained": "gpt2"}).plan.ways_out == ()
