"""Lists as other kinds than JSON: a line for each entry."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from app.web.job_sheet import sheet


def json_lines(entries: Iterable[Mapping[str, Any]]) -> str:
    """An object in each line."""
    return "".join(json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n" for entry in entries)


def jobs_csv(summaries: Iterable[Mapping[str, Any]]) -> str:
    """A line for each job under a header."""
    return sheet(map(_row, summaries))


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    names = [task if isinstance(task, str) else task["name"] for task in entry["tasks"]]
    return {**entry, **entry["progress"], "tags": ",".join(entry["tags"]), "tasks": ",".join(names)}
