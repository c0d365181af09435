"""Jobs as lists show them: of a known size, whatever was posted."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from pydantic import BaseModel

from app.api.rendering import failure_out, plan_out, task_out
from app.api.schemas.job import ProgressOut
from app.api.schemas.summary import SummaryOut
from app.domain.job_filter import JobPart
from app.services.job_view import JobView

MOST_BYTES = 1024
"""Of a summary as JSON."""
FIELDS = tuple(name for name in SummaryOut.model_fields if name != "cut")
"""What may be asked for: the parts, which are not there otherwise, and all else, which may be cut otherwise."""
_CUTTABLE = ("name", "owner", "team", "reason", "tags", "backend", "model", "tasks")
_COPIED = (
    *("id", "name", "owner", "team", "status", "phase", "priority", "attempt"),
    *("created_at", "started_at", "ended_at", "deadline_at", "gpu_seconds"),
)
_DOTS = "..."


def summary(view: JobView, asked: Collection[str] = ()) -> dict[str, Any]:
    """The entry of a list, with the fields that were asked for whole."""
    entry = _brief(view, asked)
    whole = {name: entry.pop(name) for name in FIELDS if name in asked and name in entry}
    whole |= {part: made for part in JobPart if part in asked and (made := _PARTS[part](view)) is not None}
    return fitted(entry, MOST_BYTES) | whole


def _brief(view: JobView, asked: Collection[str]) -> dict[str, Any]:
    job = view.job
    reason = view.reason if "reason" in asked else (view.reason or "").partition("\n")[0]
    out = SummaryOut.model_validate(
        {name: getattr(job, name) for name in _COPIED}
        | {
            "reason": reason or None,
            "tags": list(job.tags),
            "backend": job.plan.backend,
            "model": job.engine.model,
            "tasks": list(view.spec.tasks),
            "progress": ProgressOut.model_validate(view.progress).model_dump(),
            "links": view.links,
        }
    )
    return out.model_dump(mode="json", exclude_none=True)


def _dumped(out: BaseModel | None) -> Any:
    return None if out is None else out.model_dump(mode="json")


_PARTS: Mapping[JobPart, Callable[[JobView], Any]] = {
    JobPart.SPEC: lambda view: view.spec.to_json(),
    JobPart.PLAN: lambda view: _dumped(plan_out(view.job.plan)),
    JobPart.TASKS: lambda view: [_dumped(task_out(task)) for task in view.job.tasks],
    JobPart.ERROR: lambda view: _dumped(failure_out(view.job.error)),
}


def fitted(entry: dict[str, Any], most_bytes: int) -> dict[str, Any]:
    """The same in so many bytes of JSON: the longest values are cut, each to what the others leave it.

    What was cut is named under `cut`.
    """
    if _size(entry) <= most_bytes:
        return entry
    cuttable = {name: entry[name] for name in _CUTTABLE if name in entry}
    fixed = {name: value for name, value in entry.items() if name not in cuttable}
    names = _size(dict.fromkeys(cuttable, 0) | {"cut": list(cuttable)})
    cap = _cap([_size(value) for value in cuttable.values()], most_bytes - _size(fixed) - names)
    short = {name: _shortened(value, cap) for name, value in cuttable.items()}
    cut = [name for name, value in cuttable.items() if short[name] != value]
    return entry | short | {"cut": cut}


def _cap(sizes: list[int], room: int) -> int:
    """How many bytes each may have so that all have room; what short ones leave goes to the long ones."""
    for at, size in enumerate(ordered := sorted(sizes)):
        share = room // (len(ordered) - at)
        if size > share:
            return max(share, 0)
        room -= size
    return max(sizes)


def _shortened(value: Any, cap: int) -> Any:
    if _size(value) <= cap:
        return value
    return _few(value, cap) if isinstance(value, list) else _short(value, cap)


def _few(words: list[str], cap: int) -> list[str]:
    """The first of them."""
    found: list[str] = []
    while len(found) < len(words) and _size([*found, words[len(found)]]) <= cap:
        found.append(words[len(found)])
    return found


def _short(text: str, cap: int) -> str:
    """Its beginning, and dots."""
    least, most = 0, len(text)
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if _size(text[:middle] + _DOTS) <= cap else (least, middle - 1)
    return text[:least] + _DOTS


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
