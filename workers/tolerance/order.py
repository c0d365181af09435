"""What is to be measured, as the command hands it over."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Self

from app.domain.engine_spec import EngineSpec, Scoring


@dataclass(frozen=True, kw_only=True)
class ToleranceOrder:
    """Measure this backend with this model on these devices."""

    backend: str
    model: str
    devices: str
    """As a worker is told its own; a block for one engine."""
    revision: str | None = None
    args: dict[str, Any] = field(default_factory=dict)
    """The engine's, settled."""
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    documents: int = 200
    accept: bool = False
    """Whether `auto` may be fast by it, however far it is."""

    @classmethod
    def from_text(cls, text: str) -> Self:
        """An order of the command's."""
        return cls(**json.loads(text))

    def engine(self, mode: Scoring) -> EngineSpec:
        """What is loaded to score so."""
        return EngineSpec(
            backend=self.backend,
            model=self.model,
            revision=self.revision,
            args=self.args,
            tensor_parallel_size=self.tensor_parallel_size,
            pipeline_parallel_size=self.pipeline_parallel_size,
            scoring_mode=mode,
        )
