"""What a job found: results, samples, logs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click

from app.cli import completing
from app.cli.describe import quality_lines
from app.cli.output import Output, short, talks
from app.cli.terminal import echo
from app.client.calls import Api, Json
from app.client.events import ended
from app.client.exit_codes import exit_of
from app.domain.output import SampleFilter
from app.domain.visible import one_line
from app.workloads.lm_eval.result_table import comma_separated, headline, markdown
from app.workloads.lm_eval.spec import LmEvalSpec


@dataclass(frozen=True)
class JobResults:
    """A job and lm-eval's result document of it."""

    job: Json
    document: Json

    def table(self) -> str:
        """What lm-eval prints at the end: a line with model and settings, then its table."""
        line = headline(LmEvalSpec.from_json(self.job["spec"]), self.document)
        return f"{line}\n\n{markdown(self.document)}"

    def comma_separated(self) -> tuple[str, str]:
        """A header, and a line for each metric with the job, its model and when it ended before it."""
        spec = LmEvalSpec.from_json(self.job["spec"])
        about = {"job": self.job["id"], "model": spec.model_name, "ended_at": self.job.get("ended_at") or ""}
        header, _, lines = comma_separated(self.document, about).partition("\n")
        return header, lines

    def remarks(self) -> list[str]:
        """What a reader of the scores must know."""
        own = self.document.get("evalq") or {}
        unfinished = not own.get("complete", True)
        said = ["the job has not finished: these are the tasks that have"] if unfinished else []
        return [*self.document.get("warnings", ()), *quality_lines(own.get("quality") or {}), *said]


def found(api: Api, job_id: str) -> JobResults:
    """The results of a job as far as there are any."""
    return JobResults(api.job(job_id), api.get(f"/v1/jobs/{job_id}/results"))


@click.command(name="results")
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True, shell_complete=completing.jobs)
@click.option(
    "-o",
    "--output",
    "shape",
    type=click.Choice(["table", "json", "csv", "md"]),
    default="table",
    show_default=True,
    help="table and md are lm-eval's own table; json is its whole result document, or a list of several.",
)
@talks
def results(api: Api, out: Output, job_ids: Sequence[str], shape: str) -> None:
    """Print the results of jobs as lm-eval would. Tasks that have finished are there before the job ends."""
    full = dict.fromkeys(api.job_id(job_id) for job_id in job_ids)
    all_found = [found(api, job_id) for job_id in full]
    documents = [each.document for each in all_found]
    if out.as_json or shape == "json":
        out.json(documents if len(job_ids) > 1 else documents[0])
    elif shape == "csv":
        _print_csv(out, all_found)
    else:
        _print_tables(out, all_found)
    for each in all_found:
        for remark in each.remarks():
            out.say(f"{short(each.job['id'])}: {remark}" if len(all_found) > 1 else remark)


def _print_csv(out: Output, all_found: Sequence[JobResults]) -> None:
    for at, each in enumerate(all_found):
        header, lines = each.comma_separated()
        out.data(lines if at else f"{header}\n{lines}")


def _print_tables(out: Output, all_found: Sequence[JobResults]) -> None:
    for at, each in enumerate(all_found):
        if len(all_found) > 1:
            named = one_line(f"{each.job['id']}  {each.job.get('name') or ''}").rstrip()
            out.data(f"\n{named}" if at else named)
        out.data(each.table())


@click.command(name="samples")
@click.argument("job", shell_complete=completing.jobs)
@click.option("--task", help="Samples of this task only.")
@click.option("--filter", type=click.Choice([which.value for which in SampleFilter]), help="Which samples.")
@click.option("-n", "--limit", type=click.IntRange(1), help="How many, at most.")
@talks
def samples(api: Api, out: Output, job: str, limit: int | None, **filters: str | None) -> None:
    """Print lm-eval's sample rows, one JSON object a line."""
    for row in api.pages(f"/v1/jobs/{api.job_id(job)}/samples", limit=limit, **filters):
        out.data(json.dumps(row, ensure_ascii=False))


@click.command(name="logs")
@click.argument("job", shell_complete=completing.jobs)
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
