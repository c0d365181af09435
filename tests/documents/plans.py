"""What each evaluation command of the documents is planned as, on two clusters that are the same everywhere.

`python -m tests.documents.plans` prints what the code says: to compare with `planned.py` and `planned_mixed.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from app.domain.group import GroupView
from app.domain.plan import Plan
from app.errors import InvalidJobError
from app.workloads.lm_eval.reading.read import read
from tests.documents.commands import Evaluation, evaluations
from tests.workloads.lm_eval.reading.desk import Desk
from tests.workloads.lm_eval.reading.test_groups import group

H100 = (group("h100", "hf", "vllm", devices=8, gib=79.65),)
MIXED = (group("a100", "hf", "vllm", devices=4, gib=39.5), group("l4", "hf", "vllm", devices=4, gib=22.5))
CLUSTERS: Mapping[str, tuple[GroupView, ...]] = {
    "8 x H100 80 GB": H100,
    "4 x A100 40 GB and 4 x L4": MIXED,
}


class Planned(NamedTuple):
    """On one cluster."""

    plan: str
    faults: tuple[str, ...] = ()
    """What is said beside it, each with its field."""


def planned(command: Evaluation, groups: tuple[GroupView, ...], desk: Desk) -> Planned:
    """The plan of a command that somebody pastes, and what is missing."""
    try:
        taken = read({"command": command.pasted}, groups, desk.settings)
    except InvalidJobError as error:
        plan = error.plan if isinstance(error.plan, Plan) else None
        return Planned(told(plan) if plan else "", tuple(f"{f.path}: {f.message}" for f in error.faults))
    return Planned(told(taken.plan))


def told(plan: Plan) -> str:
    """Backend, width, replicas, world size and ranks, memory by the rule and by arithmetic, fit."""
    gpus = f"{plan.gpus_per_replica} GPU{'s' * (plan.gpus_per_replica > 1)}"
    width = f"{plan.backend}: TP {plan.tensor_parallel_size} x PP {plan.pipeline_parallel_size}"
    if plan.replicas is None:
        copies = f"replicas of {gpus}, as many as are free and pay"
    else:
        world = plan.replicas * plan.gpus_per_replica
        ranks = f"ranks 0 to {world - 1}" if world > 1 else "rank 0"
        copies = f"{plan.replicas} replica{'s' * (plan.replicas > 1)} of {gpus}, world size {world}, {ranks}"
    return f"{width}, {copies}; {_memory(plan)}"


def _memory(plan: Plan) -> str:
    if plan.memory is None:
        return "memory not known"
    rule, each = plan.memory.rule_gb, plan.memory_per_gpu_gib
    return f"{rule:.1f} GB by rule, {each:.1f} GiB a GPU: {plan.fit or 'not judged'}"


def everywhere() -> dict[tuple[str, str, int], Planned]:
    """By cluster, document and line."""
    with TemporaryDirectory() as root:
        desk = Desk(Path(root))
        return {
            (name, command.document, command.line): planned(command, groups, desk)
            for name, groups in CLUSTERS.items()
            for command in evaluations()
        }


if __name__ == "__main__":
    for place, (plan, faults) in everywhere().items():
        sys.stdout.write(f"{place}: {plan!r} {faults}\n")
