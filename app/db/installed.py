"""What a worker reports of the backends on its host, as a document in the row of its group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from app.db.tables import GroupRow
from app.domain.group import BackendReport


def to_document(reports: Sequence[BackendReport]) -> dict[str, Any]:
    """By name."""
    return {report.name: asdict(report) for report in reports}


def installed_in(row: GroupRow) -> tuple[BackendReport, ...]:
    """The reports of a group by name. What is offered is believed first: an older worker writes only that."""
    found = {name: BackendReport(**document) for name, document in row.installed.items()}
    offered = {name: BackendReport(name) for name in row.backends}
    offered |= {name: found[name] for name in offered if name in found and not found[name].problem}
    unusable = {name: report for name, report in found.items() if report.problem and name not in offered}
    return tuple(sorted({**offered, **unusable}.values(), key=lambda report: report.name))
