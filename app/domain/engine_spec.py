"""Which engine a job needs: a model and how it is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any


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

    @cached_property
    def key(self) -> str:
        """Identity for placement: jobs with equal keys share replicas."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def to_json(self) -> dict[str, Any]:
        """As stored in Postgres and sent to children."""
        return asdict(self) | {"args": dict(self.args), "env": dict(self.env)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EngineSpec:
        """The inverse of `to_json`."""
        return cls(**data)
