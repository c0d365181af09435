"""A job in words: pure text from what the API says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.domain.quality import TaskQuality, remarks
from app.domain.visible import hanging, one_line, visible

Json = dict[str, Any]

COLOURS = {
    "succeeded": "green",
    "running": "cyan",
    "failed": "red",
    "partially_failed": "yellow",
    "cancelled": "bright_black",
    "paused": "yellow",
}

SLOW = 0.1
"""Requests a second below which they are told by the minute."""


def duration(seconds: float | None) -> str:
    """`1:02:03`, `2:03`, or nothing where it is unknown."""
    if seconds is None:
        return ""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def span(estimate: Json | None, what: str) -> str:
    """`1:01 (0:40 to 2:30)` of its start or its end, or nothing where that is unknown."""
    if not estimate or estimate.get(f"{what}_seconds") is None:
        return ""
    low, high = (duration(estimate.get(f"{what}_{bound}_seconds")) for bound in ("low", "high"))
    return f"{duration(estimate[f'{what}_seconds'])} ({low or '?'} to {high or '?'})"


def when(job: Json) -> str:
    """`starts in 1:01 (0:40 to 2:30), ends in 5:00 (...)`, as far as it is told."""
    estimate = job.get("estimate")
    evaluating = job.get("phase") == "evaluating"
    starts, ends = "" if evaluating else span(estimate, "start"), span(estimate, "end")
    return ", ".join(f"{verb} in {at}" for verb, at in (("starts", starts), ("ends", ends)) if at)


def waiting(job: Json) -> str:
    """What a running job waits for that does not go on, or nothing."""
    said = job.get("reason") or ""
    return said if job["status"] == "running" and said.startswith("waiting for ") else ""


def where(job: Json) -> str:
    """The phase of a running job, else its status."""
    text: str = job.get("phase") or job["status"] if job["status"] == "running" else job["status"]
    return text.replace("_", " ")


def rate(job: Json) -> str:
    """Requests a second, or tokens where none is answered yet, or nothing where neither is known."""
    per_second = job["progress"].get("requests_per_second")
    if per_second is not None:
        return f"{per_second:.1f}/s" if per_second >= SLOW else f"{60 * per_second:.1f}/min"
    tokens = job["progress"].get("tokens_per_second")
    return "" if tokens is None else f"{tokens:.0f} tokens/s"


def left(job: Json) -> str:
    """Time left, or nothing where it is unknown."""
    seconds = job["progress"].get("eta_seconds")
    return "" if seconds is None else f"{duration(seconds)} left"


def percent(job: Json) -> float:
    """How far it is; 0 until that can be told."""
    return float(job["progress"].get("percent") or 0.0)


def progress_line(job: Json) -> str:
    """`evaluating  22 %  1234/5600 requests  61.2/s  1:11 left`."""
    progress = job["progress"]
    if not progress.get("total"):
        return hanging(f"{where(job)}: {job['reason']}") if job.get("reason") else where(job)
    counted = f"{progress['done']}/{progress['total']} requests"
    pace = (waiting(job), when(job)) if waiting(job) else (rate(job), left(job))
    parts = (where(job), f"{percent(job):.0f} %", counted, *pace)
    return hanging("  ".join(part for part in parts if part))


def changes(old: Json | None, new: Json, step: float = 5.0) -> list[str]:
    """A line for each thing worth saying since `old`: where it is, what ended, every few percent, a first estimate."""
    seen = old or new
    before = {task["name"]: task["status"] for task in seen["tasks"]}
    dead = {replica["id"] for replica in _dead(seen)}
    lines = [replica_line(replica) for replica in _dead(new) if replica["id"] not in dead]
    lines += [
        task_line(task)
        for task in new["tasks"]
        if task["status"] not in {"waiting", "running"} and before.get(task["name"]) != task["status"]
    ]
    moved = old is None or where(old) != where(new) or old.get("reason") != new.get("reason")
    timed = bool(left(new)) and not left(seen)
    if moved or timed or percent(new) // step != percent(old or new) // step:
        lines.append(progress_line(new))
    return lines


def _dead(job: Json) -> list[Json]:
    return [replica for replica in job.get("replicas") or () if replica["status"] in {"failed", "lost"}]


def replica_line(replica: Json) -> str:
    """An engine that died, and of what: what it had not stored is asked again."""
    message = (replica.get("error") or {}).get("message")
    ended = f"replica on {one_line(replica['group'])} {replica['status']}"
    return hanging(f"{ended}: {message}" if message else ended, 4)


def task_line(task: Json) -> str:
    """A task and what came of it."""
    said = [score(task) or task["status"], (task.get("error") or {}).get("message")]
    return hanging(f"{one_line(task['name'])}: {': '.join(part for part in said if part)}", 4)


def score(task: Json) -> str:
    """The first metric of a finished task, as `acc 0.5000 ± 0.0123`."""
    metrics: Json = task.get("metrics") or {}
    for name, value in metrics.items():
        metric, _, filtered = name.partition(",")
        if not isinstance(value, int | float) or not filtered or metric.endswith("_stderr"):
            continue
        error = metrics.get(f"{metric}_stderr,{filtered}")
        return f"{one_line(metric)} {value:.4f}" + (f" ± {error:.4f}" if isinstance(error, float) else "")
    return ""


def quality_lines(qualities: Mapping[str, Json | None]) -> list[str]:
    """What is out of the ordinary in how tasks were asked and answered, by task; None where that is not told."""
    told = {task: TaskQuality.from_json(quality) for task, quality in qualities.items() if quality}
    return [one_line(remark) for remark in remarks(told)]


def way_out_line(way: Json) -> str:
    """What to change, as `evalq retry --set` takes it, and what comes of it."""
    change = " ".join(f"--set {name}={value}" for name, value in way["change"].items())
    return f"{change}: {'fits' if way['fits'] else 'does not fit'}; {way['note']}"


def failure_lines(error: Json | None) -> list[str]:
    """What went wrong, what was tried, the last lines of the log, and what helps."""
    if not error:
        return []
    lines = [hanging(f"{error['code']}: {error['message']}")]
    tried = error.get("attempts") or ()
    lines += [hanging(f"  tried {attempt['change']}: {attempt['outcome']}", 4) for attempt in tried]
    lines += [hanging(f"  way out: {way_out_line(way)}", 4) for way in error.get("ways_out") or ()]
    lines += ["  | " + visible(line).replace("\n", "\n  | ") for line in error.get("log_tail") or ()]
    return lines + ([hanging(f"hint: {error['hint']}")] if error.get("hint") else [])
