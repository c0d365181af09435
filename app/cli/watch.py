"""Following jobs to their end."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click

from app.cli import completing
from app.cli.describe import failure_lines
from app.cli.live import view
from app.cli.output import Output, short, talks
from app.cli.terminal import CliError
from app.client.calls import Api, Json
from app.client.events import ended, events, states
from app.client.exit_codes import Exit, exit_of, worst
from app.domain.visible import one_line
from app.workloads.lm_eval.result_table import Score, scores

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Gate:
    """The least that a task's metric must reach."""

    task: str
    metric: str | None
    least: float


class Duration(click.ParamType[float]):
    """`90`, `90s`, `10m`, `2h` or `1d`."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", str(value))
        if match is None:
            self.fail(f"{value!r} is not a time such as 90s, 10m or 2h", param, ctx)
        return float(match[1]) * UNITS[match[2]]


class GateType(click.ParamType[Gate]):
    """`TASK=0.70` or `TASK:METRIC=0.70`."""

    name = "task=score"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Gate:
        """The gate."""
        match = re.fullmatch(r"([^=:]+)(?::([^=]+))?=([-+.\deE]+)", str(value))
        try:
            return Gate(match[1], match[2], float(match[3])) if match else self.fail("", param, ctx)
        except (ValueError, click.UsageError):
            self.fail(f"{value!r} is not TASK=0.70 or TASK:METRIC=0.70", param, ctx)


@click.command(name="watch")
@click.argument("job", shell_complete=completing.jobs)
@talks
def watch(api: Api, out: Output, job: str) -> None:
    """Follow a job live until it ends; exit with the job's code. With --json, one event a line."""
    job_id = api.job_id(job)
    if out.as_json:
        for event in events(api, job_id):
            out.data(event.text)
        sys.exit(exit_of(api.job(job_id)))
    sys.exit(follow_to_end(api, out, job_id, show=True))


@click.command(name="wait")
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True, shell_complete=completing.jobs)
@click.option("--timeout", type=Duration(), help="Give up after this long (exit code 101): 90s, 10m, 2h.")
@click.option(
    "--fail-under",
    "gates",
    type=GateType(),
    multiple=True,
    help="Exit with 105 when a task's first metric, or TASK:METRIC, is below the number. Repeatable.",
)
@talks
def wait(api: Api, out: Output, job_ids: Sequence[str], timeout: float | None, gates: Sequence[Gate]) -> None:
    """Wait for jobs to end and exit with the worst code among them."""
    full = [api.job_id(job_id) for job_id in job_ids]
    jobs = wait_for(api, full, timeout)
    out.jobs(jobs, lambda listed: out.data("\n".join(f"{job['id']}  {job['status']}" for job in listed)))
    codes = [exit_of(job) for job in jobs]
    missed = [line for job in jobs if ended(job) for line in _missed(api, job, gates)]
    for line in missed:
        out.say(line)
    sys.exit(worst([*codes, *([Exit.GATE_NOT_MET] if missed else [])]))


def wait_for(
    api: Api,
    job_ids: Sequence[str],
    timeout_seconds: float | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> list[Json]:
    """The jobs as they ended, or as they are when the time is over."""
    deadline = math.inf if timeout_seconds is None else clock() + timeout_seconds
    jobs = {job_id: api.job(job_id) for job_id in job_ids}
    while (open_ids := [job_id for job_id, job in jobs.items() if not ended(job)]) and clock() < deadline:
        pause(min(POLL_SECONDS, max(deadline - clock(), 0)))
        jobs |= {job_id: api.job(job_id) for job_id in open_ids}
    return list(jobs.values())


def follow_to_end(api: Api, out: Output, job_id: str, *, show: bool) -> Exit:
    """Wait for the job, shown live or in silence; say how it ended and what comes next; its exit code."""
    if show:
        with view() as shown:
            for job in states(api, job_id):
                shown.show(job)
    else:
        [job] = wait_for(api, [job_id])
    if out.as_json:
        out.json(job)
    for line in failure_lines(job.get("error")):
        out.say(line)
    verb = "logs" if job["status"] == "failed" else "results"
    out.say(f"{job['status'].replace('_', ' ')}; next: `evalq {verb} {short(job_id)}`")
    return exit_of(job)


def _missed(api: Api, job: Json, gates: Sequence[Gate]) -> list[str]:
    """A line for every gate that the job does not meet."""
    if not gates or exit_of(job) not in {Exit.OK, Exit.PARTIALLY_FAILED}:
        return []
    listed = scores(api.get(f"/v1/jobs/{job['id']}/results"))
    lines = []
    for gate in gates:
        score = _gated(listed, gate)
        if not isinstance(score.value, int | float) or not score.value >= gate.least:
            lines.append(
                f"gate not met: {score.name} {score.metric} is {score.value}, not {gate.least} or more"
            )
    return lines


def _gated(listed: list[Score], gate: Gate) -> Score:
    found = [score for score in listed if score.name == gate.task and gate.metric in {None, score.metric}]
    if not found:
        known = sorted({one_line(f"{score.name}:{score.metric}") for score in listed})
        wanted = f"{gate.task}:{gate.metric}" if gate.metric else gate.task
        raise CliError(f"there is no result {wanted}; there are {', '.join(known)}", Exit.USAGE)
    if found[0].higher_is_better is False:
        raise CliError(
            f"{gate.task}: lower is better for {found[0].metric}, it cannot be gated from below", Exit.USAGE
        )
    return found[0]
