"""Compares a job's outcome with lm-eval's own, to the last bit."""

from __future__ import annotations

import json

from tests.e2e.stack import Stack
from tests.reference import Reference

OF_THE_RUN = {"date", "total_evaluation_time_seconds"}
OF_THE_HOST = "pretty_env_info"
PIP = "[pip3]"


def assert_same(stack: Stack, job_id: str, reference: Reference) -> None:
    """Every key of the document and every sample line are those of `lm_eval run`."""
    document = json.loads(stack.artifact(job_id, "results_"))
    assert list(document) == list(reference.results)
    assert list(document["config"]) == list(reference.results["config"])
    for part in document.keys() - OF_THE_RUN - {OF_THE_HOST}:
        assert document[part] == reference.results[part], part
    told, expected = _packages(document[OF_THE_HOST]), _packages(reference.results[OF_THE_HOST])
    if not any(line.startswith(PIP) for line in told):  # its pip was disturbed, and the page says so
        expected = [line for line in expected if not line.startswith(PIP)]
    assert told == expected, document[OF_THE_HOST]
    for task, rows in reference.samples.items():
        lines = stack.artifact(job_id, f"samples_{task}_").splitlines()
        assert [json.loads(line) for line in lines] == rows, task


def _packages(page: str) -> list[str]:
    """What a page about an environment says of the backend; of a host some things change by the second."""
    return [line for line in page.splitlines() if line.startswith(("PyTorch", "Python", "Is CUDA", PIP))]
