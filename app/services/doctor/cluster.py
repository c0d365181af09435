"""The processes of all hosts, as their rows in the database tell of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from app.db.leader import leads
from app.db.session import one_session
from app.db.vitals import DeviceVitals, GroupVitals, JobVitals, VitalsRepository
from app.domain.job import JobStatus, Phase
from app.domain.replica import DeviceState
from app.services.doctor.finding import Finding, fault, ok, warning
from app.settings import Settings

UNCLAIMED = timedelta(minutes=1)
"""A coordinator takes a job within seconds of its announcement."""

JOBS_AT_MOST = 1000


def look_at_cluster(settings: Settings, version: str) -> list[Finding]:
    """Scheduler, workers, coordinators, devices and jobs; `version` is this host's."""
    with one_session(settings) as session:
        vitals = VitalsRepository(session)
        leading, groups, devices = leads(session), vitals.groups(), vitals.troubled()
        queued = vitals.jobs(JobStatus.QUEUED, JOBS_AT_MOST)
        running = vitals.jobs(JobStatus.RUNNING, JOBS_AT_MOST)
    return [
        judge_leader(leads=leading),
        *judge_groups(groups, settings.lease, version),
        judge_coordinators(queued, running),
        *judge_devices(devices),
        *judge_jobs(running, groups, settings.lease, settings.stall),
    ]


def judge_leader(*, leads: bool) -> Finding:
    """Without a scheduler nothing is placed, announced or expired."""
    if leads:
        return ok("scheduler", "one leads")
    return fault("scheduler", "none leads: no job gets devices", "start `evalq scheduler`; see its log")


def judge_groups(groups: Sequence[GroupVitals], lease: timedelta, version: str) -> list[Finding]:
    """A finding for each group, and one where no worker is there at all."""
    findings = [_judge_group(group, lease, version) for group in groups]
    if not any(group.silent <= lease for group in groups):
        says = "none is running: jobs wait for devices"
        findings.append(fault("gpu workers", says, "start `evalq worker --group NAME --devices 0,1,...`"))
    return findings


def _judge_group(group: GroupVitals, lease: timedelta, version: str) -> Finding:
    check, seconds = f"group {group.name}", group.silent.total_seconds()
    if group.silent > lease:
        advice = f"start its worker on {group.host}; if the group is gone for good, there is nothing to do"
        return warning(check, f"no heartbeat for {seconds:.0f} s", advice)
    if group.version != version:
        says = f"its worker is of version {group.version}, this is {version}"
        return warning(check, says, f"install the same version on {group.host} and start its worker again")
    if group.draining:
        return warning(
            check, "draining: it gets no work", f"`POST /v1/groups/{group.name}/resume` gives it work"
        )
    if group.unusable:
        says = "; ".join(f"backend {name} does not work: {why}" for name, why in group.unusable.items())
        advice = f"see `evalq backends list` on {group.host}; its worker looks again within ten minutes"
        return (warning if group.backends else fault)(check, says, advice)
    backends = ", ".join(group.backends) or "none"
    if not group.backends:
        return fault(check, "it has no backend", f"run `evalq backends install hf` on {group.host}")
    return ok(check, f"heartbeat {seconds:.0f} s ago on {group.host}, backends {backends}")


def judge_coordinators(queued: Sequence[JobVitals], running: Sequence[JobVitals]) -> Finding:
    """Whether jobs are taken up."""
    waiting = sum(job.waited > UNCLAIMED for job in queued)
    says = f"{len(running)} jobs run, {len(queued)} wait for a coordinator"
    if not waiting:
        return ok("coordinators", says)
    if running:
        advice = (
            "they are taken as others end; more coordinators or a larger EVALQ_COORDINATOR_JOBS take them now"
        )
        return warning("coordinators", says, advice)
    advice = "start `evalq worker --role coordinator`; if one runs, see its log"
    return fault("coordinators", f"{says}, some of them for minutes, and nobody takes one", advice)


def judge_devices(devices: Sequence[DeviceVitals]) -> list[Finding]:
    """A finding for each device that cannot be given out, or that its worker warns of."""
    if not devices:
        return [ok("devices", "all are free or in use")]
    return [_judge_device(device) for device in devices]


def _judge_device(device: DeviceVitals) -> Finding:
    if device.state in (DeviceState.FREE, DeviceState.HELD):
        advice = f"see `nvidia-smi -q`; `POST /v1/groups/{device.group}/drain` before you mend it"
        return warning(f"device {device.id}", "; ".join(device.warnings), advice)
    says = "; ".join((f"{device.state}: {device.reason or 'no reason given'}", *device.warnings))
    if device.state is DeviceState.DIRTY:
        advice = (
            f"its worker (group {device.group}) gives it back once its memory is seen free, within seconds"
        )
    elif device.faulty:
        advice = f"mend it, then `POST /v1/groups/{device.group}/resume` gives it out again"
    else:
        advice = (
            "see what uses it (nvidia-smi) and end that; the worker takes it back when its memory is free"
        )
    return warning(f"device {device.id}", says, advice)


def judge_jobs(
    running: Sequence[JobVitals], groups: Sequence[GroupVitals], lease: timedelta, stall: timedelta
) -> list[Finding]:
    """A finding for each job that does not move, and says why as far as can be told."""
    heard = [group for group in groups if group.silent <= lease]
    stuck = [found for job in running if (found := _judge_job(job, heard, lease, stall))]
    return stuck or [ok("jobs", "none is stuck")]


def _judge_job(
    job: JobVitals, groups: Sequence[GroupVitals], lease: timedelta, stall: timedelta
) -> Finding | None:
    check = f"job {job.id}"
    if job.overdue is not None and job.overdue > lease:
        says = f"its lease ended {job.overdue.total_seconds():.0f} s ago and nobody took it up"
        return fault(check, says, "the scheduler does that: see its log")
    if job.ignored is not None and job.ignored > UNCLAIMED:
        return fault(check, "asked to stop and still running", "see the log of its coordinator")
    if job.phase is Phase.WAITING_FOR_GPU and not any(job.backend in group.backends for group in groups):
        if broken := next((group for group in groups if job.backend in group.unusable), None):
            says = f"its backend {job.backend} does not work on group {broken.name}"
            return warning(check, says, f"mend it there: {broken.unusable[job.backend]}")
        advice = f"run `evalq backends install {job.backend}` on a host with a gpu worker"
        return warning(check, f"no running group has its backend {job.backend}", advice)
    if job.phase is Phase.EVALUATING and job.quiet > stall:
        says = f"nothing from its engines for {job.quiet.total_seconds():.0f} s"
        return warning(check, says, f"see `evalq logs {job.id}`")
    return None
