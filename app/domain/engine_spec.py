"""Which engine a job needs: a model and how it is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from typing import Any


class Scoring(StrEnum):
    """How an engine comes to log-likelihoods, where there is a choice; engine children know it by these names."""

    STOCK = "stock"
    """As lm-eval has its class do it."""
    FAST = "fast"
    """What requests of one context share is computed once."""


@dataclass(frozen=True)
class EngineSpec:
    """A backend, a model and its load-time arguments, under the backend's own names.

    Batch size is not part of it: a warm engine serves jobs of any batch size.
    """

    backend: str
    model: str
    revision: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    gpus: int = 1
    """Devices in the block of one replica."""
    scoring_mode: Scoring = Scoring.STOCK

    @cached_property
    def key(self) -> str:
        """Identity for placement: jobs with equal keys share replicas."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def to_json(self) -> dict[str, Any]:
        """As stored in Postgres and sent to children; what was stored before there were modes says none."""
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        told |= {"args": dict(self.args), "env": dict(self.env)}
        return {
            name: value for name, value in told.items() if (name, value) != ("scoring_mode", Scoring.STOCK)
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EngineSpec:
        """The inverse of `to_json`."""
        return cls(**{**data, "scoring_mode": Scoring(data.get("scoring_mode", Scoring.STOCK))})
