"""The entry point. It imports Click and nothing else, so that completion and `--help` are quick."""

from __future__ import annotations

import sys
from importlib import import_module
from types import TracebackType
from typing import Any

import click
from click.shell_completion import CompletionItem

# Verb: the module that has it (and its name there, where that is another one) and its one line of help, kept here so
# that `evalq --help` imports no verb.
VERBS = {
    "up": ("local", "Run the whole service on this machine until Ctrl-C."),
    "demo": ("demo", "Evaluate a small real model here and show the results."),
    "submit": ("submit", "Post a job: a file, a pasted command or script, YAML, or JSON."),
    "plan": ("submit", "Show how a job would run and why; nothing is stored."),
    "watch": ("watch", "Follow a job live until it ends."),
    "wait": ("watch", "Wait for jobs to end; a gate for CI."),
    "jobs": ("jobs", "List jobs, newest first."),
    "show": ("jobs", "Show a job."),
    "open": ("jobs:open_job", "Print the address of a job's page, and open it."),
    "results": ("results", "Print a job's results as lm-eval would."),
    "download": ("download", "Fetch a job's files, as lm-eval writes them, as one zip."),
    "samples": ("results", "Print lm-eval's sample rows, one JSON object a line."),
    "logs": ("results", "Print a job's logs."),
    "cancel": ("changes", "Cancel jobs."),
    "pause": ("changes", "Hold jobs; they keep every answer they have."),
    "resume": ("changes", "Let paused jobs go on."),
    "retry": ("changes", "Send ended jobs back to the queue with the answers they have."),
    "set": ("changes:set_jobs", "Change name, priority or tags of jobs."),
    "delete": ("changes", "Forget ended jobs with all that they left."),
    "tasks": ("catalogue", "Search lm-eval's tasks, groups and tags."),
    "groups": ("catalogue", "Show the GPU groups, their devices and what is warm."),
    "drain": ("catalogue", "Give GPU groups no more work."),
    "undrain": ("catalogue", "Give drained GPU groups work again."),
    "queue": ("queue", "Show what waits, for what, and behind whom."),
    "usage": ("usage", "Show what devices were used for, and by whom."),
    "login": ("account", "Keep a service and your key for it as a profile."),
    "logout": ("account", "Forget a profile."),
    "whoami": ("account", "Say as whom evalq knows you, and where."),
    "backends": ("backends", "Engine backends of this machine."),
    "doctor": ("operations", "Say what is wrong with the service, and what to do."),
    "prune": ("operations", "Remove old jobs, stored answers and logs."),
    "keys": ("keys", "Make, list and revoke keys of the API."),
    "api": ("parts", "Run the HTTP API."),
    "scheduler": ("parts", "Run the scheduler."),
    "worker": ("parts", "Run a coordinator or the worker of one GPU group."),
    "migrate": ("parts", "Bring the database to this version's schema."),
}


class LazyVerbs(click.Group):
    """A group whose verbs are imported when they are called, not when they are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's
        """In the order of `VERBS`: what people use first."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The verb, imported."""
        if cmd_name not in VERBS:
            return None
        place, _, name = VERBS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"app.cli.{place}"), name or cmd_name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Verbs by their beginning, without importing them."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=line)
            for name, (_, line) in VERBS.items()
            if name.startswith(incomplete)
        ]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; a call that failed ends it with a line and an exit code."""
        from app.client.exit_codes import CallError

        try:
            return super().invoke(ctx)
        except CallError as error:
            from app.cli.terminal import CliError

            raise CliError(str(error), error.exit_code) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The verbs and their lines, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])


@click.command(cls=LazyVerbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="evalq", prog_name="evalq")
def cli() -> None:
    """Queue LLM evaluations and run them on GPUs.

    Start with `evalq demo`, or `evalq up` and then `evalq submit FILE --watch`.

    Exit codes: 0 done, 1 error, 2 wrong usage, 4 not allowed, 100 job failed, 101 not finished, 102 not found,
    103 cancelled, 104 partially failed, 105 gate not met, 106 nothing but this cluster speaks against the job.
    """


def main() -> None:
    """Run a verb; an error that evalq raises on purpose becomes one line and exit code 1."""
    from app.cli.terminal import echo
    from app.domain.visible import hanging
    from app.errors import EvalqError

    sys.excepthook = _say_surprise
    try:
        cli()
    except EvalqError as error:
        echo(f"evalq: {hanging(str(error))}", err=True)
        sys.exit(1)


def _say_surprise(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A fault of ours; what was read from the service may stand in its words."""
    import traceback

    from app.cli.terminal import echo
    from app.domain.redaction import redact

    echo(redact("".join(traceback.format_exception(kind, error, trace))), err=True, nl=False)
