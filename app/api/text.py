"""A job for people at a terminal."""

from __future__ import annotations

from datetime import timedelta

from app.api.schemas.job import EstimateOut, JobOut, TaskOut
from app.domain.visible import hanging, one_line


def job_text(job: JobOut, model: str) -> str:
    """A short table: where the job stands and what its tasks are at; nothing in it drives a terminal."""
    rows = [
        ("job", str(job.id)),
        ("name", job.name or "-"),
        ("status", f"{job.status} ({job.phase})" if job.phase else str(job.status)),
        ("reason", job.reason or "-"),
        ("model", model),
        *([("begins", starts)] if (starts := _starts(job.estimate)) else []),
        ("progress", _progress(job)),
    ]
    if job.error:
        rows.append(("error", f"{job.error.code}: {job.error.message}"))
        rows += [("hint", job.error.hint)] if job.error.hint else []
    lines = [hanging(f"{label:<9} {value}", 10) for label, value in rows]
    return "\n".join([*lines, "", *(_task(task) for task in job.tasks), ""])


def _starts(estimate: EstimateOut | None) -> str:
    """When, and within which bounds; nothing for a job that has begun, or of which that is not known."""
    if estimate is None or not estimate.start_seconds:
        return ""
    told = [estimate.start_seconds, estimate.start_low_seconds, estimate.start_high_seconds]
    at, low, high = ("?" if each is None else str(timedelta(seconds=round(each))) for each in told)
    return f"in {at} ({low} to {high})"


def _progress(job: JobOut) -> str:
    progress = job.progress
    if progress.total is None:
        return "prompts are not built yet"
    text = f"{progress.done}/{progress.total} requests, {progress.percent:.1f} %"
    if progress.requests_per_second:
        text += f", {progress.requests_per_second:.1f}/s"
    if progress.eta_seconds is not None:
        text += f", {timedelta(seconds=round(progress.eta_seconds))} left"
    return text


def _task(task: TaskOut) -> str:
    total = "?" if task.total is None else task.total
    scores = [
        f"{name} {value:.4f}" for name, value in (task.metrics or {}).items() if isinstance(value, float)
    ]
    return one_line(f"{task.name:<30} {task.status:<9} {task.done}/{total} {', '.join(scores)}").rstrip()
