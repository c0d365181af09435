"""Plans over HTTP for machines that NVML's stand-in shows: large ones, two kinds, slices, and one with a dying card."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from app.domain.job import Phase
from tests.clusters.conftest import JOB, Cluster
from tests.gpus.machine import gpu, mig
from tests.world import FINGERPRINT, chunk


def on_vllm(name: str, **args: Any) -> dict[str, Any]:
    return {"model": "vllm", "model_args": {"pretrained": name, "max_model_len": 4096, **args}}


def on_hf(name: str, **args: Any) -> dict[str, Any]:
    return {"model": "hf", "model_args": {"pretrained": name, **args}, "batch_size": 1}


LLAMA_7B, LLAMA_13B, LLAMA_70B = (f"meta-llama/Llama-2-{size}-hf" for size in ("7b", "13b", "70b"))
MIXTRAL = "mistralai/Mixtral-8x7B-v0.1"


def told(answer: dict[str, Any]) -> tuple[int, int, int, str | None]:
    """Tensor, pipeline, GPUs of a replica, and how well it fits."""
    plan = answer["plan"]
    widths = (plan["tensor_parallel_size"], plan["pipeline_parallel_size"], plan["gpus_per_replica"])
    return (*widths, plan["fit"])


@pytest.mark.parametrize(
    ("fields", "plan", "rule_gb"),
    [
        (on_vllm(LLAMA_7B), (1, 1, 1, "fits"), 16.17),
        (on_vllm(LLAMA_70B), (2, 1, 2, "fits"), 82.77),
        (on_vllm(LLAMA_70B, tensor_parallel_size=8), (8, 1, 8, "fits"), 20.69),
        (on_vllm(LLAMA_70B, tensor_parallel_size=4, pipeline_parallel_size=2), (4, 2, 8, "fits"), 20.69),
        (on_vllm(MIXTRAL), (2, 1, 2, "fits"), 56.04),
        (on_hf(LLAMA_13B), (1, 1, 1, "fits"), 31.24),
        (on_hf(LLAMA_70B, parallelize=True), (1, 1, 2, "fits"), 82.77),
    ],
)
def test_a_host_of_eight_large_gpus(
    cluster: Cluster, fields: dict[str, Any], plan: tuple[Any, ...], rule_gb: float
) -> None:
    cluster.joins("h100", "vllm", "hf", gpus=8)
    answer = cluster.plan(**fields)
    assert (answer["valid"], told(answer), answer["errors"]) == (True, plan, [])
    assert answer["plan"]["memory"]["rule_gb"] == rule_gb


def two_kinds(cluster: Cluster) -> None:
    cluster.joins("l4", "vllm", "hf", gpus=4, gib=24)
    cluster.joins("a100", "vllm", "hf", gpus=4, gib=40)


@pytest.mark.parametrize(
    ("fields", "plan"),
    [
        (on_vllm(LLAMA_7B), (1, 1, 1, "fits")),
        (on_vllm(LLAMA_13B), (1, 1, 1, "fits")),
        (on_vllm(LLAMA_13B) | {"group": "l4"}, (2, 1, 2, "fits")),
        (on_vllm(LLAMA_70B), (4, 1, 4, "tight")),
        (on_vllm(LLAMA_70B) | {"group": "l4"}, (4, 1, 4, "no")),
        (on_vllm(LLAMA_70B, tensor_parallel_size=8), (8, 1, 8, None)),
    ],
)
def test_two_kinds_of_gpus(cluster: Cluster, fields: dict[str, Any], plan: tuple[Any, ...]) -> None:
    two_kinds(cluster)
    answer = cluster.plan(**fields)
    assert told(answer) == plan
    assert answer["valid"] == (plan[3] in {"fits", "tight"})
    assert all(fault["lacking"] for fault in answer["errors"])


def test_what_fits_another_group_only_says_which(cluster: Cluster) -> None:
    two_kinds(cluster)
    answer = cluster.plan(**on_vllm(LLAMA_13B, tensor_parallel_size=1), group="l4")
    assert {"group": "a100"} in [way["change"] for way in answer["plan"]["ways_out"]]
    assert "the largest device has 24.0 GiB" in answer["errors"][0]["message"]


def test_an_engine_is_loaded_on_the_kind_that_holds_it(cluster: Cluster) -> None:
    two_kinds(cluster)
    for device in ("l4-0", "a100-0", "a100-1"):  # the fuller group is filled first, where it does
        cluster.world.mark(f"GPU-{device}")
    held = cluster.world.coordination.claim(UUID(cluster.post(**on_vllm(LLAMA_13B))["id"]), "coordinator")
    assert held
    lease, _ = held
    cluster.world.coordination.prepared(lease, FINGERPRINT, [("ours", 2)], {})
    cluster.world.coordination.store_plan(lease, [chunk(lease.id, 0)], 0)
    cluster.world.coordination.enter(lease, Phase.WAITING_FOR_GPU, "waiting")
    (waiting,) = cluster.api.get("/v1/queue").json()["data"]
    assert "1 free device of 31.8 GiB in one group" in waiting["waiting_for"]
    assert cluster.world.scheduling.place_once() == 1
    (replica,) = cluster.job(str(lease.id))["replicas"]
    assert replica["group"] == "a100"


def test_slices_of_a_gpu_are_devices_of_their_own_size(cluster: Cluster) -> None:
    cluster.joins("mig", "vllm", gpus=[mig(0, 40, 20), mig(1, 40, 20)])
    assert told(cluster.plan(**on_vllm(LLAMA_13B))) == (1, 1, 1, "fits")
    answer = cluster.plan(**on_vllm(LLAMA_70B))
    assert answer["errors"][-1]["lacking"]
    assert "the largest device has" in answer["errors"][-1]["message"]


def test_a_dying_card_is_not_planned_with(cluster: Cluster) -> None:
    cards = [gpu(n, uuid=f"GPU-d-{n}") for n in range(4)]
    cluster.joins("d", "vllm", gpus=4)
    wide = on_vllm(LLAMA_70B, tensor_parallel_size=4)
    assert told(cluster.plan(**wide)) == (4, 1, 4, "fits")
    cluster.machine(*cards[:3])
    cluster.beats("d")
    answer = cluster.plan(**wide)
    assert "the largest usable group has 3" in answer["errors"][0]["message"]
    assert (answer["errors"][0]["lacking"], told(cluster.plan(**on_vllm(LLAMA_70B)))) == (
        True,
        (2, 1, 2, "fits"),
    )
    waits = cluster.waits(**wide)
    assert cluster.job(waits)["reason"] == "waiting for 4 devices in one group"
    cluster.joins("d", "vllm", gpus=4)
    cluster.world.groups.resume("d")
    assert cluster.look() == 1


LARGE = {"pretrained": "meta-llama/Llama-2-70b-hf"}


@pytest.mark.parametrize(
    ("fields", "status", "lacking"),
    [
        ({}, 202, []),
        ({"wait_for_capacity": "yes"}, 422, [False]),
        ({"wait_for_capacity": 1}, 422, [False]),
        ({"gpus_per_replica": 8}, 422, [True]),
        ({"gpus_per_replica": 8, "wait_for_capacity": True}, 202, [True]),
        ({"gpus_per_replica": 1025, "wait_for_capacity": True}, 422, [False]),
        ({"group": "big", "tasks": [], "wait_for_capacity": True}, 422, [False, True]),
        ({"model": "nope", "wait_for_capacity": True}, 422, [False]),
        ({"model_args": LARGE | {"tensor_parallel_size": 3}, "wait_for_capacity": True}, 422, [True, False]),
        ({"model_args": {"pretrained": "me/x"}, "model_size": "99T", "wait_for_capacity": True}, 202, [True]),
        ({"model_args": {}, "group": "big", "wait_for_capacity": True}, 422, [True, False]),
    ],
)
def test_a_dry_run_says_what_becomes_of_the_job(
    cluster: Cluster, fields: dict[str, Any], status: int, lacking: list[bool]
) -> None:
    cluster.joins("a", "vllm", gpus=2)
    dry = cluster.plan(**fields)
    real = cluster.api.post("/v1/jobs", json=JOB | fields)
    assert (real.status_code, dry["valid"]) == (status, status == 202)
    assert sorted(fault["lacking"] for fault in dry["errors"]) == sorted(lacking)
    if status == 422:
        assert (real.json()["errors"], real.json().get("plan")) == (dry["errors"], dry["plan"])
