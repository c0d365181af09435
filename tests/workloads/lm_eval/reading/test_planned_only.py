"""Jobs for engines that evalq has not: planned like any other, and told so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.domain.plan import Plan
from app.errors import InvalidJobError
from app.workloads.lm_eval.reading.read import read
from tests.workloads.lm_eval.reading.desk import Desk
from tests.workloads.lm_eval.reading.test_groups import LLAMA_70B, group

H100 = group("a", "hf", "vllm", devices=8, gib=79.2)


def refused(taken: Desk, **fields: Any) -> tuple[dict[str, str], Plan]:
    """Its faults and its plan, as every job for such an engine has both."""
    with pytest.raises(InvalidJobError) as refusal:
        taken.submit(**fields)
    assert isinstance(refusal.value.plan, Plan)
    return {fault.path: fault.message for fault in refusal.value.faults}, refusal.value.plan


@pytest.mark.parametrize("model", ["sglang", "nemo_lm", "megatron_lm"])
def test_that_no_worker_can_have_it_is_said_with_or_without_workers(tmp_path: Path, model: str) -> None:
    (tmp_path / "without").mkdir()
    for taken in (Desk(tmp_path, (H100,)), Desk(tmp_path / "without")):
        faults, plan = refused(taken, model=model)
        assert f"evalq has no engine for {model} yet" in faults["model"]
        assert plan.backend == model


@pytest.mark.parametrize(
    ("model", "args", "widths", "replicas"),
    [
        ("sglang", LLAMA_70B | {"tp_size": 4, "dp_size": 2}, (4, 1, 4), 2),
        ("sglang", LLAMA_70B | {"tp_size": 2, "pp_size": 2}, (2, 2, 4), None),
        ("sglang", LLAMA_70B, (2, 1, 2), None),
        ("nemo_lm", {"path": "/m.nemo", "devices": 8}, (1, 1, 1), 8),
        (
            "nemo_lm",
            {
                "path": "/m.nemo",
                "devices": 4,
                "tensor_model_parallel_size": 2,
                "pipeline_model_parallel_size": 2,
            },
            (2, 2, 4),
            1,
        ),
        ("megatron_lm", {"load": "/m", "devices": 2, "tensor_model_parallel_size": 2}, (2, 1, 2), 1),
    ],
)
def test_its_own_words_are_read(
    tmp_path: Path, model: str, args: dict[str, Any], widths: tuple[int, int, int], replicas: int | None
) -> None:
    _, plan = refused(Desk(tmp_path, (H100,)), model=model, model_args=args)
    assert (plan.tensor_parallel_size, plan.pipeline_parallel_size, plan.gpus_per_replica) == widths
    assert plan.replicas == replicas


def test_weights_and_cache_of_sglang_share_what_is_static(tmp_path: Path) -> None:
    taken = Desk(tmp_path, (H100,))

    def planned(**args: Any) -> tuple[dict[str, str], Plan]:
        args = LLAMA_70B | {"tp_size": 2, "context_length": 4096} | args
        return refused(taken, model="sglang", model_args=args)

    usual = planned()[1]
    assert usual.fit == "fits"
    assert usual.memory is not None
    assert usual.memory.card_gib == pytest.approx(64.9 / 0.85, rel=0.01)
    faults, plan = planned(mem_fraction_static=0.7)
    assert plan.fit == "no"
    assert "model_args.tp_size=4" in faults["model_args.pretrained"]
    assert planned(mem_fraction_static=1)[1].fit == "no", "nothing is left for all else"


def test_a_size_that_is_said_plans_a_file_that_nothing_is_known_of(tmp_path: Path) -> None:
    taken = Desk(tmp_path, (H100,))
    faults, plan = refused(
        taken, model="nemo_lm", model_args={"path": "/path/to/70b_model.nemo"}, model_size="70B"
    )
    assert (plan.gpus_per_replica, plan.fit) == (4, "fits")
    assert plan.memory is not None
    assert plan.memory.rule_gb == 42.0
    assert set(faults) == {"model", "model_args.path"}


def test_megatron_has_no_stages(tmp_path: Path) -> None:
    stages = {"load": "/m", "pipeline_model_parallel_size": 2}
    faults, _ = refused(Desk(tmp_path, (H100,)), model="megatron_lm", model_args=stages)
    assert faults["model_args.pipeline_model_parallel_size"] == "megatron_lm has no pipeline parallelism"


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("vllm-vlm", "evalq asks in text alone: use vllm"),
        ("local-completions", "asks a server over HTTP, and evalq loads models itself: use vllm or hf"),
        ("dummy", "answers at random, without a model"),
        ("vlllm", "there is no backend 'vlllm'"),
    ],
)
def test_what_evalq_does_not_plan_is_refused_in_words(tmp_path: Path, model: str, says: str) -> None:
    assert Desk(tmp_path, (H100,)).faults(model=model)["model"].endswith(says)


def test_it_is_lacking_and_waits_only_where_the_job_says_so(tmp_path: Path) -> None:
    """Not for a worker that may register yet, since none can have it."""
    taken = Desk(tmp_path, (H100,))
    wish: dict[str, Any] = {"model": "sglang", "model_args": LLAMA_70B, "tasks": ["ours"]}
    with pytest.raises(InvalidJobError) as refusal:
        read(wish, (), taken.settings, settled=False)
    assert refusal.value.lacking
    waiting = read(wish | {"wait_for_capacity": True}, taken.groups, taken.settings)
    assert waiting.waits_for == "backend sglang (evalq has no engine for sglang yet)"
