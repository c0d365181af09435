"""What the queue's page shows, all of it from what services gave at one moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.dashboard.views.devices import counted
from app.dashboard.views.lanes import Lane, Seen, lanes
from app.dashboard.views.rows import RunningRow, WaitingRow, running_row, waiting_row
from app.dashboard.views.timeline import LaneSpan
from app.domain.group import GroupView
from app.domain.job import JobStatus
from app.domain.waits import Cause
from app.services.groups import GroupState
from app.services.job_view import JobView
from app.services.overview import Counts
from app.services.queue import QueuePage


@dataclass(frozen=True)
class QueueScreen:
    """Regions of the page."""

    lanes: Sequence[Lane]
    span: LaneSpan
    running: Sequence[RunningRow]
    waiting: Sequence[WaitingRow]
    troubles: Sequence[str]
    jobs_running: int
    jobs_waiting: int
    devices: str
    next_position: int | None
    first_visit: bool


def queue_screen(
    *,
    groups: Sequence[GroupState],
    seen: Seen,
    running: Sequence[JobView],
    queue: QueuePage,
    counts: Counts,
    alive: Callable[[GroupView], bool],
    now: datetime,
) -> QueueScreen:
    """A running job that waits for devices stands among those that wait, one whose engine loads among the others."""
    span = LaneSpan.around(now)
    told = [each for each in queue.waiting if each.wait.cause is not Cause.LOADING]
    aside = {each.job.id for each in told}
    goes_on = [view for view in running if view.job.id not in aside]
    live = [each.replica for each in seen.occupied if each.replica.status.live]
    waits = queue.total - (len(queue.waiting) - len(told))
    return QueueScreen(
        lanes=lanes(groups, seen, span, alive),
        span=span,
        running=[running_row(view, live, seen.estimates, now) for view in reversed(goes_on)],
        waiting=[waiting_row(each, seen.sees) for each in told],
        troubles=queue.troubles,
        jobs_running=max(counts.by_status.get(JobStatus.RUNNING, 0) - (len(running) - len(goes_on)), 0),
        jobs_waiting=waits,
        devices=counted([state.group for state in groups], {each.id: each for each in live}),
        next_position=queue.next_position,
        first_visit=not counts.total,
    )
