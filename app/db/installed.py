"""What a worker reports of the backends on its host, as documents in the row of its group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from pydantic import TypeAdapter

from app.db.tables import GroupRow
from app.domain.group import BackendReport
from app.domain.tolerance import Tolerance

_TOLERANCE = TypeAdapter(Tolerance)


def to_document(reports: Sequence[BackendReport]) -> dict[str, Any]:
    """By name. Tolerances stand aside: a process of an earlier version reads these documents, and knows none."""
    bare = (replace(report, tolerances=()) for report in reports)
    return {
        report.name: {name: value for name, value in asdict(report).items() if name != "tolerances"}
        for report in bare
    }


def tolerances_of(reports: Sequence[BackendReport]) -> dict[str, Any]:
    """By the backend's name, where there are any."""
    return {
        report.name: [_TOLERANCE.dump_python(each, mode="json") for each in report.tolerances]
        for report in reports
        if report.tolerances
    }


def installed_in(row: GroupRow) -> tuple[BackendReport, ...]:
    """The reports of a group by name. What is offered is believed first: an older worker writes only that."""
    found = {name: BackendReport(**document) for name, document in row.installed.items()}
    offered = {name: BackendReport(name) for name in row.backends}
    offered |= {name: found[name] for name in offered if name in found and not found[name].problem}
    unusable = {name: report for name, report in found.items() if report.problem and name not in offered}
    there = sorted({**offered, **unusable}.values(), key=lambda report: report.name)
    return tuple(replace(report, tolerances=tuple(_tolerances(row, report))) for report in there)


def _tolerances(row: GroupRow, report: BackendReport) -> Iterator[Tolerance]:
    """Those that this version understands, of what is installed: an older worker leaves them as they were."""
    for document in row.tolerances.get(report.name, ()):
        with suppress(ValueError):
            found = _TOLERANCE.validate_python(document)
            if dict(found.versions) == dict(report.versions):
                yield found
