"""Jobs as a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from app.cli.describe import COLOURS, percent
from app.cli.output import Output, columns, short
from app.client.calls import Json


def print_list(out: Output, listed: Sequence[Json]) -> None:
    """A line for each, under a header."""
    for line, colour in coloured_lines(listed):
        out.row(line, colour)


def coloured_lines(listed: Sequence[Json]) -> list[tuple[str, str | None]]:
    """The table with the colour of each line; nothing where there are no jobs."""
    rows = [
        [
            short(job["id"]),
            job["status"],
            f"{percent(job):.0f} %" if job["progress"].get("total") else "",
            job.get("name") or str(job.get("model") or job["spec"].get("model", "")),
            _tasks(job),
            age(job["created_at"]),
            job.get("reason") or "",
        ]
        for job in listed
    ]
    header = ("ID", "STATUS", "DONE", "NAME", "TASKS", "AGE", "REASON")
    colours = (None, *(COLOURS.get(job["status"]) for job in listed))
    return list(zip(columns(header, rows), colours, strict=True)) if rows else []


def _tasks(job: Json) -> str:
    """The first few, as they were asked for where that is told."""
    names = [task if isinstance(task, str) else task["name"] for task in job["tasks"]]
    return ",".join(names[:3]) + (",..." if len(names) > 3 or "tasks" in job.get("cut", ()) else "")


def age(created_at: str, now: datetime | None = None) -> str:
    """How long ago: 40s, 12m, 3h or 5d."""
    seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(created_at)).total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"
