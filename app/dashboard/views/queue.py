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
from app.services.groups import GroupState
from app.services.queue import GoingOn, QueuePage


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
    running: GoingOn,
    queue: QueuePage,
    first_visit: bool,
    alive: Callable[[GroupView], bool],
    now: datetime,
) -> QueueScreen:
    """A running job that waits for devices stands among those that wait, one whose engine loads among the others.

    What is read a moment apart stands in one place all the same.
    """
    span = LaneSpan.around(now)
    goes_on = {view.job.id for view in running.views}
    told = [each for each in queue.waiting if each.job.id not in goes_on]
    live = [each.replica for each in seen.occupied if each.replica.status.live]
    waits = queue.total - (len(queue.waiting) - len(told))
    return QueueScreen(
        lanes=lanes(groups, seen, span, alive),
        span=span,
        running=[running_row(view, live, seen.estimates, now) for view in running.views],
        waiting=[waiting_row(each, seen.sees) for each in told],
        troubles=queue.troubles,
        jobs_running=running.total,
        jobs_waiting=waits,
        devices=counted([state.group for state in groups], {each.id: each for each in live}),
        next_position=queue.next_position,
        first_visit=first_visit,
    )
