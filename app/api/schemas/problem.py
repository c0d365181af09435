"""What went wrong, as clients see it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from app.api.schemas.job import PlanOut


class Fault(BaseModel):
    """One thing wrong with what was sent."""

    path: str = Field(description="Where: a dotted path into the body, or `query.` and a parameter.")
    message: str
    allowed: list[str] | None = Field(description="What would be right, where that can be listed.")
    lacking: bool = Field(description="Whether nothing but the state of this cluster is the reason.")


class ProblemOut(BaseModel):
    """An RFC 9457 problem; `code` is stable, `detail` is for people."""

    model_config = ConfigDict(title="Problem")

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[Fault]
    request_id: str = Field(description="As in the header `X-Request-Id`; the server's log lines name it.")
    plan: PlanOut | None = Field(default=None, description="Of a job that was refused: how it would run.")
