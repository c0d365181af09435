"""`lm_eval run`, the measure of every answer: run in one process, its files read."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Reference:
    """What `lm_eval run` wrote, and how long it took from nothing."""

    results: dict[str, Any]
    samples: dict[str, list[dict[str, Any]]]
    seconds: float


def lm_eval_run(python: Path, arguments: Sequence[str], env: Mapping[str, str] | None = None) -> Reference:
    """Run it with a backend's Python, without the hub; an AssertionError holds what it said when it failed."""
    with tempfile.TemporaryDirectory(prefix="lm-eval-") as output:
        command = [str(python), "-m", "lm_eval", "run", *arguments, "--log_samples", "--output_path", output]
        quiet = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"} | dict(env or {})
        begun = time.monotonic()
        done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - begun
        assert done.returncode == 0, done.stderr[-4000:]
        (results,) = Path(output).rglob("results_*.json")
        document: dict[str, Any] = json.loads(results.read_text())
        return Reference(
            document, {task: _samples(Path(output), task) for task in document["configs"]}, seconds
        )


def _samples(output: Path, task: str) -> list[dict[str, Any]]:
    (found,) = output.rglob(f"samples_{task}_*.jsonl")
    return [json.loads(line) for line in found.read_text().splitlines()]
