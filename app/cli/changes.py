"""Verbs that ask something of one or more jobs: set, cancel, pause, resume, retry, delete."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import click

from app.cli import completing
from app.cli.job_table import print_list
from app.cli.output import Output, talks
from app.cli.several import ask_each
from app.cli.terminal import CliError
from app.client.calls import Api, Json
from app.client.exit_codes import Exit

_ids = click.argument("job_ids", metavar="ID...", nargs=-1, required=True, shell_complete=completing.jobs)


def _ask_jobs(
    api: Api,
    out: Output,
    job_ids: Sequence[str],
    ask: Callable[[str], Json],
    show: Callable[[Output, Sequence[Json]], None] = print_list,
) -> None:
    full = [api.job_id(job_id) for job_id in job_ids]
    ask_each(full, ask, lambda answered: out.jobs(answered, lambda listed: show(out, listed)))


def _asks(verb: str, line: str) -> click.Command:
    """A verb that is a call of its own."""

    @click.command(name=verb, help=line)
    @_ids
    @talks
    def asking(api: Api, out: Output, job_ids: Sequence[str]) -> None:
        _ask_jobs(api, out, job_ids, lambda job_id: api.post(f"/v1/jobs/{job_id}/{verb}"))

    return asking


cancel = _asks("cancel", "Cancel jobs. Safe to repeat; a running job stops within seconds.")
pause = _asks("pause", "Hold jobs. A running job stops at a chunk boundary and keeps every answer it has.")
resume = _asks("resume", "Let paused jobs go on.")


@click.command(name="set")
@_ids
@click.option("--priority", type=int, metavar="NUMBER", help="0 to 100; who has more goes first.")
@click.option("--name", metavar="TEXT", help="What people call it.")
@click.option("--tag", "tags", multiple=True, metavar="TEXT", help="In place of the tags it has. Repeatable.")
@click.option("--no-tags", is_flag=True, help="Take its tags away.")
@talks
def set_jobs(
    api: Api,
    out: Output,
    *,
    job_ids: Sequence[str],
    priority: int | None,
    name: str | None,
    tags: Sequence[str],
    no_tags: bool,
) -> None:
    """Change name, priority or tags of jobs, also of running ones. What is not named stays."""
    if tags and no_tags:
        raise click.UsageError("either --tag or --no-tags")
    asked = {"priority": priority, "name": name, "tags": list(tags) if tags or no_tags else None}
    changed = {field: value for field, value in asked.items() if value is not None}
    if not changed:
        raise click.UsageError("nothing to change: give --priority, --name, --tag or --no-tags")
    _ask_jobs(api, out, job_ids, lambda job_id: api.patch(f"/v1/jobs/{job_id}", changed))


@click.command(name="delete")
@_ids
@talks
def delete(api: Api, out: Output, job_ids: Sequence[str]) -> None:
    """Forget ended jobs: results, samples, logs. It cannot be undone; stored answers stay for other jobs."""

    def ask(job_id: str) -> Json:
        api.delete(f"/v1/jobs/{job_id}")
        return {"id": job_id, "deleted": True}

    _ask_jobs(api, out, job_ids, ask, _print_deleted)


def _print_deleted(out: Output, listed: Sequence[Json]) -> None:
    for job in listed:
        out.data(f"{job['id']}  deleted")


@click.command(name="retry")
@_ids
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

    def ask(job_id: str) -> Json:
        if changes:
            answer: Json = api.post("/v1/jobs", changed(api.job(job_id)["spec"], changes))
        else:
            answer = api.post(f"/v1/jobs/{job_id}/retry")
        return answer

    _ask_jobs(api, out, job_ids, ask)


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
