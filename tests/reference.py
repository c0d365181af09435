"""What `lm_eval run` wrote: the measure of every answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Reference:
    """Its result document, and its sample rows by task."""

    results: dict[str, Any]
    samples: dict[str, list[dict[str, Any]]]


def written(output: Path) -> Reference:
    """Read what one run left in its `--output_path`."""
    (results,) = output.rglob("results_*.json")
    document: dict[str, Any] = json.loads(results.read_text())
    return Reference(document, {task: _samples(output, task) for task in document["configs"]})


def _samples(output: Path, task: str) -> list[dict[str, Any]]:
    (found,) = output.rglob(f"samples_{task}_*.jsonl")
    return [json.loads(line) for line in found.read_text().splitlines()]
