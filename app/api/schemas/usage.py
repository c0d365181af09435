"""What devices were used for, as clients see it."""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict, Field

from app.api.schemas.job import Out
from app.domain.ledger import Outcome
from app.domain.usage import Side


class UsageSumOut(Out):
    """Device seconds; null where it was not asked by."""

    hour: datetime | None = Field(description="Its beginning.")
    day: datetime | None = Field(description="Its beginning, in UTC.")
    team: str | None = Field(description="Empty for what is nobody's: loading and idling.")
    owner: str | None = Field(description="Empty for what is nobody's.")
    model: str | None
    outcome: Outcome | None
    device_seconds: float


class UsageOut(Out):
    """What devices were used for in whole hours that begin in this time."""

    model_config = ConfigDict(serialize_by_alias=True)

    since: datetime = Field(alias="from")
    until: datetime = Field(alias="to")
    by: list[Side]
    data: list[UsageSumOut] = Field(description="In the order of time, and then the most first.")
    left_out: int = Field(description="Sums beyond `limit`.")
    device_seconds: float = Field(description="Of all sums, those left out too.")
