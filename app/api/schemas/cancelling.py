"""Cancelling many jobs, as clients see it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.schemas.job import Out
from app.domain.job import JobStatus
from app.web.deps import Utc

MOST_CANCELLED = 1000
Said = Annotated[str, Field(max_length=1000, pattern=r"\S")]
"""A word, and not the empty variable of somebody's script: a filter that is none would choose too much."""


class CancelIn(BaseModel):
    """Which jobs: by their ids, or by the filters of the list."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"ids": ["..."]}, {"tag": "nightly", "status": "queued"}]},
    )

    ids: Annotated[list[str], Field(min_length=1, max_length=MOST_CANCELLED)] | None = None
    status: JobStatus | None = None
    model: Said | None = None
    task: Said | None = None
    tag: Said | None = None
    owner: Said | None = None
    name: Said | None = None
    created_after: Annotated[datetime | None, Utc] = None


class CancelledOut(Out):
    """What became of one job."""

    id: str
    outcome: Literal["cancelled", "cancelling", "ended", "unknown", "busy"] = Field(
        description="It is over; it stops within seconds; it was over before, as it is now; there is no such job;"
        " others changed it at every try: ask again."
    )
    status: JobStatus | None = Field(description="As it is now; null where it could not be told.")


class CancelledList(Out):
    """What became of each, in the order they were named, or newest first."""

    data: list[CancelledOut]
    more: bool = Field(description="There are other jobs that the filters let through: ask again.")
