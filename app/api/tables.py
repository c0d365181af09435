"""Lists as other kinds than JSON: a line for each entry."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

from app.domain.visible import in_a_cell

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
"""Of jobs: as in a summary; `done`, `total` and `percent` are those of its progress."""


def json_lines(entries: Iterable[Mapping[str, Any]]) -> str:
    """An object in each line."""
    return "".join(json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n" for entry in entries)


def jobs_csv(summaries: Iterable[Mapping[str, Any]]) -> str:
    """A line for each job under a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for entry in summaries:
        names = [task if isinstance(task, str) else task["name"] for task in entry["tasks"]]
        lists = {"tags": ",".join(entry["tags"]), "tasks": ",".join(names)}
        row = {**entry, **entry["progress"], **lists}
        writer.writerow({name: in_a_cell(value) for name, value in row.items()})
    return text.getvalue()
