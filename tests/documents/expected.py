"""What evalq makes of an evaluation command: a row of the table that the documents are held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

AUTO_BATCH = "--batch_size is not given: evalq uses auto (lm-eval would use 1)"
EVERY_GPU = "the launcher would use every GPU; `replicas` is left to evalq"
DEVICE_MAP = "model_args.device_map_option is read as device_map, which is lm-eval's name for it"
DEVICES_COUNT = "of the launcher is left out: `devices` in model_args counts the GPUs"
LEFT_OUT = "... stands for arguments that were left out; write them"


def world(count: int, shape: str = "") -> str:
    """How the processes of a launcher are told."""
    return f"world size {count} ({shape or f'{count} processes'}, ranks 0 to {count - 1})"


def shared(count: int, shape: str = "") -> str:
    """What becomes of them."""
    return f"{world(count, shape)} becomes {count} replicas, which share the requests"


@dataclass(frozen=True)
class Expected:
    """One command's reading; `None` leaves a number to the planner."""

    line: int
    model: str | None
    model_args: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    batch_size: int | str = "auto"
    fewshot: int | None = None
    tensor: int = 1
    pipeline: int = 1
    replicas: int | None = None
    gpus: int | None = None
    """Of each replica."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Other fields of the job."""
    notes: tuple[str, ...] = ()
    """What evalq does otherwise, as it says it."""
    refusal: str | None = None
