"""Device seconds over HTTP: who used them, on what, and what came of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.api.problems import problems
from app.api.rendering import answer
from app.api.schemas.usage import UsageOut, UsageSumOut
from app.domain.usage import Side, UsageFilter
from app.errors import FaultyField, InvalidRequestError
from app.web.deps import CallerDep, Moment, ServicesDep, Word, known_parameters, page_size

USUAL = timedelta(days=30)

router = APIRouter(prefix="/v1/usage", tags=["usage"], dependencies=[Depends(known_parameters)])


@router.get("", summary="Read the usage", response_model=UsageOut, responses=problems(InvalidRequestError))
def read_usage(
    services: ServicesDep,
    caller: CallerDep,
    *,
    since: Annotated[
        Moment,
        Query(alias="from", description="The hour that it is in counts; 30 days before."),
    ] = None,
    until: Annotated[Moment, Query(alias="to", description="Now, unless given.")] = None,
    by: Annotated[
        Word, Query(description=f"Some of {', '.join(Side)}, by commas; `outcome` unless given.")
    ] = "outcome",
    limit: page_size(1000, 10_000) = 1000,  # type: ignore[valid-type]
) -> Response:
    """Device seconds of the caller's team; an operator's are those of all teams, and of nobody."""
    end = until or datetime.now(UTC)
    wanted = UsageFilter(since or _before(end), end, _sides(by), caller.sees)
    report = services.usage.report(wanted, limit)
    out = UsageOut.model_validate(
        {
            "from": wanted.since,
            "to": wanted.until,
            "by": list(wanted.by),
            "data": [UsageSumOut.model_validate(each) for each in report.sums],
            "left_out": report.count - len(report.sums),
            "device_seconds": report.device_seconds,
        }
    )
    return answer(out)


def _sides(by: str) -> tuple[Side, ...]:
    names = dict.fromkeys(name.strip() for name in by.split(",") if name.strip())
    if unknown := [name for name in names if name not in list(Side)]:
        words = f"{unknown[0]!r} is nothing to sum by"
        raise InvalidRequestError([FaultyField("query.by", words, tuple(Side))])
    return tuple(Side(name) for name in names) or (Side.OUTCOME,)


def _before(end: datetime) -> datetime:
    try:
        return end - USUAL
    except OverflowError:  # there is nothing before the first year
        return end
