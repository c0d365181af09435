"""Posting a job, and planning one."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from app.cli.output import Output, short, talks
from app.cli.pasting import SAFE_WAY, Given, PastingCommand, body_of
from app.cli.plan_table import plan_lines
from app.cli.settings_files import read_settings
from app.cli.terminal import CliError
from app.cli.watch import follow_to_end
from app.client.calls import Api, Json, exit_of_faults, faults
from app.client.exit_codes import CallError, Exit

_NO_COMMAND = "no lm_eval command is in here"
_WAIT = "with --wait-for-capacity the job is taken, and waits until this is there"


_wait_option = click.option(
    "--wait-for-capacity",
    is_flag=True,
    help="Take the job though this cluster lacks what it needs: it waits until that is there.",
)
_scoring_option = click.option(
    "--scoring-mode",
    type=click.Choice(["auto", "stock", "fast"]),
    help="How log-likelihoods are come to: as lm_eval does, or what requests share once. auto: no bit may change.",
)


def takes_a_job(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the `body` to post, out of its words and the options behind them."""

    @click.argument("words", nargs=-1, metavar="FILE | - | 'TEXT' | lm_eval ...")
    @click.option(
        "--config",
        "configs",
        multiple=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="YAML as `lm_eval run --config` reads it, or accelerate's; the command wins.",
    )
    @click.option(
        "--set",
        "values",
        multiple=True,
        metavar="NAME=VALUE",
        help="The value of $NAME or <NAME> in the command.",
    )
    @_wait_option
    @_scoring_option
    @functools.wraps(verb)
    def with_body(
        out: Output,
        words: tuple[str, ...],
        configs: tuple[Path, ...],
        values: tuple[str, ...],
        *,
        wait_for_capacity: bool,
        scoring_mode: str | None,
        **options: Any,
    ) -> Any:
        if not words and not configs:
            raise CliError(f"name a file, - for standard input, or a command; {SAFE_WAY}", Exit.USAGE)
        given = Given(dict(map(_pair, values)), {str(path): read_settings(path) for path in configs})
        body = body_of(words, given) | ({"wait_for_capacity": True} if wait_for_capacity else {})
        body |= {"scoring_mode": scoring_mode} if scoring_mode else {}
        for name in given.read_along:
            out.say(f"{name} is read on this machine and sent along")
        try:
            return verb(out=out, body=body, **options)
        except CallError as error:
            raise CliError(_with_way(error, words), error.exit_code) from None

    return with_body


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise CliError(f"--set {text}: expected NAME=VALUE", Exit.USAGE)
    return name, value


def _with_way(error: CallError, words: tuple[str, ...]) -> str:
    """A way out behind the message.

    A shell takes the first line of a pasted block for itself and runs the others: where that shows, it is said.
    """
    message = str(error)
    if error.exit_code is Exit.LACKING:
        return f"{message}\n{_WAIT}"
    return f"{message}\n  {SAFE_WAY}" if _NO_COMMAND in message and len(words) > 1 else message


@click.command(name="submit", cls=PastingCommand)
@click.option("--watch", is_flag=True, help="Follow the job live; exit with its code.")
@click.option("--wait", is_flag=True, help="Wait for the job in silence; exit with its code.")
@click.option("--dry-run", is_flag=True, help="Check and plan, store nothing.")
@click.option(
    "--idempotency-key", metavar="TEXT", help="The same key with the same job gives the first job again."
)
@talks
@takes_a_job
def submit(
    *,
    api: Api,
    out: Output,
    body: Json,
    watch: bool,
    wait: bool,
    dry_run: bool,
    idempotency_key: str | None,
) -> None:
    """Post a job, and print its id.

    It is a file, - for standard input, or one quoted text: an lm_eval command, a script with one in it (also one
    for SLURM), lm-eval's YAML, or JSON as the API takes it. Nothing in it is run. Safe for whatever you paste:

    \b
    evalq submit - <<'END'
    ...
    END

    A command of one line may stand as it is: evalq submit lm_eval run --model hf --model_args pretrained=...
    """
    if dry_run:
        show_plan(api, out, body)
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


@click.command(name="plan", cls=PastingCommand)
@talks
@takes_a_job
def plan(*, api: Api, out: Output, body: Json) -> None:
    """Show how a job would run and why; nothing is stored. It takes what `evalq submit` takes.

    Exit codes: 0 it would be taken, 2 something is wrong with it, 106 only this cluster lacks what it needs.
    """
    show_plan(api, out, body)


def show_plan(api: Api, out: Output, body: Json) -> None:
    """The plan of a job as a table; where it would not be taken the plan beside its faults, and an exit code."""
    answer = api.post("/v1/jobs", body, dry_run="true")
    if out.as_json:
        out.json(answer)
    else:
        for line in plan_lines(answer):
            out.data(line)
    if not answer["valid"]:
        errors = answer["errors"]
        message = "\n".join(["this job cannot run:", *faults(errors)])
        raise CallError(message, exit_of_faults(errors, Exit.USAGE))
