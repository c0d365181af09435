"""Looking at jobs: list, show, open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from app.cli import completing
from app.cli.board import watch_list
from app.cli.describe import duration, failure_lines, progress_line, quality_lines, task_line, when, where
from app.cli.job_table import print_list
from app.cli.output import Output, talks
from app.cli.terminal import has_screen, stdout_is_terminal
from app.client.calls import Api, Json
from app.domain.visible import hanging, one_line

MOST_TASKS = 15


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
@click.option(
    "--watch", is_flag=True, help="Go on until Ctrl-C: the list anew, or a line for each that moved."
)
@talks
def jobs(api: Api, out: Output, *, limit: int, watch: bool, **filters: str | None) -> None:
    """List jobs, newest first."""

    def listed() -> list[Json]:
        return list(api.pages("/v1/jobs", limit=limit, **filters))

    if watch:
        watch_list(out, listed)
        return
    found = listed()
    out.jobs(found, lambda listed: print_list(out, listed))
    if not found:
        out.say("no job matches; submit one with `evalq submit FILE.json`")


@click.command(name="show")
@click.argument("job", shell_complete=completing.jobs)
@click.option(
    "--tasks", "every_task", is_flag=True, help=f"Each task, also where there are more than {MOST_TASKS}."
)
@talks
def show(api: Api, out: Output, job: str, every_task: bool) -> None:
    """Show a job: where it is and why, its tasks, its replicas, and what went wrong."""
    document = api.job(api.job_id(job))
    if out.as_json:
        out.json(document)
    else:
        out.jobs([document], lambda _: _print_job(out, document, every_task=every_task))


@click.command(name="open")
@click.argument("job", shell_complete=completing.jobs)
@talks
def open_job(api: Api, out: Output, job: str) -> None:
    """Print the address of the job's page, and open it in a browser where there is a screen."""
    job_id = api.job_id(job)
    page = f"{api.url}/jobs/{job_id}"
    if out.as_json:
        out.json({"id": job_id, "url": page})
    else:
        out.data(page)
    if stdout_is_terminal() and has_screen():
        click.launch(page)


def _print_job(out: Output, job: Json, *, every_task: bool) -> None:
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
    _print_tasks(out, job["tasks"], every=every_task)
    for line in quality_lines({task["name"]: task.get("quality") for task in job["tasks"]}):
        out.data(f"  {line}")
    for replica in job.get("replicas") or ():
        devices = ",".join(replica["devices"])
        out.data(
            one_line(
                f"  replica on {replica['group']} ({devices}): {replica['status']}, {replica['requests_done']} requests"
            )
        )
    for line in failure_lines(job.get("error")):
        out.data(line)


def _print_tasks(out: Output, tasks: Sequence[Json], *, every: bool) -> None:
    """On a terminal, of many, those with trouble and how many there are of the others."""
    shown = tasks
    if len(tasks) > MOST_TASKS and stdout_is_terminal() and not every:
        shown = [task for task in tasks if task.get("error")]
        states = Counter(task["status"] for task in tasks)
        told = ", ".join(f"{count} {status}" for status, count in states.items())
        out.data(f"  {len(tasks)} tasks: {told}; each of them: --tasks")
    for task in shown:
        total = f"{task['done']}/{task['total']}" if task.get("total") else ""
        out.data(f"  {task_line(task)}  {total}".rstrip())


def _ran(job: Json) -> str:
    if not job.get("started_at"):
        return ""
    end = datetime.fromisoformat(job["ended_at"]) if job.get("ended_at") else datetime.now(UTC)
    return duration((end - datetime.fromisoformat(job["started_at"])).total_seconds())
