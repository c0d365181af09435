"""Posting a job."""

from __future__ import annotations

import json
import shlex
import sys
from typing import IO

import click

from app.cli.output import Output, short, talks
from app.cli.terminal import CliError
from app.cli.watch import follow_to_end
from app.client.calls import Api, Json, faults
from app.client.exit_codes import Exit
from app.domain.visible import hanging


@click.command(name="submit")
@click.argument("words", nargs=-1, required=True, metavar="FILE | -- lm_eval ...")
@click.option("--watch", is_flag=True, help="Follow the job live; exit with its code.")
@click.option("--wait", is_flag=True, help="Wait for the job in silence; exit with its code.")
@click.option("--dry-run", is_flag=True, help="Check and plan, store nothing.")
@click.option(
    "--idempotency-key", metavar="TEXT", help="The same key with the same job gives the first job again."
)
@talks
def submit(
    *,
    api: Api,
    out: Output,
    words: tuple[str, ...],
    watch: bool,
    wait: bool,
    dry_run: bool,
    idempotency_key: str | None,
) -> None:
    """Post the job in FILE (JSON; - is stdin), or the one that an lm_eval command says. Prints its id.

    FILE holds what `lm_eval run` takes: {"model": "hf", "model_args": {"pretrained": "..."}, "tasks": ["gsm8k"]}

    evalq submit -- lm_eval run --model hf --model_args pretrained=... --tasks gsm8k
    """
    body = {"command": shlex.join(words)} if len(words) > 1 else _read_file(words[0])
    if dry_run:
        _plan(api, out, body)
        return
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
    job = api.post("/v1/jobs", body, headers=headers)
    if out.as_json and not (watch or wait):
        out.json(job)
    elif not out.as_json:
        out.data(job["id"])
    if watch or wait:
        sys.exit(follow_to_end(api, out, job["id"], show=watch))
    out.say(f"{job['status']}: {job.get('reason') or ''}; follow it with `evalq watch {short(job['id'])}`")


def _read_file(name: str) -> Json:
    try:
        with click.open_file(name, encoding="utf-8") as file:
            return _read(file)
    except OSError as error:
        raise CliError(f"{name} cannot be read: {error.strerror}", Exit.USAGE) from None


def _read(file: IO[str]) -> Json:
    try:
        body = json.load(file)
    except ValueError as error:
        raise CliError(f"{file.name} is not JSON: {error}", Exit.USAGE) from None
    if not isinstance(body, dict):
        raise CliError(f"{file.name} must hold one JSON object", Exit.USAGE)
    return body


def _plan(api: Api, out: Output, body: Json) -> None:
    answer = api.post("/v1/jobs", body, dry_run="true")
    if out.as_json:
        out.json(answer)
    elif answer["valid"]:
        for line in answer["plan"]["explanation"]:
            out.data(hanging(line))
        out.data(hanging(answer["plan"]["command"]))
    if not answer["valid"]:
        raise CliError("\n".join(["this job cannot run:", *faults(answer["errors"])]), Exit.USAGE)
