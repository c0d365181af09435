"""What a job may be changed to, and what a dry run answers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, create_model

from app.api.schemas.job import PlanOut
from app.api.schemas.problem import Fault
from app.posting.fields import stated
from app.workloads.lm_eval.spec import LmEvalSpec


class _Changed(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "nightly", "priority": 80, "tags": ["a"]}]}
    )


JobPatch = create_model(
    "JobPatch",
    __base__=_Changed,
    __doc__="What may change after submission; what is absent stays.",
    name=(stated("name"), ""),
    priority=(stated("priority"), LmEvalSpec.priority),
    tags=(stated("tags"), []),
)


class DryRunOut(BaseModel):
    """What would become of a job; nothing was stored."""

    valid: bool
    plan: PlanOut | None
    errors: list[Fault]
    tasks: list[str] = Field(description="Leaf tasks the names expand to.")
    notes: list[str]
