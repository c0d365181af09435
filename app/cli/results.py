"""What a job found: results, samples, logs."""

from __future__ import annotations

import json
import sys

import click

from app.cli.output import Output, talks
from app.cli.terminal import echo
from app.client.calls import Api
from app.client.events import ended
from app.client.exit_codes import exit_of
from app.workloads.lm_eval.result_table import comma_separated, markdown


@click.command(name="results")
@click.argument("job")
@click.option(
    "-o",
    "--output",
    "shape",
    type=click.Choice(["table", "json", "csv", "md"]),
    default="table",
    show_default=True,
    help="table and md are lm-eval's own table; json is its whole result document.",
)
@talks
def results(api: Api, out: Output, job: str, shape: str) -> None:
    """Print a job's results as lm-eval would. Tasks that have finished are there before the job ends."""
    document = api.get(f"/v1/jobs/{api.job_id(job)}/results")
    if out.as_json or shape == "json":
        out.json(document)
    else:
        out.data(comma_separated(document) if shape == "csv" else markdown(document))
    for warning in document.get("warnings", ()):
        out.say(warning)
    if not document.get("evalq", {}).get("complete", True):
        out.say("the job has not finished: these are the tasks that have")


@click.command(name="samples")
@click.argument("job")
@click.option("--task", help="Samples of this task only.")
@click.option("--filter", type=click.Choice(["all", "correct", "incorrect", "error"]), help="Which samples.")
@click.option("-n", "--limit", type=click.IntRange(1), help="How many, at most.")
@talks
def samples(api: Api, out: Output, job: str, limit: int | None, **filters: str | None) -> None:
    """Print lm-eval's sample rows, one JSON object a line."""
    for row in api.pages(f"/v1/jobs/{api.job_id(job)}/samples", limit=limit, **filters):
        out.data(json.dumps(row, ensure_ascii=False))


@click.command(name="logs")
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends; exit with the job's code.")
@click.option("--tail", type=click.IntRange(1), help="The last lines only.")
@talks
def logs(api: Api, out: Output, job: str, follow: bool, tail: int | None) -> None:
    """Print a job's logs: preparing, engines, scoring, from whichever host."""
    job_id = api.job_id(job)
    with api.stream(f"/v1/jobs/{job_id}/logs", tail=tail, follow="true" if follow else None) as response:
        for text in response.iter_text():
            echo(text, nl=False)
    if follow:
        final = api.job(job_id)
        if not ended(final):
            out.say("the log ended before the job did; follow on with the same command")
        sys.exit(exit_of(final))
