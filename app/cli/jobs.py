"""Verbs about jobs: list, show, cancel, pause, resume, retry."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from app.cli.describe import COLOURS, duration, failure_lines, percent, progress_line, task_line, when, where
from app.cli.output import Output, columns, short, talks
from app.cli.terminal import CliError
from app.client.calls import Api, Json
from app.client.exit_codes import Exit
from app.domain.visible import hanging, one_line


@click.command(name="jobs")
@click.option("--status", help="queued, running, paused, succeeded, partially_failed, failed or cancelled.")
@click.option("--model", help="Part of the model's name or folder.")
@click.option("--task", help="A task of the job.")
@click.option("--tag", help="A tag of the job.")
@click.option("--owner", help="Who submitted it.")
@click.option("--created-after", metavar="TIME", help="RFC 3339, such as 2026-11-22T08:00:00Z.")
@click.option(
    "-n", "--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, at most."
)
@talks
def jobs(api: Api, out: Output, limit: int, **filters: str | None) -> None:
    """List jobs, newest first."""
    found = list(api.pages("/v1/jobs", limit=limit, **filters))
    out.jobs(found, lambda listed: _print_list(out, listed))
    if not found:
        out.say("no job matches; submit one with `evalq submit FILE.json`")


@click.command(name="show")
@click.argument("job")
@talks
def show(api: Api, out: Output, job: str) -> None:
    """Show a job: where it is and why, its tasks, its replicas, and what went wrong."""
    document = api.job(api.job_id(job))
    if out.as_json:
        out.json(document)
    else:
        out.jobs([document], lambda _: _print_job(out, document))


def _asks(verb: str, line: str) -> click.Command:
    """A verb that asks something of one or more jobs."""

    @click.command(name=verb, help=line)
    @click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
    @talks
    def ask(api: Api, out: Output, job_ids: Sequence[str]) -> None:
        full = [api.job_id(job_id) for job_id in job_ids]
        answered = [api.post(f"/v1/jobs/{job_id}/{verb}") for job_id in full]
        out.jobs(answered, lambda listed: _print_list(out, listed))

    return ask


cancel = _asks("cancel", "Cancel jobs. Safe to repeat; a running job stops within seconds.")
pause = _asks("pause", "Hold jobs. A running job stops at a chunk boundary and keeps every answer it has.")
resume = _asks("resume", "Let paused jobs go on.")


@click.command(name="retry")
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="As a way out names it, such as model_args.max_model_len=2048: then a new job is posted.",
)
@talks
def retry(api: Api, out: Output, job_ids: Sequence[str], changes: Sequence[str]) -> None:
    """Send failed or cancelled jobs back to the queue, with every answer they have.

    With --set a new job like the old one is posted, changed so; what it asks alike is not answered twice.
    """
    full = [api.job_id(job_id) for job_id in job_ids]
    if changes:
        answered = [api.post("/v1/jobs", changed(api.job(job_id)["spec"], changes)) for job_id in full]
    else:
        answered = [api.post(f"/v1/jobs/{job_id}/retry") for job_id in full]
    out.jobs(answered, lambda listed: _print_list(out, listed))


def changed(spec: Json, changes: Sequence[str]) -> Json:
    """The spec of a job with other values: JSON where it is some, else text; `model_args.NAME` for an argument."""
    posted: Json = {**spec, "model_args": dict(spec.get("model_args") or {})}
    for change in changes:
        name, equals, value = change.partition("=")
        if not name or not equals:
            raise CliError(f"--set {change}: expected NAME=VALUE", Exit.USAGE)
        argument = name.removeprefix("model_args.")
        (posted if argument == name else posted["model_args"])[argument] = _value(value)
    return posted


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text, text)


def _print_list(out: Output, listed: Sequence[Json]) -> None:
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
    for line, colour in zip(columns(header, rows), colours, strict=True) if rows else ():
        out.data(line, colour)


def _tasks(job: Json) -> str:
    """The first few, as they were asked for where that is told."""
    names = [task if isinstance(task, str) else task["name"] for task in job["tasks"]]
    return ",".join(names[:3]) + (",..." if len(names) > 3 or "tasks" in job.get("cut", ()) else "")


def _print_job(out: Output, job: Json) -> None:
    spent = f"{job['gpu_seconds']:.0f} device-seconds" if job.get("gpu_seconds") else ""
    facts: dict[str, Any] = {
        "job": job["id"],
        "name": job.get("name"),
        "status": where(job) if job["status"] == "running" else job["status"],
        "reason": job.get("reason"),
        "estimate": when(job) or None,
        "progress": progress_line(job) if job["progress"].get("total") else None,
        "reused": job["progress"].get("reused") or None,
        "ran": f"{_ran(job)} {spent}".strip() or None,
        "command": (job.get("plan") or {}).get("command") or None,
    }
    for name, value in facts.items():
        if value is not None:
            out.data(hanging(f"{name:<10}{value}", 10))
    for task in job["tasks"]:
        total = f"{task['done']}/{task['total']}" if task.get("total") else ""
        out.data(f"  {task_line(task)}  {total}".rstrip())
    for replica in job.get("replicas") or ():
        devices = ",".join(replica["devices"])
        out.data(
            one_line(
                f"  replica on {replica['group']} ({devices}): {replica['status']}, {replica['requests_done']} requests"
            )
        )
    for line in failure_lines(job.get("error")):
        out.data(line)


def _ran(job: Json) -> str:
    if not job.get("started_at"):
        return ""
    end = datetime.fromisoformat(job["ended_at"]) if job.get("ended_at") else datetime.now(UTC)
    return duration((end - datetime.fromisoformat(job["started_at"])).total_seconds())


def age(created_at: str, now: datetime | None = None) -> str:
    """How long ago: 40s, 12m, 3h or 5d."""
    seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(created_at)).total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"
