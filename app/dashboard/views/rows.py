"""Jobs as rows: those that run, those that wait, and those that have ended or are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.dashboard.views.devices import engine_words
from app.dashboard.views.job import state_of
from app.dashboard.views.scores import scores_of
from app.dashboard.words import BY, DOT, NOTHING, range_of, score
from app.domain.estimates import Estimates
from app.domain.job import SCORED, Job, JobStatus, JobTask, Phase, TaskStatus
from app.domain.replica import Replica
from app.domain.waits import Cause, reason
from app.services.job_view import JobView
from app.services.queue import Waiting
from app.workloads.lm_eval.spec import LmEvalSpec

SHOWN = 3
"""Tasks that a row names."""
BEST_KNOWN = ("acc_norm", "exact_match", "acc", "pass@1", "f1")
"""Of several metrics of a task, the one that a row shows: the first of these, or the first there is."""
BEHIND = {Cause.DEVICES, Cause.QUOTA, Cause.TURN, Cause.COORDINATOR}
"""What a job waits for in line."""
INSTEAD = {Cause.USER: "when it is resumed", Cause.CAPACITY: "when there is such a group"}
"""When a job begins that is not in line."""


@dataclass(frozen=True)
class Named:
    """What every row says of a job."""

    id: UUID
    name: str
    model: str
    tasks: str
    owner: str
    team: str


@dataclass(frozen=True)
class RunningRow:
    """A job that somebody works on."""

    job: Named
    icon: str
    word: str
    where: str
    engine: str
    view: JobView
    left: str


@dataclass(frozen=True)
class WaitingRow:
    """A job that waits; of another team's there is no name."""

    job: Named | None
    team: str
    place: int
    paused: bool
    why: str
    starts: str
    needs: str
    priority: int
    since: datetime


@dataclass(frozen=True)
class JobLine:
    """Any job."""

    job: Named
    icon: str
    word: str
    code: str | None
    told: str
    view: JobView


def named_job(job: Job) -> Named:
    """The name that was given, or what can stand for it."""
    tasks = LmEvalSpec.from_json(job.spec).tasks
    return Named(job.id, job.name or str(job.id), job.engine.model, few(tasks), job.owner, job.team)


def few(names: Sequence[str]) -> str:
    """The first of them, and how many more."""
    more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join([*names[:SHOWN], *more])


def running_row(view: JobView, replicas: Sequence[Replica], told: Estimates, now: datetime) -> RunningRow:
    """A running job beside the engines that are there for it."""
    own = [each for each in replicas if each.engine.key == view.job.engine.key]
    groups = Counter(each.group for each in own)
    number = f" {BY} {len(own)}" if len(own) > 1 else ""
    found = told.of(view.job.id, now)
    left = range_of(found.end_low, found.end_high) if found else NOTHING
    return RunningRow(
        named_job(view.job),
        *state_of(view),
        where=", ".join(groups) or "no GPU yet",
        engine=f"{engine_words(view.job.engine)}{number}",
        view=view,
        left=left,
    )


def waiting_row(waiting: Waiting, sees: str | None) -> WaitingRow:
    """A job in line, as one reader may know it."""
    job, cause = waiting.job, waiting.wait.cause
    mine = sees in {None, job.team}
    estimate = waiting.estimate
    starts = range_of(estimate.start_low, estimate.start_high) if estimate else NOTHING
    return WaitingRow(
        job=named_job(job) if mine else None,
        team=job.team,
        place=waiting.position,
        paused=job.status is JobStatus.PAUSED,
        why=_sentence(waiting, mine=mine),
        starts=INSTEAD.get(cause, starts),
        needs=_needs(job),
        priority=job.priority,
        since=job.created_at,
    )


def _sentence(waiting: Waiting, *, mine: bool) -> str:
    told = reason(waiting.job, waiting.wait) if mine else f"waiting for {waiting.wait.words}"
    first = (told or "").partition("\n")[0]
    ahead = waiting.standing.rank.position - 1 if waiting.standing else 0
    behind = f"; {ahead} {'job is' if ahead == 1 else 'jobs are'} ahead of it" if ahead else ""
    behind = behind if waiting.wait.cause in BEHIND else ""
    return f"{first[:1].upper()}{first[1:]}{behind}."


def _needs(job: Job) -> str:
    plan = job.plan
    copies = f", {plan.replicas} copies" if plan.replicas and plan.replicas > 1 else ""
    where = f" of {job.group}" if job.group else ""
    return f"{job.engine.gpus} {'GPU' if job.engine.gpus == 1 else 'GPUs'}{where}{copies}"


def job_line(view: JobView) -> JobLine:
    """Any job, with what came of it in a few words."""
    code, told = result_of(view)
    return JobLine(named_job(view.job), *state_of(view), code=code, told=told, view=view)


def result_of(view: JobView) -> tuple[str | None, str]:
    """The code of what went wrong, and words: scores, or why it is where it is."""
    job = view.job
    if job.status is JobStatus.SUCCEEDED:
        return None, scored(job.tasks)
    if job.status is JobStatus.PARTIALLY_FAILED:
        bad = [task for task in job.tasks if task.status is TaskStatus.FAILED and task.error]
        done = f"{sum(task.status in SCORED for task in job.tasks)} of {len(job.tasks)} tasks"
        return None, f"{done}; {bad[0].name}: {bad[0].error.code}" if bad and bad[0].error else done
    if job.error:
        return job.error.code, (job.error.message or "").partition("\n")[0]
    if job.phase is Phase.EVALUATING and view.progress.percent is not None:
        return None, f"{view.progress.percent:.1f} %"
    return None, (view.reason or "").partition("\n")[0]


def scored(tasks: Sequence[JobTask]) -> str:
    """A score of each of the first tasks."""
    found = [(task.name, best(task.metrics)) for task in tasks[:SHOWN]]
    more = [f"{len(tasks) - SHOWN} more"] if len(tasks) > SHOWN else []
    return f" {DOT} ".join([*(f"{name} {score(value)}" for name, value in found), *more])


def best(metrics: Mapping[str, object] | None) -> float | None:
    """The value of the metric that a row shows."""
    lines = scores_of(metrics)
    by_name = {line.metric.partition(",")[0]: line.value for line in reversed(lines)}
    known = next((name for name in BEST_KNOWN if name in by_name), None)
    return by_name[known] if known else lines[0].value if lines else None
