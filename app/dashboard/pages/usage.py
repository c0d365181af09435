"""Usage: device-hours by day, team, owner and model, and what came of them; the same sums as `GET /v1/usage`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Request, Response

from app.dashboard.rendering import page
from app.dashboard.routing import pages
from app.dashboard.views.usage import (
    MOST_COLUMNS,
    OUTCOMES,
    as_csv,
    bars_of,
    columns_of,
    days_of,
    lines_of,
    told,
    whole_of,
)
from app.domain.keys import Caller
from app.domain.usage import Side, UsageFilter, UsageReport, UsageSum
from app.errors import FaultyField, InvalidRequestError
from app.web.deps import Blank, CallerDep, ServicesDep

LINK = ("Usage", "/usage")
USUAL_DAYS = 13
"""Before the last day that is shown."""
MOST_SUMS = 10_000
MOST_ROWS = 100_000
MOST_LINES = 20
TABLES = (
    (Side.TEAM, "By team", "Team"),
    (Side.OWNER, "By owner", "Owner"),
    (Side.MODEL, "By model", "Model"),
)
From = Annotated[date | None, Blank, Query(alias="from")]
To = Annotated[date | None, Blank, Query(alias="to")]
router = pages()


@router.get("/usage")
def read_usage_page(
    request: Request, services: ServicesDep, caller: CallerDep, *, since: From = None, until: To = None
) -> Response:
    """Whole days, the last one with them; of the caller's team, an operator's of all."""
    first, last = _days(since, until)
    report = {
        side: services.usage.report(_wanted(caller, first, last, side), MOST_SUMS)
        for side in (Side.DAY, *(side for side, _, _ in TABLES))
    }
    days = days_of(_whole(report[Side.DAY]))
    tables = [(title, name, lines_of(report[side].sums, side)) for side, title, name in TABLES]
    return page(
        request,
        "usage.html",
        active="Usage",
        first=first,
        last=last,
        whole=whole_of(days),
        days=days,
        columns=columns_of(days) if len(days) <= MOST_COLUMNS else [],
        tables=tables,
        outcomes=OUTCOMES,
        most_lines=MOST_LINES,
        bars_of=bars_of,
        told=told,
        sheet=f"/usage.csv?{urlencode({'from': first, 'to': last})}",
    )


@router.get("/usage.csv")
def read_usage_sheet(
    services: ServicesDep, caller: CallerDep, *, since: From = None, until: To = None
) -> Response:
    """The same for a sheet: a line for each day, team, owner, model and outcome."""
    first, last = _days(since, until)
    wanted = _wanted(caller, first, last, Side.DAY, Side.TEAM, Side.OWNER, Side.MODEL)
    text = as_csv(_whole(services.usage.report(wanted, MOST_ROWS)))
    name = f'attachment; filename="usage_{first}_{last}.csv"'
    return Response(text, media_type="text/csv", headers={"Content-Disposition": name})


def _whole(report: UsageReport) -> Sequence[UsageSum]:
    """Its sums; InvalidRequestError where there are more: it would be the last days that are missing."""
    if report.count > len(report.sums):
        told = f"these days have {report.count:,} sums, more than the {len(report.sums):,} that are given at once"
        raise InvalidRequestError([FaultyField("query.from", f"{told}: choose fewer days")])
    return report.sums


def _days(since: date | None, until: date | None) -> tuple[date, date]:
    """The first and the last; turned round where they are."""
    last = until or datetime.now(UTC).date()
    first = since or max(date.min, last - min(timedelta(days=USUAL_DAYS), last - date.min))
    return (first, last) if first <= last else (last, first)


def _wanted(caller: Caller, first: date, last: date, *sides: Side) -> UsageFilter:
    begin, end = (datetime.combine(day, time.min, UTC) for day in (first, last))
    end = end + timedelta(days=1) if last < date.max else datetime.combine(last, time.max, UTC)
    return UsageFilter(begin, end, (*sides, Side.OUTCOME), caller.sees)
