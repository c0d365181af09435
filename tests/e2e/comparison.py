"""Compares a job's outcome with lm-eval's own, to the last bit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.e2e.stack import Stack

if TYPE_CHECKING:
    from tests.e2e.conftest import Reference

SCORED = (
    "results",
    "groups",
    "group_subtasks",
    "configs",
    "versions",
    "n-shot",
    "higher_is_better",
    "n-samples",
)


def assert_same(stack: Stack, job_id: str, reference: Reference) -> None:
    """Scores, configurations and every sample line are those of `lm_eval run`."""
    document = json.loads(stack.artifact(job_id, "results_"))
    for part in SCORED:
        assert document.get(part) == reference.results.get(part), part
    for task, rows in reference.samples.items():
        lines = stack.artifact(job_id, f"samples_{task}_").splitlines()
        assert [json.loads(line) for line in lines] == rows, task
