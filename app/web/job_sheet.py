"""Jobs as a sheet: what a line of it holds, whoever asks."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from app.domain.visible import in_a_cell
from app.services.job_view import JobView

COLUMNS = (
    *(
        "id",
        "name",
        "owner",
        "team",
        "status",
        "phase",
        "reason",
        "priority",
        "tags",
        "backend",
        "model",
        "tasks",
    ),
    *("done", "total", "percent", "attempt", "created_at", "started_at", "ended_at", "gpu_seconds"),
)
"""As in a summary; `done`, `total` and `percent` are those of its progress, lists are words with commas between."""
_COPIED = {
    *("id", "name", "owner", "team", "status", "phase", "priority", "attempt"),
    *("created_at", "started_at", "ended_at", "gpu_seconds"),
}


def sheet(rows: Iterable[Mapping[str, Any]], *, header: bool = True) -> str:
    """A line for each of them, under a header unless it goes on; what has no column is left out."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    for row in rows:
        writer.writerow({name: in_a_cell(value) for name, value in row.items()})
    return text.getvalue()


def row_of(view: JobView) -> dict[str, Any]:
    """A job as a line, whole."""
    job, progress = view.job, view.progress
    moments = {
        name: value.isoformat() for name in _COPIED if hasattr(value := getattr(job, name), "isoformat")
    }
    return (
        {name: getattr(job, name) for name in _COPIED}
        | moments
        | {
            "reason": view.reason,
            "tags": ",".join(job.tags),
            "backend": job.plan.backend,
            "model": job.engine.model,
            "tasks": ",".join(view.spec.tasks),
            "done": progress.done,
            "total": progress.total,
            "percent": progress.percent,
        }
    )
